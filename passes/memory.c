/* Memory planning (passes/memory.h).
 *
 * needs     schedule; strides fixed
 * provides  a placement for every value with bytes of its own
 *
 * Values become buffers: one each, then merged where a result may overwrite an operand that dies, so that a
 * merged buffer lives from its first write to its last use. Values assigned to a variable get the variable's
 * own bytes where nobody reads the old value later; parts of a concat lie inside its result. What remains is
 * the offsets problem of solver/offsets.h, over time counted in units. */
#include "passes/memory.h"

#include <string.h>

#include "ir/ops/collective.h"
#include "ir/view.h"
#include "passes/channels_last.h"
#include "solver/offsets.h"

enum { NOT_A_BUFFER = UINT32_MAX };
static const double ANY_GAP = 1e3;
static const double GAP = 0.005; /* over the least memory: not worth seconds of search */

/* Parts of a concat. */

/* Finds the value with bytes that a concat's operand is a reshape of; NULL when another view stands between.
 */
static const col_value *part_base(const col_value *part)
{
    while (part->producer && part->producer->op == COL_OP_RESHAPE) part = col_node_operand(part->producer, 0);
    return part->var || col_value_is_virtual(part) ? NULL : part;
}

static bool used_once(const col_value *from, const col_value *to)
{
    for (const col_value *v = to;; v = col_node_operand(v->producer, 0)) {
        if (!v->first_use || v->first_use->next_use) return false;
        if (v == from) return true;
    }
}

/* Whether the unit that makes the value can write it with any strides. */
static bool writes_strided(const col_value *value)
{
    const col_node *producer = value->producer;
    return producer->op == COL_OP_EINSUM || producer->op == COL_OP_ATTENTION_GRAD ||
           producer->op == COL_OP_ATTENTION || (producer->group >= 0 && producer->op != COL_OP_CONCAT);
}

static bool is_concat_alone(const col_graph *graph, const col_units *units, const col_node *node)
{
    const col_unit *unit = &units->units[units->by_node[node->id]];
    return node->op == COL_OP_CONCAT && unit->node_count == 1 &&
           !col_value_is_output(graph, &node->results[0]);
}

/* Places all parts inside the concat's result, or none. Offsets are relative to the result's until it is
 * placed. */
static bool place_parts(const col_graph *graph, const col_node *concat, col_memory *memory)
{
    const col_value *result = &concat->results[0], *bases[64];
    int axis = 0;
    int64_t strides[COL_MAX_RANK], at = 0, element = (int64_t)col_dtype_size(result->type.dtype);
    COL_ASSERT(col_shape_axis(result->type.shape, col_node_int(concat, COL_ATTR_AXIS), &axis));
    COL_ASSERT(concat->operand_count <= COL_COUNT(bases));
    col_shape_strides(result->type.shape, strides);
    col_placement places[64];
    for (uint32_t i = 0; i < concat->operand_count; i++) {
        const col_value *part = col_node_operand(concat, i), *base = part_base(part);
        if (!base || !used_once(base, part) || col_value_is_output(graph, base) || !writes_strided(base))
            return false;
        places[i] = (col_placement){.is_part = true, .offset = (uint64_t)(at * strides[axis] * element)};
        if (!col_strides_reshape(part->type.shape, strides, base->type.shape, places[i].strides))
            return false;
        if (base->producer->op != COL_OP_EINSUM && base->type.shape.rank &&
            places[i].strides[base->type.shape.rank - 1] != 1) {
            return false;
        }
        bases[i] = base;
        at += part->type.shape.dims[axis];
    }
    for (uint32_t i = 0; i < concat->operand_count; i++) memory->placements[bases[i]->id] = places[i];
    return true;
}

void col_memory_fix_strides(const col_graph *graph, const col_units *units, bool channels_last,
                            col_arena *arena, col_memory *memory)
{
    memory->placements = COL_NEW_ARRAY(arena, col_placement, graph->next_value_id);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_value *value = graph->vars.data[i]->value;
        col_shape_strides(value->type.shape, memory->placements[value->id].strides);
    }
    /* Values without bytes, too: whether a view of one is virtual is asked of its strides. */
    COL_FOR_EACH_NODE (node, graph) {
        for (uint32_t i = 0; i < node->result_count; i++) {
            const col_value *value = &node->results[i];
            col_shape_strides(value->type.shape, memory->placements[value->id].strides);
        }
    }
    COL_FOR_EACH_NODE (node, graph) {
        if (is_concat_alone(graph, units, node)) place_parts(graph, node, memory);
    }
    if (channels_last) col_channels_last(graph, units, memory->placements, arena);
}

/* Offsets. */

typedef struct buffer {
    uint32_t first, last; /* units, inclusive */
    uint64_t bytes;
    const col_value *value;
} buffer;

typedef struct planner {
    const col_graph *graph;
    const col_units *units;
    const col_memory_rules *rules;
    const uint64_t *variable_offsets;
    col_memory *memory;
    uint32_t *first, *last; /* by value id: unit of the write and of the last read */
    uint32_t *buffer_of;    /* by value id */
    COL_VEC(buffer) buffers;
    col_arena *arena;
} planner;

static void find_lifetimes(planner *p)
{
    for (uint32_t u = 0; u < p->units->count; u++) {
        const col_unit *unit = &p->units->units[u];
        for (uint32_t i = 0; i < unit->write_count; i++)
            p->first[unit->writes[i]->id] = p->last[unit->writes[i]->id] = u;
        for (uint32_t i = 0; i < unit->read_count; i++) p->last[unit->reads[i]->id] = u;
    }
    for (size_t i = 0; i < p->graph->outputs.len; i++) {
        p->last[col_view_of(p->graph->outputs.data[i].value).base->id] = p->units->count;
    }
}

/* Ops of the executor that overwrite their first operand, or leave it as it is. */
static bool overwrites_base(const col_node *node)
{
    return col_node_overwrites(node) || node->op == COL_OP_WAIT || col_collective_is_in_place(node);
}

static const col_node *opaque_of(const col_value *value)
{
    return overwrites_base(value->producer) ? value->producer : NULL;
}

/* A value that is assigned goes straight into the variable if every read of the old value is over by then, or
 * happens in the same unit where the rules allow writing over it. */
static void place_assigned(planner *p, const col_node *assign)
{
    const col_value *value = col_node_operand(assign, 0), *waited = NULL;
    if (value->producer && value->producer->op == COL_OP_WAIT) { /* the collective writes it */
        waited = value;
        value = col_node_operand(value->producer, 0);
    }
    const col_var *var = col_graph_find_var(p->graph, col_node_text(assign, COL_ATTR_VARIABLE));
    col_placement *place = &p->memory->placements[value->id];
    if (value->var || place->is_part || place->placed || col_value_is_virtual(value)) return;
    uint32_t writer = p->first[value->id];
    const col_unit *unit = &p->units->units[writer];
    bool read_here = false;
    for (uint32_t i = 0; i < unit->read_count; i++) read_here |= unit->reads[i] == var->value;
    bool is_read = p->last[var->value->id] != UINT32_MAX;
    if (is_read && p->last[var->value->id] > writer) return;
    const col_node *opaque = opaque_of(value);
    if (opaque) {
        if (col_node_operand(opaque, 0) != var->value) return;
    } else if (read_here && !p->rules->in_place(p->rules->context, unit, var->value, value)) {
        return;
    }
    place->placed = true;
    place->offset = p->variable_offsets[var->index];
    col_shape_strides(value->type.shape, place->strides);
    if (waited) p->memory->placements[waited->id] = *place;
}

/* The buffer of a dying operand that the unit may overwrite with `output`, or NOT_A_BUFFER. */
static uint32_t reusable(const planner *p, uint32_t u, const col_value *output, const uint8_t *taken)
{
    const col_unit *unit = &p->units->units[u];
    for (uint32_t i = 0; i < unit->read_count; i++) {
        const col_value *input = unit->reads[i];
        uint32_t b = p->buffer_of[input->id];
        if (b == NOT_A_BUFFER || taken[b] || p->buffers.data[b].last != u) continue;
        if (p->buffers.data[b].bytes != (uint64_t)col_type_bytes(output->type)) continue;
        if (p->rules->in_place(p->rules->context, unit, input, output)) return b;
    }
    return NOT_A_BUFFER;
}

static void add_buffer(planner *p, const col_value *value)
{
    buffer made = {p->first[value->id], p->last[value->id], (uint64_t)col_type_bytes(value->type), value};
    p->buffer_of[value->id] = (uint32_t)p->buffers.len;
    col_vec_push(p->arena, &p->buffers, made);
}

/* A concat written by its parts lives from the first part on. */
static void add_concat_buffers(planner *p)
{
    COL_FOR_EACH_NODE (node, p->graph) {
        if (node->op != COL_OP_CONCAT) continue;
        const col_value *result = &node->results[0], *base = part_base(col_node_operand(node, 0));
        if (!base || !p->memory->placements[base->id].is_part) continue;
        for (uint32_t i = 0; i < node->operand_count; i++) {
            base = part_base(col_node_operand(node, i));
            p->first[result->id] = COL_MIN(p->first[result->id], p->first[base->id]);
        }
        add_buffer(p, result);
        for (uint32_t i = 0; i < node->operand_count; i++) {
            p->buffer_of[part_base(col_node_operand(node, i))->id] = p->buffer_of[result->id];
        }
    }
}

static void make_buffers(planner *p)
{
    /* Buffers that a unit has already given to one of its results. At most one per value, so sized once. */
    uint8_t *taken = COL_NEW_ARRAY(p->arena, uint8_t, p->graph->next_value_id);
    for (uint32_t u = 0; u < p->units->count; u++) {
        const col_unit *unit = &p->units->units[u];
        for (uint32_t i = 0; i < unit->write_count; i++) {
            const col_value *value = unit->writes[i];
            if (p->memory->placements[value->id].placed || p->buffer_of[value->id] != NOT_A_BUFFER) continue;
            const col_node *opaque = opaque_of(value);
            uint32_t b = opaque ? p->buffer_of[col_view_of(col_node_operand(opaque, 0)).base->id]
                                : reusable(p, u, value, taken);
            if (opaque && b == NOT_A_BUFFER) {
                COL_PANIC("'%s' overwrites a variable that it is not assigned to",
                          col_op_info_of(opaque->op)->name);
            }
            if (b == NOT_A_BUFFER) {
                add_buffer(p, value);
            } else {
                p->buffer_of[value->id] = b;
                p->buffers.data[b].last = COL_MAX(p->buffers.data[b].last, p->last[value->id]);
                taken[b] = p->last[value->id] == u; /* written and dropped in one unit: not twice */
            }
        }
    }
}

static col_status solve_offsets(planner *p, uint64_t base)
{
    size_t count = p->buffers.len;
    col_offsets_buffer *list = COL_NEW_ARRAY(p->arena, col_offsets_buffer, count);
    int64_t *change = COL_NEW_ARRAY(p->arena, int64_t, p->units->count + 3);
    for (size_t i = 0; i < count; i++) {
        const buffer *b = &p->buffers.data[i];
        uint64_t size = (uint64_t)col_plan_padded((int64_t)b->bytes);
        list[i] = (col_offsets_buffer){
            .lower = b->first, .upper = (uint64_t)b->last + 1, .size = size, .alignment = COL_PLAN_ALIGNMENT};
        change[b->first] += (int64_t)size;
        change[b->last + 1] -= (int64_t)size;
    }
    int64_t live = 0;
    for (uint32_t u = 0; u <= p->units->count; u++) {
        live += change[u];
        if ((uint64_t)live <= p->memory->live_bound) continue;
        p->memory->live_bound = (uint64_t)live;
        p->memory->peak_unit = u;
    }
    col_offsets_problem problem = {.count = count, .buffers = list};
    col_offsets_limits limits = {.seconds = 2, .nodes = 200000, .gap = p->rules->roughly ? ANY_GAP : GAP};
    col_offsets_solution solution;
    COL_TRY(col_offsets_solve(&problem, &limits, p->arena, &solution));
    p->memory->temporary_bytes = solution.peak;
    p->memory->buffer_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const buffer *b = &p->buffers.data[i];
        p->memory->buffers[i] =
            (col_memory_buffer){b->value, base + solution.offsets[i], b->bytes, b->first, b->last};
    }
    return NULL;
}

static void place_values(planner *p)
{
    for (uint32_t id = 0; id < p->graph->next_value_id; id++) {
        if (p->buffer_of[id] == NOT_A_BUFFER) continue;
        col_placement *place = &p->memory->placements[id];
        uint64_t start = p->memory->buffers[p->buffer_of[id]].offset;
        place->offset = place->is_part ? start + place->offset : start;
        place->placed = true;
    }
}

col_status col_memory_assign(const col_graph *graph, const col_units *units, const col_memory_rules *rules,
                             const uint64_t *variable_offsets, uint64_t base, col_arena *arena,
                             col_memory *memory)
{
    col_arena *scratch = col_arena_create();
    planner p = {.graph = graph,
                 .units = units,
                 .rules = rules,
                 .variable_offsets = variable_offsets,
                 .memory = memory,
                 .arena = scratch};
    size_t ids = graph->next_value_id;
    p.first = COL_NEW_ARRAY(scratch, uint32_t, ids);
    p.last = COL_NEW_ARRAY(scratch, uint32_t, ids);
    p.buffer_of = COL_NEW_ARRAY(scratch, uint32_t, ids);
    memset(p.last, 0xff, ids * sizeof *p.last);
    memset(p.buffer_of, 0xff, ids * sizeof *p.buffer_of);
    find_lifetimes(&p);
    for (size_t i = 0; i < graph->vars.len; i++) {
        col_placement *place = &memory->placements[graph->vars.data[i]->value->id];
        place->placed = true;
        place->offset = variable_offsets[i];
    }
    add_concat_buffers(&p);
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op == COL_OP_ASSIGN) place_assigned(&p, node);
    }
    make_buffers(&p);
    memory->buffers = COL_NEW_ARRAY(arena, col_memory_buffer, p.buffers.len);
    col_status status = solve_offsets(&p, base);
    if (!status) place_values(&p);
    col_arena_destroy(scratch);
    return status;
}
