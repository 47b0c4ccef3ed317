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
    if (!x) return NULL;
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

/* The row of updates that each row of the base takes, from 1 on, or 0: i64 [rows]. Rows occur once (ONNX leaves open
 * what comes of doubles), so their numbers may be added up: in floats, exact to 2^24. */
static col_value *winners(col_onnx_node *n, int64_t rows, col_value *numbers, int64_t updates)
{
    col_type line = col_type_make(COL_F32, col_shape_make(2, (int64_t[]){updates, 1}));
    col_value *own = col_onnx_binary_number(n, COL_OP_ADD, col_onnx_iota(n, line, 0), 1);
    col_type base = col_type_make(COL_F32, col_shape_make(2, (int64_t[]){rows, 1}));
    col_value *sums = scatter_add(n, col_onnx_full(n, 0, base), numbers, own);
    return col_onnx_reshape(n, col_onnx_cast(n, sums, COL_I64), col_shape_make(1, &rows));
}

/* Every row of the base with every update that goes there: rows x updates steps. */
static col_value *combine(col_onnx_node *n, col_op op, col_value *base, col_value *numbers,
                          col_value *updates)
{
    enum { MOST = 1 << 26 };
    const int64_t *b = base->type.shape.dims, count = updates->type.shape.dims[0], axis = 1;
    if (b[0] * b[1] > MOST / count) {
        col_onnx_fault(n, "each of %lld updates is compared with %lld elements, more than %d steps",
                       (long long)count, (long long)(b[0] * b[1]), MOST);
        return NULL;
    }
    col_shape pairs = col_shape_make(3, (int64_t[]){b[0], count, 1});
    col_value *row = col_onnx_iota(n, col_type_make(COL_I32, pairs), 0);
    col_value *goes = col_onnx_binary(n, COL_OP_EQ, row,
                                      col_onnx_reshape(n, numbers, col_shape_make(2, (int64_t[]){count, 1})));
    col_value *old = col_onnx_reshape(n, base, col_shape_make(3, (int64_t[]){b[0], 1, b[1]}));
    bool is_choice = op == COL_OP_MAXIMUM || op == COL_OP_MINIMUM;
    col_value *other = is_choice ? old : col_onnx_number(n, op == COL_OP_MUL, base->type.dtype);
    col_value *all = col_onnx_where(n, goes, updates, other);
    if (op == COL_OP_MUL)
        all = col_onnx_product(n, all, 1);
    else
        all = col_onnx_reduce(n,
                              op == COL_OP_ADD       ? COL_OP_SUM
                              : op == COL_OP_MAXIMUM ? COL_OP_MAX
                                                     : COL_OP_MIN,
                              all, 1, &axis, false);
    return col_onnx_binary(n, op, base, col_onnx_reshape(n, all, base->type.shape));
}

/* Writes rows of `width` elements into x. Without a reduction they take the place of what is there. */
static col_value *scatter(col_onnx_node *n, col_value *x, int64_t width, col_value *numbers,
                          col_value *updates)
{
    static const struct {
        const char *name;
        col_op op;
    } reductions[] = {
        {"add", COL_OP_ADD}, {"mul", COL_OP_MUL}, {"max", COL_OP_MAXIMUM}, {"min", COL_OP_MINIMUM}};
    const char *reduction = n->opset < 16 ? "none" : col_onnx_text(n, "reduction", "none");
    if (!x || !numbers || !updates) return NULL;
    size_t k = 0;
    while (k < COL_COUNT(reductions) && strcmp(reductions[k].name, reduction)) k++;
    bool replaces = k == COL_COUNT(reductions);
    col_shape shape = x->type.shape;
    int64_t count = col_shape_numel(numbers->type.shape), rows = width ? col_shape_numel(shape) / width : 0;
    if (replaces && strcmp(reduction, "none"))
        col_onnx_fault(n, "reduction '%s' is not supported; none, add, mul, max and min are", reduction);
    else if (col_shape_numel(updates->type.shape) != count * width)
        col_onnx_fault(n, "the updates do not fit the indices");
    else if (col_shape_numel(shape) > INT32_MAX || count >= 1 << 24)
        col_onnx_fault(n, "the data has more than 2^31 elements, or there are more than 2^24 updates");
    if (!count || !rows || n->failed) return x;
    col_dtype dtype = x->type.dtype, wide = col_onnx_wide(dtype);
    numbers = col_onnx_reshape(n, col_onnx_cast(n, numbers, COL_I32), col_shape_make(1, &count));
    col_value *base = rows_of(n, x, width);
    updates = rows_of(n, updates, width);
    if (!numbers || !base || !updates) return NULL;
    if (replaces) {
        col_value *winner = winners(n, rows, numbers, count);
        col_value *taken = col_onnx_take(n, updates, 0, col_onnx_binary_number(n, COL_OP_SUB, winner, 1));
        col_value *hit = col_onnx_binary_number(n, COL_OP_GT, winner, 0);
        hit = col_onnx_reshape(n, hit, col_shape_make(2, (int64_t[]){rows, 1}));
        base = col_onnx_where(n, hit, taken, base);
    } else if (reductions[k].op == COL_OP_ADD && col_dtype_is_float(dtype) && dtype != COL_F64) {
        base = scatter_add(n, col_onnx_single(n, base), numbers, col_onnx_single(n, updates));
    } else {
        base = combine(n, reductions[k].op, col_onnx_cast(n, base, wide), numbers,
                       col_onnx_cast(n, updates, wide));
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

/* Indices from 0 to depth-1, since opset 11 also those from -depth on, are hot; others are cold all along. */
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
    indices = col_onnx_cast(n, indices, col_onnx_wide(indices->type.dtype));
    if (!indices) return;
    col_value *turned = col_onnx_binary_number(n, COL_OP_ADD, indices, depth);
    if (n->opset >= 11)
        indices = col_onnx_where(n, col_onnx_binary_number(n, COL_OP_LT, indices, 0), turned, indices);
    indices = col_onnx_reshape(n, indices, col_onnx_with_axis(indices->type.shape, axis, 1));
    if (!indices) return;
    col_shape shape = col_onnx_set_axis(indices->type.shape, axis, (int64_t)depth);
    col_value *off = col_onnx_reshape(n, col_onnx_cut(n, values, 0, 0, 1), (col_shape){0});
    col_value *on = col_onnx_reshape(n, col_onnx_cut(n, values, 0, 1, 2), (col_shape){0});
    n->outputs[0] = col_onnx_where(n, col_onnx_one_hot(n, shape, axis, indices), on, off);
}

/* Elements of an axis, or of the flattened operand, where the condition, which must be known, says so. */
void col_onnx_op_compress(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    const col_tensor *condition = col_onnx_known(n, col_onnx_input(n, 1));
    bool is_flat = !col_onnx_attribute(n, "axis");
    if (!x || n->failed) return;
    if (!condition) {
        col_onnx_fault(n, "the condition must be known when the model is imported");
        return;
    }
    int64_t numel = col_shape_numel(x->type.shape);
    if (is_flat) x = col_onnx_reshape(n, x, col_shape_make(1, &numel));
    int axis = is_flat ? 0 : col_onnx_axis(n, col_onnx_int(n, "axis", 0), x->type.shape.rank, false);
    if (!x || n->failed) return;
    int64_t length = COL_MIN(col_shape_numel(condition->type.shape), x->type.shape.dims[axis]), count = 0;
    double *kept = col_onnx_numbers(n, length);
    if (!kept) return;
    for (int64_t i = 0; i < length; i++) {
        if (condition->data[i] != 0) kept[count++] = (double)i;
    }
    n->outputs[0] =
        !count ? col_onnx_cut(n, x, axis, 0, 0)
               : col_onnx_take(n, x, axis,
                               col_onnx_literal(n, col_type_make(COL_I64, col_shape_make(1, &count)), kept));
}

/* The first `length` elements along the time axis in reverse, a length for each index of the batch axis. */
void col_onnx_op_reverse_sequence(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *lengths = col_onnx_input(n, 1);
    if (!x || !lengths) return;
    col_shape shape = x->type.shape;
    int64_t time = col_onnx_int(n, "time_axis", 0), batch = col_onnx_int(n, "batch_axis", 1);
    bool fits = shape.rank >= 2 && time >= 0 && time < 2 && batch == 1 - time;
    if (!fits || col_shape_numel(lengths->type.shape) != shape.dims[batch]) {
        col_onnx_fault(n,
                       "the time and batch axes must be the first two, with a length for each of the batch");
        return;
    }
    col_type table = col_type_make(COL_I64, col_shape_make(2, shape.dims));
    col_value *step = col_onnx_iota(n, table, (int)time), *item = col_onnx_iota(n, table, (int)batch);
    col_shape line = col_shape_make(2, time ? (int64_t[]){shape.dims[0], 1} : (int64_t[]){1, shape.dims[1]});
    lengths = col_onnx_reshape(n, col_onnx_cast(n, lengths, COL_I64), line);
    col_value *turned =
        col_onnx_binary_number(n, COL_OP_SUB, col_onnx_binary(n, COL_OP_SUB, lengths, step), 1);
    col_value *from = col_onnx_where(n, col_onnx_binary(n, COL_OP_LT, step, lengths), turned, step);
    col_value *first = time ? item : from, *second = time ? from : item;
    col_value *number = col_onnx_binary(
        n, COL_OP_ADD, col_onnx_binary_number(n, COL_OP_MUL, first, (double)shape.dims[1]), second);
    col_value *rows = rows_of(n, x, size_from(shape, 2));
    n->outputs[0] = col_onnx_reshape(
        n,
        col_onnx_build_one(n, COL_OP_EMBEDDING, 2,
                           (col_value *[]){rows, col_onnx_within(n, number, shape.dims[0] * shape.dims[1])},
                           0, NULL),
        shape);
}
