#include "ir/units.h"

#include <string.h>

#include "ir/view.h"

typedef struct collector {
    col_arena *arena;
    col_units *list;
    uint32_t *last_reader; /* by value id: mark of the last listing */
} collector;

static bool is_virtual_view(const col_node *node)
{
    if (col_op_info_of(node->op)->op_class != COL_CLASS_VIEW) return false;
    for (uint32_t i = 0; i < node->result_count; i++) {
        if (!col_value_is_virtual(&node->results[i])) return false;
    }
    return true;
}

/* Groups in order of their last node, ungrouped nodes at their own place. */
static void assign_units(const col_graph *graph, collector *c)
{
    int32_t groups = 0;
    COL_FOR_EACH_NODE (node, graph) groups = COL_MAX(groups, node->group + 1);
    uint32_t *sizes = COL_NEW_ARRAY(c->arena, uint32_t, groups),
             *seen = COL_NEW_ARRAY(c->arena, uint32_t, groups);
    uint32_t *unit_of_group = COL_NEW_ARRAY(c->arena, uint32_t, groups);
    COL_FOR_EACH_NODE (node, graph) {
        if (node->group >= 0) sizes[node->group]++;
    }
    c->list->units = COL_NEW_ARRAY(c->arena, col_unit, graph->node_count);
    COL_FOR_EACH_NODE (node, graph) {
        uint32_t size = node->group >= 0 ? sizes[node->group] : 1;
        if (node->group >= 0 && ++seen[node->group] < size) continue;
        col_unit *unit = &c->list->units[c->list->count];
        unit->nodes = COL_NEW_ARRAY(c->arena, col_node *, size);
        if (node->group >= 0) unit_of_group[node->group] = c->list->count;
        c->list->by_node[node->id] = c->list->count++;
    }
    COL_FOR_EACH_NODE (node, graph) {
        if (node->group >= 0) c->list->by_node[node->id] = unit_of_group[node->group];
        col_unit *unit = &c->list->units[c->list->by_node[node->id]];
        unit->nodes[unit->node_count++] = node;
    }
}

static bool is_outside(const collector *c, const col_value *base, uint32_t unit)
{
    return !base->producer || c->list->by_node[base->producer->id] != unit;
}

/* Counts (with a NULL list) or lists the bases that the unit reads. */
static uint32_t collect_reads(collector *c, uint32_t unit, const col_value **out)
{
    const col_unit *u = &c->list->units[unit];
    uint32_t count = 0, mark = 2 * unit + (out ? 2 : 1);
    for (uint32_t n = 0; n < u->node_count; n++) {
        if (is_virtual_view(u->nodes[n])) continue;
        for (uint32_t i = 0; i < u->nodes[n]->operand_count; i++) {
            const col_value *base = col_view_of(col_node_operand(u->nodes[n], i)).base;
            if (!is_outside(c, base, unit) || c->last_reader[base->id] == mark) continue;
            c->last_reader[base->id] = mark;
            if (out) out[count] = base;
            count++;
        }
    }
    return count;
}

/* Every base that some unit other than its producer's reads, or that is an output, is written by its
 * producer. */
static void mark_writes(const col_graph *graph, collector *c, uint8_t *needed)
{
    for (uint32_t unit = 0; unit < c->list->count; unit++) {
        for (uint32_t i = 0; i < c->list->units[unit].read_count; i++)
            needed[c->list->units[unit].reads[i]->id] = 1;
    }
    for (size_t i = 0; i < graph->outputs.len; i++)
        needed[col_view_of(graph->outputs.data[i].value).base->id] = 1;
}

static uint32_t collect_writes(const collector *c, uint32_t unit, const uint8_t *needed,
                               const col_value **out)
{
    const col_unit *u = &c->list->units[unit];
    uint32_t count = 0;
    for (uint32_t n = 0; n < u->node_count; n++) {
        for (uint32_t i = 0; i < u->nodes[n]->result_count; i++) {
            const col_value *value = &u->nodes[n]->results[i];
            bool opaque =
                col_op_info_of(u->nodes[n]->op)->op_class == COL_CLASS_OPAQUE; /* writes all its results */
            if (!needed[value->id] && !opaque) continue;
            if (out) out[count] = value;
            count++;
        }
    }
    return count;
}

col_units *col_units_of(const col_graph *graph, col_arena *arena)
{
    collector c = {.arena = arena, .list = COL_NEW(arena, col_units)};
    c.list->by_node = COL_NEW_ARRAY(arena, uint32_t, graph->next_node_id);
    c.last_reader = COL_NEW_ARRAY(arena, uint32_t, graph->next_value_id);
    uint8_t *needed = COL_NEW_ARRAY(arena, uint8_t, graph->next_value_id);
    assign_units(graph, &c);
    for (uint32_t unit = 0; unit < c.list->count; unit++) {
        col_unit *u = &c.list->units[unit];
        u->read_count = collect_reads(&c, unit, NULL);
        u->reads = COL_NEW_ARRAY(arena, const col_value *, u->read_count);
        collect_reads(&c, unit, u->reads);
    }
    mark_writes(graph, &c, needed);
    for (uint32_t unit = 0; unit < c.list->count; unit++) {
        col_unit *u = &c.list->units[unit];
        u->write_count = collect_writes(&c, unit, needed, NULL);
        u->writes = COL_NEW_ARRAY(arena, const col_value *, u->write_count);
        collect_writes(&c, unit, needed, u->writes);
    }
    return c.list;
}

int32_t col_unit_turn(const col_unit *unit)
{
    for (uint32_t i = 0; i < unit->node_count; i++) {
        if (!unit->nodes[i]->turn) return 0;
    }
    return unit->nodes[0]->turn;
}
