/* Softmax, log-softmax and layer normalisation. */
#include "ir/ops/family.h"

#include <math.h>

bool col_infer_float_axis(col_node *node, col_diags *diags)
{
    int axis;
    col_type type = operand_type(node, 0);
    return col_op_want_float(node, diags, 0, "the operand") && col_op_axis(node, diags, type.shape, &axis) &&
           col_op_result(node, 0, type.dtype, type.shape);
}

bool col_infer_layer_norm(col_node *node, col_diags *diags)
{
    static const char *const names[] = {"the operand", "the weight", "the bias"};
    col_type x = operand_type(node, 0);
    if (!col_op_want_float(node, diags, 0, names[0])) return false;
    if (!x.shape.rank) return col_op_fault(node, diags, "a scalar has no axis to normalise over");
    for (uint32_t i = 1; i < 3; i++) {
        if (!col_op_want_same(node, diags, 0, i) || !col_op_want_rank(node, diags, i, names[i], 1))
            return false;
        col_type type = operand_type(node, i);
        if (type.shape.dims[0] == x.shape.dims[x.shape.rank - 1]) continue;
        return col_op_fault(node, diags, "%s is %s; the last dimension of %s needs size %lld", names[i],
                            col_op_type_text(diags, type), col_op_type_text(diags, x),
                            (long long)x.shape.dims[x.shape.rank - 1]);
    }
    col_shape rows = col_shape_one_last(x.shape);
    return col_op_result(node, 0, x.dtype, x.shape) && col_op_result(node, 1, wide_dtype(x.dtype), rows) &&
           col_op_result(node, 2, wide_dtype(x.dtype), rows);
}

/* --- softmax ------------------------------------------------------------------------------------------ */

/* exp(x - max) and, in `*out_sum`, its sum over the axis. */
static col_value *shifted_exp(col_builder *b, col_value *x, int axis, col_value **out_sum)
{
    col_value *e = op_exp(b, op_sub(b, x, op_reduce(b, COL_OP_MAX, x, axis)));
    *out_sum = op_reduce(b, COL_OP_SUM, e, axis);
    return e;
}

void col_lower_softmax(col_builder *b, col_node *node, col_value **out)
{
    col_value *x = col_node_operand(node, 0), *sum;
    col_value *e = shifted_exp(b, op_wide(b, x), col_node_axis(node, x->type.shape), &sum);
    out[0] = col_build_cast(b, op_mul(b, e, col_build_unary(b, COL_OP_RECIPROCAL, sum)), x->type.dtype);
}

/* x - max - log sum exp(x - max) */
void col_lower_log_softmax(col_builder *b, col_node *node, col_value **out)
{
    col_value *x = col_node_operand(node, 0), *wide = op_wide(b, x);
    int axis = col_node_axis(node, x->type.shape);
    col_value *shifted = op_sub(b, wide, op_reduce(b, COL_OP_MAX, wide, axis));
    col_value *sum = op_reduce(b, COL_OP_SUM, op_exp(b, shifted), axis);
    out[0] = col_build_cast(b, op_sub(b, shifted, col_build_unary(b, COL_OP_LOG, sum)), x->type.dtype);
}

/* dx = y (dy - sum(dy y)) */
void col_grad_softmax(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                      col_value **dx)
{
    (void)wanted;
    col_value *y = op_wide(b, &node->results[0]), *g = op_wide(b, dy[0]);
    col_value *sum = op_reduce(b, COL_OP_SUM, op_mul(b, g, y), col_node_axis(node, y->type.shape));
    dx[0] = col_build_cast(b, op_mul(b, y, op_sub(b, g, sum)), dy[0]->type.dtype);
}

/* dx = dy - exp(y) sum(dy) */
void col_grad_log_softmax(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                          col_value **dx)
{
    (void)wanted;
    col_value *y = op_wide(b, &node->results[0]), *g = op_wide(b, dy[0]);
    col_value *sum = op_reduce(b, COL_OP_SUM, g, col_node_axis(node, y->type.shape));
    dx[0] = col_build_cast(b, op_sub(b, g, op_mul(b, op_exp(b, y), sum)), dy[0]->type.dtype);
}

/* Softmax of `n` numbers `stride` apart, or its logarithm. */
static void softmax_run(int64_t n, int64_t stride, const double *x, double *y, bool logarithm)
{
    double largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (x[i * stride] > largest || isnan(x[i * stride])) largest = x[i * stride];
    }
    for (int64_t i = 0; i < n; i++) sum += exp(x[i * stride] - largest);
    for (int64_t i = 0; i < n; i++) {
        double shifted = x[i * stride] - largest;
        y[i * stride] = logarithm ? shifted - log(sum) : exp(shifted) / sum;
    }
}

static void eval_softmax(const col_node *node, const col_tensor *operands, col_tensor *results,
                         bool logarithm)
{
    col_shape shape = operands[0].type.shape;
    int axis = col_node_axis(node, shape);
    int64_t strides[COL_MAX_RANK], n = shape.dims[axis], count = col_shape_numel(shape);
    col_shape_strides(shape, strides);
    for (int64_t i = 0; i < count; i++) {
        if (i / strides[axis] % n == 0)
            softmax_run(n, strides[axis], operands[0].data + i, results[0].data + i, logarithm);
    }
}

void col_eval_softmax(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    eval_softmax(node, operands, results, false);
}

void col_eval_log_softmax(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    eval_softmax(node, operands, results, true);
}

/* --- layer normalisation ------------------------------------------------------------------------------ */

/* Sum over the last axis, times `factor`; the axis stays as size 1. */
static col_value *row_sum(col_builder *b, col_value *x, double factor)
{
    return op_scale(b, op_reduce(b, COL_OP_SUM, x, x->type.shape.rank - 1), factor);
}

/* Two passes, mean then variance of the differences: E[x^2] - E[x]^2 cancels when the mean is large. */
void col_lower_layer_norm(col_builder *b, col_node *node, col_value **out)
{
    col_value *x = op_wide(b, col_node_operand(node, 0));
    col_shape shape = x->type.shape;
    double inverse = 1 / (double)shape.dims[shape.rank - 1];
    col_value *mean = row_sum(b, x, inverse);
    col_value *centred = op_sub(b, x, mean);
    col_value *variance = row_sum(b, op_mul(b, centred, centred), inverse);
    col_value *rstd =
        col_build_unary(b, COL_OP_RSQRT, op_shift(b, variance, col_node_float(node, COL_ATTR_EPS)));
    col_value *scaled = op_mul(b, op_mul(b, centred, rstd), op_wide(b, col_node_operand(node, 1)));
    out[0] = col_build_cast(b, op_add(b, scaled, op_wide(b, col_node_operand(node, 2))),
                            node->results[0].type.dtype);
    out[1] = mean;
    out[2] = rstd;
}

/* With xhat = (x - mean) rstd, g = dy weight and n elements in a row:
 *   dx = rstd (g - sum(g)/n - xhat sum(g xhat)/n) + dmean/n - drstd rstd^2 xhat/n
 *   dweight = sum over rows of dy xhat, dbias = sum over rows of dy */
void col_grad_layer_norm(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                         col_value **dx)
{
    col_value *x = op_wide(b, col_node_operand(node, 0)), *rstd = &node->results[2];
    col_dtype dtype = node->results[0].type.dtype;
    col_shape shape = x->type.shape, columns = operand_type(node, 1).shape;
    double inverse = 1 / (double)shape.dims[shape.rank - 1];
    col_value *xhat = op_mul(b, op_sub(b, x, &node->results[1]), rstd);
    col_value *d = dy[0] ? op_wide(b, dy[0]) : col_build_full(b, 0, x->type);
    if (wanted[0]) {
        col_value *g = op_mul(b, d, op_wide(b, col_node_operand(node, 1)));
        col_value *shift = row_sum(b, g, inverse), *slope = row_sum(b, op_mul(b, g, xhat), inverse);
        col_value *sum = op_mul(b, rstd, op_sub(b, op_sub(b, g, shift), op_mul(b, xhat, slope)));
        if (dy[1]) sum = op_add(b, sum, op_scale(b, dy[1], inverse));
        if (dy[2]) {
            col_value *factor = op_scale(b, op_mul(b, dy[2], op_mul(b, rstd, rstd)), inverse);
            sum = op_sub(b, sum, op_mul(b, factor, xhat));
        }
        dx[0] = col_build_cast(b, sum, dtype);
    }
    if (wanted[1]) dx[1] = col_build_cast(b, col_build_sum_to(b, op_mul(b, d, xhat), columns), dtype);
    if (wanted[2]) dx[2] = col_build_cast(b, col_build_sum_to(b, d, columns), dtype);
}

void col_eval_layer_norm(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_shape shape = operands[0].type.shape;
    int64_t n = shape.dims[shape.rank - 1], rows = col_shape_numel(results[1].type.shape);
    const double *weight = operands[1].data, *bias = operands[2].data;
    for (int64_t r = 0; r < rows; r++) {
        const double *x = operands[0].data + r * n;
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
        for (int64_t i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)n;
        double rstd = 1 / sqrt(variance + col_node_float(node, COL_ATTR_EPS));
        for (int64_t i = 0; i < n; i++)
            results[0].data[r * n + i] = (x[i] - mean) * rstd * weight[i] + bias[i];
        results[1].data[r] = mean;
        results[2].data[r] = rstd;
    }
}
