/* Arithmetic of hyperparameters: whole numbers are 64 bits and never wrap, division of two of them must come
 * out even, floats must stay finite unless an operand is not. */
#include "frontend/elaborate.h"

#include <math.h>
#include <string.h>

static const char *overflow = "the result does not fit a whole number of 64 bits";

static const char *int_infix(col_token_kind infix, int64_t x, int64_t y, int64_t *out)
{
    switch (infix) {
    case COL_TOKEN_PLUS: return __builtin_add_overflow(x, y, out) ? overflow : NULL;
    case COL_TOKEN_MINUS: return __builtin_sub_overflow(x, y, out) ? overflow : NULL;
    case COL_TOKEN_TIMES: return __builtin_mul_overflow(x, y, out) ? overflow : NULL;
    case COL_TOKEN_DIVIDE:
        if (!y) return "division by zero";
        if (x == INT64_MIN && y == -1) return overflow;
        if (x % y) return "the division leaves a remainder; use floor_div or ceil_div if that is meant";
        *out = x / y;
        return NULL;
    case COL_TOKEN_REMAINDER:
        if (!y) return "division by zero";
        *out = y == -1 ? 0 : x % y;
        return NULL;
    case COL_TOKEN_EQ: *out = x == y; return NULL;
    case COL_TOKEN_NE: *out = x != y; return NULL;
    case COL_TOKEN_LT: *out = x < y; return NULL;
    case COL_TOKEN_LE: *out = x <= y; return NULL;
    case COL_TOKEN_GT: *out = x > y; return NULL;
    case COL_TOKEN_GE: *out = x >= y; return NULL;
    default: COL_PANIC("infix token %d", infix);
    }
}

static const char *give_float(double value, bool finite_operands, col_datum *out)
{
    if (finite_operands && !isfinite(value)) return "the result is not a finite number";
    *out = col_datum_float(value);
    return NULL;
}

const char *col_number_infix(col_token_kind infix, const col_datum *x, const col_datum *y, col_datum *out)
{
    int64_t truth = 0;
    if (x->kind == COL_DATUM_INT && y->kind == COL_DATUM_INT) {
        const char *fault = int_infix(infix, x->int_value, y->int_value, &truth);
        if (!fault) *out = col_datum_int(truth);
        return fault;
    }
    double a = col_datum_number(x), b = col_datum_number(y);
    bool finite = isfinite(a) && isfinite(b);
    switch (infix) {
    case COL_TOKEN_PLUS: return give_float(a + b, finite, out);
    case COL_TOKEN_MINUS: return give_float(a - b, finite, out);
    case COL_TOKEN_TIMES: return give_float(a * b, finite, out);
    case COL_TOKEN_DIVIDE: return b == 0 ? "division by zero" : give_float(a / b, finite, out);
    case COL_TOKEN_REMAINDER: return "the remainder '%' is of whole numbers";
    case COL_TOKEN_EQ: truth = a == b; break;
    case COL_TOKEN_NE: truth = a != b; break;
    case COL_TOKEN_LT: truth = a < b; break;
    case COL_TOKEN_LE: truth = a <= b; break;
    case COL_TOKEN_GT: truth = a > b; break;
    case COL_TOKEN_GE: truth = a >= b; break;
    default: COL_PANIC("infix token %d", infix);
    }
    *out = col_datum_int(truth);
    return NULL;
}

typedef const char *(*number_fn)(uint32_t count, const col_datum *x, col_datum *out);

#define FLOAT_FUNCTION(name, expression)                                                                     \
    static const char *fn_##name(uint32_t count, const col_datum *arguments, col_datum *out)                 \
    {                                                                                                        \
        (void)count;                                                                                         \
        double x = col_datum_number(&arguments[0]);                                                          \
        return give_float(expression, true, out);                                                            \
    }
FLOAT_FUNCTION(sqrt, sqrt(x))
FLOAT_FUNCTION(exp, exp(x))
FLOAT_FUNCTION(log, log(x))
FLOAT_FUNCTION(float, x)

/* The float as a whole number, rounded by `round`. */
static const char *to_int(double x, double (*rounding)(double), col_datum *out)
{
    x = rounding(x);
    if (!(x >= -0x1p63 && x < 0x1p63)) return overflow;
    *out = col_datum_int((int64_t)x);
    return NULL;
}

#define INT_FUNCTION(name, rounding)                                                                         \
    static const char *fn_##name(uint32_t count, const col_datum *x, col_datum *out)                         \
    {                                                                                                        \
        (void)count;                                                                                         \
        if (x->kind != COL_DATUM_INT) return to_int(x->float_value, rounding, out);                          \
        *out = *x;                                                                                           \
        return NULL;                                                                                         \
    }
INT_FUNCTION(int, trunc)
INT_FUNCTION(floor, floor)
INT_FUNCTION(ceil, ceil)
INT_FUNCTION(round, round)

static const char *fn_abs(uint32_t count, const col_datum *x, col_datum *out)
{
    (void)count;
    *out = *x;
    if (x->kind == COL_DATUM_INT && x->int_value == INT64_MIN) return overflow;
    out->int_value = x->int_value < 0 ? -x->int_value : x->int_value;
    out->float_value = fabs(x->float_value);
    return NULL;
}

static const char *fn_pow(uint32_t count, const col_datum *x, col_datum *out)
{
    (void)count;
    if (x[0].kind != COL_DATUM_INT || x[1].kind != COL_DATUM_INT || x[1].int_value < 0) {
        return give_float(pow(col_datum_number(&x[0]), col_datum_number(&x[1])), true, out);
    }
    int64_t result = 1, base = x[0].int_value;
    for (int64_t n = x[1].int_value; n > 0; n >>= 1) { /* square and multiply */
        if ((n & 1) && __builtin_mul_overflow(result, base, &result)) return overflow;
        if (n > 1 && __builtin_mul_overflow(base, base, &base)) return overflow;
    }
    *out = col_datum_int(result);
    return NULL;
}

static const char *extreme(uint32_t count, const col_datum *x, bool greatest, col_datum *out)
{
    *out = x[0];
    for (uint32_t i = 1; i < count; i++) {
        bool both = out->kind == COL_DATUM_INT && x[i].kind == COL_DATUM_INT;
        bool less = both ? x[i].int_value < out->int_value : col_datum_number(&x[i]) < col_datum_number(out);
        bool more = both ? x[i].int_value > out->int_value : col_datum_number(&x[i]) > col_datum_number(out);
        if (greatest ? more : less) *out = x[i];
    }
    return NULL;
}

static const char *fn_min(uint32_t count, const col_datum *x, col_datum *out)
{
    return extreme(count, x, false, out);
}

static const char *fn_max(uint32_t count, const col_datum *x, col_datum *out)
{
    return extreme(count, x, true, out);
}

static const char *rounded_div(const col_datum *x, bool up, col_datum *out)
{
    if (x[0].kind != COL_DATUM_INT || x[1].kind != COL_DATUM_INT) return "both must be whole numbers";
    int64_t a = x[0].int_value, b = x[1].int_value;
    if (!b) return "division by zero";
    if (a == INT64_MIN && b == -1) return overflow;
    int64_t quotient = a / b, rest = a % b;
    if (rest && ((rest > 0) == (b > 0)) && up) quotient++;
    if (rest && ((rest > 0) != (b > 0)) && !up) quotient--;
    *out = col_datum_int(quotient);
    return NULL;
}

static const char *fn_floor_div(uint32_t count, const col_datum *x, col_datum *out)
{
    (void)count;
    return rounded_div(x, false, out);
}

static const char *fn_ceil_div(uint32_t count, const col_datum *x, col_datum *out)
{
    (void)count;
    return rounded_div(x, true, out);
}

static const char *fn_and(uint32_t count, const col_datum *x, col_datum *out)
{
    bool all = true;
    for (uint32_t i = 0; i < count; i++) all = all && col_datum_number(&x[i]) != 0;
    *out = col_datum_int(all);
    return NULL;
}

static const char *fn_or(uint32_t count, const col_datum *x, col_datum *out)
{
    bool any = false;
    for (uint32_t i = 0; i < count; i++) any = any || col_datum_number(&x[i]) != 0;
    *out = col_datum_int(any);
    return NULL;
}

static const char *fn_not(uint32_t count, const col_datum *x, col_datum *out)
{
    (void)count;
    *out = col_datum_int(col_datum_number(x) == 0);
    return NULL;
}

static const struct {
    const char *name;
    uint32_t low, high;
    number_fn call;
} functions[] = {
    {"sqrt", 1, 1, fn_sqrt},         {"exp", 1, 1, fn_exp},
    {"log", 1, 1, fn_log},           {"pow", 2, 2, fn_pow},
    {"abs", 1, 1, fn_abs},           {"min", 1, 64, fn_min},
    {"max", 1, 64, fn_max},          {"floor_div", 2, 2, fn_floor_div},
    {"ceil_div", 2, 2, fn_ceil_div}, {"int", 1, 1, fn_int},
    {"float", 1, 1, fn_float},       {"floor", 1, 1, fn_floor},
    {"ceil", 1, 1, fn_ceil},         {"round", 1, 1, fn_round},
    {"and", 1, 64, fn_and},          {"or", 1, 64, fn_or},
    {"not", 1, 1, fn_not},
};

int col_number_function_find(const char *name, uint32_t *out_low, uint32_t *out_high)
{
    for (size_t i = 0; i < COL_COUNT(functions); i++) {
        if (strcmp(functions[i].name, name)) continue;
        *out_low = functions[i].low;
        *out_high = functions[i].high;
        return (int)i;
    }
    return -1;
}

const char *col_number_function_name(int function)
{
    return function < (int)COL_COUNT(functions) ? functions[function].name : NULL;
}

const char *col_number_function(int function, uint32_t count, const col_datum *arguments, col_datum *out)
{
    return functions[function].call(count, arguments, out);
}
