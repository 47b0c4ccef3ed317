/* What functions of the column `local` build with (ir/factors.h). */
#include "ir/builder.h"
#include "ir/factors.h"
#include "ir/view.h"

enum { MOST_OPERANDS = 16 /* of an op that draws random numbers */ };

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

/* The node's attributes as the rank has them. `out_attrs` has room for COL_ATTR_COUNT, `cut` for the list
 * that changes. */
static void cut_attrs(const col_local *l, const col_node *node, col_attr *out_attrs,
                      int64_t cut[COL_MAX_RANK])
{
    for (uint32_t i = 0; i < node->attr_count; i++) {
        col_attr *attr = &out_attrs[i];
        *attr = node->attrs[i];
        if (attr->key != COL_ATTR_SHAPE && attr->key != COL_ATTR_STOPS) continue;
        col_layout layout = col_factors_result_layout(l->f, l->strategy, &node->results[0]);
        col_shape shape = col_local_shape(l, &layout, node->results[0].type.shape);
        for (int d = 0; d < shape.rank; d++) {
            /* A slice starts at 0 where its result is split. */
            bool kept = attr->key == COL_ATTR_STOPS && !layout.split[d].count;
            cut[d] = kept ? attr->ints[d] : shape.dims[d];
        }
        attr->ints = cut;
    }
}

static void build(col_local *l, const col_node *node, uint32_t operand_count, col_value *const *operands,
                  uint32_t attr_count, const col_attr *attrs, col_value **out)
{
    col_node *made = col_build(l->b, node->op, operand_count, operands, attr_count, attrs);
    for (uint32_t i = 0; i < made->result_count; i++) out[i] = &made->results[i];
}

void col_local_plain(col_local *l, const col_node *node, col_value *const *operands, col_value **out)
{
    col_attr attrs[COL_ATTR_COUNT];
    int64_t cut[COL_MAX_RANK];
    cut_attrs(l, node, attrs, cut);
    build(l, node, node->operand_count, operands, node->attr_count, attrs, out);
}

/* Adds up the row-major numbers, i64, at which the rank's block begins along each dimension, to `sum`; NULL
 * is 0. */
static col_value *add_starts(col_local *l, const col_layout *layout, col_shape shape, const int64_t *strides,
                             col_value *sum)
{
    for (int d = 0; d < shape.rank; d++) {
        col_value *start = col_local_start(l, layout, shape.dims[d], d);
        if (!start) continue;
        start = col_build_cast(l->b, start, COL_I64);
        start =
            col_build_binary(l->b, COL_OP_MUL, start, col_build_scalar(l->b, (double)strides[d], COL_I64));
        sum = sum ? col_build_binary(l->b, COL_OP_ADD, sum, start) : start;
    }
    return sum;
}

/* A node that already makes a block makes a smaller one of the same whole. */
void col_local_block(col_local *l, const col_node *node, col_value *const *operands, const col_layout *layout,
                     col_shape shape, col_value **out)
{
    bool is_block = col_node_attr(node, COL_ATTR_WHOLE) != NULL;
    uint32_t own = node->operand_count - is_block, attr_count = node->attr_count;
    col_value *all[MOST_OPERANDS];
    col_attr attrs[COL_ATTR_COUNT];
    int64_t cut[COL_MAX_RANK], strides[COL_MAX_RANK];
    COL_ASSERT(own < COL_COUNT(all));
    col_whole_strides(node, shape, strides);
    for (uint32_t i = 0; i < own; i++) all[i] = operands[i];
    all[own] = add_starts(l, layout, shape, strides, is_block ? operands[own] : NULL);
    cut_attrs(l, node, attrs, cut);
    if (all[own] && !is_block) attrs[attr_count++] = col_attr_ints(COL_ATTR_WHOLE, shape.rank, shape.dims);
    build(l, node, own + (all[own] != NULL), all, attr_count, attrs, out);
}
