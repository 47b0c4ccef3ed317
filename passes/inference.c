/* Turns off what only training does: dropout, the dropout inside attention, and the statistics of batch
 * normalisation, whose running values take the place of the batch's and stay as they are.
 *
 * needs     composites not yet lowered
 * provides  no op that draws random numbers for regularisation, no batch_norm
 * breaks    nothing */
#include "passes/pass.h"

#include <string.h>

#include "ir/ops/family.h"

static void drop_attention_rate(col_builder *b, col_node *node)
{
    col_value *operands[8];
    col_attr attrs[COL_ATTR_COUNT];
    bool is_block = col_node_attr(node, COL_ATTR_WHOLE) != NULL;
    uint32_t attr_count = 0,
             operand_count = node->operand_count - (is_block ? 2 : 1); /* what drops is last */
    for (uint32_t i = 0; i < operand_count; i++) operands[i] = col_node_operand(node, i);
    for (uint32_t i = 0; i < node->attr_count; i++) {
        col_attr_key key = node->attrs[i].key;
        if (key != COL_ATTR_RATE && key != COL_ATTR_SALT && key != COL_ATTR_WHOLE)
            attrs[attr_count++] = node->attrs[i];
    }
    col_node *made = col_build(b, node->op, operand_count, operands, attr_count, attrs);
    for (uint32_t i = 0; i < node->result_count; i++)
        col_value_replace(b->graph, &node->results[i], &made->results[i]);
    col_graph_remove(node);
}

/* [c] as [c, 1, ...], which lines up with x [n, c, ...]. */
static col_value *line_up(col_builder *b, col_value *v, col_shape x)
{
    col_shape shape = {.rank = x.rank - 1, .dims = {x.dims[1]}};
    for (int i = 1; i < shape.rank; i++) shape.dims[i] = 1;
    return col_build_reshape(b, v, shape);
}

/* y = x slope + shift, with slope = weight / sqrt(running variance + eps), shift = bias - running mean slope.
 */
static void use_running_values(col_builder *b, col_node *node)
{
    col_value *x = op_wide(b, col_node_operand(node, 0)), *mean = op_wide(b, col_node_operand(node, 3));
    col_value *variance = op_wide(b, col_node_operand(node, 4));
    col_value *rstd =
        col_build_unary(b, COL_OP_RSQRT, op_shift(b, variance, col_node_float(node, COL_ATTR_EPS)));
    col_value *slope = op_mul(b, rstd, op_wide(b, col_node_operand(node, 1)));
    col_value *shift = op_sub(b, op_wide(b, col_node_operand(node, 2)), op_mul(b, mean, slope));
    col_shape shape = x->type.shape;
    col_value *y = op_add(b, op_mul(b, x, line_up(b, slope, shape)), line_up(b, shift, shape));
    col_value *results[] = {col_build_cast(b, y, node->results[0].type.dtype), mean, rstd,
                            col_node_operand(node, 3), col_node_operand(node, 4)};
    for (uint32_t i = 0; i < COL_COUNT(results); i++)
        col_value_replace(b->graph, &node->results[i], results[i]);
    col_graph_remove(node);
}

static bool assigns_itself(const col_node *node)
{
    const col_var *var = col_node_operand(node, 0)->var;
    return var && !strcmp(var->name, col_node_text(node, COL_ATTR_VARIABLE));
}

col_status col_pass_inference(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    col_builder b = {0};
    COL_FOR_EACH_NODE_SAFE (node, graph) {
        col_builder_at(&b, node);
        if (node->op == COL_OP_DROPOUT) {
            col_value_replace(graph, &node->results[0], col_node_operand(node, 0));
            col_graph_remove(node);
        } else if (node->op == COL_OP_ATTENTION && col_node_float(node, COL_ATTR_RATE) > 0) {
            drop_attention_rate(&b, node);
        } else if (node->op == COL_OP_BATCH_NORM) {
            use_running_values(&b, node);
        } else if (node->op == COL_OP_ASSIGN && assigns_itself(node)) {
            col_graph_remove(node);
        }
    }
    return NULL;
}
