/* Turns off what only training does: dropout, and the dropout inside attention.
 *
 * needs     composites not yet lowered
 * provides  no op that draws random numbers for regularisation
 * breaks    nothing */
#include "passes/pass.h"

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
        }
    }
    return NULL;
}
