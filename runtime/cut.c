#include "runtime/cut.h"

col_cut col_cut_of(const col_plan *plan, const col_plan_variable *v)
{
    col_cut c = {.variable = v, .innermost = -1, .inner = 1};
    c.dims = col_plan_cut_dims(v, &c.rank);
    c.mesh = col_plan_mesh(plan);
    c.layout = col_plan_layout(plan, v);
    c.element = col_plan_dtype_size(v->dtype);
    col_layout_local(&c.layout, &c.mesh, c.rank, c.dims, c.block);
    for (int d = c.rank - 1; d >= 0 && c.innermost < 0; d--) {
        if (col_layout_parts(&c.layout, &c.mesh, d) > 1)
            c.innermost = d;
        else
            c.inner *= c.dims[d];
    }
    return c;
}

/* The rank with coordinate `at` along an axis and 0 along the others. */
static int64_t rank_along(const col_mesh *mesh, int axis, int64_t at)
{
    for (int k = mesh->rank - 1; k > axis; k--) at *= mesh->dims[k];
    return at;
}

col_stretch col_cut_find(const col_cut *c, int64_t element)
{
    if (c->innermost < 0)
        return (col_stretch){0, element, col_plan_numel((size_t)c->rank, c->dims) - element};
    int64_t within = element % c->inner, rest = element / c->inner, stride = c->inner;
    col_stretch s = {.local = within};
    for (int d = c->innermost; d >= 0; d--) {
        int64_t index = rest % c->dims[d], part = index / c->block[d], at = index % c->block[d];
        rest /= c->dims[d];
        s.local += at * stride;
        stride *= c->block[d];
        if (d == c->innermost) s.count = (c->block[d] - at) * c->inner - within;
        for (int i = c->layout.split[d].count - 1; i >= 0; i--) {
            int axis = c->layout.split[d].axis[i];
            s.owner += rank_along(&c->mesh, axis, part % c->mesh.dims[axis]);
            part /= c->mesh.dims[axis];
        }
    }
    return s;
}

bool col_cut_holds(const col_cut *c, int64_t rank, int64_t other)
{
    uint32_t axes = col_layout_axes(&c->layout);
    for (int a = 0; a < c->mesh.rank; a++) {
        bool same = col_mesh_coordinate(&c->mesh, rank, a) == col_mesh_coordinate(&c->mesh, other, a);
        if (axes >> a & 1 && !same) return false;
    }
    return true;
}

bool col_cut_owns(const col_cut *c, int64_t rank)
{
    uint32_t axes = col_layout_axes(&c->layout);
    for (int a = 0; a < c->mesh.rank; a++) {
        if (!(axes >> a & 1) && col_mesh_coordinate(&c->mesh, rank, a)) return false;
    }
    return true;
}
