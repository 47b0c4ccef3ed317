#include "ir/base/layout.h"

#include <stdlib.h>
#include <string.h>

bool col_mesh_parse(const char *text, col_mesh *out)
{
    col_mesh mesh = {0};
    const char *at = text;
    for (;;) {
        if (*at < '1' || *at > '9' || mesh.rank == COL_MESH_RANK) return false;
        char *end;
        long size = strtol(at, &end, 10);
        if (size < 1 || size > 1 << 20) return false;
        mesh.dims[mesh.rank++] = size;
        if (!*end) break;
        if (*end != 'x') return false;
        at = end + 1;
    }
    *out = mesh;
    return true;
}

void col_mesh_print(const col_mesh *mesh, col_str *out)
{
    for (int i = 0; i < mesh->rank; i++)
        col_str_printf(out, "%s%lld", i ? "x" : "", (long long)mesh->dims[i]);
    if (!mesh->rank) col_str_append(out, "1");
}

int64_t col_mesh_size(const col_mesh *mesh)
{
    int64_t size = 1;
    for (int i = 0; i < mesh->rank; i++) size *= mesh->dims[i];
    return size;
}

int64_t col_mesh_coordinate(const col_mesh *mesh, int64_t rank, int axis)
{
    for (int i = mesh->rank - 1; i > axis; i--) rank /= mesh->dims[i];
    return rank % mesh->dims[axis];
}

int64_t col_mesh_group(const col_mesh *mesh, int count, const int64_t *axes)
{
    int64_t size = 1;
    for (int i = 0; i < count; i++) size *= mesh->dims[axes[i]];
    return size;
}

col_layout col_layout_whole(void)
{
    return (col_layout){0};
}

static bool axes_equal(const col_axes *a, const col_axes *b)
{
    return a->count == b->count && !memcmp(a->axis, b->axis, a->count);
}

bool col_layout_equal(const col_layout *a, const col_layout *b)
{
    for (int d = 0; d < COL_MAX_RANK; d++) {
        if (!axes_equal(&a->split[d], &b->split[d])) return false;
    }
    return a->partial == b->partial;
}

uint64_t col_layout_hash(const col_layout *layout)
{
    uint64_t hash = layout->partial;
    for (int d = 0; d < COL_MAX_RANK; d++) {
        const col_axes *axes = &layout->split[d];
        for (int i = 0; i < axes->count; i++)
            hash = hash * 0x9E3779B97F4A7C15u + (uint64_t)(d * COL_MESH_RANK + axes->axis[i] + 1);
    }
    return hash ^ hash >> 29;
}

uint32_t col_layout_axes(const col_layout *layout)
{
    uint32_t used = layout->partial;
    for (int d = 0; d < COL_MAX_RANK; d++) {
        for (int i = 0; i < layout->split[d].count; i++) used |= UINT32_C(1) << layout->split[d].axis[i];
    }
    return used;
}

void col_layout_push(col_layout *layout, int dim, int axis)
{
    COL_ASSERT(!(col_layout_axes(layout) >> axis & 1));
    layout->split[dim].axis[layout->split[dim].count++] = (uint8_t)axis;
}

int col_layout_pop(col_layout *layout, int dim)
{
    col_axes *axes = &layout->split[dim];
    if (!axes->count) return -1;
    int axis = axes->axis[--axes->count];
    axes->axis[axes->count] = 0;
    return axis;
}

int64_t col_layout_parts(const col_layout *layout, const col_mesh *mesh, int dim)
{
    int64_t parts = 1;
    for (int i = 0; i < layout->split[dim].count; i++) parts *= mesh->dims[layout->split[dim].axis[i]];
    return parts;
}

bool col_layout_fits(const col_layout *layout, const col_mesh *mesh, int rank, const int64_t *dims)
{
    for (int d = 0; d < COL_MAX_RANK; d++) {
        if (!layout->split[d].count) continue;
        if (d >= rank || dims[d] % col_layout_parts(layout, mesh, d)) return false;
    }
    return true;
}

void col_layout_local(const col_layout *layout, const col_mesh *mesh, int rank, const int64_t *dims,
                      int64_t *out_dims)
{
    for (int d = 0; d < rank; d++) {
        int64_t parts = col_layout_parts(layout, mesh, d);
        COL_ASSERT(dims[d] % parts == 0);
        out_dims[d] = dims[d] / parts;
    }
}

int64_t col_layout_start(const col_layout *layout, const col_mesh *mesh, int64_t size, int dim, int64_t rank)
{
    int64_t start = 0;
    for (int i = 0; i < layout->split[dim].count; i++) {
        int axis = layout->split[dim].axis[i];
        size /= mesh->dims[axis];
        start += col_mesh_coordinate(mesh, rank, axis) * size;
    }
    return start;
}

void col_layout_print(const col_layout *layout, int rank, col_str *out)
{
    for (int d = 0; d < rank; d++) {
        col_str_append(out, layout->split[d].count ? "S" : "R");
        for (int i = 0; i < layout->split[d].count; i++) col_str_printf(out, "%d", layout->split[d].axis[i]);
    }
    if (!rank) col_str_append(out, "R");
    if (!layout->partial) return;
    col_str_append(out, "+P");
    for (int a = 0; a < COL_MESH_RANK; a++) {
        if (layout->partial >> a & 1) col_str_printf(out, "%d", a);
    }
}

bool col_layout_parse(const char *text, int rank, int mesh_rank, col_layout *out)
{
    col_layout layout = {0};
    const char *at = text;
    for (int d = 0; d < COL_MAX(rank, 1); d++) {
        if (*at == 'R') {
            at++;
            continue;
        }
        if (*at++ != 'S' || d >= rank || *at < '0' || *at > '9') return false;
        for (; *at >= '0' && *at <= '9'; at++) {
            int axis = *at - '0';
            if (axis >= mesh_rank || col_layout_axes(&layout) >> axis & 1) return false;
            col_layout_push(&layout, d, axis);
        }
    }
    if (at[0] == '+' && at[1] == 'P' && at[2]) {
        for (at += 2; *at >= '0' && *at <= '9'; at++) {
            int axis = *at - '0';
            if (axis >= mesh_rank || col_layout_axes(&layout) >> axis & 1) return false;
            layout.partial = (uint8_t)(layout.partial | 1u << axis);
        }
    }
    if (*at) return false;
    *out = layout;
    return true;
}
