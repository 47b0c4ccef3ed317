/* A problem as it was given: the cost and the peak of an assignment, and whether it can be solved at all. */
#include "solver/sharding_core.h"

#include <inttypes.h>
#include <stdlib.h>

int64_t col_sharding_cost(const col_sharding_problem *problem, const int32_t *choice)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < problem->node_count; i++) sum = add_cost(sum, problem->nodes[i].cost[choice[i]]);
    for (int32_t e = 0; e < problem->edge_count; e++) {
        const col_sharding_edge *x = &problem->edges[e];
        size_t width = (size_t)problem->nodes[x->v].strategies;
        sum = add_cost(sum, x->cost[(size_t)choice[x->u] * width + (size_t)choice[x->v]]);
    }
    return sum;
}

typedef struct change {
    int32_t time;
    int64_t usage;
} change;

static int compare_changes(const void *a, const void *b)
{
    const change *x = a, *y = b;
    return (x->time > y->time) - (x->time < y->time);
}

int64_t col_sharding_peak(const col_sharding_problem *problem, const int32_t *choice)
{
    size_t count = 0;
    change *list = malloc(2 * ((size_t)problem->node_count + 1) * sizeof *list);
    if (!list) col_out_of_memory(0);
    for (int32_t i = 0; i < problem->node_count; i++) {
        const col_sharding_node *node = &problem->nodes[i];
        if (node->lower >= node->upper || !node->usage[choice[i]]) continue;
        list[count++] = (change){node->lower, node->usage[choice[i]]};
        list[count++] = (change){node->upper, -node->usage[choice[i]]};
    }
    qsort(list, count, sizeof *list, compare_changes);
    int64_t level = 0, peak = 0;
    for (size_t j = 0; j < count; j++) {
        level += list[j].usage;
        if (j + 1 == count || list[j + 1].time > list[j].time) peak = COL_MAX(peak, level);
    }
    free(list);
    return peak;
}

static int compare_times(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

col_sharding_problem sharding_rank_times(col_arena *arena, const col_sharding_problem *problem)
{
    size_t n = (size_t)problem->node_count, count = 0, distinct = 0;
    int32_t *times = COL_NEW_ARRAY(arena, int32_t, 2 * n + 1);
    col_sharding_node *nodes = col_arena_copy(arena, problem->nodes, sizeof *nodes * n);
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].lower >= nodes[i].upper) continue;
        times[count++] = nodes[i].lower;
        times[count++] = nodes[i].upper;
    }
    qsort(times, count, sizeof *times, compare_times);
    for (size_t j = 0; j < count; j++)
        if (!distinct || times[j] != times[distinct - 1]) times[distinct++] = times[j];
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].lower >= nodes[i].upper) {
            nodes[i].lower = nodes[i].upper = 0;
            continue;
        }
        int32_t *lower = bsearch(&nodes[i].lower, times, distinct, sizeof *times, compare_times);
        int32_t *upper = bsearch(&nodes[i].upper, times, distinct, sizeof *times, compare_times);
        nodes[i].lower = (int32_t)(lower - times);
        nodes[i].upper = (int32_t)(upper - times);
    }
    col_sharding_problem ranked = *problem;
    ranked.nodes = nodes;
    return ranked;
}

/* Sums of the largest finite parts stay below this, so no sum that a solve makes can overflow. */
static const int64_t SUM_LIMIT = INT64_C(1) << 58;

static col_status add_largest(const int64_t *values, size_t count, bool infinite, const char *what,
                              int32_t index, int64_t *sum)
{
    int64_t largest = 0;
    for (size_t j = 0; j < count; j++) {
        if (values[j] < 0)
            return col_error_make(COL_BAD_INPUT,
                                  "sharding: %s %d has the negative value %" PRId64 "; 0 is the least", what,
                                  index, values[j]);
        if (infinite && values[j] >= INF) continue;
        largest = COL_MAX(largest, values[j]);
    }
    if (__builtin_add_overflow(*sum, largest, sum) || *sum >= SUM_LIMIT)
        return col_error_make(COL_BAD_INPUT,
                              "sharding: the largest values up to %s %d add up to 2^58 or more; use a "
                              "larger unit",
                              what, index);
    return NULL;
}

static col_status check_alike(const col_sharding_problem *problem)
{
    col_arena *scratch = col_arena_create();
    col_status status = NULL;
    int32_t n = problem->node_count, *strategies = COL_NEW_ARRAY(scratch, int32_t, n + 1); /* by class */
    for (int32_t i = 0; i < n && !status; i++) {
        int32_t class = problem->alike[i], k = problem->nodes[i].strategies;
        if (class < -1 || class >= n)
            status = col_error_make(COL_BAD_INPUT, "sharding: node %d is of class %d; -1 to %d are possible",
                                    i, class, n - 1);
        else if (class >= 0 && strategies[class] && strategies[class] != k)
            status =
                col_error_make(COL_BAD_INPUT, "sharding: node %d has %d strategies, and nodes like it %d", i,
                               k, strategies[class]);
        else if (class >= 0)
            strategies[class] = k;
    }
    col_arena_destroy(scratch);
    return status;
}

col_status sharding_validate(const col_sharding_problem *problem, int64_t *out_ceiling)
{
    int64_t cost = 0, usage = 0;
    if (problem->limit < 0) return col_error_make(COL_BAD_INPUT, "sharding: the memory limit is negative");
    for (int32_t i = 0; i < problem->node_count; i++) {
        const col_sharding_node *node = &problem->nodes[i];
        if (node->strategies < 1 || node->strategies > 1 << 16)
            return col_error_make(COL_BAD_INPUT, "sharding: node %d has %d strategies; 1 to 65536 are needed",
                                  i, node->strategies);
        if (node->lower < node->upper && node->lower < 0)
            return col_error_make(COL_BAD_INPUT, "sharding: node %d lives from time %d; 0 is the first", i,
                                  node->lower);
        COL_TRY(add_largest(node->cost, (size_t)node->strategies, true, "cost of node", i, &cost));
        COL_TRY(add_largest(node->usage, (size_t)node->strategies, false, "usage of node", i, &usage));
    }
    if (problem->alike) COL_TRY(check_alike(problem));
    for (int32_t i = 0; problem->start && i < problem->node_count; i++) {
        if (problem->start[i] < 0 || problem->start[i] >= problem->nodes[i].strategies)
            return col_error_make(COL_BAD_INPUT, "sharding: node %d starts with strategy %d of %d", i,
                                  problem->start[i], problem->nodes[i].strategies);
    }
    for (int32_t e = 0; e < problem->edge_count; e++) {
        const col_sharding_edge *x = &problem->edges[e];
        if (x->u < 0 || x->v < 0 || x->u >= problem->node_count || x->v >= problem->node_count)
            return col_error_make(COL_BAD_INPUT,
                                  "sharding: edge %d joins nodes %d and %d; there are %d nodes", e, x->u,
                                  x->v, problem->node_count);
        size_t size = (size_t)problem->nodes[x->u].strategies * (size_t)problem->nodes[x->v].strategies;
        COL_TRY(add_largest(x->cost, size, true, "cost of edge", e, &cost));
    }
    *out_ceiling = cost + 1;
    return NULL;
}
