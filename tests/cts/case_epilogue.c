/* Products with an epilogue, on devices that make them. */
#include <math.h>

#include "tests/cts/cases.h"

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

static double gelu_slope(double x)
{
    enum { STEPS = 1 << 14 };
    return (gelu(x + 1.0 / STEPS) - gelu(x - 1.0 / STEPS)) * STEPS / 2;
}

static double product_at(const cts_case *c, col_plan_view *const *reads, const int64_t *index)
{
    double sum = 0;
    for (int64_t i = 0; i < reads[0]->dims[1]; i++) {
        int64_t at_a[] = {index[0], i}, at_b[] = {i, index[1]};
        sum += (double)cts_get(reads[0], c->before, at_a) * (double)cts_get(reads[1], c->before, at_b);
    }
    return sum;
}

void case_epilogue(cts_case *c)
{
    static const Col__Plan__Epilogue kinds[] = {COL__PLAN__EPILOGUE__BIAS, COL__PLAN__EPILOGUE__BIAS_GELU,
                                                COL__PLAN__EPILOGUE__BIAS_GELU,
                                                COL__PLAN__EPILOGUE__GELU_SLOPE};
    if (c->type == &col_device_cpu) return;
    int64_t kind = cts_random(c, 0, 3);
    bool slope = kinds[kind] == COL__PLAN__EPILOGUE__GELU_SLOPE, aligned = cts_random(c, 0, 1);
    int64_t m = cts_random(c, 1, 70), n = cts_random(c, 1, 70), k = cts_random(c, 1, 40);
    if (aligned) { /* as libraries like it */
        m = (m + 7) / 8 * 8;
        n = (n + 7) / 8 * 8;
        k = (k + 7) / 8 * 8;
    }
    int layout = aligned ? CTS_DENSE : CTS_MATRIX;
    const int64_t a[] = {m, k}, b[] = {k, n}, out[] = {m, n};
    col_plan_view *reads[3] = {cts_view(c, layout, 2, a), cts_view(c, layout, 2, b),
                               slope ? cts_view(c, layout, 2, out) : cts_view(c, CTS_DENSE, 1, &n)};
    col_plan_view *writes[2] = {cts_view(c, layout, 2, out), cts_view(c, layout, 2, out)};
    size_t write_count = kind == 1 ? 2 : 1;
    cts_fill(c);
    double *want[2] = {COL_NEW_ARRAY(c->arena, double, m *n), COL_NEW_ARRAY(c->arena, double, m *n)};
    int64_t index[COL_PLAN_MAX_RANK] = {0}, i = 0;
    do {
        double third = (double)cts_get(reads[2], c->before, slope ? index : &index[1]);
        double product = product_at(c, reads, index);
        want[1][i] = product + third;
        want[0][i] = slope ? product * gelu_slope(third) : kind ? gelu(want[1][i]) : want[1][i];
        i++;
    } while (cts_next(writes[0], index));
    col_plan_instruction *in = maker_instruction(&c->maker, "product", 3, reads, write_count, writes);
    MAKER_KIND(&c->maker, in, MATMUL, matmul, Matmul)->epilogue = kinds[kind];
    cts_run(c);
    for (size_t w = 0; w < write_count; w++)
        cts_expect(c, w ? "before" : "product", writes[w], want[w], 5e-6);
    cts_expect_rest(c, write_count, writes);
}
