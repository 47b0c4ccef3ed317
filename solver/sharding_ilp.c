/* The integer program, solved by GLPK: the twin that judges the branch and bound on problems too large for
 * brute force.
 *
 *   minimise  sum_i sum_p c_ip s_ip + sum_e sum_pq r_e[p][q] x_epq
 *   so that   sum_p s_ip = 1                                     nodes i
 *             sum_q x_epq = s_up,  sum_p x_epq = s_vq            edges e = (u, v)
 *             sum_i sum_p use_ip(t) s_ip <= room_t               times t, as lazy rows
 *             s binary, x >= 0
 *
 * on the core that is left after the reductions. The edge rows describe the local marginal polytope; the
 * product form x >= s + s - 1 has a relaxation near 0. Forbidden pairs have no variable, the least of an edge
 * is taken off. */
#include "solver/sharding_core.h"

#include <math.h>
#include <string.h>

#include "solver/lp.h"

typedef struct program {
    const core *g;
    int32_t **s; /* [node][p] variable */
    int32_t *choice;
    int64_t *profile;
} program;

/* Adds the row of the worst time of each stretch of times that x violates. */
static void add_memory_rows(void *context, col_lp *lp, const double *x, bool integral)
{
    (void)integral;
    program *p = context;
    const core *g = p->g;
    col_arena *scratch = col_arena_create();
    double *level = COL_NEW_ARRAY(scratch, double, g->time_count + 1);
    for (int32_t j = 0; j < g->item_count; j++) {
        const item *a = &g->items[j];
        double use = 0;
        for (int32_t q = 0; q < g->k[a->node]; q++) use += (double)a->use[q] * x[p->s[a->node][q]];
        level[a->lower] += use;
        level[a->upper] -= use;
    }
    for (int32_t t = 1; t < g->time_count; t++) level[t] += level[t - 1];
    int32_t worst = -1;
    for (int32_t t = 0; t <= g->time_count; t++) {
        double room = t < g->time_count ? (double)g->room[t] : 0;
        bool over = t < g->time_count && level[t] > room + 1e-6 * fmax(1, room);
        if (over && (worst < 0 || level[t] - room > level[worst] - (double)g->room[worst])) worst = t;
        if (over || worst < 0) continue;
        COL_VEC(col_lp_entry) row = {0};
        /* Scaled by the room: GLPK's tolerances are near 1. */
        double scale = 1 / fmax(1, (double)g->room[worst]);
        for (int32_t j = 0; j < g->item_count; j++) {
            const item *a = &g->items[j];
            if (a->lower > worst || a->upper <= worst) continue;
            for (int32_t q = 0; q < g->k[a->node]; q++) {
                if (!a->use[q]) continue;
                col_lp_entry entry = {p->s[a->node][q], scale * (double)a->use[q]};
                col_vec_push(scratch, &row, entry);
            }
        }
        col_lp_add_row(lp, -INFINITY, scale * (double)g->room[worst], row.data, row.len, NULL);
        worst = -1;
    }
    col_arena_destroy(scratch);
}

static void add_edge(col_lp *lp, const program *p, int32_t e, col_arena *scratch)
{
    const core *g = p->g;
    int32_t u = g->u[e], v = g->v[e], ku = g->k[u], kv = g->k[v];
    const int64_t *table = g->table[e];
    int64_t least = INF;
    for (int32_t j = 0; j < ku * kv; j++) least = COL_MIN(least, table[j]);
    lp->constant += (double)least;
    int32_t *x = COL_NEW_ARRAY(scratch, int32_t, ku * kv);
    for (int32_t j = 0; j < ku * kv; j++)
        x[j] = table[j] >= INF
                   ? -1
                   : col_lp_add_variable(lp, 0, INFINITY, (double)(table[j] - least), false, NULL);
    col_lp_entry *row = COL_NEW_ARRAY(scratch, col_lp_entry, ku + kv + 1);
    for (int side = 0; side < 2; side++) {
        int32_t outer = side ? kv : ku, inner = side ? ku : kv;
        for (int32_t a = 0; a < outer; a++) {
            size_t count = 0;
            for (int32_t b = 0; b < inner; b++) {
                int32_t variable = side ? x[b * kv + a] : x[a * kv + b];
                if (variable >= 0) row[count++] = (col_lp_entry){variable, 1};
            }
            row[count++] = (col_lp_entry){p->s[side ? v : u][a], -1};
            col_lp_add_row(lp, 0, 0, row, count, NULL);
        }
    }
}

static col_status solve_core(col_arena *arena, const col_sharding_problem *problem,
                             const col_sharding_limits *limits, const core *g, const records *r,
                             col_sharding_solution *out)
{
    col_arena *scratch = col_arena_create();
    col_lp *lp = col_lp_create(scratch);
    program p = {.g = g, .s = COL_NEW_ARRAY(scratch, int32_t *, g->node_count)};
    lp->constant = (double)g->constant;
    for (int32_t i = 0; i < g->node_count; i++) {
        p.s[i] = COL_NEW_ARRAY(scratch, int32_t, g->k[i]);
        col_lp_entry *row = COL_NEW_ARRAY(scratch, col_lp_entry, g->k[i]);
        for (int32_t q = 0; q < g->k[i]; q++) {
            p.s[i][q] = col_lp_add_variable(lp, 0, 1, (double)g->cost[i][q], true, NULL);
            row[q] = (col_lp_entry){p.s[i][q], 1};
        }
        col_lp_add_row(lp, 1, 1, row, (size_t)g->k[i], NULL);
    }
    for (int32_t e = 0; e < g->edge_count; e++) add_edge(lp, &p, e, scratch);
    col_lp_limits lp_limits = {
        .seconds = limits->seconds, .gap = limits->gap, .lazy = add_memory_rows, .context = &p};
    col_lp_solution found;
    col_status status = col_lp_solve(lp, &lp_limits, scratch, &found);
    if (!status) {
        out->status = found.status;
        out->variables = found.variables;
        out->rows = found.rows;
        out->bound = found.bound > -(double)INF ? (int64_t)floor(found.bound) : 0;
        if (found.x) {
            out->choice = COL_NEW_ARRAY(arena, int32_t, problem->node_count + 1);
            for (int32_t i = 0; i < g->node_count; i++)
                for (int32_t q = 0; q < g->k[i]; q++)
                    if (found.x[p.s[i][q]] > 0.5) out->choice[g->rep[i]] = g->label[i][q];
            sharding_unfold(r, out->choice);
            out->objective = col_sharding_cost(problem, out->choice);
            out->peak = col_sharding_peak(problem, out->choice);
            out->gap = (double)(out->objective - out->bound) / (double)COL_MAX(out->objective, 1);
        }
    }
    col_arena_destroy(scratch);
    return status;
}

col_status col_sharding_ilp(col_arena *arena, const col_sharding_problem *problem,
                            const col_sharding_limits *limits, col_sharding_solution *out)
{
    double started = col_solve_clock();
    bool infeasible;
    records r = {.arena = col_arena_create()};
    core *g = sharding_core_make(problem, &infeasible);
    *out = (col_sharding_solution){.status = COL_SOLVE_INFEASIBLE, .objective = INF, .bound = INF};
    col_status status = NULL;
    if (sharding_presolve(&g, &r, limits->verbose)) status = solve_core(arena, problem, limits, g, &r, out);
    col_arena_destroy(g->arena);
    col_arena_destroy(r.arena);
    out->seconds = col_solve_clock() - started;
    return status;
}
