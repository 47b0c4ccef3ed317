#include "ir/graph.h"

static const char *copy_text(col_arena *arena, const char *text)
{
    return text && *text ? col_arena_strdup(arena, text) : text ? "" : NULL;
}

col_graph *col_graph_clone(const col_graph *graph, col_arena *arena)
{
    col_graph *copy = col_graph_create(arena, graph->name);
    copy->mesh = graph->mesh;
    col_value **values = COL_NEW_ARRAY(arena, col_value *, graph->next_value_id);
    for (size_t i = 0; i < graph->settings.len; i++) {
        col_setting setting = graph->settings.data[i];
        setting.name = col_arena_strdup(arena, setting.name);
        col_vec_push(arena, &copy->settings, setting);
    }
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        col_var *made = col_graph_add_var(copy, var->kind, var->name, var->type, var->init, var->loc);
        made->frozen = var->frozen;
        made->layout = var->layout;
        made->whole = var->whole;
        made->stored = var->stored;
        made->value->id = var->value->id;
        values[var->value->id] = made->value;
    }
    COL_FOR_EACH_NODE (node, graph) {
        col_value *operands[64];
        COL_ASSERT(node->operand_count <= COL_COUNT(operands));
        for (uint32_t i = 0; i < node->operand_count; i++) operands[i] = values[node->operands[i].value->id];
        col_node *made = col_graph_insert(copy, NULL, node->op, node->operand_count, operands,
                                          node->attr_count, node->attrs, node->result_count);
        made->id = node->id;
        made->phase = node->phase;
        made->group = node->group;
        made->turn = node->turn;
        made->scope = copy_text(arena, node->scope);
        made->loc = node->loc;
        for (uint32_t i = 0; i < node->result_count; i++) {
            made->results[i].id = node->results[i].id;
            made->results[i].type = node->results[i].type;
            made->results[i].name = copy_text(arena, node->results[i].name);
            values[node->results[i].id] = &made->results[i];
        }
    }
    for (size_t i = 0; i < graph->outputs.len; i++) {
        const col_output *output = &graph->outputs.data[i];
        col_graph_add_output(copy, output->name, values[output->value->id], output->loc);
    }
    copy->next_value_id = graph->next_value_id;
    copy->next_node_id = graph->next_node_id;
    return copy;
}
