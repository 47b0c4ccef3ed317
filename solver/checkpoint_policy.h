/* Inside of the graph solver: schedules made from decisions, and what they take.
 *
 * Turn k is all that happens from the base run of node k - 1 to that of node k: the runs again of some
 * earlier nodes, in base order, then node k. Border k is where turn k begins. */
#ifndef COL_SOLVER_CHECKPOINT_POLICY_H
#define COL_SOLVER_CHECKPOINT_POLICY_H

#include "solver/checkpoint_graph.h"

typedef struct policy_scratch {
    int32_t *last_run;          /* [count] turn of the node's latest run */
    uint8_t *wanted;            /* [count] */
    uint32_t *stack;            /* [count] */
    uint32_t *position;         /* [count] of the latest run of the node */
    COL_VEC(uint32_t) last_use; /* by run: position of the last use of its value */
    COL_VEC(int64_t) live;      /* by run: bytes while it runs */
} policy_scratch;

void policy_scratch_init(policy_scratch *p, const col_checkpoint_graph *graph, col_arena *arena);

/* Whether the value of `node`, last made in turn `made`, is still there at border `turn` > `made`. Values of
 * nodes that cannot run again are there without being asked for. */
typedef bool policy_crosses(const void *context, uint32_t node, int32_t made, int32_t turn);

/* Makes the schedule in which exactly what is needed and not there runs again. */
void policy_build(const col_checkpoint_graph *graph, policy_crosses *crosses, const void *context,
                  policy_scratch *scratch, col_arena *arena, col_checkpoint_runs *out);

/* Fills seconds, peak, and scratch->live. The schedule must be a right one. */
void policy_measure(const col_checkpoint_graph *graph, policy_scratch *scratch, col_arena *arena,
                    col_checkpoint_runs *runs);

/* The last node that runs. */
int32_t policy_final(const col_checkpoint_graph *graph);

/* Last turn in which the node's value can be wanted, by base runs or by runs again of its users; one more
 * than the last turn for outputs; its own turn if never. [count] */
int32_t *policy_last_turns(const col_checkpoint_graph *graph, col_arena *arena);

/* Greedy from several starts, then improvement until `deadline` (on col_solve_clock) or until `target`
 * seconds are met. With a memory that nothing found fits, the answer is the one of the least peak found.
 * Returns whether it fits. */
bool policy_search(const col_checkpoint_graph *graph, double deadline, double target, col_arena *arena,
                   col_checkpoint_runs *out);

#endif
