#include "ir/ops/family.h"

#include "ir/view.h"

#include <math.h>
#include <stdlib.h>

bool col_op_fault(const col_node *node, col_diags *diags, const char *format, ...)
{
    col_str text = {0};
    va_list args;
    va_start(args, format);
    col_str_vprintf(&text, format, args);
    va_end(args);
    col_diag_add(diags, node->loc, "'%s': %s", col_op_info_of(node->op)->name, col_str_text(&text));
    col_str_fini(&text);
    return false;
}

const char *col_op_type_text(const col_diags *diags, col_type type)
{
    col_str text = {0};
    col_type_print(type, &text);
    const char *copy = col_arena_strdup(diags->arena, col_str_text(&text));
    col_str_fini(&text);
    return copy;
}

bool col_op_result(col_node *node, uint32_t index, col_dtype dtype, col_shape shape)
{
    node->results[index].type = col_type_make(dtype, shape);
    return true;
}

bool col_op_want_float(const col_node *node, col_diags *diags, uint32_t index, const char *what)
{
    col_type type = operand_type(node, index);
    if (col_dtype_is_float(type.dtype)) return true;
    return col_op_fault(node, diags, "%s must be floating point, not %s; convert it with 'cast'", what,
                        col_op_type_text(diags, type));
}

bool col_op_want_index(const col_node *node, col_diags *diags, uint32_t index, const char *what)
{
    col_type type = operand_type(node, index);
    if (type.dtype == COL_I32 || type.dtype == COL_I64) return true;
    return col_op_fault(node, diags, "%s must be i32 or i64, not %s; convert it with 'cast'", what,
                        col_op_type_text(diags, type));
}

bool col_op_want_rank(const col_node *node, col_diags *diags, uint32_t index, const char *what, int rank)
{
    col_type type = operand_type(node, index);
    if (type.shape.rank == rank) return true;
    return col_op_fault(node, diags, "%s must have %d dimension%s, not %s; 'reshape' it first", what, rank,
                        rank == 1 ? "" : "s", col_op_type_text(diags, type));
}

bool col_op_want_dtype(const col_node *node, col_diags *diags, uint32_t index, const char *what,
                       col_dtype dtype)
{
    col_type type = operand_type(node, index);
    if (type.dtype == dtype) return true;
    return col_op_fault(node, diags, "%s must be %s, not %s; convert it with 'cast'", what,
                        col_dtype_name(dtype), col_op_type_text(diags, type));
}

bool col_op_want_same(const col_node *node, col_diags *diags, uint32_t a, uint32_t b)
{
    col_type x = operand_type(node, a), y = operand_type(node, b);
    if (x.dtype == y.dtype) return true;
    return col_op_fault(
        node, diags, "operands %u and %u have different element types, %s and %s; 'cast' one to the other's",
        a + 1, b + 1, col_op_type_text(diags, x), col_op_type_text(diags, y));
}

bool col_op_want_generator(const col_node *node, col_diags *diags, uint32_t index)
{
    col_type type = operand_type(node, index);
    if (type.dtype == COL_I64 && type.shape.rank == 1 && type.shape.dims[0] == 2) return true;
    return col_op_fault(node, diags, "operand %u must be the generator state, i64[2] (seed, step), not %s",
                        index + 1, col_op_type_text(diags, type));
}

bool col_op_axis(const col_node *node, col_diags *diags, col_shape shape, int *out_axis)
{
    int64_t axis = col_node_int(node, COL_ATTR_AXIS);
    if (col_shape_axis(shape, axis, out_axis)) return true;
    if (!shape.rank) return col_op_fault(node, diags, "a scalar has no axis %lld", (long long)axis);
    return col_op_fault(node, diags, "axis %lld is not in %d..%d, the axes of a tensor with %d dimensions",
                        (long long)axis, -shape.rank, shape.rank - 1, shape.rank);
}

bool col_op_shape(const col_node *node, col_diags *diags, col_shape *out_shape)
{
    int count;
    const int64_t *dims = col_node_ints(node, COL_ATTR_SHAPE, &count);
    if (count > COL_MAX_RANK) {
        return col_op_fault(node, diags, "a shape has at most %d dimensions; %d given", COL_MAX_RANK, count);
    }
    *out_shape = col_shape_make(count, dims);
    for (int i = 0; i < count; i++) {
        if (dims[i] < 0)
            return col_op_fault(node, diags, "dimension %d of the shape is negative: %lld", i,
                                (long long)dims[i]);
    }
    if (!col_shape_is_valid(*out_shape))
        return col_op_fault(node, diags, "the shape is too large to count in bytes");
    return true;
}

bool col_op_dtype(const col_node *node, col_diags *diags, col_dtype *out_dtype)
{
    const char *name = col_node_text(node, COL_ATTR_DTYPE);
    if (name && col_dtype_parse(name, out_dtype)) return true;
    return col_op_fault(node, diags, "unknown element type '%s'; there are f32 f64 f16 bf16 i32 i64 u8 bool",
                        name ? name : "");
}

bool col_op_salt(const col_node *node, col_diags *diags)
{
    int64_t salt = col_node_int(node, COL_ATTR_SALT);
    if (salt >= 0 && salt <= UINT32_MAX) return true;
    return col_op_fault(node, diags, "salt %lld is not in 0..4294967295", (long long)salt);
}

bool col_op_rate(const col_node *node, col_diags *diags)
{
    double rate = col_node_float(node, COL_ATTR_RATE);
    if (rate >= 0 && rate < 1) return true;
    return col_op_fault(node, diags, "rate %g is not in [0, 1)", rate);
}

bool col_op_block(const col_node *node, col_diags *diags, uint32_t index, col_shape shape)
{
    int count;
    const int64_t *whole = col_node_ints(node, COL_ATTR_WHOLE, &count);
    bool fits = count == shape.rank;
    for (int d = 0; fits && d < count; d++) fits = shape.dims[d] <= whole[d];
    if (!fits || !col_shape_is_valid(col_shape_make(count, whole))) {
        return col_op_fault(node, diags, "'whole' is not the shape of a tensor with a block of %s",
                            col_op_type_text(diags, col_type_make(COL_F32, shape)));
    }
    if (index >= node->operand_count)
        return col_op_fault(node, diags,
                            "with 'whole' the last operand must be the number of the first element");
    return col_op_want_dtype(node, diags, index, "the number of the first element", COL_I64) &&
           col_op_want_rank(node, diags, index, "the number of the first element", 0);
}

const int64_t *col_op_list(const col_node *node, col_diags *diags, col_attr_key key, int count)
{
    static const int64_t empty[1];
    int given;
    const int64_t *list = col_node_ints(node, key, &given);
    if (given == count) return list ? list : empty;
    col_op_fault(node, diags, "'%s' has %d numbers; operand 1, %s, has %d dimensions", col_attr_name(key),
                 given, col_op_type_text(diags, operand_type(node, 0)), count);
    return NULL;
}

const int64_t *col_op_axes(col_node *node, col_diags *diags, col_attr_key key, col_shape shape, bool sorted,
                           int *out_count)
{
    int count;
    *out_count = -1;
    const int64_t *given = col_node_ints(node, key, &count);
    int64_t axes[COL_MAX_RANK];
    bool changed = false;
    if (count > shape.rank) {
        col_op_fault(node, diags, "'%s' lists %d axes of a tensor with %d dimensions", col_attr_name(key),
                     count, shape.rank);
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        int axis, at = i;
        if (!col_shape_axis(shape, given[i], &axis)) {
            col_op_fault(node, diags, "axis %lld is not in %d..%d, the axes of %s", (long long)given[i],
                         -shape.rank, shape.rank - 1, col_op_type_text(diags, operand_type(node, 0)));
            return NULL;
        }
        for (int j = 0; j < i; j++) {
            if (axes[j] != axis) continue;
            col_op_fault(node, diags, "axis %d is listed twice in '%s'", axis, col_attr_name(key));
            return NULL;
        }
        for (; sorted && at > 0 && axes[at - 1] > axis; at--) axes[at] = axes[at - 1];
        axes[at] = axis;
    }
    for (int i = 0; i < count; i++) changed |= axes[i] != given[i];
    *out_count = count;
    if (!changed) return given;
    for (uint32_t i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].key != key) continue;
        node->attrs[i].ints = col_arena_copy(node->graph->arena, axes, sizeof *axes * (size_t)count);
        return node->attrs[i].ints;
    }
    COL_PANIC("the list '%s' is gone", col_attr_name(key));
}

int col_node_axis(const col_node *node, col_shape shape)
{
    int axis;
    bool fine = col_shape_axis(shape, col_node_int(node, COL_ATTR_AXIS), &axis);
    COL_ASSERT(fine);
    return axis;
}

col_shape col_shape_drop_last(col_shape shape)
{
    COL_ASSERT(shape.rank > 0);
    shape.dims[--shape.rank] = 0;
    return shape;
}

col_shape col_shape_one_last(col_shape shape)
{
    COL_ASSERT(shape.rank > 0);
    shape.dims[shape.rank - 1] = 1;
    return shape;
}

static void walk_row(int64_t n, double *to, int64_t to_stride, const double *from, int64_t from_stride,
                     col_walk_mode mode)
{
    switch (mode) {
    case COL_WALK_SET:
        for (int64_t i = 0; i < n; i++) to[i * to_stride] = from[i * from_stride];
        return;
    case COL_WALK_ADD:
        for (int64_t i = 0; i < n; i++) to[i * to_stride] += from[i * from_stride];
        return;
    case COL_WALK_MAX: /* NaN wins, on either side */
        for (int64_t i = 0; i < n; i++) {
            double x = from[i * from_stride];
            if (x > to[i * to_stride] || isnan(x)) to[i * to_stride] = x;
        }
        return;
    case COL_WALK_MIN:
        for (int64_t i = 0; i < n; i++) {
            double x = from[i * from_stride];
            if (x < to[i * to_stride] || isnan(x)) to[i * to_stride] = x;
        }
        return;
    }
}

static void walk_axis(const col_shape *shape, int axis, double *to, const int64_t *to_strides,
                      const double *from, const int64_t *from_strides, col_walk_mode mode)
{
    if (axis == shape->rank - 1) {
        walk_row(shape->dims[axis], to, to_strides[axis], from, from_strides[axis], mode);
        return;
    }
    for (int64_t i = 0; i < shape->dims[axis]; i++) {
        walk_axis(shape, axis + 1, to + i * to_strides[axis], to_strides, from + i * from_strides[axis],
                  from_strides, mode);
    }
}

void col_walk(col_shape shape, double *to, const int64_t *to_strides, const double *from,
              const int64_t *from_strides, col_walk_mode mode)
{
    if (shape.rank)
        walk_axis(&shape, 0, to, to_strides, from, from_strides, mode);
    else
        walk_row(1, to, 0, from, 0, mode);
}

void col_broadcast_strides(col_shape from, col_shape to, int64_t strides[COL_MAX_RANK])
{
    int64_t own[COL_MAX_RANK];
    int added = to.rank - from.rank;
    col_shape_strides(from, own);
    for (int i = 0; i < to.rank; i++)
        strides[i] = i < added || from.dims[i - added] == 1 ? 0 : own[i - added];
}

void col_fill(col_tensor tensor, double value)
{
    int64_t count = col_shape_numel(tensor.type.shape);
    for (int64_t i = 0; i < count; i++) tensor.data[i] = value;
}

int64_t col_eval_block(const col_node *node, const col_tensor *operands, col_shape shape,
                       int64_t strides[COL_MAX_RANK])
{
    col_whole_strides(node, shape, strides);
    return col_node_attr(node, COL_ATTR_WHOLE) ? (int64_t)operands[node->operand_count - 1].data[0] : 0;
}

double *col_eval_alloc(int64_t count)
{
    double *data = malloc(sizeof *data * (size_t)COL_MAX(count, 1));
    if (!data) col_out_of_memory(sizeof *data * (size_t)count);
    return data;
}
