/* Views and moves: reshape, transpose, broadcast, slice, split, concat, pad. All are index maps: evaluation
 * is one strided walk, and each gradient is the adjoint map. */
#include "ir/ops/family.h"

bool col_infer_reshape(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    col_shape shape;
    if (!col_op_shape(node, diags, &shape)) return false;
    if (col_shape_numel(shape) != col_shape_numel(type.shape)) {
        return col_op_fault(node, diags, "%s has %lld elements, the new shape %s has %lld",
                            col_op_type_text(diags, type), (long long)col_shape_numel(type.shape),
                            col_op_type_text(diags, col_type_make(type.dtype, shape)),
                            (long long)col_shape_numel(shape));
    }
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_transpose(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    int count;
    const int64_t *perm = col_op_axes(node, diags, COL_ATTR_PERM, type.shape, false, &count);
    if (count < 0) return false;
    if (count != type.shape.rank) {
        return col_op_fault(node, diags, "'perm' lists %d axes; %s has %d", count,
                            col_op_type_text(diags, type), type.shape.rank);
    }
    col_shape shape = {.rank = count};
    for (int i = 0; i < count; i++) shape.dims[i] = type.shape.dims[perm[i]];
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_broadcast(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    col_shape shape, joint;
    if (!col_op_shape(node, diags, &shape)) return false;
    if (!col_shape_broadcast(type.shape, shape, &joint) || !col_shape_equal(joint, shape)) {
        return col_op_fault(
            node, diags,
            "%s does not broadcast to %s: aligned at the last dimension, sizes must be equal, or 1 before",
            col_op_type_text(diags, type), col_op_type_text(diags, col_type_make(type.dtype, shape)));
    }
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_slice(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    const int64_t *starts = col_op_list(node, diags, COL_ATTR_STARTS, type.shape.rank);
    const int64_t *stops = starts ? col_op_list(node, diags, COL_ATTR_STOPS, type.shape.rank) : NULL;
    if (!stops) return false;
    col_shape shape = {.rank = type.shape.rank};
    for (int i = 0; i < shape.rank; i++) {
        if (starts[i] < 0 || starts[i] > stops[i] || stops[i] > type.shape.dims[i]) {
            return col_op_fault(node, diags, "%lld..%lld is not a range of axis %d of %s",
                                (long long)starts[i], (long long)stops[i], i, col_op_type_text(diags, type));
        }
        shape.dims[i] = stops[i] - starts[i];
    }
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_split(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    int axis;
    if (!col_op_axis(node, diags, type.shape, &axis)) return false;
    int64_t parts = col_node_int(node, COL_ATTR_PARTS);
    if (type.shape.dims[axis] % parts) {
        return col_op_fault(node, diags, "axis %d of %s does not divide into %lld equal parts", axis,
                            col_op_type_text(diags, type), (long long)parts);
    }
    col_shape shape = type.shape;
    shape.dims[axis] /= parts;
    for (uint32_t i = 0; i < node->result_count; i++) col_op_result(node, i, type.dtype, shape);
    return true;
}

bool col_infer_concat(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    int axis;
    if (!col_op_axis(node, diags, type.shape, &axis)) return false;
    for (uint32_t i = 1; i < node->operand_count; i++) {
        col_type part = operand_type(node, i);
        col_shape like = part.shape;
        if (!col_op_want_same(node, diags, 0, i)) return false;
        if (like.rank == type.shape.rank) like.dims[axis] = type.shape.dims[axis];
        if (!col_shape_equal(like, type.shape)) {
            return col_op_fault(
                node, diags, "operand %u is %s; like operand 1 but for axis %d it should be %s", i + 1,
                col_op_type_text(diags, part), axis, col_op_type_text(diags, operand_type(node, 0)));
        }
        if (__builtin_add_overflow(type.shape.dims[axis], part.shape.dims[axis], &type.shape.dims[axis])) {
            return col_op_fault(node, diags, "the result is too large to count in bytes");
        }
    }
    return col_op_result(node, 0, type.dtype, type.shape);
}

bool col_infer_pad(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    const int64_t *low = col_op_list(node, diags, COL_ATTR_LOW, type.shape.rank);
    const int64_t *high = low ? col_op_list(node, diags, COL_ATTR_HIGH, type.shape.rank) : NULL;
    if (!high) return false;
    for (int i = 0; i < type.shape.rank; i++) {
        int64_t *dim = &type.shape.dims[i];
        if (low[i] < 0 || high[i] < 0) {
            return col_op_fault(node, diags, "axis %d is padded by %lld and %lld; to cut, use 'slice'", i,
                                (long long)low[i], (long long)high[i]);
        }
        if (__builtin_add_overflow(*dim, low[i], dim) || __builtin_add_overflow(*dim, high[i], dim)) {
            return col_op_fault(node, diags, "the result is too large to count in bytes");
        }
    }
    return col_op_result(node, 0, type.dtype, type.shape);
}
