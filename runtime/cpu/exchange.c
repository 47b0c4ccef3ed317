/* Ranks as threads, each with a buffer that the next one reads. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cpu/rates.h"
#include "runtime/hal.h"

enum {
    CHUNK = 16 << 20, /* bytes that are copied at a time */
    MEETINGS = 2000,
    COPIES = 4,
    ROUNDS = 5,
    MOST_RANKS = 256,
};

typedef struct group {
    int ranks;
    pthread_barrier_t barrier;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int go;   /* 1: all are there; -1: one could not be started */
    int turn; /* whose turn it is, of ranks 0 and 1 */
    float *sent[MOST_RANKS], *kept[MOST_RANKS];
    cpu_exchange best;
} group;

typedef struct member {
    group *group;
    int rank;
    pthread_t thread;
} member;

static void meet(group *g)
{
    pthread_barrier_wait(&g->barrier);
}

/* Rank 0 keeps the best. */
static void keep_least(const member *m, double *best, double seconds)
{
    if (!m->rank && (!*best || seconds < *best)) *best = seconds;
}

static void time_meeting(member *m)
{
    double start = col_seconds();
    for (int i = 0; i < MEETINGS; i++) meet(m->group);
    keep_least(m, &m->group->best.meet, (col_seconds() - start) / MEETINGS);
}

/* Ranks 0 and 1 tell each other in turns. */
static void time_notifying(member *m)
{
    group *g = m->group;
    double start = col_seconds();
    for (int i = 0; m->rank < 2 && i < MEETINGS; i++) {
        pthread_mutex_lock(&g->mutex);
        while (g->turn != m->rank) pthread_cond_wait(&g->condition, &g->mutex);
        g->turn = !m->rank;
        pthread_cond_signal(&g->condition);
        pthread_mutex_unlock(&g->mutex);
    }
    keep_least(m, &g->best.notify, (col_seconds() - start) / (2 * MEETINGS));
    meet(g);
}

__attribute__((target_clones("avx512f", "avx2", "default"))) static void
add(float *restrict to, const float *restrict from, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}

/* All ranks at once take the buffer of the rank before them. */
static void time_taking(member *m, bool adds, double *best_seconds)
{
    group *g = m->group;
    const float *from = g->sent[(m->rank + g->ranks - 1) % g->ranks];
    meet(g);
    double start = col_seconds();
    for (int i = 0; i < COPIES; i++) {
        if (adds)
            add(g->kept[m->rank], from, CHUNK / sizeof *from);
        else
            memcpy(g->kept[m->rank], from, CHUNK);
    }
    meet(g);
    keep_least(m, best_seconds, (col_seconds() - start) / COPIES);
}

static void *run_rank(void *context)
{
    member *m = context;
    group *g = m->group;
    pthread_mutex_lock(&g->mutex);
    while (!g->go) pthread_cond_wait(&g->condition, &g->mutex);
    bool alone = g->go < 0;
    pthread_mutex_unlock(&g->mutex);
    if (alone) return NULL;
    memset(g->sent[m->rank], 0, CHUNK);
    memset(g->kept[m->rank], 0, CHUNK);
    meet(g);
    for (int round = 0; round < ROUNDS; round++) {
        time_meeting(m);
        time_notifying(m);
        time_taking(m, false, &g->best.copy);
        time_taking(m, true, &g->best.add);
    }
    return NULL;
}

static col_status allocate(group *g)
{
    for (int i = 0; i < g->ranks; i++) {
        g->sent[i] = aligned_alloc(64, CHUNK);
        g->kept[i] = aligned_alloc(64, CHUNK);
        if (!g->sent[i] || !g->kept[i])
            return col_error_make(COL_DEVICE, "no memory for the buffers of %d ranks", g->ranks);
    }
    return NULL;
}

static col_status run_all(group *g, member *members)
{
    col_status status = NULL;
    int started = 0;
    while (started < g->ranks && !status) {
        members[started] = (member){.group = g, .rank = started};
        int error = pthread_create(&members[started].thread, NULL, run_rank, &members[started]);
        if (error)
            status = col_error_from_errno(error, "cannot start thread %d of %d", started + 1, g->ranks);
        else
            started++;
    }
    pthread_mutex_lock(&g->mutex);
    g->go = status ? -1 : 1;
    pthread_cond_broadcast(&g->condition);
    pthread_mutex_unlock(&g->mutex);
    for (int i = 0; i < started; i++) pthread_join(members[i].thread, NULL);
    return status;
}

col_status cpu_time_exchange(int ranks, cpu_exchange *out)
{
    COL_ASSERT(ranks >= 2 && ranks <= MOST_RANKS);
    group g = {.ranks = ranks, .mutex = PTHREAD_MUTEX_INITIALIZER, .condition = PTHREAD_COND_INITIALIZER};
    member members[MOST_RANKS];
    pthread_barrier_init(&g.barrier, NULL, (unsigned)ranks);
    col_status status = allocate(&g);
    if (!status) status = run_all(&g, members);
    for (int i = 0; i < ranks; i++) {
        free(g.sent[i]);
        free(g.kept[i]);
    }
    pthread_barrier_destroy(&g.barrier);
    pthread_cond_destroy(&g.condition);
    pthread_mutex_destroy(&g.mutex);
    if (status) return status;
    *out = (cpu_exchange){g.best.meet, g.best.notify, CHUNK / g.best.copy, CHUNK / g.best.add};
    return NULL;
}
