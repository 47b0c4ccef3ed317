/* Builds the model of overlap_model.h from a scheduled graph. */
#include "passes/overlap_model.h"

#include <string.h>

#include "ir/ops/collective.h"
#include "ir/view.h"
#include "ir/work.h"

const col_unit *col_overlap_unit(const col_overlapper *o, uint32_t u)
{
    return &o->units->units[u];
}

const col_node *col_overlap_node(const col_overlapper *o, uint32_t u)
{
    return col_overlap_unit(o, u)->nodes[0];
}

bool col_overlap_is_view(const col_unit *unit)
{
    return !unit->write_count && col_op_info_of(unit->nodes[0]->op)->op_class == COL_CLASS_VIEW;
}

bool col_overlap_communicates(const col_node *node)
{
    return col_node_is_collective(node) && node->op != COL_OP_SHARD;
}

/* Seconds. */

static double compute_seconds(const col_overlapper *o, const col_unit *unit)
{
    const col_node *node = unit->nodes[0];
    if (!unit->write_count || col_overlap_communicates(node) || node->op == COL_OP_WAIT) return 0;
    double flops = 0, bytes = 0;
    for (uint32_t i = 0; i < unit->node_count; i++) flops += col_node_work(unit->nodes[i]).flops;
    for (uint32_t i = 0; i < unit->read_count; i++) bytes += (double)col_type_bytes(unit->reads[i]->type);
    for (uint32_t i = 0; i < unit->write_count; i++) bytes += (double)col_type_bytes(unit->writes[i]->type);
    return o->machine
               ? col_cost_seconds(o->machine, col_cost_class_of(col_node_work(node).kind), flops, bytes)
               : bytes;
}

static double collective_seconds(const col_overlapper *o, const col_node *node, double bytes)
{
    int count;
    const int64_t *list = col_node_ints(node, COL_ATTR_MESH_AXES, &count);
    col_axes axes = {.count = (uint8_t)count};
    for (int i = 0; i < count; i++) axes.axis[i] = (uint8_t)list[i];
    if (!o->machine) return bytes;
    switch (node->op) {
    case COL_OP_SEND_RECEIVE: return col_cost_send(o->machine, &o->graph->mesh, &axes, bytes);
    case COL_OP_ALL_REDUCE:
        return col_cost_collective(o->machine, &o->graph->mesh, COL_ALL_REDUCE, &axes, bytes);
    case COL_OP_ALL_GATHER:
        return col_cost_collective(o->machine, &o->graph->mesh, COL_ALL_GATHER, &axes, bytes);
    case COL_OP_ALL_TO_ALL:
        return col_cost_collective(o->machine, &o->graph->mesh, COL_ALL_TO_ALL, &axes, bytes);
    default: return col_cost_collective(o->machine, &o->graph->mesh, COL_REDUCE_SCATTER, &axes, bytes);
    }
}

/* What there is. */

static void find_readers(col_overlapper *o)
{
    uint32_t *counts = COL_NEW_ARRAY(o->arena, uint32_t, o->graph->next_value_id);
    for (uint32_t u = 0; u < o->units->count; u++) {
        for (uint32_t i = 0; i < col_overlap_unit(o, u)->read_count; i++)
            counts[col_overlap_unit(o, u)->reads[i]->id]++;
    }
    o->readers = COL_NEW_ARRAY(o->arena, uint32_t *, o->graph->next_value_id);
    for (uint32_t id = 0; id < o->graph->next_value_id; id++) {
        o->readers[id] = COL_NEW_ARRAY(o->arena, uint32_t, counts[id] + 1);
        o->readers[id][counts[id]] = COL_OVERLAP_NONE;
        counts[id] = 0;
    }
    for (uint32_t u = 0; u < o->units->count; u++) {
        for (uint32_t i = 0; i < col_overlap_unit(o, u)->read_count; i++) {
            uint32_t id = col_overlap_unit(o, u)->reads[i]->id;
            o->readers[id][counts[id]++] = u;
        }
    }
}

static void find_phases(col_overlapper *o)
{
    for (uint32_t u = 0; u < o->units->count; u++) {
        for (int p = (int)col_overlap_node(o, u)->phase; p < COL_PHASE_COUNT; p++) o->phase_end[p] = u + 1;
    }
}

uint32_t col_overlap_phase_start(const col_overlapper *o, col_phase phase)
{
    return phase ? o->phase_end[phase - 1] : 0;
}

int64_t col_overlap_bytes(const col_overlapper *o, const col_value *value)
{
    if (value->var) return 0;
    for (const uint32_t *u = o->readers[value->id]; *u != COL_OVERLAP_NONE; u++) {
        if (col_overlap_node(o, *u)->op == COL_OP_ASSIGN) return 0;
    }
    return col_type_bytes(value->type);
}

static uint32_t last_reader(const col_overlapper *o, const col_value *value, uint32_t except)
{
    uint32_t last = 0; /* plus one */
    for (const uint32_t *u = o->readers[value->id]; *u != COL_OVERLAP_NONE; u++) {
        if (*u != except) last = *u + 1;
    }
    return last;
}

/* Bytes that a kernel writes over operands that die in it, and that are no second buffer therefore: what
 * memory planning does where the kernel's indices allow it, which is most often. */
static int64_t bytes_in_place(const col_overlapper *o, uint32_t u)
{
    const col_unit *unit = col_overlap_unit(o, u);
    int64_t bytes = 0;
    uint32_t next = 0;
    if (unit->nodes[0]->group < 0) return 0;
    for (uint32_t i = 0; i < unit->write_count && next < unit->read_count; i++) {
        int64_t size = col_overlap_bytes(o, unit->writes[i]);
        for (; next < unit->read_count; next++) {
            const col_value *read = unit->reads[next];
            bool dies = last_reader(o, read, COL_OVERLAP_NONE) == u + 1 && !o->is_output[read->id];
            if (!dies || col_overlap_bytes(o, read) != size) continue;
            bytes += size;
            next++;
            break;
        }
    }
    return bytes;
}

static void measure(col_overlapper *o)
{
    uint32_t count = o->units->count;
    int64_t *change = COL_NEW_ARRAY(o->arena, int64_t, count + 1), live = 0;
    o->before = COL_NEW_ARRAY(o->arena, double, count + 1);
    o->live = COL_NEW_ARRAY(o->arena, int64_t, count);
    for (uint32_t u = 0; u < count; u++) {
        const col_unit *unit = col_overlap_unit(o, u);
        o->before[u + 1] = o->before[u] + compute_seconds(o, unit);
        for (uint32_t i = 0; i < unit->write_count; i++) {
            const col_value *value = unit->writes[i];
            uint32_t end = COL_MAX(last_reader(o, value, COL_OVERLAP_NONE), u + 1);
            int64_t bytes = col_overlap_bytes(o, value);
            change[u] += bytes;
            change[o->is_output[value->id] ? count : end] -= bytes;
        }
    }
    for (uint32_t u = 0; u < count; u++) {
        live += change[u];
        o->live[u] = live - bytes_in_place(o, u);
    }
}

/* Collectives that may move. */

static bool may_be_in_place(const col_overlapper *o, const col_overlap_move *m)
{
    const col_value *result = &m->node->results[0];
    return m->node->op == COL_OP_ALL_REDUCE && !m->is_assigned && m->holds && !m->other_reader &&
           col_type_bytes(m->operand->type) == col_type_bytes(result->type) && m->operand->producer &&
           !o->is_output[m->operand->id];
}

static col_overlap_move describe(const col_overlapper *o, uint32_t u)
{
    col_node *node = col_overlap_unit(o, u)->nodes[0];
    const col_value *result = &node->results[0];
    col_overlap_move m = {
        .node = node, .unit = u, .start = u, .wait = u + 1, .operand = col_overlap_unit(o, u)->reads[0]};
    m.seconds = collective_seconds(o, node, (double)col_type_bytes(col_node_operand(node, 0)->type));
    m.idle = collective_seconds(o, node, 0);
    m.grows = col_overlap_bytes(o, result) > col_type_bytes(col_node_operand(node, 0)->type);
    m.other_reader = last_reader(o, m.operand, u);
    m.holds = col_overlap_bytes(o, m.operand) > 0 && !o->is_output[m.operand->id];
    m.earliest = col_overlap_phase_start(o, node->phase);
    m.latest = o->phase_end[node->phase];
    if (m.operand->producer)
        m.earliest = COL_MAX(m.earliest, o->units->by_node[m.operand->producer->id] + 1);
    else if (o->assigner[m.operand->var->index] != COL_OVERLAP_NONE)
        m.latest = COL_MIN(m.latest, o->assigner[m.operand->var->index]);
    for (const uint32_t *r = o->readers[result->id]; *r != COL_OVERLAP_NONE; r++) {
        const col_node *reader = col_overlap_node(o, *r);
        if (reader->op != COL_OP_ASSIGN) continue;
        /* Straight into the variable, so after all that read its old value. */
        const col_var *var = col_graph_find_var(o->graph, col_node_text(reader, COL_ATTR_VARIABLE));
        uint32_t last = last_reader(o, var->value, u);
        m.is_assigned = last <= u;
        if (m.is_assigned) m.earliest = COL_MAX(m.earliest, last);
        if (var->value == m.operand) m.latest = u + 1;
    }
    m.in_place = may_be_in_place(o, &m);
    return m;
}

static void find_moves(col_overlapper *o)
{
    uint32_t count = o->units->count;
    o->moves = COL_NEW_ARRAY(o->arena, col_overlap_move, count);
    o->move_of = COL_NEW_ARRAY(o->arena, col_overlap_move *, count);
    for (uint32_t u = 0; u < count; u++) {
        const col_node *node = col_overlap_node(o, u);
        if (!col_overlap_communicates(node) || col_collective_wait(node)) continue;
        col_overlap_move *m = &o->moves[o->move_count++];
        *m = describe(o, u);
        o->move_of[u] = m;
        /* In place already, if it takes turns: two buffers were counted at one unit. */
        if (m->in_place) o->live[u] -= col_overlap_bytes(o, m->operand);
    }
}

void col_overlap_model(col_overlapper *o)
{
    o->units = col_units_of(o->graph, o->arena);
    o->move_count = 0;
    memset(o->phase_end, 0, sizeof o->phase_end);
    o->is_output = COL_NEW_ARRAY(o->arena, bool, o->graph->next_value_id);
    for (size_t i = 0; i < o->graph->outputs.len; i++)
        o->is_output[col_view_of(o->graph->outputs.data[i].value).base->id] = true;
    o->assigner = COL_NEW_ARRAY(o->arena, uint32_t, o->graph->vars.len);
    memset(o->assigner, 0xff, sizeof *o->assigner * o->graph->vars.len);
    for (uint32_t u = 0; u < o->units->count; u++) {
        const col_node *node = col_overlap_node(o, u);
        if (node->op != COL_OP_ASSIGN) continue;
        o->assigner[col_graph_find_var(o->graph, col_node_text(node, COL_ATTR_VARIABLE))->index] = u;
    }
    find_readers(o);
    find_phases(o);
    measure(o);
    find_moves(o);
}
