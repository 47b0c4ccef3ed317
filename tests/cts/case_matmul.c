#include "tests/cts/cases.h"

/* Sizes where kernels change their mind: vectors, a block and its neighbours, and what is not a multiple. */
static int64_t choose_size(cts_case *c)
{
    static const int64_t sizes[] = {1, 1, 2, 3, 7, 16, 31, 64, 65, 130};
    return sizes[cts_random(c, 0, COL_COUNT(sizes) - 1)];
}

void case_matmul(cts_case *c)
{
    size_t batch = (size_t)cts_random(c, 0, 3), rank = batch + 2;
    int64_t dims[3][COL_PLAN_MAX_RANK], m = choose_size(c), n = choose_size(c), k = choose_size(c);
    for (size_t i = 0; i < batch; i++) dims[0][i] = dims[1][i] = dims[2][i] = cts_random(c, 1, 3);
    dims[0][batch] = dims[2][batch] = m;
    dims[0][batch + 1] = dims[1][batch] = k;
    dims[1][batch + 1] = dims[2][batch + 1] = n;
    col_plan_view *a = cts_view(c, CTS_MATRIX | CTS_REPEATS, rank, dims[0]);
    col_plan_view *b = cts_view(c, CTS_MATRIX | CTS_REPEATS, rank, dims[1]);
    col_plan_view *out = cts_view(c, CTS_MATRIX, rank, dims[2]);
    bool accumulates = cts_random(c, 0, 1);
    cts_fill(c);
    double *want = COL_NEW_ARRAY(c->arena, double, col_plan_numel(rank, out->dims)), *next = want;
    int64_t index[COL_PLAN_MAX_RANK] = {0};
    do {
        int64_t at_a[COL_PLAN_MAX_RANK], at_b[COL_PLAN_MAX_RANK];
        memcpy(at_a, index, sizeof at_a);
        memcpy(at_b, index, sizeof at_b);
        *next = accumulates ? cts_get(out, c->before, index) : 0;
        for (int64_t i = 0; i < k; i++) {
            at_a[batch + 1] = at_b[batch] = i;
            *next += (double)cts_get(a, c->before, at_a) * (double)cts_get(b, c->before, at_b);
        }
        next++;
    } while (cts_next(out, index));
    col_plan_view *reads[] = {a, b};
    col_plan_instruction *in = maker_instruction(&c->maker, "matmul", 2, reads, 1, &out);
    MAKER_KIND(&c->maker, in, MATMUL, matmul, Matmul)->accumulate = accumulates;
    cts_run(c);
    cts_expect(c, "matmul", out, want, 2e-6);
    cts_expect_rest(c, 1, &out);
}
