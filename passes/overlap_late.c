#include "passes/overlap_model.h"

/* Whether nothing of the unit's phase needs it but late units. */
static bool is_for_later(const col_overlapper *o, const col_unit *unit, const bool *is_late)
{
    for (uint32_t n = 0; n < unit->node_count; n++) {
        const col_node *node = unit->nodes[n];
        for (uint32_t i = 0; i < node->result_count; i++) {
            if (col_value_is_output(o->graph, &node->results[i])) return false;
            for (const col_operand *use = node->results[i].first_use; use; use = use->next_use) {
                uint32_t user = o->units->by_node[use->user->id];
                bool may_wait = use->user->phase > node->phase || is_late[user];
                if (!may_wait && col_overlap_unit(o, user) != unit) return false;
            }
        }
    }
    return true;
}

/* Whether the unit reads what a collective of its phase, or a unit with `is_after`, has made. */
static bool is_behind_collective(const col_overlapper *o, const col_unit *unit, const bool *is_after)
{
    for (uint32_t n = 0; n < unit->node_count; n++) {
        for (uint32_t i = 0; i < unit->nodes[n]->operand_count; i++) {
            const col_node *producer = col_node_operand(unit->nodes[n], i)->producer;
            if (!producer || producer->phase != unit->nodes[n]->phase) continue;
            if (col_overlap_communicates(producer) || is_after[o->units->by_node[producer->id]]) return true;
        }
    }
    return false;
}

bool col_overlap_sink(const col_overlapper *o, double limit)
{
    uint32_t count = o->units->count;
    bool *is_late = COL_NEW_ARRAY(o->arena, bool, count), *is_after = COL_NEW_ARRAY(o->arena, bool, count);
    bool any = false;
    double bytes = 0;
    for (uint32_t u = 0; u < count; u++)
        is_after[u] = is_behind_collective(o, col_overlap_unit(o, u), is_after);
    for (uint32_t u = count; u-- > 0;) {
        const col_unit *unit = col_overlap_unit(o, u);
        col_op op = unit->nodes[0]->op;
        bool may_move = is_after[u] && !col_overlap_communicates(unit->nodes[0]) && op != COL_OP_WAIT &&
                        op != COL_OP_ASSIGN;
        is_late[u] = may_move && is_for_later(o, unit, is_late);
        any |= is_late[u];
        for (uint32_t i = 0; is_late[u] && i < unit->read_count; i++)
            bytes += (double)col_overlap_bytes(o, unit->reads[i]);
    }
    if (!any || bytes > limit) return false;
    for (int p = 0; p < COL_PHASE_COUNT; p++) {
        uint32_t end = o->phase_end[p];
        col_node *next = end < count ? col_overlap_unit(o, end)->nodes[0] : NULL;
        for (uint32_t u = col_overlap_phase_start(o, (col_phase)p); u < end; u++) {
            const col_unit *unit = col_overlap_unit(o, u);
            for (uint32_t n = 0; is_late[u] && n < unit->node_count; n++)
                col_graph_move(unit->nodes[n], next);
        }
    }
    return true;
}
