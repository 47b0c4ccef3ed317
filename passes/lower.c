/* Replaces composite ops (softmax, layer_norm, gelu, cross_entropy, ...) by primitives, as the op table's
 * `lower` functions spell them out.
 *
 * needs     autodiff done: gradients of composites are better than those of their parts
 * provides  only primitive ops
 * breaks    nothing */
#include "passes/pass.h"

col_status col_pass_lower(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    col_builder b = {.graph = graph};
    for (col_node *node = graph->first, *next; node; node = next) {
        next = node->next;
        col_lower_fn lower = col_op_info_of(node->op)->lower;
        if (!lower) continue;
        col_node *before = node->prev;
        col_value *results[8] = {0};
        COL_ASSERT(node->result_count <= COL_COUNT(results));
        col_builder_at(&b, node);
        lower(&b, node, results);
        for (uint32_t i = 0; i < node->result_count; i++) {
            if (results[i]) col_value_replace(graph, &node->results[i], results[i]);
        }
        /* The new nodes stand before `node` and may be composites themselves: look at them next. */
        next = before ? before->next : graph->first;
        if (next == node) next = node->next;
        col_graph_remove(node);
    }
    return NULL;
}
