/* Activations. All take their inference from float_unary (ir/ops/elementwise.c). */
#include "ir/ops/family.h"

#include <math.h>

#define SQRT_HALF      0.70710678118654752440 /* sqrt(1/2) */
#define SQRT_2_OVER_PI 0.79788456080286535588 /* sqrt(2/pi) */
#define CUBIC          0.044715               /* Hendrycks and Gimpel, "Gaussian error linear units", 2016 */

/* Each function is written once, on wide values: narrow inputs are widened for the formula as a whole. */
typedef col_value *(*formula)(col_builder *b, col_value *x);

static col_value *sigmoid_of(col_builder *b, col_value *x)
{
    return col_build_unary(b, COL_OP_RECIPROCAL, op_shift(b, op_exp(b, op_neg(b, x)), 1));
}

static col_value *relu_of(col_builder *b, col_value *x)
{
    return col_build_binary(b, COL_OP_MAXIMUM, x, op_like(b, 0, x));
}

static col_value *silu_of(col_builder *b, col_value *x)
{
    return op_mul(b, x, sigmoid_of(b, x));
}

/* Normal distribution function. */
static col_value *phi_of(col_builder *b, col_value *x)
{
    col_value *erf = col_build_unary(b, COL_OP_ERF, op_scale(b, x, SQRT_HALF));
    return op_shift(b, op_scale(b, erf, 0.5), 0.5);
}

static col_value *gelu_of(col_builder *b, col_value *x)
{
    return op_mul(b, x, phi_of(b, x));
}

/* tanh(sqrt(2/pi) (x + 0.044715 x^3)) */
static col_value *tanh_part(col_builder *b, col_value *x)
{
    col_value *cubic = op_shift(b, op_scale(b, op_mul(b, x, x), SQRT_2_OVER_PI * CUBIC), SQRT_2_OVER_PI);
    return col_build_unary(b, COL_OP_TANH, op_mul(b, x, cubic));
}

static col_value *gelu_tanh_of(col_builder *b, col_value *x)
{
    return op_mul(b, x, op_shift(b, op_scale(b, tanh_part(b, x), 0.5), 0.5));
}

/* 1 where x > 0, else 0 */
static col_value *relu_slope(col_builder *b, col_value *x)
{
    return col_build_where(b, col_build_binary(b, COL_OP_GT, x, op_like(b, 0, x)), op_like(b, 1, x),
                           op_like(b, 0, x));
}

/* s (1 - s) */
static col_value *sigmoid_slope(col_builder *b, col_value *x)
{
    col_value *s = sigmoid_of(b, x);
    return op_mul(b, s, op_complement(b, s));
}

/* s (1 + x (1 - s)) */
static col_value *silu_slope(col_builder *b, col_value *x)
{
    col_value *s = sigmoid_of(b, x);
    return op_mul(b, s, op_shift(b, op_mul(b, x, op_complement(b, s)), 1));
}

/* Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi) */
static col_value *gelu_slope(col_builder *b, col_value *x)
{
    col_value *density = op_scale(b, op_exp(b, op_scale(b, op_mul(b, x, x), -0.5)), SQRT_2_OVER_PI / 2);
    return op_add(b, phi_of(b, x), op_mul(b, x, density));
}

/* (1 + t) / 2 + x (1 - t^2) / 2 * sqrt(2/pi) (1 + 3 * 0.044715 x^2) */
static col_value *gelu_tanh_slope(col_builder *b, col_value *x)
{
    col_value *t = tanh_part(b, x);
    col_value *inner =
        op_shift(b, op_scale(b, op_mul(b, x, x), 1.5 * SQRT_2_OVER_PI * CUBIC), SQRT_2_OVER_PI / 2);
    col_value *second = op_mul(b, op_mul(b, x, op_complement(b, op_mul(b, t, t))), inner);
    return op_add(b, op_shift(b, op_scale(b, t, 0.5), 0.5), second);
}

static void lower_with(col_builder *b, col_node *node, col_value **out, formula f)
{
    col_value *x = col_node_operand(node, 0);
    out[0] = col_build_cast(b, f(b, op_wide(b, x)), x->type.dtype);
}

static void differentiate_with(col_builder *b, col_node *node, col_value *const *dy, col_value **dx,
                               formula slope)
{
    col_value *x = col_node_operand(node, 0);
    dx[0] = col_build_cast(b, op_mul(b, op_wide(b, dy[0]), slope(b, op_wide(b, x))), x->type.dtype);
}

col_value *op_gelu_tanh_gradient(col_builder *b, col_value *x, col_value *dy)
{
    return col_build_cast(b, op_mul(b, op_wide(b, dy), gelu_tanh_slope(b, op_wide(b, x))), x->type.dtype);
}

static double relu(double x)
{
    return isnan(x) || x > 0 ? x : 0;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double gelu(double x)
{
    return 0.5 * x * (1 + erf(x * SQRT_HALF));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x)));
}

double op_gelu_tanh(double x)
{
    return gelu_tanh(x);
}

double op_gelu_tanh_slope(double x)
{
    double t = tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x);
}

#define VALUES(name)                                                                                         \
    void col_lower_##name(col_builder *b, col_node *node, col_value **out)                                   \
    {                                                                                                        \
        lower_with(b, node, out, name##_of);                                                                 \
    }                                                                                                        \
    void col_eval_##name(const col_node *node, const col_tensor *operands, col_tensor *results)              \
    {                                                                                                        \
        (void)node;                                                                                          \
        int64_t count = col_shape_numel(results[0].type.shape);                                              \
        for (int64_t i = 0; i < count; i++) results[0].data[i] = name(operands[0].data[i]);                  \
    }

#define ACTIVATION(name)                                                                                     \
    VALUES(name)                                                                                             \
    void col_grad_##name(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,           \
                         col_value **dx)                                                                     \
    {                                                                                                        \
        (void)wanted;                                                                                        \
        differentiate_with(b, node, dy, dx, name##_slope);                                                   \
    }

/* The result tells as well as the operand where the slope is 1, and the operand need not be kept for it. Only that of a
 * normalisation is as good as there: it is made again from what the normalisation's own gradient reads. */
void col_grad_relu(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    col_value *x = col_node_operand(node, 0);
    const col_node *maker = x->producer;
    (void)wanted;
    while (maker && maker->op == COL_OP_CAST) maker = col_node_operand(maker, 0)->producer;
    bool is_normalised = maker && maker->op == COL_OP_BATCH_NORM;
    col_value *slope = relu_slope(b, op_wide(b, is_normalised ? x : &node->results[0]));
    dx[0] = col_build_cast(b, op_mul(b, op_wide(b, dy[0]), slope), x->type.dtype);
}

VALUES(relu)
ACTIVATION(sigmoid)
ACTIVATION(silu)
ACTIVATION(gelu)
ACTIVATION(gelu_tanh)
