/* Matrix products with what a library does to their result before it is stored (passes/epilogue.c). The first two
 * operands and the attribute `equation` are einsum's. */
#include "ir/ops/family.h"

/* Operand 2 has the shape that stands last in the result's. */
static bool want_bias(const col_node *node, col_diags *diags)
{
    col_shape result = node->results[0].type.shape, bias = operand_type(node, 2).shape;
    if (!col_op_want_same(node, diags, 0, 2)) return false;
    for (int d = 0; bias.rank <= result.rank && d < bias.rank; d++) {
        if (bias.dims[d] != result.dims[result.rank - bias.rank + d]) bias.rank = COL_MAX_RANK + 1;
    }
    if (bias.rank <= result.rank) return true;
    return col_op_fault(node, diags, "the bias, %s, does not fit the last dimensions of the product, %s",
                        col_op_type_text(diags, operand_type(node, 2)),
                        col_op_type_text(diags, node->results[0].type));
}

bool col_infer_product_bias(col_node *node, col_diags *diags)
{
    return col_infer_einsum(node, diags) && want_bias(node, diags);
}

bool col_infer_product_gelu(col_node *node, col_diags *diags)
{
    if (!col_infer_product_bias(node, diags)) return false;
    return col_op_result(node, 1, node->results[0].type.dtype, node->results[0].type.shape);
}

bool col_infer_product_gelu_grad(col_node *node, col_diags *diags)
{
    if (!col_infer_einsum(node, diags) || !col_op_want_same(node, diags, 0, 2)) return false;
    if (col_shape_equal(node->results[0].type.shape, operand_type(node, 2).shape)) return true;
    return col_op_fault(node, diags, "what GELU was taken of, %s, has not the shape of the product, %s",
                        col_op_type_text(diags, operand_type(node, 2)),
                        col_op_type_text(diags, node->results[0].type));
}

void col_eval_product_bias(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_eval_einsum(node, operands, results);
    int64_t strides[COL_MAX_RANK], own[COL_MAX_RANK];
    col_shape shape = results[0].type.shape;
    col_shape_strides(shape, own);
    col_broadcast_strides(operands[2].type.shape, shape, strides);
    col_walk(shape, results[0].data, own, operands[2].data, strides, COL_WALK_ADD);
}

void col_eval_product_gelu(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_tensor before = results[1];
    col_eval_product_bias(node, operands, &before);
    int64_t count = col_shape_numel(before.type.shape);
    for (int64_t i = 0; i < count; i++) results[0].data[i] = op_gelu_tanh(before.data[i]);
}

void col_eval_product_gelu_grad(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_eval_einsum(node, operands, results);
    int64_t count = col_shape_numel(results[0].type.shape);
    for (int64_t i = 0; i < count; i++) results[0].data[i] *= op_gelu_tanh_slope(operands[2].data[i]);
}

/* --- what they are made of ---------------------------------------------------------------------------- */

static col_value *bare(col_builder *b, const col_node *node)
{
    return col_build_einsum(b, col_node_text(node, COL_ATTR_EQUATION), col_node_operand(node, 0),
                            col_node_operand(node, 1));
}

void col_lower_product_bias(col_builder *b, col_node *node, col_value **out)
{
    out[0] = op_add(b, bare(b, node), col_node_operand(node, 2));
}

void col_lower_product_gelu(col_builder *b, col_node *node, col_value **out)
{
    col_lower_product_bias(b, node, &out[1]);
    out[0] = col_build_unary(b, COL_OP_GELU_TANH, out[1]);
}

void col_lower_product_gelu_grad(col_builder *b, col_node *node, col_value **out)
{
    out[0] = op_gelu_tanh_gradient(b, col_node_operand(node, 2), bare(b, node));
}
