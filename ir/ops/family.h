/* What the op families share: faults of inference, reads of attributes, strided walks of the reference
 * evaluation, and short names for the builders that gradients and lowerings are written with. */
#ifndef COL_IR_OPS_FAMILY_H
#define COL_IR_OPS_FAMILY_H

#include "ir/builder.h"

/* --- inference ---------------------------------------------------------------------------------------- */

static inline col_type operand_type(const col_node *node, uint32_t index)
{
    return node->operands[index].value->type;
}

/* Adds "'op': ..." at the node. Always returns false, for `return col_op_fault(...)`. */
bool col_op_fault(const col_node *node, col_diags *diags, const char *format, ...) COL_PRINTF(3, 4);
/* The type as text that lives as long as the diagnostics. */
const char *col_op_type_text(const col_diags *diags, col_type type);
/* Sets the type of a result; returns true, for `return col_op_result(...)`. */
bool col_op_result(col_node *node, uint32_t index, col_dtype dtype, col_shape shape);

/* Each reports a fault and returns false when the demand is not met; `what` names the operand. */
bool col_op_want_float(const col_node *node, col_diags *diags, uint32_t index, const char *what);
bool col_op_want_index(const col_node *node, col_diags *diags, uint32_t index,
                       const char *what); /* i32, i64 */
bool col_op_want_rank(const col_node *node, col_diags *diags, uint32_t index, const char *what, int rank);
bool col_op_want_dtype(const col_node *node, col_diags *diags, uint32_t index, const char *what,
                       col_dtype dtype);
/* Operands `a` and `b` have one dtype. */
bool col_op_want_same(const col_node *node, col_diags *diags, uint32_t a, uint32_t b);
/* The operand is a generator state: i64[2], seed and step. */
bool col_op_want_generator(const col_node *node, col_diags *diags, uint32_t index);

/* Attributes, checked. */
bool col_op_axis(const col_node *node, col_diags *diags, col_shape shape, int *out_axis);
bool col_op_shape(const col_node *node, col_diags *diags, col_shape *out_shape);
bool col_op_dtype(const col_node *node, col_diags *diags, col_dtype *out_dtype);
bool col_op_salt(const col_node *node, col_diags *diags);
bool col_op_rate(const col_node *node, col_diags *diags);
/* With the attribute `whole`, operand `index` is the i64 number of the first of `shape` elements within that
 * shape. */
bool col_op_block(const col_node *node, col_diags *diags, uint32_t index, col_shape shape);
/* A list of exactly `count` numbers; NULL after a fault. */
const int64_t *col_op_list(const col_node *node, col_diags *diags, col_attr_key key, int count);
/* A list of axes of `shape`, brought to the form in which passes see it: non-negative; with `sorted` also
 * ascending (a permutation keeps its order). Distinct. `*out_count` is -1 after a fault. */
const int64_t *col_op_axes(col_node *node, col_diags *diags, col_attr_key key, col_shape shape, bool sorted,
                           int *out_count);

/* Axis of a node whose inference went well, counted from 0. */
int col_node_axis(const col_node *node, col_shape shape);

/* The dtype in which sums over values of a dtype are held: f64 for f64, else f32. */
static inline col_dtype wide_dtype(col_dtype dtype)
{
    return dtype == COL_F64 ? COL_F64 : COL_F32;
}

/* The shape without its last axis, and with it kept as size 1. */
col_shape col_shape_drop_last(col_shape shape);
col_shape col_shape_one_last(col_shape shape);

/* --- reference evaluation ----------------------------------------------------------------------------- */

typedef enum col_walk_mode { COL_WALK_SET, COL_WALK_ADD, COL_WALK_MAX, COL_WALK_MIN } col_walk_mode;

/* For every index of `shape`, in row-major order: to[index . to_strides] = from[index . from_strides], or the
 * sum, maximum or minimum of both. Every op that only moves or reduces elements is one of these walks. */
void col_walk(col_shape shape, double *to, const int64_t *to_strides, const double *from,
              const int64_t *from_strides, col_walk_mode mode);
/* Strides with which a tensor of shape `from` is read at the indices of `to`, which it broadcasts to. */
void col_broadcast_strides(col_shape from, col_shape to, int64_t strides[COL_MAX_RANK]);
void col_fill(col_tensor tensor, double value);
/* Uninitialised doubles on the heap; free() them. Aborts when the machine has no more memory. */
double *col_eval_alloc(int64_t count);

/* Where the elements of `shape` stand in the whole of which the node makes a block (attribute `whole`): in
 * row-major order, from the last operand on. The shape itself, from 0 on, without the attribute. */
int64_t col_eval_block(const col_node *node, const col_tensor *operands, col_shape shape,
                       int64_t strides[COL_MAX_RANK]);
/* Uniform number `index` of the stream that a node's salt and a generator state name. */
double col_eval_uniform(const col_node *node, col_tensor generator, int64_t index);

/* --- building ----------------------------------------------------------------------------------------- */

static inline col_value *op_add(col_builder *b, col_value *x, col_value *y)
{
    return col_build_binary(b, COL_OP_ADD, x, y);
}

static inline col_value *op_sub(col_builder *b, col_value *x, col_value *y)
{
    return col_build_binary(b, COL_OP_SUB, x, y);
}

static inline col_value *op_mul(col_builder *b, col_value *x, col_value *y)
{
    return col_build_binary(b, COL_OP_MUL, x, y);
}

static inline col_value *op_div(col_builder *b, col_value *x, col_value *y)
{
    return col_build_binary(b, COL_OP_DIV, x, y);
}

static inline col_value *op_neg(col_builder *b, col_value *x)
{
    return col_build_unary(b, COL_OP_NEG, x);
}

static inline col_value *op_exp(col_builder *b, col_value *x)
{
    return col_build_unary(b, COL_OP_EXP, x);
}

/* A scalar constant of x's dtype. */
static inline col_value *op_like(col_builder *b, double value, col_value *x)
{
    return col_build_scalar(b, value, x->type.dtype);
}

static inline col_value *op_scale(col_builder *b, col_value *x, double factor)
{
    return op_mul(b, x, op_like(b, factor, x));
}

static inline col_value *op_shift(col_builder *b, col_value *x, double term)
{
    return op_add(b, x, op_like(b, term, x));
}

/* 1 - x */
static inline col_value *op_complement(col_builder *b, col_value *x)
{
    return op_sub(b, op_like(b, 1, x), x);
}

/* x in the dtype in which it is summed. */
static inline col_value *op_wide(col_builder *b, col_value *x)
{
    return col_build_cast(b, x, wide_dtype(x->type.dtype));
}

/* Sum or maximum over one axis, which stays as size 1. */
static inline col_value *op_reduce(col_builder *b, col_op op, col_value *x, int axis)
{
    return col_build_reduce(b, op, x, 1, (int64_t[]){axis}, true);
}

/* GELU by tanh: its value and slope, and the gradient of what it was taken of as nodes. */
double op_gelu_tanh(double x);
double op_gelu_tanh_slope(double x);
col_value *op_gelu_tanh_gradient(col_builder *b, col_value *x, col_value *dy);

#endif
