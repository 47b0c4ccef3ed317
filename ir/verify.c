/* The invariants of a graph. Anything found here is a bug of the pass that ran last, so the message shows the
 * faulty node as printed, and all faults at once. */
#include "ir/graph.h"

#include <string.h>

typedef struct checker {
    const col_graph *graph;
    col_diags diags;
    uint8_t *defined; /* by value id */
} checker;

static void fault(checker *c, const col_node *node, const char *what)
{
    col_str text = {0};
    col_node_print(node, &text);
    col_diag_add(&c->diags, node->loc, "%s in: %s", what, col_str_text(&text));
    col_str_fini(&text);
}

static bool in_use_list(const col_operand *operand)
{
    return operand->value && operand->link && *operand->link == operand &&
           (!operand->next_use || operand->next_use->link == &operand->next_use);
}

/* Infers the types again in a scratch copy of the results and compares. */
static bool types_hold(const col_node *node, col_arena *scratch)
{
    col_node copy = *node;
    copy.results = COL_NEW_ARRAY(scratch, col_value, node->result_count);
    for (uint32_t i = 0; i < node->result_count; i++)
        copy.results[i] = (col_value){.producer = &copy, .index = i};
    col_diags diags = {.arena = scratch};
    if (!col_op_info_of(node->op)->infer(&copy, &diags)) return false;
    for (uint32_t i = 0; i < node->result_count; i++) {
        if (!col_type_equal(copy.results[i].type, node->results[i].type)) return false;
    }
    return true;
}

static void check_assign(checker *c, const col_node *node, col_map *written)
{
    const char *name = col_node_text(node, COL_ATTR_VARIABLE);
    const col_var *var = name ? col_graph_find_var(c->graph, name) : NULL;
    if (!var || var->kind == COL_VAR_INPUT) {
        fault(c, node, "assignment to something that is neither a parameter nor a state");
    } else if (!col_type_equal(var->type, node->operands[0].value->type)) {
        fault(c, node, "assignment of another type");
    } else if (col_map_set(written, name, (void *)(uintptr_t)node)) {
        fault(c, node, "second assignment to one variable");
    }
}

/* A variable is one rank's block of the whole. */
static void check_var(checker *c, const col_var *var)
{
    const col_mesh *mesh = &c->graph->mesh;
    col_shape local = var->whole;
    bool fits = !(col_layout_axes(&var->layout) >> mesh->rank) && !var->layout.partial &&
                col_layout_fits(&var->layout, mesh, local.rank, local.dims);
    if (fits) col_layout_local(&var->layout, mesh, local.rank, local.dims, local.dims);
    if (!fits || !col_shape_equal(local, var->type.shape)) {
        col_diag_add(&c->diags, var->loc, "variable '%s' is not a block of its whole shape by its layout",
                     var->name);
    }
}

static void check_node(checker *c, const col_node *node, col_arena *scratch)
{
    const col_op_info *info = col_op_info_of(node->op);
    if (node->graph != c->graph) fault(c, node, "node of another graph");
    if ((node->prev ? node->prev->next : c->graph->first) != node ||
        (node->next ? node->next->prev : c->graph->last) != node) {
        fault(c, node, "broken node list");
    }
    if (node->phase >= COL_PHASE_COUNT || (node->prev && node->prev->phase > node->phase)) {
        fault(c, node, "phase out of order");
    }
    if (node->turn < 0 || (node->turn && node->phase != COL_PHASE_BACKWARD)) {
        fault(c, node, "recomputation outside the backward phase");
    }
    if ((int)node->operand_count < info->operands_min || (int)node->operand_count > info->operands_max) {
        fault(c, node, "wrong number of operands");
    }
    bool operands_fine = true;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_operand *operand = &node->operands[i];
        operands_fine = operands_fine && in_use_list(operand) && operand->user == node && operand->index == i;
        if (operand->value && !c->defined[operand->value->id])
            fault(c, node, "operand used before it is made");
    }
    if (!operands_fine)
        fault(c, node, "operand missing from its value's use list");
    else if (!types_hold(node, scratch))
        fault(c, node, "result types differ from the inferred ones");
    for (uint32_t i = 0; i < node->result_count; i++) {
        const col_value *value = &node->results[i];
        if (value->producer != node || value->index != i || value->var)
            fault(c, node, "result without its node");
        if (value->id >= c->graph->next_value_id || c->defined[value->id])
            fault(c, node, "value id not unique");
        else
            c->defined[value->id] = 1;
    }
}

col_status col_graph_verify(const col_graph *graph)
{
    col_arena *scratch = col_arena_create();
    checker c = {.graph = graph, .diags = {.arena = scratch}};
    c.defined = COL_NEW_ARRAY(scratch, uint8_t, graph->next_value_id);
    for (size_t i = 0; i < graph->vars.len; i++) {
        c.defined[graph->vars.data[i]->value->id] = 1;
        check_var(&c, graph->vars.data[i]);
    }
    col_map *written = col_map_create(scratch);
    size_t count = 0;
    COL_FOR_EACH_NODE (node, graph) {
        check_node(&c, node, scratch);
        if (node->op == COL_OP_ASSIGN) check_assign(&c, node, written);
        count++;
    }
    if (count != graph->node_count) col_diag_add(&c.diags, (col_loc){0}, "node count is off");
    for (size_t i = 0; i < graph->outputs.len; i++) {
        const col_output *output = &graph->outputs.data[i];
        if (!output->value || !c.defined[output->value->id]) {
            col_diag_add(&c.diags, output->loc, "output '%s' is not a value of the graph", output->name);
        }
    }
    col_status status = col_diags_status(&c.diags);
    col_arena_destroy(scratch);
    return status;
}
