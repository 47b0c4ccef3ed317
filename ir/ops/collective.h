/* What ranks do together. The ranks of a mesh fall into groups: those that differ along the axes of
 * `mesh_axes` alone. A member's place in its group is its coordinates along them, the first axis outermost.
 * With n members, x_j the operand of member j and i this rank's own place:
 *
 *   all_reduce(x)       the sum (maximum, minimum) of all x_j
 *   all_gather(x)       x_0 … x_n-1 joined along `axis`
 *   reduce_scatter(x)   block i of n, along `axis`, of the sum of all x_j
 *   all_to_all(x)       block i along `axis` of x_0 … x_n-1, joined along `from_axis`
 *   shard(x)            block i of its own x along `axis`
 *   broadcast_from(x)   x_root
 *
 * So in a layout (ir/base/layout.h) all_gather takes the innermost axes off a dimension, reduce_scatter and
 * shard put them on as the innermost, all_to_all does both. Sums are in order of place: the same on every
 * rank and in every run. */
#ifndef COL_IR_OPS_COLLECTIVE_H
#define COL_IR_OPS_COLLECTIVE_H

#include "ir/graph.h"

bool col_node_is_collective(const col_node *node);
/* Reference evaluation of a collective on one rank; `by_rank` has the operand of every rank of the mesh. */
void col_collective_eval(const col_node *node, int64_t rank, const col_tensor *by_rank, col_tensor *result);

#endif
