/* Batch normalisation of x [n, c, ...] per channel, as torch.nn.BatchNorm computes it in training. With m
 * elements to a channel, momentum a, and sums over all axes but the channel's:
 *
 *   mean = sum(x) / m,  var = sum((x - mean)^2) / m,  rstd = 1 / sqrt(var + eps)
 *   y    = (x - mean) rstd weight + bias
 *   next running mean     = (1 - a) running mean + a mean
 *   next running variance = (1 - a) running variance + a var m / (m - 1)
 *
 * Of 16-bit elements the variance is sum(x^2) / m - mean^2 in fp32, which takes one pass over x instead of two: what
 * that cancels, about mean^2 2^-23, is less than the mean^2 2^-18 that rounding x has added to its variance.
 *
 * The sums are ordinary reductions, so statistics are those of the whole batch however it is split. A channel
 * of one element has the running variance of 0 added, where PyTorch refuses. In inference the running values
 * take the place of the batch's (passes/inference.c). */
#include "ir/ops/family.h"

#include <math.h>

bool col_infer_batch_norm(col_node *node, col_diags *diags)
{
    static const char *const names[] = {"the operand", "the weight", "the bias", "the running mean",
                                        "the running variance"};
    col_type x = operand_type(node, 0);
    col_dtype wide = wide_dtype(x.dtype);
    if (!col_op_want_float(node, diags, 0, names[0])) return false;
    if (x.shape.rank < 2) {
        return col_op_fault(node, diags, "the operand must be [batch, channels, ...], not %s",
                            col_op_type_text(diags, x));
    }
    col_shape channels = {.rank = 1, .dims = {x.shape.dims[1]}};
    for (uint32_t i = 1; i < 5; i++) {
        col_type given = operand_type(node, i), wanted = col_type_make(x.dtype, channels);
        if (i > 2 && given.dtype == wide) wanted.dtype = wide;
        if (col_type_equal(given, wanted)) continue;
        return col_op_fault(node, diags, "%s is %s; for %s it should be %s", names[i],
                            col_op_type_text(diags, given), col_op_type_text(diags, x),
                            col_op_type_text(diags, wanted));
    }
    double momentum = col_node_float(node, COL_ATTR_MOMENTUM);
    if (!(momentum >= 0 && momentum <= 1))
        return col_op_fault(node, diags, "momentum %g is not in [0, 1]", momentum);
    for (uint32_t i = 1; i < 5; i++)
        col_op_result(node, i, i < 3 ? wide : operand_type(node, i).dtype, channels);
    return col_op_result(node, 0, x.dtype, x.shape);
}

/* [c] as [c, 1, ...], which lines up with x. */
static col_value *aligned(col_builder *b, col_value *v, col_shape x)
{
    col_shape shape = {.rank = x.rank - 1, .dims = {x.dims[1]}};
    for (int i = 1; i < shape.rank; i++) shape.dims[i] = 1;
    return col_build_reshape(b, op_wide(b, v), shape);
}

/* The sum over all axes but the channel's, times `factor`: [c]. */
static col_value *channel_sum(col_builder *b, col_value *x, double factor)
{
    int64_t axes[COL_MAX_RANK];
    int count = 0;
    for (int i = 0; i < x->type.shape.rank; i++) {
        if (i != 1) axes[count++] = i;
    }
    col_value *sum = col_build_reduce(b, COL_OP_SUM, x, count, axes, false);
    return factor == 1 ? sum : op_scale(b, sum, factor);
}

static double channel_elements(col_shape x)
{
    return (double)col_shape_numel(x) / (double)COL_MAX(x.dims[1], 1);
}

/* (1 - a) old + a new */
static col_value *running(col_builder *b, col_value *old, col_value *new, double a, double factor)
{
    col_value *sum = op_add(b, op_scale(b, op_wide(b, old), 1 - a), op_scale(b, new, a * factor));
    return col_build_cast(b, sum, old->type.dtype);
}

/* Whether the elements have no more digits than 16 bits hold. */
static bool is_narrow(const col_value *x)
{
    while (x->producer && x->producer->op == COL_OP_CAST && col_dtype_size(x->type.dtype) > 2)
        x = col_node_operand(x->producer, 0);
    return col_dtype_is_float(x->type.dtype) && col_dtype_size(x->type.dtype) == 2;
}

void col_lower_batch_norm(col_builder *b, col_node *node, col_value **out)
{
    col_value *x = op_wide(b, col_node_operand(node, 0));
    col_shape shape = x->type.shape;
    double m = channel_elements(shape), a = col_node_float(node, COL_ATTR_MOMENTUM);
    col_value *mean = channel_sum(b, x, 1 / m);
    col_value *centred = op_sub(b, x, aligned(b, mean, shape)), *variance;
    if (is_narrow(col_node_operand(node, 0))) {
        variance = op_sub(b, channel_sum(b, op_mul(b, x, x), 1 / m), op_mul(b, mean, mean));
        variance = col_build_binary(b, COL_OP_MAXIMUM, variance, op_like(b, 0, variance));
    } else {
        variance = channel_sum(b, op_mul(b, centred, centred), 1 / m);
    }
    col_value *rstd =
        col_build_unary(b, COL_OP_RSQRT, op_shift(b, variance, col_node_float(node, COL_ATTR_EPS)));
    col_value *slope = op_mul(b, rstd, op_wide(b, col_node_operand(node, 1)));
    col_value *y =
        op_add(b, op_mul(b, centred, aligned(b, slope, shape)), aligned(b, col_node_operand(node, 2), shape));
    out[0] = col_build_cast(b, y, node->results[0].type.dtype);
    out[1] = mean;
    out[2] = rstd;
    out[3] = running(b, col_node_operand(node, 3), mean, a, 1);
    out[4] = running(b, col_node_operand(node, 4), variance, a, m / COL_MAX(m - 1, 1));
}

/* With xhat = (x - mean) rstd:
 *   dbias = sum(dy),  dweight = sum(dy xhat),  dx = weight rstd (dy - dbias / m - xhat dweight / m)
 * where what depends on the channel alone is multiplied first.
 * No gradient goes through the statistics, which nothing trained reads. */
void col_grad_batch_norm(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                         col_value **dx)
{
    if (!dy[0] || dy[1] || dy[2] || dy[3] || dy[4]) return;
    col_value *x = op_wide(b, col_node_operand(node, 0)), *d = op_wide(b, dy[0]), *rstd = &node->results[2];
    col_shape shape = x->type.shape;
    double m = channel_elements(shape);
    col_value *centred = op_sub(b, x, aligned(b, &node->results[1], shape));
    col_value *bias = channel_sum(b, d, 1),
              *weight = op_mul(b, channel_sum(b, op_mul(b, d, centred), 1), rstd);
    if (wanted[0]) {
        col_value *scale = op_mul(b, rstd, op_wide(b, col_node_operand(node, 1)));
        col_value *shift = op_mul(b, op_scale(b, bias, 1 / m), scale);
        col_value *slope = op_mul(b, op_mul(b, op_scale(b, weight, 1 / m), rstd), scale);
        col_value *rest = op_sub(b, op_mul(b, d, aligned(b, scale, shape)), aligned(b, shift, shape));
        rest = op_sub(b, rest, op_mul(b, centred, aligned(b, slope, shape)));
        dx[0] = col_build_cast(b, rest, node->results[0].type.dtype);
    }
    if (wanted[1]) dx[1] = col_build_cast(b, weight, operand_type(node, 1).dtype);
    if (wanted[2]) dx[2] = col_build_cast(b, bias, operand_type(node, 2).dtype);
}

void col_eval_batch_norm(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_shape shape = operands[0].type.shape;
    int64_t channels = shape.dims[1], inner = 1, count;
    for (int i = 2; i < shape.rank; i++) inner *= shape.dims[i];
    count = shape.dims[0] * inner;
    double a = col_node_float(node, COL_ATTR_MOMENTUM), m = (double)count;
    for (int64_t c = 0; c < channels; c++) {
        double mean = 0, variance = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t i = 0; i < count; i++) {
                double x = operands[0].data[(i / inner * channels + c) * inner + i % inner];
                *(pass ? &variance : &mean) += (pass ? (x - mean) * (x - mean) : x) / m;
            }
        }
        double rstd = 1 / sqrt(variance + col_node_float(node, COL_ATTR_EPS));
        for (int64_t i = 0; i < count; i++) {
            int64_t at = (i / inner * channels + c) * inner + i % inner;
            double xhat = (operands[0].data[at] - mean) * rstd;
            results[0].data[at] = xhat * operands[1].data[c] + operands[2].data[c];
        }
        results[1].data[c] = mean;
        results[2].data[c] = rstd;
        results[3].data[c] = (1 - a) * operands[3].data[c] + a * mean;
        results[4].data[c] = (1 - a) * operands[4].data[c] + a * variance * m / fmax(m - 1, 1);
    }
}
