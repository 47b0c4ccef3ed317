/* Softmax, log-softmax and layer normalisation. */
#include "ir/ops/family.h"

#include <math.h>
#include <stdlib.h>

bool col_infer_float_axis(col_node *node, col_diags *diags)
{
    int axis;
    col_type type = operand_type(node, 0);
    return col_op_want_float(node, diags, 0, "the operand") && col_op_axis(node, diags, type.shape, &axis) &&
           col_op_result(node, 0, type.dtype, type.shape);
}

bool col_infer_layer_norm(col_node *node, col_diags *diags)
{
    static const char *const names[] = {"the operand", "the weight", "the bias"};
    col_type x = operand_type(node, 0);
    if (!col_op_want_float(node, diags, 0, names[0])) return false;
    if (!x.shape.rank) return col_op_fault(node, diags, "a scalar has no axis to normalise over");
    for (uint32_t i = 1; i < 3; i++) {
        if (!col_op_want_same(node, diags, 0, i) || !col_op_want_rank(node, diags, i, names[i], 1))
            return false;
        col_type type = operand_type(node, i);
        if (type.shape.dims[0] == x.shape.dims[x.shape.rank - 1]) continue;
        return col_op_fault(node, diags, "%s is %s; the last dimension of %s needs size %lld", names[i],
                            col_op_type_text(diags, type), col_op_type_text(diags, x),
                            (long long)x.shape.dims[x.shape.rank - 1]);
    }
    col_shape rows = col_shape_one_last(x.shape);
    return col_op_result(node, 0, x.dtype, x.shape) && col_op_result(node, 1, wide_dtype(x.dtype), rows) &&
           col_op_result(node, 2, wide_dtype(x.dtype), rows);
}
