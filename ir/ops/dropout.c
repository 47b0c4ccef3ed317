/* Dropout: an element is kept and divided by 1 - rate where its uniform number is >= rate, else it is 0. The
 * gradient is the dropout of the gradient: the same salt gives the same mask, and no mask is stored. */
#include "ir/ops/family.h"

#include "ir/base/philox.h"

bool col_infer_dropout(col_node *node, col_diags *diags)
{
    col_type x = operand_type(node, 0);
    return col_op_want_float(node, diags, 0, "the operand") && col_op_want_generator(node, diags, 1) &&
           col_op_rate(node, diags) && col_op_salt(node, diags) && col_op_result(node, 0, x.dtype, x.shape);
}
