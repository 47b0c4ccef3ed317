/* Inside passes/shard*.c: the pieces of the sharding model. */
#ifndef COL_PASSES_SHARD_MODEL_H
#define COL_PASSES_SHARD_MODEL_H

#include "passes/shard.h"
#include "solver/sharding.h"

/* A value as a unit reads or delivers it: its layout (an id) under each strategy. */
typedef struct shard_port {
    const col_value *value;
    const col_node *node; /* of reads */
    uint32_t operand;
    int32_t *layouts;
} shard_port;

typedef struct shard_unit {
    const col_unit *unit;
    col_factors *factors;
    col_phase phase;
    bool is_free;   /* a view that needs no instruction */
    bool is_assign; /* an edge from its operand to a variable, no node */
    int count;      /* strategies */
    col_strategy *strategies;
    int64_t *cost; /* ns, by strategy */
    shard_port *reads, *writes;
    int read_count, write_count;
} shard_unit;

/* Layouts met so far; ids are indices. */
typedef struct shard_layouts {
    col_arena *arena;
    COL_VEC(col_layout) list;
    int32_t *table; /* open addressing, -1 empty */
    size_t table_size;
} shard_layouts;

int32_t shard_layout_id(shard_layouts *layouts, const col_layout *layout);

typedef struct shard_table shard_table; /* edge costs, shared between equal edges */

typedef struct shard_model {
    col_arena *arena;
    const col_graph *graph;
    const col_shard_options *options;
    shard_layouts layouts;
    const col_units *units;
    shard_unit *by_unit;
    uint8_t *roles; /* of values' dimensions: shard_plans.c */
    /* Variables. */
    int32_t **variable_layouts; /* by variable index: candidate layout ids */
    int *variable_counts;
} shard_model;

/* passes/shard_strategies.c: the strategies of every unit, with layouts and costs; one that gives every port
 * the layouts of another and is not cheaper is left out. */
void shard_strategies(shard_model *m);
/* Seconds of one run of the unit that go into reductions over split factors whose result something in the
 * unit reads, which are combined at once. They are part of the strategy's cost. */
double shard_inner_reductions(const shard_model *m, const shard_unit *u, const col_strategy *s);

/* passes/shard_plans.c: takes away what the plan of the options forbids. COL_BAD_INPUT when nothing is left
 * somewhere. */
COL_MUST_USE col_status shard_restrict(shard_model *m);
/* Whether a value in the update phase of this plan must be this layout: gradients under zero1 and zero2. */
bool shard_stop_allowed(const shard_model *m, const col_value *value, const col_layout *layout);

#endif
