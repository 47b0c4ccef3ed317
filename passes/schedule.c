/* Orders the units of a graph: groups become contiguous, phases stay in order, and the peak of live bytes is
 * kept low.
 *
 * needs     fuse; a unit never depends on itself through another (fuse's promise)
 * provides  a node order in which every unit is contiguous, and an assignment stands after every read of its
 *           variable
 * breaks    nothing
 *
 * Two candidate orders are made and the one with the lower peak wins: the order of the model's text, which is
 * good where the author's order is, and a greedy list schedule that always takes the ready unit that frees
 * the most (counter-example to greedy alone: it likes to start many branches that each shrink a little, and
 * keeps all of their results). Finding the best order is NP-hard (Sethi, 1975). */
#include "passes/pass.h"

#include <string.h>

#include "ir/units.h"
#include "ir/view.h"

typedef struct edge {
    uint32_t to;
    struct edge *next;
} edge;

typedef struct scheduler {
    const col_graph *graph;
    col_arena *arena;
    col_units *units;
    edge **after;       /* by unit: units that must follow */
    uint32_t *blockers; /* by unit: units that must come first */
    uint32_t *readers;  /* by value id: units that read the base */
    uint8_t *kept;      /* by value id: live to the end (outputs, variables) */
    uint64_t *bytes;    /* by value id: of bases with bytes of their own that are not variables, else 0 */
} scheduler;

static void add_edge(scheduler *s, uint32_t from, uint32_t to)
{
    if (from == to) return;
    edge *e = COL_NEW(s->arena, edge);
    *e = (edge){to, s->after[from]};
    s->after[from] = e;
    s->blockers[to]++;
}

static void add_data_edges(scheduler *s)
{
    COL_FOR_EACH_NODE (node, s->graph) {
        uint32_t unit = s->units->by_node[node->id];
        for (uint32_t i = 0; i < node->operand_count; i++) {
            const col_node *producer = col_node_operand(node, i)->producer;
            if (producer) add_edge(s, s->units->by_node[producer->id], unit);
        }
    }
}

/* An assignment waits for all that read the variable's old value. */
static void add_variable_edges(scheduler *s)
{
    uint32_t *assigner = COL_NEW_ARRAY(s->arena, uint32_t, s->graph->vars.len);
    COL_FOR_EACH_NODE (node, s->graph) {
        if (node->op != COL_OP_ASSIGN) continue;
        assigner[col_graph_find_var(s->graph, col_node_text(node, COL_ATTR_VARIABLE))->index] =
            s->units->by_node[node->id] + 1;
    }
    for (uint32_t u = 0; u < s->units->count; u++) {
        for (uint32_t i = 0; i < s->units->units[u].read_count; i++) {
            const col_var *var = s->units->units[u].reads[i]->var;
            if (var && assigner[var->index]) add_edge(s, u, assigner[var->index] - 1);
        }
    }
}

static void measure_values(scheduler *s)
{
    for (uint32_t u = 0; u < s->units->count; u++) {
        const col_unit *unit = &s->units->units[u];
        for (uint32_t i = 0; i < unit->read_count; i++) s->readers[unit->reads[i]->id]++;
        for (uint32_t i = 0; i < unit->write_count; i++) {
            s->bytes[unit->writes[i]->id] = (uint64_t)col_type_bytes(unit->writes[i]->type);
        }
    }
    for (size_t i = 0; i < s->graph->outputs.len; i++)
        s->kept[col_view_of(s->graph->outputs.data[i].value).base->id] = 1;
}

/* Change of live bytes by running the unit, given how many readers each value still has. */
static int64_t growth(const scheduler *s, uint32_t u, const uint32_t *readers)
{
    const col_unit *unit = &s->units->units[u];
    int64_t delta = 0;
    for (uint32_t i = 0; i < unit->write_count; i++) delta += (int64_t)s->bytes[unit->writes[i]->id];
    for (uint32_t i = 0; i < unit->read_count; i++) {
        uint32_t id = unit->reads[i]->id;
        if (readers[id] == 1 && !s->kept[id]) delta -= (int64_t)s->bytes[id];
    }
    return delta;
}

static uint64_t peak_of(const scheduler *s, const uint32_t *order)
{
    uint32_t *readers = col_arena_copy(s->arena, s->readers, sizeof *readers * s->graph->next_value_id);
    int64_t live = 0, peak = 0;
    for (uint32_t n = 0; n < s->units->count; n++) {
        const col_unit *unit = &s->units->units[order[n]];
        int64_t written = 0;
        for (uint32_t i = 0; i < unit->write_count; i++) written += (int64_t)s->bytes[unit->writes[i]->id];
        peak = COL_MAX(peak, live + written);
        live += growth(s, order[n], readers);
        for (uint32_t i = 0; i < unit->read_count; i++) readers[unit->reads[i]->id]--;
    }
    return (uint64_t)peak;
}

/* Takes ready units until none is left; phases are barriers. `greedy` picks the smallest growth, else the
 * smallest position. Ready units are kept sorted by position in a plain array: they are few, since programs
 * are deep. */
static uint32_t *list_schedule(const scheduler *s, bool greedy)
{
    uint32_t count = s->units->count, *order = COL_NEW_ARRAY(s->arena, uint32_t, count), done = 0;
    uint32_t *blockers = col_arena_copy(s->arena, s->blockers, sizeof *blockers * count);
    uint32_t *readers = col_arena_copy(s->arena, s->readers, sizeof *readers * s->graph->next_value_id);
    uint32_t *ready = COL_NEW_ARRAY(s->arena, uint32_t, count), ready_count = 0;
    for (int phase = 0; phase < COL_PHASE_COUNT; phase++) {
        ready_count = 0;
        for (uint32_t u = 0; u < count; u++) {
            if ((int)s->units->units[u].nodes[0]->phase == phase && !blockers[u]) ready[ready_count++] = u;
        }
        while (ready_count) {
            uint32_t best = 0;
            int64_t best_growth = greedy ? growth(s, ready[0], readers) : 0;
            for (uint32_t i = 1; i < ready_count; i++) {
                int64_t g = greedy ? growth(s, ready[i], readers) : 0;
                if (g < best_growth || (g == best_growth && ready[i] < ready[best]))
                    best = i, best_growth = g;
            }
            uint32_t u = ready[best];
            ready[best] = ready[--ready_count];
            order[done++] = u;
            for (uint32_t i = 0; i < s->units->units[u].read_count; i++)
                readers[s->units->units[u].reads[i]->id]--;
            for (edge *e = s->after[u]; e; e = e->next) {
                if (--blockers[e->to] == 0 && (int)s->units->units[e->to].nodes[0]->phase == phase)
                    ready[ready_count++] = e->to;
            }
        }
    }
    if (done != count) COL_PANIC("the units of the graph depend on each other in a circle");
    return order;
}

col_status col_pass_schedule(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    col_arena *scratch = col_arena_create();
    scheduler s = {.graph = graph, .arena = scratch, .units = col_units_of(graph, scratch)};
    s.after = COL_NEW_ARRAY(scratch, edge *, s.units->count);
    s.blockers = COL_NEW_ARRAY(scratch, uint32_t, s.units->count);
    s.readers = COL_NEW_ARRAY(scratch, uint32_t, graph->next_value_id);
    s.kept = COL_NEW_ARRAY(scratch, uint8_t, graph->next_value_id);
    s.bytes = COL_NEW_ARRAY(scratch, uint64_t, graph->next_value_id);
    add_data_edges(&s);
    add_variable_edges(&s);
    measure_values(&s);
    uint32_t *by_text = list_schedule(&s, false), *by_growth = list_schedule(&s, true);
    uint32_t *order = peak_of(&s, by_growth) < peak_of(&s, by_text) ? by_growth : by_text;
    for (uint32_t n = 0; n < s.units->count; n++) {
        const col_unit *unit = &s.units->units[order[n]];
        for (uint32_t i = 0; i < unit->node_count; i++) col_graph_move(unit->nodes[i], NULL);
    }
    col_arena_destroy(scratch);
    return NULL;
}
