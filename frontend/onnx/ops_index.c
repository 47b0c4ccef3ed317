/* Elements by index. A tensor is seen as a table of rows, and indices of several axes as one row number:
 * embedding reads rows, scatter_add adds to them. */
#include <string.h>

#include "frontend/onnx/node.h"

void col_onnx_op_gather(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", 0), x->type.shape.rank, false);
    n->outputs[0] = col_onnx_take(n, x, axis, col_onnx_input(n, 1));
}

static col_value *rows_of(col_onnx_node *n, col_value *x, int64_t row)
{
    int64_t count = row ? col_shape_numel(x->type.shape) / row : 0;
    return col_onnx_reshape(n, x, col_shape_make(2, (int64_t[]){count, row}));
}

/* The row-major numbers, in a tensor of shape `of`, of the elements that `indices` name along `axis`, and that
 * are at their own place along the other axes. */
static col_value *element_numbers(col_onnx_node *n, col_shape of, int axis, col_value *indices)
{
    if (!indices) return NULL;
    col_shape shape = indices->type.shape;
    bool fits = shape.rank == of.rank;
    for (int i = 0; fits && i < of.rank; i++) fits = i == axis || shape.dims[i] <= of.dims[i];
    if (!fits) {
        col_onnx_fault(n, "the indices do not fit the data: as many dimensions, and none larger");
        return NULL;
    }
    int64_t strides[COL_MAX_RANK];
    col_shape_strides(of, strides);
    col_value *all = col_onnx_within(n, col_onnx_cast(n, indices, COL_I64), of.dims[axis]);
    all = col_onnx_binary_number(n, COL_OP_MUL, all, (double)strides[axis]);
    for (int i = 0; i < of.rank; i++) {
        if (i == axis) continue;
        col_value *at = col_onnx_iota(n, col_type_make(COL_I64, shape), i);
        all = col_onnx_binary(n, COL_OP_ADD, all,
                              col_onnx_binary_number(n, COL_OP_MUL, at, (double)strides[i]));
    }
    return all;
}

void col_onnx_op_gather_elements(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *indices = col_onnx_input(n, 1);
    if (!x || !indices) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", 0), x->type.shape.rank, false);
    if (n->failed) return;
    if (indices->type.shape.rank == COL_MAX_RANK) {
        col_onnx_fault(n, "more than %d dimensions", COL_MAX_RANK - 1);
        return;
    }
    col_value *numbers = element_numbers(n, x->type.shape, axis, indices);
    col_value *found =
        col_onnx_build_one(n, COL_OP_EMBEDDING, 2, (col_value *[]){rows_of(n, x, 1), numbers}, 0, NULL);
    n->outputs[0] = col_onnx_reshape(n, found, indices->type.shape);
}

/* Index tuples along the last axis of `indices`, for the axes of the data from `first` on; axes before are a
 * batch. Gives row numbers, and in `*out_named` how many axes of the data they take. */
static col_value *row_numbers(col_onnx_node *n, col_shape of, int first, col_value *indices, int *out_named)
{
    col_shape shape = indices->type.shape, rest = shape;
    int64_t width = shape.rank ? shape.dims[shape.rank - 1] : 0;
    bool fits = shape.rank > first && width <= of.rank - first;
    for (int i = 0; fits && i < first; i++) fits = shape.dims[i] == of.dims[i];
    if (!fits || first < 0) {
        col_onnx_fault(n, "the indices do not fit the data");
        return NULL;
    }
    *out_named = first + (int)width;
    rest.dims[--rest.rank] = 0;
    indices = col_onnx_cast(n, indices, COL_I64);
    col_value *all = col_onnx_full(n, 0, col_type_make(COL_I64, rest));
    for (int i = 0; i < *out_named; i++) {
        col_value *at;
        if (i < first) {
            at = col_onnx_iota(n, col_type_make(COL_I64, rest), i);
        } else {
            at = col_onnx_cut(n, indices, rest.rank, i - first, i - first + 1);
            at = col_onnx_within(n, col_onnx_reshape(n, at, rest), of.dims[i]);
        }
        all = col_onnx_binary(n, COL_OP_ADD, col_onnx_binary_number(n, COL_OP_MUL, all, (double)of.dims[i]),
                              at);
    }
    return all;
}

/* The product of the sizes from an axis on. */
static int64_t size_from(col_shape shape, int axis)
{
    int64_t size = 1;
    for (int i = axis; i < shape.rank; i++) size *= shape.dims[i];
    return size;
}

void col_onnx_op_gather_nd(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *indices = col_onnx_input(n, 1);
    int named;
    if (!x || !indices) return;
    int64_t batch = col_onnx_int(n, "batch_dims", 0);
    if (batch < 0 || batch > x->type.shape.rank) batch = -1;
    col_value *numbers = row_numbers(n, x->type.shape, (int)batch, indices, &named);
    if (!numbers) return;
    col_shape shape = numbers->type.shape;
    if (shape.rank + x->type.shape.rank - named > COL_MAX_RANK) {
        col_onnx_fault(n, "the result would have more than %d dimensions", COL_MAX_RANK);
        return;
    }
    for (int i = named; i < x->type.shape.rank; i++) shape.dims[shape.rank++] = x->type.shape.dims[i];
    col_value *table = rows_of(n, x, size_from(x->type.shape, named));
    col_value *rows = col_onnx_build_one(n, COL_OP_EMBEDDING, 2, (col_value *[]){table, numbers}, 0, NULL);
    n->outputs[0] = col_onnx_reshape(n, rows, shape);
}

static col_value *scatter_add(col_onnx_node *n, col_value *base, col_value *numbers, col_value *updates)
{
    return col_onnx_build_one(n, COL_OP_SCATTER_ADD, 3, (col_value *[]){base, numbers, updates}, 0, NULL);
}

/* Writes rows of `width` elements into x: adds them, or, without a reduction, puts them in place of what is
 * there (rows then occur once: ONNX leaves open what comes of doubles). */
static col_value *scatter(col_onnx_node *n, col_value *x, int64_t width, col_value *numbers,
                          col_value *updates)
{
    const char *reduction = col_onnx_text(n, "reduction", "none");
    if (!x || !numbers || !updates) return NULL;
    bool adds = !strcmp(reduction, "add");
    if (!adds && strcmp(reduction, "none")) {
        col_onnx_fault(n, "reduction '%s' is not supported; none and add are", reduction);
        return NULL;
    }
    col_shape rows = numbers->type.shape, shape = x->type.shape;
    if (rows.rank == COL_MAX_RANK || col_shape_numel(updates->type.shape) != col_shape_numel(rows) * width) {
        col_onnx_fault(n, "the updates do not fit the indices");
        return NULL;
    }
    if (col_shape_numel(shape) > INT32_MAX) {
        col_onnx_fault(n, "the data has more than 2^31 elements");
        return NULL;
    }
    col_dtype dtype = x->type.dtype;
    rows.dims[rows.rank++] = width;
    numbers = col_onnx_cast(n, numbers, COL_I32);
    updates = col_onnx_reshape(n, col_onnx_single(n, updates), rows);
    col_value *base = col_onnx_single(n, x);
    if (!base || !updates) return NULL;
    base = rows_of(n, base, width);
    if (adds) {
        base = scatter_add(n, base, numbers, updates);
    } else {
        /* A column of ones tells which rows were hit. */
        int last = rows.rank - 1;
        col_value *ones = col_onnx_full(n, 1, col_type_make(COL_F32, col_onnx_set_axis(rows, last, 1)));
        col_type wide = col_type_make(COL_F32, col_onnx_set_axis(base->type.shape, 1, width + 1));
        col_value *put = scatter_add(n, col_onnx_full(n, 0, wide), numbers,
                                     col_onnx_concat(n, 2, (col_value *[]){updates, ones}, last));
        col_value *hit = col_onnx_binary_number(n, COL_OP_GT, col_onnx_cut(n, put, 1, width, width + 1), 0);
        base = col_onnx_where(n, hit, col_onnx_cut(n, put, 1, 0, width), base);
    }
    return col_onnx_reshape(n, col_onnx_cast(n, base, dtype), shape);
}

void col_onnx_op_scatter_nd(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *indices = col_onnx_input(n, 1);
    int named;
    if (!x || !indices) return;
    col_value *numbers = row_numbers(n, x->type.shape, 0, indices, &named);
    if (numbers)
        n->outputs[0] = scatter(n, x, size_from(x->type.shape, named), numbers, col_onnx_input(n, 2));
}

void col_onnx_op_scatter_elements(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", 0), x->type.shape.rank, false);
    col_value *indices = col_onnx_input(n, 1);
    if (n->failed) return;
    n->outputs[0] = scatter(n, x, 1, element_numbers(n, x->type.shape, axis, indices), col_onnx_input(n, 2));
}

/* Indices from -depth to depth-1 are hot; others are cold all along. */
void col_onnx_op_one_hot(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *indices = col_onnx_input(n, 0), *values = col_onnx_input(n, 2);
    double depth = col_onnx_known_number(n, 1, "the depth");
    if (!indices || !values || n->failed) return;
    int rank = indices->type.shape.rank;
    if (rank == COL_MAX_RANK || !(depth >= 1 && depth < 0x1p31) || values->type.shape.rank != 1 ||
        values->type.shape.dims[0] != 2) {
        col_onnx_fault(n, "it needs a positive depth, two values and at most %d dimensions",
                       COL_MAX_RANK - 1);
        return;
    }
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", -1), rank + 1, false);
    if (n->failed) return;
    if (indices->type.dtype == COL_U8 || indices->type.dtype == COL_BOOL)
        indices = col_onnx_cast(n, indices, COL_I32);
    col_value *turned = col_onnx_binary_number(n, COL_OP_ADD, indices, depth);
    indices = col_onnx_where(n, col_onnx_binary_number(n, COL_OP_LT, indices, 0), turned, indices);
    indices = col_onnx_reshape(n, indices, col_onnx_with_axis(indices->type.shape, axis, 1));
    if (!indices) return;
    col_shape shape = col_onnx_set_axis(indices->type.shape, axis, (int64_t)depth);
    col_value *off = col_onnx_reshape(n, col_onnx_cut(n, values, 0, 0, 1), (col_shape){0});
    col_value *on = col_onnx_reshape(n, col_onnx_cut(n, values, 0, 1, 2), (col_shape){0});
    n->outputs[0] = col_onnx_where(n, col_onnx_one_hot(n, shape, axis, indices), on, off);
}
