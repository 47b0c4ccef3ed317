/* The greedy twin: what a solver without search finds, for comparison.
 *
 * Nodes are taken in their order. One takes the strategy p of least
 *
 *     c_ip + sum over edges to nodes that have one: r_e[p][s_j] + sum over the other edges: min_q r_e[p][q]
 *
 * Then, while some time t has more than M, of all changes of one node that is live at the worst such time, the one
 * that costs least for each unit of usage that it saves is made. No change makes a time worse that already holds
 * too much, so this ends. */
#include "solver/sharding_core.h"

#include <stdlib.h>

typedef struct greedy {
    const col_sharding_problem *problem;
    int32_t *first_edge, *edge_of; /* edges of node i: edge_of[first_edge[i] .. first_edge[i + 1]) */
    int32_t *choice;
    bool *is_set;
    int32_t time_count;
    int32_t *times;       /* starts of live intervals, ascending: usage is largest at one of them */
    int32_t *begin, *end; /* by node: live at times[begin .. end) */
    int64_t *profile;     /* usage by time */
} greedy;

static int64_t sum_of(int64_t a, int64_t b)
{
    return a >= INF || b >= INF ? INF : a + b;
}

static int32_t other_end(const col_sharding_edge *e, int32_t i)
{
    return e->u == i ? e->v : e->u;
}

/* Cost of the pair in which node i has p and its neighbour q. */
static int64_t pair_cost(const greedy *g, const col_sharding_edge *e, int32_t i, int32_t p, int32_t q)
{
    int32_t columns = g->problem->nodes[e->v].strategies;
    return e->u == i ? e->cost[(size_t)p * (size_t)columns + (size_t)q]
                     : e->cost[(size_t)q * (size_t)columns + (size_t)p];
}

static void list_edges(greedy *g, col_arena *scratch)
{
    const col_sharding_problem *problem = g->problem;
    int32_t n = problem->node_count;
    g->first_edge = COL_NEW_ARRAY(scratch, int32_t, n + 2);
    g->edge_of = COL_NEW_ARRAY(scratch, int32_t, 2 * (size_t)problem->edge_count + 1);
    for (int32_t e = 0; e < problem->edge_count; e++) {
        g->first_edge[problem->edges[e].u + 2]++;
        g->first_edge[problem->edges[e].v + 2]++;
    }
    for (int32_t i = 0; i < n; i++) g->first_edge[i + 2] += g->first_edge[i + 1];
    for (int32_t e = 0; e < problem->edge_count; e++) {
        g->edge_of[g->first_edge[problem->edges[e].u + 1]++] = e;
        g->edge_of[g->first_edge[problem->edges[e].v + 1]++] = e;
    }
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The number of starts before the time. */
static int32_t starts_before(const greedy *g, int32_t time)
{
    int32_t low = 0, high = g->time_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (g->times[middle] < time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list_times(greedy *g, col_arena *scratch)
{
    const col_sharding_problem *problem = g->problem;
    int32_t n = problem->node_count, count = 0;
    g->times = COL_NEW_ARRAY(scratch, int32_t, n + 1);
    g->begin = COL_NEW_ARRAY(scratch, int32_t, n + 1);
    g->end = COL_NEW_ARRAY(scratch, int32_t, n + 1);
    for (int32_t i = 0; i < n; i++) g->times[i] = problem->nodes[i].lower;
    qsort(g->times, (size_t)n, sizeof *g->times, by_value);
    for (int32_t i = 0; i < n; i++) {
        if (!count || g->times[i] != g->times[count - 1]) g->times[count++] = g->times[i];
    }
    g->time_count = count;
    for (int32_t i = 0; i < n; i++) {
        g->begin[i] = starts_before(g, problem->nodes[i].lower);
        g->end[i] = COL_MAX(g->begin[i], starts_before(g, problem->nodes[i].upper));
    }
    g->profile = COL_NEW_ARRAY(scratch, int64_t, count + 1);
}

/* Cost of strategy p of the node among its neighbours as they are; those without a strategy take their best. */
static int64_t cost_among(const greedy *g, int32_t i, int32_t p)
{
    int64_t cost = g->problem->nodes[i].cost[p];
    for (int32_t y = g->first_edge[i]; y < g->first_edge[i + 1]; y++) {
        const col_sharding_edge *e = &g->problem->edges[g->edge_of[y]];
        int32_t j = other_end(e, i);
        int64_t least = INF;
        for (int32_t q = 0; q < g->problem->nodes[j].strategies && !g->is_set[j]; q++)
            least = COL_MIN(least, pair_cost(g, e, i, p, q));
        cost = sum_of(cost, g->is_set[j] ? pair_cost(g, e, i, p, g->choice[j]) : least);
    }
    return cost;
}

static void choose(greedy *g)
{
    for (int32_t i = 0; i < g->problem->node_count; i++) {
        int64_t best = INT64_MAX;
        for (int32_t p = 0; p < g->problem->nodes[i].strategies; p++) {
            int64_t cost = cost_among(g, i, p);
            if (cost >= best) continue;
            best = cost;
            g->choice[i] = p;
        }
        g->is_set[i] = true;
    }
}

static void add_usage(greedy *g, int32_t i, int64_t usage)
{
    for (int32_t t = g->begin[i]; t < g->end[i]; t++) g->profile[t] += usage;
}

static int32_t worst_time(const greedy *g)
{
    int32_t worst = 0;
    for (int32_t t = 1; t < g->time_count; t++) {
        if (g->profile[t] > g->profile[worst]) worst = t;
    }
    return worst;
}

/* Makes the change that costs least by what it saves at the time; false: there is none. */
static bool save_at(greedy *g, int32_t time)
{
    int32_t best_node = -1, best_strategy = 0;
    double best = 0;
    for (int32_t i = 0; i < g->problem->node_count; i++) {
        if (time < g->begin[i] || time >= g->end[i]) continue;
        const col_sharding_node *node = &g->problem->nodes[i];
        int64_t now = cost_among(g, i, g->choice[i]);
        for (int32_t p = 0; p < node->strategies; p++) {
            int64_t saved = node->usage[g->choice[i]] - node->usage[p], cost = cost_among(g, i, p);
            if (saved <= 0 || cost >= INF) continue;
            double price = ((double)cost - (double)now) / (double)saved;
            if (best_node >= 0 && price >= best) continue;
            best = price;
            best_node = i;
            best_strategy = p;
        }
    }
    if (best_node < 0) return false;
    const int64_t *usage = g->problem->nodes[best_node].usage;
    add_usage(g, best_node, usage[best_strategy] - usage[g->choice[best_node]]);
    g->choice[best_node] = best_strategy;
    return true;
}

col_status col_sharding_greedy(col_arena *arena, const col_sharding_problem *problem, double seconds,
                               col_sharding_solution *out)
{
    double started = col_solve_clock();
    int64_t ceiling;
    COL_TRY(sharding_validate(problem, &ceiling));
    col_arena *scratch = col_arena_create();
    greedy g = {.problem = problem};
    g.choice = COL_NEW_ARRAY(arena, int32_t, problem->node_count + 1);
    g.is_set = COL_NEW_ARRAY(scratch, bool, problem->node_count + 1);
    list_edges(&g, scratch);
    list_times(&g, scratch);
    choose(&g);
    for (int32_t i = 0; i < problem->node_count; i++) add_usage(&g, i, problem->nodes[i].usage[g.choice[i]]);
    for (;;) {
        int32_t worst = worst_time(&g);
        if (g.profile[worst] <= problem->limit || col_solve_clock() - started > seconds) break;
        if (!save_at(&g, worst)) break;
    }
    col_arena_destroy(scratch);
    int64_t cost = col_sharding_cost(problem, g.choice), peak = col_sharding_peak(problem, g.choice);
    bool fits = cost < INF && peak <= problem->limit;
    *out = (col_sharding_solution){.status = fits ? COL_SOLVE_FEASIBLE : COL_SOLVE_LIMIT,
                                   .choice = fits ? g.choice : NULL,
                                   .objective = fits ? cost : INF,
                                   .gap = fits && cost > 0 ? 1 : 0,
                                   .peak = fits ? peak : 0,
                                   .seconds = col_solve_clock() - started};
    return NULL;
}
