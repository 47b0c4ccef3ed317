/* Large-neighbourhood search under memory.
 *
 * A neighbourhood is a connected set of nodes, or the nodes live at a tight time. With the rest fixed, its
 * problem is again strategy selection under memory, and narrow enough to be solved exactly for given
 * multipliers (sharding_eliminate.c). A few Polyak steps on the multipliers, aimed at the incumbent's value,
 * give assignments that fit and cost less; or the Lagrangian value reaches the incumbent's, which proves that
 * the neighbourhood holds nothing better, and the search goes elsewhere.
 *
 * While the incumbent exceeds the room, the same steps aim at less excess first.
 */
#include "solver/sharding_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 10 };

search *sharding_search_make(col_arena *arena, const model *m, uint64_t seed)
{
    search *s = COL_NEW(arena, search);
    size_t n = (size_t)m->n, times = (size_t)m->g->time_count + 1;
    s->m = m;
    s->x = sharding_eliminator_make(m);
    s->seed = seed;
    s->deadline = INFINITY;
    s->choice = COL_NEW_ARRAY(arena, int32_t, n);
    s->trial = COL_NEW_ARRAY(arena, int32_t, n);
    s->nodes = COL_NEW_ARRAY(arena, int32_t, n);
    s->mark = COL_NEW_ARRAY(arena, int32_t, n);
    s->profile = COL_NEW_ARRAY(arena, int64_t, times);
    s->trial_profile = COL_NEW_ARRAY(arena, int64_t, times);
    s->lambda = COL_NEW_ARRAY(arena, double, times);
    s->own_lambda = COL_NEW_ARRAY(arena, double, times);
    s->prefix = COL_NEW_ARRAY(arena, double, times + 1);
    s->price = COL_NEW_ARRAY(arena, double, m->offset[n]);
    sharding_search_set(s, s->choice);
    return s;
}

void sharding_search_free(search *s)
{
    if (s) sharding_eliminator_free(s->x);
}

static int64_t excess(const int64_t *profile, int32_t times)
{
    int64_t sum = 0;
    for (int32_t t = 0; t < times; t++)
        if (profile[t] > 0) sum += profile[t];
    return sum;
}

void sharding_search_set(search *s, const int32_t *choice)
{
    memmove(s->choice, choice, sizeof *choice * (size_t)s->m->n);
    s->cost = sharding_model_cost(s->m, s->choice);
    sharding_model_profile(s->m, s->choice, s->profile);
    s->over = excess(s->profile, s->m->g->time_count);
}

/* Cost of the nodes marked, their edges among each other counted once. */
static int64_t local_cost(const search *s, const int32_t *nodes, int32_t count, const int32_t *choice)
{
    const model *m = s->m;
    int64_t sum = 0;
    for (int32_t j = 0; j < count; j++) {
        int32_t i = nodes[j];
        sum = add_cost(sum, m->g->cost[i][choice[i]]);
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
            const arc *a = &m->arcs[y];
            if (s->mark[a->other] == s->now && a->other < i) continue;
            double cost = a->table[(size_t)choice[i] * (size_t)m->k[a->other] + (size_t)choice[a->other]];
            sum = add_cost(sum, cost >= (double)INF ? INF : (int64_t)cost);
        }
    }
    return sum;
}

/* Grows a connected set, drawing the next node at random from its border. */
static int32_t grow_set(search *s, int32_t start, int32_t size)
{
    const model *m = s->m;
    int32_t count = 1, border = 1;
    s->now++;
    s->nodes[0] = start;
    s->mark[start] = s->now;
    /* nodes[0 .. count) are in; nodes[count .. border) wait. */
    while (count <= border && count < size) {
        int32_t i = s->nodes[count - 1], degree = m->first_arc[i + 1] - m->first_arc[i];
        int32_t from = degree > 32 ? random_below(&s->seed, degree) : 0, take = COL_MIN(degree, 32);
        for (int32_t j = 0; j < take; j++) {
            int32_t b = m->arcs[m->first_arc[i] + (from + j) % degree].other;
            if (s->mark[b] == s->now) continue;
            s->mark[b] = s->now;
            s->nodes[border++] = b;
        }
        if (count == border) break;
        int32_t pick = count + random_below(&s->seed, border - count);
        int32_t swap = s->nodes[pick];
        s->nodes[pick] = s->nodes[count];
        s->nodes[count++] = swap;
    }
    return count;
}

/* Nodes live at a time where the room is tight, at random, with a neighbour now and then. */
static int32_t live_set(search *s, int32_t size)
{
    const core *g = s->m->g;
    int32_t t = random_below(&s->seed, g->time_count);
    for (int draw = 0; draw < 8; draw++) {
        int32_t other = random_below(&s->seed, g->time_count);
        if (s->profile[other] > s->profile[t]) t = other;
    }
    int32_t count = 0, from = random_below(&s->seed, COL_MAX(g->item_count, 1));
    s->now++;
    for (int32_t j = 0; j < g->item_count && count < size; j++) {
        const item *x = &g->items[(from + j) % g->item_count];
        if (x->lower > t || x->upper <= t || s->mark[x->node] == s->now) continue;
        s->mark[x->node] = s->now;
        s->nodes[count++] = x->node;
    }
    int32_t live = count;
    for (int32_t j = 0; j < live && count < size; j++) {
        int32_t i = s->nodes[j];
        for (int32_t y = s->m->first_arc[i]; y < s->m->first_arc[i + 1] && count < size; y++) {
            int32_t b = s->m->arcs[y].other;
            if (s->mark[b] == s->now || random_below(&s->seed, 2)) continue;
            s->mark[b] = s->now;
            s->nodes[count++] = b;
        }
    }
    return count;
}

static void price_nodes(search *s, const int32_t *nodes, int32_t count)
{
    const model *m = s->m;
    int32_t times = m->g->time_count;
    for (int32_t t = 0; t < times; t++) s->prefix[t + 1] = s->prefix[t] + s->own_lambda[t];
    for (int32_t j = 0; j < count; j++) {
        int32_t i = nodes[j], k = m->k[i];
        double *price = s->price + m->offset[i];
        memcpy(price, m->cost + m->offset[i], sizeof(double) * (size_t)k);
        for (int32_t y = m->first_item[i]; y < m->first_item[i + 1]; y++) {
            const item *x = &m->g->items[y];
            double weight = s->prefix[x->upper] - s->prefix[x->lower];
            if (weight <= 0) continue;
            for (int32_t p = 0; p < k; p++) price[p] += weight * (double)x->use[p];
        }
    }
}

/* While the incumbent does not fit: doubles the price of the times where the trial does not. */
static void press(search *s, int64_t before)
{
    int64_t worst = 1;
    for (int32_t t = 0; t < s->m->g->time_count; t++) worst = COL_MAX(worst, s->trial_profile[t]);
    double least = 1e-3 * ((double)before + 1) / (double)worst;
    for (int32_t t = 0; t < s->m->g->time_count; t++)
        if (s->trial_profile[t] > 0) s->own_lambda[t] = fmax(2 * s->own_lambda[t], least);
}

/* Later neighbourhoods start from higher prices where the incumbent still does not fit. */
static void keep_pressure(search *s)
{
    for (int32_t t = 0; t < s->m->g->time_count; t++)
        if (s->profile[t] > 0)
            s->lambda[t] = fmax(s->lambda[t], fmin(1.2 * s->lambda[t] + 1e-9, s->own_lambda[t]));
}

bool sharding_search_step(search *s, int32_t size, double cap)
{
    const model *m = s->m;
    int32_t times = m->g->time_count, n = m->n;
    int32_t count = times && random_below(&s->seed, 3) == 0 ? live_set(s, size)
                                                            : grow_set(s, random_below(&s->seed, n), size);
    count = sharding_eliminator_plan(s->x, s->nodes, count, cap, &s->seed);
    int32_t got;
    const int32_t *nodes = sharding_eliminator_nodes(s->x, &got);
    s->now++;
    for (int32_t j = 0; j < count; j++) s->mark[nodes[j]] = s->now;
    s->tries++;
    int64_t before = local_cost(s, nodes, count, s->choice);
    memcpy(s->own_lambda, s->lambda, sizeof(double) * (size_t)times);
    memcpy(s->trial, s->choice, sizeof(int32_t) * (size_t)n);
    bool better = false;
    for (int step = 0; step < STEPS && col_solve_clock() < s->deadline; step++) {
        price_nodes(s, nodes, count);
        sharding_eliminator_run(s->x, s->price, s->trial);
        /* Profile of the trial from the incumbent's. */
        memcpy(s->trial_profile, s->profile, sizeof(int64_t) * (size_t)times);
        bool moved = false;
        for (int32_t j = 0; j < count; j++) {
            int32_t i = nodes[j];
            if (s->trial[i] == s->choice[i]) continue;
            moved = true;
            sharding_model_shift(m, i, s->choice[i], -1, s->trial_profile);
            sharding_model_shift(m, i, s->trial[i], 1, s->trial_profile);
        }
        int64_t cost = local_cost(s, nodes, count, s->trial), over = excess(s->trial_profile, times);
        if (moved && (over < s->over || (over == s->over && cost < before)) && cost < INF) {
            s->cost += cost - before;
            memcpy(s->choice, s->trial, sizeof(int32_t) * (size_t)n);
            memcpy(s->profile, s->trial_profile, sizeof(int64_t) * (size_t)times);
            s->over = over;
            before = cost;
            better = true;
        }
        if (s->over > 0) {
            press(s, before);
            continue;
        }
        /* Lagrangian value of the neighbourhood against the incumbent's. */
        double value = (double)cost, norm = 0;
        for (int32_t t = 0; t < times; t++) {
            double g = (double)s->trial_profile[t];
            value += s->own_lambda[t] * g;
            if (g > 0 || s->own_lambda[t] > 0) norm += g * g;
        }
        double lack = (double)before - value;
        if (lack < 0.5) {
            s->cut += step == 0;
            break;
        }
        if (norm <= 0) break;
        for (int32_t t = 0; t < times; t++) {
            double g = (double)s->trial_profile[t];
            if (g > 0 || s->own_lambda[t] > 0) s->own_lambda[t] = fmax(0, s->own_lambda[t] + lack / norm * g);
        }
    }
    if (s->over > 0) keep_pressure(s);
    if (better) s->gains++;
    return better;
}
