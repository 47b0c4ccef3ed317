/* See sharding_model.h. */
#include "solver/sharding_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

model *sharding_model_make(col_arena *arena, const core *g)
{
    model *m = COL_NEW(arena, model);
    int32_t n = m->n = g->node_count;
    m->g = g;
    m->k = g->k;
    m->first_arc = COL_NEW_ARRAY(arena, int32_t, n + 1);
    m->first_item = COL_NEW_ARRAY(arena, int32_t, n + 1);
    m->offset = COL_NEW_ARRAY(arena, int32_t, n + 1);
    m->arcs = COL_NEW_ARRAY(arena, arc, 2 * (size_t)g->edge_count);
    m->twin = COL_NEW_ARRAY(arena, int32_t, 2 * (size_t)g->edge_count);
    for (int32_t i = 0; i < n; i++) m->offset[i + 1] = m->offset[i] + g->k[i];
    m->cost = COL_NEW_ARRAY(arena, double, m->offset[n]);
    for (int32_t i = 0; i < n; i++)
        for (int32_t p = 0; p < g->k[i]; p++) m->cost[m->offset[i] + p] = (double)g->cost[i][p];
    for (int32_t j = 0; j < g->item_count; j++) {
        COL_ASSERT(j == 0 || g->items[j].node >= g->items[j - 1].node);
        m->first_item[g->items[j].node + 1]++;
    }
    for (int32_t e = 0; e < g->edge_count; e++) {
        m->first_arc[g->u[e] + 1]++;
        m->first_arc[g->v[e] + 1]++;
    }
    for (int32_t i = 0; i < n; i++) {
        m->first_arc[i + 1] += m->first_arc[i];
        m->first_item[i + 1] += m->first_item[i];
    }
    int32_t *next = col_arena_copy(arena, m->first_arc, sizeof(int32_t) * (size_t)n);
    for (int32_t e = 0; e < g->edge_count; e++) {
        int32_t u = g->u[e], v = g->v[e];
        size_t ku = (size_t)g->k[u], kv = (size_t)g->k[v];
        double *forward = COL_NEW_ARRAY(arena, double, ku *kv),
               *backward = COL_NEW_ARRAY(arena, double, ku *kv);
        for (size_t p = 0; p < ku; p++) {
            for (size_t q = 0; q < kv; q++) {
                int64_t cost = g->table[e][p * kv + q];
                forward[p * kv + q] = backward[q * ku + p] = cost >= INF ? INFINITY : (double)cost;
            }
        }
        m->twin[next[u]] = next[v];
        m->twin[next[v]] = next[u];
        m->arcs[next[u]++] = (arc){v, e, forward};
        m->arcs[next[v]++] = (arc){u, e, backward};
    }
    return m;
}

int64_t sharding_model_cost(const model *m, const int32_t *choice)
{
    const core *g = m->g;
    int64_t sum = 0;
    for (int32_t i = 0; i < m->n; i++) sum = add_cost(sum, g->cost[i][choice[i]]);
    for (int32_t e = 0; e < g->edge_count; e++)
        sum = add_cost(
            sum, g->table[e][(size_t)choice[g->u[e]] * (size_t)g->k[g->v[e]] + (size_t)choice[g->v[e]]]);
    return sum;
}

int64_t sharding_model_profile(const model *m, const int32_t *choice, int64_t *profile)
{
    const core *g = m->g;
    for (int32_t t = 0; t <= g->time_count; t++) profile[t] = 0;
    for (int32_t j = 0; j < g->item_count; j++) {
        const item *x = &g->items[j];
        profile[x->lower] += x->use[choice[x->node]];
        profile[x->upper] -= x->use[choice[x->node]];
    }
    int64_t level = 0, largest = INT64_MIN;
    for (int32_t t = 0; t < g->time_count; t++) {
        level += profile[t];
        profile[t] = level - g->room[t];
        largest = COL_MAX(largest, profile[t]);
    }
    return largest;
}

void sharding_model_shift(const model *m, int32_t i, int32_t p, int sign, int64_t *profile)
{
    for (int32_t j = m->first_item[i]; j < m->first_item[i + 1]; j++) {
        const item *x = &m->g->items[j];
        int64_t use = sign * x->use[p];
        if (!use) continue;
        for (int32_t t = x->lower; t < x->upper; t++) profile[t] += use;
    }
}

void sharding_model_price(const model *m, const double *lambda, double *price)
{
    const core *g = m->g;
    double *sum = calloc((size_t)g->time_count + 1, sizeof *sum);
    if (!sum) col_out_of_memory(0);
    for (int32_t t = 0; t < g->time_count; t++) sum[t + 1] = sum[t] + lambda[t];
    memcpy(price, m->cost, sizeof(double) * (size_t)m->offset[m->n]);
    for (int32_t j = 0; j < g->item_count; j++) {
        const item *x = &g->items[j];
        double weight = sum[x->upper] - sum[x->lower];
        if (weight <= 0) continue;
        double *own = price + m->offset[x->node];
        for (int32_t p = 0; p < g->k[x->node]; p++) own[p] += weight * (double)x->use[p];
    }
    free(sum);
}
