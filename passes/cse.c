/* Common subexpression elimination: value numbering in one sweep.
 *
 * needs     a sound graph
 * provides  no two nodes with equal op, operands and attributes
 * breaks    nothing; the earlier node stays, with its scope and phase
 *
 * Collectives merge within a phase only: what one made in the forward pass would otherwise wait for the
 * backward pass.
 *
 * What is computed again merges within its turn only: merged with what it repeats, that would be kept for it.
 *
 * A value that a node overwrites stays its own.
 *
 * Operands are replaced as their producers merge, so equal trees merge bottom-up in the same sweep. Random
 * ops carry their stream in `salt`, so only draws of the same stream merge. */
#include "passes/pass.h"

#include "ir/view.h"

typedef struct bucket {
    col_node *node;
    struct bucket *next;
} bucket;

static bool is_overwritten(const col_node *node)
{
    for (uint32_t i = 0; i < node->result_count; i++) {
        COL_FOR_EACH_USE (use, &node->results[i]) {
            if (use->index == 0 && col_node_overwrites(use->user)) return true;
        }
    }
    return false;
}

static bool can_merge(const col_node *first, const col_node *node)
{
    bool communicates = col_node_attr(node, COL_ATTR_MESH_AXES) != NULL;
    return first->turn == node->turn && col_node_equal(first, node) &&
           (!communicates || first->phase == node->phase) && !is_overwritten(first) && !is_overwritten(node);
}

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
        while (same && !can_merge(same->node, node)) same = same->next;
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
