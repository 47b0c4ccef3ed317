/* The whole solve: reductions, then the prover and local search side by side on what is left. See sharding.h.
 */
#include "solver/sharding_state.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t col_sharding_cost(const col_sharding_problem *problem, const int32_t *choice)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < problem->node_count; i++) sum = add_cost(sum, problem->nodes[i].cost[choice[i]]);
    for (int32_t e = 0; e < problem->edge_count; e++) {
        const col_sharding_edge *x = &problem->edges[e];
        size_t width = (size_t)problem->nodes[x->v].strategies;
        sum = add_cost(sum, x->cost[(size_t)choice[x->u] * width + (size_t)choice[x->v]]);
    }
    return sum;
}

typedef struct change {
    int32_t time;
    int64_t usage;
} change;

static int compare_changes(const void *a, const void *b)
{
    const change *x = a, *y = b;
    return (x->time > y->time) - (x->time < y->time);
}

int64_t col_sharding_peak(const col_sharding_problem *problem, const int32_t *choice)
{
    size_t count = 0;
    change *list = malloc(2 * ((size_t)problem->node_count + 1) * sizeof *list);
    if (!list) col_out_of_memory(0);
    for (int32_t i = 0; i < problem->node_count; i++) {
        const col_sharding_node *node = &problem->nodes[i];
        if (node->lower >= node->upper || !node->usage[choice[i]]) continue;
        list[count++] = (change){node->lower, node->usage[choice[i]]};
        list[count++] = (change){node->upper, -node->usage[choice[i]]};
    }
    qsort(list, count, sizeof *list, compare_changes);
    int64_t level = 0, peak = 0;
    for (size_t j = 0; j < count; j++) {
        level += list[j].usage;
        if (j + 1 == count || list[j + 1].time > list[j].time) peak = COL_MAX(peak, level);
    }
    free(list);
    return peak;
}

static int compare_times(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The problem with every time replaced by its rank, so that arrays over time are no longer than the nodes. */
static col_sharding_problem rank_times(col_arena *arena, const col_sharding_problem *problem)
{
    size_t n = (size_t)problem->node_count, count = 0, distinct = 0;
    int32_t *times = COL_NEW_ARRAY(arena, int32_t, 2 * n + 1);
    col_sharding_node *nodes = col_arena_copy(arena, problem->nodes, sizeof *nodes * n);
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].lower >= nodes[i].upper) continue;
        times[count++] = nodes[i].lower;
        times[count++] = nodes[i].upper;
    }
    qsort(times, count, sizeof *times, compare_times);
    for (size_t j = 0; j < count; j++)
        if (!distinct || times[j] != times[distinct - 1]) times[distinct++] = times[j];
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].lower >= nodes[i].upper) {
            nodes[i].lower = nodes[i].upper = 0;
            continue;
        }
        int32_t *lower = bsearch(&nodes[i].lower, times, distinct, sizeof *times, compare_times);
        int32_t *upper = bsearch(&nodes[i].upper, times, distinct, sizeof *times, compare_times);
        nodes[i].lower = (int32_t)(lower - times);
        nodes[i].upper = (int32_t)(upper - times);
    }
    col_sharding_problem ranked = *problem;
    ranked.nodes = nodes;
    return ranked;
}

/* Sums of the largest finite parts stay below this, so no sum that a solve makes can overflow. */
static const int64_t SUM_LIMIT = INT64_C(1) << 58;

static col_status add_largest(const int64_t *values, size_t count, bool infinite, const char *what,
                              int32_t index, int64_t *sum)
{
    int64_t largest = 0;
    for (size_t j = 0; j < count; j++) {
        if (values[j] < 0)
            return col_error_make(COL_BAD_INPUT,
                                  "sharding: %s %d has the negative value %" PRId64 "; 0 is the least", what,
                                  index, values[j]);
        if (infinite && values[j] >= INF) continue;
        largest = COL_MAX(largest, values[j]);
    }
    if (__builtin_add_overflow(*sum, largest, sum) || *sum >= SUM_LIMIT)
        return col_error_make(COL_BAD_INPUT,
                              "sharding: the largest values up to %s %d add up to 2^58 or more; use a "
                              "larger unit",
                              what, index);
    return NULL;
}

/* Checks the problem; *out_ceiling is above the cost of every finite assignment. */
static col_status validate(const col_sharding_problem *problem, int64_t *out_ceiling)
{
    int64_t cost = 0, usage = 0;
    if (problem->limit < 0) return col_error_make(COL_BAD_INPUT, "sharding: the memory limit is negative");
    for (int32_t i = 0; i < problem->node_count; i++) {
        const col_sharding_node *node = &problem->nodes[i];
        if (node->strategies < 1 || node->strategies > 1 << 16)
            return col_error_make(COL_BAD_INPUT, "sharding: node %d has %d strategies; 1 to 65536 are needed",
                                  i, node->strategies);
        if (node->lower < node->upper && node->lower < 0)
            return col_error_make(COL_BAD_INPUT, "sharding: node %d lives from time %d; 0 is the first", i,
                                  node->lower);
        COL_TRY(add_largest(node->cost, (size_t)node->strategies, true, "cost of node", i, &cost));
        COL_TRY(add_largest(node->usage, (size_t)node->strategies, false, "usage of node", i, &usage));
    }
    for (int32_t e = 0; e < problem->edge_count; e++) {
        const col_sharding_edge *x = &problem->edges[e];
        if (x->u < 0 || x->v < 0 || x->u >= problem->node_count || x->v >= problem->node_count)
            return col_error_make(COL_BAD_INPUT,
                                  "sharding: edge %d joins nodes %d and %d; there are %d nodes", e, x->u,
                                  x->v, problem->node_count);
        size_t size = (size_t)problem->nodes[x->u].strategies * (size_t)problem->nodes[x->v].strategies;
        COL_TRY(add_largest(x->cost, size, true, "cost of edge", e, &cost));
    }
    *out_ceiling = cost + 1;
    return NULL;
}

/* The shared state. */

int64_t sharding_state_cut(state *st)
{
    pthread_mutex_lock(&st->lock);
    int64_t cut = st->cost < INF ? st->cost - (int64_t)(st->gap * (double)st->cost) : st->ceiling;
    pthread_mutex_unlock(&st->lock);
    return cut;
}

bool sharding_state_answered(state *st)
{
    pthread_mutex_lock(&st->lock);
    bool answered = st->cost < INF;
    pthread_mutex_unlock(&st->lock);
    return answered;
}

/* Effort without progress, in which a stall is not looked for yet: some tenths of a second. */
static const double LEAST_STALL = 5e8;

static bool is_stalled(const state *st)
{
    return st->stall > 0 && st->cost < INF && st->bound > -INF &&
           st->effort - st->progressed > LEAST_STALL + st->stall * st->progressed;
}

bool sharding_state_stopped(state *st)
{
    pthread_mutex_lock(&st->lock);
    bool stop = st->stop = st->stop || is_stalled(st) || col_solve_clock() >= st->deadline ||
                           st->effort >= st->budget || (st->first_only && st->cost < INF);
    pthread_mutex_unlock(&st->lock);
    return stop;
}

void sharding_state_spend(state *st, double effort)
{
    pthread_mutex_lock(&st->lock);
    st->effort += effort;
    pthread_mutex_unlock(&st->lock);
}

static void report(const state *st, const char *what)
{
    if (st->verbose)
        fprintf(stderr, "sharding: %6.2f s  %s: cost %" PRId64 ", bound %" PRId64 "\n",
                col_solve_clock() - st->started, what, st->cost, st->bound);
}

/* Whether the gap became narrower by enough to hope for more. */
static bool is_progress(const state *st, int64_t by)
{
    return st->cost >= INF || (double)by > 1e-3 * (double)st->cost;
}

void sharding_state_offer(state *st, const int32_t *choice, int64_t cost)
{
    /* The model's value and the raw tables must agree: reductions that forget a table show here. */
    int64_t raw = col_sharding_cost(st->problem, choice), peak = col_sharding_peak(st->problem, choice);
    COL_ASSERT(st->costless ? raw < INF && cost == 0 : raw == cost);
    COL_ASSERT(peak <= st->problem->limit);
    pthread_mutex_lock(&st->lock);
    if (cost < st->cost) {
        if (is_progress(st, st->cost - cost)) st->progressed = st->effort;
        st->cost = cost;
        memcpy(st->choice, choice, sizeof *choice * (size_t)st->problem->node_count);
        report(st, "answer");
    }
    pthread_mutex_unlock(&st->lock);
}

static void unfold_core(const state *st, const core *g, const records *r, const int32_t *choice, int32_t *out)
{
    memset(out, 0, sizeof *out * (size_t)st->problem->node_count);
    for (int32_t i = 0; i < g->node_count; i++) out[g->rep[i]] = g->label[i][choice[i]];
    sharding_unfold(r, out);
}

void sharding_state_offer_core(state *st, const model *m, const records *r, const int32_t *choice,
                               int64_t cost)
{
    int32_t *full = malloc(sizeof *full * ((size_t)st->problem->node_count + 1));
    if (!full) col_out_of_memory(0);
    unfold_core(st, m->g, r, choice, full);
    sharding_state_offer(st, full, cost);
    free(full);
}

void sharding_state_raise(state *st, int64_t bound)
{
    pthread_mutex_lock(&st->lock);
    if (bound > st->bound) {
        if (is_progress(st, bound - st->bound)) st->progressed = st->effort;
        st->bound = bound;
        report(st, "bound");
    }
    pthread_mutex_unlock(&st->lock);
}

void sharding_state_publish(state *st, const ascent *a)
{
    const model *m = a->d->m;
    const core *g = m->g;
    pthread_mutex_lock(&st->lock);
    int32_t last = g->time_count ? g->time[g->time_count - 1] : -1;
    for (int32_t t = 0; t <= last; t++) st->lambda[t] = 0;
    for (int32_t t = 0; t < g->time_count; t++) st->lambda[g->time[t]] = a->best_lambda[t];
    for (int32_t i = 0; i < m->n; i++) {
        const double *f = a->frequency + m->offset[i];
        int32_t most = 0;
        for (int32_t p = 1; p < m->k[i]; p++)
            if (f[p] > f[most]) most = p;
        st->hint[g->rep[i]] = g->label[i][most];
    }
    st->version++;
    pthread_mutex_unlock(&st->lock);
}

/* The two workers. */

typedef struct task {
    state *st;
    worker *w;
    const model *m;
    const records *r;
    ascent *a;
} task;

static void *run_search(void *argument)
{
    sharding_worker_run(argument, 0);
    return NULL;
}

enum { CHUNK = 200, SEARCH_SLICE = 500000000 };

/* What one thread may spend, which it does alike in every run, before a second joins: some two seconds. */
static const double ALONE = 2e9;

/* Rounds of ascent on the whole core. Without an answer yet, aims at a multiple of the bound. Of the decoded
 * assignments, the last that comes nearest to fitting goes to *out_nearest (NULL: nowhere). */
static void ascend(state *st, const model *m, const records *r, ascent *a, int rounds, double until,
                   int32_t *out_nearest)
{
    int64_t nearest = INT64_MAX;
    int stall = 0;
    double mark = a->best, size = ROUND_EFFORT * (double)sharding_core_size(m->g);
    /* Without rows of memory, rounds are sweeps and nothing more: their gain falls from one to the next. */
    bool memory = m->g->time_count > 0;
    for (int i = 0; i < rounds && stall < (memory ? CHUNK / 4 : 2); i++) {
        if ((i >= 10 && col_solve_clock() >= until) || sharding_state_stopped(st)) break;
        double cut = (double)sharding_state_cut(st);
        double target = sharding_state_answered(st) ? cut : a->rounds ? fmin(cut, 2 * fabs(a->best) + 1) : 0;
        sharding_ascent_round(a, target);
        sharding_state_spend(st, size);
        sharding_state_offer_decoded(st, m, r, a);
        if (out_nearest && COL_MAX(a->over, 0) <= nearest) {
            nearest = COL_MAX(a->over, 0);
            memcpy(out_nearest, a->d->choice, sizeof(int32_t) * (size_t)m->n);
        }
        if (a->best > cut) break;
        bool rose = a->best > mark + 1e-3 * fabs(cut - a->best);
        stall = rose ? 0 : stall + 1;
        if (rose) mark = a->best;
    }
    if (memory) sharding_ascent_settle(a, st->deadline);
    sharding_state_publish(st, a);
}

/* Rules out on a copy of the core what the bound allows, and proves on what is left if that is small enough
 * or much smaller. Returns whether the whole is closed. */
static bool prove_reduced(state *st, const model *m, const records *r, const ascent *a)
{
    const core *g = m->g;
    col_arena *scratch = col_arena_create();
    core *copy = sharding_core_copy(g);
    changes *c = sharding_changes_make(scratch, copy);
    size_t ruled_out, size = sharding_core_size(g);
    int64_t cut = sharding_state_cut(st), bound = sharding_dual_fix(a->d, copy, c, cut, &ruled_out);
    pthread_mutex_lock(&st->lock);
    st->cut = COL_MIN(st->cut, cut);
    pthread_mutex_unlock(&st->lock);
    sharding_state_raise(st, COL_MIN(bound, cut));
    bool closed = bound >= cut,
         prove = size <= SHARDING_BRANCH_SIZE || (double)ruled_out > 0.03 * (double)size;
    if (!closed && prove) {
        records own = {.arena = scratch, .parent = r};
        bool infeasible;
        copy = sharding_rebuild(copy, c, &own, &infeasible);
        int64_t left = infeasible ? INF : sharding_prove(st, copy, &own, 0);
        if (infeasible) col_arena_destroy(copy->arena);
        pthread_mutex_lock(&st->lock);
        int64_t least = st->cut;
        pthread_mutex_unlock(&st->lock);
        sharding_state_raise(st, COL_MIN(COL_MAX(left, bound), least));
        closed = left >= sharding_state_cut(st);
    } else {
        col_arena_destroy(copy->arena);
    }
    col_arena_destroy(scratch);
    return closed;
}

/* Ascends, rules out, proves; searches in between where the core stays large. Until closed or stopped:
 * returns whether it is closed. */
static bool run_prover(task *t)
{
    state *st = t->st;
    bool closed;
    while (!(closed = prove_reduced(st, t->m, t->r, t->a))) {
        if (sharding_state_stopped(st)) break;
        sharding_worker_run(t->w, SEARCH_SLICE);
        /* A better answer allows longer steps again. */
        t->a->factor = fmax(t->a->factor, 2e-3);
        ascend(st, t->m, t->r, t->a, CHUNK, st->deadline, NULL);
    }
    pthread_mutex_lock(&st->lock);
    st->stop = true;
    pthread_mutex_unlock(&st->lock);
    return closed;
}

static void state_init(state *st, const col_sharding_problem *problem, double seconds, int64_t ceiling,
                       col_arena *arena)
{
    int32_t times = 0;
    for (int32_t i = 0; i < problem->node_count; i++)
        if (problem->nodes[i].lower < problem->nodes[i].upper)
            times = COL_MAX(times, problem->nodes[i].upper);
    *st = (state){.problem = problem,
                  .started = col_solve_clock(),
                  .cost = INF,
                  .bound = -INF,
                  .cut = INF,
                  .budget = INFINITY,
                  .ceiling = ceiling};
    st->deadline = st->started + seconds;
    st->lambda = COL_NEW_ARRAY(arena, double, times + 1);
    st->choice = COL_NEW_ARRAY(arena, int32_t, problem->node_count + 1);
    st->hint = COL_NEW_ARRAY(arena, int32_t, problem->node_count + 1);
    if (pthread_mutex_init(&st->lock, NULL)) col_out_of_memory(0);
}

static void solve_core(state *st, const core *g, const records *r, int threads);

/* Looks for any assignment that fits, with costs out of the way: what is then dominated shrinks the core to
 * what memory is about. Writes its strategies in terms of `g`; or may prove that there is
 * none. */
static void find_first(state *st, const core *g, const records *r, int threads)
{
    col_arena *arena = col_arena_create();
    core *bare = sharding_core_copy(g);
    bare->constant = 0;
    for (int32_t i = 0; i < bare->node_count; i++)
        memset(bare->cost[i], 0, sizeof(int64_t) * (size_t)bare->k[i]);
    for (int32_t e = 0; e < bare->edge_count; e++) {
        size_t size = (size_t)bare->k[bare->u[e]] * (size_t)bare->k[bare->v[e]];
        for (size_t j = 0; j < size; j++) bare->table[e][j] = bare->table[e][j] >= INF ? INF : 0;
    }
    state sub;
    state_init(&sub, st->problem, 0.3 * (st->deadline - col_solve_clock()), 1, arena);
    sub.first_only = sub.costless = true;
    records own = {.arena = arena, .parent = r};
    if (!sharding_presolve(&bare, &own, false)) {
        sub.bound = 1;
    } else if (bare->node_count == 0) {
        model m = {.g = bare};
        sharding_state_offer_core(&sub, &m, &own, NULL, 0);
    } else {
        solve_core(&sub, bare, &own, threads);
    }
    if (sub.cost < INF) {
        sharding_state_offer(st, sub.choice, col_sharding_cost(st->problem, sub.choice));
    } else if (sub.bound >= 1) {
        sharding_state_raise(st, st->ceiling);
    }
    pthread_mutex_destroy(&sub.lock);
    col_arena_destroy(bare->arena);
    col_arena_destroy(arena);
}

static void solve_core(state *st, const core *g, const records *r, int threads)
{
    col_arena *arena = col_arena_create();
    model *m = sharding_model_make(arena, g);
    dual *d = sharding_dual_make(arena, m);
    ascent *a = sharding_ascent_make(arena, d);
    int32_t *first = COL_NEW_ARRAY(arena, int32_t, m->n);
    ascend(st, m, r, a, CHUNK, st->started + 0.08 * (st->deadline - st->started), first);
    if (!sharding_state_answered(st) && !st->costless) find_first(st, g, r, threads);
    if (st->bound < st->ceiling) {
        worker *w = sharding_worker_make(st, m, r, 1);
        sharding_worker_start_from(w, first);
        task prover = {st, w, m, r, a};
        st->companion = w;
        if (threads > 1) st->budget = st->effort + ALONE;
        bool closed = run_prover(&prover);
        bool spent = st->effort >= st->budget && !is_stalled(st);
        st->budget = INFINITY;
        if (!closed && spent) {
            st->stop = false;
            worker *other = sharding_worker_make(st, m, r, 2);
            sharding_worker_start_from(other, first);
            pthread_t thread;
            /* Where a second thread cannot be had, one goes on with both. */
            bool two = !pthread_create(&thread, NULL, run_search, w);
            if (two) {
                st->companion = NULL;
                prover.w = other;
            }
            run_prover(&prover);
            if (two) pthread_join(thread, NULL);
            sharding_worker_free(other);
        }
        sharding_worker_free(w);
    }
    col_arena_destroy(arena);
}

/* Solves one problem within the state's limits. Returns the size of the core through out. */
static void solve_state(state *st, int threads, col_sharding_solution *out)
{
    const col_sharding_problem *problem = st->problem;
    bool infeasible;
    records r = {.arena = col_arena_create()};
    core *g = sharding_core_make(problem, &infeasible);
    infeasible = !sharding_presolve(&g, &r, st->verbose);
    size_t size = sharding_core_size(g);
    out->variables = (int32_t)COL_MIN(size, (size_t)INT32_MAX);
    out->rows = infeasible ? 0 : g->node_count + g->time_count;
    if (infeasible) {
        st->bound = st->ceiling;
    } else if (g->node_count == 0) {
        model m = {.g = g};
        sharding_state_offer_core(st, &m, &r, NULL, g->constant);
        st->bound = g->constant;
    } else {
        solve_core(st, g, &r, threads);
    }
    col_arena_destroy(g->arena);
    col_arena_destroy(r.arena);
}

/* The same problem with every finite cost 0: which assignments fit is all that is left of it. */
static col_sharding_problem make_costless(col_arena *arena, const col_sharding_problem *problem)
{
    col_sharding_node *nodes =
        col_arena_copy(arena, problem->nodes, sizeof *nodes * (size_t)problem->node_count);
    col_sharding_edge *edges =
        col_arena_copy(arena, problem->edges, sizeof *edges * (size_t)problem->edge_count);
    for (int32_t i = 0; i < problem->node_count; i++) {
        size_t k = (size_t)nodes[i].strategies;
        int64_t *cost = COL_NEW_ARRAY(arena, int64_t, k);
        for (size_t p = 0; p < k; p++) cost[p] = nodes[i].cost[p] >= INF ? INF : 0;
        nodes[i].cost = cost;
    }
    for (int32_t e = 0; e < problem->edge_count; e++) {
        size_t size = (size_t)nodes[edges[e].u].strategies * (size_t)nodes[edges[e].v].strategies;
        int64_t *cost = COL_NEW_ARRAY(arena, int64_t, size);
        for (size_t j = 0; j < size; j++) cost[j] = edges[e].cost[j] >= INF ? INF : 0;
        edges[e].cost = cost;
    }
    return (col_sharding_problem){problem->node_count, problem->edge_count, nodes, edges, problem->limit};
}

/* Nothing fits: brackets the least memory that does, by bisection on the limit of the costless problem. */
static void find_least_memory(col_arena *arena, const col_sharding_problem *problem, double deadline,
                              int threads, col_sharding_solution *out)
{
    col_arena *scratch = col_arena_create();
    col_sharding_problem bare = make_costless(scratch, problem);
    int64_t floor_ = problem->limit, low = floor_,
            high = -1; /* `high` fits; floor_ does not, proved; low: not known */
    double started = col_solve_clock();
    while (high < 0 || low + 1 < high) {
        double left = deadline - col_solve_clock();
        if (high >= 0 && left <= 0) break;
        bare.limit = high < 0 ? INT64_C(1) << 59 : low + (high - low) / 2;
        col_arena *own = col_arena_create();
        state st;
        /* The first try has no limit on memory and is decided by the reductions in all but odd cases. */
        state_init(&st, &bare, high < 0 ? fmax(left, 1) : fmax(left / 4, 0.05), 1, own);
        st.first_only = true;
        col_sharding_solution ignored = {0};
        solve_state(&st, threads, &ignored);
        if (st.cost < INF) {
            if (!out->choice) out->choice = COL_NEW_ARRAY(arena, int32_t, problem->node_count + 1);
            memcpy(out->choice, st.choice, sizeof(int32_t) * (size_t)problem->node_count);
            high = col_sharding_peak(problem, st.choice);
        } else if (high < 0) {
            if (st.bound >= 1) floor_ = INF; /* no finite assignment at all */
            pthread_mutex_destroy(&st.lock);
            col_arena_destroy(own);
            break;
        } else {
            low = bare.limit;
            if (st.bound >= 1) floor_ = low;
        }
        pthread_mutex_destroy(&st.lock);
        col_arena_destroy(own);
        if (high >= 0 && (double)(high - low) < 1e-6 * (double)high && col_solve_clock() - started > 1) break;
    }
    out->least_memory = floor_ >= INF ? INF : floor_ + 1;
    out->peak = high >= 0 ? high : 0;
    col_arena_destroy(scratch);
}

col_status col_sharding_solve(col_arena *arena, const col_sharding_problem *problem,
                              const col_sharding_limits *limits, col_sharding_solution *out)
{
    double started = col_solve_clock(), seconds = limits->seconds > 0 ? limits->seconds : 60;
    int threads = limits->threads ? limits->threads : 2;
    int64_t ceiling = 0;
    *out = (col_sharding_solution){.objective = INF};
    COL_TRY(validate(problem, &ceiling));
    col_sharding_problem ranked = rank_times(arena, problem);
    state st;
    state_init(&st, &ranked, 0.97 * seconds, ceiling, arena);
    st.gap = limits->gap;
    st.stall = limits->stall;
    st.verbose = limits->verbose;
    solve_state(&st, threads, out);
    out->objective = st.cost;
    if (st.cost < INF) {
        out->bound = COL_MIN(st.bound, st.cost);
        out->gap = (double)(out->objective - out->bound) / (double)COL_MAX(out->objective, 1);
        out->status = out->gap <= limits->gap ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
        out->choice = st.choice;
        out->peak = col_sharding_peak(problem, st.choice);
    } else {
        out->bound = COL_MAX(st.bound, 0);
        out->status = st.bound >= st.ceiling ? COL_SOLVE_INFEASIBLE : COL_SOLVE_LIMIT;
        if (out->status == COL_SOLVE_INFEASIBLE) find_least_memory(arena, &ranked, st.deadline, threads, out);
    }
    pthread_mutex_destroy(&st.lock);
    out->seconds = col_solve_clock() - started;
    return NULL;
}
