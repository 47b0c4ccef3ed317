/* Normalisations, softmax and the losses made of it. */
#include <string.h>

#include "frontend/onnx/node.h"

static col_value *with(col_onnx_node *n, col_op op, col_value *x, double y)
{
    return col_onnx_binary_number(n, op, x, y);
}

/* One number per channel of x [n, c, ...], as a shape that broadcasts: [1, c, 1, ...]. */
static col_value *per_channel(col_onnx_node *n, col_value *x, col_value *numbers)
{
    if (!x || !numbers) return NULL;
    col_shape shape = {.rank = x->type.shape.rank};
    for (int i = 0; i < shape.rank; i++) shape.dims[i] = i == 1 ? x->type.shape.dims[1] : 1;
    if (shape.rank < 2) {
        col_onnx_fault(n, "the operand must be [n, c, ...]");
        return NULL;
    }
    return col_onnx_reshape(n, numbers, shape);
}

/* The type to normalise in: 16-bit floats are too coarse for squares. */
static col_dtype wide_float(col_dtype dtype)
{
    return dtype == COL_F64 ? COL_F64 : COL_F32;
}

/* x's mean, or its variance around a mean, over all axes but the second. */
static col_value *channel_mean(col_onnx_node *n, col_value *x)
{
    int64_t axes[COL_MAX_RANK], count = 0;
    for (int i = 0; x && i < x->type.shape.rank; i++) {
        if (i != 1) axes[count++] = i;
    }
    return col_onnx_reduce(n, COL_OP_MEAN, x, (int)count, axes, true);
}

/* Running statistics are no parameters: they are kept, not trained. */
static void keep_as_state(const col_value *value)
{
    if (!value || !value->var || value->var->kind != COL_VAR_PARAM) return;
    value->var->kind = COL_VAR_STATE;
    value->var->frozen = false;
}

/* In training mode the batch's own mean and variance count, and the running ones move towards them. */
void col_onnx_op_batch_normalization(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *given = col_onnx_input(n, 0), *statistics[2], *running[2];
    if (!given) return;
    col_dtype dtype = wide_float(given->type.dtype);
    col_value *x = col_onnx_cast(n, given, dtype);
    bool is_training = col_onnx_int(n, "training_mode", 0) != 0;
    double momentum = col_onnx_float(n, "momentum", 0.9);
    if (n->opset < 9 && !col_onnx_int(n, "spatial", 1))
        col_onnx_fault(n, "statistics per element are not supported");
    col_value *scale = per_channel(n, x, col_onnx_cast(n, col_onnx_input(n, 1), dtype)),
              *bias = per_channel(n, x, col_onnx_cast(n, col_onnx_input(n, 2), dtype));
    for (uint32_t i = 0; i < 2; i++) {
        running[i] = col_onnx_input(n, 3 + i);
        keep_as_state(running[i]);
        statistics[i] = per_channel(n, x, col_onnx_cast(n, running[i], dtype));
    }
    if (is_training && !n->failed) {
        statistics[0] = channel_mean(n, x);
        col_value *centred = col_onnx_binary(n, COL_OP_SUB, x, statistics[0]);
        statistics[1] = channel_mean(n, col_onnx_binary(n, COL_OP_MUL, centred, centred));
        for (uint32_t i = 0; i < 2 && statistics[i]; i++) {
            col_dtype kept = running[i]->type.dtype;
            col_value *batch = col_onnx_reshape(n, statistics[i], running[i]->type.shape);
            col_value *before = with(n, COL_OP_MUL, col_onnx_cast(n, running[i], dtype), momentum);
            col_value *moved =
                col_onnx_binary(n, COL_OP_ADD, before, with(n, COL_OP_MUL, batch, 1 - momentum));
            if (col_onnx_wants(n, 1 + i)) n->outputs[1 + i] = col_onnx_cast(n, moved, kept);
        }
    }
    col_value *deviation = col_onnx_unary(
        n, COL_OP_RSQRT, with(n, COL_OP_ADD, statistics[1], col_onnx_float(n, "epsilon", 1e-5)));
    col_value *factor = col_onnx_binary(n, COL_OP_MUL, deviation, scale);
    col_value *centred = col_onnx_binary(n, COL_OP_SUB, x, statistics[0]);
    col_value *y = col_onnx_binary(n, COL_OP_ADD, col_onnx_binary(n, COL_OP_MUL, centred, factor), bias);
    n->outputs[0] = col_onnx_cast(n, y, given->type.dtype);
}

/* x / |x| along an axis, the sum of magnitudes (p = 1) or the root of the sum of squares (2); zeros stay. */
void col_onnx_op_lp_normalization(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int64_t p = col_onnx_int(n, "p", 2),
            axis = col_onnx_axis(n, col_onnx_int(n, "axis", -1), x->type.shape.rank, false);
    if (p != 1 && p != 2) col_onnx_fault(n, "p is %lld; it must be 1 or 2", (long long)p);
    col_value *wide = col_onnx_cast(n, x, wide_float(x->type.dtype));
    col_value *part =
        p == 1 ? col_onnx_unary(n, COL_OP_ABS, wide) : col_onnx_binary(n, COL_OP_MUL, wide, wide);
    col_value *norm = col_onnx_reduce(n, COL_OP_SUM, part, 1, &axis, true);
    if (p == 2) norm = col_onnx_unary(n, COL_OP_SQRT, norm);
    if (!norm) return;
    norm = col_onnx_where(n, with(n, COL_OP_EQ, norm, 0), col_onnx_number(n, 1, norm->type.dtype), norm);
    n->outputs[0] = col_onnx_cast(n, col_onnx_binary(n, COL_OP_DIV, wide, norm), x->type.dtype);
}

/* (x - mean) / (deviation + 1e-9) over the axes. */
void col_onnx_op_mean_variance_normalization(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    col_onnx_ints axes = col_onnx_attr_ints(n, "axes");
    if (!x) return;
    if (axes.count < 0) axes = (col_onnx_ints){3, {0, 2, 3}};
    if (!col_onnx_axes(n, &axes, x->type.shape.rank) || !axes.count) return;
    col_value *wide = col_onnx_cast(n, x, wide_float(x->type.dtype));
    col_value *centred = col_onnx_binary(
        n, COL_OP_SUB, wide, col_onnx_reduce(n, COL_OP_MEAN, wide, axes.count, axes.values, true));
    col_value *square = col_onnx_binary(n, COL_OP_MUL, centred, centred);
    col_value *deviation = col_onnx_unary(
        n, COL_OP_SQRT, col_onnx_reduce(n, COL_OP_MEAN, square, axes.count, axes.values, true));
    n->outputs[0] = col_onnx_cast(
        n, col_onnx_binary(n, COL_OP_DIV, centred, with(n, COL_OP_ADD, deviation, 1e-9)), x->type.dtype);
}

/* x's axes from `axis` on as one. */
static col_value *rows_of(col_onnx_node *n, col_value *x, int axis)
{
    int64_t sizes[2] = {1, 1};
    if (!x) return NULL;
    for (int i = 0; i < x->type.shape.rank; i++) sizes[i >= axis] *= x->type.shape.dims[i];
    return col_onnx_reshape(n, x, col_shape_make(2, sizes));
}

/* (x - mean) / sqrt(variance + eps) of each row of a matrix, with a weight and bias per column. */
static col_node *normalise_rows(col_onnx_node *n, col_value *rows, col_value *weight, col_value *bias)
{
    col_attr eps = col_attr_float(COL_ATTR_EPS, col_onnx_float(n, "epsilon", 1e-5));
    col_onnx_ignore(n, "stash_type"); /* f32 or more */
    if (!rows) return NULL;
    col_type line = col_type_make(rows->type.dtype, col_shape_make(1, &rows->type.shape.dims[1]));
    weight = weight ? col_onnx_reshape(n, weight, line.shape) : col_onnx_full(n, 1, line);
    bias = bias ? col_onnx_reshape(n, bias, line.shape) : col_onnx_full(n, 0, line);
    return col_onnx_build(n, COL_OP_LAYER_NORM, 3, (col_value *[]){rows, weight, bias}, 1, &eps);
}

void col_onnx_op_layer_normalization(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *weight = col_onnx_input(n, 1), *bias = col_onnx_maybe(n, 2);
    if (!x || !weight) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", -1), x->type.shape.rank, false);
    if (n->failed) return;
    col_node *made = normalise_rows(n, rows_of(n, x, axis), weight, bias);
    if (!made) return;
    col_shape outer = x->type.shape;
    for (int i = axis; i < outer.rank; i++) outer.dims[i] = 1;
    n->outputs[0] = col_onnx_reshape(n, &made->results[0], x->type.shape);
    for (uint32_t i = 1; i < 3 && i < n->output_count; i++)
        n->outputs[i] = col_onnx_reshape(n, &made->results[i], outer);
}

void col_onnx_op_rms_normalization(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", -1), x->type.shape.rank, false), count = 0;
    int64_t axes[COL_MAX_RANK];
    col_onnx_ignore(n, "stash_type");
    for (int i = axis; i < x->type.shape.rank; i++) axes[count++] = i;
    if (n->failed) return;
    col_dtype dtype = x->type.dtype;
    x = col_onnx_cast(n, x, wide_float(dtype));
    col_value *mean =
        col_onnx_reduce(n, COL_OP_MEAN, col_onnx_binary(n, COL_OP_MUL, x, x), count, axes, true);
    col_value *factor =
        col_onnx_unary(n, COL_OP_RSQRT, with(n, COL_OP_ADD, mean, col_onnx_float(n, "epsilon", 1e-5)));
    col_value *weight = col_onnx_input(n, 1),
              *y = col_onnx_cast(n, col_onnx_binary(n, COL_OP_MUL, x, factor), dtype);
    n->outputs[0] = col_onnx_binary(n, COL_OP_MUL, y, weight);
}

void col_onnx_op_instance_normalization(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x || x->type.shape.rank < 3) {
        col_onnx_fault(n, "the operand must be [n, c, ...]");
        return;
    }
    col_node *made = normalise_rows(n, rows_of(n, x, 2), NULL, NULL);
    col_value *y = made ? col_onnx_reshape(n, &made->results[0], x->type.shape) : NULL;
    y = col_onnx_binary(n, COL_OP_MUL, y, per_channel(n, x, col_onnx_input(n, 1)));
    n->outputs[0] = col_onnx_binary(n, COL_OP_ADD, y, per_channel(n, x, col_onnx_input(n, 2)));
}

/* Scale and bias are per group up to opset 20, then per channel. */
void col_onnx_op_group_normalization(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *scale = col_onnx_input(n, 1), *bias = col_onnx_input(n, 2);
    int64_t groups = col_onnx_int(n, "num_groups", 0);
    if (!x || x->type.shape.rank < 3 || groups < 1 || x->type.shape.dims[1] % groups) {
        col_onnx_fault(n, "the operand must be [n, c, ...], and its channels divide into num_groups");
        return;
    }
    int64_t channels = x->type.shape.dims[1], batch = x->type.shape.dims[0];
    col_shape grouped = {.rank = 3, .dims = {batch, groups, channels / groups}};
    for (int i = 2; i < x->type.shape.rank; i++) grouped.dims[2] *= x->type.shape.dims[i];
    col_node *made = normalise_rows(n, rows_of(n, col_onnx_reshape(n, x, grouped), 2), NULL, NULL);
    col_value *y =
        made ? col_onnx_reshape(n, &made->results[0], n->opset < 21 ? grouped : x->type.shape) : NULL;
    y = col_onnx_binary(n, COL_OP_MUL, y, per_channel(n, y, scale));
    y = col_onnx_binary(n, COL_OP_ADD, y, per_channel(n, y, bias));
    n->outputs[0] = col_onnx_reshape(n, y, x->type.shape);
}

/* x / (bias + alpha / size sum(x^2 over `size` channels around it))^beta */
void col_onnx_op_lrn(col_onnx_node *n, int detail)
{
    (void)detail;
    enum { MOST = 64 };
    col_value *x = col_onnx_input(n, 0);
    int64_t size = col_onnx_int(n, "size", 0);
    if (!x || x->type.shape.rank < 2 || size < 1 || size > MOST) {
        col_onnx_fault(n, "the operand must be [n, c, ...], and size 1 to %d", MOST);
        return;
    }
    int64_t channels = x->type.shape.dims[1], low[COL_MAX_RANK] = {0}, high[COL_MAX_RANK] = {0};
    low[1] = (size - 1) / 2;
    high[1] = size - 1 - low[1];
    col_attr attrs[] = {col_attr_ints(COL_ATTR_LOW, x->type.shape.rank, low),
                        col_attr_ints(COL_ATTR_HIGH, x->type.shape.rank, high)};
    col_value *squares = col_onnx_binary(n, COL_OP_MUL, x, x), *sum = NULL;
    squares = col_onnx_build_one(n, COL_OP_PAD, 1, &squares, 2, attrs);
    for (int64_t i = 0; i < size; i++) {
        col_value *part = col_onnx_cut(n, squares, 1, i, i + channels);
        sum = sum ? col_onnx_binary(n, COL_OP_ADD, sum, part) : part;
    }
    col_value *base = with(n, COL_OP_MUL, sum, col_onnx_float(n, "alpha", 1e-4) / (double)size);
    base = with(n, COL_OP_ADD, base, col_onnx_float(n, "bias", 1));
    n->outputs[0] =
        col_onnx_binary(n, COL_OP_DIV, x, with(n, COL_OP_POW, base, col_onnx_float(n, "beta", 0.75)));
}

/* Along an axis; before opset 13 over all axes from it on. */
void col_onnx_op_softmax(col_onnx_node *n, int op)
{
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    bool flat = n->opset < 13;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", flat ? 1 : -1), x->type.shape.rank, flat);
    if (n->failed) return;
    col_attr attr = col_attr_int(COL_ATTR_AXIS, flat ? 1 : axis);
    col_value *operand = col_onnx_cast(n, flat ? rows_of(n, x, axis) : x, wide_float(x->type.dtype));
    col_value *y = col_onnx_build_one(n, (col_op)op, 1, &operand, 1, &attr);
    n->outputs[0] = col_onnx_reshape(n, col_onnx_cast(n, y, x->type.dtype), x->type.shape);
}

/* 1 at the first largest element along an axis, 0 elsewhere; before opset 13 over all axes from it on. */
void col_onnx_op_hardmax(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    bool flat = n->opset < 13;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", flat ? 1 : -1), x->type.shape.rank, flat);
    if (n->failed) return;
    col_value *operand = flat ? rows_of(n, x, axis) : x;
    int64_t along = flat ? 1 : axis;
    col_value *top = col_onnx_reduce(n, COL_OP_MAX, operand, 1, &along, true);
    if (!top) return;
    int64_t size = operand->type.shape.dims[along];
    col_value *index = col_onnx_iota(n, col_type_make(COL_I64, operand->type.shape), (int)along);
    col_value *places = col_onnx_where(n, col_onnx_binary(n, COL_OP_EQ, operand, top), index,
                                       col_onnx_number(n, (double)size, COL_I64));
    col_value *first = col_onnx_reduce(n, COL_OP_MIN, places, 1, &along, true);
    col_value *hot = col_onnx_cast(n, col_onnx_binary(n, COL_OP_EQ, index, first), x->type.dtype);
    n->outputs[0] = col_onnx_reshape(n, hot, x->type.shape);
}

/* The negative log-likelihood of x [n, c, d...] at labels [n, d...]. With a label's weight w (1 unless given, 0
 * where it is ignored) the loss is -w x[label], each, in sum, or in sum over the sum of the weights. */
static col_value *likelihood_loss(col_onnx_node *n, col_value *x, col_value *labels, col_value *weights)
{
    const char *reduction = col_onnx_text(n, "reduction", "mean");
    if (!x || !labels) return NULL;
    col_shape shape = x->type.shape;
    bool fits = shape.rank >= 2 && labels->type.shape.rank == shape.rank - 1;
    for (int i = 0; fits && i < shape.rank; i++)
        fits = i == 1 || labels->type.shape.dims[i > 1 ? i - 1 : i] == shape.dims[i];
    if (!fits) {
        col_onnx_fault(n, "the labels must be the scores' [n, c, d...] without c");
        return NULL;
    }
    bool ignores = col_onnx_attribute(n, "ignore_index") != NULL;
    int64_t classes = 1, axes[COL_MAX_RANK];
    col_value *zero = col_onnx_number(n, 0, x->type.dtype);
    col_value *at = col_onnx_reshape(n, labels, col_onnx_set_axis(shape, 1, 1));
    col_value *hot = col_onnx_one_hot(n, shape, 1, at);
    col_value *loss = col_onnx_reduce(n, COL_OP_SUM, col_onnx_where(n, hot, x, zero), 1, &classes, false);
    loss = col_onnx_unary(n, COL_OP_NEG, loss);
    col_value *weight = NULL;
    if (weights) {
        col_value *table = col_onnx_where(n, hot, per_channel(n, x, weights), zero);
        weight = col_onnx_reduce(n, COL_OP_SUM, table, 1, &classes, false);
    } else if (ignores && loss) {
        weight = col_onnx_full(n, 1, loss->type);
    }
    if (ignores) {
        double ignored = (double)col_onnx_int(n, "ignore_index", 0);
        weight = col_onnx_where(n, with(n, COL_OP_NE, labels, ignored), weight, zero);
        loss = col_onnx_where(n, with(n, COL_OP_NE, labels, ignored), loss, zero);
    }
    if (weight) loss = col_onnx_binary(n, COL_OP_MUL, loss, weight);
    if (!strcmp(reduction, "none") || !loss) return loss;
    int count = loss->type.shape.rank;
    for (int i = 0; i < count; i++) axes[i] = i;
    if (strcmp(reduction, "mean") && strcmp(reduction, "sum"))
        col_onnx_fault(n, "reduction '%s' is not supported; none, mean and sum are", reduction);
    col_value *sum = col_onnx_reduce(n, COL_OP_SUM, loss, count, axes, false);
    if (!strcmp(reduction, "sum")) return sum;
    if (!weight) return with(n, COL_OP_DIV, sum, (double)col_shape_numel(loss->type.shape));
    return col_onnx_binary(n, COL_OP_DIV, sum, col_onnx_reduce(n, COL_OP_SUM, weight, count, axes, false));
}

void col_onnx_op_nll_loss(col_onnx_node *n, int detail)
{
    (void)detail;
    n->outputs[0] = likelihood_loss(n, col_onnx_input(n, 0), col_onnx_input(n, 1), col_onnx_maybe(n, 2));
}

void col_onnx_op_cross_entropy_loss(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *scores = col_onnx_input(n, 0);
    col_attr axis = col_attr_int(COL_ATTR_AXIS, 1);
    col_value *logs = col_onnx_build_one(n, COL_OP_LOG_SOFTMAX, 1, &scores, 1, &axis);
    n->outputs[0] = likelihood_loss(n, logs, col_onnx_input(n, 1), col_onnx_maybe(n, 2));
    if (n->output_count > 1) n->outputs[1] = logs;
}
