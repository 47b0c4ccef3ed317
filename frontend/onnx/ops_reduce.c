/* Reductions, and what is found along an axis. */
#include "frontend/onnx/node.h"

typedef struct reduction {
    col_value *x;
    col_onnx_ints axes; /* non-negative; all axes where the model lists none; count 0: the operand itself */
    bool keepdims;
} reduction;

/* Axes are an attribute before opset `since`, then an operand. */
static reduction read_reduction(col_onnx_node *n, int since)
{
    reduction r = {.x = col_onnx_input(n, 0), .keepdims = col_onnx_int(n, "keepdims", 1) != 0};
    if (!r.x) return r;
    int rank = r.x->type.shape.rank;
    bool none_is_none = n->opset >= since && col_onnx_int(n, "noop_with_empty_axes", 0) != 0;
    r.axes = col_onnx_list(n, since, 1, "axes");
    if (r.axes.count <= 0) {
        r.axes.count = none_is_none ? 0 : rank;
        for (int i = 0; i < r.axes.count; i++) r.axes.values[i] = i;
    } else if (!col_onnx_axes(n, &r.axes, rank)) {
        r.x = NULL;
    }
    return r;
}

/* In a wider type where there is no reduction in this one. */
static col_value *reduce(col_onnx_node *n, const reduction *r, col_op op, col_value *x)
{
    if (!x) return NULL;
    col_dtype dtype = x->type.dtype;
    x = col_onnx_cast(n, x, col_onnx_wide(dtype));
    return col_onnx_cast(n, col_onnx_reduce(n, op, x, r->axes.count, r->axes.values, r->keepdims), dtype);
}

void col_onnx_op_reduce_sum(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    n->outputs[0] = reduce(n, &r, COL_OP_SUM, r.x);
}

void col_onnx_op_reduce_max(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    n->outputs[0] = reduce(n, &r, COL_OP_MAX, r.x);
}

void col_onnx_op_reduce_min(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    n->outputs[0] = reduce(n, &r, COL_OP_MIN, r.x);
}

/* Of whole numbers cut off to one. */
void col_onnx_op_reduce_mean(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    if (!r.x) return;
    col_dtype dtype = r.x->type.dtype;
    col_value *x = col_dtype_is_float(dtype) ? r.x : col_onnx_cast(n, r.x, COL_F64);
    n->outputs[0] = col_onnx_cast(n, reduce(n, &r, COL_OP_MEAN, x), dtype);
}

static col_value *magnitude(col_onnx_node *n, col_value *x)
{
    if (!x || col_dtype_is_float(x->type.dtype)) return col_onnx_unary(n, COL_OP_ABS, x);
    if (col_dtype_is_unsigned(x->type.dtype)) return x;
    return col_onnx_binary(n, COL_OP_MAXIMUM, x,
                           col_onnx_binary(n, COL_OP_SUB, col_onnx_number(n, 0, x->type.dtype), x));
}

void col_onnx_op_reduce_l1(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    n->outputs[0] = reduce(n, &r, COL_OP_SUM, magnitude(n, r.x));
}

void col_onnx_op_reduce_sum_square(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    n->outputs[0] = reduce(n, &r, COL_OP_SUM, col_onnx_binary(n, COL_OP_MUL, r.x, r.x));
}

void col_onnx_op_reduce_l2(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    if (!r.x) return;
    col_dtype dtype = r.x->type.dtype;
    col_value *x = col_dtype_is_float(dtype) ? r.x : col_onnx_cast(n, r.x, COL_F64);
    col_value *sum = reduce(n, &r, COL_OP_SUM, col_onnx_binary(n, COL_OP_MUL, x, x));
    n->outputs[0] = col_onnx_cast(n, col_onnx_unary(n, COL_OP_SQRT, sum), dtype);
}

void col_onnx_op_reduce_log_sum(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    n->outputs[0] = col_onnx_unary(n, COL_OP_LOG, reduce(n, &r, COL_OP_SUM, r.x));
}

/* max + log(sum(exp(x - max))) */
void col_onnx_op_reduce_log_sum_exp(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    if (!r.x) return;
    col_value *high = col_onnx_reduce(n, COL_OP_MAX, r.x, r.axes.count, r.axes.values, true);
    col_value *rest = col_onnx_unary(n, COL_OP_EXP, col_onnx_binary(n, COL_OP_SUB, r.x, high));
    col_value *sum = reduce(n, &r, COL_OP_SUM, rest);
    if (sum) high = col_onnx_reshape(n, high, sum->type.shape);
    n->outputs[0] = col_onnx_binary(n, COL_OP_ADD, high, col_onnx_unary(n, COL_OP_LOG, sum));
}

/* The halves multiplied until one is left. */
col_value *col_onnx_product(col_onnx_node *n, col_value *x, int axis)
{
    if (!x) return NULL;
    if (!x->type.shape.dims[axis])
        return col_onnx_full(n, 1, col_type_make(x->type.dtype, col_onnx_set_axis(x->type.shape, axis, 1)));
    while (x && x->type.shape.dims[axis] > 1) {
        int64_t size = x->type.shape.dims[axis], half = size / 2;
        col_value *product = col_onnx_binary(n, COL_OP_MUL, col_onnx_cut(n, x, axis, 0, half),
                                             col_onnx_cut(n, x, axis, half, 2 * half));
        col_value *odd = size % 2 ? col_onnx_cut(n, x, axis, size - 1, size) : NULL;
        x = odd ? col_onnx_concat(n, 2, (col_value *[]){product, odd}, axis) : product;
    }
    return x;
}

void col_onnx_op_reduce_prod(col_onnx_node *n, int since)
{
    reduction r = read_reduction(n, since);
    if (!r.x || !r.axes.count) {
        n->outputs[0] = r.x;
        return;
    }
    col_shape shape = r.x->type.shape, kept = {0}, lined = {0};
    int64_t perm[COL_MAX_RANK], size = 1;
    unsigned reduced = 0;
    for (int i = 0; i < r.axes.count; i++) reduced |= 1u << r.axes.values[i];
    for (int i = 0; i < shape.rank; i++) {
        bool gone = reduced >> i & 1;
        if (gone) size *= shape.dims[i];
        if (!gone || r.keepdims) kept.dims[kept.rank++] = gone ? 1 : shape.dims[i];
        if (!gone) perm[lined.rank++] = i;
    }
    int at = lined.rank;
    for (int i = 0; i < at; i++) lined.dims[i] = shape.dims[perm[i]];
    for (int i = 0; i < shape.rank; i++) {
        if (reduced >> i & 1) perm[at++] = i;
    }
    lined.dims[lined.rank++] = size;
    col_value *x = col_onnx_reshape(n, col_onnx_transpose(n, r.x, perm), lined);
    if (x) n->outputs[0] = col_onnx_reshape(n, col_onnx_product(n, x, lined.rank - 1), kept);
}

/* Where the extreme is: the first such index, or the last. */
void col_onnx_op_arg(col_onnx_node *n, int extreme)
{
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", 0), x->type.shape.rank, false);
    if (n->failed) return;
    bool last = col_onnx_int(n, "select_last_index", 0) != 0, keepdims = col_onnx_int(n, "keepdims", 1) != 0;
    int64_t size = x->type.shape.dims[axis], where = axis;
    x = col_onnx_cast(n, x, col_onnx_wide(x->type.dtype));
    if (!x) return;
    col_value *best = col_onnx_reduce(n, (col_op)extreme, x, 1, &where, true);
    col_value *index = col_onnx_iota(n, col_type_make(COL_I64, x->type.shape), axis);
    col_value *candidates = col_onnx_where(n, col_onnx_binary(n, COL_OP_EQ, x, best), index,
                                           col_onnx_number(n, last ? -1 : (double)size, COL_I64));
    n->outputs[0] = col_onnx_reduce(n, last ? COL_OP_MAX : COL_OP_MIN, candidates, 1, &where, keepdims);
}

/* x with `distance` zeros moved in along the axis, and as much lost at the other end. */
static col_value *shift(col_onnx_node *n, col_value *x, int axis, int64_t distance, bool to_front)
{
    int64_t size = x->type.shape.dims[axis];
    int64_t low[COL_MAX_RANK] = {0}, high[COL_MAX_RANK] = {0};
    *(to_front ? &high[axis] : &low[axis]) = distance;
    col_value *cut =
        to_front ? col_onnx_cut(n, x, axis, distance, size) : col_onnx_cut(n, x, axis, 0, size - distance);
    col_attr attrs[] = {col_attr_ints(COL_ATTR_LOW, x->type.shape.rank, low),
                        col_attr_ints(COL_ATTR_HIGH, x->type.shape.rank, high)};
    return col_onnx_build_one(n, COL_OP_PAD, 1, &cut, 2, attrs);
}

/* Sums of 1, 2, 4, ... neighbours until all before are in: log2(size) additions (Hillis and Steele, 1986). */
void col_onnx_op_cumsum(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int axis =
        col_onnx_axis(n, col_onnx_whole(col_onnx_known_number(n, 1, "axis")), x->type.shape.rank, false);
    if (n->failed) return;
    bool reverse = col_onnx_int(n, "reverse", 0) != 0, exclusive = col_onnx_int(n, "exclusive", 0) != 0;
    int64_t size = x->type.shape.dims[axis];
    if (exclusive && size) x = shift(n, x, axis, 1, reverse);
    for (int64_t distance = 1; x && distance < size; distance *= 2)
        x = col_onnx_binary(n, COL_OP_ADD, x, shift(n, x, axis, distance, reverse));
    n->outputs[0] = x;
}

/* The rank of element i is how many come before it: those that are greater (less, for the smallest), and equal
 * ones at lower indices. Row r of the result has the element of rank r: size (size + k) comparisons in all. */
void col_onnx_op_top_k(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    col_shape shape = x->type.shape;
    int axis = col_onnx_axis(n, col_onnx_int(n, "axis", -1), shape.rank, false);
    col_onnx_ignore(n, "sorted"); /* they are */
    int64_t k = n->opset < 10 ? col_onnx_int(n, "k", 0) : col_onnx_whole(col_onnx_known_number(n, 1, "K"));
    if (n->failed) return;
    int64_t size = shape.dims[axis], others = axis + 1;
    if (k < 0 || k > size || shape.rank == COL_MAX_RANK) {
        col_onnx_fault(n, "the %lld first of %lld elements are wanted, of a tensor with %d dimensions",
                       (long long)k, (long long)size, shape.rank);
        return;
    }
    bool largest = col_onnx_int(n, "largest", 1) != 0;
    col_shape pairs = col_onnx_with_axis(shape, axis + 1, size);
    col_shape rows = col_onnx_with_axis(shape, axis + 1, 1), columns = col_onnx_with_axis(shape, axis, 1);
    col_value *mine = col_onnx_reshape(n, x, rows), *other = col_onnx_reshape(n, x, columns);
    col_value *i = col_onnx_iota(n, col_type_make(COL_I64, pairs), axis);
    col_value *j = col_onnx_iota(n, col_type_make(COL_I64, pairs), axis + 1);
    col_value *better = col_onnx_binary(n, largest ? COL_OP_GT : COL_OP_LT, other, mine);
    col_value *before = col_onnx_binary(n, COL_OP_AND, col_onnx_binary(n, COL_OP_EQ, other, mine),
                                        col_onnx_binary(n, COL_OP_LT, j, i));
    col_value *ahead = col_onnx_cast(n, col_onnx_binary(n, COL_OP_OR, better, before), COL_I64);
    col_value *rank = col_onnx_reduce(n, COL_OP_SUM, ahead, 1, &others, false);
    if (!rank) return;
    /* chosen[.., r, i, ..]: element i has rank r */
    col_shape table = col_onnx_with_axis(shape, axis, k);
    col_value *chosen = col_onnx_binary(n, COL_OP_EQ, col_onnx_iota(n, col_type_make(COL_I64, table), axis),
                                        col_onnx_reshape(n, rank, columns));
    col_value *index = col_onnx_where(n, chosen, col_onnx_iota(n, col_type_make(COL_I64, table), axis + 1),
                                      col_onnx_number(n, 0, COL_I64));
    col_value *value = col_onnx_where(n, chosen, other, col_onnx_number(n, 0, x->type.dtype));
    value = col_onnx_cast(n, value, col_onnx_wide(x->type.dtype));
    value = col_onnx_reduce(n, COL_OP_SUM, value, 1, &others, false);
    n->outputs[0] = col_onnx_cast(n, value, x->type.dtype);
    if (n->output_count > 1) n->outputs[1] = col_onnx_reduce(n, COL_OP_SUM, index, 1, &others, false);
}
