/* The builder: the only way that passes and the parser make nodes. It infers types at once, so a node in a
 * graph always has them; and it keeps the phase, scope and place that new nodes get.
 *
 * The helpers fold what costs nothing to fold (x + 0 constants stay for the folding pass, but a reshape to
 * the same shape, a broadcast to the same shape, dropout at rate 0 and the like return their operand). */
#ifndef COL_IR_BUILDER_H
#define COL_IR_BUILDER_H

#include "ir/graph.h"

struct col_builder {
    col_graph *graph;
    col_node *before; /* new nodes go before this one; NULL: at the end */
    col_phase phase;
    const char *scope; /* "" at the top */
    col_loc loc;
    col_diags *diags; /* where type errors go; NULL: a type error is an internal bug and aborts */
};

/* New nodes go before `node` and inherit its phase, scope and place. */
void col_builder_at(col_builder *b, col_node *node);

/* Makes a node and infers its types. Returns NULL after a type error (only with b->diags). */
col_node *col_build(col_builder *b, col_op op, uint32_t operand_count, col_value *const *operands,
                    uint32_t attr_count, const col_attr *attrs);

/* Attribute values for col_build. Lists are copied into the graph. */
col_attr col_attr_int(col_attr_key key, int64_t value);
col_attr col_attr_float(col_attr_key key, double value);
col_attr col_attr_ints(col_attr_key key, int count, const int64_t *values);
col_attr col_attr_text(col_attr_key key, const char *text);

/* One node each, whose one result is returned; operands broadcast where the op does. NULL after a type error
 * (only with b->diags). */
col_value *col_build_unary(col_builder *b, col_op op, col_value *x);
col_value *col_build_binary(col_builder *b, col_op op, col_value *x, col_value *y);
col_value *col_build_where(col_builder *b, col_value *condition, col_value *x, col_value *y);
col_value *col_build_cast(col_builder *b, col_value *x, col_dtype dtype);

/* A rank-0 constant of the dtype, and one filled to a shape. */
col_value *col_build_scalar(col_builder *b, double value, col_dtype dtype);
col_value *col_build_full(col_builder *b, double value, col_type type);
col_value *col_build_iota(col_builder *b, col_type type, int axis);

/* `axes` are non-negative and distinct. */
col_value *col_build_reduce(col_builder *b, col_op op, col_value *x, int count, const int64_t *axes,
                            bool keepdims);
/* The sum over the axes that broadcasting to x's shape added or stretched: back to `shape`. */
col_value *col_build_sum_to(col_builder *b, col_value *x, col_shape shape);
col_value *col_build_reshape(col_builder *b, col_value *x, col_shape shape);
col_value *col_build_broadcast(col_builder *b, col_value *x, col_shape shape);
col_value *col_build_transpose(col_builder *b, col_value *x, const int64_t *perm);
col_value *col_build_slice(col_builder *b, col_value *x, const int64_t *starts, const int64_t *stops);
col_value *col_build_concat(col_builder *b, uint32_t count, col_value *const *parts, int axis);
col_value *col_build_einsum(col_builder *b, const char *equation, col_value *x, col_value *y);
void col_build_assign(col_builder *b, col_var *var, col_value *value);

#endif
