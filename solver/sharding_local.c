/* Large-neighbourhood search under memory.
 *
 * A neighbourhood is a connected set of nodes, or the nodes live at a tight time. With the rest fixed, its
 * problem is again strategy selection under memory, and narrow enough to be solved exactly for given
 * multipliers (sharding_eliminate.c). A few Polyak steps on the multipliers, aimed at the incumbent's value,
 * give assignments that fit and cost less; or the Lagrangian value reaches the incumbent's, which proves that
 * the neighbourhood holds nothing better, and the search goes elsewhere.
 *
 * While the incumbent exceeds the room, the same steps aim at less excess first. */
#include "solver/sharding_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 10 };

static const double FIRST_STEP = 0.01; /* of the neighbourhood's cost */

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
    s->lambda = COL_NEW_ARRAY(arena, double, times);
    s->hint = COL_NEW_ARRAY(arena, int32_t, n);
    memset(s->hint, -1, sizeof(int32_t) * n);
    s->row = COL_NEW_ARRAY(arena, int32_t, times);
    s->base = COL_NEW_ARRAY(arena, int64_t, times);
    s->level = COL_NEW_ARRAY(arena, int64_t, times);
    s->row_lambda = COL_NEW_ARRAY(arena, double, times);
    s->prefix = COL_NEW_ARRAY(arena, double, times);
    s->cover = COL_NEW_ARRAY(arena, int32_t, times);
    s->ends = COL_NEW_ARRAY(arena, uint8_t, times);
    s->price = COL_NEW_ARRAY(arena, double, m->offset[n]);
    sharding_search_set(s, s->choice);
    return s;
}

void sharding_search_free(search *s)
{
    if (s) sharding_eliminator_free(s->x);
}

static int64_t excess(const int64_t *profile, int32_t lower, int32_t upper)
{
    int64_t sum = 0;
    for (int32_t t = lower; t < upper; t++)
        if (profile[t] > 0) sum += profile[t];
    return sum;
}

void sharding_search_set(search *s, const int32_t *choice)
{
    memmove(s->choice, choice, sizeof *choice * (size_t)s->m->n);
    memcpy(s->trial, s->choice, sizeof *choice * (size_t)s->m->n);
    s->cost = sharding_model_cost(s->m, s->choice);
    sharding_model_profile(s->m, s->choice, s->profile);
    s->over = excess(s->profile, 0, s->m->g->time_count);
}

/* Cost of the neighbourhood, its edges among each other counted once. */
static int64_t local_cost(const search *s, const int32_t *choice)
{
    const model *m = s->m;
    int64_t sum = 0;
    for (int32_t j = 0; j < s->count; j++) {
        int32_t i = s->nodes[j];
        sum = add_cost(sum, m->g->cost[i][choice[i]]);
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
            const arc *a = &m->arcs[y];
            if (s->mark[a->other] == s->now && a->other < i) continue;
            int32_t u = m->g->u[a->edge], v = m->g->v[a->edge];
            sum =
                add_cost(sum, m->g->table[a->edge][(size_t)choice[u] * (size_t)m->k[v] + (size_t)choice[v]]);
        }
    }
    return sum;
}

static bool is_doubtful(const search *s, int32_t i)
{
    return s->hint[i] >= 0 && s->hint[i] != s->choice[i];
}

/* Grows a connected set, drawing the next node at random from its border; one that differs from its hint
 * is preferred if `hinted`. */
static int32_t grow_set(search *s, int32_t size, bool hinted)
{
    const model *m = s->m;
    int32_t count = 1, border = 1, start = random_below(&s->seed, m->n);
    for (int draw = 0; hinted && draw < 16 && !is_doubtful(s, start); draw++)
        start = random_below(&s->seed, m->n);
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
        for (int draw = 0; hinted && draw < 4 && !is_doubtful(s, s->nodes[pick]); draw++)
            pick = count + random_below(&s->seed, border - count);
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

/* Draws the neighbourhood, plans its elimination, and keeps of it what the plan leaves free. */
static void draw_neighbourhood(search *s, int32_t size, double cap)
{
    const model *m = s->m;
    bool live = m->g->time_count && random_below(&s->seed, 3) == 0;
    int32_t count = live ? live_set(s, size) : grow_set(s, size, random_below(&s->seed, 2) == 0);
    s->work += 100.0 * count;
    sharding_eliminator_plan(s->x, s->nodes, count, cap, &s->seed);
    const int32_t *nodes = sharding_eliminator_nodes(s->x, &s->count);
    s->now++;
    for (int32_t j = 0; j < s->count; j++) {
        s->nodes[j] = nodes[j];
        s->mark[nodes[j]] = s->now;
    }
}

static void make_rows(search *s)
{
    const model *m = s->m;
    s->lower = m->g->time_count;
    s->upper = 0;
    for (int32_t j = 0; j < s->count; j++) {
        for (int32_t y = m->first_item[s->nodes[j]]; y < m->first_item[s->nodes[j] + 1]; y++) {
            const item *x = &m->g->items[y];
            s->ends[x->lower] = s->ends[x->upper] = 1;
            s->cover[x->lower]++;
            s->cover[x->upper]--;
            s->lower = COL_MIN(s->lower, x->lower);
            s->upper = COL_MAX(s->upper, x->upper);
        }
    }
    s->row_count = 0;
    int32_t covers = 0;
    for (int32_t t = s->lower; t < s->upper; t++) {
        if (s->ends[t]) {
            s->base[s->row_count] = INT64_MIN;
            s->row_lambda[s->row_count++] = 0;
        }
        covers += s->cover[t];
        s->ends[t] = 0;
        s->cover[t] = 0;
        int32_t r = s->row[t] = s->row_count - 1;
        s->base[r] = COL_MAX(s->base[r], s->profile[t]);
        /* Where no item lives the neighbourhood changes nothing, and a price would blur its bound. */
        if (covers) s->row_lambda[r] += s->lambda[t];
    }
    if (s->lower < s->upper) {
        s->ends[s->upper] = 0;
        s->cover[s->upper] = 0;
        s->row[s->upper] = s->row_count;
        s->work += s->upper - s->lower;
    }
}

static void price_nodes(search *s)
{
    const model *m = s->m;
    s->prefix[0] = 0;
    for (int32_t r = 0; r < s->row_count; r++) s->prefix[r + 1] = s->prefix[r] + s->row_lambda[r];
    for (int32_t j = 0; j < s->count; j++) {
        int32_t i = s->nodes[j], k = m->k[i];
        double *price = s->price + m->offset[i];
        memcpy(price, m->cost + m->offset[i], sizeof(double) * (size_t)k);
        for (int32_t y = m->first_item[i]; y < m->first_item[i + 1]; y++) {
            const item *x = &m->g->items[y];
            double weight = s->prefix[s->row[x->upper]] - s->prefix[s->row[x->lower]];
            if (weight <= 0) continue;
            for (int32_t p = 0; p < k; p++) price[p] += weight * (double)x->use[p];
        }
    }
}

/* Excess of the trial by row; returns the largest. */
static int64_t find_levels(search *s)
{
    const model *m = s->m;
    memset(s->level, 0, sizeof(int64_t) * ((size_t)s->row_count + 1));
    for (int32_t j = 0; j < s->count; j++) {
        int32_t i = s->nodes[j], p = s->trial[i], before = s->choice[i];
        if (p == before) continue;
        for (int32_t y = m->first_item[i]; y < m->first_item[i + 1]; y++) {
            const item *x = &m->g->items[y];
            s->level[s->row[x->lower]] += x->use[p] - x->use[before];
            s->level[s->row[x->upper]] -= x->use[p] - x->use[before];
        }
    }
    int64_t change = 0, largest = INT64_MIN;
    for (int32_t r = 0; r < s->row_count; r++) {
        change += s->level[r];
        s->level[r] = s->base[r] + change;
        largest = COL_MAX(largest, s->level[r]);
    }
    return largest;
}

/* Moves the profile from one choice of the neighbourhood to the other. Returns by how much the excess grows.
 */
static int64_t shift_profile(search *s, const int32_t *from, const int32_t *to)
{
    int64_t before = s->over ? excess(s->profile, s->lower, s->upper) : 0;
    for (int32_t j = 0; j < s->count; j++) {
        int32_t i = s->nodes[j];
        if (from[i] == to[i]) continue;
        sharding_model_shift(s->m, i, from[i], -1, s->profile);
        sharding_model_shift(s->m, i, to[i], 1, s->profile);
    }
    return excess(s->profile, s->lower, s->upper) - before;
}

/* Takes the trial if it is better: exceeds less, or costs less and exceeds no more. */
static bool take_trial(search *s, int64_t largest, int64_t before, int64_t cost)
{
    if (cost >= INF || (s->over == 0 && (largest > 0 || cost >= before))) return false;
    int64_t grown = shift_profile(s, s->choice, s->trial);
    if (grown > 0 || (grown == 0 && cost >= before)) {
        shift_profile(s, s->trial, s->choice);
        return false;
    }
    s->over += grown;
    for (int32_t j = 0; j < s->count; j++) s->choice[s->nodes[j]] = s->trial[s->nodes[j]];
    s->cost = s->cost >= INF ? sharding_model_cost(s->m, s->choice) : s->cost + cost - before;
    memcpy(s->base, s->level, sizeof(int64_t) * (size_t)s->row_count);
    return true;
}

/* While the incumbent does not fit: doubles the price of the rows where the trial does not. */
static void press(search *s, int64_t largest, int64_t before)
{
    double least = 1e-3 * ((double)before + 1) / (double)COL_MAX(largest, 1);
    for (int32_t r = 0; r < s->row_count; r++)
        if (s->level[r] > 0) s->row_lambda[r] = fmax(2 * s->row_lambda[r], least);
}

/* Later neighbourhoods start from higher prices where the incumbent still does not fit. */
static void keep_pressure(search *s)
{
    for (int32_t t = s->lower; t < s->upper; t++)
        if (s->profile[t] > 0)
            s->lambda[t] = fmax(s->lambda[t], fmin(1.2 * s->lambda[t] + 1e-9, s->row_lambda[s->row[t]]));
}

/* A step of Polyak's length along the excess, aimed at the incumbent's cost. False: the Lagrangian value
 * shows that the neighbourhood holds nothing better. */
static bool move_prices(search *s, int step, bool full, int64_t before, int64_t cost)
{
    double value = (double)cost, norm = 0;
    for (int32_t r = 0; r < s->row_count; r++) {
        double g = (double)s->level[r];
        value += s->row_lambda[r] * g;
        if (g > 0 || s->row_lambda[r] > 0) norm += g * g;
    }
    double lack = (double)before - value;
    if (lack < 0.5 || norm <= 0) return false;
    double length = full ? lack / norm : fmin(lack, ldexp(FIRST_STEP * (double)before, step)) / norm;
    for (int32_t r = 0; r < s->row_count; r++) {
        double g = (double)s->level[r];
        if (g > 0 || s->row_lambda[r] > 0) s->row_lambda[r] = fmax(0, s->row_lambda[r] + length * g);
    }
    return true;
}

bool sharding_search_step(search *s, int32_t size, double cap)
{
    draw_neighbourhood(s, size, cap);
    make_rows(s);
    s->tries++;
    int64_t before = local_cost(s, s->choice);
    /* Far from the incumbent's value full steps overshoot, which short ones that double do not; on narrow
     * neighbourhoods it is the full ones that arrive. */
    bool better = false, full = random_below(&s->seed, 2) == 0;
    for (int step = 0; step < STEPS && col_solve_clock() < s->deadline; step++) {
        price_nodes(s);
        sharding_eliminator_run(s->x, s->price, s->trial);
        s->work += sharding_eliminator_work(s->x) + 10.0 * s->row_count;
        int64_t largest = find_levels(s), cost = local_cost(s, s->trial);
        if (take_trial(s, largest, before, cost)) {
            before = cost;
            better = true;
        }
        if (s->over > 0)
            press(s, largest, before);
        else if (!move_prices(s, step, full, before, cost))
            break;
    }
    if (s->over > 0) keep_pressure(s);
    for (int32_t j = 0; j < s->count; j++) s->trial[s->nodes[j]] = s->choice[s->nodes[j]];
    return better;
}
