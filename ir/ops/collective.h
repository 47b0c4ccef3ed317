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
 *   send_receive(x)     x_(i - shift); zeros where the group has no such place
 *
 * So in a layout (ir/base/layout.h) all_gather takes the innermost axes off a dimension, reduce_scatter and
 * shard put them on as the innermost, all_to_all does both. Sums are in order of place: the same on every
 * rank and in every run.
 *
 * wait(p, x) is p, the result of a collective that reads x. A collective whose result is waited for is
 * *started* where it stands and has ended where the wait stands: what is in between runs meanwhile. The wait
 * reads both, so that by plain liveness the bytes of p are its own from the start on, and those of x stay
 * until the wait. wait(p), of an all-reduce, says that p takes the bytes of x. The pass `overlap` makes
 * waits, after all others; p has then no other use. */
#ifndef COL_IR_OPS_COLLECTIVE_H
#define COL_IR_OPS_COLLECTIVE_H

#include "ir/graph.h"

bool col_node_is_collective(const col_node *node);
/* The wait for a collective; NULL when it is not started but runs to its end where it stands. */
col_node *col_collective_wait(const col_node *node);
/* Whether a collective that is started writes over its operand. */
bool col_collective_is_in_place(const col_node *node);
/* Reference evaluation of a collective on one rank; `by_rank` has the operand of every rank of the mesh. */
void col_collective_eval(const col_node *node, int64_t rank, const col_tensor *by_rank, col_tensor *result);

#endif
