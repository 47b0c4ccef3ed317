#include "tests/cts/cases.h"

static size_t choose_dims(cts_case *c, size_t low, int64_t *dims)
{
    size_t rank = (size_t)cts_random(c, (int64_t)low, 5);
    for (size_t i = 0; i < rank; i++) dims[i] = cts_random(c, 1, 6);
    return rank;
}

void case_copy(cts_case *c)
{
    int64_t dims[COL_PLAN_MAX_RANK], index[COL_PLAN_MAX_RANK] = {0};
    size_t rank = choose_dims(c, 0, dims);
    if (rank && !cts_random(c, 0, 20))
        dims[cts_random(c, 0, (int64_t)rank - 1)] = 5000; /* for several threads */
    col_plan_view *from = cts_view(c, CTS_ANY | CTS_REPEATS, rank, dims),
                  *to = cts_view(c, CTS_ANY, rank, dims);
    cts_fill(c);
    double *want = COL_NEW_ARRAY(c->arena, double, col_plan_numel(rank, dims)), *next = want;
    do *next++ = cts_get(from, c->before, index);
    while (cts_next(from, index));
    col_plan_instruction *in = maker_instruction(&c->maker, "copy", 1, &from, 1, &to);
    (void)MAKER_KIND(&c->maker, in, COPY, copy, Copy);
    cts_run(c);
    cts_expect(c, "copy", to, want, 0);
    cts_expect_rest(c, 1, &to);
}

void case_fill(cts_case *c)
{
    int64_t dims[COL_PLAN_MAX_RANK];
    size_t rank = choose_dims(c, 0, dims);
    if (rank && !cts_random(c, 0, 20)) dims[0] = 200000; /* more than one thread's worth */
    col_plan_view *view = cts_view(c, cts_random(c, 0, 1) ? CTS_DENSE : CTS_ANY, rank, dims);
    cts_fill(c);
    double *want = COL_NEW_ARRAY(c->arena, double, col_plan_numel(rank, dims));
    col_plan_instruction *in = maker_instruction(&c->maker, "fill", 0, NULL, 1, &view);
    (void)MAKER_KIND(&c->maker, in, FILL, fill, Fill);
    cts_run(c);
    cts_expect(c, "fill", view, want, 0);
    cts_expect_rest(c, 1, &view);
}

/* Starts outside of the base are moved so that the update lies inside. */
void case_update_slice(cts_case *c)
{
    int64_t dims[COL_PLAN_MAX_RANK], part[COL_PLAN_MAX_RANK], index[COL_PLAN_MAX_RANK] = {0};
    size_t rank = choose_dims(c, 1, dims), axis = (size_t)cts_random(c, 0, (int64_t)rank - 1);
    memcpy(part, dims, sizeof part);
    part[axis] = cts_random(c, 1, dims[axis]);
    col_plan_view *base = cts_view(c, CTS_ANY, rank, dims),
                  *update = cts_view(c, CTS_ANY | CTS_REPEATS, rank, part);
    col_plan_view *start = maker_view(&c->maker, COL__PLAN__DTYPE__I32, 0, NULL);
    cts_fill(c);
    int32_t asked = (int32_t)cts_random(c, -2, dims[axis] + 1);
    if (!cts_random(c, 0, 10)) asked = cts_random(c, 0, 1) ? INT32_MAX : INT32_MIN;
    memcpy(c->before + start->offset, &asked, sizeof asked);
    int64_t at = COL_MIN(COL_MAX((int64_t)asked, 0), dims[axis] - part[axis]);
    double *want = COL_NEW_ARRAY(c->arena, double, col_plan_numel(rank, dims)), *next = want;
    do {
        int64_t inside[COL_PLAN_MAX_RANK];
        memcpy(inside, index, sizeof inside);
        inside[axis] -= at;
        bool replaced = inside[axis] >= 0 && inside[axis] < part[axis];
        *next++ = replaced ? cts_get(update, c->before, inside) : cts_get(base, c->before, index);
    } while (cts_next(base, index));
    col_plan_view *reads[] = {update, start};
    col_plan_instruction *in = maker_instruction(&c->maker, "update_slice", 2, reads, 1, &base);
    MAKER_KIND(&c->maker, in, UPDATE_SLICE, update_slice, UpdateSlice)->axis = (int32_t)axis;
    cts_run(c);
    cts_expect(c, "update_slice", base, want, 0);
    cts_expect_rest(c, 1, &base);
}

void case_scatter_add(cts_case *c)
{
    size_t rank = (size_t)cts_random(c, 1, 2);
    int64_t dims[3], rows = cts_random(c, 1, 9), columns = cts_random(c, 1, 200),
                     index[COL_PLAN_MAX_RANK] = {0};
    for (size_t i = 0; i < rank; i++) dims[i] = cts_random(c, 1, 6);
    dims[rank] = columns;
    col_plan_view *ids = maker_view(&c->maker, COL__PLAN__DTYPE__I32, rank, dims);
    col_plan_view *updates = cts_view(c, CTS_DENSE, rank + 1, dims);
    col_plan_view *base = cts_view(c, CTS_DENSE, 2, (int64_t[]){rows, columns});
    cts_fill(c);
    int64_t count = col_plan_numel(rank, dims);
    double *want = COL_NEW_ARRAY(c->arena, double, rows *columns), *next = want;
    do *next++ = cts_get(base, c->before, index);
    while (cts_next(base, index));
    for (int64_t i = 0; i < count; i++) {
        int32_t id = (int32_t)cts_random(c, 0, rows - 1);
        memcpy(c->before + ids->offset + (uint64_t)i * sizeof id, &id, sizeof id);
        const float *from = (const float *)(const void *)(c->before + updates->offset) + i * columns;
        for (int64_t k = 0; k < columns; k++) want[id * columns + k] += from[k];
    }
    col_plan_view *reads[] = {ids, updates};
    col_plan_instruction *in = maker_instruction(&c->maker, "scatter_add", 2, reads, 1, &base);
    (void)MAKER_KIND(&c->maker, in, SCATTER_ADD, scatter_add, ScatterAdd);
    cts_run(c);
    cts_expect(c, "scatter_add", base, want, 1e-6);
    cts_expect_rest(c, 1, &base);
}
