/* Shapes and moves. Shapes and axes are known numbers; the functions compute the graph's. */
#include <math.h>
#include <string.h>

#include "frontend/onnx/node.h"

static col_shape no_shape(void)
{
    return (col_shape){.rank = -1};
}

static col_value *whole_number(col_onnx_node *n, int64_t value)
{
    return col_onnx_number(n, (double)value, COL_I64);
}

/* 0 stands for the operand's size there (unless allowzero), -1 for what is left. */
void col_onnx_op_reshape(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    col_onnx_ints list = col_onnx_known_ints(n, 1, "the shape");
    if (!x || n->failed) return;
    int64_t rest = -1, others = 1, count = col_shape_numel(x->type.shape);
    bool zeros = col_onnx_int(n, "allowzero", 0) != 0;
    for (int i = 0; i < list.count; i++) {
        int64_t *size = &list.values[i];
        if (!*size && !zeros) *size = i < x->type.shape.rank ? x->type.shape.dims[i] : -2;
        if (*size == -1 && rest < 0)
            rest = i;
        else if (*size < 0 || (*size && others > INT64_MAX / *size))
            col_onnx_fault(n, "%lld is no size for dimension %d of the new shape", (long long)*size, i);
        else
            others *= *size;
    }
    if (rest >= 0) list.values[rest] = others ? count / others : 0;
    col_shape shape = n->failed ? no_shape() : col_onnx_shape(n, &list);
    if (!n->failed) n->outputs[0] = col_onnx_reshape(n, x, shape);
}

void col_onnx_op_flatten(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", 1), x->type.shape.rank, true);
    int64_t sizes[2] = {1, 1};
    for (int i = 0; i < x->type.shape.rank; i++) sizes[i >= axis] *= x->type.shape.dims[i];
    n->outputs[0] = col_onnx_reshape(n, x, col_shape_make(2, sizes));
}

void col_onnx_op_squeeze(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    col_onnx_ints axes = col_onnx_list(n, 13, 1, "axes");
    if (!x || !col_onnx_axes(n, &axes, x->type.shape.rank)) return;
    unsigned gone = 0;
    for (int i = 0; i < axes.count; i++) gone |= 1u << axes.values[i];
    col_shape shape = {0};
    for (int i = 0; i < x->type.shape.rank; i++) {
        int64_t size = x->type.shape.dims[i];
        if (axes.count >= 0 && (gone >> i & 1) && size != 1)
            col_onnx_fault(n, "axis %d has size %lld, not 1", i, (long long)size);
        if (axes.count >= 0 ? !(gone >> i & 1) : size != 1) shape.dims[shape.rank++] = size;
    }
    n->outputs[0] = col_onnx_reshape(n, x, shape);
}

void col_onnx_op_unsqueeze(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    col_onnx_ints axes = col_onnx_list(n, 13, 1, "axes");
    if (!x || n->failed) return;
    int rank = x->type.shape.rank + COL_MAX(axes.count, 0);
    if (axes.count < 0 || rank > COL_MAX_RANK) {
        col_onnx_fault(n, "its axes are missing, or the result would have more than %d", COL_MAX_RANK);
        return;
    }
    if (!col_onnx_axes(n, &axes, rank)) return;
    unsigned added = 0;
    for (int i = 0; i < axes.count; i++) added |= 1u << axes.values[i];
    col_shape shape = {.rank = rank};
    for (int i = 0, k = 0; i < rank; i++) shape.dims[i] = added >> i & 1 ? 1 : x->type.shape.dims[k++];
    n->outputs[0] = col_onnx_reshape(n, x, shape);
}

void col_onnx_op_transpose(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int rank = x->type.shape.rank;
    col_onnx_ints perm = col_onnx_attr_ints(n, "perm");
    if (perm.count < 0 && !n->failed) {
        perm.count = rank;
        for (int i = 0; i < rank; i++) perm.values[i] = rank - 1 - i;
    }
    if (perm.count != rank) col_onnx_fault(n, "perm lists %d axes of %d", perm.count, rank);
    if (col_onnx_axes(n, &perm, rank)) n->outputs[0] = col_onnx_transpose(n, x, perm.values);
}

void col_onnx_op_expand(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    col_onnx_ints list = col_onnx_known_ints(n, 1, "the shape");
    if (!x || n->failed) return;
    col_shape shape = col_onnx_shape(n, &list), joint;
    if (n->failed) return;
    if (!col_shape_broadcast(x->type.shape, shape, &joint))
        col_onnx_fault(n, "the operand does not broadcast to the shape");
    n->outputs[0] = col_onnx_broadcast(n, x, joint);
}

/* Axis by axis: [before, 1, size, after] is repeated along the 1. */
void col_onnx_op_tile(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    col_onnx_ints repeats = col_onnx_known_ints(n, 1, "the repeats");
    if (!x || n->failed) return;
    if (repeats.count != x->type.shape.rank)
        col_onnx_fault(n, "%d repeats for %d axes", repeats.count, x->type.shape.rank);
    for (int i = 0; i < repeats.count && x && !n->failed; i++) {
        col_shape shape = x->type.shape, parts = {.rank = 4, .dims = {1, 1, shape.dims[i], 1}};
        for (int k = 0; k < shape.rank; k++) {
            if (k != i) parts.dims[k < i ? 0 : 3] *= shape.dims[k];
        }
        col_onnx_ints grown = {.count = 4,
                               .values = {parts.dims[0], repeats.values[i], parts.dims[2], parts.dims[3]}};
        col_shape repeated = col_onnx_shape(n, &grown);
        if (n->failed) break;
        shape.dims[i] *= repeats.values[i];
        x = col_onnx_reshape(n, col_onnx_broadcast(n, col_onnx_reshape(n, x, parts), repeated), shape);
    }
    n->outputs[0] = x;
}

void col_onnx_op_concat(col_onnx_node *n, int detail)
{
    (void)detail;
    enum { MOST = 64 }; /* operands of one node */
    col_value *first = col_onnx_input(n, 0);
    if (!first) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", 1), first->type.shape.rank, false);
    for (uint32_t i = 0; i < n->input_count; i++) col_onnx_input(n, i);
    if (n->failed) return;
    col_value *all = NULL;
    for (uint32_t i = 0; i < n->input_count && !n->failed;) {
        col_value *parts[MOST];
        uint32_t count = 0;
        if (all) parts[count++] = all;
        while (count < MOST && i < n->input_count) parts[count++] = n->inputs[i++];
        all = col_onnx_concat(n, count, parts, axis);
        if (!all) return;
    }
    n->outputs[0] = all;
}

/* Sizes: listed; else equal, the last one smaller where it does not divide. */
void col_onnx_op_split(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", 0), x->type.shape.rank, false);
    bool listed = n->opset >= 13 ? col_onnx_maybe(n, 1) != NULL : col_onnx_attribute(n, "split") != NULL;
    const col_tensor *known = listed && n->opset >= 13 ? col_onnx_known(n, col_onnx_maybe(n, 1)) : NULL;
    const Col__Onnx__Attribute *a = listed ? col_onnx_attribute(n, "split") : NULL;
    if (listed && n->opset >= 13 && !known) (void)col_onnx_known_ints(n, 1, "the sizes");
    int64_t stated = col_onnx_int(n, "num_outputs", n->output_count);
    if (stated != n->output_count)
        col_onnx_fault(n, "num_outputs is %lld, but it has %u", (long long)stated, n->output_count);
    if (n->failed || !n->output_count) return;
    size_t count = known ? (size_t)col_shape_numel(known->type.shape) : a ? a->n_ints : n->output_count;
    if (count != n->output_count) {
        col_onnx_fault(n, "%zu sizes for %u outputs", count, n->output_count);
        return;
    }
    int64_t size = x->type.shape.dims[axis], each = (size + n->output_count - 1) / n->output_count, at = 0;
    for (uint32_t i = 0; i < n->output_count; i++) {
        int64_t part = known ? col_onnx_whole(known->data[i]) : a ? a->ints[i] : COL_MIN(each, size - at);
        if (part < 0 || part > size - at) {
            col_onnx_fault(n, "the parts do not add up to the %lld elements of axis %d", (long long)size,
                           axis);
            return;
        }
        n->outputs[i] = col_onnx_cut(n, x, axis, at, at + part);
        at += part;
    }
    if (at != size)
        col_onnx_fault(n, "the parts do not add up to the %lld elements of axis %d", (long long)size, axis);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* start + step i for i in 0..count-1, i64 */
static col_value *positions(col_onnx_node *n, int64_t start, int64_t step, int64_t count)
{
    col_value *index = col_onnx_iota(n, col_type_make(COL_I64, col_shape_make(1, &count)), 0);
    index = col_onnx_binary(n, COL_OP_MUL, index, whole_number(n, step));
    return col_onnx_binary(n, COL_OP_ADD, index, whole_number(n, start));
}

/* Every step-th element from start towards end, as NumPy has it. */
static col_value *slice_axis(col_onnx_node *n, col_value *x, int axis, int64_t start, int64_t end,
                             int64_t step)
{
    int64_t size = x->type.shape.dims[axis], none = INT32_MIN;
    if (!step || step == INT64_MIN) {
        col_onnx_fault(n, "a step of 0");
        return NULL;
    }
    start = clamp(start < 0 ? start + size : start, 0, step > 0 ? size : size - 1);
    end = clamp(end < 0 && end > none ? end + size : end, step > 0 ? 0 : -1, size);
    int64_t count = step > 0 ? (end - start + step - 1) / step : (start - end - step - 1) / -step;
    count = size ? COL_MAX(count, 0) : 0;
    if (step == 1 || !count) return col_onnx_cut(n, x, axis, count ? start : 0, count ? end : 0);
    return col_onnx_take(n, x, axis, positions(n, start, step, count));
}

void col_onnx_op_slice(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    col_onnx_ints starts = col_onnx_list(n, 10, 1, "starts"), ends = col_onnx_list(n, 10, 2, "ends");
    col_onnx_ints axes = col_onnx_list(n, 10, 3, "axes"), steps = {.count = -1};
    if (n->opset >= 10) steps = col_onnx_list(n, 10, 4, "steps");
    if (!x || n->failed) return;
    if (axes.count < 0) {
        axes.count = starts.count;
        for (int i = 0; i < starts.count; i++) axes.values[i] = i;
    }
    if (starts.count < 0 || ends.count != starts.count || axes.count != starts.count ||
        (steps.count >= 0 && steps.count != starts.count)) {
        col_onnx_fault(n, "starts, ends, axes and steps must be as many");
        return;
    }
    if (!col_onnx_axes(n, &axes, x->type.shape.rank)) return;
    for (int i = 0; i < axes.count && x; i++) {
        int64_t step = steps.count < 0 ? 1 : clamp(steps.values[i], INT32_MIN, INT32_MAX);
        x = slice_axis(n, x, (int)axes.values[i], clamp(starts.values[i], INT64_MIN / 2, INT64_MAX / 2),
                       clamp(ends.values[i], INT64_MIN / 2, INT64_MAX / 2), step);
    }
    n->outputs[0] = x;
}

/* The positions that an axis of `size` elements has after padding: outside, the edge again, what is mirrored at
 * the edge, or the other end. */
static col_value *padded_positions(col_onnx_node *n, const char *mode, int64_t size, int64_t low,
                                   int64_t high)
{
    col_value *at = positions(n, -low, 1, low + size + high);
    if (!strcmp(mode, "edge")) {
        return col_onnx_binary(n, COL_OP_MINIMUM, col_onnx_binary(n, COL_OP_MAXIMUM, at, whole_number(n, 0)),
                               whole_number(n, size - 1));
    }
    bool mirror = !strcmp(mode, "reflect");
    int64_t period = mirror ? COL_MAX(2 * (size - 1), 1) : size;
    col_value *turns =
        col_onnx_unary(n, COL_OP_FLOOR,
                       col_onnx_binary_number(n, COL_OP_DIV, col_onnx_cast(n, at, COL_F64), (double)period));
    col_value *rest = col_onnx_binary(
        n, COL_OP_SUB, at,
        col_onnx_binary(n, COL_OP_MUL, col_onnx_cast(n, turns, COL_I64), whole_number(n, period)));
    if (!mirror) return rest;
    return col_onnx_binary(n, COL_OP_MINIMUM, rest,
                           col_onnx_binary(n, COL_OP_SUB, whole_number(n, period), rest));
}

typedef struct padding {
    int64_t low[COL_MAX_RANK], high[COL_MAX_RANK];
} padding;

static bool read_padding(col_onnx_node *n, int rank, padding *out)
{
    col_onnx_ints pads = col_onnx_list(n, 11, 1, "pads"), axes = {.count = -1};
    if (n->opset >= 18) axes = col_onnx_list(n, 18, 3, "axes");
    *out = (padding){0};
    if (axes.count < 0) {
        axes.count = rank;
        for (int i = 0; i < rank; i++) axes.values[i] = i;
    }
    if (!col_onnx_axes(n, &axes, rank)) return false;
    if (pads.count != 2 * axes.count) {
        col_onnx_fault(n, "%d numbers for the padding of %d axes", pads.count, axes.count);
        return false;
    }
    for (int i = 0; i < axes.count; i++) {
        int64_t low = pads.values[i], high = pads.values[axes.count + i];
        if (low < INT32_MIN || low > INT32_MAX || high < INT32_MIN || high > INT32_MAX) {
            col_onnx_fault(n, "an absurd padding of %lld and %lld", (long long)low, (long long)high);
            return false;
        }
        out->low[axes.values[i]] = low;
        out->high[axes.values[i]] = high;
    }
    return true;
}

void col_onnx_op_pad(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    const char *mode = col_onnx_text(n, "mode", "constant");
    double value = n->opset < 11 ? col_onnx_float(n, "value", 0) : 0;
    padding p;
    if (!x || !read_padding(n, x->type.shape.rank, &p)) return;
    if (n->opset >= 11 && col_onnx_maybe(n, 2)) value = col_onnx_known_number(n, 2, "the padding's value");
    /* Negative padding cuts. */
    for (int i = 0; i < x->type.shape.rank && x; i++) {
        int64_t size = x->type.shape.dims[i], from = COL_MAX(-p.low[i], 0),
                to = size - COL_MAX(-p.high[i], 0);
        if (from > to)
            col_onnx_fault(n, "it cuts more than the %lld elements of axis %d", (long long)size, i);
        if (n->failed) return;
        x = col_onnx_cut(n, x, i, from, to);
        p.low[i] = COL_MAX(p.low[i], 0);
        p.high[i] = COL_MAX(p.high[i], 0);
    }
    if (!strcmp(mode, "constant")) {
        int rank = x ? x->type.shape.rank : 0;
        col_attr attrs[] = {col_attr_ints(COL_ATTR_LOW, rank, p.low),
                            col_attr_ints(COL_ATTR_HIGH, rank, p.high),
                            col_attr_float(COL_ATTR_VALUE, value)};
        n->outputs[0] = col_onnx_build_one(n, COL_OP_PAD, 1, &x, 3, attrs);
        return;
    }
    if (strcmp(mode, "edge") && strcmp(mode, "reflect") && strcmp(mode, "wrap"))
        col_onnx_fault(n, "mode '%s' is not supported; constant, edge, reflect and wrap are", mode);
    for (int i = 0; x && i < x->type.shape.rank && !n->failed; i++) {
        if (p.low[i] || p.high[i])
            x = col_onnx_take(n, x, i, padded_positions(n, mode, x->type.shape.dims[i], p.low[i], p.high[i]));
    }
    n->outputs[0] = x;
}

void col_onnx_op_trilu(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *k = col_onnx_maybe(n, 1);
    if (!x) return;
    col_shape shape = x->type.shape;
    if (shape.rank < 2) {
        col_onnx_fault(n, "the operand must be a matrix or a stack of them");
        return;
    }
    bool upper = col_onnx_int(n, "upper", 1) != 0;
    const int64_t *sizes = shape.dims + shape.rank - 2;
    col_value *row = col_onnx_iota(n, col_type_make(COL_I64, col_shape_make(2, (int64_t[]){sizes[0], 1})), 0);
    col_value *column =
        col_onnx_iota(n, col_type_make(COL_I64, col_shape_make(2, (int64_t[]){1, sizes[1]})), 1);
    if (k) row = col_onnx_binary(n, COL_OP_ADD, row, col_onnx_reshape(n, k, (col_shape){0}));
    col_value *kept = col_onnx_binary(n, upper ? COL_OP_GE : COL_OP_LE, column, row);
    n->outputs[0] = col_onnx_where(n, kept, x, col_onnx_number(n, 0, x->type.dtype));
}

/* Checks x [n, c, h, w] against the block size. */
static bool read_blocks(col_onnx_node *n, const col_value *x, int64_t *out_size)
{
    int64_t b = col_onnx_int(n, "blocksize", 0);
    if (x && x->type.shape.rank == 4 && b > 0 && b < INT32_MAX) {
        *out_size = b;
        return true;
    }
    col_onnx_fault(n, "the operand must be [n, c, h, w] and the block size positive");
    return false;
}

void col_onnx_op_depth_to_space(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    int64_t b;
    if (!read_blocks(n, x, &b)) return;
    const int64_t *d = x->type.shape.dims, depth = d[1] / (b * b);
    bool crd = !strcmp(col_onnx_text(n, "mode", "DCR"), "CRD");
    if (d[1] % (b * b))
        col_onnx_fault(n, "%lld channels do not divide into blocks of %lld", (long long)d[1], (long long)b);
    const int64_t first[2][6] = {{d[0], b, b, depth, d[2], d[3]}, {d[0], depth, b, b, d[2], d[3]}};
    const int64_t perm[2][6] = {{0, 3, 4, 1, 5, 2}, {0, 1, 4, 2, 5, 3}};
    col_value *parts = col_onnx_reshape(n, x, col_shape_make(6, first[crd]));
    n->outputs[0] = col_onnx_reshape(n, col_onnx_transpose(n, parts, perm[crd]),
                                     col_shape_make(4, (int64_t[]){d[0], depth, d[2] * b, d[3] * b}));
}

void col_onnx_op_space_to_depth(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    int64_t b;
    if (!read_blocks(n, x, &b)) return;
    const int64_t *d = x->type.shape.dims, perm[] = {0, 3, 5, 1, 2, 4};
    if (d[2] % b || d[3] % b) {
        col_onnx_fault(n, "%lld x %lld do not divide into blocks of %lld", (long long)d[2], (long long)d[3],
                       (long long)b);
        return;
    }
    col_shape parts = {.rank = 6, .dims = {d[0], d[1], d[2] / b, b, d[3] / b, b}};
    n->outputs[0] = col_onnx_reshape(n, col_onnx_transpose(n, col_onnx_reshape(n, x, parts), perm),
                                     col_shape_make(4, (int64_t[]){d[0], d[1] * b * b, d[2] / b, d[3] / b}));
}

/* 1 on the k-th diagonal of a matrix, 0 elsewhere. */
void col_onnx_op_eye_like(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x || x->type.shape.rank != 2) {
        col_onnx_fault(n, "the operand must be a matrix");
        return;
    }
    col_dtype dtype = x->type.dtype;
    col_status status =
        col_onnx_attribute(n, "dtype") ? col_onnx_dtype((int32_t)col_onnx_int(n, "dtype", 0), &dtype) : NULL;
    if (status) col_onnx_fault(n, "%s", col_error_message(status));
    col_error_free(status);
    col_type index = col_type_make(COL_I64, x->type.shape);
    col_value *row = col_onnx_iota(n, index, 0), *column = col_onnx_iota(n, index, 1);
    row = col_onnx_binary(n, COL_OP_ADD, row,
                          whole_number(n, clamp(col_onnx_int(n, "k", 0), INT32_MIN, INT32_MAX)));
    n->outputs[0] = col_onnx_cast(n, col_onnx_binary(n, COL_OP_EQ, row, column), dtype);
}

/* The middle of each axis where it is too long, zeros around it where it is too short. */
void col_onnx_op_center_crop_pad(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    col_onnx_ints sizes = col_onnx_known_ints(n, 1, "the shape"), axes = col_onnx_attr_ints(n, "axes");
    if (!x || n->failed) return;
    int rank = x->type.shape.rank;
    if (axes.count < 0) {
        axes.count = rank;
        for (int i = 0; i < rank; i++) axes.values[i] = i;
    }
    if (!col_onnx_axes(n, &axes, rank)) return;
    if (axes.count != sizes.count) col_onnx_fault(n, "%d sizes for %d axes", sizes.count, axes.count);
    int64_t low[COL_MAX_RANK] = {0}, high[COL_MAX_RANK] = {0};
    for (int k = 0; k < axes.count && !n->failed; k++) {
        int axis = (int)axes.values[k];
        int64_t have = x->type.shape.dims[axis], wanted = sizes.values[k];
        if (wanted < 0 || wanted > INT32_MAX || have > INT32_MAX) {
            col_onnx_fault(n, "an absurd size for axis %d", axis);
            return;
        }
        if (have > wanted) x = col_onnx_cut(n, x, axis, (have - wanted) / 2, (have - wanted) / 2 + wanted);
        if (have < wanted) low[axis] = (wanted - have) / 2;
        if (have < wanted) high[axis] = wanted - have - low[axis];
    }
    col_attr attrs[] = {col_attr_ints(COL_ATTR_LOW, rank, low), col_attr_ints(COL_ATTR_HIGH, rank, high)};
    n->outputs[0] = col_onnx_build_one(n, COL_OP_PAD, 1, &x, 2, attrs);
}
