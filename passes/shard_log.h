/* The strategy log of a graph that was split: what every unit does and costs, and how each value comes to its
 * users. Partitioning writes down the communication that it inserts; the rest follows from the sharding. */
#ifndef COL_PASSES_SHARD_LOG_H
#define COL_PASSES_SHARD_LOG_H

#include "passes/partition.h"
#include "passes/reshard.h"

typedef COL_VEC(col_reshard_step) col_reshard_steps;

/* A value on its way to a unit that reads it. Of several users that want it in one layout, the first takes
 * the steps. */
typedef struct col_shard_edge {
    const col_value *value;
    uint32_t unit;            /* that reads it; the number of units: an output of the graph */
    const col_output *output; /* NULL for other edges */
    col_layout from, to;      /* as its maker leaves it, and as it is wanted */
    col_reshard_steps steps;  /* taken for this edge */
} col_shard_edge;

struct col_shard_log {
    col_arena *arena;
    const col_graph *graph; /* before partition */
    const col_sharding *sharding;
    COL_VEC(col_shard_edge) edges;
    col_reshard_steps *inner; /* by unit: reductions inside it */
};

/* A unit and its strategy. Seconds and bytes are those of one run on one rank. */
typedef struct col_shard_op {
    const col_node *node; /* that it is named after, as instructions are */
    bool is_fused;
    bool is_view;                                 /* needs no instruction */
    bool is_product;                              /* operand x operand */
    COL_VEC(const col_value *) results, operands; /* that pass its border, each once */
    COL_VEC(col_layout) result_layouts, operand_layouts;
    double compute, communication; /* seconds: of its own work, of reductions inside it */
    double communication_bytes;    /* that the rank sends in these */
    int64_t memory;                /* bytes of its results */
} col_shard_op;

/* Empty, for col_partition. All of it lives in `arena`. */
void col_shard_log_init(col_shard_log *log, const col_graph *graph, const col_sharding *sharding,
                        col_arena *arena);

/* The node after which a unit is named. */
const col_node *col_shard_log_node(const col_unit *unit);
/* Whether the unit stores a value in a variable, and is no op of the log. */
bool col_shard_log_is_assign(const col_unit *unit);
void col_shard_log_op(const col_shard_log *log, uint32_t unit, col_shard_op *out);

/* For col_partition: an edge to a unit is told once, with all steps that were taken for it. */
void col_shard_log_edge(col_shard_log *log, const col_shard_edge *edge);
/* A reduction of the unit's own. `bytes` are those of one rank before it. */
void col_shard_log_inner(col_shard_log *log, uint32_t unit, const col_axes *axes, double bytes);

#endif
