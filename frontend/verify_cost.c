#include "frontend/verify.h"

#include "ir/einsum.h"
#include "ir/window.h"

/* Of the reference evaluator on one core: multiply-adds of its matrix product, elements of anything else. */
static const double product_rate = 2.5e9, element_seconds = 6e-9;
static const double conv_cost = 3; /* of a multiply-add of a convolution, which looks its place up */

static double numel(const col_value *value)
{
    return (double)col_shape_numel(value->type.shape);
}

static double node_seconds(const col_node *node)
{
    double elements = 0;
    for (uint32_t i = 0; i < node->operand_count; i++) elements += numel(col_node_operand(node, i));
    for (uint32_t i = 0; i < node->result_count; i++) elements += numel(&node->results[i]);
    double products = 0;
    if (col_op_info_of(node->op)->op_class == COL_CLASS_CONTRACTION || node->op == COL_OP_EINSUM_ADD) {
        col_einsum e = col_einsum_of(node);
        products = numel(&node->results[0]) * (double)col_einsum_size(&e, e.inner);
    } else if (node->op == COL_OP_ATTENTION || node->op == COL_OP_ATTENTION_GRAD ||
               node->op == COL_OP_ATTENTION_CACHED) {
        double pairs =
            numel(col_node_operand(node, 0)) * (double)col_node_operand(node, 1)->type.shape.dims[1];
        products = pairs * (node->op == COL_OP_ATTENTION_GRAD ? 5 : 2);
    } else if (node->op == COL_OP_CONV || node->op == COL_OP_CONV_GRAD_INPUT ||
               node->op == COL_OP_CONV_GRAD_WEIGHT) {
        products = conv_cost * col_window_flops(node) / 2;
    }
    return products / product_rate + elements * element_seconds;
}

/* Follows col_evaluate: a value lives from its node to its last use, or to the end as an output. */
col_verify_cost col_verify_estimate(const col_graph *graph)
{
    col_verify_cost cost = {0};
    col_arena *arena = col_arena_create();
    uint32_t *uses = COL_NEW_ARRAY(arena, uint32_t, graph->next_value_id);
    double live = 0, peak = 0, fixed = 0;
    COL_FOR_EACH_NODE (node, graph) {
        for (uint32_t i = 0; i < node->operand_count; i++) uses[col_node_operand(node, i)->id]++;
    }
    for (size_t i = 0; i < graph->outputs.len; i++) {
        uses[graph->outputs.data[i].value->id]++;
        fixed += 8 * numel(graph->outputs.data[i].value); /* the copy that is handed out */
    }
    for (size_t i = 0; i < graph->vars.len; i++) {
        uses[graph->vars.data[i]->value->id] = UINT32_MAX; /* never freed */
        fixed += 8 * numel(graph->vars.data[i]->value);
    }
    COL_FOR_EACH_NODE (node, graph) {
        cost.seconds += node_seconds(node);
        for (uint32_t i = 0; i < node->result_count; i++) live += 8 * numel(&node->results[i]);
        peak = COL_MAX(peak, live);
        /* An assigned value is held, and copied when all are written. */
        if (node->op == COL_OP_ASSIGN) fixed += 8 * numel(col_node_operand(node, 0));
        for (uint32_t i = 0; i < node->operand_count && node->op != COL_OP_ASSIGN; i++) {
            const col_value *value = col_node_operand(node, i);
            if (uses[value->id] != UINT32_MAX && --uses[value->id] == 0) live -= 8 * numel(value);
        }
        for (uint32_t i = 0; i < node->result_count; i++) {
            if (!uses[node->results[i].id]) live -= 8 * numel(&node->results[i]);
        }
    }
    cost.bytes = peak + fixed;
    col_arena_destroy(arena);
    return cost;
}
