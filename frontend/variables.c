#include "frontend/variables.h"

#include <string.h>

#include "codegen/emit.h"

void col_variables_init(col_variables *v, col_arena *arena)
{
    *v = (col_variables){.arena = arena,
                         .by_name = col_map_create(arena),
                         .labels = col_map_create(arena),
                         .bounds = col_map_create(arena),
                         .buffers = col_map_create(arena)};
}

void col_variables_init_again(col_variables *v, const col_variables *noted, col_arena *arena)
{
    *v = *noted;
    v->arena = arena;
    v->by_name = col_map_create(arena);
}

/* What a loss takes of an input that holds its labels. */
typedef struct label_range {
    int64_t classes, ignored;
} label_range;

/* Notes which inputs are labels while the losses are still whole. Labels of several losses are those that all
 * of them take; where they ignore different ones nothing is known. */
static void note_labels(col_variables *v, const col_graph *graph)
{
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op != COL_OP_CROSS_ENTROPY) continue;
        const col_var *var = col_node_operand(node, 1)->var;
        if (!var || var->kind != COL_VAR_INPUT) continue;
        col_shape logits = col_node_operand(node, 0)->type.shape;
        label_range range = {logits.dims[logits.rank - 1], col_node_int(node, COL_ATTR_IGNORE_INDEX)};
        label_range *known = col_map_get(v->labels, var->name);
        if (!known) {
            col_map_set(v->labels, var->name, col_arena_copy(v->arena, &range, sizeof range));
        } else if (known->ignored == range.ignored) {
            known->classes = COL_MIN(known->classes, range.classes);
        } else {
            known->classes = 0;
        }
    }
}

/* Rows of the smallest table that the input's elements index, or 0. */
static int64_t index_bound(const col_var *var)
{
    int64_t bound = 0;
    COL_FOR_EACH_USE (use, var->value) {
        bool is_index =
            use->index == 1 && (use->user->op == COL_OP_EMBEDDING || use->user->op == COL_OP_SCATTER_ADD);
        if (!is_index) continue;
        int64_t rows = col_node_operand(use->user, 0)->type.shape.dims[0];
        bound = bound ? COL_MIN(bound, rows) : rows;
    }
    return bound;
}

void col_variables_note(col_variables *v, const col_graph *graph)
{
    note_labels(v, graph);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        if (var->kind == COL_VAR_STATE) col_map_set(v->buffers, var->name, v);
        int64_t bound = index_bound(var), *known = col_map_get(v->bounds, var->name);
        if (!bound) continue;
        if (known) bound = COL_MIN(bound, *known);
        col_map_set(v->bounds, var->name, col_arena_copy(v->arena, &bound, sizeof bound));
    }
}

static bool is_used(const col_graph *graph, const col_var *var)
{
    if (var->kind != COL_VAR_INPUT || col_value_has_uses(var->value)) return true;
    return col_value_is_output(graph, var->value);
}

/* How the ranks hold it. */
static void describe_layout(col_arena *arena, const col_graph *graph, const col_var *var,
                            Col__Plan__Variable *v)
{
    col_str text = {0};
    if (!graph->mesh.rank) return;
    col_layout_print(&var->layout, var->whole.rank, &text);
    v->layout = col_arena_strdup(arena, col_str_text(&text));
    col_str_fini(&text);
    if (col_shape_equal(var->whole, var->stored)) return;
    v->n_cut_dims = (size_t)var->whole.rank;
    v->cut_dims = col_arena_copy(arena, var->whole.dims, sizeof *v->dims * v->n_cut_dims);
}

static Col__Plan__Variable *make_variable(const col_variables *v, const col_graph *graph, const col_var *var)
{
    static const Col__Plan__VariableKind kinds[] = {
        COL__PLAN__VARIABLE_KIND__INPUT, COL__PLAN__VARIABLE_KIND__PARAM, COL__PLAN__VARIABLE_KIND__STATE};
    static const Col__Plan__InitKind inits[] = {COL__PLAN__INIT_KIND__ZEROS, COL__PLAN__INIT_KIND__CONSTANT,
                                                COL__PLAN__INIT_KIND__NORMAL, COL__PLAN__INIT_KIND__UNIFORM};
    Col__Plan__Variable *made = COL_NEW(v->arena, Col__Plan__Variable);
    col__plan__variable__init(made);
    made->name = (char *)(uintptr_t)var->name;
    made->kind = kinds[var->kind];
    made->dtype = col_emit_dtype(var->type.dtype);
    made->n_dims = (size_t)var->stored.rank;
    made->dims = col_arena_copy(v->arena, var->stored.dims, sizeof *made->dims * made->n_dims);
    describe_layout(v->arena, graph, var, made);
    made->init = inits[var->init.kind];
    made->init_a = var->init.a;
    made->init_b = var->init.b;
    made->frozen = var->frozen;
    made->buffer = col_map_get(v->buffers, var->name) != NULL;
    return made;
}

/* What is known of the numbers of an input. Its name may have got the program's in front. */
static void bound_index(const col_variables *v, const col_var *var, Col__Plan__Variable *to)
{
    const char *dot = strrchr(var->name, '.'), *name = var->name;
    if (!col_map_get(v->bounds, name) && !col_map_get(v->labels, name) && dot) name = dot + 1;
    const int64_t *bound = col_map_get(v->bounds, name);
    const label_range *labels = col_map_get(v->labels, name);
    if (bound) {
        to->index_bound = *bound;
    } else if (labels && labels->classes) {
        to->index_bound = labels->classes;
        to->may_ignore = true;
        to->ignored_index = labels->ignored;
    }
}

col_status col_variables_add(col_variables *v, const col_graph *graph)
{
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        if (!is_used(graph, var)) continue;
        if (col_map_get(v->by_name, var->name)) continue;
        Col__Plan__Variable *made = make_variable(v, graph, var);
        if (var->kind == COL_VAR_INPUT) bound_index(v, var, made);
        made->offset = v->bytes;
        if (__builtin_add_overflow(v->bytes, (uint64_t)col_type_bytes(var->type) + COL_PLAN_ALIGNMENT - 1,
                                   &v->bytes) ||
            v->bytes > INT64_MAX) {
            return col_error_make(COL_BAD_INPUT, "the model's variables do not fit 63-bit addresses");
        }
        v->bytes = v->bytes / COL_PLAN_ALIGNMENT * COL_PLAN_ALIGNMENT;
        col_map_set(v->by_name, var->name, made);
        col_vec_push(v->arena, &v->list, made);
    }
    return NULL;
}

const uint64_t *col_variables_offsets(const col_variables *v, const col_graph *graph)
{
    uint64_t *offsets = COL_NEW_ARRAY(v->arena, uint64_t, graph->vars.len);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const Col__Plan__Variable *found = col_map_get(v->by_name, graph->vars.data[i]->name);
        offsets[i] = found ? found->offset : 0;
    }
    return offsets;
}
