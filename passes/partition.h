/* From a graph for one device to the program of every rank. */
#ifndef COL_PASSES_PARTITION_H
#define COL_PASSES_PARTITION_H

#include "ir/factors.h"
#include "ir/units.h"
#include "passes/cost.h"

/* How a graph is split: the answer of the sharding solver, or of a forced plan. */
typedef struct col_sharding {
    col_mesh mesh;
    const col_machine *machine; /* whose links say which way between layouts is shortest */
    const col_units *units;     /* of the graph: every node in one */
    col_factors **factors;      /* by unit */
    col_strategy *strategies;   /* by unit */
    col_layout *variables;      /* by variable index */
    /* By value id: a layout to which the value is brought once, before any use that wants another than it was
     * made in (`has_stop` false: every use starts from the layout of its maker). */
    col_layout *stops;
    bool *has_stop;
    double *seconds; /* by unit: predicted, of one run, with the reductions inside it; NULL: not known */
} col_sharding;

typedef struct col_shard_log col_shard_log; /* passes/shard_log.h */

/* The program that every rank runs: local shapes, collectives inserted (docs/sharding.md). Its mesh is set,
 * its variables have a layout and their whole shape; outputs are whole on every rank. Nothing is shared with
 * `graph`; names, scopes, phases and places stay. Values that are brought to the same layout twice are
 * brought there once. `log` gets what was inserted where; NULL: it is not wanted. */
col_graph *col_partition(const col_graph *graph, const col_sharding *sharding, col_arena *arena,
                         col_shard_log *log);

#endif
