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

static bool derive(const col_node *node, uint32_t result, col_view in, col_view *view)
{
    const col_value *x = node->operands[0].value;
    col_shape from = x->type.shape, to = node->results[result].type.shape;
    int count;
    *view = (col_view){.base = in.base, .offset = in.offset};
    switch (node->op) {
    case COL_OP_RESHAPE: return col_strides_reshape(from, in.strides, to, view->strides);
    case COL_OP_TRANSPOSE: {
        const int64_t *perm = col_node_ints(node, COL_ATTR_PERM, &count);
        for (int i = 0; i < count; i++) view->strides[i] = in.strides[perm[i]];
        return true;
    }
    case COL_OP_BROADCAST:
        for (int i = 1; i <= from.rank; i++) {
            bool stretched = from.dims[from.rank - i] != to.dims[to.rank - i];
            view->strides[to.rank - i] = stretched ? 0 : in.strides[from.rank - i];
        }
        return true;
    case COL_OP_SLICE: {
        const int64_t *starts = col_node_ints(node, COL_ATTR_STARTS, &count);
        for (int i = 0; i < count; i++) {
            view->strides[i] = in.strides[i];
            view->offset += starts[i] * in.strides[i];
        }
        return true;
    }
    case COL_OP_SPLIT: {
        int axis = 0;
        COL_ASSERT(col_shape_axis(from, col_node_int(node, COL_ATTR_AXIS), &axis));
        for (int i = 0; i < from.rank; i++) view->strides[i] = in.strides[i];
        view->offset += (int64_t)result * to.dims[axis] * in.strides[axis];
        return true;
    }
    default: COL_PANIC("'%s' is in the view class without an index map", col_op_info_of(node->op)->name);
    }
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
        if (derive(node, value->index, in, &view)) return view;
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
