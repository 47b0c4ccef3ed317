/* Elementwise ops: unary, binary with NumPy broadcasting, comparisons, booleans, where, cast.
 *
 * Operands of one op have one dtype; nothing converts silently. Gradients of broadcast operands are summed
 * back to the operand's shape. Where a function has a kink, the gradient is PyTorch's: 0 for |x| at 0, half
 * to each operand of a tied maximum or minimum. */
#include "ir/factors.h"
#include "ir/ops/family.h"

#include <math.h>

/* --- inference ---------------------------------------------------------------------------------------- */

bool col_infer_same(col_node *node, col_diags *diags)
{
    (void)diags;
    col_type type = operand_type(node, 0);
    return col_op_result(node, 0, type.dtype, type.shape);
}

bool col_infer_float_unary(col_node *node, col_diags *diags)
{
    return col_op_want_float(node, diags, 0, "the operand") && col_infer_same(node, diags);
}

bool col_infer_bool_unary(col_node *node, col_diags *diags)
{
    return col_op_want_dtype(node, diags, 0, "the operand", COL_BOOL) && col_infer_same(node, diags);
}

bool col_infer_cast(col_node *node, col_diags *diags)
{
    col_dtype dtype;
    return col_op_dtype(node, diags, &dtype) && col_op_result(node, 0, dtype, operand_type(node, 0).shape);
}

static bool broadcast_operands(col_node *node, col_diags *diags, col_dtype dtype)
{
    col_shape shape = operand_type(node, 0).shape;
    for (uint32_t i = 1; i < node->operand_count; i++) {
        col_type type = operand_type(node, i);
        if (col_shape_broadcast(shape, type.shape, &shape)) continue;
        return col_op_fault(
            node, diags,
            "%s and %s do not broadcast: aligned at the last dimension, sizes must be equal or 1",
            col_op_type_text(diags, col_type_make(operand_type(node, i - 1).dtype, shape)),
            col_op_type_text(diags, type));
    }
    return col_op_result(node, 0, dtype, shape);
}

bool col_infer_float_binary(col_node *node, col_diags *diags)
{
    return col_op_want_same(node, diags, 0, 1) && col_op_want_float(node, diags, 0, "the first operand") &&
           broadcast_operands(node, diags, operand_type(node, 0).dtype);
}

bool col_infer_binary(col_node *node, col_diags *diags)
{
    if (!col_op_want_same(node, diags, 0, 1)) return false;
    col_type type = operand_type(node, 0);
    if (!col_dtype_is_arithmetic(type.dtype)) {
        return col_op_fault(node, diags, "no arithmetic on %s; convert it with 'cast'",
                            col_op_type_text(diags, type));
    }
    return broadcast_operands(node, diags, type.dtype);
}

bool col_infer_compare(col_node *node, col_diags *diags)
{
    return col_op_want_same(node, diags, 0, 1) && broadcast_operands(node, diags, COL_BOOL);
}

bool col_infer_bool_binary(col_node *node, col_diags *diags)
{
    return col_op_want_dtype(node, diags, 0, "the first operand", COL_BOOL) &&
           col_op_want_dtype(node, diags, 1, "the second operand", COL_BOOL) &&
           broadcast_operands(node, diags, COL_BOOL);
}

bool col_infer_where(col_node *node, col_diags *diags)
{
    return col_op_want_dtype(node, diags, 0, "the condition", COL_BOOL) &&
           col_op_want_same(node, diags, 1, 2) &&
           broadcast_operands(node, diags, operand_type(node, 1).dtype);
}

/* --- gradients ---------------------------------------------------------------------------------------- */

static col_value *x_of(const col_node *node)
{
    return col_node_operand(node, 0);
}

static col_value *y_of(col_node *node)
{
    return &node->results[0];
}

#define GRADIENT(name)                                                                                       \
    void col_grad_##name(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,           \
                         col_value **dx)

/* A unary function: dx = dy * derivative, an expression in b, x and y. */
#define UNARY_GRADIENT(name, derivative)                                                                     \
    GRADIENT(name)                                                                                           \
    {                                                                                                        \
        (void)wanted;                                                                                        \
        col_value *x = x_of(node), *y = y_of(node);                                                          \
        (void)x, (void)y;                                                                                    \
        dx[0] = op_mul(b, dy[0], derivative);                                                                \
    }

UNARY_GRADIENT(abs, col_build_unary(b, COL_OP_SIGN, x))
UNARY_GRADIENT(exp, y)
UNARY_GRADIENT(log, col_build_unary(b, COL_OP_RECIPROCAL, x))
UNARY_GRADIENT(sqrt, op_scale(b, col_build_unary(b, COL_OP_RECIPROCAL, y), 0.5))
UNARY_GRADIENT(rsqrt, op_scale(b, op_mul(b, y, op_mul(b, y, y)), -0.5))
UNARY_GRADIENT(reciprocal, op_neg(b, op_mul(b, y, y)))
UNARY_GRADIENT(tanh, op_complement(b, op_mul(b, y, y)))
UNARY_GRADIENT(erf, op_scale(b, op_exp(b, op_neg(b, op_mul(b, x, x))), M_2_SQRTPI))
UNARY_GRADIENT(sin, col_build_unary(b, COL_OP_COS, x))
UNARY_GRADIENT(cos, op_neg(b, col_build_unary(b, COL_OP_SIN, x)))

GRADIENT(neg)
{
    (void)node, (void)wanted;
    dx[0] = op_neg(b, dy[0]);
}

GRADIENT(copy)
{
    (void)b, (void)node, (void)wanted;
    dx[0] = dy[0];
}

GRADIENT(cast)
{
    (void)wanted;
    dx[0] = col_build_cast(b, dy[0], x_of(node)->type.dtype);
}

GRADIENT(zero)
{
    COL_PANIC("the gradient of '%s' is zero: nothing may ask for it (%p %p %p %p)",
              col_op_info_of(node->op)->name, (void *)b, (void *)dy, (void *)wanted, (void *)dx);
}

/* A gradient of the result's shape as the gradient of an operand that was broadcast to it. */
static col_value *back_to(col_builder *b, const col_node *node, uint32_t index, col_value *gradient)
{
    return col_build_sum_to(b, gradient, operand_type(node, index).shape);
}

GRADIENT(add)
{
    if (wanted[0]) dx[0] = back_to(b, node, 0, dy[0]);
    if (wanted[1]) dx[1] = back_to(b, node, 1, dy[0]);
}

GRADIENT(sub)
{
    if (wanted[0]) dx[0] = back_to(b, node, 0, dy[0]);
    if (wanted[1]) dx[1] = op_neg(b, back_to(b, node, 1, dy[0]));
}

GRADIENT(mul)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (wanted[i]) dx[i] = back_to(b, node, i, op_mul(b, dy[0], col_node_operand(node, 1 - i)));
    }
}

GRADIENT(div)
{
    col_value *scaled = op_div(b, dy[0], col_node_operand(node, 1));
    if (wanted[0]) dx[0] = back_to(b, node, 0, scaled);
    if (wanted[1]) dx[1] = op_neg(b, back_to(b, node, 1, op_mul(b, scaled, y_of(node))));
}

/* x^e: e x^(e-1), which is 0 for e = 0 even at x = 0; and x^e log x, which is 0 at x = 0. */
GRADIENT(pow)
{
    col_value *x = col_node_operand(node, 0), *e = col_node_operand(node, 1);
    if (wanted[0]) {
        col_value *slope = op_mul(b, e, col_build_binary(b, COL_OP_POW, x, op_shift(b, e, -1)));
        col_value *flat = col_build_binary(b, COL_OP_EQ, e, op_like(b, 0, e));
        slope = col_build_where(b, flat, op_like(b, 0, e), slope);
        dx[0] = back_to(b, node, 0, op_mul(b, dy[0], slope));
    }
    if (wanted[1]) {
        col_value *slope = op_mul(b, y_of(node), col_build_unary(b, COL_OP_LOG, x));
        col_value *origin = col_build_binary(b, COL_OP_EQ, x, op_like(b, 0, x));
        slope = col_build_where(b, origin, op_like(b, 0, x), slope);
        dx[1] = back_to(b, node, 1, op_mul(b, dy[0], slope));
    }
}

/* All of dy to the operand that `wins` over the other, half in a tie, else nothing. */
static void grad_extremum(col_builder *b, col_node *node, col_value *dy, const bool *wanted, col_value **dx,
                          col_op wins)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (!wanted[i]) continue;
        col_value *own = col_node_operand(node, i), *other = col_node_operand(node, 1 - i);
        col_value *tied = col_build_where(b, col_build_binary(b, COL_OP_EQ, own, other), op_like(b, 0.5, dy),
                                          op_like(b, 0, dy));
        col_value *share = col_build_where(b, col_build_binary(b, wins, own, other), op_like(b, 1, dy), tied);
        dx[i] = back_to(b, node, i, op_mul(b, dy, share));
    }
}

GRADIENT(maximum)
{
    grad_extremum(b, node, dy[0], wanted, dx, COL_OP_GT);
}

GRADIENT(minimum)
{
    grad_extremum(b, node, dy[0], wanted, dx, COL_OP_LT);
}

GRADIENT(where)
{
    col_value *condition = col_node_operand(node, 0), *zero = op_like(b, 0, dy[0]);
    if (wanted[1]) dx[1] = back_to(b, node, 1, col_build_where(b, condition, dy[0], zero));
    if (wanted[2]) dx[2] = back_to(b, node, 2, col_build_where(b, condition, zero, dy[0]));
}

/* --- splitting over a mesh ---------------------------------------------------------------------------- */

/* NumPy broadcasting, of `broadcast` too: a stretched dimension has size 1, and relates to nothing. */
void col_relate_elementwise(col_factors *f, const col_node *node)
{
    int rank = node->results[0].type.shape.rank;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        int own = operand_type(node, i).shape.rank;
        for (int d = 0; d < own; d++)
            col_factors_same(f, col_operand_slot(node, i), d, col_result_slot(node, 0), rank - own + d);
    }
}

/* --- reference evaluation ----------------------------------------------------------------------------- */

typedef double (*element_fn)(double x, double y, double z);

/* A tensor as it is read at the indices of the result's shape. */
typedef struct reader {
    const double *data;
    int64_t strides[COL_MAX_RANK];
} reader;

static void map_axis(const col_shape *shape, int axis, element_fn fn, double **out, const reader in[3])
{
    if (axis == shape->rank) {
        *(*out)++ = fn(*in[0].data, *in[1].data, *in[2].data);
        return;
    }
    reader at[3] = {in[0], in[1], in[2]};
    for (int64_t i = 0; i < shape->dims[axis]; i++) {
        map_axis(shape, axis + 1, fn, out, at);
        for (int k = 0; k < 3; k++) at[k].data += at[k].strides[axis];
    }
}

static void map_elements(const col_node *node, const col_tensor *operands, col_tensor *result, element_fn fn)
{
    static const double unused = 0;
    reader in[3] = {{.data = &unused}, {.data = &unused}, {.data = &unused}};
    for (uint32_t i = 0; i < node->operand_count; i++) {
        in[i].data = operands[i].data;
        col_broadcast_strides(operands[i].type.shape, result->type.shape, in[i].strides);
    }
    double *out = result->data;
    map_axis(&result->type.shape, 0, fn, &out, in);
}

#define ELEMENT(name, expression)                                                                            \
    static double element_##name(double x, double y, double z)                                               \
    {                                                                                                        \
        (void)x, (void)y, (void)z;                                                                           \
        return expression;                                                                                   \
    }                                                                                                        \
    void col_eval_##name(const col_node *node, const col_tensor *operands, col_tensor *results)              \
    {                                                                                                        \
        map_elements(node, operands, &results[0], element_##name);                                           \
    }

ELEMENT(neg, -x)
ELEMENT(abs, fabs(x))
ELEMENT(sign, isnan(x) ? x : (double)((x > 0) - (x < 0)))
ELEMENT(exp, exp(x))
ELEMENT(log, log(x))
ELEMENT(sqrt, sqrt(x))
ELEMENT(rsqrt, 1 / sqrt(x))
ELEMENT(reciprocal, 1 / x)
ELEMENT(tanh, tanh(x))
ELEMENT(erf, erf(x))
ELEMENT(sin, sin(x))
ELEMENT(cos, cos(x))
ELEMENT(floor, floor(x))
ELEMENT(not, x == 0)
ELEMENT(copy, x)
ELEMENT(add, x + y)
ELEMENT(sub, x - y)
ELEMENT(mul, x *y)
ELEMENT(div, x / y)
ELEMENT(pow, pow(x, y))
ELEMENT(maximum, isnan(x) || x > y ? x : y)
ELEMENT(minimum, isnan(x) || x < y ? x : y)
ELEMENT(eq, x == y)
ELEMENT(ne, x != y)
ELEMENT(lt, x < y)
ELEMENT(le, x <= y)
ELEMENT(gt, x > y)
ELEMENT(ge, x >= y)
ELEMENT(and, x != 0 && y != 0)
ELEMENT(or, x != 0 || y != 0)
ELEMENT(where, x != 0 ? y : z)

/* To an integer of that many bits. Whole numbers keep their lower bits, as two's complement; others are cut off
 * towards zero and end at the type's limits, NaN is 0. */
static double to_integer(double x, bool is_whole, int bits, bool is_unsigned)
{
    double low = is_unsigned ? 0 : -ldexp(1, bits - 1), turn = ldexp(1, bits), high = low + turn;
    if (isnan(x)) return 0;
    if (!is_whole) return fmin(fmax(trunc(x), low), bits == 64 ? high : high - 1);
    return x >= low && x < high ? x : x - turn * floor((x - low) / turn);
}

void col_eval_cast(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    (void)node;
    col_dtype dtype = results[0].type.dtype;
    int bits = 8 * (int)col_dtype_size(dtype);
    bool is_whole = !col_dtype_is_float(operands[0].type.dtype), is_unsigned = col_dtype_is_unsigned(dtype);
    int64_t count = col_shape_numel(results[0].type.shape);
    for (int64_t i = 0; i < count; i++) {
        double x = operands[0].data[i];
        if (dtype == COL_BOOL)
            x = x != 0;
        else if (col_dtype_is_integer(dtype))
            x = to_integer(x, is_whole, bits, is_unsigned);
        results[0].data[i] = x;
    }
}
