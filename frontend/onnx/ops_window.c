/* Convolutions and poolings over the spatial axes of x [n, c, ...] (ir/window.h). */
#include <string.h>

#include "frontend/onnx/node.h"

typedef struct window {
    int rank; /* spatial axes */
    int64_t kernel[COL_MAX_RANK], stride[COL_MAX_RANK], dilation[COL_MAX_RANK];
    int64_t low[COL_MAX_RANK], high[COL_MAX_RANK];
} window;

/* `count` numbers from `least` to 2^31, or the fallback for each. */
static bool read_numbers(col_onnx_node *n, const char *name, int count, int64_t fallback, int64_t least,
                         int64_t *out)
{
    col_onnx_ints list = col_onnx_attr_ints(n, name);
    if (n->failed) return false;
    bool fine = list.count < 0 || list.count == count;
    for (int i = 0; fine && i < count; i++) {
        out[i] = list.count < 0 ? fallback : list.values[i];
        fine = out[i] >= least && out[i] <= INT32_MAX;
    }
    if (!fine) col_onnx_fault(n, "%s must be %d numbers from %lld on", name, count, (long long)least);
    return fine;
}

static int64_t extent(const window *w, int i)
{
    return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

/* Reads all but the kernel, which is known. auto_pad SAME pads so that there are ceil(size / stride) windows,
 * an odd element after (SAME_UPPER) or before. */
static bool read_window(col_onnx_node *n, const int64_t *sizes, window *w)
{
    int64_t pads[2 * COL_MAX_RANK];
    const char *automatic = col_onnx_text(n, "auto_pad", "NOTSET");
    if (!read_numbers(n, "strides", w->rank, 1, 1, w->stride) ||
        !read_numbers(n, "dilations", w->rank, 1, 1, w->dilation) ||
        !read_numbers(n, "pads", 2 * w->rank, 0, 0, pads))
        return false;
    bool upper = !strcmp(automatic, "SAME_UPPER"), lower = !strcmp(automatic, "SAME_LOWER");
    bool none = !strcmp(automatic, "VALID");
    if (!upper && !lower && !none && strcmp(automatic, "NOTSET"))
        col_onnx_fault(n, "auto_pad '%s' is unknown", automatic);
    for (int i = 0; i < w->rank; i++) {
        if (extent(w, i) > INT32_MAX) col_onnx_fault(n, "an absurd extent of the windows");
        int64_t windows = (sizes[i] + w->stride[i] - 1) / w->stride[i];
        int64_t all = COL_MAX((windows - 1) * w->stride[i] + extent(w, i) - sizes[i], 0);
        w->low[i] = none ? 0 : upper ? all / 2 : lower ? all - all / 2 : pads[i];
        w->high[i] = none ? 0 : upper || lower ? all - w->low[i] : pads[w->rank + i];
    }
    return !n->failed;
}

/* The attributes that all windows have; `out` has room for five. */
static void window_attrs(const window *w, col_attr *out)
{
    out[0] = col_attr_ints(COL_ATTR_STRIDES, w->rank, w->stride);
    out[1] = col_attr_ints(COL_ATTR_LOW, w->rank, w->low);
    out[2] = col_attr_ints(COL_ATTR_HIGH, w->rank, w->high);
    out[3] = col_attr_ints(COL_ATTR_DILATIONS, w->rank, w->dilation);
}

/* Whether x is [n, c, spatial...], and the weight, if there is one, has as many axes. */
static bool check_spatial(col_onnx_node *n, const col_value *x, const col_value *weight, window *w)
{
    if (!x) return false;
    w->rank = x->type.shape.rank - 2;
    if (w->rank < 1 || (weight && weight->type.shape.rank != x->type.shape.rank)) {
        col_onnx_fault(n, "the operand must be [n, c, spatial...], the weight have as many dimensions");
        return false;
    }
    for (int i = 0; weight && i < w->rank; i++) {
        w->kernel[i] = weight->type.shape.dims[2 + i];
        if (w->kernel[i] < 1 || w->kernel[i] > INT32_MAX) col_onnx_fault(n, "an absurd kernel");
    }
    return !n->failed;
}

static col_value *add_bias(col_onnx_node *n, col_value *y, col_value *bias)
{
    if (!y || !bias) return y;
    col_shape shape = {.rank = y->type.shape.rank};
    for (int i = 0; i < shape.rank; i++) shape.dims[i] = i == 1 ? y->type.shape.dims[1] : 1;
    return col_onnx_binary(n, COL_OP_ADD, y, col_onnx_reshape(n, bias, shape));
}

void col_onnx_op_conv(col_onnx_node *n, int detail)
{
    (void)detail;
    window w = {0};
    col_attr attrs[5];
    col_value *x = col_onnx_input(n, 0), *weight = col_onnx_input(n, 1);
    if (!weight || !check_spatial(n, x, weight, &w) || !read_window(n, x->type.shape.dims + 2, &w)) return;
    window_attrs(&w, attrs);
    attrs[4] = col_attr_int(COL_ATTR_GROUPS, col_onnx_int(n, "group", 1));
    col_value *operands[] = {col_onnx_single(n, x), col_onnx_single(n, weight)};
    col_value *y = col_onnx_build_one(n, COL_OP_CONV, 2, operands, 5, attrs);
    n->outputs[0] = add_bias(n, col_onnx_cast(n, y, x->type.dtype), col_onnx_maybe(n, 2));
}

/* The gradient of a convolution with respect to its input, whose sizes are
 * stride (size - 1) + output_padding + extent - low - high. Where the sizes are stated (output_shape), or are
 * size stride (auto_pad SAME), the padding follows. */
void col_onnx_op_conv_transpose(col_onnx_node *n, int detail)
{
    (void)detail;
    window w = {0};
    col_attr attrs[6];
    int64_t added[COL_MAX_RANK], sizes[COL_MAX_RANK], stated[COL_MAX_RANK];
    col_value *x = col_onnx_input(n, 0), *weight = col_onnx_input(n, 1);
    if (!weight || !check_spatial(n, x, weight, &w) || !read_window(n, x->type.shape.dims + 2, &w) ||
        !read_numbers(n, "output_padding", w.rank, 0, 0, added) ||
        !read_numbers(n, "output_shape", w.rank, 0, 0, stated))
        return;
    const char *automatic = col_onnx_text(n, "auto_pad", "NOTSET");
    bool same = !strncmp(automatic, "SAME", 4), upper = !strcmp(automatic, "SAME_UPPER");
    bool is_stated = col_onnx_attribute(n, "output_shape") != NULL;
    for (int i = 0; i < w.rank; i++) {
        int64_t size = x->type.shape.dims[2 + i];
        if (size > INT32_MAX) col_onnx_fault(n, "an absurd size");
        if (n->failed) return;
        int64_t full = w.stride[i] * (size - 1) + added[i] + extent(&w, i);
        if (is_stated || same) {
            int64_t wanted = is_stated ? stated[i] : size * w.stride[i], all = COL_MAX(full - wanted, 0);
            w.low[i] = upper ? all / 2 : all - all / 2;
            w.high[i] = all - w.low[i];
        }
        sizes[i] = full - w.low[i] - w.high[i];
    }
    window_attrs(&w, attrs);
    attrs[4] = col_attr_int(COL_ATTR_GROUPS, col_onnx_int(n, "group", 1));
    attrs[5] = col_attr_ints(COL_ATTR_SIZES, w.rank, sizes);
    col_value *operands[] = {col_onnx_single(n, x), col_onnx_single(n, weight)};
    col_value *y = col_onnx_build_one(n, COL_OP_CONV_GRAD_INPUT, 2, operands, 6, attrs);
    n->outputs[0] = add_bias(n, col_onnx_cast(n, y, x->type.dtype), col_onnx_maybe(n, 2));
}

/* With ceil_mode, a last window that begins inside but ends behind the padded input counts, too: so much more
 * padding. */
static void pad_for_ceil(window *w, const int64_t *sizes)
{
    for (int i = 0; i < w->rank; i++) {
        int64_t padded = sizes[i] + w->low[i] + w->high[i], over = padded - extent(w, i);
        int64_t steps = over > 0 ? (over + w->stride[i] - 1) / w->stride[i] : 0;
        if (steps * w->stride[i] >= sizes[i] + w->low[i]) steps--;
        w->high[i] += COL_MAX(steps * w->stride[i] - over, 0);
    }
}

/* Explicit zeros around the spatial axes. */
static col_value *pad_spatial(col_onnx_node *n, col_value *x, window *w)
{
    int64_t low[COL_MAX_RANK] = {0}, high[COL_MAX_RANK] = {0};
    for (int i = 0; i < w->rank; i++) {
        low[2 + i] = w->low[i];
        high[2 + i] = w->high[i];
        w->low[i] = w->high[i] = 0;
    }
    col_attr attrs[] = {col_attr_ints(COL_ATTR_LOW, x->type.shape.rank, low),
                        col_attr_ints(COL_ATTR_HIGH, x->type.shape.rank, high)};
    return col_onnx_build_one(n, COL_OP_PAD, 1, &x, 2, attrs);
}

/* Averages that count the padding get it as zeros first: what ceil_mode adds behind it is never counted. */
void col_onnx_op_pool(col_onnx_node *n, int op)
{
    window w = {0};
    col_attr attrs[5];
    col_value *x = col_onnx_input(n, 0);
    if (!check_spatial(n, x, NULL, &w) || !read_numbers(n, "kernel_shape", w.rank, 0, 1, w.kernel) ||
        !read_window(n, x->type.shape.dims + 2, &w))
        return;
    col_dtype dtype = x->type.dtype;
    x = dtype == COL_U8 ? col_onnx_cast(n, x, COL_F32) : col_onnx_single(n, x);
    if (!x) return;
    bool counts = op == COL_OP_AVG_POOL && col_onnx_int(n, "count_include_pad", 0) != 0;
    window padded = w;
    if (col_onnx_int(n, "ceil_mode", 0)) pad_for_ceil(&padded, x->type.shape.dims + 2);
    if (counts) {
        for (int i = 0; i < w.rank; i++) padded.high[i] -= w.high[i];
        x = pad_spatial(n, x, &w);
        memset(padded.low, 0, sizeof padded.low);
    }
    window_attrs(&padded, attrs);
    attrs[4] = col_attr_ints(COL_ATTR_KERNEL, w.rank, w.kernel);
    n->outputs[0] = col_onnx_cast(n, col_onnx_build_one(n, (col_op)op, 1, &x, 5, attrs), dtype);
}

void col_onnx_op_global_pool(col_onnx_node *n, int op)
{
    window w;
    col_value *x = col_onnx_input(n, 0);
    int64_t axes[COL_MAX_RANK];
    if (!check_spatial(n, x, NULL, &w)) return;
    for (int i = 0; i < w.rank; i++) axes[i] = 2 + i;
    n->outputs[0] = col_onnx_reduce(n, (col_op)op, x, w.rank, axes, true);
}
