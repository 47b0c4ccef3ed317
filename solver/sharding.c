/* The whole solve: reductions, then the prover and local search side by side on what is left. See sharding.h.
 */
#include "solver/sharding_state.h"

#include <math.h>
#include <string.h>

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

enum { CHUNK = 200, SEARCH_SLICE = 500000000, EARLY_SEARCH = 100 }; /* work; of a core, by strategy or pair */

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
    sharding_state_init(&sub, st->problem, 0.3 * (st->deadline - col_solve_clock()), 1, arena);
    sub.first_only = sub.costless = true;
    sub.budget = 0.3 * (st->budget - st->effort);
    records own = {.arena = arena, .parent = r};
    if (!sharding_presolve(&bare, &own, false)) {
        sub.bound = 1;
    } else if (bare->node_count == 0) {
        model m = {.g = bare};
        sharding_state_offer_core(&sub, &m, &own, NULL, 0);
    } else {
        sharding_solve_core(&sub, bare, &own, threads);
    }
    if (sub.cost < INF) {
        sharding_state_offer(st, sub.choice, col_sharding_cost(st->problem, sub.choice));
    } else if (sub.bound >= 1) {
        sharding_state_raise(st, st->ceiling);
    }
    sharding_state_spend(st, sub.effort);
    pthread_mutex_destroy(&sub.lock);
    col_arena_destroy(bare->arena);
    col_arena_destroy(arena);
}

void sharding_solve_core(state *st, const core *g, const records *r, int threads)
{
    col_arena *arena = col_arena_create();
    model *m = sharding_model_make(arena, g);
    dual *d = sharding_dual_make(arena, m);
    for (int32_t t = 0; t < g->time_count; t++) d->lambda[t] = st->lambda[g->time[t]];
    sharding_dual_reprice(d, d->lambda);
    ascent *a = sharding_ascent_make(arena, d);
    int32_t *first = COL_NEW_ARRAY(arena, int32_t, m->n);
    ascend(st, m, r, a, CHUNK, st->started + 0.08 * (st->deadline - st->started), first);
    if (!sharding_state_answered(st) && !st->costless) find_first(st, g, r, threads);
    if (st->bound < st->ceiling) {
        worker *w = sharding_worker_make(st, m, r, 1);
        sharding_worker_start_from(w, first);
        /* Without rows of memory the bound is about as good as it gets, and what was decoded is far off. */
        if (!g->time_count && a->best < (double)sharding_state_cut(st))
            sharding_worker_run(w, EARLY_SEARCH * (double)sharding_core_size(g));
        task prover = {st, w, m, r, a};
        st->companion = w;
        double budget = st->budget;
        if (threads > 1) st->budget = fmin(budget, st->effort + ALONE);
        bool closed = run_prover(&prover);
        bool spent = st->effort >= st->budget && st->effort < budget && !sharding_state_stalled(st);
        st->budget = budget;
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

/* Of the gap, what nodes alike must gain by different strategies to get them. */
static const double NOISE = 0.2;

/* Solves one problem within the state's limits. Returns the size of the core through out. */
static void solve_state(state *st, int threads, col_sharding_solution *out)
{
    const col_sharding_problem *problem = st->problem;
    bool infeasible;
    bool answered = sharding_fold(st, threads);
    if (answered && st->alike_only) {
        st->bound = 0;
        return;
    }
    records r = {.arena = col_arena_create()};
    int64_t folded = st->cost;
    int32_t *alike = col_arena_copy(r.arena, st->choice, sizeof *alike * (size_t)problem->node_count);
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
        sharding_solve_core(st, g, &r, threads);
    }
    bool noise = folded < INF && st->cost < folded &&
                 (double)(folded - st->cost) < NOISE * fmin(st->gap, 0.01) * (double)folded;
    if (noise) {
        st->cost = folded;
        memcpy(st->choice, alike, sizeof *alike * (size_t)problem->node_count);
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
    col_sharding_problem bare = {
        problem->node_count, problem->edge_count, nodes, edges, problem->limit, NULL, NULL};
    return bare;
}

/* Nothing fits: brackets the least memory that does, by bisection on the limit of the costless problem. */
static void find_least_memory(col_arena *arena, const col_sharding_problem *problem, double deadline,
                              double budget, int threads, col_sharding_solution *out)
{
    col_arena *scratch = col_arena_create();
    col_sharding_problem bare = make_costless(scratch, problem);
    int64_t floor_ = problem->limit, low = floor_,
            high = -1; /* `high` fits; floor_ does not, proved; low: not known */
    double started = col_solve_clock(), effort = 0;
    while (high < 0 || low + 1 < high) {
        double left = deadline - col_solve_clock();
        if (high >= 0 && (left <= 0 || effort >= budget)) break;
        bare.limit = high < 0 ? INT64_C(1) << 59 : low + (high - low) / 2;
        col_arena *own = col_arena_create();
        state st;
        /* The first try has no limit on memory and is decided by the reductions in all but odd cases. */
        sharding_state_init(&st, &bare, high < 0 ? fmax(left, 1) : fmax(left / 4, 0.05), 1, own);
        st.first_only = true;
        if (high >= 0) st.budget = (budget - effort) / 4;
        col_sharding_solution ignored = {0};
        solve_state(&st, threads, &ignored);
        effort += st.effort;
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
        bool enough = budget < INFINITY ? effort > budget / 2 : col_solve_clock() - started > 1;
        if (high >= 0 && (double)(high - low) < 1e-6 * (double)high && enough) break;
    }
    out->least_memory = floor_ >= INF ? INF : floor_ + 1;
    out->peak = high >= 0 ? high : 0;
    col_arena_destroy(scratch);
}

static void offer_start(state *st)
{
    const int32_t *start = st->problem->start;
    if (!start || col_sharding_peak(st->problem, start) > st->problem->limit) return;
    int64_t cost = col_sharding_cost(st->problem, start);
    if (cost < INF) sharding_state_offer(st, start, cost);
}

col_status col_sharding_solve(col_arena *arena, const col_sharding_problem *problem,
                              const col_sharding_limits *limits, col_sharding_solution *out)
{
    double started = col_solve_clock(), seconds = limits->seconds > 0 ? limits->seconds : 60;
    int threads = limits->threads ? limits->threads : 2;
    int64_t ceiling = 0;
    *out = (col_sharding_solution){.objective = INF};
    COL_TRY(sharding_validate(problem, &ceiling));
    col_sharding_problem ranked = sharding_rank_times(arena, problem);
    state st;
    if (limits->below > 0) ceiling = COL_MIN(ceiling, limits->below);
    sharding_state_init(&st, &ranked, 0.97 * seconds, ceiling, arena);
    if (limits->work > 0) st.budget = limits->work;
    st.gap = limits->gap;
    st.stall = limits->stall;
    st.alike_only = limits->alike_only;
    st.verbose = limits->verbose;
    offer_start(&st);
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
        bool refuted = st.bound >= st.ceiling && limits->below <= 0;
        out->status = refuted ? COL_SOLVE_INFEASIBLE : COL_SOLVE_LIMIT;
        if (refuted) find_least_memory(arena, &ranked, st.deadline, st.budget, threads, out);
    }
    out->work = st.effort;
    pthread_mutex_destroy(&st.lock);
    out->seconds = col_solve_clock() - started;
    return NULL;
}
