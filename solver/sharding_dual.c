/* The Lagrangian dual: memory priced by multipliers, edges relaxed to trees.
 *
 * For lambda >= 0 the price of strategy p of node i is c_ip + sum_t lambda_t use_ip(t), and
 *     L(lambda) = min over assignments of prices and edges, less sum_t lambda_t room_t
 * is a lower bound. The inner minimum is itself bounded by moving cost between nodes and edges: with any
 * numbers a_e,u(p), a_e,v(q) ("moved"),
 *     r'_e(p, q) = r_e(p, q) + a_e,u(p) + a_e,v(q)      theta_i(p) = price_i(p) - sum_e a_e,i(p)
 * leaves the cost of every assignment as it was, and sum_i min theta_i + sum_e min r'_e bounds it. Sweeps
 * improve that bound by sequential reweighted message passing (Kolmogorov, "A new look at reweighted message
 * passing", IEEE TPAMI 37(5), 2015): going through the nodes in order, a node collects the min-marginals of
 * the edges behind it, then shares its theta among the edges ahead. */
#include "solver/sharding_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dual *sharding_dual_make(col_arena *arena, const model *m)
{
    dual *d = COL_NEW(arena, dual);
    size_t strategies = (size_t)m->offset[m->n], arcs = (size_t)m->first_arc[m->n];
    d->m = m;
    d->lambda = COL_NEW_ARRAY(arena, double, m->g->time_count);
    d->price = col_arena_copy(arena, m->cost, sizeof(double) * strategies);
    d->theta = col_arena_copy(arena, m->cost, sizeof(double) * strategies);
    d->moved = COL_NEW_ARRAY(arena, double *, arcs);
    d->choice = COL_NEW_ARRAY(arena, int32_t, m->n);
    for (int32_t i = 0; i < m->n; i++)
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++)
            d->moved[y] = COL_NEW_ARRAY(arena, double, m->k[i]);
    return d;
}

void sharding_dual_reprice(dual *d, const double *lambda)
{
    const model *m = d->m;
    int32_t strategies = m->offset[m->n];
    for (int32_t s = 0; s < strategies; s++) d->theta[s] -= d->price[s];
    if (lambda != d->lambda) memcpy(d->lambda, lambda, sizeof(double) * (size_t)m->g->time_count);
    sharding_model_price(m, lambda, d->price);
    for (int32_t s = 0; s < strategies; s++) d->theta[s] += d->price[s];
}

/* Takes the min-marginals of an edge into node i: delta(p) = min_q r'(p, q). */
static void collect(dual *d, int32_t i, int32_t y, double *delta)
{
    const model *m = d->m;
    const arc *a = &m->arcs[y];
    /* From the other end, p is contiguous. */
    const double *table = m->arcs[m->twin[y]].table, *there = d->moved[m->twin[y]];
    int32_t k = m->k[i], kq = m->k[a->other];
    for (int32_t p = 0; p < k; p++) delta[p] = INFINITY;
    for (int32_t q = 0; q < kq; q++, table += k) {
        double shift = there[q];
        for (int32_t p = 0; p < k; p++) {
            double value = table[p] + shift;
            delta[p] = value < delta[p] ? value : delta[p];
        }
    }
    double *here = d->moved[y], *theta = d->theta + m->offset[i];
    for (int32_t p = 0; p < k; p++) {
        delta[p] += here[p];
        here[p] -= delta[p];
        theta[p] += delta[p];
    }
}

static void pass(dual *d, bool back, double *delta)
{
    const model *m = d->m;
    for (int32_t step = 0; step < m->n; step++) {
        int32_t i = back ? m->n - 1 - step : step, k = m->k[i];
        int32_t ahead = 0, behind = 0;
        double *theta = d->theta + m->offset[i];
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
            bool is_ahead = (m->arcs[y].other > i) != back;
            ahead += is_ahead;
            behind += !is_ahead;
            if (!is_ahead) collect(d, i, y, delta);
        }
        if (back) {
            /* Decode: the nodes behind have chosen. */
            memcpy(delta, theta, sizeof(double) * (size_t)k);
            for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
                const arc *a = &m->arcs[y];
                if ((a->other > i) != back) continue;
                int32_t q = d->choice[a->other];
                const double *row = m->arcs[m->twin[y]].table + (size_t)q * (size_t)k;
                double there = d->moved[m->twin[y]][q];
                for (int32_t p = 0; p < k; p++) delta[p] += row[p] + d->moved[y][p] + there;
            }
            int32_t best = 0;
            for (int32_t p = 1; p < k; p++)
                if (delta[p] < delta[best]) best = p;
            d->choice[i] = best;
        }
        if (!ahead) continue;
        double share = 1.0 / COL_MAX(ahead, behind);
        for (int32_t p = 0; p < k; p++) delta[p] = share * theta[p];
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
            if ((m->arcs[y].other > i) == back) continue;
            for (int32_t p = 0; p < k; p++) d->moved[y][p] += delta[p];
        }
        for (int32_t p = 0; p < k; p++) theta[p] -= ahead * delta[p];
    }
}

double sharding_dual_sweep(dual *d)
{
    const model *m = d->m;
    int32_t widest = 1;
    for (int32_t i = 0; i < m->n; i++) widest = COL_MAX(widest, m->k[i]);
    double *delta = malloc(sizeof(double) * (size_t)widest);
    if (!delta) col_out_of_memory(sizeof(double) * (size_t)widest);
    pass(d, false, delta);
    pass(d, true, delta);
    free(delta);
    double bound = 0;
    for (int32_t t = 0; t < m->g->time_count; t++) bound -= d->lambda[t] * (double)m->g->room[t];
    for (int32_t i = 0; i < m->n; i++) {
        const double *theta = d->theta + m->offset[i];
        double least = theta[0];
        for (int32_t p = 1; p < m->k[i]; p++) least = COL_MIN(least, theta[p]);
        bound += least;
    }
    return bound;
}

ascent *sharding_ascent_make(col_arena *arena, dual *d)
{
    ascent *a = COL_NEW(arena, ascent);
    size_t times = (size_t)d->m->g->time_count + 1;
    a->d = d;
    a->best = -INFINITY;
    a->best_lambda = COL_NEW_ARRAY(arena, double, times);
    a->average = COL_NEW_ARRAY(arena, double, times);
    a->profile = COL_NEW_ARRAY(arena, int64_t, times);
    a->frequency = COL_NEW_ARRAY(arena, double, d->m->offset[d->m->n]);
    a->factor = 0.1;
    memcpy(a->best_lambda, d->lambda, sizeof(double) * (times - 1));
    return a;
}

enum { SWEEPS = 2, FIRST_SWEEPS = 20, FIRST_ROUNDS = 5, PATIENCE = 8 };

static const double LEAST_FACTOR = 2e-4; /* shorter steps no longer move anything */

double sharding_ascent_round(ascent *a, double target)
{
    dual *d = a->d;
    const model *m = d->m;
    int32_t times = m->g->time_count;
    double bound = 0;
    for (int i = 0; i < (a->rounds < FIRST_ROUNDS ? FIRST_SWEEPS : SWEEPS); i++)
        bound = sharding_dual_sweep(d);
    bound += (double)m->g->constant;
    a->over = sharding_model_profile(m, d->choice, a->profile);
    for (int32_t s = 0; s < m->offset[m->n]; s++) a->frequency[s] *= 0.95;
    for (int32_t i = 0; i < m->n; i++) a->frequency[m->offset[i] + d->choice[i]] += 0.05;
    if (bound > a->best + 1e-7 * fabs(a->best) || a->rounds == 0) {
        a->best = bound;
        memcpy(a->best_lambda, d->lambda, sizeof(double) * (size_t)times);
        a->stale = 0;
    } else if (++a->stale > PATIENCE) {
        a->factor = fmax(0.7 * a->factor, LEAST_FACTOR);
        a->stale = 0;
    }
    double keep = a->rounds++ ? 0.85 : 0, norm = 0;
    for (int32_t t = 0; t < times; t++) {
        a->average[t] = keep * a->average[t] + (1 - keep) * (double)a->profile[t];
        if (d->lambda[t] > 0 || a->average[t] > 0) norm += a->average[t] * a->average[t];
    }
    if (norm <= 0) return bound;
    double length = a->factor * fmax(target - bound, 1e-4 * fabs(target)) / norm;
    for (int32_t t = 0; t < times; t++) {
        if (d->lambda[t] > 0 || a->average[t] > 0)
            d->lambda[t] = fmax(0, d->lambda[t] + length * a->average[t]);
    }
    sharding_dual_reprice(d, d->lambda);
    return bound;
}

void sharding_ascent_settle(ascent *a, double deadline)
{
    sharding_dual_reprice(a->d, a->best_lambda);
    double last = -INFINITY;
    for (int i = 0; i < 50; i++) {
        double bound = sharding_dual_sweep(a->d);
        if (bound - last <= 1e-7 * fabs(bound) || col_solve_clock() >= deadline) break;
        last = bound;
    }
}
