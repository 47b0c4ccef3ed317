/* Internal to frontend/hf: what a graph wants of a file of weights. */
#ifndef COL_HF_WANTED_H
#define COL_HF_WANTED_H

#include "ir/graph.h"
#include "runtime/store/weights.h"

/* The graph's parameters and states, in its order, in `arena`. */
const col_wanted_tensor *col_hf_wanted(const col_graph *graph, col_arena *arena, size_t *out_count);

#endif
