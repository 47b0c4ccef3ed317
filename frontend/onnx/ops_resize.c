/* Resize and Upsample. Interpolation is separable: along each axis, output i is a weighted sum of a few elements of
 * the input, the same few along all other axes. Places and weights are computed here, from the scale s, the sizes
 * n -> m and the place x(i) that the coordinate transformation gives:
 *
 *     nearest   the element nearest to x
 *     linear    1 - |x - j| of the 2 elements around x        cubic   Keys' kernel of the 4 around x
 *     antialias the same kernels stretched by 1 / s when s < 1
 *
 * so an axis is one gather and one sum. Elements outside are the edge's. Source: ONNX's reference of the op. */
#include <math.h>
#include <string.h>

#include "frontend/onnx/node.h"

enum { MOST_TAPS = 256 };

typedef struct resize {
    const char *mode, *transform, *nearest;
    double cubic, extrapolation;
    bool antialias, exclude_outside;
} resize;

typedef struct axis_map {
    int64_t from, to; /* sizes */
    double scale, start, end;
} axis_map;

/* Where element i of the result lies in the operand. */
static double place(const resize *r, const axis_map *a, int64_t i)
{
    double x = (double)i, from = (double)a->from, width = a->scale * from;
    if (!strcmp(r->transform, "align_corners")) return width == 1 ? 0 : x * (from - 1) / (width - 1);
    if (!strcmp(r->transform, "asymmetric")) return x / a->scale;
    if (!strcmp(r->transform, "tf_half_pixel_for_nn")) return (x + 0.5) / a->scale;
    if (!strcmp(r->transform, "pytorch_half_pixel") && width <= 1) return 0;
    if (!strcmp(r->transform, "tf_crop_and_resize")) {
        if (width == 1) return 0.5 * (a->start + a->end) * (from - 1);
        return a->start * (from - 1) + x * (a->end - a->start) * (from - 1) / (width - 1);
    }
    double offset = 0;
    if (!strcmp(r->transform, "half_pixel_symmetric")) offset = from / 2 * (1 - (double)a->to / width);
    return offset + (x + 0.5) / a->scale - 0.5;
}

static double nearest(const resize *r, double x)
{
    if (!strcmp(r->nearest, "floor")) return floor(x);
    if (!strcmp(r->nearest, "ceil")) return ceil(x);
    return !strcmp(r->nearest, "round_prefer_ceil") ? floor(x + 0.5) : ceil(x - 0.5);
}

/* The weight of an element at that distance. */
static double kernel(const resize *r, double distance)
{
    double x = fabs(distance), a = r->cubic;
    if (!strcmp(r->mode, "linear")) return fmax(1 - x, 0);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Fills `taps` places and weights for the element at x. */
static void weigh(const resize *r, const axis_map *a, double x, int64_t taps, double *places, double *weights)
{
    double squeeze = r->antialias ? fmin(a->scale, 1) : 1, last = (double)(a->from - 1), sum = 0;
    double first = taps == 1 ? nearest(r, x) : ceil(x) - (double)taps / 2;
    for (int64_t k = 0; k < taps; k++) {
        double at = first + (double)k;
        bool is_gone = r->exclude_outside && taps > 1 && (at < 0 || at > last);
        weights[k] = taps == 1 ? 1 : is_gone ? 0 : kernel(r, squeeze * (at - x));
        places[k] = fmin(fmax(at, 0), last);
        sum += weights[k];
    }
    for (int64_t k = 0; k < taps && sum != 0; k++) weights[k] /= sum;
}

static int64_t taps_of(const resize *r, const axis_map *a)
{
    int64_t reach = !strcmp(r->mode, "linear") ? 1 : 2;
    if (!strcmp(r->mode, "nearest")) return 1;
    if (!r->antialias || a->scale >= 1) return 2 * reach;
    double wide = ceil((double)reach / a->scale);
    return wide <= MOST_TAPS / 2 ? 2 * (int64_t)wide : 0;
}

/* Elements that lie outside get the value that is extrapolated. */
static col_value *extrapolate(col_onnx_node *n, const resize *r, const axis_map *a, int axis, col_value *y)
{
    double *outside = y ? col_onnx_numbers(n, a->to) : NULL;
    if (!outside) return NULL;
    for (int64_t i = 0; i < a->to; i++) {
        double x = place(r, a, i);
        outside[i] = x < 0 || x > (double)(a->from - 1);
    }
    col_shape line = {.rank = y->type.shape.rank};
    for (int i = 0; i < line.rank; i++) line.dims[i] = i == axis ? a->to : 1;
    col_value *mask = col_onnx_literal(n, col_type_make(COL_BOOL, line), outside);
    return col_onnx_where(n, mask, col_onnx_number(n, r->extrapolation, y->type.dtype), y);
}

static col_value *resize_axis(col_onnx_node *n, const resize *r, const axis_map *a, int axis, col_value *x)
{
    int64_t taps = taps_of(r, a);
    if (!taps) {
        col_onnx_fault(n, "resizing by %g takes more than %d weights for an element", a->scale, MOST_TAPS);
        return NULL;
    }
    double *places = col_onnx_numbers(n, a->to * taps), *weights = col_onnx_numbers(n, a->to * taps);
    if (!places || !weights) return NULL;
    for (int64_t i = 0; i < a->to; i++)
        weigh(r, a, place(r, a, i), taps, places + i * taps, weights + i * taps);
    bool is_sum = taps > 1;
    if (is_sum && x->type.shape.rank == COL_MAX_RANK) {
        col_onnx_fault(n, "interpolation is not supported for %d dimensions", COL_MAX_RANK);
        return NULL;
    }
    col_shape table = col_shape_make(is_sum ? 2 : 1, (int64_t[]){a->to, taps});
    col_value *y = col_onnx_take(n, x, axis, col_onnx_literal(n, col_type_make(COL_I64, table), places));
    if (is_sum && y) {
        col_shape line = {.rank = y->type.shape.rank};
        for (int i = 0; i < line.rank; i++) line.dims[i] = i == axis ? a->to : i == axis + 1 ? taps : 1;
        int64_t over = axis + 1;
        y = col_onnx_binary(n, COL_OP_MUL, y,
                            col_onnx_literal(n, col_type_make(x->type.dtype, line), weights));
        y = col_onnx_reduce(n, COL_OP_SUM, y, 1, &over, false);
    }
    return strcmp(r->transform, "tf_crop_and_resize") ? y : extrapolate(n, r, a, axis, y);
}

static bool is_one_of(const char *text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(text, names[i])) return true;
    }
    return false;
}

static bool read_modes(col_onnx_node *n, resize *r)
{
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const transforms[] = {
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",  "align_corners",
        "asymmetric", "tf_crop_and_resize",   "tf_half_pixel_for_nn"};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    bool is_old = n->opset < 11; /* floor(i / scale), and linear from there */
    *r = (resize){.mode = col_onnx_text(n, "mode", "nearest"),
                  .transform = is_old ? "asymmetric"
                                      : col_onnx_text(n, "coordinate_transformation_mode", "half_pixel"),
                  .nearest = is_old ? "floor" : col_onnx_text(n, "nearest_mode", "round_prefer_floor"),
                  .cubic = col_onnx_float(n, "cubic_coeff_a", -0.75),
                  .extrapolation = col_onnx_float(n, "extrapolation_value", 0),
                  .antialias = col_onnx_int(n, "antialias", 0) != 0,
                  .exclude_outside = col_onnx_int(n, "exclude_outside", 0) != 0};
    if (is_old && !strcmp(r->mode, "bilinear")) r->mode = "linear";
    if (!is_one_of(r->mode, modes, COL_COUNT(modes))) col_onnx_fault(n, "mode '%s' is unknown", r->mode);
    if (!is_one_of(r->transform, transforms, COL_COUNT(transforms)))
        col_onnx_fault(n, "coordinate_transformation_mode '%s' is unknown", r->transform);
    if (!is_one_of(r->nearest, roundings, COL_COUNT(roundings)))
        col_onnx_fault(n, "nearest_mode '%s' is unknown", r->nearest);
    return !n->failed;
}

/* A known list of numbers, one for each of `count` axes (twice: `times`); NULL: absent, or a fault. */
static const double *read_list(col_onnx_node *n, uint32_t index, int count, const char *what)
{
    col_value *value = col_onnx_maybe(n, index);
    if (!value || !col_shape_numel(value->type.shape)) return NULL;
    const col_tensor *known = col_onnx_known(n, value);
    if (!known)
        (void)col_onnx_known_ints(n, index, what);
    else if (col_shape_numel(known->type.shape) != count)
        col_onnx_fault(n, "%s must be %d numbers", what, count);
    return known && !n->failed ? known->data : NULL;
}

/* Sizes and scales from the operands; with sizes, a policy may shrink or grow them to one scale. */
static void set_sizes(col_onnx_node *n, const double *scales, const double *sizes, const col_onnx_ints *axes,
                      const char *policy, axis_map *maps)
{
    bool smaller = !strcmp(policy, "not_larger"), larger = !strcmp(policy, "not_smaller");
    double common = smaller ? INFINITY : 0;
    if (!smaller && !larger && strcmp(policy, "stretch"))
        col_onnx_fault(n, "keep_aspect_ratio_policy '%s' is unknown", policy);
    for (int k = 0; k < axes->count; k++) {
        axis_map *a = &maps[axes->values[k]];
        a->scale = sizes ? sizes[k] / (double)a->from : scales[k];
        common = smaller ? fmin(common, a->scale) : fmax(common, a->scale);
    }
    for (int k = 0; k < axes->count; k++) {
        axis_map *a = &maps[axes->values[k]];
        if (sizes && (smaller || larger)) a->scale = common;
        double to = !sizes              ? floor(a->scale * (double)a->from)
                    : smaller || larger ? floor(a->scale * (double)a->from + 0.5)
                                        : sizes[k];
        if (!(a->scale > 0) || !(to >= 1 && to <= INT32_MAX) || a->from < 1 || a->from > INT32_MAX) {
            col_onnx_fault(n, "axis %lld of %lld elements cannot be resized by %g",
                           (long long)axes->values[k], (long long)a->from, a->scale);
            return;
        }
        a->to = (int64_t)to;
    }
}

static col_value *resize_all(col_onnx_node *n, const resize *r, const axis_map *maps, col_value *x)
{
    col_dtype dtype = x->type.dtype;
    bool is_nearest = !strcmp(r->mode, "nearest");
    if (!is_nearest && dtype != COL_F64) x = col_onnx_cast(n, x, COL_F32);
    for (int i = 0; x && i < x->type.shape.rank; i++) {
        const axis_map *a = &maps[i];
        bool is_whole = a->scale == 1 && a->from == a->to && a->start == 0 && a->end == 1;
        if (!is_whole) x = resize_axis(n, r, a, i, x);
    }
    return col_onnx_cast(n, x, dtype);
}

/* Operands: data, region (since opset 11), scales, sizes. */
void col_onnx_op_resize(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    axis_map maps[COL_MAX_RANK];
    resize r;
    if (!x || !read_modes(n, &r)) return;
    int rank = x->type.shape.rank;
    col_onnx_ints axes = col_onnx_attr_ints(n, "axes");
    if (axes.count < 0) {
        axes.count = rank;
        for (int i = 0; i < rank; i++) axes.values[i] = i;
    }
    if (!col_onnx_axes(n, &axes, rank)) return;
    for (int i = 0; i < rank; i++)
        maps[i] = (axis_map){x->type.shape.dims[i], x->type.shape.dims[i], 1, 0, 1};
    uint32_t at = n->opset < 11 ? 1 : 2;
    bool crops = !strcmp(r.transform, "tf_crop_and_resize");
    const double *scales = read_list(n, at, axes.count, "scales");
    const double *sizes = n->opset < 11 ? NULL : read_list(n, 3, axes.count, "sizes");
    const double *region = crops ? read_list(n, 1, 2 * axes.count, "roi") : NULL;
    if (n->opset >= 11) (void)col_onnx_maybe(n, 1);
    if (!scales == !sizes || (crops && !region)) {
        col_onnx_fault(n, "it needs either scales or sizes, and a region to crop");
        return;
    }
    for (int k = 0; region && k < axes.count; k++) {
        maps[axes.values[k]].start = region[k];
        maps[axes.values[k]].end = region[axes.count + k];
    }
    set_sizes(n, scales, sizes, &axes, col_onnx_text(n, "keep_aspect_ratio_policy", "stretch"), maps);
    if (!n->failed) n->outputs[0] = resize_all(n, &r, maps, x);
}

/* What Resize was called before opset 10; scales are an attribute before opset 9. */
void col_onnx_op_upsample(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    axis_map maps[COL_MAX_RANK];
    double listed[COL_MAX_RANK];
    const double *scales = listed;
    col_onnx_ints axes = {0};
    resize r;
    if (!x || !read_modes(n, &r)) return;
    axes.count = x->type.shape.rank;
    for (int i = 0; i < axes.count; i++) {
        axes.values[i] = i;
        maps[i] = (axis_map){x->type.shape.dims[i], x->type.shape.dims[i], 1, 0, 1};
    }
    if (n->opset < 9) {
        const Col__Onnx__Attribute *a = col_onnx_attribute(n, "scales");
        if (!a || a->n_floats != (size_t)axes.count) scales = NULL;
        for (int i = 0; scales && i < axes.count; i++) listed[i] = (double)a->floats[i];
    } else {
        scales = read_list(n, 1, axes.count, "scales");
    }
    if (!scales) col_onnx_fault(n, "its scales must be a number per axis");
    if (n->failed) return;
    set_sizes(n, scales, NULL, &axes, "stretch", maps);
    if (!n->failed) n->outputs[0] = resize_all(n, &r, maps, x);
}
