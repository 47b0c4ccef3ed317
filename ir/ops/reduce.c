/* Reductions over a list of axes. The gradient of a maximum or minimum is shared evenly among the elements
 * that attain it, as PyTorch's amax and amin do. */
#include "ir/ops/family.h"

#include <math.h>

bool col_infer_reduce(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    int count;
    const int64_t *axes = col_op_axes(node, diags, COL_ATTR_AXES, type.shape, true, &count);
    if (count < 0) return false;
    if (type.dtype == COL_BOOL || type.dtype == COL_U8) {
        return col_op_fault(node, diags, "no reduction of %s; convert it with 'cast'",
                            col_op_type_text(diags, type));
    }
    if (!count) return col_op_fault(node, diags, "'axes' is empty; list the axes to reduce");
    bool keep = col_node_int(node, COL_ATTR_KEEPDIMS) != 0;
    col_shape shape = {0};
    for (int i = 0, next = 0; i < type.shape.rank; i++) {
        bool reduced = next < count && axes[next] == i;
        next += reduced;
        if (reduced && !type.shape.dims[i] && node->op != COL_OP_SUM) {
            return col_op_fault(node, diags, "axis %d of %s has no elements to reduce", i,
                                col_op_type_text(diags, type));
        }
        if (!reduced || keep) shape.dims[shape.rank++] = reduced ? 1 : type.shape.dims[i];
    }
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_float_reduce(col_node *node, col_diags *diags)
{
    return col_op_want_float(node, diags, 0, "the operand") && col_infer_reduce(node, diags);
}
