/* Variables cut over the ranks and put together again. */
#include "tests/cts/ranks.h"

/* Axes go to random dimensions, in random order, while they divide; the rest replicate. */
static col_layout choose_layout(cts_case *c, size_t rank, const int64_t *dims)
{
    col_mesh mesh = col_plan_mesh(c->maker.plan);
    col_layout layout = col_layout_whole();
    for (int tries = 0; tries < 2 * mesh.rank; tries++) {
        int axis = (int)cts_random(c, 0, mesh.rank - 1), dim = (int)cts_random(c, 0, (int64_t)rank - 1);
        if (col_layout_axes(&layout) >> axis & 1) continue;
        col_layout_push(&layout, dim, axis);
        if (!col_layout_fits(&layout, &mesh, (int)rank, dims)) col_layout_pop(&layout, dim);
    }
    return layout;
}

/* Row r of `rows` is rank r's block of the whole. */
static void check_blocks(const col_plan *plan, const col_plan_variable *v, const col_layout *layout,
                         const int32_t *whole, const int32_t *blocks)
{
    col_mesh mesh = col_plan_mesh(plan);
    int64_t local[COL_PLAN_MAX_RANK], start[COL_PLAN_MAX_RANK];
    int rank = (int)v->n_dims;
    col_layout_local(layout, &mesh, rank, v->dims, local);
    for (int64_t r = 0; r < col_mesh_size(&mesh); r++) {
        int64_t index[COL_PLAN_MAX_RANK] = {0}, numel = col_plan_numel(v->n_dims, local);
        for (int d = 0; d < rank; d++) start[d] = col_layout_start(layout, &mesh, v->dims[d], d, r);
        for (int64_t e = 0; e < numel; e++) {
            int64_t at = 0;
            for (int d = 0; d < rank; d++) at = at * v->dims[d] + start[d] + index[d];
            assert_int_equal(blocks[r * numel + e], whole[at]);
            for (int d = rank; d-- > 0;) {
                if (++index[d] < local[d]) break;
                index[d] = 0;
            }
        }
    }
}

/* x has any layout; a copy on each rank shows what the rank holds. */
static void run_variable(const ranks_suite *s, int number, const char *mesh_text)
{
    cts_case c = ranks_start(s, number, mesh_text);
    col_mesh mesh = col_plan_mesh(c.maker.plan);
    int64_t dims[COL_PLAN_MAX_RANK], local[COL_PLAN_MAX_RANK];
    size_t rank = (size_t)cts_random(&c, 1, 4);
    for (size_t i = 0; i < rank; i++) dims[i] = cts_random(&c, 1, 3) * (cts_random(&c, 0, 3) ? 4 : 3);
    col_layout layout = choose_layout(&c, rank, dims);
    col_layout_local(&layout, &mesh, (int)rank, dims, local);
    col_plan_view *x =
        maker_variable(&c.maker, COL__PLAN__VARIABLE_KIND__PARAM, "x", COL__PLAN__DTYPE__I32, rank, local);
    col_plan_variable *v = c.maker.variables.data[0];
    v->dims = col_arena_copy(c.arena, dims, sizeof dims);
    col_str text = {0};
    col_layout_print(&layout, (int)rank, &text);
    v->layout = maker_text(&c.maker, col_str_text(&text));
    col_str_fini(&text);
    col_plan_view *y = ranks_rows(&c, "y", COL__PLAN__DTYPE__I32, rank, local);
    col_plan_instruction *in = maker_instruction(&c.maker, "copy", 1, &x, 1, &y);
    (void)MAKER_KIND(&c.maker, in, COPY, copy, Copy);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    col_ranks *ranks = ranks_open(s, &c, 60);
    int64_t numel = col_plan_numel(rank, dims);
    uint64_t bytes = (uint64_t)numel * 4;
    int32_t *whole = malloc(bytes), *back = malloc(bytes),
            *blocks = malloc(col_plan_variable_bytes(plan->variables[1]));
    assert_true(whole && back && blocks);
    for (int64_t i = 0; i < numel; i++) whole[i] = (int32_t)cts_random(&c, INT32_MIN, INT32_MAX);
    for (int64_t at = 0; at < numel;) { /* in parts */
        int64_t count = cts_random(&c, 1, numel - at);
        assert_ok(col_ranks_write(ranks, v, (uint64_t)at * 4, whole + at, (uint64_t)count * 4));
        at += count;
    }
    assert_ok(col_ranks_read(ranks, v, 0, back, bytes));
    assert_memory_equal(whole, back, bytes);
    int64_t at = cts_random(&c, 0, numel - 1), count = cts_random(&c, 1, numel - at);
    assert_ok(col_ranks_read(ranks, v, (uint64_t)at * 4, back, (uint64_t)count * 4));
    assert_memory_equal(whole + at, back, (size_t)count * 4);
    bool is_split = col_layout_axes(&layout) != 0;
    bool in_parts = false;
    for (size_t d = 0; d < rank; d++) in_parts |= local[d] != dims[d];
    assert_true(is_split || !in_parts);
    assert_true(!col_ranks_host(ranks, v) == in_parts);
    if (c.type != &col_device_null) {
        assert_ok(col_ranks_run(ranks, plan->programs[0], NULL));
        assert_ok(col_ranks_read(ranks, plan->variables[1], 0, blocks,
                                 col_plan_variable_bytes(plan->variables[1])));
        check_blocks(plan, v, &layout, whole, blocks);
    }
    col_ranks_close(ranks);
    free(whole);
    free(back);
    free(blocks);
    cts_end(&c);
}

void test_variables(void **state)
{
    const ranks_suite *s = *state;
    for (size_t m = 0; m < s->mesh_count; m++) {
        for (int i = 0; i < s->cases; i++) run_variable(s, i << 4 | (int)m, s->meshes[m]);
    }
}
