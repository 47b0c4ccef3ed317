/* Cross-entropy of logits against class indices, averaged over the labels that count.
 *
 *   lse_i  = log sum_v exp(logits[i,v])
 *   loss_i = lse_i - (1 - s) logits[i, label_i] - s / V * sum_v logits[i,v]        s: label_smoothing
 *   loss   = sum_i valid_i loss_i / max(1, sum_i valid_i)                          valid_i: label_i !=
 * ignore_index
 *
 * as PyTorch defines it, but for one case: when every label is ignored the loss and its gradient are 0, where
 * PyTorch says NaN, so that a batch of padding does not end a training run. A label outside the classes that
 * is not ignore_index is a fault of the data, which the executor refuses; here it picks no logit. */
#include "ir/ops/family.h"

#include <math.h>

bool col_infer_cross_entropy(col_node *node, col_diags *diags)
{
    col_type logits = operand_type(node, 0), labels = operand_type(node, 1);
    if (!col_op_want_float(node, diags, 0, "the logits") || !col_op_want_index(node, diags, 1, "the labels"))
        return false;
    if (!logits.shape.rank || !logits.shape.dims[logits.shape.rank - 1]) {
        return col_op_fault(node, diags, "the logits %s have no classes in the last dimension",
                            col_op_type_text(diags, logits));
    }
    col_shape rows = col_shape_drop_last(logits.shape);
    if (!col_shape_equal(rows, labels.shape)) {
        return col_op_fault(node, diags, "the labels are %s; for logits %s they should be %s",
                            col_op_type_text(diags, labels), col_op_type_text(diags, logits),
                            col_op_type_text(diags, col_type_make(labels.dtype, rows)));
    }
    double smoothing = col_node_float(node, COL_ATTR_LABEL_SMOOTHING);
    if (!(smoothing >= 0 && smoothing <= 1)) {
        return col_op_fault(node, diags, "label_smoothing %g is not in [0, 1]", smoothing);
    }
    col_dtype wide = wide_dtype(logits.dtype);
    return col_op_result(node, 0, wide, (col_shape){0}) && col_op_result(node, 1, wide, rows);
}
