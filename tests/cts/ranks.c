#include "tests/cts/ranks.h"

cts_case ranks_start(const ranks_suite *s, int number, const char *mesh)
{
    cts_case c = cts_start(s->type, 0, (uint64_t)(number + 1) * UINT64_C(0x9e3779b97f4a7c15));
    col_mesh parsed;
    assert_true(col_mesh_parse(mesh, &parsed));
    c.maker.plan->n_mesh = (size_t)parsed.rank;
    c.maker.plan->mesh = col_arena_copy(c.arena, parsed.dims, sizeof *parsed.dims * (size_t)parsed.rank);
    return c;
}

col_ranks *ranks_open(const ranks_suite *s, cts_case *c, double timeout)
{
    col_ranks *ranks = NULL;
    if (s->comm) memset(s->comm->sent, 0, sizeof s->comm->sent);
    assert_ok(col_plan_verify(c->maker.plan));
    col_ranks_options options = {.timeout = timeout, .comm = s->comm};
    if (s->comm) options.sharing = s->comm->sharing;
    if (s->comm) options.device.place = s->comm->place;
    assert_ok(col_ranks_open(c->maker.plan, c->type, &options, &ranks));
    return ranks;
}

col_plan_view *ranks_rows(cts_case *c, const char *name, Col__Plan__Dtype dtype, size_t rank,
                          const int64_t *dims)
{
    col_mesh mesh = col_plan_mesh(c->maker.plan);
    int64_t all[COL_PLAN_MAX_RANK] = {1};
    memcpy(all + 1, dims, rank * sizeof *dims);
    maker_variable(&c->maker, COL__PLAN__VARIABLE_KIND__PARAM, name, dtype, rank + 1, all);
    col_plan_variable *v = c->maker.variables.data[c->maker.variables.len - 1];
    v->dims = COL_NEW_ARRAY(c->arena, int64_t, rank + 1);
    memcpy(v->dims, all, (rank + 1) * sizeof *all);
    v->dims[0] = col_mesh_size(&mesh);
    col_layout layout = col_layout_whole();
    for (int a = 0; a < mesh.rank; a++) col_layout_push(&layout, 0, a);
    col_str text = {0};
    col_layout_print(&layout, (int)rank + 1, &text);
    v->layout = maker_text(&c->maker, col_str_text(&text));
    col_str_fini(&text);
    col_plan_view *view = COL_NEW(c->arena, col_plan_view);
    col__plan__view__init(view);
    view->offset = v->offset;
    view->dtype = dtype;
    view->n_dims = view->n_strides = rank;
    view->dims = col_arena_copy(c->arena, dims, rank * sizeof *dims);
    view->strides = COL_NEW_ARRAY(c->arena, int64_t, rank);
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0; stride *= dims[i]) view->strides[i] = stride;
    return view;
}

double ranks_decode(Col__Plan__Dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: return (double)((const float *)data)[i];
    case COL__PLAN__DTYPE__F64: return ((const double *)data)[i];
    case COL__PLAN__DTYPE__F16: return (double)((const _Float16 *)data)[i];
    case COL__PLAN__DTYPE__I32: return ((const int32_t *)data)[i];
    case COL__PLAN__DTYPE__I64: return (double)((const int64_t *)data)[i];
    default: break;
    }
    assert_int_equal(dtype, COL__PLAN__DTYPE__BF16);
    uint32_t bits = (uint32_t)((const uint16_t *)data)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

void ranks_encode(Col__Plan__Dtype dtype, void *data, int64_t i, double value)
{
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: ((float *)data)[i] = single; return;
    case COL__PLAN__DTYPE__F64: ((double *)data)[i] = value; return;
    case COL__PLAN__DTYPE__F16: ((_Float16 *)data)[i] = (_Float16)single; return;
    case COL__PLAN__DTYPE__I32: ((int32_t *)data)[i] = (int32_t)value; return;
    case COL__PLAN__DTYPE__I64: ((int64_t *)data)[i] = (int64_t)value; return;
    default: assert_int_equal(dtype, COL__PLAN__DTYPE__BF16); ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
    }
}

double ranks_random(cts_case *c, Col__Plan__Dtype dtype)
{
    double quarter = (double)cts_random(c, -7, 7) / 4;
    if (dtype == COL__PLAN__DTYPE__I32 || dtype == COL__PLAN__DTYPE__I64) return 4 * quarter;
    if (dtype == COL__PLAN__DTYPE__F16 || dtype == COL__PLAN__DTYPE__BF16) return quarter;
    return quarter + (double)cts_random(c, 0, 1 << 20) * 0x1p-22;
}
