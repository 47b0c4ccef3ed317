/* Repeated layers as one.
 *
 *   given     classes C of nodes alike (col_sharding_problem.alike), L_C nodes each
 *   choose    one strategy s_C per class, and s_i for the nodes like no other
 *   minimise  the same sum, and fit the same rows, with s_i = s_C for every i of C
 *
 * In terms of the core that is one more way to make a node a function of another: each node of a class
 * follows its first, by the identity. So costs add up, edges between the same two classes become one table,
 * edges within a class a cost, and the memory of a class at a time is that of one node times how many of them
 * are live then. All further reductions apply, and answers unfold through the same records and are costed
 * from the raw tables of the whole problem.
 *
 * It restricts the problem: an answer of it is an answer of the whole, a bound of it is none, and so it stays
 * in here. What it leaves for the whole problem is an incumbent and the multipliers of the memory rows, which
 * are the same rows; from there the bound of the whole takes few rounds. */
#include "solver/sharding_state.h"

#include <string.h>

/* The core with nodes alike merged; NULL if there are none. */
static core *fold(const col_sharding_problem *problem, records *r, bool *out_infeasible)
{
    if (!problem->alike) return NULL;
    core *g = sharding_core_make(problem, out_infeasible);
    col_arena *scratch = col_arena_create();
    changes *c = sharding_changes_make(scratch, g);
    int32_t *first = COL_NEW_ARRAY(scratch, int32_t, g->node_count + 1); /* by class, plus one; 0: none yet */
    for (int32_t i = 0; i < g->node_count; i++) {
        int32_t class = problem->alike[i];
        if (class < 0) continue;
        if (!first[class]) {
            first[class] = i + 1;
            continue;
        }
        c->parent[i] = first[class] - 1;
        c->map[i] = COL_NEW_ARRAY(scratch, int32_t, g->k[i]);
        for (int32_t p = 0; p < g->k[i]; p++) c->map[i][p] = p;
        c->any = true;
    }
    bool any = c->any;
    if (any) g = sharding_rebuild(g, c, r, out_infeasible);
    col_arena_destroy(scratch);
    if (any) return g;
    col_arena_destroy(g->arena);
    return NULL;
}

/* Of the gap that the whole may have, what is left to this: the rest is for what nodes alike cost. */
static const double GAP_SHARE = 0.25;
/* Of the time; and where it is all that is wanted, so that there is some left if it finds nothing. */
static const double TIME_SHARE = 0.3, TIME_SHARE_ALONE = 0.6;

bool sharding_fold(state *st, int threads)
{
    col_arena *arena = col_arena_create();
    records r = {.arena = arena};
    bool infeasible = false, answered = false;
    core *g = fold(st->problem, &r, &infeasible);
    if (g && !infeasible && sharding_presolve(&g, &r, st->verbose)) {
        state sub;
        double left = st->deadline - col_solve_clock();
        sharding_state_init(&sub, st->problem, (st->alike_only ? TIME_SHARE_ALONE : TIME_SHARE) * left,
                            st->ceiling, arena);
        sub.gap = GAP_SHARE * st->gap;
        sub.stall = st->stall;
        sub.verbose = st->verbose;
        model none = {.g = g};
        if (g->node_count)
            sharding_solve_core(&sub, g, &r, threads);
        else
            sharding_state_offer_core(&sub, &none, &r, NULL, g->constant);
        answered = sub.cost < INF;
        if (answered) sharding_state_offer(st, sub.choice, sub.cost);
        memcpy(st->lambda, sub.lambda, sizeof *st->lambda * (size_t)st->time_count);
        pthread_mutex_destroy(&sub.lock);
    }
    if (g) col_arena_destroy(g->arena);
    col_arena_destroy(arena);
    return answered;
}
