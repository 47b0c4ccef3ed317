/* Elementwise ops: unary, binary with NumPy broadcasting, comparisons, booleans, where, cast.
 *
 * Operands of one op have one dtype; nothing converts silently. Gradients of broadcast operands are summed
 * back to the operand's shape. Where a function has a kink, the gradient is PyTorch's: 0 for |x| at 0, half
 * to each operand of a tied maximum or minimum. */
#include "ir/ops/family.h"

#include <math.h>

/* --- inference -------------------------------------------------------------------------------------------
 */

bool col_infer_same(col_node *node, col_diags *diags)
{
    (void)diags;
    col_type type = operand_type(node, 0);
    return col_op_result(node, 0, type.dtype, type.shape);
}

bool col_infer_float_unary(col_node *node, col_diags *diags)
{
    return col_op_want_float(node, diags, 0, "the operand") && col_infer_same(node, diags);
}

bool col_infer_bool_unary(col_node *node, col_diags *diags)
{
    return col_op_want_dtype(node, diags, 0, "the operand", COL_BOOL) && col_infer_same(node, diags);
}

bool col_infer_cast(col_node *node, col_diags *diags)
{
    col_dtype dtype;
    return col_op_dtype(node, diags, &dtype) && col_op_result(node, 0, dtype, operand_type(node, 0).shape);
}

static bool broadcast_operands(col_node *node, col_diags *diags, col_dtype dtype)
{
    col_shape shape = operand_type(node, 0).shape;
    for (uint32_t i = 1; i < node->operand_count; i++) {
        col_type type = operand_type(node, i);
        if (col_shape_broadcast(shape, type.shape, &shape)) continue;
        return col_op_fault(
            node, diags,
            "%s and %s do not broadcast: aligned at the last dimension, sizes must be equal or 1",
            col_op_type_text(diags, col_type_make(operand_type(node, i - 1).dtype, shape)),
            col_op_type_text(diags, type));
    }
    return col_op_result(node, 0, dtype, shape);
}

bool col_infer_float_binary(col_node *node, col_diags *diags)
{
    return col_op_want_same(node, diags, 0, 1) && col_op_want_float(node, diags, 0, "the first operand") &&
           broadcast_operands(node, diags, operand_type(node, 0).dtype);
}

bool col_infer_binary(col_node *node, col_diags *diags)
{
    if (!col_op_want_same(node, diags, 0, 1)) return false;
    col_type type = operand_type(node, 0);
    if (type.dtype == COL_BOOL || type.dtype == COL_U8) {
        return col_op_fault(node, diags, "no arithmetic on %s; convert it with 'cast'",
                            col_op_type_text(diags, type));
    }
    return broadcast_operands(node, diags, type.dtype);
}

bool col_infer_compare(col_node *node, col_diags *diags)
{
    return col_op_want_same(node, diags, 0, 1) && broadcast_operands(node, diags, COL_BOOL);
}

bool col_infer_bool_binary(col_node *node, col_diags *diags)
{
    return col_op_want_dtype(node, diags, 0, "the first operand", COL_BOOL) &&
           col_op_want_dtype(node, diags, 1, "the second operand", COL_BOOL) &&
           broadcast_operands(node, diags, COL_BOOL);
}

bool col_infer_where(col_node *node, col_diags *diags)
{
    return col_op_want_dtype(node, diags, 0, "the condition", COL_BOOL) &&
           col_op_want_same(node, diags, 1, 2) &&
           broadcast_operands(node, diags, operand_type(node, 1).dtype);
}
