/* Local search that shares its incumbent. */
#include "solver/sharding_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
        w->version = st->version;
    }
    bool take = st->cost < own_cost(w);
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

void sharding_worker_run(worker *w, int steps)
{
    const double cap = 1e4;
    for (int i = 0; !steps || i < steps; i++) {
        if (sharding_state_stopped(w->st)) break;
        /* Sizes from a few nodes to all of them, each magnitude as often as another. */
        double span = log((double)w->m->n + 1) - log(8);
        int32_t size = (int32_t)exp(log(8) + fmax(span, 0) * (double)random_below(&w->seed, 1001) / 1000);
        bool better = sharding_search_step(w->s, COL_MIN(COL_MAX(size, 2), w->m->n), cap);
        if (better || i % 16 == 0) exchange(w);
    }
    exchange(w);
}
