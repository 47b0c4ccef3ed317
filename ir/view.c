#include "ir/view.h"

bool col_strides_merge(col_shape shape, const int64_t *strides, int from, int to, int64_t *out_size,
                       int64_t *out_stride)
{
    int64_t size = 1, stride = 0;
    for (int i = to - 1; i >= from; i--) {
        if (shape.dims[i] == 1) continue;
        if (size == 1)
            stride = strides[i];
        else if (strides[i] != stride * size)
            return false;
        size *= shape.dims[i];
    }
    *out_size = size;
    *out_stride = stride;
    return true;
}

/* Both shapes are cut into the smallest runs of equal product; each run of the old one must merge into one
 * stride. */
bool col_strides_reshape(col_shape from, const int64_t *strides, col_shape to, int64_t *out)
{
    if (col_shape_numel(from) == 0) {
        col_shape_strides(to, out);
        return true;
    }
    int i = 0, j = 0;
    while (i < from.rank || j < to.rank) {
        int first = i, target = j;
        int64_t old_size = i < from.rank ? from.dims[i++] : 1, new_size = j < to.rank ? to.dims[j++] : 1;
        while (old_size != new_size) {
            if (old_size < new_size)
                old_size *= from.dims[i++];
            else
                new_size *= to.dims[j++];
        }
        while (i < from.rank && from.dims[i] == 1) i++;
        while (j < to.rank && to.dims[j] == 1) j++;
        int64_t size, stride;
        if (!col_strides_merge(from, strides, first, i, &size, &stride)) return false;
        for (int k = j - 1; k >= target; k--) {
            out[k] = stride;
            stride *= to.dims[k];
        }
    }
    return true;
}

/* The view of a view op's result, from that of its operand. */
static bool derive(const col_node *node, uint32_t result, const col_view *in, col_view *view)
{
    col_shape from = node->operands[0].value->type.shape;
    col_view_map map;
    *view = (col_view){.base = in->base, .offset = in->offset};
    if (!col_op_info_of(node->op)->view_map(node, result, &map))
        return col_strides_reshape(from, in->strides, node->results[result].type.shape, view->strides);
    for (int k = 0; k < from.rank; k++) {
        if (map.from[k] >= 0) view->strides[map.from[k]] = in->strides[k];
        view->offset += map.start[k] * in->strides[k];
    }
    return true;
}

static void row_major(void *context, const col_value *value, int64_t strides[COL_MAX_RANK])
{
    (void)context;
    col_shape_strides(value->type.shape, strides);
}

col_view col_view_over(const col_value *value, col_strides_fn strides, void *context)
{
    col_view view = {0};
    const col_node *node = value->producer;
    if (node && col_op_info_of(node->op)->op_class == COL_CLASS_VIEW) {
        col_view in = col_view_over(node->operands[0].value, strides, context);
        if (derive(node, value->index, &in, &view)) return view;
    }
    view = (col_view){.base = value};
    strides(context, value, view.strides);
    return view;
}

col_view col_view_of(const col_value *value)
{
    return col_view_over(value, row_major, NULL);
}

bool col_value_is_virtual(const col_value *value)
{
    const col_node *node = value->producer;
    return node && col_op_info_of(node->op)->op_class == COL_CLASS_VIEW && col_view_of(value).base != value;
}

void col_whole_strides(const col_node *node, col_shape shape, int64_t strides[COL_MAX_RANK])
{
    const col_attr *whole = col_node_attr(node, COL_ATTR_WHOLE);
    col_shape_strides(whole ? col_shape_make(whole->count, whole->ints) : shape, strides);
}

bool col_node_overwrites(const col_node *node)
{
    return node->op == COL_OP_SCATTER_ADD || node->op == COL_OP_UPDATE_SLICE || node->op == COL_OP_EINSUM_ADD;
}
