/* Reverse-mode differentiation of the output `loss`, graph to graph.
 *
 * needs     a forward graph whose output `loss` is a floating-point scalar
 * provides  nodes of the backward phase and an output grad.<parameter> for every parameter that is trained;
 *           each backward node has the scope and place of the forward node that it differentiates
 * breaks    nothing
 *
 * A value is *active* when it is floating point and depends on a trained parameter through ops that have a
 * gradient other than zero by definition. The walk goes over the forward nodes in reverse order; a node with
 * a gradient at some result hands one to each active operand, and contributions to one value are added in
 * that order, so the result is the same graph on every run.
 *
 * A parameter that the loss does not depend on gets no output and stays as it is, like a frozen one.
 *
 * Counter-example to adding blindly: a tied embedding. Its table gets the product's gradient, a dense
 * matrix, and the rows that were looked up: scatter_add(0, ids, rows). Their sum would make and read a second
 * matrix of that size, so the rows are added to the first one: scatter_add(dense, ids, rows). */
#include "passes/autodiff.h"
#include "passes/pass.h"

#include <math.h>
#include <string.h>

bool *col_autodiff_active(const col_graph *graph, col_arena *arena)
{
    bool *active = COL_NEW_ARRAY(arena, bool, graph->next_value_id);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        active[var->value->id] =
            var->kind == COL_VAR_PARAM && !var->frozen && col_dtype_is_float(var->type.dtype);
    }
    COL_FOR_EACH_NODE (node, graph) {
        bool depends = false;
        if (col_op_info_of(node->op)->gradient == col_grad_zero) continue;
        for (uint32_t i = 0; i < node->operand_count; i++) depends |= active[col_node_operand(node, i)->id];
        for (uint32_t i = 0; i < node->result_count; i++) {
            active[node->results[i].id] = depends && col_dtype_is_float(node->results[i].type.dtype);
        }
    }
    return active;
}

/* The scatter_add onto zeros that makes this value; NULL when it is something else. */
static col_node *rows_on_zeros(const col_value *value)
{
    col_node *node = value->producer;
    if (!node || node->op != COL_OP_SCATTER_ADD || value->first_use) return NULL;
    const col_node *base = col_node_operand(node, 0)->producer;
    if (!base || base->op != COL_OP_CONSTANT) return NULL;
    return col_node_float(base, COL_ATTR_VALUE) == 0 ? node : NULL;
}

static col_value *sum_of(col_builder *b, col_value *x, col_value *y)
{
    col_node *rows = rows_on_zeros(y);
    col_value *dense = x;
    if (!rows) {
        rows = rows_on_zeros(x);
        dense = y;
    }
    if (!rows) return col_build_binary(b, COL_OP_ADD, x, y);
    col_value *operands[] = {dense, col_node_operand(rows, 1), col_node_operand(rows, 2)};
    return &col_build(b, COL_OP_SCATTER_ADD, 3, operands, 0, NULL)->results[0];
}

typedef struct state {
    col_graph *graph;
    col_builder b;
    col_arena *scratch;
    col_diags diags;
    bool *active;          /* by value id, of the forward graph */
    col_value **gradients; /* by value id, of the forward graph; NULL: none yet */
} state;

static void differentiate_node(state *s, col_node *node)
{
    const col_op_info *info = col_op_info_of(node->op);
    col_value **dy = COL_NEW_ARRAY(s->scratch, col_value *, node->result_count);
    col_value **dx = COL_NEW_ARRAY(s->scratch, col_value *, node->operand_count);
    bool *wanted = COL_NEW_ARRAY(s->scratch, bool, node->operand_count), any = false;
    for (uint32_t i = 0; i < node->result_count; i++) {
        dy[i] = s->gradients[node->results[i].id];
        any |= dy[i] != NULL;
    }
    if (!any) return;
    for (uint32_t i = 0; i < node->operand_count; i++) wanted[i] = s->active[col_node_operand(node, i)->id];
    col_builder_at(&s->b, node);
    s->b.before = NULL;
    s->b.phase = COL_PHASE_BACKWARD;
    if (info->gradient) info->gradient(&s->b, node, dy, wanted, dx);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        if (!wanted[i]) continue;
        col_value *operand = col_node_operand(node, i), **gradient = &s->gradients[operand->id];
        if (!dx[i]) {
            col_diag_add(&s->diags, node->loc,
                         "'%s' is not differentiable with respect to operand %u, which the loss needs; "
                         "freeze the parameters that it comes from, or write the model without it",
                         info->name, i + 1);
            continue;
        }
        COL_ASSERT(col_type_equal(dx[i]->type, operand->type));
        *gradient = *gradient ? sum_of(&s->b, *gradient, dx[i]) : dx[i];
    }
}

static col_status find_loss(const col_graph *graph, const col_output **out)
{
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (!strcmp(graph->outputs.data[i].name, "loss")) *out = &graph->outputs.data[i];
    }
    if (!*out) {
        return col_error_make(
            COL_BAD_INPUT,
            "the model '%s' has no output 'loss' to differentiate; add one, or compile it for inference",
            graph->name);
    }
    col_type type = (*out)->value->type;
    if (!col_dtype_is_float(type.dtype) || type.shape.rank) {
        col_diags diags = {.arena = graph->arena};
        col_str text = {0};
        col_type_print(type, &text);
        col_diag_add(&diags, (*out)->loc,
                     "the output 'loss' must be a floating-point scalar, not %s; reduce it with 'mean'",
                     col_str_text(&text));
        col_str_fini(&text);
        return col_diags_status(&diags);
    }
    if (graph->last && graph->last->phase != COL_PHASE_FORWARD) {
        return col_error_make(COL_BAD_INPUT, "the model '%s' is differentiated already", graph->name);
    }
    return NULL;
}

/* Gradient functions may build what turns out not to be needed, and sum_of replaces nodes. */
static void remove_unused(col_graph *graph)
{
    for (col_node *node = graph->last, *previous; node && node->phase == COL_PHASE_BACKWARD;
         node = previous) {
        bool used = false;
        previous = node->prev;
        for (uint32_t i = 0; i < node->result_count; i++) {
            used |= col_value_has_uses(&node->results[i]) || col_value_is_output(graph, &node->results[i]);
        }
        if (!used) col_graph_remove(node);
    }
}

col_status col_pass_autodiff(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    const col_output *loss = NULL;
    COL_TRY(find_loss(graph, &loss));
    state s = {.graph = graph, .scratch = col_arena_create()};
    s.diags.arena = s.scratch;
    s.active = col_autodiff_active(graph, s.scratch);
    s.gradients = COL_NEW_ARRAY(s.scratch, col_value *, graph->next_value_id);
    col_value *root = loss->value;
    col_node *last = graph->last;
    if (!s.active[root->id]) {
        col_diag_add(&s.diags, loss->loc, "the output 'loss' depends on no parameter that is trained");
        last = NULL;
    } else {
        s.b = (col_builder){.graph = graph, .phase = COL_PHASE_BACKWARD, .loc = loss->loc};
        s.gradients[root->id] = col_build_scalar(&s.b, 1, root->type.dtype);
    }
    for (col_node *node = last, *previous; node; node = previous) {
        previous = node->prev;
        differentiate_node(&s, node);
    }
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        col_value *gradient = s.gradients[var->value->id];
        if (!gradient) continue;
        col_graph_add_output(graph, col_arena_printf(s.scratch, "grad.%s", var->name), gradient, var->loc);
    }
    remove_unused(graph);
    col_status status = col_diags_status(&s.diags);
    col_arena_destroy(s.scratch);
    return status;
}
