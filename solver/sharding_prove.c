/* Branch and bound on the dual: exact, in integers.
 *
 * A node of the tree raises the dual bound, rules out what no answer below the cut can use (sharding_fix.c),
 * reduces again (sharding_presolve.c), and repeats while that shrinks the core. What is left is split in two:
 * the strategies of the node on which the decoded assignments agree least are parted by how much priced
 * memory they use. */
#include "solver/sharding_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_ROOT = 400, ROUNDS = 40, STALL = 60, COMPANION_WORK = 100, ROOT_WORK = 2000 };

void sharding_state_offer_decoded(state *st, const model *m, const records *r, const ascent *a)
{
    if (a->over > 0) return;
    int64_t cost = sharding_model_cost(m, a->d->choice);
    if (cost >= INF) return;
    cost += m->g->constant;
    if (cost < sharding_state_cut(st)) sharding_state_offer_core(st, m, r, a->d->choice, cost);
}

/* Splits the strategies of one node: left[p] says which half p goes to. Returns the node; -1 if none has two.
 */
static int32_t choose_branch(const model *m, const ascent *a, uint8_t *left, bool *out_left_first)
{
    const core *g = m->g;
    int32_t best = -1;
    double best_score = -1;
    for (int32_t i = 0; i < m->n; i++) {
        if (m->k[i] < 2) continue;
        double most = 0, sum = 0;
        const double *f = a->frequency + m->offset[i], *price = a->d->price + m->offset[i];
        double low = INFINITY, high = 0;
        for (int32_t p = 0; p < m->k[i]; p++) {
            most = fmax(most, f[p]);
            sum += f[p];
            double memory = price[p] - (double)g->cost[i][p];
            low = fmin(low, memory);
            high = fmax(high, memory);
        }
        double doubt = sum > 0 ? 1 - most / sum : 0;
        double score = (doubt + 1e-3) * (high - low + 1e-9 * (1 + m->first_arc[i + 1] - m->first_arc[i]));
        if (score > best_score) {
            best_score = score;
            best = i;
        }
    }
    if (best < 0) return -1;
    int32_t k = m->k[best];
    const double *f = a->frequency + m->offset[best], *price = a->d->price + m->offset[best];
    double mean = 0, sum = 0, left_weight = 0;
    for (int32_t p = 0; p < k; p++) {
        mean += f[p] * (price[p] - (double)g->cost[best][p]);
        sum += f[p];
    }
    mean = sum > 0 ? mean / sum : 0;
    int32_t lefts = 0, top = 0;
    for (int32_t p = 0; p < k; p++) {
        left[p] = price[p] - (double)g->cost[best][p] <= mean;
        lefts += left[p];
        if (f[p] > f[top]) top = p;
    }
    if (lefts == 0 || lefts == k) {
        for (int32_t p = 0; p < k; p++) left[p] = p == top;
    }
    for (int32_t p = 0; p < k; p++) left_weight += left[p] ? f[p] : 0;
    *out_left_first = 2 * left_weight >= sum;
    return best;
}

static int64_t prove_halves(state *st, const core *g, const records *r, int32_t node, const uint8_t *left,
                            bool left_first, int64_t bound, int depth)
{
    int64_t least = INF;
    for (int half = 0; half < 2; half++) {
        if (sharding_state_stopped(st)) return COL_MIN(least, bound);
        core *copy = sharding_core_copy(g);
        col_arena *scratch = col_arena_create();
        changes *c = sharding_changes_make(scratch, copy);
        bool want_left = (half == 0) == left_first, infeasible;
        for (int32_t p = 0; p < g->k[node]; p++) c->alive[node][p] = (left[p] != 0) == want_left;
        c->any = true;
        records own = {.arena = scratch, .parent = r};
        copy = sharding_rebuild(copy, c, &own, &infeasible);
        int64_t value = sharding_prove(st, copy, &own, depth + 1);
        col_arena_destroy(scratch);
        least = COL_MIN(least, COL_MAX(value, bound));
    }
    return least;
}

/* The whole tree below a root: local search on the root's core, which is smaller than the problem's, goes
 * along. */
static int64_t prove_tree(state *st, const model *m, const records *r, const int32_t *start, int32_t node,
                          const uint8_t *left, bool left_first, int64_t bound)
{
    worker *outer = st->companion;
    st->companion = sharding_worker_make(st, m, r, 3);
    sharding_worker_start_from(st->companion, start);
    sharding_worker_run(st->companion, ROOT_WORK * (double)sharding_core_size(m->g));
    bound = prove_halves(st, m->g, r, node, left, left_first, bound, 0);
    sharding_worker_free(st->companion);
    st->companion = outer;
    return bound;
}

int64_t sharding_prove(state *st, core *g, const records *parent, int depth)
{
    col_arena *arena = col_arena_create();
    records r = {.arena = arena, .parent = parent};
    int64_t bound = -INF;
    pthread_mutex_lock(&st->lock);
    st->nodes++;
    pthread_mutex_unlock(&st->lock);
    for (int pass = 0;; pass++) {
        if (!sharding_presolve(&g, &r, false)) {
            bound = INF;
            break;
        }
        size_t size = sharding_core_size(g);
        col_arena *scratch = col_arena_create();
        model *m = sharding_model_make(scratch, g);
        if (g->node_count == 0) {
            bound = g->constant;
            sharding_state_offer_core(st, m, &r, NULL, g->constant);
            col_arena_destroy(scratch);
            break;
        }
        dual *d = sharding_dual_make(scratch, m);
        pthread_mutex_lock(&st->lock);
        for (int32_t t = 0; t < g->time_count; t++) d->lambda[t] = st->lambda[g->time[t]];
        pthread_mutex_unlock(&st->lock);
        sharding_dual_reprice(d, d->lambda);
        ascent *a = sharding_ascent_make(scratch, d);
        int rounds = depth || pass ? ROUNDS : ROUNDS_ROOT, stall = 0;
        double mark = -INFINITY;
        for (int i = 0; i < rounds && stall < STALL && !sharding_state_stopped(st); i++) {
            double cut = (double)sharding_state_cut(st);
            /* Without an answer the ceiling is far off: aim a little above the bound instead. */
            bool answered = sharding_state_answered(st);
            double target = answered ? cut : i ? fmin(cut, a->best + 0.05 * fabs(a->best) + 1) : 0;
            sharding_ascent_round(a, target);
            sharding_state_spend(st, ROUND_EFFORT * (double)size);
            sharding_state_offer_decoded(st, m, &r, a);
            if (a->best > cut) break;
            double step = answered ? 1e-3 * fabs(cut - a->best) : 1e-5 * fabs(a->best);
            if (a->best > mark + step) {
                mark = a->best;
                stall = 0;
            } else {
                stall++;
            }
        }
        sharding_ascent_settle(a, st->deadline);
        if (st->companion) sharding_worker_run(st->companion, COMPANION_WORK * (double)size);

        int64_t cut = sharding_state_cut(st);
        changes *c = sharding_changes_make(scratch, g);
        size_t ruled_out = 0;
        bool last = sharding_state_stopped(st), branch = false;
        int64_t fixed = sharding_dual_fix(d, g, c, cut, &ruled_out);
        bound = COL_MAX(bound, fixed);
        if (ruled_out) {
            pthread_mutex_lock(&st->lock);
            st->cut = COL_MIN(st->cut, cut);
            pthread_mutex_unlock(&st->lock);
        }
        if (depth == 0) sharding_state_raise(st, COL_MIN(bound, cut));
        if (st->verbose && depth < 3)
            fprintf(stderr,
                    "sharding: %6.2f s  depth %d pass %d: %d nodes, %zu strategies and pairs, bound %lld, "
                    "cut %lld, "
                    "ruled out %zu, tree %llu\n",
                    col_solve_clock() - st->started, depth, pass, g->node_count, size, (long long)bound,
                    (long long)cut, ruled_out, (unsigned long long)st->nodes);
        uint8_t *left = COL_NEW_ARRAY(arena, uint8_t, 1 << 16);
        bool left_first = true;
        int32_t node = -1;
        if (bound >= cut) {
            last = true;
        } else if (!last) {
            bool infeasible = false;
            branch = (double)ruled_out < 0.03 * (double)size;
            if (branch) node = choose_branch(m, a, left, &left_first);
            if (c->any && !branch) g = sharding_rebuild(g, c, &r, &infeasible);
            if (infeasible) bound = INF, last = true;
        }
        if (branch && node >= 0 && size <= SHARDING_BRANCH_SIZE) {
            if (depth)
                bound = prove_halves(st, g, &r, node, left, left_first, bound, depth);
            else
                bound = prove_tree(st, m, &r, d->choice, node, left, left_first, bound);
        }
        col_arena_destroy(scratch);
        if (last || branch) break;
    }
    col_arena_destroy(g->arena);
    col_arena_destroy(arena);
    return bound;
}
