/* Recomputation on a graph: which values of a training step are dropped after a use and made again before the
 * next, so that the step fits a memory and takes the least time (docs/solver-checkpoint.md).
 *
 * Nodes stand in their *base order*: operands come before. Each makes one value. Every node runs once in that
 * order; a forward node may run again directly before any later node. A value lies in memory from a run of
 * its node to its last use before the next run. Times are seconds, sizes bytes. */
#ifndef COL_SOLVER_CHECKPOINT_GRAPH_H
#define COL_SOLVER_CHECKPOINT_GRAPH_H

#include "ir/base/vec.h"
#include "solver/checkpoint.h"

typedef enum col_checkpoint_kind {
    COL_CHECKPOINT_NODE_FORWARD,  /* may run again */
    COL_CHECKPOINT_NODE_BACKWARD, /* runs once */
    COL_CHECKPOINT_NODE_STATE,    /* never runs; its bytes are there from the start to the end */
} col_checkpoint_kind;

typedef struct col_checkpoint_node {
    col_checkpoint_kind kind;
    double seconds;           /* of a run */
    uint64_t bytes;           /* of its value */
    uint64_t temp_bytes;      /* while it runs */
    const uint32_t *operands; /* [operand_count] indices below its own */
    uint32_t operand_count;
    bool output; /* its value must be there at the end */
} col_checkpoint_node;

typedef struct col_checkpoint_graph {
    size_t count;
    const col_checkpoint_node *nodes;
    uint64_t memory; /* for all values, state included; 0: as much as it takes */
} col_checkpoint_graph;

/* Runs in order. The first of a node is its base run; later ones recompute. */
typedef struct col_checkpoint_runs {
    COL_VEC(uint32_t) nodes;
    double seconds; /* sum over the runs */
    uint64_t peak;  /* most bytes at any run */
} col_checkpoint_runs;

typedef struct col_checkpoint_graph_solution {
    /* OPTIMAL: within the gap. FEASIBLE: fits, `bound` tells how far from the best it may be. INFEASIBLE:
     * proved that nothing fits; LIMIT: nothing was found that fits. For these two `runs` is the schedule of
     * the least peak known. */
    col_solve_status status;
    col_checkpoint_runs runs;
    double bound;                /* seconds; proved for all schedules as above */
    double gap;                  /* (runs.seconds - bound) / runs.seconds */
    double keep_seconds;         /* of the base order alone */
    uint64_t keep_memory;        /* bytes that it takes */
    uint64_t least_memory;       /* INFEASIBLE and LIMIT: in which a schedule is known; else 0 */
    uint64_t least_memory_bound; /* proved: no schedule takes less */
    int32_t variables, rows;     /* of the integer programme; 0: none was needed, or the graph is too large */
    double seconds;
} col_checkpoint_graph_solution;

/* The best schedule of a graph. COL_BAD_INPUT for an empty graph, an operand that does not come before its
 * user, times that are negative or not finite, sums over 2^60, a state with operands or times. */
COL_MUST_USE col_status col_checkpoint_solve_graph(const col_checkpoint_graph *graph,
                                                   const col_checkpoint_limits *limits, col_arena *arena,
                                                   col_checkpoint_graph_solution *out_solution);

/* Keeps everything: the base order. */
void col_checkpoint_graph_keep(const col_checkpoint_graph *graph, col_arena *arena, col_checkpoint_runs *out);
/* Greedy twin: drops between two uses what frees most bytes above the memory per second, until it fits or
 * nothing helps. Returns whether it fits. */
bool col_checkpoint_graph_greedy(const col_checkpoint_graph *graph, col_arena *arena,
                                 col_checkpoint_runs *out);
/* Square-root twin: the forward nodes are cut into about sqrt(count) runs; only what a later run reads is
 * kept. Ignores the memory. */
void col_checkpoint_graph_sqrt(const col_checkpoint_graph *graph, col_arena *arena, col_checkpoint_runs *out);

/* Plays a schedule and fills its seconds and peak. COL_INTERNAL naming the first run that breaks the rules
 * above, or what is missing at the end. */
COL_MUST_USE col_status col_checkpoint_graph_play(const col_checkpoint_graph *graph,
                                                  col_checkpoint_runs *runs);

#endif
