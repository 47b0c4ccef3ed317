/* What may be computed again (passes/recompute.h): the values in memory of a graph's forward phase, from a
 * copy of it that is fused and scheduled.
 *
 * A kernel that writes several values is not computed again as a whole: each value has its own *piece* of it,
 * the nodes that lead to it from what the kernel reads and from its other results. So a residual sum is kept
 * and the norm behind it, which the same kernel makes, is computed from it. */
#include "passes/recompute_model.h"

#include <math.h>
#include <string.h>

#include "ir/group.h"
#include "ir/view.h"
#include "ir/work.h"
#include "passes/schedule.h"

static bool is_forward(const col_recompute_model *m, int32_t position)
{
    return position < m->forward_units;
}

/* Costs. */

static double collective_seconds(const col_recompute_model *m, const col_node *node)
{
    static const col_collective kinds[] = {[COL_OP_ALL_REDUCE] = COL_ALL_REDUCE,
                                           [COL_OP_ALL_GATHER] = COL_ALL_GATHER,
                                           [COL_OP_REDUCE_SCATTER] = COL_REDUCE_SCATTER,
                                           [COL_OP_ALL_TO_ALL] = COL_ALL_TO_ALL,
                                           [COL_OP_BROADCAST_FROM] = COL_REDUCE_SCATTER};
    col_axes axes = {0};
    int count;
    const int64_t *list = col_node_ints(node, COL_ATTR_MESH_AXES, &count);
    for (int i = 0; i < count; i++) axes.axis[axes.count++] = (uint8_t)list[i];
    if (node->op == COL_OP_SEND_RECEIVE)
        return col_cost_send(m->machine, &m->graph->mesh, &axes,
                             (double)col_type_bytes(col_node_operand(node, 0)->type));
    COL_ASSERT(node->op < (col_op)COL_COUNT(kinds));
    return col_cost_collective(m->machine, &m->graph->mesh, kinds[node->op], &axes,
                               (double)col_type_bytes(col_node_operand(node, 0)->type));
}

static double work_seconds(const col_recompute_model *m, const col_node *first, double flops, double bytes)
{
    if (!m->machine) return 0;
    if (col_node_attr(first, COL_ATTR_MESH_AXES) && first->op != COL_OP_SHARD)
        return collective_seconds(m, first);
    return col_cost_seconds(m->machine, col_cost_class_of(col_node_work(first).kind), flops, bytes);
}

static int64_t nanoseconds(const col_recompute_model *m, double seconds)
{
    return m->accumulate * (int64_t)llround(fmin(seconds, 1e6) * 1e9);
}

static void add_unit_cost(col_recompute_model *m, const col_unit *unit)
{
    double flops = 0, bytes = 0;
    if (!unit->write_count) return;
    for (uint32_t i = 0; i < unit->node_count; i++) flops += col_node_work(unit->nodes[i]).flops;
    for (uint32_t i = 0; i < unit->read_count; i++) bytes += (double)col_type_bytes(unit->reads[i]->type);
    for (uint32_t i = 0; i < unit->write_count; i++) bytes += (double)col_type_bytes(unit->writes[i]->type);
    double seconds = work_seconds(m, unit->nodes[0], flops, bytes);
    bool once = unit->nodes[0]->phase == COL_PHASE_UPDATE;
    m->cost += once ? nanoseconds(m, seconds) / m->accumulate : nanoseconds(m, seconds);
}

/* Pieces. */

typedef struct walker {
    col_recompute_model *m;
    uint32_t *seen; /* by value or node id: mark of the walk */
    uint32_t *met;
    uint32_t mark;
    const bool *assigned; /* by variable: written before the update */
    recompute_item *item;
    int32_t index;
    double flops, bytes;
} walker;

static void walk_piece(walker *w, const col_node *node)
{
    recompute_item *item = w->item;
    if (w->seen[node->id] == w->mark) return;
    w->seen[node->id] = w->mark;
    w->flops += col_node_work(node).flops;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *base = col_view_of(col_node_operand(node, i)).base;
        const col_node *maker = base->producer;
        if (maker && w->m->units->by_node[maker->id] == (uint32_t)item->unit &&
            w->m->item_of[maker->id] < 0) {
            walk_piece(w, maker);
            continue;
        }
        if (w->met[base->id] == w->mark) continue;
        w->met[base->id] = w->mark;
        w->bytes += (double)col_type_bytes(base->type);
        if (base->var && w->assigned[base->var->index]) item->must_keep = true;
        if (!maker) continue;
        int32_t from = w->m->item_of[maker->id];
        COL_ASSERT(from >= 0 && from < w->index);
        bool known = false;
        for (size_t n = 0; n < item->reads.len; n++) known |= item->reads.data[n] == from;
        if (known) continue;
        col_vec_push(w->m->arena, &item->reads, from);
        col_vec_push(w->m->arena, &w->m->items.data[from].readers, w->index);
    }
}

static void find_pieces(col_recompute_model *m, col_arena *scratch)
{
    bool *assigned = COL_NEW_ARRAY(scratch, bool, m->graph->vars.len + 1);
    COL_FOR_EACH_NODE (node, m->graph) {
        if (node->op == COL_OP_ASSIGN && node->phase != COL_PHASE_UPDATE)
            assigned[col_graph_find_var(m->graph, col_node_text(node, COL_ATTR_VARIABLE))->index] = true;
    }
    walker w = {.m = m,
                .seen = COL_NEW_ARRAY(scratch, uint32_t, m->graph->next_node_id),
                .met = COL_NEW_ARRAY(scratch, uint32_t, m->graph->next_value_id),
                .assigned = assigned};
    for (size_t i = 0; i < m->items.len; i++) {
        w.item = &m->items.data[i];
        w.index = (int32_t)i;
        w.mark++;
        w.flops = 0;
        w.bytes = (double)w.item->bytes;
        walk_piece(&w, w.item->node);
        w.item->must_keep |= col_node_overwrites(w.item->node);
        w.item->cost = nanoseconds(m, work_seconds(m, w.item->node, w.flops, w.bytes));
    }
}

/* Nests. */

static void note_nests(col_recompute_model *m, col_group *group, const col_unit *unit)
{
    const col_node *const *nodes = (const col_node *const *)unit->nodes;
    const col_domain *domain = NULL;
    for (uint32_t i = 0; i < unit->node_count && nodes[0]->group >= 0; i++) {
        if (col_op_info_of(nodes[i]->op)->op_class != COL_CLASS_REDUCTION || nodes[i]->id >= m->node_ids)
            continue;
        if (!domain) {
            col_group_query query = {.group = nodes[0]->group};
            bool has_nest = col_group_analyze(nodes, unit->node_count, &query, group);
            COL_ASSERT(has_nest); /* fuse has formed it */
            domain = col_arena_copy(m->arena, &group->domain, sizeof group->domain);
        }
        m->nests.of[nodes[i]->id] = domain;
    }
}

static void find_nests(col_recompute_model *m, col_arena *scratch)
{
    col_group group = {.arena = scratch};
    m->nests = (col_nests){COL_NEW_ARRAY(m->arena, const struct col_domain *, m->node_ids), m->node_ids};
    for (uint32_t u = 0; u < m->units->count; u++) note_nests(m, &group, &m->units->units[u]);
}

/* Live ranges. */

static void list_items(col_recompute_model *m)
{
    m->item_of = COL_NEW_ARRAY(m->arena, int32_t, m->graph->next_node_id);
    memset(m->item_of, 0xff, sizeof *m->item_of * m->graph->next_node_id);
    for (int32_t u = 0; is_forward(m, u); u++) {
        const col_unit *unit = &m->units->units[u];
        for (uint32_t i = 0; i < unit->write_count; i++) {
            const col_node *node = unit->writes[i]->producer;
            int64_t bytes = col_plan_padded(col_type_bytes(unit->writes[i]->type));
            if (m->item_of[node->id] >= 0) {
                m->items.data[m->item_of[node->id]].bytes += bytes;
                continue;
            }
            m->item_of[node->id] = (int32_t)m->items.len;
            recompute_item item = {.node = node,
                                   .unit = u,
                                   .bytes = bytes,
                                   .last_forward = u,
                                   .first_backward = -1,
                                   .last_backward = -1};
            col_vec_push(m->arena, &m->items, item);
        }
    }
}

static void note_read(col_recompute_model *m, const col_value *base, int32_t position)
{
    int32_t index = base->producer ? m->item_of[base->producer->id] : -1;
    if (index < 0) return;
    recompute_item *item = &m->items.data[index];
    if (is_forward(m, position)) {
        item->last_forward = position;
        return;
    }
    if (item->first_backward < 0) item->first_backward = position;
    item->last_backward = position;
    if (position == (int32_t)m->units->count || m->units->units[position].nodes[0]->phase == COL_PHASE_UPDATE)
        item->must_keep = true;
}

static void find_reads(col_recompute_model *m)
{
    for (uint32_t u = 0; u < m->units->count; u++) {
        const col_unit *unit = &m->units->units[u];
        for (uint32_t i = 0; i < unit->read_count; i++) note_read(m, unit->reads[i], (int32_t)u);
    }
    for (size_t i = 0; i < m->graph->outputs.len; i++)
        note_read(m, col_view_of(m->graph->outputs.data[i].value).base, (int32_t)m->units->count);
}

/* A kernel may write a result over an operand of its size that nothing needs any more; memory planning knows
 * whether it can, here it is taken to. One operand for each result. What overwrites its base does so always. */
static void find_reuse(col_recompute_model *m, uint32_t *last, bool *reused, uint32_t u)
{
    const col_unit *unit = &m->units->units[u];
    uint64_t taken = 0;
    const col_node *first = unit->nodes[0];
    const col_value *base = col_node_overwrites(first) ? col_view_of(col_node_operand(first, 0)).base : NULL;
    if (first->group < 0 && !base) return;
    for (uint32_t w = 0; w < unit->write_count; w++) {
        for (uint32_t r = 0; r < COL_MIN(unit->read_count, 64); r++) {
            const col_value *value = unit->reads[r];
            if ((base && value != base) || value->var || taken >> r & 1 ||
                col_type_bytes(value->type) != col_type_bytes(unit->writes[w]->type))
                continue;
            int32_t index = m->item_of[value->producer->id];
            recompute_item *item = index < 0 ? NULL : &m->items.data[index];
            if (item && item->node->result_count > 1) continue;
            if (item ? item->last_forward != (int32_t)u && item->last_backward != (int32_t)u
                     : last[value->id] != u)
                continue;
            taken |= UINT64_C(1) << r;
            reused[value->id] = true;
            if (item && is_forward(m, (int32_t)u)) item->reused_forward = true;
            if (item && !is_forward(m, (int32_t)u)) item->reused_backward = true;
            break;
        }
    }
}

/* Values of the other phases: from the unit that makes them to the last that reads them. What is assigned
 * lies in its variable. */
static void measure_others(col_recompute_model *m, col_arena *scratch)
{
    uint32_t *last = COL_NEW_ARRAY(scratch, uint32_t, m->graph->next_value_id);
    bool *assigned = COL_NEW_ARRAY(scratch, bool, m->graph->next_value_id);
    bool *reused = COL_NEW_ARRAY(scratch, bool, m->graph->next_value_id);
    int64_t *change = COL_NEW_ARRAY(scratch, int64_t, m->units->count + 2);
    for (uint32_t u = 0; u < m->units->count; u++) {
        const col_unit *unit = &m->units->units[u];
        for (uint32_t i = 0; i < unit->read_count; i++) last[unit->reads[i]->id] = u;
    }
    for (size_t i = 0; i < m->graph->outputs.len; i++)
        last[col_view_of(m->graph->outputs.data[i].value).base->id] = m->units->count;
    COL_FOR_EACH_NODE (node, m->graph) {
        if (node->op == COL_OP_ASSIGN) assigned[col_view_of(col_node_operand(node, 0)).base->id] = true;
    }
    for (uint32_t u = 0; u < m->units->count; u++) find_reuse(m, last, reused, u);
    for (uint32_t u = (uint32_t)m->forward_units; u < m->units->count; u++) {
        const col_unit *unit = &m->units->units[u];
        for (uint32_t i = 0; i < unit->write_count; i++) {
            const col_value *value = unit->writes[i];
            if (assigned[value->id]) continue;
            int64_t bytes = col_plan_padded(col_type_bytes(value->type));
            change[u] += bytes;
            change[COL_MAX(last[value->id], u) + !reused[value->id]] -= bytes;
        }
    }
    m->other_bytes = COL_NEW_ARRAY(m->arena, int64_t, m->units->count + 1);
    int64_t live = 0;
    for (uint32_t u = 0; u <= m->units->count; u++) m->other_bytes[u] = live += change[u];
}

col_recompute_model *col_recompute_model_create(const col_graph *graph, const col_machine *machine,
                                                int64_t accumulate, col_arena *arena)
{
    col_arena *scratch = col_arena_create();
    col_recompute_model *m = COL_NEW(arena, col_recompute_model);
    *m = (col_recompute_model){.arena = arena,
                               .machine = machine,
                               .accumulate = COL_MAX(accumulate, 1),
                               .graph = col_graph_clone(graph, arena),
                               .node_ids = graph->next_node_id};
    static const col_pass_options options = {0};
    col_status status = col_pass_fuse(m->graph, &options);
    COL_ASSERT(!status);
    col_schedule(m->graph, true);
    m->units = col_units_of(m->graph, arena);
    while ((uint32_t)m->forward_units < m->units->count &&
           m->units->units[m->forward_units].nodes[0]->phase == COL_PHASE_FORWARD)
        m->forward_units++;
    list_items(m);
    find_reads(m);
    find_pieces(m, scratch);
    find_nests(m, scratch);
    measure_others(m, scratch);
    for (uint32_t u = 0; u < m->units->count; u++) add_unit_cost(m, &m->units->units[u]);
    recompute_find_cuts(m);
    col_arena_destroy(scratch);
    return m;
}

int32_t col_recompute_blocks(const col_recompute_model *model)
{
    return (int32_t)model->cuts.len + 1;
}

int64_t col_recompute_keep_peak(const col_recompute_model *m)
{
    int64_t *change = COL_NEW_ARRAY(m->arena, int64_t, m->units->count + 2), live = 0, peak = 0;
    for (size_t i = 0; i < m->items.len; i++) {
        const recompute_item *item = &m->items.data[i];
        change[item->unit] += item->bytes;
        bool kept = item->last_backward >= 0;
        int32_t last = kept ? item->last_backward : item->last_forward;
        change[last + !(kept ? item->reused_backward : item->reused_forward)] -= item->bytes;
    }
    for (uint32_t u = 0; u <= m->units->count; u++) {
        live += change[u];
        peak = COL_MAX(peak, live + m->other_bytes[u]);
    }
    return peak;
}
