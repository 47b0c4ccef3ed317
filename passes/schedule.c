/* Orders the units of a graph: groups become contiguous, phases stay in order, and the peak of live bytes is
 * kept low.
 *
 * needs     fuse; a unit never depends on itself through another (fuse's promise)
 * provides  a node order in which every unit is contiguous, and an assignment stands after every read of its
 *           variable
 * breaks    nothing
 *
 * Candidate orders are made and the one with the lowest peak wins: the order of the model's text, which is
 * good where the author's order is, and a greedy list schedule that always takes the ready unit that frees
 * the most (counter-example to greedy alone: it likes to start many branches that each shrink a little, and
 * keeps all of their results), and between the two: by text, but first whatever lowers the live bytes, so that
 * sums and slices of gradients do not wait for the end of the phase. What is computed again (passes/recompute.c)
 * comes as late as it can, when nothing else is ready, or where it stands. Finding the best order is NP-hard
 * (Sethi, 1975). */
#include "passes/schedule.h"

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
    uint8_t *again;     /* by unit: computes forward values again */
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

/* Bytes that the unit needs beside what is live: all that it writes, but for what a kernel may write over an
 * operand of the same size that dies in it, and what a node writes over its base. */
static int64_t needed(const scheduler *s, uint32_t u, const uint32_t *readers)
{
    const col_unit *unit = &s->units->units[u];
    if (col_node_overwrites(unit->nodes[0])) return 0;
    int64_t bytes = 0;
    uint64_t taken = 0;
    bool is_kernel = unit->nodes[0]->group >= 0;
    for (uint32_t w = 0; w < unit->write_count; w++) {
        bool reused = false;
        for (uint32_t r = 0; r < COL_MIN(unit->read_count, 64) && is_kernel && !reused; r++) {
            uint32_t id = unit->reads[r]->id;
            reused = readers[id] == 1 && !s->kept[id] && s->bytes[id] == s->bytes[unit->writes[w]->id] &&
                     !(taken >> r & 1);
            if (reused) taken |= UINT64_C(1) << r;
        }
        if (!reused) bytes += (int64_t)s->bytes[unit->writes[w]->id];
    }
    return bytes;
}

static uint64_t peak_of(const scheduler *s, const uint32_t *order)
{
    uint32_t *readers = col_arena_copy(s->arena, s->readers, sizeof *readers * s->graph->next_value_id);
    int64_t live = 0, peak = 0;
    for (uint32_t n = 0; n < s->units->count; n++) {
        const col_unit *unit = &s->units->units[order[n]];
        peak = COL_MAX(peak, live + needed(s, order[n], readers));
        live += growth(s, order[n], readers);
        for (uint32_t i = 0; i < unit->read_count; i++) readers[unit->reads[i]->id]--;
    }
    return (uint64_t)peak;
}

/* How the next unit is picked among those that are ready. */
typedef struct rule {
    bool greedy; /* by the smallest growth; else, and among equals, by the smallest position */
    bool forget; /* growth without what the forward phase leaves for the backward phase */
    bool shrink; /* first what lowers the live bytes most; else by position */
    bool lazy;   /* what is computed again only when nothing else is ready, by position */
} rule;

/* Takes ready units until none is left; phases are barriers. They are few, since programs are deep. */
static uint32_t *list_schedule(const scheduler *s, rule how)
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
            int64_t best_growth = 0;
            for (uint32_t i = 0; i < ready_count; i++) {
                bool waits = how.lazy && s->again[ready[i]];
                int64_t g = how.greedy ? growth(s, ready[i], readers) : 0;
                if (how.shrink) g = COL_MIN(growth(s, ready[i], readers), 0);
                if (waits) g = INT64_MAX;
                if (!i || g < best_growth || (g == best_growth && ready[i] < ready[best]))
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

/* Improving an order where it peaks. */

enum { WINDOW = 48, IMPROVEMENTS = 400 };

typedef struct improver {
    const scheduler *s;
    uint32_t *order;
    uint32_t *readers; /* as they are before the window */
} improver;

/* The largest live sum over order[from .. to), given what is live before; leaves `readers` as they were. */
static int64_t window_peak(const improver *v, int64_t live, uint32_t from, uint32_t to, uint32_t *out_at)
{
    int64_t peak = INT64_MIN;
    for (uint32_t n = from; n < to; n++) {
        const col_unit *unit = &v->s->units->units[v->order[n]];
        int64_t with = live + needed(v->s, v->order[n], v->readers);
        if (with > peak) {
            peak = with;
            if (out_at) *out_at = n;
        }
        live += growth(v->s, v->order[n], v->readers);
        for (uint32_t i = 0; i < unit->read_count; i++) v->readers[unit->reads[i]->id]--;
    }
    for (uint32_t n = from; n < to; n++) {
        const col_unit *unit = &v->s->units->units[v->order[n]];
        for (uint32_t i = 0; i < unit->read_count; i++) v->readers[unit->reads[i]->id]++;
    }
    return peak;
}

static void move_unit(uint32_t *order, uint32_t from, uint32_t to)
{
    uint32_t unit = order[from];
    if (from < to)
        memmove(order + from, order + from + 1, sizeof *order * (to - from));
    else
        memmove(order + to + 1, order + to, sizeof *order * (from - to));
    order[to] = unit;
}

static bool must_follow(const scheduler *s, uint32_t before, uint32_t after)
{
    for (const edge *e = s->after[before]; e; e = e->next) {
        if (e->to == after) return true;
    }
    return s->units->units[before].nodes[0]->phase != s->units->units[after].nodes[0]->phase;
}

/* Moves the unit at `from` behind the one at `at`, or in front of it, if nothing between forbids it. */
static bool can_move(const improver *v, uint32_t from, uint32_t at)
{
    uint32_t unit = v->order[from];
    for (uint32_t n = from + 1; n <= at; n++) {
        if (must_follow(v->s, unit, v->order[n])) return false;
    }
    for (uint32_t n = at; n < from; n++) {
        if (must_follow(v->s, v->order[n], unit)) return false;
    }
    return true;
}

/* One unit that stands shortly before the peak moves behind it, or one behind it moves before, where that
 * lowers the peak; again and again. */
static void lower_peak(const scheduler *s, uint32_t *order)
{
    size_t size = sizeof *s->readers * s->graph->next_value_id;
    improver v = {.s = s, .order = order, .readers = col_arena_copy(s->arena, s->readers, size)};
    uint32_t count = s->units->count;
    for (int i = 0; i < IMPROVEMENTS; i++) {
        uint32_t at = 0;
        memcpy(v.readers, s->readers, size);
        window_peak(&v, 0, 0, count, &at);
        uint32_t from = at > WINDOW ? at - WINDOW : 0, to = COL_MIN(count, at + WINDOW);
        int64_t live = 0;
        for (uint32_t n = 0; n < from; n++) {
            const col_unit *unit = &s->units->units[order[n]];
            live += growth(s, order[n], v.readers);
            for (uint32_t r = 0; r < unit->read_count; r++) v.readers[unit->reads[r]->id]--;
        }
        int64_t peak = window_peak(&v, live, from, to, NULL);
        bool better = false;
        for (uint32_t n = from; n < to && !better; n++) {
            if (n == at || !can_move(&v, n, at)) continue;
            move_unit(order, n, at);
            better = window_peak(&v, live, from, to, NULL) < peak;
            if (!better) move_unit(order, at, n);
        }
        if (!better) return;
    }
}

/* Bytes live summed over all units: of two orders with one peak, that with less leaves more room elsewhere. */
static double area_of(const scheduler *s, const uint32_t *order)
{
    uint32_t *readers = col_arena_copy(s->arena, s->readers, sizeof *readers * s->graph->next_value_id);
    double live = 0, area = 0;
    for (uint32_t n = 0; n < s->units->count; n++) {
        const col_unit *unit = &s->units->units[order[n]];
        live += (double)growth(s, order[n], readers);
        area += live;
        for (uint32_t i = 0; i < unit->read_count; i++) readers[unit->reads[i]->id]--;
    }
    return area;
}

/* Bytes by value id without what the forward phase leaves for the backward phase. */
static uint64_t *forget_kept(const scheduler *s)
{
    uint64_t *bytes = col_arena_copy(s->arena, s->bytes, sizeof *bytes * s->graph->next_value_id);
    COL_FOR_EACH_NODE (node, s->graph) {
        if (node->phase != COL_PHASE_BACKWARD) continue;
        const col_unit *unit = &s->units->units[s->units->by_node[node->id]];
        for (uint32_t i = 0; i < unit->read_count; i++) {
            const col_node *producer = unit->reads[i]->producer;
            if (producer && producer->phase == COL_PHASE_FORWARD) bytes[unit->reads[i]->id] = 0;
        }
    }
    return bytes;
}

void col_schedule(col_graph *graph, bool may_drop)
{
    col_arena *scratch = col_arena_create();
    scheduler s = {.graph = graph, .arena = scratch, .units = col_units_of(graph, scratch)};
    s.after = COL_NEW_ARRAY(scratch, edge *, s.units->count);
    s.blockers = COL_NEW_ARRAY(scratch, uint32_t, s.units->count);
    s.readers = COL_NEW_ARRAY(scratch, uint32_t, graph->next_value_id);
    s.kept = COL_NEW_ARRAY(scratch, uint8_t, graph->next_value_id);
    s.bytes = COL_NEW_ARRAY(scratch, uint64_t, graph->next_value_id);
    s.again = COL_NEW_ARRAY(scratch, uint8_t, s.units->count);
    bool any_again = false;
    for (uint32_t u = 0; u < s.units->count; u++)
        any_again |= s.again[u] = col_unit_turn(&s.units->units[u]) > 0;
    add_data_edges(&s);
    add_variable_edges(&s);
    measure_values(&s);
    uint64_t *all = s.bytes, *few = forget_kept(&s);
    static const rule rules[] = {{.lazy = false},
                                 {.lazy = true},
                                 {.greedy = true, .lazy = true},
                                 {.greedy = true, .forget = true, .lazy = true},
                                 {.shrink = true, .lazy = true}};
    uint32_t *order = NULL;
    uint64_t least = UINT64_MAX;
    double least_area = 0;
    for (size_t i = !any_again; i < COL_COUNT(rules); i++) {
        s.bytes = rules[i].forget ? few : all;
        uint32_t *other = list_schedule(&s, rules[i]);
        s.bytes = may_drop ? few : all;
        lower_peak(&s, other);
        uint64_t peak = peak_of(&s, other);
        double area = area_of(&s, other);
        /* The order of the text stays where nothing will be, or is, computed again. */
        bool ties = (may_drop || any_again) && !rules[i].shrink && area < least_area;
        if (peak > least || (peak == least && !ties)) continue;
        least = peak;
        least_area = area;
        order = other;
    }
    for (uint32_t n = 0; n < s.units->count; n++) {
        const col_unit *unit = &s.units->units[order[n]];
        for (uint32_t i = 0; i < unit->node_count; i++) col_graph_move(unit->nodes[i], NULL);
    }
    col_arena_destroy(scratch);
}

col_status col_pass_schedule(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    col_schedule(graph, false);
    return NULL;
}
