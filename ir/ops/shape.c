/* Views and moves: reshape, transpose, broadcast, slice, split, concat, pad. All are index maps: evaluation
 * is one strided walk, and each gradient is the adjoint map. */
#include "ir/factors.h"
#include "ir/ops/family.h"

#include <string.h>

bool col_infer_reshape(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    col_shape shape;
    if (!col_op_shape(node, diags, &shape)) return false;
    if (col_shape_numel(shape) != col_shape_numel(type.shape)) {
        return col_op_fault(node, diags, "%s has %lld elements, the new shape %s has %lld",
                            col_op_type_text(diags, type), (long long)col_shape_numel(type.shape),
                            col_op_type_text(diags, col_type_make(type.dtype, shape)),
                            (long long)col_shape_numel(shape));
    }
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_transpose(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    int count;
    const int64_t *perm = col_op_axes(node, diags, COL_ATTR_PERM, type.shape, false, &count);
    if (count < 0) return false;
    if (count != type.shape.rank) {
        return col_op_fault(node, diags, "'perm' lists %d axes; %s has %d", count,
                            col_op_type_text(diags, type), type.shape.rank);
    }
    col_shape shape = {.rank = count};
    for (int i = 0; i < count; i++) shape.dims[i] = type.shape.dims[perm[i]];
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_broadcast(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    col_shape shape, joint;
    if (!col_op_shape(node, diags, &shape)) return false;
    if (!col_shape_broadcast(type.shape, shape, &joint) || !col_shape_equal(joint, shape)) {
        return col_op_fault(
            node, diags,
            "%s does not broadcast to %s: aligned at the last dimension, sizes must be equal, or 1 before",
            col_op_type_text(diags, type), col_op_type_text(diags, col_type_make(type.dtype, shape)));
    }
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_slice(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    const int64_t *starts = col_op_list(node, diags, COL_ATTR_STARTS, type.shape.rank);
    const int64_t *stops = starts ? col_op_list(node, diags, COL_ATTR_STOPS, type.shape.rank) : NULL;
    if (!stops) return false;
    col_shape shape = {.rank = type.shape.rank};
    for (int i = 0; i < shape.rank; i++) {
        if (starts[i] < 0 || starts[i] > stops[i] || stops[i] > type.shape.dims[i]) {
            return col_op_fault(node, diags, "%lld..%lld is not a range of axis %d of %s",
                                (long long)starts[i], (long long)stops[i], i, col_op_type_text(diags, type));
        }
        shape.dims[i] = stops[i] - starts[i];
    }
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_split(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    int axis;
    if (!col_op_axis(node, diags, type.shape, &axis)) return false;
    int64_t parts = col_node_int(node, COL_ATTR_PARTS);
    if (type.shape.dims[axis] % parts) {
        return col_op_fault(node, diags, "axis %d of %s does not divide into %lld equal parts", axis,
                            col_op_type_text(diags, type), (long long)parts);
    }
    col_shape shape = type.shape;
    shape.dims[axis] /= parts;
    for (uint32_t i = 0; i < node->result_count; i++) col_op_result(node, i, type.dtype, shape);
    return true;
}

bool col_infer_concat(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    int axis;
    if (!col_op_axis(node, diags, type.shape, &axis)) return false;
    for (uint32_t i = 1; i < node->operand_count; i++) {
        col_type part = operand_type(node, i);
        col_shape like = part.shape;
        if (!col_op_want_same(node, diags, 0, i)) return false;
        if (like.rank == type.shape.rank) like.dims[axis] = type.shape.dims[axis];
        if (!col_shape_equal(like, type.shape)) {
            return col_op_fault(
                node, diags, "operand %u is %s; like operand 1 but for axis %d it should be %s", i + 1,
                col_op_type_text(diags, part), axis, col_op_type_text(diags, operand_type(node, 0)));
        }
        if (__builtin_add_overflow(type.shape.dims[axis], part.shape.dims[axis], &type.shape.dims[axis])) {
            return col_op_fault(node, diags, "the result is too large to count in bytes");
        }
    }
    return col_op_result(node, 0, type.dtype, type.shape);
}

bool col_infer_pad(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    const int64_t *low = col_op_list(node, diags, COL_ATTR_LOW, type.shape.rank);
    const int64_t *high = low ? col_op_list(node, diags, COL_ATTR_HIGH, type.shape.rank) : NULL;
    if (!high) return false;
    for (int i = 0; i < type.shape.rank; i++) {
        int64_t *dim = &type.shape.dims[i];
        if (low[i] < 0 || high[i] < 0) {
            return col_op_fault(node, diags, "axis %d is padded by %lld and %lld; to cut, use 'slice'", i,
                                (long long)low[i], (long long)high[i]);
        }
        if (__builtin_add_overflow(*dim, low[i], dim) || __builtin_add_overflow(*dim, high[i], dim)) {
            return col_op_fault(node, diags, "the result is too large to count in bytes");
        }
    }
    return col_op_result(node, 0, type.dtype, type.shape);
}

/* --- gradients ---------------------------------------------------------------------------------------- */

void col_grad_reshape(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                      col_value **dx)
{
    (void)wanted;
    dx[0] = col_build_reshape(b, dy[0], operand_type(node, 0).shape);
}

void col_grad_transpose(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                        col_value **dx)
{
    (void)wanted;
    int64_t inverse[COL_MAX_RANK];
    int count;
    const int64_t *perm = col_node_ints(node, COL_ATTR_PERM, &count);
    for (int i = 0; i < count; i++) inverse[perm[i]] = i;
    dx[0] = col_build_transpose(b, dy[0], inverse);
}

void col_grad_broadcast(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                        col_value **dx)
{
    (void)wanted;
    dx[0] = col_build_sum_to(b, dy[0], operand_type(node, 0).shape);
}

static col_value *build_pad(col_builder *b, col_value *x, const int64_t *low, const int64_t *high)
{
    int rank = x->type.shape.rank;
    col_attr attrs[] = {col_attr_ints(COL_ATTR_LOW, rank, low), col_attr_ints(COL_ATTR_HIGH, rank, high)};
    return &col_build(b, COL_OP_PAD, 1, &x, 2, attrs)->results[0];
}

void col_grad_slice(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    (void)wanted;
    col_shape shape = operand_type(node, 0).shape;
    int64_t after[COL_MAX_RANK];
    int count;
    const int64_t *starts = col_node_ints(node, COL_ATTR_STARTS, &count);
    const int64_t *stops = col_node_ints(node, COL_ATTR_STOPS, &count);
    for (int i = 0; i < count; i++) after[i] = shape.dims[i] - stops[i];
    dx[0] = build_pad(b, dy[0], starts, after);
}

void col_grad_split(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    (void)wanted;
    int axis = col_node_axis(node, operand_type(node, 0).shape);
    uint32_t parts = node->result_count;
    if (parts == 1) {
        dx[0] = dy[0];
        return;
    }
    int limit = col_op_info_of(COL_OP_CONCAT)->operands_max;
    for (uint32_t first = 0; first < parts; first += (uint32_t)limit) {
        col_value *run[64];
        uint32_t count = COL_MIN((uint32_t)limit, parts - first);
        for (uint32_t i = 0; i < count; i++) {
            col_value *part = dy[first + i];
            run[i] = part ? part : col_build_full(b, 0, node->results[first + i].type);
        }
        col_value *joined = col_build_concat(b, count, run, axis);
        dx[0] = dx[0] ? col_build_concat(b, 2, (col_value *[]){dx[0], joined}, axis) : joined;
    }
}

/* A run of one axis. */
static col_value *cut(col_builder *b, col_value *x, int axis, int64_t start, int64_t size)
{
    int64_t starts[COL_MAX_RANK] = {0}, stops[COL_MAX_RANK];
    for (int i = 0; i < x->type.shape.rank; i++) stops[i] = x->type.shape.dims[i];
    starts[axis] = start;
    stops[axis] = start + size;
    return col_build_slice(b, x, starts, stops);
}

void col_grad_concat(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    int axis = col_node_axis(node, operand_type(node, 0).shape);
    int64_t start = 0;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        int64_t size = operand_type(node, i).shape.dims[axis];
        if (wanted[i]) dx[i] = cut(b, dy[0], axis, start, size);
        start += size;
    }
}

void col_grad_pad(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    (void)wanted;
    col_shape shape = operand_type(node, 0).shape;
    int64_t stops[COL_MAX_RANK];
    int count;
    const int64_t *low = col_node_ints(node, COL_ATTR_LOW, &count);
    for (int i = 0; i < count; i++) stops[i] = low[i] + shape.dims[i];
    dx[0] = count ? col_build_slice(b, dy[0], low, stops) : dy[0];
}

/* --- index maps ------------------------------------------------------------------------------------------
 * The evaluation below does not use them: it is what the code made by way of them is checked against. */

static col_view_map same_place(int rank)
{
    col_view_map map = {0};
    for (int k = 0; k < rank; k++) map.from[k] = k;
    return map;
}

bool col_view_map_reshape(const col_node *node, uint32_t result, col_view_map *out)
{
    (void)node, (void)result, (void)out;
    return false;
}

bool col_view_map_transpose(const col_node *node, uint32_t result, col_view_map *out)
{
    int count;
    const int64_t *perm = col_node_ints(node, COL_ATTR_PERM, &count);
    (void)result;
    *out = same_place(count);
    for (int i = 0; i < count; i++) out->from[perm[i]] = i;
    return true;
}

bool col_view_map_broadcast(const col_node *node, uint32_t result, col_view_map *out)
{
    col_shape from = operand_type(node, 0).shape, to = node->results[result].type.shape;
    *out = same_place(from.rank);
    for (int k = 0; k < from.rank; k++) {
        int dim = to.rank - from.rank + k;
        out->from[k] = from.dims[k] == to.dims[dim] ? dim : -1;
    }
    return true;
}

bool col_view_map_slice(const col_node *node, uint32_t result, col_view_map *out)
{
    int count;
    const int64_t *starts = col_node_ints(node, COL_ATTR_STARTS, &count);
    (void)result;
    *out = same_place(count);
    for (int k = 0; k < count; k++) out->start[k] = starts[k];
    return true;
}

bool col_view_map_split(const col_node *node, uint32_t result, col_view_map *out)
{
    col_shape part = node->results[result].type.shape;
    int axis = col_node_axis(node, part);
    *out = same_place(part.rank);
    out->start[axis] = (int64_t)result * part.dims[axis];
    return true;
}

/* --- splitting over a mesh ---------------------------------------------------------------------------- */

void col_relate_reshape(col_factors *f, const col_node *node)
{
    col_factors_regroup(f, col_operand_slot(node, 0), 0, operand_type(node, 0).shape.rank,
                        col_result_slot(node, 0), 0, node->results[0].type.shape.rank);
}

void col_relate_transpose(col_factors *f, const col_node *node)
{
    int count;
    const int64_t *perm = col_node_ints(node, COL_ATTR_PERM, &count);
    for (int i = 0; i < count; i++)
        col_factors_same(f, col_operand_slot(node, 0), (int)perm[i], col_result_slot(node, 0), i);
}

/* Of every operand and result of one rank, slice to update_slice: dimensions of equal size are the same, the
 * others are whole. */
void col_relate_resize(col_factors *f, const col_node *node)
{
    for (uint32_t r = 0; r < node->result_count; r++) {
        col_shape made = node->results[r].type.shape;
        for (uint32_t i = 0; i < node->operand_count; i++) {
            col_shape shape = operand_type(node, i).shape;
            for (int d = 0; d < made.rank && shape.rank == made.rank; d++) {
                if (shape.dims[d] != made.dims[d])
                    col_factors_whole(f, col_result_slot(node, r), d);
                else
                    col_factors_same(f, col_operand_slot(node, i), d, col_result_slot(node, r), d);
            }
        }
    }
}

/* --- reference evaluation ----------------------------------------------------------------------------- */

void col_eval_reshape(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    (void)node;
    memcpy(results[0].data, operands[0].data,
           sizeof(double) * (size_t)col_shape_numel(results[0].type.shape));
}

void col_eval_transpose(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    int64_t own[COL_MAX_RANK], from[COL_MAX_RANK], to[COL_MAX_RANK];
    int count;
    const int64_t *perm = col_node_ints(node, COL_ATTR_PERM, &count);
    col_shape_strides(operands[0].type.shape, own);
    col_shape_strides(results[0].type.shape, to);
    for (int i = 0; i < count; i++) from[i] = own[perm[i]];
    col_walk(results[0].type.shape, results[0].data, to, operands[0].data, from, COL_WALK_SET);
}

void col_eval_broadcast(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    (void)node;
    int64_t from[COL_MAX_RANK], to[COL_MAX_RANK];
    col_broadcast_strides(operands[0].type.shape, results[0].type.shape, from);
    col_shape_strides(results[0].type.shape, to);
    col_walk(results[0].type.shape, results[0].data, to, operands[0].data, from, COL_WALK_SET);
}

void col_eval_slice(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    int64_t from[COL_MAX_RANK], to[COL_MAX_RANK], offset = 0;
    int count;
    const int64_t *starts = col_node_ints(node, COL_ATTR_STARTS, &count);
    col_shape_strides(operands[0].type.shape, from);
    col_shape_strides(results[0].type.shape, to);
    for (int i = 0; i < count; i++) offset += starts[i] * from[i];
    col_walk(results[0].type.shape, results[0].data, to, operands[0].data + offset, from, COL_WALK_SET);
}

void col_eval_split(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    int axis = col_node_axis(node, operands[0].type.shape);
    int64_t from[COL_MAX_RANK], to[COL_MAX_RANK];
    col_shape_strides(operands[0].type.shape, from);
    for (uint32_t i = 0; i < node->result_count; i++) {
        col_shape part = results[i].type.shape;
        col_shape_strides(part, to);
        col_walk(part, results[i].data, to, operands[0].data + (int64_t)i * part.dims[axis] * from[axis],
                 from, COL_WALK_SET);
    }
}

void col_eval_concat(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    int axis = col_node_axis(node, operands[0].type.shape);
    int64_t from[COL_MAX_RANK], to[COL_MAX_RANK], start = 0;
    col_shape_strides(results[0].type.shape, to);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        col_shape part = operands[i].type.shape;
        col_shape_strides(part, from);
        col_walk(part, results[0].data + start * to[axis], to, operands[i].data, from, COL_WALK_SET);
        start += part.dims[axis];
    }
}

void col_eval_pad(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    int64_t from[COL_MAX_RANK], to[COL_MAX_RANK], offset = 0;
    int count;
    const int64_t *low = col_node_ints(node, COL_ATTR_LOW, &count);
    col_shape_strides(operands[0].type.shape, from);
    col_shape_strides(results[0].type.shape, to);
    for (int i = 0; i < count; i++) offset += low[i] * to[i];
    col_fill(results[0], col_node_float(node, COL_ATTR_VALUE));
    col_walk(operands[0].type.shape, results[0].data + offset, to, operands[0].data, from, COL_WALK_SET);
}
