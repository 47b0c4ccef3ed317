/* Short forms of the builder: literals, elementwise ops with operands of any types, reductions of nothing, products that
 * einsum does not take, and choosing along an axis. */
#include "frontend/onnx/node.h"

#include <math.h>
#include <string.h>

#include "frontend/onnx/importer.h"

/* Literals. */

static void store_element(void *to, col_dtype dtype, double value)
{
    float f32 = (float)value;
    int64_t i64 = col_onnx_whole(value);
    switch (dtype) {
    case COL_F32: memcpy(to, &f32, sizeof f32); break;
    case COL_F64: memcpy(to, &value, sizeof value); break;
    case COL_BOOL: *(unsigned char *)to = value != 0; break;
    case COL_F16:
    case COL_BF16: COL_PANIC("no literal of %s is made", col_dtype_name(dtype));
    default: memcpy(to, &i64, col_dtype_size(dtype)); break; /* the lower bytes */
    }
}

double *col_onnx_numbers(col_onnx_node *n, int64_t count)
{
    if (col_onnx_importer_afford(n->importer, count))
        return COL_NEW_ARRAY(n->arena, double, COL_MAX(count, 1));
    col_onnx_fault(n, "it needs %lld numbers that are computed while importing; a model can have %d of them",
                   (long long)count, COL_ONNX_COMPUTED_ELEMENTS);
    return NULL;
}

col_value *col_onnx_literal(col_onnx_node *n, col_type type, const double *data)
{
    int64_t count = col_shape_numel(type.shape);
    size_t size = col_dtype_size(type.dtype);
    char *bytes = col_arena_alloc(n->arena, (size_t)COL_MAX(count, 1) * size);
    for (int64_t i = 0; i < count; i++) store_element(bytes + (size_t)i * size, type.dtype, data[i]);
    return col_onnx_tensor_value(n->importer, NULL, &(col_onnx_tensor){.type = type, .data = bytes}, false);
}

/* Builder. */

col_node *col_onnx_build(col_onnx_node *n, col_op op, uint32_t count, col_value *const *operands,
                         uint32_t attr_count, const col_attr *attrs)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!operands[i]) return NULL;
    }
    return n->failed ? NULL : col_build(n->b, op, count, operands, attr_count, attrs);
}

col_value *col_onnx_build_one(col_onnx_node *n, col_op op, uint32_t count, col_value *const *operands,
                              uint32_t attr_count, const col_attr *attrs)
{
    col_node *node = col_onnx_build(n, op, count, operands, attr_count, attrs);
    return node ? &node->results[0] : NULL;
}

col_value *col_onnx_unary(col_onnx_node *n, col_op op, col_value *x)
{
    return col_onnx_build_one(n, op, 1, &x, 0, NULL);
}

static bool is_comparison(col_op op)
{
    return op == COL_OP_EQ || op == COL_OP_NE || op == COL_OP_LT || op == COL_OP_LE || op == COL_OP_GT ||
           op == COL_OP_GE;
}

col_dtype col_onnx_wide(col_dtype dtype)
{
    if (col_dtype_is_arithmetic(dtype)) return dtype;
    return col_dtype_size(dtype) < sizeof(int32_t) ? COL_I32 : COL_I64;
}

col_value *col_onnx_binary(col_onnx_node *n, col_op op, col_value *x, col_value *y)
{
    if (!x || !y || n->failed) return NULL;
    col_dtype dtype = x->type.dtype, wide = col_onnx_wide(dtype);
    bool same = dtype == y->type.dtype, direct = wide == dtype || dtype == COL_BOOL || is_comparison(op);
    if (!same || direct) return col_build_binary(n->b, op, x, y);
    if (op == COL_OP_MAXIMUM || op == COL_OP_MINIMUM) {
        col_op wins = op == COL_OP_MAXIMUM ? COL_OP_GT : COL_OP_LT;
        return col_onnx_where(n, col_build_binary(n->b, wins, x, y), x, y);
    }
    x = col_build_cast(n->b, x, wide);
    y = col_build_cast(n->b, y, wide);
    return col_onnx_cast(n, col_build_binary(n->b, op, x, y), dtype);
}

col_value *col_onnx_binary_number(col_onnx_node *n, col_op op, col_value *x, double y)
{
    return x ? col_onnx_binary(n, op, x, col_onnx_number(n, y, x->type.dtype)) : NULL;
}

col_value *col_onnx_where(col_onnx_node *n, col_value *condition, col_value *x, col_value *y)
{
    return condition && x && y && !n->failed ? col_build_where(n->b, condition, x, y) : NULL;
}

col_value *col_onnx_full(col_onnx_node *n, double value, col_type type)
{
    return n->failed ? NULL : col_build_full(n->b, value, type);
}

col_value *col_onnx_number(col_onnx_node *n, double value, col_dtype dtype)
{
    return col_onnx_full(n, value, (col_type){.dtype = dtype});
}

col_value *col_onnx_iota(col_onnx_node *n, col_type type, int axis)
{
    return n->failed ? NULL : col_build_iota(n->b, type, axis);
}

col_value *col_onnx_cast(col_onnx_node *n, col_value *x, col_dtype dtype)
{
    return x && !n->failed ? col_build_cast(n->b, x, dtype) : NULL;
}

col_value *col_onnx_reshape(col_onnx_node *n, col_value *x, col_shape shape)
{
    return x && !n->failed ? col_build_reshape(n->b, x, shape) : NULL;
}

col_value *col_onnx_broadcast(col_onnx_node *n, col_value *x, col_shape shape)
{
    return x && !n->failed ? col_build_broadcast(n->b, x, shape) : NULL;
}

col_value *col_onnx_transpose(col_onnx_node *n, col_value *x, const int64_t *perm)
{
    return x && !n->failed ? col_build_transpose(n->b, x, perm) : NULL;
}

col_value *col_onnx_cut(col_onnx_node *n, col_value *x, int axis, int64_t start, int64_t stop)
{
    if (!x || n->failed) return NULL;
    int64_t starts[COL_MAX_RANK] = {0}, stops[COL_MAX_RANK];
    memcpy(stops, x->type.shape.dims, sizeof stops);
    starts[axis] = start;
    stops[axis] = stop;
    return col_build_slice(n->b, x, starts, stops);
}

col_value *col_onnx_concat(col_onnx_node *n, uint32_t count, col_value *const *parts, int axis)
{
    col_value **kept = COL_NEW_ARRAY(n->arena, col_value *, count + 1);
    uint32_t kept_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!parts[i]) return NULL;
        /* A part without elements adds nothing; one that is wrong otherwise stays, to be refused. */
        bool is_empty =
            parts[i]->type.dtype == parts[0]->type.dtype &&
            col_shape_equal(col_onnx_set_axis(parts[i]->type.shape, axis, 0), parts[i]->type.shape) &&
            col_shape_equal(parts[i]->type.shape, col_onnx_set_axis(parts[0]->type.shape, axis, 0));
        if (!is_empty) kept[kept_count++] = parts[i];
    }
    if (!kept_count) return parts[0];
    return n->failed ? NULL : kept_count == 1 ? kept[0] : col_build_concat(n->b, kept_count, kept, axis);
}

/* What is left of no elements: the operation's neutral number. */
static col_value *reduce_nothing(col_onnx_node *n, col_op op, col_type type, int count, const int64_t *axes,
                                 bool keepdims)
{
    unsigned gone = 0;
    col_shape shape = {0};
    for (int i = 0; i < count; i++) gone |= 1u << axes[i];
    for (int i = 0; i < type.shape.rank; i++) {
        if (gone >> i & 1 && keepdims) shape.dims[shape.rank++] = 1;
        if (!(gone >> i & 1)) shape.dims[shape.rank++] = type.shape.dims[i];
    }
    bool is_exact = op == COL_OP_SUM || (op != COL_OP_MEAN && col_dtype_is_float(type.dtype));
    if (!is_exact && col_shape_numel(shape)) {
        col_onnx_fault(n, "of no elements there is no such reduction of %s", col_dtype_name(type.dtype));
        return NULL;
    }
    double neutral = op == COL_OP_MAX ? -INFINITY : op == COL_OP_MIN ? INFINITY : 0;
    return col_onnx_full(n, is_exact ? neutral : 0, col_type_make(type.dtype, shape));
}

col_value *col_onnx_reduce(col_onnx_node *n, col_op op, col_value *x, int count, const int64_t *axes,
                           bool keepdims)
{
    if (!x || n->failed) return NULL;
    return col_shape_numel(x->type.shape) ? col_build_reduce(n->b, op, x, count, axes, keepdims)
                                          : reduce_nothing(n, op, x->type, count, axes, keepdims);
}

col_value *col_onnx_single(col_onnx_node *n, col_value *x)
{
    if (!x || x->type.dtype == COL_F32) return x;
    if (x->type.dtype == COL_F16 || x->type.dtype == COL_BF16) return col_onnx_cast(n, x, COL_F32);
    col_onnx_fault(n, "it is computed in 32-bit floats, not in %s: convert the operand",
                   col_dtype_name(x->type.dtype));
    return NULL;
}

/* x's axes in the order that `letters` has them in `all`, sizes of 1 for those that it lacks. */
static col_value *spread(col_onnx_node *n, col_value *x, const char *letters, const char *all)
{
    int64_t perm[COL_MAX_RANK];
    col_shape shape = {0};
    int count = 0;
    for (const char *letter = all; *letter; letter++) {
        const char *at = strchr(letters, *letter);
        if (at) perm[count++] = at - letters;
        shape.dims[shape.rank++] = at ? x->type.shape.dims[at - letters] : 1;
    }
    return col_onnx_reshape(n, col_onnx_transpose(n, x, perm), shape);
}

/* An einsum as one product of all pairs, summed: for types that matrix products are not made of. */
static col_value *multiply_and_sum(col_onnx_node *n, const char *equation, col_value *x, col_value *y)
{
    char terms[3][COL_MAX_RANK + 1] = {{0}}, all[2 * COL_MAX_RANK + 1] = {0};
    int term = 0, sizes[3] = {0};
    for (const char *at = equation; *at; at++) {
        if (*at == ',' || *at == '>')
            term++;
        else if (*at != '-')
            terms[term][sizes[term]++] = *at;
    }
    strcpy(all, terms[2]);
    for (int i = 0; i < 2; i++) {
        for (const char *letter = terms[i]; *letter; letter++) {
            size_t length = strlen(all);
            if (!strchr(all, *letter)) all[length] = *letter;
        }
    }
    int64_t axes[COL_MAX_RANK];
    int count = 0, rank = (int)strlen(all);
    if (rank > COL_MAX_RANK) {
        col_onnx_fault(n, "'%s' has more than %d letters", equation, COL_MAX_RANK);
        return NULL;
    }
    for (int i = sizes[2]; i < rank; i++) axes[count++] = i;
    col_value *product =
        col_onnx_binary(n, COL_OP_MUL, spread(n, x, terms[0], all), spread(n, y, terms[1], all));
    return col_onnx_reduce(n, COL_OP_SUM, product, count, axes, false);
}

col_value *col_onnx_einsum(col_onnx_node *n, const char *equation, col_value *x, col_value *y)
{
    if (!x || !y || n->failed) return NULL;
    col_dtype dtype = x->type.dtype;
    if (dtype != y->type.dtype) {
        col_onnx_fault(n, "its operands have different element types");
        return NULL;
    }
    if (!col_shape_numel(x->type.shape) || !col_shape_numel(y->type.shape))
        return multiply_and_sum(n, equation, x, y);
    if (dtype == COL_F16 || dtype == COL_BF16) {
        x = col_onnx_cast(n, x, COL_F32);
        y = col_onnx_cast(n, y, COL_F32);
    }
    if (!col_dtype_is_float(dtype) || dtype == COL_F64) return multiply_and_sum(n, equation, x, y);
    return col_onnx_cast(n, col_build_einsum(n->b, equation, x, y), dtype);
}

/* Pieces. */

col_value *col_onnx_within(col_onnx_node *n, col_value *indices, int64_t size)
{
    if (!indices) return NULL;
    if (!size) {
        col_onnx_fault(n, "there is nothing to choose from: an axis has size 0");
        return NULL;
    }
    indices = col_onnx_where(n, col_onnx_binary_number(n, COL_OP_LT, indices, 0),
                             col_onnx_binary_number(n, COL_OP_ADD, indices, (double)size), indices);
    indices = col_onnx_binary_number(n, COL_OP_MAXIMUM, indices, 0);
    return col_onnx_binary_number(n, COL_OP_MINIMUM, indices, (double)(size - 1));
}

col_value *col_onnx_take(col_onnx_node *n, col_value *x, int axis, col_value *indices)
{
    if (!x || !indices || n->failed) return NULL;
    col_shape shape = x->type.shape, at = indices->type.shape, result = {.rank = shape.rank - 1 + at.rank};
    if (result.rank > COL_MAX_RANK || at.rank == COL_MAX_RANK) {
        col_onnx_fault(n, "the result would have more than %d dimensions", COL_MAX_RANK);
        return NULL;
    }
    int64_t size = shape.dims[axis];
    indices = col_onnx_within(n, indices, size);
    /* The axis to the front, rows by index, the row's axes to where they belong. */
    int64_t forth[COL_MAX_RANK] = {axis}, back[COL_MAX_RANK];
    for (int i = 0, k = 1; i < shape.rank; i++) {
        if (i != axis) forth[k++] = i;
    }
    for (int i = 0; i < result.rank; i++) {
        back[i] = i < axis ? at.rank + i : i < axis + at.rank ? i - axis : i;
    }
    col_value *table = col_onnx_transpose(n, x, forth);
    int64_t rest = size ? col_shape_numel(shape) / size : 0;
    table = col_onnx_reshape(n, table, col_shape_make(2, (int64_t[]){size, rest}));
    col_value *rows = col_onnx_build_one(n, COL_OP_EMBEDDING, 2, (col_value *[]){table, indices}, 0, NULL);
    for (int i = 0; i < at.rank; i++) result.dims[i] = at.dims[i];
    for (int i = 0, k = at.rank; i < shape.rank; i++) {
        if (i != axis) result.dims[k++] = shape.dims[i];
    }
    return col_onnx_transpose(n, col_onnx_reshape(n, rows, result), back);
}

col_value *col_onnx_one_hot(col_onnx_node *n, col_shape shape, int axis, col_value *indices)
{
    if (!indices) return NULL;
    col_shape line = {.rank = shape.rank};
    for (int i = 0; i < line.rank; i++) line.dims[i] = i == axis ? shape.dims[i] : 1;
    return col_onnx_binary(n, COL_OP_EQ, col_onnx_iota(n, col_type_make(indices->type.dtype, line), axis),
                           indices);
}
