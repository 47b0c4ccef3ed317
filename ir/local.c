/* What functions of the column `local` build with (ir/factors.h). */
#include "ir/builder.h"
#include "ir/factors.h"

#include <string.h>

static col_value *coordinate_along(col_local *l, int axis)
{
    int64_t starts[] = {axis}, stops[] = {axis + 1};
    col_value *one = col_build_slice(l->b, l->coordinate, starts, stops);
    return col_build_reshape(l->b, one, (col_shape){0});
}

/* The blocks of each axis lie inside those of the axes before it. */
col_value *col_local_start(col_local *l, const col_layout *layout, int64_t size, int dim)
{
    const col_axes *axes = &layout->split[dim];
    col_value *start = NULL;
    COL_ASSERT(size <= INT32_MAX);
    for (int i = 0; i < axes->count; i++) {
        if (l->mesh->dims[axes->axis[i]] == 1) continue;
        size /= l->mesh->dims[axes->axis[i]];
        col_value *block = coordinate_along(l, axes->axis[i]);
        block = col_build_binary(l->b, COL_OP_MUL, block, col_build_scalar(l->b, (double)size, COL_I32));
        start = start ? col_build_binary(l->b, COL_OP_ADD, start, block) : block;
    }
    return start;
}

col_shape col_local_shape(const col_local *l, const col_layout *layout, col_shape shape)
{
    col_layout_local(layout, l->mesh, shape.rank, shape.dims, shape.dims);
    return shape;
}

col_value *col_local_is_first(col_local *l, uint32_t axes)
{
    col_value *first = NULL, *zero = col_build_scalar(l->b, 0, COL_I32);
    for (int a = 0; a < l->mesh->rank; a++) {
        if (!(axes >> a & 1)) continue;
        col_value *is = col_build_binary(l->b, COL_OP_EQ, coordinate_along(l, a), zero);
        first = first ? col_build_binary(l->b, COL_OP_AND, first, is) : is;
    }
    COL_ASSERT(first);
    return first;
}

void col_local_plain(col_local *l, const col_node *node, col_value *const *operands, col_value **out)
{
    col_attr *attrs = COL_NEW_ARRAY(l->b->graph->arena, col_attr, node->attr_count);
    int64_t cut[COL_MAX_RANK];
    for (uint32_t i = 0; i < node->attr_count; i++) {
        attrs[i] = node->attrs[i];
        if (attrs[i].key != COL_ATTR_SHAPE && attrs[i].key != COL_ATTR_STOPS) continue;
        col_layout layout = col_factors_result_layout(l->f, l->strategy, &node->results[0]);
        col_shape shape = col_local_shape(l, &layout, node->results[0].type.shape);
        for (int d = 0; d < shape.rank; d++) {
            /* A slice starts at 0 where its result is split. */
            bool kept = attrs[i].key == COL_ATTR_STOPS && !layout.split[d].count;
            cut[d] = kept ? attrs[i].ints[d] : shape.dims[d];
        }
        attrs[i].ints = cut;
    }
    col_node *made = col_build(l->b, node->op, node->operand_count, operands, node->attr_count, attrs);
    for (uint32_t i = 0; i < made->result_count; i++) out[i] = &made->results[i];
}
