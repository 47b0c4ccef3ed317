/* Recomputation on a graph: from what is cheap to what is not, until the gap is met or time is up.
 *
 *   keeping everything   the least time of all; done where it fits
 *
 *   bound_runs           a bound that costs nothing, from single runs j of the base order: what was made
 *                        before j and is wanted after it is there, or runs again later; so the seconds
 *                        are at least those of a fractional knapsack
 *
 *   policy_search        decisions by gaps between uses, greedily and by local search
 *
 *   graph_model_solve    the integer programme, exact for all schedules of checkpoint_graph.h; for graphs
 *                        that are not too large for it */
#include "solver/checkpoint_graph_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double DEFAULT_SECONDS = 5, DEFAULT_GAP = 0.01;
/* Of the time, for decisions by gaps: where the programme follows, and where it does not. */
static const double SEARCH_PART = 0.3, SEARCH_ALONE = 0.9;
static const uint64_t BYTES_MAX = (uint64_t)1 << 60;
enum {
    VARIABLES_MOST = 30000, /* of a programme that is worth a try */
    CROSSINGS = 1000,       /* base runs that the knapsack bound looks at */
    TRIES = 3,              /* at a schedule that fits to the byte */
};

/* ---- checks ---- */

static col_status check_node(const col_checkpoint_graph *graph, uint32_t v, uint64_t *total)
{
    const col_checkpoint_node *n = &graph->nodes[v];
    uint64_t sizes[] = {n->bytes, n->temp_bytes};
    if (!(n->seconds >= 0) || n->seconds > 1e12)
        return col_error_make(
            COL_BAD_INPUT, "node %" PRIu32 ": a time of %g seconds; give one from 0 to 1e12", v, n->seconds);
    for (size_t k = 0; k < COL_COUNT(sizes); k++) {
        if (sizes[k] > BYTES_MAX - *total)
            return col_error_make(COL_BAD_INPUT,
                                  "node %" PRIu32 ": sizes add up to more than 2^60 bytes; give smaller ones",
                                  v);
        *total += sizes[k];
    }
    for (uint32_t i = 0; i < n->operand_count; i++) {
        if (n->operands[i] >= v)
            return col_error_make(COL_BAD_INPUT,
                                  "node %" PRIu32 ": operand %" PRIu32 " does not come before it", v,
                                  n->operands[i]);
    }
    if (n->kind != COL_CHECKPOINT_NODE_STATE || (!n->operand_count && n->seconds == 0 && !n->temp_bytes))
        return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "node %" PRIu32 ": a state has bytes only: no operands, seconds or temporary bytes",
                          v);
}

static col_status check_graph(const col_checkpoint_graph *graph)
{
    uint64_t total = 0;
    bool any = false;
    for (uint32_t v = 0; v < graph->count; v++) {
        COL_TRY(check_node(graph, v, &total));
        any = any || graph->nodes[v].kind != COL_CHECKPOINT_NODE_STATE;
    }
    return any ? NULL : col_error_make(COL_BAD_INPUT, "the graph has no node that runs");
}

/* ---- bounds without the programme ---- */

typedef struct item {
    double bytes, seconds;
} item;

static int by_price(const void *a, const void *b)
{
    const item *x = a, *y = b;
    double p = x->seconds * y->bytes, q = y->seconds * x->bytes;
    return p < q ? -1 : p > q;
}

/* Least seconds again for `excess` bytes: the cheapest first, the last one in part. INFINITY: not enough. */
static double knapsack(item *items, size_t count, double excess)
{
    double seconds = 0;
    qsort(items, count, sizeof *items, by_price);
    for (size_t i = 0; i < count && excess > 0; i++) {
        double part = fmin(1, excess / items[i].bytes);
        seconds += part * items[i].seconds;
        excess -= items[i].bytes;
    }
    return excess > 0 ? INFINITY : seconds;
}

/* What a base run j leaves no choice about. */
typedef struct crossing {
    const col_checkpoint_graph *graph;
    int32_t *last;    /* [n] turn of the last base run that wants the value */
    int32_t *read_by; /* [n] 1 + the latest j that reads it */
    item *items;      /* [n] values that may be out of memory, at the price of a run */
    size_t count;
    double fixed, movable; /* bytes that are there in any case; of the items */
} crossing;

static void cross(crossing *c, int32_t j)
{
    const col_checkpoint_node *node = &c->graph->nodes[j];
    c->fixed = (double)node->bytes + (double)node->temp_bytes;
    c->movable = 0;
    c->count = 0;
    for (uint32_t i = 0; i < node->operand_count; i++) c->read_by[node->operands[i]] = j + 1;
    for (int32_t v = 0; v < (int32_t)c->graph->count; v++) {
        const col_checkpoint_node *value = &c->graph->nodes[v];
        bool waits = v < j && c->last[v] > j;
        bool stays = value->kind == COL_CHECKPOINT_NODE_STATE || c->read_by[v] == j + 1 ||
                     (waits && value->kind == COL_CHECKPOINT_NODE_BACKWARD);
        if (stays) {
            c->fixed += (double)value->bytes;
        } else if (waits && value->bytes) {
            c->items[c->count++] = (item){(double)value->bytes, value->seconds};
            c->movable += (double)value->bytes;
        }
    }
}

/* Seconds that must be run again at least, over base runs j (some of them, where they are many): what was
 * made before j and is wanted after it is there or runs again. INFINITY: no schedule fits. `out_memory` is
 * what the largest j takes with all out that can be. */
static double bound_runs(const col_checkpoint_graph *graph, double memory, col_arena *arena,
                         double *out_memory)
{
    size_t n = graph->count;
    int32_t final = policy_final(graph), step = 1 + final / CROSSINGS;
    crossing c = {.graph = graph,
                  .last = COL_NEW_ARRAY(arena, int32_t, n),
                  .read_by = COL_NEW_ARRAY(arena, int32_t, n),
                  .items = COL_NEW_ARRAY(arena, item, n)};
    double again = 0;
    *out_memory = 0;
    for (int32_t v = 0; v < (int32_t)n; v++) {
        c.last[v] = graph->nodes[v].output ? final + 1 : v;
        for (uint32_t i = 0; i < graph->nodes[v].operand_count; i++)
            c.last[graph->nodes[v].operands[i]] = COL_MAX(c.last[graph->nodes[v].operands[i]], v);
    }
    for (int32_t j = final; j >= 0; j -= step) {
        if (graph->nodes[j].kind == COL_CHECKPOINT_NODE_STATE) continue;
        cross(&c, j);
        *out_memory = fmax(*out_memory, c.fixed);
        again = fmax(again, knapsack(c.items, c.count, c.fixed + c.movable - memory));
    }
    return again;
}

/* ---- solving ---- */

typedef struct work {
    const col_checkpoint_graph *graph;
    double start, deadline, gap;
    col_arena *arena;
    col_checkpoint_graph_solution *out;
    bool small; /* enough for the programme */
} work;

static void take_runs(work *w, const col_checkpoint_runs *runs)
{
    w->out->runs = *runs;
    w->out->runs.nodes.data =
        col_arena_copy(w->arena, runs->nodes.data, runs->nodes.len * sizeof *runs->nodes.data);
    w->out->runs.nodes.cap = runs->nodes.len;
}

static double seconds_left(const work *w)
{
    return fmax(w->deadline - col_solve_clock(), 0.05);
}

/* Whether schedule `a` is the better answer: one that fits, then the faster; else the one of the lower peak.
 */
static bool is_better(const work *w, const col_checkpoint_runs *a, const col_checkpoint_runs *b)
{
    uint64_t memory = w->graph->memory;
    if ((a->peak <= memory) != (b->peak <= memory)) return a->peak <= memory;
    return a->peak <= memory ? a->seconds < b->seconds : a->peak < b->peak;
}

/* One programme, from the runs at hand; takes what is better. GLPK breaking down is no reason to lose what is
 * known. */
static bool solve_model(work *w, bool minimise_peak, uint64_t memory, col_lp_solution *out_solution,
                        uint64_t *out_peak)
{
    col_checkpoint_graph graph = *w->graph;
    col_checkpoint_runs found;
    graph.memory = memory;
    if (col_error_ignore(graph_model_solve(&graph, minimise_peak, &w->out->runs, seconds_left(w), w->gap,
                                           w->arena, out_solution, &found)))
        return false;
    if (found.nodes.len && is_better(w, &found, &w->out->runs)) w->out->runs = found;
    w->out->variables = out_solution->variables;
    w->out->rows = out_solution->rows;
    *out_peak = found.peak;
    return true;
}

/* Where the schedule takes a few bytes too much, it is asked for as many less; the first bound is the one
 * that counts. */
static bool solve_or_leave(work *w, bool minimise_peak, col_lp_solution *out_solution)
{
    uint64_t limit = w->graph->memory, memory = limit, peak;
    *out_solution = (col_lp_solution){.status = COL_SOLVE_LIMIT, .bound = -INFINITY};
    if (!w->small || !solve_model(w, minimise_peak, memory, out_solution, &peak)) return false;
    for (int i = 1; i < TRIES && !minimise_peak && peak > limit && peak - limit < memory; i++) {
        col_lp_solution again;
        memory -= peak - limit;
        if (!solve_model(w, false, memory, &again, &peak)) break;
    }
    return true;
}

static bool fits(const work *w)
{
    return w->out->runs.peak <= w->graph->memory;
}

static double gap_of(const col_checkpoint_graph_solution *s)
{
    return s->runs.seconds > 0 ? fmax(0, s->runs.seconds - s->bound) / s->runs.seconds : 0;
}

/* The least memory: known and proved. */
static void find_least(work *w)
{
    col_lp_solution lp;
    w->deadline = fmax(w->deadline, col_solve_clock() + 1);
    if ((double)w->out->runs.peak > (double)w->out->least_memory_bound && solve_or_leave(w, true, &lp)) {
        double bound = ceil(lp.bound * (1 - 1e-7) - 1e-6);
        if (bound > (double)w->out->least_memory_bound)
            w->out->least_memory_bound = COL_MIN((uint64_t)bound, w->out->runs.peak);
    }
    w->out->least_memory = w->out->runs.peak;
}

/* What is needed beyond keeping everything. */
static void solve_within(work *w)
{
    col_checkpoint_graph_solution *s = w->out;
    col_arena *scratch = col_arena_create();
    double floor_bytes = 0;
    double again = bound_runs(w->graph, (double)w->graph->memory, scratch, &floor_bytes);
    col_checkpoint_runs found = {0};
    if (again < INFINITY) s->bound += again;
    s->least_memory_bound = (uint64_t)floor_bytes;
    double part = (w->small ? SEARCH_PART : SEARCH_ALONE) * (w->deadline - w->start);
    (void)policy_search(w->graph, w->start + part, s->bound / fmax(1 - w->gap, 1e-9), scratch, &found);
    take_runs(w, &found);
    col_arena_destroy(scratch);
    col_lp_solution lp = {.status = COL_SOLVE_LIMIT, .bound = -INFINITY};
    bool proved_none = again == INFINITY;
    if (!proved_none && !(fits(w) && gap_of(s) <= w->gap)) {
        if (solve_or_leave(w, false, &lp)) {
            proved_none = !fits(w) && lp.status == COL_SOLVE_INFEASIBLE;
            if (lp.status != COL_SOLVE_INFEASIBLE) s->bound = fmax(s->bound, lp.bound);
        }
    }
    if (!fits(w)) {
        if (proved_none) s->least_memory_bound = COL_MAX(s->least_memory_bound, w->graph->memory + 1);
        find_least(w);
        s->status = s->least_memory_bound > w->graph->memory ? COL_SOLVE_INFEASIBLE : COL_SOLVE_LIMIT;
        if (fits(w)) s->least_memory = 0; /* minimising the memory found one that fits after all */
    }
}

col_status col_checkpoint_solve_graph(const col_checkpoint_graph *graph, const col_checkpoint_limits *limits,
                                      col_arena *arena, col_checkpoint_graph_solution *out_solution)
{
    COL_TRY(check_graph(graph));
    double start = col_solve_clock();
    work w = {.graph = graph,
              .start = start,
              .deadline = start + (limits->seconds > 0 ? limits->seconds : DEFAULT_SECONDS),
              .gap = limits->gap > 0 ? limits->gap : DEFAULT_GAP,
              .arena = arena,
              .out = out_solution};
    col_checkpoint_graph_solution *s = out_solution;
    *s = (col_checkpoint_graph_solution){0};
    w.small = graph_model_variables(graph) <= VARIABLES_MOST;
    col_checkpoint_graph_keep(graph, arena, &s->runs);
    COL_TRY(col_checkpoint_graph_play(graph, &s->runs));
    s->keep_seconds = s->bound = s->runs.seconds;
    s->keep_memory = s->runs.peak;
    if (graph->memory && !fits(&w)) solve_within(&w);
    COL_TRY(col_checkpoint_graph_play(graph, &s->runs));
    s->bound = fmin(s->bound, s->runs.seconds);
    s->gap = gap_of(s);
    if (!graph->memory || fits(&w)) s->status = s->gap <= w.gap ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
    s->seconds = col_solve_clock() - start;
    return NULL;
}
