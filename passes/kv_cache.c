/* Makes a causal model incremental: keys and values of earlier positions are kept in states, so that a
 * program over a few new tokens gives what the whole sequence would.
 *
 * needs     inference; causal attention without mask; options->cache_length
 * provides  input `position` (i32, the position of the first new token) and, per attention, states
 *           "cache.N.k" and "cache.N.v" [batch, cache_length, heads, size]; position_ids count from
 *           `position`
 * breaks    differentiability */
#include "passes/pass.h"

static col_value *append(col_builder *b, const char *name, col_value *rows, col_value *position,
                         int64_t length)
{
    col_type type = rows->type;
    type.shape.dims[1] = length;
    col_var *cache = col_graph_add_var(b->graph, COL_VAR_STATE, name, type, (col_init){0}, b->loc);
    col_attr axis = col_attr_int(COL_ATTR_AXIS, 1);
    col_node *node =
        col_build(b, COL_OP_UPDATE_SLICE, 3, (col_value *[]){cache->value, rows, position}, 1, &axis);
    col_build_assign(b, cache, &node->results[0]);
    return &node->results[0];
}

static col_status cache_attention(col_builder *b, col_node *node, int index, col_value *position,
                                  int64_t length)
{
    const char *scope = *node->scope ? node->scope : "attention";
    if (!col_node_int(node, COL_ATTR_CAUSAL) || node->operand_count != 3) {
        return col_error_make(COL_BAD_INPUT,
                              "'%s': text can be generated with causal attention without a mask only", scope);
    }
    if (col_value_has_uses(&node->results[1])) {
        return col_error_make(COL_BAD_INPUT,
                              "'%s': the log-sum-exp of attention is not there when generating", scope);
    }
    int64_t rows = col_node_operand(node, 0)->type.shape.dims[1];
    if (rows > length || col_node_operand(node, 1)->type.shape.dims[1] != rows) {
        return col_error_make(COL_BAD_INPUT, "'%s': %lld new positions do not fit a cache of %lld", scope,
                              (long long)rows, (long long)length);
    }
    col_arena *arena = b->graph->arena;
    col_value *k =
        append(b, col_arena_printf(arena, "cache.%d.k", index), col_node_operand(node, 1), position, length);
    col_value *v =
        append(b, col_arena_printf(arena, "cache.%d.v", index), col_node_operand(node, 2), position, length);
    col_attr scale = col_attr_float(COL_ATTR_SCALE, col_node_float(node, COL_ATTR_SCALE));
    col_value *operands[] = {col_node_operand(node, 0), k, v, position};
    col_node *made = col_build(b, COL_OP_ATTENTION_CACHED, 4, operands, 1, &scale);
    col_value_replace(b->graph, &node->results[0], &made->results[0]);
    col_graph_remove(node);
    return NULL;
}

static void count_from(col_builder *b, col_node *node, col_value *position)
{
    col_node *made = col_build(b, COL_OP_POSITION_IDS, 1, &position, node->attr_count, node->attrs);
    col_value_replace(b->graph, &node->results[0], &made->results[0]);
    col_graph_remove(node);
}

col_status col_pass_kv_cache(col_graph *graph, const col_pass_options *options)
{
    if (col_graph_find_var(graph, "position")) {
        return col_error_make(
            COL_BAD_INPUT, "the model has a variable 'position', which the key-value cache needs: rename it");
    }
    col_var *position = col_graph_add_var(graph, COL_VAR_INPUT, "position", (col_type){.dtype = COL_I32},
                                          (col_init){0}, (col_loc){0});
    col_builder b = {0};
    int caches = 0;
    COL_FOR_EACH_NODE_SAFE (node, graph) {
        col_builder_at(&b, node);
        if (node->op == COL_OP_ATTENTION) {
            COL_TRY(cache_attention(&b, node, caches++, position->value, options->cache_length));
        } else if (node->op == COL_OP_POSITION_IDS && node->operand_count == 0) {
            count_from(&b, node, position->value);
        }
    }
    if (!caches)
        return col_error_make(COL_BAD_INPUT, "the model has no attention: text cannot be generated with it");
    return NULL;
}
