/* What differentiation knows of a graph, for those who check it. */
#ifndef COL_PASSES_AUTODIFF_H
#define COL_PASSES_AUTODIFF_H

#include "ir/graph.h"

/* By value id: whether the value is floating point and depends on a trained parameter through differentiable
 * ops. In the arena. */
bool *col_autodiff_active(const col_graph *graph, col_arena *arena);

#endif
