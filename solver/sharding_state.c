/* What the workers of one solve share. See sharding_state.h. */
#include "solver/sharding_state.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sharding_state_init(state *st, const col_sharding_problem *problem, double seconds, int64_t ceiling,
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
                  .ceiling = ceiling,
                  .time_count = times};
    st->deadline = st->started + seconds;
    st->lambda = COL_NEW_ARRAY(arena, double, times + 1);
    st->choice = COL_NEW_ARRAY(arena, int32_t, problem->node_count + 1);
    st->hint = COL_NEW_ARRAY(arena, int32_t, problem->node_count + 1);
    if (pthread_mutex_init(&st->lock, NULL)) col_out_of_memory(0);
}

int64_t sharding_state_cut(state *st)
{
    pthread_mutex_lock(&st->lock);
    int64_t cut = st->ceiling;
    if (st->cost < INF) cut = COL_MIN(cut, st->cost - (int64_t)(st->gap * (double)st->cost));
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

bool sharding_state_stalled(const state *st)
{
    return st->stall > 0 && st->cost < INF && st->bound > -INF &&
           st->effort - st->progressed > LEAST_STALL + st->stall * st->progressed;
}

bool sharding_state_stopped(state *st)
{
    pthread_mutex_lock(&st->lock);
    bool stop = st->stop = st->stop || sharding_state_stalled(st) || col_solve_clock() >= st->deadline ||
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
