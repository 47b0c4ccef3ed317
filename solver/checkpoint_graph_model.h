/* Inside of the graph solver: its integer programme (formulation in checkpoint_graph_model.c). */
#ifndef COL_SOLVER_CHECKPOINT_GRAPH_MODEL_H
#define COL_SOLVER_CHECKPOINT_GRAPH_MODEL_H

#include "solver/checkpoint_policy.h"
#include "solver/lp.h"

/* How many variables it would have. */
int64_t graph_model_variables(const col_checkpoint_graph *graph);

/* The fastest schedule within graph->memory, or with `minimise_peak` the one of the least peak; begins from
 * `start` where that is one. The solution's bound is in seconds or bytes. Rows hold to within a tolerance, so
 * the peak of `out_runs` (played, in `arena`; empty: none found) may be a few bytes over the memory. */
COL_MUST_USE col_status graph_model_solve(const col_checkpoint_graph *graph, bool minimise_peak,
                                          const col_checkpoint_runs *start, double seconds, double gap,
                                          col_arena *arena, col_lp_solution *out_solution,
                                          col_checkpoint_runs *out_runs);

#endif
