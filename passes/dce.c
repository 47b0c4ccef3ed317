/* Dead code elimination: one sweep backward removes every node whose results nothing uses.
 *
 * needs     a sound graph
 * provides  every node reaches an output or an assignment
 * breaks    nothing
 *
 * One sweep suffices: a node's users stand after it, so they are gone by the time it is reached. */
#include "passes/pass.h"

static bool is_live(const col_graph *graph, const col_node *node)
{
    if (col_op_info_of(node->op)->op_class == COL_CLASS_STATE) return true;
    for (uint32_t i = 0; i < node->result_count; i++) {
        if (col_value_has_uses(&node->results[i]) || col_value_is_output(graph, &node->results[i]))
            return true;
    }
    return false;
}

col_status col_pass_dce(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    for (col_node *node = graph->last, *prev; node; node = prev) {
        prev = node->prev;
        if (!is_live(graph, node)) col_graph_remove(node);
    }
    return NULL;
}
