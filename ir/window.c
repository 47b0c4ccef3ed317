#include "ir/window.h"

#include <stdlib.h>

#include "ir/ops/family.h"

/* A list of `rank` numbers, or of one that stands for all; without it all are `fallback`. Each is at least
 * `least`. */
static bool read_list(const col_node *node, col_diags *diags, col_attr_key key, int rank, int64_t fallback,
                      int64_t least, int64_t *out)
{
    int count = 0;
    const int64_t *list = col_node_attr(node, key) ? col_node_ints(node, key, &count) : NULL;
    if (list && count != rank && count != 1) {
        return col_op_fault(node, diags, "'%s' has %d numbers for %d spatial axes; give %d, or one for all",
                            col_attr_name(key), count, rank, rank);
    }
    for (int i = 0; i < rank; i++) {
        out[i] = list ? list[count == 1 ? 0 : i] : fallback;
        if (out[i] >= least && out[i] <= INT32_MAX) continue;
        return col_op_fault(node, diags, "'%s' holds %lld; it must be from %lld to %d", col_attr_name(key),
                            (long long)out[i], (long long)least, INT32_MAX);
    }
    return true;
}

/* All entries fit 32 bits and sizes 60, so nothing here overflows. */
static bool find_outputs(const col_node *node, col_diags *diags, col_window *w)
{
    for (int i = 0; i < w->rank; i++) {
        int64_t extent = (w->kernel[i] - 1) * w->dilation[i] + 1,
                padded = w->size[i] + w->low[i] + w->high[i];
        if (extent > padded) {
            return col_op_fault(
                node, diags,
                "a window of %lld along spatial axis %d does not fit %lld elements and the padding "
                "%lld + %lld: pad more, or make the kernel or dilation smaller",
                (long long)extent, i, (long long)w->size[i], (long long)w->low[i], (long long)w->high[i]);
        }
        w->out[i] = (padded - extent) / w->stride[i] + 1;
    }
    return true;
}

bool col_window_read(const col_node *node, col_diags *diags, int rank, const int64_t *sizes,
                     const int64_t *kernel, col_window *out)
{
    col_window w = {.rank = rank, .groups = col_node_int(node, COL_ATTR_GROUPS)};
    w.count_includes_pad = col_node_int(node, COL_ATTR_COUNT_INCLUDE_PAD) != 0;
    bool fine = read_list(node, diags, COL_ATTR_STRIDES, rank, 1, 1, w.stride) &&
                read_list(node, diags, COL_ATTR_DILATIONS, rank, 1, 1, w.dilation) &&
                read_list(node, diags, COL_ATTR_LOW, rank, 0, 0, w.low) &&
                read_list(node, diags, COL_ATTR_HIGH, rank, 0, 0, w.high);
    if (fine && !kernel) fine = read_list(node, diags, COL_ATTR_KERNEL, rank, 1, 1, w.kernel);
    if (fine && !sizes) fine = read_list(node, diags, COL_ATTR_SIZES, rank, 1, 0, w.size);
    for (int i = 0; fine && i < rank; i++) {
        if (kernel) w.kernel[i] = kernel[i];
        if (sizes) w.size[i] = sizes[i];
        if (w.kernel[i] < 1 || w.kernel[i] > INT32_MAX)
            fine = col_op_fault(node, diags, "a kernel of %lld taps along spatial axis %d",
                                (long long)w.kernel[i], i);
    }
    if (!fine || !find_outputs(node, diags, &w)) return false;
    *out = w;
    return true;
}

col_window col_window_of(const col_node *node)
{
    const int64_t *first = col_node_operand(node, 0)->type.shape.dims, *sizes = first + 2, *kernel = NULL;
    if (node->op == COL_OP_CONV || node->op == COL_OP_CONV_GRAD_INPUT)
        kernel = col_node_operand(node, 1)->type.shape.dims + 2;
    if (node->op == COL_OP_CONV_GRAD_INPUT || node->op == COL_OP_AVG_POOL_GRAD) sizes = NULL;
    col_diags diags = {.arena = node->graph->arena};
    col_window w;
    bool fine =
        col_window_read(node, &diags, col_node_operand(node, 0)->type.shape.rank - 2, sizes, kernel, &w);
    COL_ASSERT(fine);
    return w;
}

static int64_t product(int rank, const int64_t *list)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= list[i];
    return n;
}

int64_t col_window_taps(const col_window *w)
{
    return product(w->rank, w->kernel);
}

int64_t col_window_inputs(const col_window *w)
{
    return product(w->rank, w->size);
}

int64_t col_window_outputs(const col_window *w)
{
    return product(w->rank, w->out);
}

int64_t *col_window_map(const col_window *w)
{
    int64_t outputs = col_window_outputs(w), taps = col_window_taps(w);
    int64_t *map = malloc(sizeof *map * (size_t)COL_MAX(outputs * taps, 1));
    if (!map) col_out_of_memory(sizeof *map * (size_t)(outputs * taps));
    for (int64_t i = 0; i < outputs * taps; i++) {
        int64_t output = i / taps, tap = i % taps, at = 0, step = 1;
        for (int axis = w->rank; axis-- > 0;) {
            int64_t window = output % w->out[axis], offset = tap % w->kernel[axis];
            int64_t position = window * w->stride[axis] - w->low[axis] + offset * w->dilation[axis];
            if (position < 0 || position >= w->size[axis]) at = INT64_MIN / 2;
            at += position * step;
            step *= w->size[axis];
            output /= w->out[axis];
            tap /= w->kernel[axis];
        }
        map[i] = at < 0 ? -1 : at;
    }
    return map;
}

double col_window_flops(const col_node *node)
{
    col_window w = col_window_of(node);
    const col_type *first = &col_node_operand(node, 0)->type, *second = &col_node_operand(node, 1)->type;
    bool by_input = node->op == COL_OP_CONV_GRAD_INPUT, by_weight = node->op == COL_OP_CONV_GRAD_WEIGHT;
    int64_t outputs = by_weight  ? second->shape.dims[1]
                      : by_input ? first->shape.dims[1]
                                 : second->shape.dims[0];
    int64_t inputs = by_input ? second->shape.dims[1] : first->shape.dims[1] / w.groups;
    return 2.0 * (double)first->shape.dims[0] * (double)outputs * (double)inputs *
           (double)col_window_outputs(&w) * (double)col_window_taps(&w);
}
