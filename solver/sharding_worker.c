/* Local search that shares its incumbent. */
#include "solver/sharding_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATIENCE = 1000000000,
    SMALLEST = 3,
    GAIN_WEIGHT = 4,
    EXCHANGE_WORK = 2000
}; /* work units: see search */

struct worker {
    state *st;
    const model *m;
    const records *r;
    col_arena *arena;
    search *s;
    int32_t **index; /* [node][label]: strategy of the core, -1 */
    int32_t *scratch;
    int64_t shared; /* cost last seen or published */
    int version;
    uint64_t seed;
    double spent[32]; /* work by magnitude of the neighbourhood */
    double exchanged; /* work at the last exchange */
};

worker *sharding_worker_make(state *st, const model *m, const records *r, uint64_t seed)
{
    col_arena *arena = col_arena_create();
    worker *w = COL_NEW(arena, worker);
    *w = (worker){.st = st, .m = m, .r = r, .arena = arena, .shared = INF, .seed = seed};
    w->s = sharding_search_make(arena, m, seed);
    w->s->deadline = st->deadline;
    w->scratch = COL_NEW_ARRAY(arena, int32_t, m->n);
    w->index = COL_NEW_ARRAY(arena, int32_t *, m->n);
    for (int32_t i = 0; i < m->n; i++) {
        int32_t labels = st->problem->nodes[m->g->rep[i]].strategies;
        w->index[i] = COL_NEW_ARRAY(arena, int32_t, labels);
        memset(w->index[i], -1, sizeof(int32_t) * (size_t)labels);
        for (int32_t p = 0; p < m->k[i]; p++) w->index[i][m->g->label[i][p]] = p;
    }
    return w;
}

void sharding_worker_free(worker *w)
{
    if (!w) return;
    sharding_search_free(w->s);
    col_arena_destroy(w->arena);
}

void sharding_worker_start_from(worker *w, const int32_t *choice)
{
    sharding_search_set(w->s, choice);
}

static int64_t own_cost(const worker *w)
{
    return w->s->over || w->s->cost >= INF ? INF : w->s->cost + w->m->g->constant;
}

/* Takes the shared incumbent if it is better, gives the own one if that is. */
static void exchange(worker *w)
{
    state *st = w->st;
    pthread_mutex_lock(&st->lock);
    if (st->version != w->version) {
        for (int32_t t = 0; t < w->m->g->time_count; t++) w->s->lambda[t] = st->lambda[w->m->g->time[t]];
        for (int32_t i = 0; i < w->m->n; i++) w->s->hint[i] = w->index[i][st->hint[w->m->g->rep[i]]];
        w->version = st->version;
    }
    /* A start that does not fit yet is given time: it came from the dual, and is better than it looks. */
    bool take = st->cost < own_cost(w) && (w->s->over == 0 || w->s->work > PATIENCE);
    for (int32_t i = 0; take && i < w->m->n; i++) {
        w->scratch[i] = w->index[i][st->choice[w->m->g->rep[i]]];
        if (w->scratch[i] < 0) take = false; /* dropped here as dominated */
    }
    int64_t shared = st->cost;
    pthread_mutex_unlock(&st->lock);
    if (take)
        sharding_search_set(w->s, w->scratch);
    else if (own_cost(w) < shared)
        sharding_state_offer_core(st, w->m, w->r, w->s->choice, own_cost(w));
}

void sharding_worker_run(worker *w, double work)
{
    const double cap = 1e4;
    search *s = w->s;
    double until = work > 0 ? s->work + work : INFINITY;
    /* An offer is checked on the whole problem: it must be worth it. */
    double worth = EXCHANGE_WORK * ((double)w->st->problem->node_count + w->st->problem->edge_count);
    int widest = 0;
    for (int32_t n = w->m->n; n > 1; n /= 2) widest++;
    while (s->work < until && !sharding_state_stopped(w->st)) {
        /* Each magnitude of sizes gets as much work as another; gains count for more. */
        int magnitude = COL_MIN(SMALLEST, widest);
        for (int j = magnitude; j <= widest; j++)
            if (w->spent[j] < w->spent[magnitude]) magnitude = j;
        int32_t size = (int32_t)1 << magnitude;
        size = COL_MIN(COL_MAX(size + random_below(&w->seed, size), 2), w->m->n);
        double started = s->work;
        bool better = sharding_search_step(s, size, cap);
        w->spent[magnitude] += (s->work - started) / (better ? GAIN_WEIGHT : 1);
        if (s->work - w->exchanged < worth) continue;
        w->exchanged = s->work;
        exchange(w);
    }
    exchange(w);
    if (work > 0) sharding_state_spend(w->st, s->work - (until - work));
}
