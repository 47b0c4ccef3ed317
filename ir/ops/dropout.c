/* Dropout: an element is kept and divided by 1 - rate where its uniform number is >= rate (rounded to f32),
 * else it is 0. The gradient is the dropout of the gradient: the same salt gives the same mask, and no mask
 * is stored. */
#include "ir/ops/family.h"

bool col_infer_dropout(col_node *node, col_diags *diags)
{
    col_type x = operand_type(node, 0);
    return col_op_want_float(node, diags, 0, "the operand") && col_op_want_generator(node, diags, 1) &&
           col_op_rate(node, diags) && col_op_salt(node, diags) && col_op_result(node, 0, x.dtype, x.shape);
}

static col_attr rate_of(const col_node *node)
{
    return col_attr_float(COL_ATTR_RATE, col_node_float(node, COL_ATTR_RATE));
}

static col_attr salt_of(const col_node *node)
{
    return col_attr_int(COL_ATTR_SALT, col_node_int(node, COL_ATTR_SALT));
}

void col_grad_dropout(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                      col_value **dx)
{
    (void)wanted;
    col_attr attrs[] = {rate_of(node), salt_of(node)};
    dx[0] = &col_build(b, COL_OP_DROPOUT, 2, (col_value *[]){dy[0], col_node_operand(node, 1)}, 2, attrs)
                 ->results[0];
}

void col_lower_dropout(col_builder *b, col_node *node, col_value **out)
{
    col_value *x = col_node_operand(node, 0), *generator = col_node_operand(node, 1);
    double rate = col_node_float(node, COL_ATTR_RATE);
    if (rate == 0) {
        out[0] = x;
        return;
    }
    col_attr attrs[] = {col_attr_ints(COL_ATTR_SHAPE, x->type.shape.rank, x->type.shape.dims), salt_of(node)};
    col_value *uniform = &col_build(b, COL_OP_RANDOM_UNIFORM, 1, &generator, 2, attrs)->results[0];
    col_value *kept = col_build_binary(b, COL_OP_GE, uniform, op_like(b, (float)rate, uniform));
    out[0] = col_build_where(b, kept, op_scale(b, x, 1 / (1 - rate)), op_like(b, 0, x));
}

void col_eval_dropout(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    double rate = col_node_float(node, COL_ATTR_RATE);
    int64_t count = col_shape_numel(results[0].type.shape);
    for (int64_t i = 0; i < count; i++) {
        bool kept = col_eval_uniform(node, operands[1], i) >= (float)rate;
        results[0].data[i] = kept ? operands[0].data[i] / (1 - rate) : 0;
    }
}
