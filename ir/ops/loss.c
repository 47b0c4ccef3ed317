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

/* What forward and backward share; everything is wide and [..., v] or [..., 1]. */
typedef struct terms {
    col_value *logits, *onehot, *valid; /* onehot and valid are booleans */
    col_value *count;                   /* max(1, number of valid labels), a scalar */
} terms;

static terms build_terms(col_builder *b, const col_node *node)
{
    col_value *logits = op_wide(b, col_node_operand(node, 0)), *labels = col_node_operand(node, 1);
    int rank = logits->type.shape.rank;
    col_type classes = {labels->type.dtype, {.rank = 1, .dims = {logits->type.shape.dims[rank - 1]}}};
    labels = col_build_reshape(b, labels, col_shape_one_last(logits->type.shape));
    terms t = {.logits = logits};
    t.onehot = col_build_binary(b, COL_OP_EQ, col_build_iota(b, classes, 0), labels);
    t.valid = col_build_binary(b, COL_OP_NE, labels,
                               op_like(b, (double)col_node_int(node, COL_ATTR_IGNORE_INDEX), labels));
    col_value *counted = col_build_sum_to(b, col_build_cast(b, t.valid, logits->type.dtype), (col_shape){0});
    t.count = col_build_binary(b, COL_OP_MAXIMUM, counted, op_like(b, 1, counted));
    return t;
}

void col_lower_cross_entropy(col_builder *b, col_node *node, col_value **out)
{
    terms t = build_terms(b, node);
    col_value *x = t.logits, *zero = op_like(b, 0, x);
    int last = x->type.shape.rank - 1;
    double smoothing = col_node_float(node, COL_ATTR_LABEL_SMOOTHING);
    col_value *largest = op_reduce(b, COL_OP_MAX, x, last);
    col_value *sum = op_reduce(b, COL_OP_SUM, op_exp(b, op_sub(b, x, largest)), last);
    col_value *lse = op_add(b, largest, col_build_unary(b, COL_OP_LOG, sum));
    col_value *picked = op_reduce(b, COL_OP_SUM, col_build_where(b, t.onehot, x, zero), last);
    if (smoothing > 0) {
        col_value *spread =
            op_scale(b, op_reduce(b, COL_OP_SUM, x, last), smoothing / (double)x->type.shape.dims[last]);
        picked = op_add(b, op_scale(b, picked, 1 - smoothing), spread);
    }
    col_value *losses = col_build_where(b, t.valid, op_sub(b, lse, picked), zero);
    out[0] = op_div(b, col_build_sum_to(b, losses, (col_shape){0}), t.count);
    out[1] = col_build_reshape(b, lse, node->results[1].type.shape);
}

/* dlogits = valid dloss / count (exp(logits - lse) - (1 - s) onehot - s / V) + dlse exp(logits - lse): made
 * from logits and lse in one pass, so no probabilities are kept from the forward phase. */
void col_grad_cross_entropy(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                            col_value **dx)
{
    (void)wanted;
    terms t = build_terms(b, node);
    col_value *x = t.logits, *zero = op_like(b, 0, x), *sum = NULL;
    col_shape rows = col_shape_one_last(x->type.shape);
    double smoothing = col_node_float(node, COL_ATTR_LABEL_SMOOTHING);
    double classes = (double)x->type.shape.dims[x->type.shape.rank - 1];
    col_value *p = op_exp(b, op_sub(b, x, col_build_reshape(b, &node->results[1], rows)));
    if (dy[0]) {
        col_value *target = col_build_where(b, t.onehot, op_like(b, 1 - smoothing + smoothing / classes, x),
                                            op_like(b, smoothing / classes, x));
        col_value *weight = col_build_where(b, t.valid, op_div(b, dy[0], t.count), zero);
        sum = op_mul(b, op_sub(b, p, target), weight);
    }
    if (dy[1]) {
        col_value *through_lse = op_mul(b, p, col_build_reshape(b, dy[1], rows));
        sum = sum ? op_add(b, sum, through_lse) : through_lse;
    }
    dx[0] = col_build_cast(b, sum, operand_type(node, 0).dtype);
}

void col_eval_cross_entropy(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_shape shape = operands[0].type.shape;
    int64_t classes = shape.dims[shape.rank - 1], rows = col_shape_numel(operands[1].type.shape);
    double smoothing = col_node_float(node, COL_ATTR_LABEL_SMOOTHING);
    double ignored = (double)col_node_int(node, COL_ATTR_IGNORE_INDEX), total = 0, count = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double *x = operands[0].data + r * classes, label = operands[1].data[r];
        double largest = -INFINITY, sum = 0, all = 0;
        for (int64_t v = 0; v < classes; v++) {
            if (x[v] > largest || isnan(x[v])) largest = x[v];
        }
        for (int64_t v = 0; v < classes; v++) sum += exp(x[v] - largest);
        double lse = largest + log(sum);
        results[1].data[r] = lse;
        if (label == ignored) continue;
        if (smoothing > 0) {
            for (int64_t v = 0; v < classes; v++) all += x[v];
        }
        double picked = label >= 0 && label < (double)classes ? x[(int64_t)label] : 0;
        total += lse - (1 - smoothing) * picked - smoothing / (double)classes * all;
        count++;
    }
    results[0].data[0] = total / fmax(count, 1);
}
