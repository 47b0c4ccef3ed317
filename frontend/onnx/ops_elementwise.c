/* Elementwise ops. Sources of the formulas: the op's page in ONNX's operator reference. */
#include <math.h>
#include <string.h>

#include "frontend/onnx/node.h"

static col_value *unary(col_onnx_node *n, col_op op, col_value *x)
{
    return col_onnx_unary(n, op, x);
}

static col_value *binary(col_onnx_node *n, col_op op, col_value *x, col_value *y)
{
    return col_onnx_binary(n, op, x, y);
}

static col_value *with(col_onnx_node *n, col_op op, col_value *x, double y)
{
    return col_onnx_binary_number(n, op, x, y);
}

static bool is_float(const col_value *x)
{
    return x && col_dtype_is_float(x->type.dtype);
}

void col_onnx_op_unary(col_onnx_node *n, int op)
{
    n->outputs[0] = unary(n, (col_op)op, col_onnx_input(n, 0));
}

void col_onnx_op_identity(col_onnx_node *n, int detail)
{
    (void)detail;
    n->outputs[0] = col_onnx_input(n, 0);
}

void col_onnx_op_neg(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (is_float(x))
        n->outputs[0] = unary(n, COL_OP_NEG, x);
    else if (x)
        n->outputs[0] = binary(n, COL_OP_SUB, col_onnx_number(n, 0, x->type.dtype), x);
}

void col_onnx_op_abs(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (is_float(x))
        n->outputs[0] = unary(n, COL_OP_ABS, x);
    else if (x)
        n->outputs[0] = col_dtype_is_unsigned(x->type.dtype)
                            ? x
                            : binary(n, COL_OP_MAXIMUM, x,
                                     binary(n, COL_OP_SUB, col_onnx_number(n, 0, x->type.dtype), x));
}

void col_onnx_op_sign(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    if (is_float(x)) {
        n->outputs[0] = unary(n, COL_OP_SIGN, x);
        return;
    }
    n->outputs[0] = binary(n, COL_OP_SUB, col_onnx_cast(n, with(n, COL_OP_GT, x, 0), x->type.dtype),
                           col_onnx_cast(n, with(n, COL_OP_LT, x, 0), x->type.dtype));
}

void col_onnx_op_arithmetic(col_onnx_node *n, int op)
{
    n->outputs[0] = binary(n, (col_op)op, col_onnx_input(n, 0), col_onnx_input(n, 1));
}

void col_onnx_op_compare(col_onnx_node *n, int op)
{
    n->outputs[0] = binary(n, (col_op)op, col_onnx_input(n, 0), col_onnx_input(n, 1));
}

void col_onnx_op_logic(col_onnx_node *n, int op)
{
    n->outputs[0] = binary(n, (col_op)op, col_onnx_input(n, 0), col_onnx_input(n, 1));
}

/* x / y cut off towards zero (whole numbers up to 2^53). */
static col_value *whole_quotient(col_onnx_node *n, col_value *x, col_value *y)
{
    col_dtype dtype = x->type.dtype;
    col_value *quotient = binary(n, COL_OP_DIV, col_onnx_cast(n, x, COL_F64), col_onnx_cast(n, y, COL_F64));
    return col_onnx_cast(n, quotient, dtype);
}

void col_onnx_op_div(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *y = col_onnx_input(n, 1);
    if (!x || !y) return;
    n->outputs[0] = is_float(x) ? binary(n, COL_OP_DIV, x, y) : whole_quotient(n, x, y);
}

/* fmod = 1: the sign of the dividend, x - y trunc(x / y); 0: of the divisor, x - y floor(x / y). */
void col_onnx_op_mod(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *y = col_onnx_input(n, 1);
    if (!x || !y) return;
    bool cuts = col_onnx_int(n, "fmod", 0) != 0, is_real = is_float(x);
    col_dtype dtype = x->type.dtype;
    x = col_onnx_cast(n, x, COL_F64);
    y = col_onnx_cast(n, y, COL_F64);
    col_value *quotient = binary(n, COL_OP_DIV, x, y), *whole = unary(n, COL_OP_FLOOR, quotient);
    if (cuts) {
        col_value *up = unary(n, COL_OP_NEG, unary(n, COL_OP_FLOOR, unary(n, COL_OP_NEG, quotient)));
        whole = col_onnx_where(n, with(n, COL_OP_LT, quotient, 0), up, whole);
    }
    col_value *rest = binary(n, COL_OP_SUB, x, binary(n, COL_OP_MUL, y, whole));
    if (is_real) { /* of an infinite divisor the dividend is left, or what has the divisor's sign */
        col_value *is_endless = binary(n, COL_OP_AND, with(n, COL_OP_EQ, unary(n, COL_OP_ABS, y), INFINITY),
                                       with(n, COL_OP_LT, unary(n, COL_OP_ABS, x), INFINITY));
        col_value *turned = with(n, COL_OP_LT, binary(n, COL_OP_MUL, unary(n, COL_OP_SIGN, y), x), 0);
        rest = col_onnx_where(n, is_endless, cuts ? x : col_onnx_where(n, turned, y, x), rest);
    }
    n->outputs[0] = col_onnx_cast(n, rest, dtype);
}

/* The result has the base's type. Whole numbers go through f64. */
void col_onnx_op_pow(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *y = col_onnx_input(n, 1);
    if (!x || !y) return;
    col_dtype dtype = x->type.dtype, within = is_float(x) ? dtype : COL_F64;
    const col_tensor *exponent = col_onnx_known(n, y);
    if (exponent && is_float(x) && col_shape_numel(exponent->type.shape) == 1 && exponent->data[0] == 2 &&
        !exponent->type.shape.rank) {
        n->outputs[0] = binary(n, COL_OP_MUL, x, x);
        return;
    }
    col_value *power = binary(n, COL_OP_POW, col_onnx_cast(n, x, within), col_onnx_cast(n, y, within));
    n->outputs[0] = col_onnx_cast(n, power, dtype);
}

void col_onnx_op_variadic(col_onnx_node *n, int op)
{
    col_op fold = op == COL_OP_MEAN ? COL_OP_ADD : (col_op)op;
    col_value *all = col_onnx_input(n, 0);
    for (uint32_t i = 1; i < n->input_count; i++) all = binary(n, fold, all, col_onnx_input(n, i));
    if (op == COL_OP_MEAN) all = with(n, COL_OP_MUL, all, 1.0 / (double)COL_MAX(n->input_count, 1u));
    n->outputs[0] = all;
}

void col_onnx_op_where(col_onnx_node *n, int detail)
{
    (void)detail;
    n->outputs[0] = col_onnx_where(n, col_onnx_input(n, 0), col_onnx_input(n, 1), col_onnx_input(n, 2));
}

/* Bounds are attributes before opset 11, then scalars that may be absent. */
void col_onnx_op_clip(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *low = col_onnx_maybe(n, 1), *high = col_onnx_maybe(n, 2);
    if (x && n->opset < 11) {
        low = col_onnx_number(n, col_onnx_float(n, "min", -INFINITY), x->type.dtype);
        high = col_onnx_number(n, col_onnx_float(n, "max", INFINITY), x->type.dtype);
    }
    if (low) x = binary(n, COL_OP_MAXIMUM, x, low);
    if (high) x = binary(n, COL_OP_MINIMUM, x, high);
    n->outputs[0] = x;
}

void col_onnx_op_cast(col_onnx_node *n, int detail)
{
    (void)detail;
    col_dtype dtype;
    col_status status = col_onnx_dtype((int32_t)col_onnx_int(n, "to", 0), &dtype);
    col_onnx_ignore(n, "saturate"); /* says what becomes of 8-bit floats, which are refused */
    if (status)
        col_onnx_fault(n, "%s", col_error_message(status));
    else
        n->outputs[0] = col_onnx_cast(n, col_onnx_input(n, 0), dtype);
    col_error_free(status);
}

void col_onnx_op_cast_like(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *like = col_onnx_input(n, 1);
    col_onnx_ignore(n, "saturate");
    if (like) n->outputs[0] = col_onnx_cast(n, col_onnx_input(n, 0), like->type.dtype);
}

void col_onnx_op_ceil(col_onnx_node *n, int detail)
{
    (void)detail;
    n->outputs[0] = unary(n, COL_OP_NEG, unary(n, COL_OP_FLOOR, unary(n, COL_OP_NEG, col_onnx_input(n, 0))));
}

/* To the nearest, halves to the even one. */
void col_onnx_op_round(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *down = unary(n, COL_OP_FLOOR, x);
    col_value *rest = binary(n, COL_OP_SUB, x, down), *up = with(n, COL_OP_ADD, down, 1);
    col_value *even = with(n, COL_OP_MUL, unary(n, COL_OP_FLOOR, with(n, COL_OP_MUL, up, 0.5)), 2);
    col_value *nearest = col_onnx_where(n, with(n, COL_OP_GT, rest, 0.5), up, down);
    n->outputs[0] = col_onnx_where(n, with(n, COL_OP_EQ, rest, 0.5), even, nearest);
}

void col_onnx_op_relu(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    n->outputs[0] = is_float(x) ? unary(n, COL_OP_RELU, x) : with(n, COL_OP_MAXIMUM, x, 0);
}

static col_value *positive_or(col_onnx_node *n, col_value *x, col_value *otherwise)
{
    return col_onnx_where(n, with(n, COL_OP_GT, x, 0), x, otherwise);
}

/* Elu (0), Celu (1), Selu (2): gamma (x or alpha (exp(x / width) - 1)). */
void col_onnx_op_elu(col_onnx_node *n, int which)
{
    col_value *x = col_onnx_input(n, 0);
    double alpha = col_onnx_float(n, "alpha", which == 2 ? 1.67326319217681884765625 : 1);
    double gamma = which == 2 ? col_onnx_float(n, "gamma", 1.05070102214813232421875) : 1;
    col_value *scaled = which == 1 ? with(n, COL_OP_MUL, x, 1 / alpha) : x;
    /* Where x is positive the exponential must not overflow, for the gradient's sake. */
    col_value *grown = unary(n, COL_OP_EXP, with(n, COL_OP_MINIMUM, scaled, 0));
    col_value *below = with(n, COL_OP_MUL, with(n, COL_OP_SUB, grown, 1), alpha);
    col_value *y = positive_or(n, x, below);
    n->outputs[0] = which == 2 ? with(n, COL_OP_MUL, y, gamma) : y;
}

void col_onnx_op_leaky_relu(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    n->outputs[0] = positive_or(n, x, with(n, COL_OP_MUL, x, col_onnx_float(n, "alpha", 0.01)));
}

void col_onnx_op_prelu(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    n->outputs[0] = positive_or(n, x, binary(n, COL_OP_MUL, x, col_onnx_input(n, 1)));
}

void col_onnx_op_thresholded_relu(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    n->outputs[0] = col_onnx_where(n, with(n, COL_OP_GT, x, col_onnx_float(n, "alpha", 1)), x,
                                   col_onnx_number(n, 0, x->type.dtype));
}

/* HardSigmoid: max(0, min(1, alpha x + beta)); HardSwish (1): x times that, with its own constants. */
void col_onnx_op_hard_sigmoid(col_onnx_node *n, int swish)
{
    col_value *x = col_onnx_input(n, 0);
    double alpha = swish ? 1.0 / 6 : col_onnx_float(n, "alpha", 0.2);
    double beta = swish ? 0.5 : col_onnx_float(n, "beta", 0.5);
    col_value *line = with(n, COL_OP_ADD, with(n, COL_OP_MUL, x, alpha), beta);
    col_value *y = with(n, COL_OP_MAXIMUM, with(n, COL_OP_MINIMUM, line, 1), 0);
    n->outputs[0] = swish ? binary(n, COL_OP_MUL, x, y) : y;
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)) */
static col_value *softplus(col_onnx_node *n, col_value *x)
{
    col_value *decay = unary(n, COL_OP_EXP, unary(n, COL_OP_NEG, unary(n, COL_OP_ABS, x)));
    return binary(n, COL_OP_ADD, with(n, COL_OP_MAXIMUM, x, 0),
                  unary(n, COL_OP_LOG, with(n, COL_OP_ADD, decay, 1)));
}

void col_onnx_op_softplus(col_onnx_node *n, int detail)
{
    (void)detail;
    n->outputs[0] = softplus(n, col_onnx_input(n, 0));
}

void col_onnx_op_mish(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    n->outputs[0] = binary(n, COL_OP_MUL, x, unary(n, COL_OP_TANH, softplus(n, x)));
}

void col_onnx_op_softsign(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    n->outputs[0] = binary(n, COL_OP_DIV, x, with(n, COL_OP_ADD, unary(n, COL_OP_ABS, x), 1));
}

void col_onnx_op_gelu(col_onnx_node *n, int detail)
{
    (void)detail;
    const char *kind = col_onnx_text(n, "approximate", "none");
    bool is_tanh = !strcmp(kind, "tanh");
    if (!is_tanh && strcmp(kind, "none")) col_onnx_fault(n, "approximate '%s' is not supported", kind);
    n->outputs[0] = unary(n, is_tanh ? COL_OP_GELU_TANH : COL_OP_GELU, col_onnx_input(n, 0));
}

void col_onnx_op_tan(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    n->outputs[0] = binary(n, COL_OP_DIV, unary(n, COL_OP_SIN, x), unary(n, COL_OP_COS, x));
}

/* sinh, cosh, asinh, acosh, atanh by exponentials and logarithms; in f64, since those cancel near 0. */
void col_onnx_op_hyperbolic(col_onnx_node *n, int which)
{
    enum { SINH, COSH, ASINH, ACOSH };
    col_value *given = col_onnx_input(n, 0), *x = col_onnx_cast(n, given, COL_F64), *y;
    if (!given) return;
    if (which == SINH || which == COSH) {
        col_value *rise = unary(n, COL_OP_EXP, x), *fall = unary(n, COL_OP_EXP, unary(n, COL_OP_NEG, x));
        y = with(n, COL_OP_MUL, binary(n, which == SINH ? COL_OP_SUB : COL_OP_ADD, rise, fall), 0.5);
    } else if (which == ASINH || which == ACOSH) {
        col_value *size = which == ASINH ? unary(n, COL_OP_ABS, x) : x;
        col_value *root; /* of x^2 + 1; of x^2 - 1 by its factors, so that it is no number below 1 */
        if (which == ASINH)
            root = unary(n, COL_OP_SQRT, with(n, COL_OP_ADD, binary(n, COL_OP_MUL, x, x), 1));
        else
            root = binary(n, COL_OP_MUL, unary(n, COL_OP_SQRT, with(n, COL_OP_SUB, x, 1)),
                          unary(n, COL_OP_SQRT, with(n, COL_OP_ADD, x, 1)));
        y = unary(n, COL_OP_LOG, binary(n, COL_OP_ADD, size, root));
        if (which == ASINH) y = binary(n, COL_OP_MUL, unary(n, COL_OP_SIGN, x), y);
    } else {
        col_value *one = col_onnx_number(n, 1, COL_F64);
        col_value *ratio =
            binary(n, COL_OP_DIV, binary(n, COL_OP_ADD, one, x), binary(n, COL_OP_SUB, one, x));
        y = with(n, COL_OP_MUL, unary(n, COL_OP_LOG, ratio), 0.5);
    }
    n->outputs[0] = col_onnx_cast(n, y, given->type.dtype);
}

/* atan(x) in f64: 1 / x for |x| > 1, since atan(x) + atan(1 / x) = pi / 2; then atan(x) = 2 atan(x / (1 + sqrt(1 +
 * x^2))) three times, which leaves |x| < 0.1, and the series x - x^3 / 3 + ... */
static col_value *arctangent(col_onnx_node *n, col_value *x)
{
    enum { HALVINGS = 3, TERMS = 8 };
    col_value *size = unary(n, COL_OP_ABS, x), *is_large = with(n, COL_OP_GT, size, 1);
    col_value *one = col_onnx_number(n, 1, COL_F64);
    col_value *t =
        binary(n, COL_OP_DIV, col_onnx_where(n, is_large, one, size), col_onnx_where(n, is_large, size, one));
    for (int i = 0; i < HALVINGS; i++) {
        col_value *root = unary(n, COL_OP_SQRT, with(n, COL_OP_ADD, binary(n, COL_OP_MUL, t, t), 1));
        t = binary(n, COL_OP_DIV, t, with(n, COL_OP_ADD, root, 1));
    }
    col_value *square = binary(n, COL_OP_MUL, t, t), *sum = col_onnx_number(n, 0, COL_F64);
    for (int k = TERMS - 1; k >= 0; k--)
        sum = with(n, COL_OP_ADD, binary(n, COL_OP_MUL, sum, square), (k % 2 ? -1.0 : 1.0) / (2 * k + 1));
    col_value *angle = with(n, COL_OP_MUL, binary(n, COL_OP_MUL, sum, t), 1 << HALVINGS);
    col_value *rest = binary(n, COL_OP_SUB, col_onnx_number(n, M_PI_2, COL_F64), angle);
    return binary(n, COL_OP_MUL, unary(n, COL_OP_SIGN, x), col_onnx_where(n, is_large, rest, angle));
}

/* asin(x) = 2 atan(x / (1 + sqrt(1 - x^2))), acos(x) = 2 atan(sqrt((1 - x) / (1 + x))) */
void col_onnx_op_arc(col_onnx_node *n, int which)
{
    enum { TANGENT, SINE };
    col_value *given = col_onnx_input(n, 0), *x = col_onnx_cast(n, given, COL_F64), *y;
    if (!given) return;
    col_value *one = col_onnx_number(n, 1, COL_F64), *up = binary(n, COL_OP_ADD, one, x),
              *down = binary(n, COL_OP_SUB, one, x);
    if (which == TANGENT) {
        y = arctangent(n, x);
    } else {
        col_value *root = unary(n, COL_OP_SQRT, binary(n, COL_OP_MUL, up, down));
        col_value *ratio = which == SINE ? binary(n, COL_OP_DIV, x, with(n, COL_OP_ADD, root, 1))
                                         : unary(n, COL_OP_SQRT, binary(n, COL_OP_DIV, down, up));
        y = with(n, COL_OP_MUL, arctangent(n, ratio), 2);
    }
    n->outputs[0] = col_onnx_cast(n, y, given->type.dtype);
}

/* x + bias below -lambd, x - bias above lambd, 0 between. */
void col_onnx_op_shrink(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    col_dtype dtype = x->type.dtype;
    col_value *wide = is_float(x) ? x : col_onnx_cast(n, x, COL_F64);
    double limit = col_onnx_float(n, "lambd", 0.5), bias = col_onnx_float(n, "bias", 0);
    col_value *zero = col_onnx_number(n, 0, is_float(x) ? dtype : COL_F64);
    col_value *high =
        col_onnx_where(n, with(n, COL_OP_GT, wide, limit), with(n, COL_OP_SUB, wide, bias), zero);
    col_value *all =
        col_onnx_where(n, with(n, COL_OP_LT, wide, -limit), with(n, COL_OP_ADD, wide, bias), high);
    n->outputs[0] = col_onnx_cast(n, all, dtype);
}

void col_onnx_op_is_nan(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    n->outputs[0] = binary(n, COL_OP_NE, x, x);
}

void col_onnx_op_is_inf(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    bool above = col_onnx_int(n, "detect_positive", 1) != 0,
         below = col_onnx_int(n, "detect_negative", 1) != 0;
    col_value *high = with(n, COL_OP_EQ, x, INFINITY), *low = with(n, COL_OP_EQ, x, -INFINITY);
    if (above && below)
        n->outputs[0] = binary(n, COL_OP_OR, high, low);
    else if (above || below)
        n->outputs[0] = above ? high : low;
    else if (x)
        n->outputs[0] = col_onnx_full(n, 0, col_type_make(COL_BOOL, x->type.shape));
}

/* Inference: the operand, and a mask that keeps all. Training at a rate of 0 is the same. */
void col_onnx_op_dropout(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    col_onnx_ignore(n, "seed");
    if (n->opset < 12)
        col_onnx_ignore(n, "ratio");
    else
        (void)col_onnx_maybe(n, 1);
    bool training =
        n->opset >= 12 && col_onnx_maybe(n, 2) && col_onnx_known_number(n, 2, "training_mode") != 0;
    if (training && (!col_onnx_maybe(n, 1) || col_onnx_known_number(n, 1, "ratio") != 0))
        col_onnx_fault(n,
                       "dropping elements (training_mode) is not supported: export the model for inference");
    n->outputs[0] = x;
    col_dtype kept = n->opset < 10 ? x->type.dtype : COL_BOOL;
    if (col_onnx_wants(n, 1)) n->outputs[1] = col_onnx_full(n, 1, col_type_make(kept, x->type.shape));
}
