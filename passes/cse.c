/* Common subexpression elimination: value numbering in one sweep.
 *
 * needs     a sound graph
 * provides  no two nodes with equal op, operands and attributes
 * breaks    nothing; the earlier node stays, with its scope and phase
 *
 * Operands are replaced as their producers merge, so equal trees merge bottom-up in the same sweep. Random
 * ops carry their stream in `salt`, so only draws of the same stream merge. */
#include "passes/pass.h"

typedef struct bucket {
    col_node *node;
    struct bucket *next;
} bucket;

col_status col_pass_cse(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    col_arena *scratch = col_arena_create();
    size_t slots = 64;
    while (slots < graph->node_count * 2) slots *= 2;
    bucket **table = COL_NEW_ARRAY(scratch, bucket *, slots);
    COL_FOR_EACH_NODE_SAFE (node, graph) {
        if (col_op_info_of(node->op)->op_class == COL_CLASS_STATE) continue;
        bucket **slot = &table[col_node_hash(node) & (slots - 1)];
        bucket *same = *slot;
        while (same && !col_node_equal(same->node, node)) same = same->next;
        if (!same) {
            bucket *added = COL_NEW(scratch, bucket);
            *added = (bucket){node, *slot};
            *slot = added;
            continue;
        }
        for (uint32_t i = 0; i < node->result_count; i++) {
            col_value_replace(graph, &node->results[i], &same->node->results[i]);
        }
        col_graph_remove(node);
    }
    col_arena_destroy(scratch);
    return NULL;
}
