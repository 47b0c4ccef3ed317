/* Reductions over a list of axes. The gradient of a maximum or minimum is shared evenly among the elements
 * that attain it, as PyTorch's amax and amin do. */
#include "ir/factors.h"
#include "ir/ops/family.h"

#include <math.h>

bool col_infer_reduce(col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    int count;
    const int64_t *axes = col_op_axes(node, diags, COL_ATTR_AXES, type.shape, true, &count);
    if (count < 0) return false;
    if (!col_dtype_is_arithmetic(type.dtype)) {
        return col_op_fault(node, diags, "no reduction of %s; convert it with 'cast'",
                            col_op_type_text(diags, type));
    }
    if (!count) return col_op_fault(node, diags, "'axes' is empty; list the axes to reduce");
    bool keep = col_node_int(node, COL_ATTR_KEEPDIMS) != 0;
    col_shape shape = {0};
    for (int i = 0, next = 0; i < type.shape.rank; i++) {
        bool reduced = next < count && axes[next] == i;
        next += reduced;
        if (reduced && !type.shape.dims[i] && node->op != COL_OP_SUM) {
            return col_op_fault(node, diags, "axis %d of %s has no elements to reduce", i,
                                col_op_type_text(diags, type));
        }
        if (!reduced || keep) shape.dims[shape.rank++] = reduced ? 1 : type.shape.dims[i];
    }
    return col_op_result(node, 0, type.dtype, shape);
}

bool col_infer_float_reduce(col_node *node, col_diags *diags)
{
    return col_op_want_float(node, diags, 0, "the operand") && col_infer_reduce(node, diags);
}

/* The operand's shape with the reduced axes kept as size 1: in which the result lines up with the operand. */
static col_shape aligned_shape(const col_node *node)
{
    col_shape shape = operand_type(node, 0).shape;
    int count;
    const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
    for (int i = 0; i < count; i++) shape.dims[axes[i]] = 1;
    return shape;
}

/* The number of elements that one result reduces. */
static double reduced_count(const col_node *node)
{
    col_shape shape = operand_type(node, 0).shape;
    double reduced = 1;
    int count;
    const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
    for (int i = 0; i < count; i++) reduced *= (double)shape.dims[axes[i]];
    return reduced;
}

void col_grad_sum(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    (void)wanted;
    dx[0] =
        col_build_broadcast(b, col_build_reshape(b, dy[0], aligned_shape(node)), operand_type(node, 0).shape);
}

void col_grad_mean(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    col_value *share = op_scale(b, dy[0], 1 / reduced_count(node));
    col_grad_sum(b, node, &share, wanted, dx);
}

static void grad_extremum(col_builder *b, col_node *node, col_value *dy, col_value **dx)
{
    col_value *x = col_node_operand(node, 0);
    col_shape shape = aligned_shape(node);
    int count;
    const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
    col_value *attained = col_build_cast(
        b, col_build_binary(b, COL_OP_EQ, x, col_build_reshape(b, &node->results[0], shape)), x->type.dtype);
    col_value *ties = col_build_reduce(b, COL_OP_SUM, attained, count, axes, true);
    dx[0] = op_mul(b, attained, op_div(b, col_build_reshape(b, dy, shape), ties));
}

void col_grad_max(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    (void)wanted;
    grad_extremum(b, node, dy[0], dx);
}

void col_grad_min(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    (void)wanted;
    grad_extremum(b, node, dy[0], dx);
}

void col_lower_mean(col_builder *b, col_node *node, col_value **out)
{
    col_value *x = col_node_operand(node, 0);
    int count;
    const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
    bool keep = col_node_int(node, COL_ATTR_KEEPDIMS) != 0;
    col_value *sum = col_build_reduce(b, COL_OP_SUM, op_wide(b, x), count, axes, keep);
    out[0] = col_build_cast(b, op_scale(b, sum, 1 / reduced_count(node)), x->type.dtype);
}

static void eval_reduce(const col_node *node, const col_tensor *operands, col_tensor *results, double start,
                        col_walk_mode mode)
{
    int64_t from[COL_MAX_RANK], to[COL_MAX_RANK];
    col_shape_strides(operands[0].type.shape, from);
    col_broadcast_strides(aligned_shape(node), operands[0].type.shape, to);
    col_fill(results[0], start);
    col_walk(operands[0].type.shape, results[0].data, to, operands[0].data, from, mode);
}

void col_eval_sum(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    eval_reduce(node, operands, results, 0, COL_WALK_ADD);
}

void col_eval_mean(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    eval_reduce(node, operands, results, 0, COL_WALK_ADD);
    int64_t count = col_shape_numel(results[0].type.shape);
    for (int64_t i = 0; i < count; i++) results[0].data[i] /= reduced_count(node);
}

void col_eval_max(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    eval_reduce(node, operands, results, -INFINITY, COL_WALK_MAX);
}

void col_eval_min(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    eval_reduce(node, operands, results, INFINITY, COL_WALK_MIN);
}

void col_relate_reduce(col_factors *f, const col_node *node)
{
    col_slot x = col_operand_slot(node, 0), y = col_result_slot(node, 0);
    bool keep = col_node_int(node, COL_ATTR_KEEPDIMS) != 0;
    int count, rank = operand_type(node, 0).shape.rank;
    const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
    for (int d = 0, at = 0, next = 0; d < rank; d++) {
        bool reduced = next < count && axes[next] == d;
        next += reduced;
        if (reduced)
            col_factors_reduces(f, x, d, y, node->op);
        else
            col_factors_same(f, x, d, y, at);
        at += keep || !reduced;
    }
}
