#include "ir/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "ir/ops/collective.h"

/* A value during the walk. */
typedef struct slot {
    col_tensor tensor; /* data NULL: not made yet, or freed */
    uint32_t uses;     /* reads still to come; a value is freed after the last */
    bool borrowed;     /* a variable's data */
    bool kept;
} slot;

static size_t data_size(col_type type)
{
    return sizeof(double) * (size_t)COL_MAX(col_shape_numel(type.shape), 1);
}

static col_status allocate(col_type type, double **out_data)
{
    char bytes[COL_HUMAN_SIZE];
    *out_data = malloc(data_size(type));
    if (*out_data) return NULL;
    return col_error_make(
        COL_DEVICE, "no memory for %s of the reference evaluation in fp64; take a smaller model or batch",
        col_format_bytes(bytes, (double)data_size(type)));
}

static slot *make_slots(const col_graph *graph, const col_evaluate_options *options, const col_tensor *vars,
                        col_arena *scratch)
{
    slot *slots = COL_NEW_ARRAY(scratch, slot, graph->next_value_id);
    for (size_t i = 0; i < graph->vars.len; i++) {
        COL_ASSERT(col_type_equal(vars[i].type, graph->vars.data[i]->type));
        slots[graph->vars.data[i]->value->id] = (slot){.tensor = vars[i], .borrowed = true};
    }
    COL_FOR_EACH_NODE (node, graph) {
        if (node->phase > options->last_phase) continue;
        for (uint32_t i = 0; i < node->operand_count; i++) slots[col_node_operand(node, i)->id].uses++;
        for (uint32_t i = 0; i < node->result_count; i++)
            slots[node->results[i].id].kept = options->keep_values;
    }
    for (size_t i = 0; i < graph->outputs.len; i++) slots[graph->outputs.data[i].value->id].kept = true;
    return slots;
}

static void drop(slot *s)
{
    if (s->uses || s->kept || s->borrowed) return;
    free(s->tensor.data);
    s->tensor.data = NULL;
}

static col_status make_results(const col_node *node, slot *slots, col_tensor *results)
{
    for (uint32_t i = 0; i < node->result_count; i++) {
        slot *s = &slots[node->results[i].id];
        s->tensor.type = node->results[i].type;
        COL_TRY(allocate(s->tensor.type, &s->tensor.data));
        results[i] = s->tensor;
    }
    return NULL;
}

static void drop_operands(const col_node *node, slot *slots)
{
    for (uint32_t i = 0; i < node->operand_count; i++) {
        slot *s = &slots[col_node_operand(node, i)->id];
        s->uses--;
        drop(s);
    }
    for (uint32_t i = 0; i < node->result_count; i++) drop(&slots[node->results[i].id]);
}

static col_status walk_node(const col_node *node, slot *slots, col_arena *scratch)
{
    col_tensor *operands = COL_NEW_ARRAY(scratch, col_tensor, node->operand_count);
    col_tensor *results = COL_NEW_ARRAY(scratch, col_tensor, node->result_count);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        operands[i] = slots[col_node_operand(node, i)->id].tensor;
        COL_ASSERT(operands[i].data);
    }
    COL_TRY(make_results(node, slots, results));
    col_op_info_of(node->op)->eval(node, operands, results);
    drop_operands(node, slots);
    return NULL;
}

/* On all ranks, before any of them frees its operand. */
static col_status walk_collective(const col_node *node, int64_t ranks, slot *const *slots, col_arena *scratch)
{
    col_tensor *by_rank = COL_NEW_ARRAY(scratch, col_tensor, ranks), result;
    for (int64_t r = 0; r < ranks; r++) by_rank[r] = slots[r][col_node_operand(node, 0)->id].tensor;
    for (int64_t r = 0; r < ranks; r++) {
        COL_TRY(make_results(node, slots[r], &result));
        col_collective_eval(node, r, by_rank, &result);
    }
    for (int64_t r = 0; r < ranks; r++) drop_operands(node, slots[r]);
    return NULL;
}

static col_status walk(const col_graph *graph, col_phase last_phase, int64_t ranks, slot *const *slots,
                       col_arena *scratch)
{
    for (const col_node *node = graph->first; node; node = node->next) {
        /* The value of an assignment stays in use until the end of the walk. */
        if (node->phase > last_phase || node->op == COL_OP_ASSIGN) continue;
        if (ranks > 1 && col_node_is_collective(node)) {
            COL_TRY(walk_collective(node, ranks, slots, scratch));
            continue;
        }
        for (int64_t r = 0; r < ranks; r++) COL_TRY(walk_node(node, slots[r], scratch));
    }
    return NULL;
}

/* Assigned values are read here only: all at once, since one may be another variable's value. */
static void assign_all(const col_graph *graph, col_phase last_phase, const slot *slots,
                       const col_tensor *vars, col_arena *scratch)
{
    double **copies = COL_NEW_ARRAY(scratch, double *, graph->vars.len);
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op != COL_OP_ASSIGN || node->phase > last_phase) continue;
        const col_var *var = col_graph_find_var(graph, col_node_text(node, COL_ATTR_VARIABLE));
        const col_tensor *value = &slots[col_node_operand(node, 0)->id].tensor;
        copies[var->index] = col_arena_copy(scratch, value->data, data_size(value->type));
    }
    for (size_t i = 0; i < graph->vars.len; i++) {
        if (copies[i])
            memcpy(vars[i].data, copies[i], sizeof(double) * (size_t)col_shape_numel(vars[i].type.shape));
    }
}

static col_tensor keep(const slot *s, col_arena *arena)
{
    col_tensor tensor = s->tensor;
    if (tensor.data) tensor.data = col_arena_copy(arena, tensor.data, data_size(tensor.type));
    return tensor;
}

static const col_tensor *keep_outputs(const col_graph *graph, const slot *slots, col_arena *arena)
{
    col_tensor *outputs = COL_NEW_ARRAY(arena, col_tensor, graph->outputs.len);
    for (size_t i = 0; i < graph->outputs.len; i++)
        outputs[i] = keep(&slots[graph->outputs.data[i].value->id], arena);
    return outputs;
}

static const col_tensor *keep_values(const col_graph *graph, const slot *slots, col_arena *arena)
{
    col_tensor *values = COL_NEW_ARRAY(arena, col_tensor, graph->next_value_id);
    for (uint32_t i = 0; i < graph->next_value_id; i++) values[i] = keep(&slots[i], arena);
    return values;
}

static col_status evaluate(const col_graph *graph, const col_evaluate_options *options, int64_t ranks,
                           const col_tensor *const *vars, col_arena *arena, col_evaluation *out)
{
    static const col_evaluate_options whole = {.last_phase = COL_PHASE_UPDATE};
    if (!options) options = &whole;
    col_arena *scratch = col_arena_create();
    slot **slots = COL_NEW_ARRAY(scratch, slot *, ranks);
    for (int64_t r = 0; r < ranks; r++) slots[r] = make_slots(graph, options, vars[r], scratch);
    col_status status = walk(graph, options->last_phase, ranks, slots, scratch);
    for (int64_t r = 0; r < ranks; r++) {
        out[r] = (col_evaluation){0};
        if (!status) {
            out[r].outputs = keep_outputs(graph, slots[r], arena);
            if (options->keep_values) out[r].values = keep_values(graph, slots[r], arena);
            assign_all(graph, options->last_phase, slots[r], vars[r], scratch);
        }
        for (uint32_t i = 0; i < graph->next_value_id; i++) {
            if (!slots[r][i].borrowed) free(slots[r][i].tensor.data);
        }
    }
    col_arena_destroy(scratch);
    return status;
}

col_status col_evaluate(const col_graph *graph, const col_evaluate_options *options, const col_tensor *vars,
                        col_arena *arena, col_evaluation *out)
{
    return evaluate(graph, options, 1, &vars, arena, out);
}

col_status col_evaluate_ranks(const col_graph *graph, const col_evaluate_options *options,
                              const col_tensor *const *vars, col_arena *arena, col_evaluation *out)
{
    return evaluate(graph, options, col_mesh_size(&graph->mesh), vars, arena, out);
}

col_tensor *col_evaluate_vars(const col_graph *graph, col_arena *arena)
{
    col_tensor *vars = COL_NEW_ARRAY(arena, col_tensor, graph->vars.len);
    for (size_t i = 0; i < graph->vars.len; i++) {
        col_type type = graph->vars.data[i]->type;
        vars[i] = (col_tensor){type, col_arena_alloc(arena, data_size(type))};
    }
    return vars;
}
