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
    if (!weight) return !n->failed;
    int64_t stated[COL_MAX_RANK];
    bool is_stated = col_onnx_attribute(n, "kernel_shape") != NULL;
    if (is_stated && !read_numbers(n, "kernel_shape", w->rank, 0, 1, stated)) return false;
    for (int i = 0; i < w->rank; i++) {
        w->kernel[i] = weight->type.shape.dims[2 + i];
        if (w->kernel[i] < 1 || w->kernel[i] > INT32_MAX) col_onnx_fault(n, "an absurd kernel");
        if (is_stated && stated[i] != w->kernel[i])
            col_onnx_fault(n, "kernel_shape is not that of the weight");
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
    int64_t behind[COL_MAX_RANK] = {0}; /* zeros that a stated size asks for */
    bool is_longer = false;
    for (int i = 0; i < w.rank; i++) {
        int64_t size = x->type.shape.dims[2 + i];
        if (size > INT32_MAX) col_onnx_fault(n, "an absurd size");
        if (n->failed) return;
        int64_t full = w.stride[i] * (size - 1) + added[i] + extent(&w, i);
        if (is_stated || same) {
            int64_t wanted = is_stated ? stated[i] : size * w.stride[i], all = COL_MAX(full - wanted, 0);
            behind[2 + i] = COL_MAX(wanted - full, 0);
            is_longer |= behind[2 + i] > 0;
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
    if (is_longer) {
        col_attr more[] = {col_attr_ints(COL_ATTR_LOW, w.rank + 2, (int64_t[COL_MAX_RANK]){0}),
                           col_attr_ints(COL_ATTR_HIGH, w.rank + 2, behind)};
        y = col_onnx_build_one(n, COL_OP_PAD, 1, &y, 2, more);
    }
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

/* The places of the elements that windows read along an axis: i64 [out, kernel]. */
static col_value *places_along(col_onnx_node *n, const window *w, int i, int64_t out)
{
    col_type table = col_type_make(COL_I64, col_shape_make(2, (int64_t[]){out, w->kernel[i]}));
    col_value *first =
        col_onnx_binary_number(n, COL_OP_MUL, col_onnx_iota(n, table, 0), (double)w->stride[i]);
    col_value *step =
        col_onnx_binary_number(n, COL_OP_MUL, col_onnx_iota(n, table, 1), (double)w->dilation[i]);
    return col_onnx_binary_number(n, COL_OP_SUB, col_onnx_binary(n, COL_OP_ADD, first, step),
                                  (double)w->low[i]);
}

/* axis 1 of `number` in base `size`: number / size rounded down */
static col_value *quotient(col_onnx_node *n, col_value *number, int64_t size)
{
    col_value *ratio = col_onnx_binary_number(n, COL_OP_DIV, col_onnx_cast(n, number, COL_F64), (double)size);
    return col_onnx_cast(n, col_onnx_unary(n, COL_OP_FLOOR, ratio), COL_I64);
}

/* The row-major numbers, in the whole operand, of the elements that are the largest y of their windows: the first in
 * each. All that windows read is gathered, [n, c, out, kernel, ...], and those places that hold y are compared.
 * With storage_order the last two spatial axes are numbered the other way round. */
static col_value *largest_places(col_onnx_node *n, const window *w, col_value *x, col_value *y)
{
    col_shape shape = x->type.shape, line = {.rank = 2 * w->rank + 2}, tops = line;
    if (!y || line.rank > COL_MAX_RANK) {
        col_onnx_fault(n, "indices are not supported for %d spatial axes", w->rank);
        return NULL;
    }
    col_value *all = x, *number = NULL, *inside = NULL;
    int64_t axes[COL_MAX_RANK], planes = shape.dims[0] * shape.dims[1], size = 1;
    for (int i = 0; i < 2; i++) tops.dims[i] = shape.dims[i];
    for (int i = 0; i < w->rank; i++) {
        int64_t length = shape.dims[2 + i], out = y->type.shape.dims[2 + i];
        col_value *at = places_along(n, w, i, out);
        all = col_onnx_take(n, all, 2 + 2 * i, col_onnx_binary_number(n, COL_OP_MAXIMUM, at, 0));
        col_shape spread = line;
        for (int k = 0; k < spread.rank; k++)
            spread.dims[k] = k == 2 + 2 * i ? out : k == 3 + 2 * i ? w->kernel[i] : 1;
        at = col_onnx_reshape(n, at, spread);
        col_value *fits = col_onnx_binary(n, COL_OP_AND, col_onnx_binary_number(n, COL_OP_GE, at, 0),
                                          col_onnx_binary_number(n, COL_OP_LT, at, (double)length));
        inside = inside ? col_onnx_binary(n, COL_OP_AND, inside, fits) : fits;
        number = number ? col_onnx_binary(n, COL_OP_ADD,
                                          col_onnx_binary_number(n, COL_OP_MUL, number, (double)length), at)
                        : at;
        tops.dims[2 + 2 * i] = out;
        tops.dims[3 + 2 * i] = 1;
        axes[i] = 3 + 2 * i;
        size *= length;
    }
    col_value *top = col_onnx_binary(n, COL_OP_EQ, all, col_onnx_reshape(n, y, tops));
    top = col_onnx_binary(n, COL_OP_AND, top, inside);
    number = col_onnx_where(n, top, number, col_onnx_number(n, (double)size, COL_I64));
    number = col_onnx_reduce(n, COL_OP_MIN, number, w->rank, axes, false);
    if (col_onnx_int(n, "storage_order", 0) && w->rank >= 2) {
        int64_t width = shape.dims[shape.rank - 1], height = shape.dims[shape.rank - 2];
        col_value *row = quotient(n, number, width);
        col_value *column =
            col_onnx_binary(n, COL_OP_SUB, number, col_onnx_binary_number(n, COL_OP_MUL, row, (double)width));
        col_value *image = quotient(n, row, height);
        row =
            col_onnx_binary(n, COL_OP_SUB, row, col_onnx_binary_number(n, COL_OP_MUL, image, (double)height));
        column = col_onnx_binary_number(n, COL_OP_MUL, column, (double)height);
        image = col_onnx_binary_number(n, COL_OP_MUL, image, (double)(width * height));
        number = col_onnx_binary(n, COL_OP_ADD, image, col_onnx_binary(n, COL_OP_ADD, column, row));
    }
    col_shape plane = {.rank = shape.rank, .dims = {shape.dims[0], shape.dims[1]}};
    for (int i = 2; i < plane.rank; i++) plane.dims[i] = 1;
    col_value *first = col_onnx_iota(n, col_type_make(COL_I64, col_shape_make(1, &planes)), 0);
    first = col_onnx_binary_number(n, COL_OP_MUL, col_onnx_reshape(n, first, plane), (double)size);
    return col_onnx_binary(n, COL_OP_ADD, number, first);
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
    bool is_small = !col_dtype_is_float(dtype) && col_dtype_size(dtype) < sizeof(float);
    x = is_small ? col_onnx_cast(n, x, COL_F32) : col_onnx_single(n, x);
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
    col_value *y = col_onnx_build_one(n, (col_op)op, 1, &x, 5, attrs);
    n->outputs[0] = col_onnx_cast(n, y, dtype);
    if (op == COL_OP_MAX_POOL && col_onnx_wants(n, 1)) n->outputs[1] = largest_places(n, &padded, x, y);
    if (op == COL_OP_MAX_POOL) col_onnx_ignore(n, "storage_order"); /* of the indices */
}

/* (sum |x|^p)^(1 / p) of each window: an average over all taps, of which padding adds nothing. */
void col_onnx_op_lp_pool(col_onnx_node *n, int is_global)
{
    window w = {0};
    col_attr attrs[6];
    col_value *x = col_onnx_input(n, 0);
    int64_t axes[COL_MAX_RANK];
    double taps = 1, p = (double)col_onnx_int(n, "p", 2);
    if (!check_spatial(n, x, NULL, &w)) return;
    col_dtype dtype = x->type.dtype;
    col_value *power = col_onnx_unary(n, COL_OP_ABS, col_onnx_single(n, x)), *sum;
    if (p < 1) col_onnx_fault(n, "p is %g; norms begin at 1", p);
    if (p != 1) power = col_onnx_binary_number(n, COL_OP_POW, power, p);
    if (is_global) {
        for (int i = 0; i < w.rank; i++) axes[i] = 2 + i;
        sum = col_onnx_reduce(n, COL_OP_SUM, power, w.rank, axes, true);
    } else {
        if (!read_numbers(n, "kernel_shape", w.rank, 0, 1, w.kernel) ||
            !read_window(n, x->type.shape.dims + 2, &w))
            return;
        if (col_onnx_int(n, "ceil_mode", 0)) pad_for_ceil(&w, x->type.shape.dims + 2);
        window_attrs(&w, attrs);
        attrs[4] = col_attr_ints(COL_ATTR_KERNEL, w.rank, w.kernel);
        attrs[5] = col_attr_int(COL_ATTR_COUNT_INCLUDE_PAD, 1);
        for (int i = 0; i < w.rank; i++) taps *= (double)w.kernel[i];
        sum = col_onnx_build_one(n, COL_OP_AVG_POOL, 1, &power, 6, attrs);
        sum = col_onnx_binary_number(n, COL_OP_MUL, sum, taps);
    }
    if (p != 1) sum = col_onnx_binary_number(n, COL_OP_POW, sum, 1 / p);
    n->outputs[0] = col_onnx_cast(n, sum, dtype);
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
