/* Poolings over the spatial axes of [n, c, ...] (ir/window.h) and their gradients.
 *
 *   max_pool   the largest element of a window; a NaN is larger than any number; padding never wins
 *   avg_pool   the sum of a window's elements over their number, or over all taps with count_include_pad
 *
 * The gradient of a maximum goes whole to the first element, in window order, that is larger than all before
 * it: as in PyTorch, also for ties. It is found again from x rather than kept: an index would be a tensor of
 * its own. */
#include "ir/factors.h"
#include "ir/ops/family.h"

#include <math.h>
#include <stdlib.h>

#include "ir/window.h"

static bool check_spatial(const col_node *node, col_diags *diags, const char *what)
{
    if (!col_op_want_float(node, diags, 0, what)) return false;
    if (operand_type(node, 0).shape.rank >= 3) return true;
    return col_op_fault(node, diags, "%s must be [batch, channels, spatial...], not %s", what,
                        col_op_type_text(diags, operand_type(node, 0)));
}

static col_shape with_spatial(col_shape shape, const int64_t *spatial)
{
    for (int i = 2; i < shape.rank; i++) shape.dims[i] = spatial[i - 2];
    return shape;
}

/* Every window must hold an element: the largest, or the mean, of none is not defined. The first window
 * begins `low` before the input, the last ends at most `high` behind it. */
static bool check_windows(const col_node *node, col_diags *diags, const col_window *w)
{
    for (int axis = 0; axis < w->rank; axis++) {
        int64_t most = (w->kernel[axis] - 1) * w->dilation[axis];
        if (w->low[axis] <= most && w->high[axis] <= most && w->size[axis] >= w->dilation[axis]) continue;
        return col_op_fault(
            node, diags,
            "a window along spatial axis %d may lie in the padding alone; pad by at most %lld, and "
            "dilate by no more than the %lld elements there are",
            axis, (long long)most, (long long)w->size[axis]);
    }
    return true;
}

static bool infer_pool(col_node *node, col_diags *diags)
{
    if (!check_spatial(node, diags, "the operand")) return false;
    col_type x = operand_type(node, 0);
    col_window w;
    return col_window_read(node, diags, x.shape.rank - 2, x.shape.dims + 2, NULL, &w) &&
           check_windows(node, diags, &w) && col_op_result(node, 0, x.dtype, with_spatial(x.shape, w.out));
}

bool col_infer_max_pool(col_node *node, col_diags *diags)
{
    return infer_pool(node, diags);
}

bool col_infer_avg_pool(col_node *node, col_diags *diags)
{
    return infer_pool(node, diags);
}

static bool check_gradient(const col_node *node, col_diags *diags, uint32_t index, col_type wanted)
{
    col_type given = operand_type(node, index);
    if (col_type_equal(given, wanted)) return true;
    return col_op_fault(node, diags, "the gradient is %s; with these windows it should be %s",
                        col_op_type_text(diags, given), col_op_type_text(diags, wanted));
}

bool col_infer_max_pool_grad(col_node *node, col_diags *diags)
{
    if (!infer_pool(node, diags)) return false;
    return check_gradient(node, diags, 1, node->results[0].type) &&
           col_op_result(node, 0, operand_type(node, 0).dtype, operand_type(node, 0).shape);
}

bool col_infer_avg_pool_grad(col_node *node, col_diags *diags)
{
    if (!check_spatial(node, diags, "the gradient")) return false;
    col_type dy = operand_type(node, 0);
    col_window w;
    return col_window_read(node, diags, dy.shape.rank - 2, NULL, NULL, &w) &&
           check_windows(node, diags, &w) &&
           check_gradient(node, diags, 0, col_type_make(dy.dtype, with_spatial(dy.shape, w.out))) &&
           col_op_result(node, 0, dy.dtype, with_spatial(dy.shape, w.size));
}

void col_grad_max_pool(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                       col_value **dx)
{
    (void)wanted;
    col_value *operands[] = {col_node_operand(node, 0), dy[0]};
    dx[0] = &col_build(b, COL_OP_MAX_POOL_GRAD, 2, operands, node->attr_count, node->attrs)->results[0];
}

void col_grad_avg_pool(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                       col_value **dx)
{
    (void)wanted;
    col_shape shape = operand_type(node, 0).shape;
    col_attr attrs[COL_ATTR_COUNT];
    for (uint32_t i = 0; i < node->attr_count; i++) attrs[i] = node->attrs[i];
    attrs[node->attr_count] = col_attr_ints(COL_ATTR_SIZES, shape.rank - 2, shape.dims + 2);
    dx[0] = &col_build(b, COL_OP_AVG_POOL_GRAD, 1, dy, node->attr_count + 1, attrs)->results[0];
}

/* --- splitting over a mesh ---------------------------------------------------------------------------- */

/* Batch and channels are independent, in the gradients too. */
void col_relate_pool(col_factors *f, const col_node *node)
{
    col_slot y = col_result_slot(node, 0);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        for (int d = 0; d < 2; d++) col_factors_same(f, col_operand_slot(node, i), d, y, d);
    }
    for (int d = 2; d < node->results[0].type.shape.rank; d++) col_factors_whole(f, y, d);
}

/* --- reference evaluation ----------------------------------------------------------------------------- */

/* Windows of all planes of one node. */
typedef struct planes {
    int64_t count, inputs, outputs, taps;
    int64_t *map; /* to be freed */
    bool count_includes_pad;
} planes;

static planes planes_of(const col_node *node)
{
    col_window w = col_window_of(node);
    const int64_t *dims = col_node_operand(node, 0)->type.shape.dims;
    return (planes){dims[0] * dims[1],   col_window_inputs(&w), col_window_outputs(&w),
                    col_window_taps(&w), col_window_map(&w),    w.count_includes_pad};
}

/* The place of the largest element of a window. */
static int64_t largest(const planes *p, const double *x, const int64_t *window)
{
    int64_t best = -1;
    for (int64_t j = 0; j < p->taps; j++) {
        if (window[j] >= 0 && (best < 0 || x[window[j]] > x[best] || isnan(x[window[j]]))) best = window[j];
    }
    return best;
}

void col_eval_max_pool(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    planes p = planes_of(node);
    for (int64_t i = 0; i < p.count * p.outputs; i++) {
        const double *x = operands[0].data + i / p.outputs * p.inputs;
        results[0].data[i] = x[largest(&p, x, p.map + i % p.outputs * p.taps)];
    }
    free(p.map);
}

void col_eval_max_pool_grad(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    planes p = planes_of(node);
    col_fill(results[0], 0);
    for (int64_t i = 0; i < p.count * p.outputs; i++) {
        int64_t plane = i / p.outputs * p.inputs;
        int64_t best = largest(&p, operands[0].data + plane, p.map + i % p.outputs * p.taps);
        results[0].data[plane + best] += operands[1].data[i];
    }
    free(p.map);
}

static double divisor(const planes *p, const int64_t *window)
{
    int64_t inside = 0;
    for (int64_t j = 0; j < p->taps; j++) inside += window[j] >= 0;
    return (double)(p->count_includes_pad ? p->taps : inside);
}

void col_eval_avg_pool(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    planes p = planes_of(node);
    for (int64_t i = 0; i < p.count * p.outputs; i++) {
        const double *x = operands[0].data + i / p.outputs * p.inputs;
        const int64_t *window = p.map + i % p.outputs * p.taps;
        double sum = 0;
        for (int64_t j = 0; j < p.taps; j++) sum += window[j] < 0 ? 0 : x[window[j]];
        results[0].data[i] = sum / divisor(&p, window);
    }
    free(p.map);
}

void col_eval_avg_pool_grad(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    planes p = planes_of(node);
    col_fill(results[0], 0);
    for (int64_t i = 0; i < p.count * p.outputs; i++) {
        double *dx = results[0].data + i / p.outputs * p.inputs;
        const int64_t *window = p.map + i % p.outputs * p.taps;
        double share = operands[0].data[i] / divisor(&p, window);
        for (int64_t j = 0; j < p.taps; j++) {
            if (window[j] >= 0) dx[window[j]] += share;
        }
    }
    free(p.map);
}

col_work col_work_pool(const col_node *node)
{
    col_window w = col_window_of(node);
    const int64_t *dims = col_node_operand(node, 0)->type.shape.dims;
    double outputs = (double)(dims[0] * dims[1]) * (double)col_window_outputs(&w);
    return (col_work){COL_WORK_MOVE, outputs * (double)col_window_taps(&w)};
}
