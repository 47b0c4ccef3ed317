#include "ir/graph.h"

#include <string.h>

col_graph *col_graph_create(col_arena *arena, const char *name)
{
    col_graph *graph = COL_NEW(arena, col_graph);
    graph->arena = arena;
    graph->name = col_arena_strdup(arena, name);
    graph->var_by_name = col_map_create(arena);
    return graph;
}

col_var *col_graph_add_var(col_graph *graph, col_var_kind kind, const char *name, col_type type,
                           col_init init, col_loc loc)
{
    COL_ASSERT(!col_graph_find_var(graph, name));
    col_var *var = COL_NEW(graph->arena, col_var);
    *var = (col_var){.kind = kind,
                     .name = col_arena_strdup(graph->arena, name),
                     .type = type,
                     .whole = type.shape,
                     .stored = type.shape,
                     .init = init,
                     .loc = loc,
                     .index = (uint32_t)graph->vars.len};
    var->value = COL_NEW(graph->arena, col_value);
    *var->value = (col_value){.type = type, .var = var, .id = graph->next_value_id++, .name = var->name};
    col_vec_push(graph->arena, &graph->vars, var);
    col_map_set(graph->var_by_name, var->name, var);
    return var;
}

col_var *col_graph_find_var(const col_graph *graph, const char *name)
{
    return col_map_get(graph->var_by_name, name);
}

void col_graph_add_output(col_graph *graph, const char *name, col_value *value, col_loc loc)
{
    col_output output = {col_arena_strdup(graph->arena, name), value, loc};
    col_vec_push(graph->arena, &graph->outputs, output);
}

col_value *col_graph_find_output(const col_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (!strcmp(graph->outputs.data[i].name, name)) return graph->outputs.data[i].value;
    }
    return NULL;
}

static void link_use(col_operand *use, col_value *value)
{
    use->value = value;
    use->next_use = value->first_use;
    use->link = &value->first_use;
    if (value->first_use) value->first_use->link = &use->next_use;
    value->first_use = use;
}

static void unlink_use(col_operand *use)
{
    *use->link = use->next_use;
    if (use->next_use) use->next_use->link = use->link;
    use->value = NULL;
}

static void link_node(col_node *node, col_node *before)
{
    col_graph *graph = node->graph;
    node->next = before;
    node->prev = before ? before->prev : graph->last;
    if (node->prev)
        node->prev->next = node;
    else
        graph->first = node;
    if (before)
        before->prev = node;
    else
        graph->last = node;
}

static void unlink_node(col_node *node)
{
    col_graph *graph = node->graph;
    if (node->prev)
        node->prev->next = node->next;
    else
        graph->first = node->next;
    if (node->next)
        node->next->prev = node->prev;
    else
        graph->last = node->prev;
    node->prev = node->next = NULL;
}

static col_attr copy_attr(col_arena *arena, const col_attr *attr)
{
    col_attr copy = *attr;
    if (attr->ints) copy.ints = col_arena_copy(arena, attr->ints, sizeof *attr->ints * (size_t)attr->count);
    if (attr->text) copy.text = col_arena_strdup(arena, attr->text);
    return copy;
}

col_node *col_graph_insert(col_graph *graph, col_node *before, col_op op, uint32_t operand_count,
                           col_value *const *operands, uint32_t attr_count, const col_attr *attrs,
                           uint32_t result_count)
{
    col_node *node = COL_NEW(graph->arena, col_node);
    *node = (col_node){.graph = graph,
                       .op = op,
                       .id = graph->next_node_id++,
                       .group = -1,
                       .scope = "",
                       .operand_count = operand_count,
                       .attr_count = attr_count,
                       .result_count = result_count};
    node->operands = COL_NEW_ARRAY(graph->arena, col_operand, operand_count);
    for (uint32_t i = 0; i < operand_count; i++) {
        node->operands[i].user = node;
        node->operands[i].index = i;
        link_use(&node->operands[i], operands[i]);
    }
    /* Attributes are kept in the order of their keys, so that equal nodes are equal arrays. */
    node->attrs = COL_NEW_ARRAY(graph->arena, col_attr, attr_count);
    for (uint32_t i = 0; i < attr_count; i++) {
        uint32_t at = i;
        for (; at > 0 && node->attrs[at - 1].key > attrs[i].key; at--) node->attrs[at] = node->attrs[at - 1];
        node->attrs[at] = copy_attr(graph->arena, &attrs[i]);
    }
    node->results = COL_NEW_ARRAY(graph->arena, col_value, result_count);
    for (uint32_t i = 0; i < result_count; i++) {
        node->results[i] = (col_value){.producer = node, .index = i, .id = graph->next_value_id++};
    }
    link_node(node, before);
    graph->node_count++;
    return node;
}

void col_graph_remove(col_node *node)
{
    for (uint32_t i = 0; i < node->result_count; i++) {
        COL_ASSERT(!node->results[i].first_use && !col_value_is_output(node->graph, &node->results[i]));
    }
    for (uint32_t i = 0; i < node->operand_count; i++) unlink_use(&node->operands[i]);
    unlink_node(node);
    node->graph->node_count--;
}

void col_graph_move(col_node *node, col_node *before)
{
    if (node == before) return;
    unlink_node(node);
    link_node(node, before);
}

void col_node_set_operand(col_node *node, uint32_t index, col_value *value)
{
    COL_ASSERT(index < node->operand_count);
    unlink_use(&node->operands[index]);
    link_use(&node->operands[index], value);
}

void col_value_replace(col_graph *graph, col_value *from, col_value *to)
{
    if (from == to) return;
    COL_ASSERT(col_type_equal(from->type, to->type));
    while (from->first_use) {
        col_operand *use = from->first_use;
        unlink_use(use);
        link_use(use, to);
    }
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (graph->outputs.data[i].value == from) graph->outputs.data[i].value = to;
    }
    if (!to->name && !to->var) to->name = from->name;
}

bool col_value_has_uses(const col_value *value)
{
    return value->first_use != NULL;
}

bool col_value_is_output(const col_graph *graph, const col_value *value)
{
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (graph->outputs.data[i].value == value) return true;
    }
    return false;
}

const col_attr *col_node_attr(const col_node *node, col_attr_key key)
{
    for (uint32_t i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].key == key) return &node->attrs[i];
    }
    return NULL;
}

static double attr_default(col_attr_key key)
{
    static const double defaults[COL_ATTR_COUNT] = {
#define ATTR(KEY, name, kind, fallback) [COL_ATTR_##KEY] = fallback,
#include "ir/attrs.def"
#undef ATTR
    };
    return defaults[key];
}

int64_t col_node_int(const col_node *node, col_attr_key key)
{
    const col_attr *attr = col_node_attr(node, key);
    return attr ? attr->int_value : (int64_t)attr_default(key);
}

double col_node_float(const col_node *node, col_attr_key key)
{
    const col_attr *attr = col_node_attr(node, key);
    return attr ? attr->float_value : attr_default(key);
}

const char *col_node_text(const col_node *node, col_attr_key key)
{
    const col_attr *attr = col_node_attr(node, key);
    return attr ? attr->text : NULL;
}

const int64_t *col_node_ints(const col_node *node, col_attr_key key, int *out_count)
{
    const col_attr *attr = col_node_attr(node, key);
    *out_count = attr ? attr->count : 0;
    return attr ? attr->ints : NULL;
}

static bool attr_equal(const col_attr *a, const col_attr *b)
{
    if (a->key != b->key || a->int_value != b->int_value || a->count != b->count) return false;
    if (memcmp(&a->float_value, &b->float_value, sizeof a->float_value)) return false;
    if (!a->text != !b->text || (a->text && strcmp(a->text, b->text))) return false;
    return !a->count || !memcmp(a->ints, b->ints, sizeof *a->ints * (size_t)a->count);
}

bool col_node_equal(const col_node *a, const col_node *b)
{
    if (a->op != b->op || a->operand_count != b->operand_count || a->attr_count != b->attr_count)
        return false;
    for (uint32_t i = 0; i < a->operand_count; i++) {
        if (a->operands[i].value != b->operands[i].value) return false;
    }
    for (uint32_t i = 0; i < a->attr_count; i++) {
        if (!attr_equal(&a->attrs[i], &b->attrs[i])) return false;
    }
    return true;
}

uint64_t col_node_hash(const col_node *node)
{
    uint64_t h = col_hash_bytes(&node->op, sizeof node->op, node->operand_count);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        uint32_t id = node->operands[i].value->id;
        h = col_hash_bytes(&id, sizeof id, h);
    }
    for (uint32_t i = 0; i < node->attr_count; i++) {
        const col_attr *a = &node->attrs[i];
        h = col_hash_bytes(&a->key, sizeof a->key, h);
        h = col_hash_bytes(&a->int_value, sizeof a->int_value, h);
        h = col_hash_bytes(&a->float_value, sizeof a->float_value, h);
        if (a->count) h = col_hash_bytes(a->ints, sizeof *a->ints * (size_t)a->count, h);
        if (a->text) h = col_hash_bytes(a->text, strlen(a->text), h);
    }
    return h;
}

const char **col_graph_node_names(const col_graph *graph, col_arena *arena)
{
    const char **names = COL_NEW_ARRAY(arena, const char *, graph->next_node_id);
    col_map *seen = col_map_create(arena); /* base name to the first node's count */
    COL_FOR_EACH_NODE (node, graph) {
        col_op_class class = col_op_info_of(node->op)->op_class;
        bool is_module =
            class == COL_CLASS_CONTRACTION || class == COL_CLASS_COMPOSITE || node->op == COL_OP_EINSUM_ADD;
        const char *op = col_op_info_of(node->op)->name;
        const char *base = node->scope;
        if (!is_module || !*base)
            base = col_arena_printf(arena, "%s%s%s", node->scope, *node->scope ? "." : "", op);
        const char *tail = node->turn ? "again" : node->phase == COL_PHASE_BACKWARD ? "grad" : "update";
        if (node->phase != COL_PHASE_FORWARD) base = col_arena_printf(arena, "%s.%s", base, tail);
        uintptr_t count = (uintptr_t)col_map_get(seen, base);
        col_map_set(seen, base, (void *)(count + 1));
        names[node->id] = count ? col_arena_printf(arena, "%s_%zu", base, (size_t)count) : base;
    }
    return names;
}
