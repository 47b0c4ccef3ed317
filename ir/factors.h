/* Factors: what of a unit can be split over a mesh, independently of everything else in it.
 *
 * A factor is an iteration index of a unit (one node, or the nodes of a fused group), as the letters of an
 * einsum are: `btc,cn->btn` has the factors b, t, c and n. Each dimension of each tensor that the unit
 * touches is a run of factors, outermost first: the result of a reshape [b, t, h, d] -> [b, t, hd] has the
 * run (h d) as its last dimension. Every op says in its row of ir/ops.def how the dimensions of its operands
 * and results relate (column `factors`); the relations of all nodes of a unit are joined.
 *
 * A strategy gives each mesh axis to one factor or to none. It follows how every tensor of the unit is laid
 * out: a dimension is split over the axes of its outermost factor; a result over which a split factor was
 * summed is partial. So all of data, column, row, head, vocabulary and sequence parallelism, and their
 * mixtures on meshes of any rank, are points of one space (after GSPMD, Xu et al. 2021, and the factors of
 * Shardy).
 *
 * What a strategy needs to be valid:
 *   - a factor that is split is not whole (the axis of a concat, the taps of a convolution, ...)
 *   - its size is divisible by the product of its mesh axes
 *   - it is the outermost of every run that it stands in (dimensions of size 1 have empty runs)
 *   - no tensor has it twice, and no result that was summed over it */
#ifndef COL_IR_FACTORS_H
#define COL_IR_FACTORS_H

#include "ir/graph.h"

typedef struct col_strategy {
    int8_t factor[COL_MESH_RANK]; /* of each mesh axis; -1: the axis replicates the unit */
    uint8_t
        order[COL_MESH_RANK]; /* the axes as they are applied: of two with one factor the first is outer */
} col_strategy;

/* Every axis replicates; order 0, 1, 2, ... */
col_strategy col_strategy_replicated(void);

/* The factors of a unit: `count` nodes in data-flow order, which must stay where they are while the answer is
 * in use. A value that several nodes read has one layout; only in a unit of one node do its slots each have
 * their own ("bi,bj->ij" of x with x). In `arena`; takes time in proportion to the unit's slots. */
col_factors *col_factors_of(const col_node *const *nodes, size_t count, col_arena *arena);

/* Those that can be split over some mesh, at most INT8_MAX. */
int col_factors_count(const col_factors *f);
int64_t col_factors_size(const col_factors *f, int factor);
/* Whether it divides into that many equal parts. */
bool col_factors_splits(const col_factors *f, int factor, int64_t parts);
/* The outermost factor of a dimension of a value that the unit reads or makes (of its first slot); -1: there
 * is none, or it cannot be split. */
int col_factors_of_dim(const col_factors *f, const col_value *value, int dim);
bool col_strategy_is_valid(const col_factors *f, const col_strategy *s, const col_mesh *mesh);

/* How the unit wants an operand that comes from outside: never partial. */
col_layout col_factors_operand_layout(const col_factors *f, const col_strategy *s, const col_node *node,
                                      uint32_t operand);
/* How a result of one of its nodes comes out: partial over the axes of summed factors (sums only). */
col_layout col_factors_result_layout(const col_factors *f, const col_strategy *s, const col_value *result);
/* Axes over which the node's result must be combined by its own kind of reduction before anything may read
 * it: those of the factors that it reduces. `*out_kind` is COL_OP_SUM, COL_OP_MAX or COL_OP_MIN. Axes 0:
 * none. */
uint32_t col_factors_reduced_axes(const col_factors *f, const col_strategy *s, const col_value *result,
                                  col_op *out_kind);
/* The share of the node's iterations that one rank does: 1 / product of the axes that split one of its
 * factors. */
double col_factors_share(const col_factors *f, const col_strategy *s, const col_mesh *mesh,
                         const col_node *node);

/* For the functions of the column `factors`, col_relate_<name>, which are called once per node of a unit.
 * Dimensions are of operands (by their slot) and results. A dimension of an operand that a function does not
 * mention is never split; one of a result is a factor of its own. */
typedef struct col_slot {
    const col_node *node;
    bool is_result;
    uint32_t index;
} col_slot;
static inline col_slot col_operand_slot(const col_node *node, uint32_t index)
{
    return (col_slot){node, false, index};
}
static inline col_slot col_result_slot(const col_node *node, uint32_t index)
{
    return (col_slot){node, true, index};
}
/* The two dimensions are one factor (sizes equal; otherwise, nothing). */
void col_factors_same(col_factors *f, col_slot a, int a_dim, col_slot b, int b_dim);
/* Of both dimensions, in `parts` equal parts, the parts are one factor. */
void col_factors_same_outer(col_factors *f, col_slot a, int a_dim, col_slot b, int b_dim, int64_t parts);
/* Dimensions [a_from, a_to) of a, in row-major order, are dimensions [b_from, b_to) of b. */
void col_factors_regroup(col_factors *f, col_slot a, int a_from, int a_to, col_slot b, int b_from, int b_to);
/* Never split. */
void col_factors_whole(col_factors *f, col_slot a, int dim);
/* The result combines over this dimension of the operand by SUM, MAX or MIN; all of a result by one kind. */
void col_factors_reduces(col_factors *f, col_slot operand, int dim, col_slot result, col_op kind);
/* The node goes through this dimension by content, not by index (rows of a table): splitting it saves memory,
 * not work. Says nothing of how the dimension relates. */
void col_factors_looks_up(col_factors *f, col_slot a, int dim);

/* For the functions of the column `local`: makes the node that one rank runs. */
struct col_local {
    col_builder *b; /* where the local nodes go */
    const col_mesh *mesh;
    const col_factors *f; /* of the unit that the node is in */
    const col_strategy *strategy;
    col_value *coordinate; /* i32[mesh rank]: of this rank */
};
/* The first global index that this rank holds of dimension `dim` (of `size` elements) of a tensor of that
 * layout: an i32 scalar of the local graph; NULL where it is 0 on every rank. */
col_value *col_local_start(col_local *l, const col_layout *layout, int64_t size, int dim);
/* What one rank holds of a tensor of that shape and layout. */
col_shape col_local_shape(const col_local *l, const col_layout *layout, col_shape shape);
/* Whether the rank's coordinates along these axes (a mask) are all 0: a bool scalar of the local graph. */
col_value *col_local_is_first(col_local *l, uint32_t axes);
/* The node as it is, on the local operands, attributes `shape` and `stops` cut to the local size of the
 * result. What `plain` in the column stands for. Sets `out_results`. */
void col_local_plain(col_local *l, const col_node *node, col_value *const *operands, col_value **out_results);
/* The same for a node that draws random numbers for the elements of that shape, of which the rank has the
 * block that the layout says: with the attribute `whole` and the number of the block's first element. */
void col_local_block(col_local *l, const col_node *node, col_value *const *operands, const col_layout *layout,
                     col_shape shape, col_value **out_results);

#endif
