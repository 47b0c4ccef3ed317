/* Sources: constants (one value repeated), index ramps, uniform random numbers. */
#include "ir/factors.h"
#include "ir/ops/family.h"

#include "ir/base/philox.h"

#include <math.h>

bool col_infer_constant(col_node *node, col_diags *diags)
{
    col_shape shape;
    col_dtype dtype;
    if (!col_op_shape(node, diags, &shape) || !col_op_dtype(node, diags, &dtype)) return false;
    double value = col_node_float(node, COL_ATTR_VALUE);
    if (!col_dtype_holds(dtype, value))
        return col_op_fault(node, diags, "%g is not a value of %s", value, col_dtype_name(dtype));
    return col_op_result(node, 0, dtype, shape);
}

bool col_infer_iota(col_node *node, col_diags *diags)
{
    col_shape shape;
    col_dtype dtype;
    int axis;
    if (!col_op_shape(node, diags, &shape) || !col_op_dtype(node, diags, &dtype) ||
        !col_op_axis(node, diags, shape, &axis))
        return false;
    if (!col_dtype_is_arithmetic(dtype))
        return col_op_fault(node, diags, "counting needs i32, i64 or a floating-point type, not %s",
                            col_dtype_name(dtype));
    return col_op_result(node, 0, dtype, shape);
}

bool col_infer_random_uniform(col_node *node, col_diags *diags)
{
    col_shape shape;
    if (!col_op_want_generator(node, diags, 0) || !col_op_salt(node, diags) ||
        !col_op_shape(node, diags, &shape))
        return false;
    bool is_block = col_node_attr(node, COL_ATTR_WHOLE) != NULL;
    if (is_block && !col_op_block(node, diags, 1, shape)) return false;
    if (!is_block && node->operand_count > 1)
        return col_op_fault(node, diags, "operand 2 has no meaning without 'whole'");
    return col_op_result(node, 0, COL_F32, shape);
}

bool col_infer_position_ids(col_node *node, col_diags *diags)
{
    col_shape shape;
    if (!col_op_shape(node, diags, &shape)) return false;
    if (!shape.rank)
        return col_op_fault(node, diags, "the shape needs at least one dimension, to count along");
    if (node->operand_count && (!col_op_want_dtype(node, diags, 0, "the start", COL_I32) ||
                                !col_op_want_rank(node, diags, 0, "the start", 0)))
        return false;
    return col_op_result(node, 0, COL_I32, shape);
}

/* start + index along the last axis */
void col_lower_position_ids(col_builder *b, col_node *node, col_value **out)
{
    col_type type = node->results[0].type;
    out[0] = col_build_iota(b, type, type.shape.rank - 1);
    if (node->operand_count) out[0] = op_add(b, out[0], col_node_operand(node, 0));
}

void col_eval_constant(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    (void)operands;
    col_fill(results[0], col_node_float(node, COL_ATTR_VALUE));
}

/* start + index along an axis */
static void count_along(col_tensor result, int axis, double start)
{
    int64_t strides[COL_MAX_RANK], count = col_shape_numel(result.type.shape);
    col_shape_strides(result.type.shape, strides);
    for (int64_t i = 0; i < count; i++) {
        result.data[i] = start + (double)(i / strides[axis] % result.type.shape.dims[axis]);
    }
}

void col_eval_iota(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    (void)operands;
    count_along(results[0], col_node_axis(node, results[0].type.shape), 0);
}

void col_eval_position_ids(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    count_along(results[0], results[0].type.shape.rank - 1, node->operand_count ? operands[0].data[0] : 0);
}

double col_eval_uniform(const col_node *node, col_tensor generator, int64_t index)
{
    return col_philox_at((uint64_t)(int64_t)generator.data[0], (uint32_t)(int64_t)generator.data[1],
                         (uint32_t)col_node_int(node, COL_ATTR_SALT), (uint64_t)index);
}

void col_eval_random_uniform(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_shape shape = results[0].type.shape;
    int64_t strides[COL_MAX_RANK], own[COL_MAX_RANK], count = col_shape_numel(shape);
    int64_t first = col_eval_block(node, operands, shape, strides);
    col_shape_strides(shape, own);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = first;
        for (int d = 0; d < shape.rank; d++) at += i / own[d] % shape.dims[d] * strides[d];
        results[0].data[i] = col_eval_uniform(node, operands[0], at);
    }
}

/* Nothing relates: results are made from their indices, variables from what they are given. */
void col_relate_free(col_factors *f, const col_node *node)
{
    (void)f;
    (void)node;
}

void col_relate_random_uniform(col_factors *f, const col_node *node)
{
    for (int d = 0; d < node->results[0].type.shape.rank; d++)
        col_factors_whole(f, col_result_slot(node, 0), d);
}

/* Counting begins where the rank's block does. */
void col_local_iota(col_local *l, const col_node *node, col_value *const *operands, col_value **out)
{
    col_type type = node->results[0].type;
    int axis = col_node_axis(node, type.shape);
    col_layout layout = col_factors_result_layout(l->f, l->strategy, &node->results[0]);
    col_value *start = col_local_start(l, &layout, type.shape.dims[axis], axis);
    if (!start) {
        col_local_plain(l, node, operands, out);
        return;
    }
    /* In integers: halves of a ramp would round before they are added. */
    col_type counted = {col_dtype_is_integer(type.dtype) ? type.dtype : COL_I32,
                        col_local_shape(l, &layout, type.shape)};
    col_value *ramp = col_build_iota(l->b, counted, axis);
    out[0] = col_build_cast(l->b, op_add(l->b, ramp, col_build_cast(l->b, start, counted.dtype)), type.dtype);
}

void col_local_random_uniform(col_local *l, const col_node *node, col_value *const *operands, col_value **out)
{
    col_layout layout = col_factors_result_layout(l->f, l->strategy, &node->results[0]);
    col_local_block(l, node, operands, &layout, node->results[0].type.shape, out);
}
