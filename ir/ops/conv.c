/* Convolutions (cross-correlations, as in ONNX and PyTorch) over any number of spatial axes, and their
 * gradients. With tap j of window i at position p(i, j) of the padded input (ir/window.h), and c over the
 * channels of o's group:
 *
 *   y[n,o,i]  = sum_{c,j} x[n,c,p(i,j)] w[o,c,j]
 *   dx[n,c,p] = sum_{o,i,j: p(i,j)=p} dy[n,o,i] w[o,c,j]
 *   dw[o,c,j] = sum_{n,i} x[n,c,p(i,j)] dy[n,o,i]
 *
 * where padding counts as 0. The attributes that describe the other operand's spatial sizes (sizes, kernel)
 * are all that a gradient needs of it: batch and channels follow from the operands, and so stay right when
 * they are split. */
#include "ir/factors.h"
#include "ir/ops/family.h"

#include <stdlib.h>

#include "ir/window.h"

static bool check_operands(const col_node *node, col_diags *diags, const char *const names[2])
{
    col_shape shape = operand_type(node, 0).shape;
    for (uint32_t i = 0; i < 2; i++) {
        if (!col_op_want_float(node, diags, i, names[i])) return false;
    }
    if (!col_op_want_same(node, diags, 0, 1)) return false;
    if (shape.rank < 3) {
        return col_op_fault(node, diags, "%s must be [batch, channels, spatial...], not %s", names[0],
                            col_op_type_text(diags, operand_type(node, 0)));
    }
    return col_op_want_rank(node, diags, 1, names[1], shape.rank);
}

/* `inputs` channels in groups of `each` give `outputs` channels. */
static bool check_channels(const col_node *node, col_diags *diags, int64_t inputs, int64_t each,
                           int64_t outputs)
{
    int64_t groups = col_node_int(node, COL_ATTR_GROUPS);
    if (groups >= 1 && each >= 1 && inputs / groups == each && inputs % groups == 0 && outputs % groups == 0)
        return true;
    return col_op_fault(
        node, diags,
        "%lld channels in and %lld out do not form %lld groups with a weight for %lld channels each",
        (long long)inputs, (long long)outputs, (long long)groups, (long long)each);
}

/* [n, c, spatial...] */
static col_shape shape_of(int64_t n, int64_t c, int rank, const int64_t *spatial)
{
    col_shape shape = {.rank = rank + 2, .dims = {n, c}};
    for (int i = 0; i < rank; i++) shape.dims[2 + i] = spatial[i];
    return shape;
}

/* The gradient dy must have the windows' shape. */
static bool check_outputs(const col_node *node, col_diags *diags, uint32_t index, const col_window *w)
{
    col_type dy = operand_type(node, index);
    col_shape wanted = shape_of(dy.shape.dims[0], dy.shape.dims[1], w->rank, w->out);
    if (col_shape_equal(dy.shape, wanted)) return true;
    return col_op_fault(node, diags, "the gradient is %s; with these windows it should be %s",
                        col_op_type_text(diags, dy),
                        col_op_type_text(diags, col_type_make(dy.dtype, wanted)));
}

bool col_infer_conv(col_node *node, col_diags *diags)
{
    if (!check_operands(node, diags, (const char *const[]){"the operand", "the weight"})) return false;
    col_type x = operand_type(node, 0);
    const int64_t *weight = operand_type(node, 1).shape.dims;
    int rank = x.shape.rank - 2;
    col_window w;
    int64_t kernel[COL_MAX_RANK];
    for (int i = 0; i < rank; i++) kernel[i] = weight[2 + i];
    return check_channels(node, diags, x.shape.dims[1], weight[1], weight[0]) &&
           col_window_read(node, diags, rank, x.shape.dims + 2, kernel, &w) &&
           col_op_result(node, 0, x.dtype, shape_of(x.shape.dims[0], weight[0], rank, w.out));
}

bool col_infer_conv_grad_input(col_node *node, col_diags *diags)
{
    if (!check_operands(node, diags, (const char *const[]){"the gradient", "the weight"})) return false;
    col_type dy = operand_type(node, 0);
    col_shape weight = operand_type(node, 1).shape;
    int64_t groups = col_node_int(node, COL_ATTR_GROUPS), inputs;
    int rank = dy.shape.rank - 2;
    col_window w;
    if (__builtin_mul_overflow(weight.dims[1], groups, &inputs))
        return col_op_fault(node, diags, "%lld groups are too many", (long long)groups);
    if (weight.dims[0] != dy.shape.dims[1]) {
        return col_op_fault(node, diags, "the gradient has %lld channels, the weight makes %lld",
                            (long long)dy.shape.dims[1], (long long)weight.dims[0]);
    }
    return check_channels(node, diags, inputs, weight.dims[1], weight.dims[0]) &&
           col_window_read(node, diags, rank, NULL, weight.dims + 2, &w) &&
           check_outputs(node, diags, 0, &w) &&
           col_op_result(node, 0, dy.dtype, shape_of(dy.shape.dims[0], inputs, rank, w.size));
}

bool col_infer_conv_grad_weight(col_node *node, col_diags *diags)
{
    if (!check_operands(node, diags, (const char *const[]){"the operand", "the gradient"})) return false;
    col_type x = operand_type(node, 0), dy = operand_type(node, 1);
    int64_t groups = COL_MAX(col_node_int(node, COL_ATTR_GROUPS), 1), each = x.shape.dims[1] / groups;
    int rank = x.shape.rank - 2;
    col_window w;
    if (x.shape.dims[0] != dy.shape.dims[0]) {
        return col_op_fault(node, diags, "the operand has a batch of %lld, the gradient of %lld",
                            (long long)x.shape.dims[0], (long long)dy.shape.dims[0]);
    }
    return check_channels(node, diags, x.shape.dims[1], each, dy.shape.dims[1]) &&
           col_window_read(node, diags, rank, x.shape.dims + 2, NULL, &w) &&
           check_outputs(node, diags, 1, &w) &&
           col_op_result(node, 0, x.dtype, shape_of(dy.shape.dims[1], each, rank, w.kernel));
}

void col_grad_conv(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    col_value *x = col_node_operand(node, 0), *weight = col_node_operand(node, 1);
    int rank = x->type.shape.rank - 2;
    col_attr attrs[COL_ATTR_COUNT];
    COL_ASSERT(node->attr_count < COL_COUNT(attrs));
    for (uint32_t i = 0; i < node->attr_count; i++) attrs[i] = node->attrs[i];
    uint32_t last = node->attr_count;
    if (wanted[0]) {
        attrs[last] = col_attr_ints(COL_ATTR_SIZES, rank, x->type.shape.dims + 2);
        col_value *operands[] = {dy[0], weight};
        dx[0] = &col_build(b, COL_OP_CONV_GRAD_INPUT, 2, operands, last + 1, attrs)->results[0];
    }
    if (wanted[1]) {
        attrs[last] = col_attr_ints(COL_ATTR_KERNEL, rank, weight->type.shape.dims + 2);
        col_value *operands[] = {x, dy[0]};
        dx[1] = &col_build(b, COL_OP_CONV_GRAD_WEIGHT, 2, operands, last + 1, attrs)->results[0];
    }
}

/* A transposed convolution, as a layer: y = conv_grad_input(u, weight) is linear in both, and its inner product with
 * dy is that of conv(dy, weight) with u. */
void col_grad_conv_grad_input(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                              col_value **dx)
{
    col_value *u = col_node_operand(node, 0), *weight = col_node_operand(node, 1);
    col_attr attrs[COL_ATTR_COUNT];
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].key != COL_ATTR_SIZES) attrs[count++] = node->attrs[i];
    }
    if (wanted[0]) {
        col_value *operands[] = {dy[0], weight};
        dx[0] = &col_build(b, COL_OP_CONV, 2, operands, count, attrs)->results[0];
    }
    if (wanted[1]) {
        attrs[count] =
            col_attr_ints(COL_ATTR_KERNEL, weight->type.shape.rank - 2, weight->type.shape.dims + 2);
        col_value *operands[] = {dy[0], u};
        dx[1] = &col_build(b, COL_OP_CONV_GRAD_WEIGHT, 2, operands, count + 1, attrs)->results[0];
    }
}

/* --- splitting over a mesh ---------------------------------------------------------------------------- */

/* The batch and the channels in and out, of x, weight and y, whichever of the three the node makes. Channels
 * in several groups are split by whole groups. */
static void relate(col_factors *f, const col_node *node, col_slot x, col_slot weight, col_slot y)
{
    int64_t groups = col_node_int(node, COL_ATTR_GROUPS);
    col_slot made = col_result_slot(node, 0);
    col_factors_same(f, x, 0, y, 0);
    col_factors_same(f, weight, 0, y, 1);
    if (groups == 1) {
        col_factors_same(f, x, 1, weight, 1);
    } else {
        col_factors_same_outer(f, x, 1, weight, 0, groups);
        col_factors_whole(f, weight, 1);
    }
    for (int d = 2; d < node->results[0].type.shape.rank; d++) col_factors_whole(f, made, d);
}

void col_relate_conv(col_factors *f, const col_node *node)
{
    col_slot x = col_operand_slot(node, 0), weight = col_operand_slot(node, 1), y = col_result_slot(node, 0);
    relate(f, node, x, weight, y);
    if (col_node_int(node, COL_ATTR_GROUPS) == 1) col_factors_reduces(f, x, 1, y, COL_OP_SUM);
}

void col_relate_conv_grad_input(col_factors *f, const col_node *node)
{
    col_slot dy = col_operand_slot(node, 0), weight = col_operand_slot(node, 1),
             dx = col_result_slot(node, 0);
    relate(f, node, dx, weight, dy);
    if (col_node_int(node, COL_ATTR_GROUPS) == 1) col_factors_reduces(f, dy, 1, dx, COL_OP_SUM);
}

void col_relate_conv_grad_weight(col_factors *f, const col_node *node)
{
    col_slot x = col_operand_slot(node, 0), dy = col_operand_slot(node, 1), dw = col_result_slot(node, 0);
    relate(f, node, x, dw, dy);
    col_factors_reduces(f, x, 0, dw, COL_OP_SUM);
}

/* A rank that has some of the groups convolves those. */
void col_local_conv(col_local *l, const col_node *node, col_value *const *operands, col_value **out)
{
    int64_t groups = col_node_int(node, COL_ATTR_GROUPS);
    col_attr attrs[COL_ATTR_COUNT];
    for (uint32_t i = 0; i < node->attr_count; i++) {
        attrs[i] = node->attrs[i];
        if (attrs[i].key != COL_ATTR_GROUPS || groups == 1) continue;
        col_layout layout = col_factors_operand_layout(l->f, l->strategy, node, 0);
        attrs[i].int_value /= col_layout_parts(&layout, l->mesh, 1);
    }
    out[0] = &col_build(l->b, node->op, 2, operands, node->attr_count, attrs)->results[0];
}

/* --- reference evaluation ----------------------------------------------------------------------------- */

typedef enum sum_into { INTO_OUTPUT, INTO_INPUT, INTO_WEIGHT } sum_into;

/* One pair of planes: all windows of an input plane with one kernel. */
static void add_plane(int64_t outputs, int64_t taps, const int64_t *map, sum_into into, double *x,
                      double *weight, double *y)
{
    for (int64_t i = 0; i < outputs; i++) {
        for (int64_t j = 0; j < taps; j++) {
            int64_t at = map[i * taps + j];
            if (at < 0) continue;
            if (into == INTO_OUTPUT)
                y[i] += x[at] * weight[j];
            else if (into == INTO_INPUT)
                x[at] += y[i] * weight[j];
            else
                weight[j] += x[at] * y[i];
        }
    }
}

/* One of the three is the sum, zero before. */
static void convolve(const col_node *node, sum_into into, col_tensor x, col_tensor weight, col_tensor y)
{
    col_window w = col_window_of(node);
    int64_t *map = col_window_map(&w), inputs = col_window_inputs(&w), outputs = col_window_outputs(&w);
    int64_t taps = col_window_taps(&w), each = weight.type.shape.dims[1];
    int64_t channels = x.type.shape.dims[1], filters = weight.type.shape.dims[0];
    for (int64_t n = 0; n < x.type.shape.dims[0]; n++) {
        for (int64_t o = 0; o < filters; o++) {
            int64_t first = o / (filters / w.groups) * each;
            for (int64_t c = 0; c < each; c++) {
                add_plane(outputs, taps, map, into, x.data + (n * channels + first + c) * inputs,
                          weight.data + (o * each + c) * taps, y.data + (n * filters + o) * outputs);
            }
        }
    }
    free(map);
}

void col_eval_conv(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_fill(results[0], 0);
    convolve(node, INTO_OUTPUT, operands[0], operands[1], results[0]);
}

void col_eval_conv_grad_input(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_fill(results[0], 0);
    convolve(node, INTO_INPUT, results[0], operands[1], operands[0]);
}

void col_eval_conv_grad_weight(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_fill(results[0], 0);
    convolve(node, INTO_WEIGHT, operands[0], results[0], operands[1]);
}

col_work col_work_conv(const col_node *node)
{
    return (col_work){COL_WORK_CONVOLUTION, col_window_flops(node)};
}
