/* The core as a data structure: made from a problem, copied, rebuilt with changes, and unfolded again.
 *
 * A rebuild applies all that a round marked (struct changes) in linear time: dead strategies go, nodes that
 * follow another merge into it, edges between the same two nodes add up, edges within one node fold into its
 * costs. */
#include "solver/sharding_core.h"

#include <stdlib.h>
#include <string.h>

size_t sharding_core_size(const core *g)
{
    size_t size = 0;
    for (int32_t i = 0; i < g->node_count; i++) size += (size_t)g->k[i];
    for (int32_t e = 0; e < g->edge_count; e++) size += (size_t)g->k[g->u[e]] * (size_t)g->k[g->v[e]];
    return size;
}

static core *core_alloc(int32_t nodes, int32_t edges, int32_t items)
{
    col_arena *arena = col_arena_create();
    core *g = COL_NEW(arena, core);
    g->arena = arena;
    g->node_count = nodes;
    g->edge_count = edges;
    g->item_count = items;
    g->k = COL_NEW_ARRAY(arena, int32_t, nodes);
    g->cost = COL_NEW_ARRAY(arena, int64_t *, nodes);
    g->label = COL_NEW_ARRAY(arena, int32_t *, nodes);
    g->rep = COL_NEW_ARRAY(arena, int32_t, nodes);
    g->u = COL_NEW_ARRAY(arena, int32_t, edges);
    g->v = COL_NEW_ARRAY(arena, int32_t, edges);
    g->table = COL_NEW_ARRAY(arena, int64_t *, edges);
    g->items = COL_NEW_ARRAY(arena, item, items);
    return g;
}

changes *sharding_changes_make(col_arena *arena, const core *g)
{
    changes *c = COL_NEW(arena, changes);
    c->alive = COL_NEW_ARRAY(arena, uint8_t *, g->node_count);
    c->parent = COL_NEW_ARRAY(arena, int32_t, g->node_count);
    c->map = COL_NEW_ARRAY(arena, int32_t *, g->node_count);
    c->gone = COL_NEW_ARRAY(arena, uint8_t, g->node_count);
    c->dropped = COL_NEW_ARRAY(arena, uint8_t, g->edge_count);
    for (int32_t i = 0; i < g->node_count; i++) {
        c->alive[i] = COL_NEW_ARRAY(arena, uint8_t, g->k[i]);
        memset(c->alive[i], 1, (size_t)g->k[i]);
        c->parent[i] = -1;
    }
    return c;
}

/* The core that is the problem itself. Tables are borrowed: the first rebuild copies what is left of them. */
core *sharding_core_make(const col_sharding_problem *problem, bool *out_infeasible)
{
    int32_t items = 0, times = 0;
    for (int32_t i = 0; i < problem->node_count; i++) {
        const col_sharding_node *node = &problem->nodes[i];
        if (node->lower < node->upper) {
            items++;
            times = COL_MAX(times, node->upper);
        }
    }
    core *g = core_alloc(problem->node_count, problem->edge_count, items);
    *out_infeasible = false;
    g->time_count = times;
    g->room = COL_NEW_ARRAY(g->arena, int64_t, times);
    g->time = COL_NEW_ARRAY(g->arena, int32_t, times);
    for (int32_t t = 0; t < times; t++) {
        g->room[t] = problem->limit;
        g->time[t] = t;
    }
    items = 0;
    for (int32_t i = 0; i < problem->node_count; i++) {
        const col_sharding_node *node = &problem->nodes[i];
        int32_t k = node->strategies;
        g->k[i] = k;
        g->rep[i] = i;
        g->cost[i] = col_arena_copy(g->arena, node->cost, sizeof(int64_t) * (size_t)k);
        g->label[i] = COL_NEW_ARRAY(g->arena, int32_t, k);
        for (int32_t p = 0; p < k; p++) g->label[i][p] = p;
        if (node->lower < node->upper) {
            int64_t *use = col_arena_copy(g->arena, node->usage, sizeof(int64_t) * (size_t)k);
            g->items[items++] = (item){i, node->lower, node->upper, use};
        }
    }
    for (int32_t e = 0; e < problem->edge_count; e++) {
        const col_sharding_edge *edge = &problem->edges[e];
        int32_t ku = g->k[edge->u], kv = g->k[edge->v];
        if (edge->u <= edge->v) {
            g->u[e] = edge->u;
            g->v[e] = edge->v;
            g->table[e] = (int64_t *)edge->cost;
            continue;
        }
        g->u[e] = edge->v;
        g->v[e] = edge->u;
        g->table[e] = COL_NEW_ARRAY(g->arena, int64_t, (size_t)ku * (size_t)kv);
        for (int32_t p = 0; p < ku; p++)
            for (int32_t q = 0; q < kv; q++)
                g->table[e][(size_t)q * (size_t)ku + (size_t)p] =
                    edge->cost[(size_t)p * (size_t)kv + (size_t)q];
    }
    return g;
}

core *sharding_core_copy(const core *old)
{
    core *g = core_alloc(old->node_count, old->edge_count, old->item_count);
    col_arena *a = g->arena;
    g->constant = old->constant;
    g->time_count = old->time_count;
    g->room = col_arena_copy(a, old->room, sizeof(int64_t) * (size_t)old->time_count);
    g->time = col_arena_copy(a, old->time, sizeof(int32_t) * (size_t)old->time_count);
    for (int32_t i = 0; i < old->node_count; i++) {
        size_t k = (size_t)old->k[i];
        g->k[i] = old->k[i];
        g->rep[i] = old->rep[i];
        g->cost[i] = col_arena_copy(a, old->cost[i], sizeof(int64_t) * k);
        g->label[i] = col_arena_copy(a, old->label[i], sizeof(int32_t) * k);
    }
    for (int32_t e = 0; e < old->edge_count; e++) {
        size_t size = (size_t)old->k[old->u[e]] * (size_t)old->k[old->v[e]];
        g->u[e] = old->u[e];
        g->v[e] = old->v[e];
        g->table[e] = col_arena_copy(a, old->table[e], sizeof(int64_t) * size);
    }
    for (int32_t j = 0; j < old->item_count; j++) {
        g->items[j] = old->items[j];
        g->items[j].use =
            col_arena_copy(a, old->items[j].use, sizeof(int64_t) * (size_t)old->k[old->items[j].node]);
    }
    return g;
}

int32_t sharding_list_alive(const uint8_t *alive, int32_t k, int32_t *out)
{
    int32_t n = 0;
    for (int32_t p = 0; p < k; p++)
        if (alive[p]) out[n++] = p;
    return n;
}

/* Makes parents roots: composes the maps along each chain, from the root downwards. */
static void compose_maps(const core *g, changes *c, col_arena *arena)
{
    int32_t *stack = COL_NEW_ARRAY(arena, int32_t, g->node_count);
    for (int32_t i = 0; i < g->node_count; i++) {
        int32_t depth = 0;
        for (int32_t j = i; c->parent[j] >= 0; j = c->parent[j]) stack[depth++] = j;
        for (int32_t s = depth - 2; s >= 0; s--) {
            int32_t j = stack[s], middle = stack[s + 1], root = c->parent[middle];
            int32_t *map = COL_NEW_ARRAY(arena, int32_t, g->k[root]);
            for (int32_t p = 0; p < g->k[root]; p++) {
                int32_t q = c->map[middle][p];
                map[p] = q < 0 ? -1 : c->map[j][q];
            }
            c->map[j] = map;
            c->parent[j] = root;
        }
    }
}

static void push_record(records *r, record new)
{
    col_vec_push(r->arena, &r->list, new);
}

void sharding_unfold(const records *r, int32_t *choice)
{
    for (; r; r = r->parent) {
        for (size_t i = r->list.len; i-- > 0;) {
            const record *x = &r->list.data[i];
            size_t a = x->parent[0] < 0 ? 0 : (size_t)choice[x->parent[0]];
            size_t b = x->parent[1] < 0 ? 0 : (size_t)choice[x->parent[1]];
            choice[x->node] = x->table[a * (size_t)x->width + b];
        }
    }
}

typedef struct edge_key {
    int32_t u, v;
    int32_t edge; /* index of the old edge; those added follow */
} edge_key;

static int compare_keys(const void *a, const void *b)
{
    const edge_key *x = a, *y = b;
    if (x->u != y->u) return x->u < y->u ? -1 : 1;
    if (x->v != y->v) return x->v < y->v ? -1 : 1;
    return (x->edge > y->edge) - (x->edge < y->edge);
}

/* Sorts by (u, v, edge): stable counting sort by v, then by u. */
static void sort_keys(edge_key *keys, size_t count, int32_t nodes, col_arena *arena)
{
    if (count < 64) {
        qsort(keys, count, sizeof *keys, compare_keys);
        return;
    }
    edge_key *other = COL_NEW_ARRAY(arena, edge_key, count);
    for (int pass = 0; pass < 2; pass++) {
        edge_key *from = pass ? other : keys, *to = pass ? keys : other;
        size_t *start = COL_NEW_ARRAY(arena, size_t, nodes + 1);
        for (size_t j = 0; j < count; j++) start[(pass ? from[j].u : from[j].v) + 1]++;
        for (int32_t i = 0; i < nodes; i++) start[i + 1] += start[i];
        for (size_t j = 0; j < count; j++) to[start[pass ? from[j].u : from[j].v]++] = from[j];
    }
}

/* Rebuilds the core with the changes applied; destroys the old one. Adds a record for each node attached. */
core *sharding_rebuild(core *old, changes *c, records *records_, bool *out_infeasible)
{
    col_arena *scratch = col_arena_create();
    int32_t n = old->node_count;
    *out_infeasible = false;
    compose_maps(old, c, scratch);

    int32_t *new_index = COL_NEW_ARRAY(scratch, int32_t, n);
    int32_t nodes = 0;
    for (int32_t i = 0; i < n; i++) new_index[i] = c->parent[i] < 0 && !c->gone[i] ? nodes++ : -1;

    /* Edges by their new ends; those within one root fold into its costs. */
    size_t total = (size_t)old->edge_count + c->added.len, key_count = 0;
    edge_key *keys = COL_NEW_ARRAY(scratch, edge_key, total);

    /* `to[i]`: for each new strategy of the root of i, the old strategy of i. */
    int32_t **to = COL_NEW_ARRAY(scratch, int32_t *, n);
    int32_t *kept = COL_NEW_ARRAY(scratch, int32_t, n);
    for (int32_t i = 0; i < n; i++) {
        if (new_index[i] < 0) continue;
        to[i] = COL_NEW_ARRAY(scratch, int32_t, old->k[i]);
        kept[i] = sharding_list_alive(c->alive[i], old->k[i], to[i]);
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t root = c->parent[i];
        if (root < 0 || c->gone[i]) continue;
        COL_ASSERT(new_index[root] >= 0);
        kept[i] = kept[root];
        to[i] = COL_NEW_ARRAY(scratch, int32_t, kept[root]);
        for (int32_t p = 0; p < kept[root]; p++) {
            to[i][p] = c->map[i][to[root][p]];
            COL_ASSERT(to[i][p] >= 0);
        }
    }

    for (size_t j = 0; j < total; j++) {
        bool added = j >= (size_t)old->edge_count;
        if (!added && c->dropped[j]) continue;
        int32_t u = added ? c->added.data[j - (size_t)old->edge_count].u : old->u[j];
        int32_t v = added ? c->added.data[j - (size_t)old->edge_count].v : old->v[j];
        if (c->gone[u] || c->gone[v]) continue;
        int32_t ru = c->parent[u] < 0 ? u : c->parent[u], rv = c->parent[v] < 0 ? v : c->parent[v];
        int32_t a = new_index[ru], b = new_index[rv];
        if (a == b) {
            const int64_t *table = added ? c->added.data[j - (size_t)old->edge_count].table : old->table[j];
            for (int32_t p = 0; p < kept[ru]; p++) {
                int64_t pair = table[(size_t)to[u][p] * (size_t)old->k[v] + (size_t)to[v][p]];
                old->cost[ru][to[ru][p]] = add_cost(old->cost[ru][to[ru][p]], pair);
            }
            continue;
        }
        keys[key_count++] = (edge_key){COL_MIN(a, b), COL_MAX(a, b), (int32_t)j};
    }
    sort_keys(keys, key_count, nodes, scratch);
    int32_t edges = 0;
    for (size_t j = 0; j < key_count; j++)
        edges += j == 0 || keys[j].u != keys[j - 1].u || keys[j].v != keys[j - 1].v;

    core *g = core_alloc(nodes, edges, old->item_count);
    g->time_count = old->time_count;
    g->room = col_arena_copy(g->arena, old->room, sizeof(int64_t) * (size_t)old->time_count);
    g->time = col_arena_copy(g->arena, old->time, sizeof(int32_t) * (size_t)old->time_count);
    g->constant = old->constant;
    for (int32_t i = 0; i < n; i++) {
        int32_t a = new_index[i];
        if (a < 0) continue;
        g->k[a] = kept[i];
        g->rep[a] = old->rep[i];
        g->cost[a] = COL_NEW_ARRAY(g->arena, int64_t, kept[i]);
        g->label[a] = COL_NEW_ARRAY(g->arena, int32_t, kept[i]);
        for (int32_t p = 0; p < kept[i]; p++) {
            g->cost[a][p] = old->cost[i][to[i][p]];
            g->label[a][p] = old->label[i][to[i][p]];
        }
        if (!kept[i]) *out_infeasible = true;
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t root = c->parent[i];
        if (root < 0 || c->gone[i]) continue;
        int32_t a = new_index[root];
        for (int32_t p = 0; p < kept[root]; p++)
            g->cost[a][p] = add_cost(g->cost[a][p], old->cost[i][to[i][p]]);
        int32_t labels = 0;
        for (int32_t p = 0; p < kept[root]; p++) labels = COL_MAX(labels, g->label[a][p] + 1);
        int32_t *table = COL_NEW_ARRAY(records_->arena, int32_t, labels);
        for (int32_t p = 0; p < kept[root]; p++) table[g->label[a][p]] = old->label[i][to[i][p]];
        push_record(records_, (record){old->rep[i], {g->rep[a], -1}, 1, table});
    }

    int32_t e = -1;
    for (size_t j = 0; j < key_count; j++) {
        if (j == 0 || keys[j].u != keys[j - 1].u || keys[j].v != keys[j - 1].v) {
            e++;
            g->u[e] = keys[j].u;
            g->v[e] = keys[j].v;
            g->table[e] = COL_NEW_ARRAY(g->arena, int64_t, (size_t)g->k[g->u[e]] * (size_t)g->k[g->v[e]]);
        }
        bool added = keys[j].edge >= old->edge_count;
        int32_t index = added ? keys[j].edge - old->edge_count : keys[j].edge;
        int32_t u = added ? c->added.data[index].u : old->u[index];
        int32_t v = added ? c->added.data[index].v : old->v[index];
        const int64_t *table = added ? c->added.data[index].table : old->table[index];
        size_t width = (size_t)old->k[v];
        int32_t ku = kept[u], kv = kept[v];
        int64_t *out = g->table[e];
        bool flipped = new_index[c->parent[u] < 0 ? u : c->parent[u]] != g->u[e];
        for (int32_t p = 0; p < ku; p++) {
            const int64_t *row = table + (size_t)to[u][p] * width;
            if (flipped) {
                for (int32_t q = 0; q < kv; q++) {
                    int64_t *cell = &out[(size_t)q * (size_t)ku + (size_t)p];
                    *cell = add_cost(*cell, row[to[v][q]]);
                }
            } else {
                int64_t *cells = out + (size_t)p * (size_t)kv;
                for (int32_t q = 0; q < kv; q++) cells[q] = add_cost(cells[q], row[to[v][q]]);
            }
        }
    }

    int32_t items = 0;
    for (int32_t j = 0; j < old->item_count; j++) {
        const item *from = &old->items[j];
        int32_t i = from->node;
        if (c->gone[i]) continue;
        int64_t *use = COL_NEW_ARRAY(g->arena, int64_t, kept[i]);
        for (int32_t p = 0; p < kept[i]; p++) use[p] = from->use[to[i][p]];
        g->items[items++] =
            (item){new_index[c->parent[i] < 0 ? i : c->parent[i]], from->lower, from->upper, use};
    }
    g->item_count = items;
    col_arena_destroy(scratch);
    col_arena_destroy(old->arena);
    return g;
}

sides sharding_sides_make(const core *g, col_arena *arena)
{
    sides s = {COL_NEW_ARRAY(arena, int32_t, g->node_count + 1),
               COL_NEW_ARRAY(arena, side, 2 * (size_t)g->edge_count)};
    for (int32_t e = 0; e < g->edge_count; e++) {
        s.first[g->u[e] + 1]++;
        s.first[g->v[e] + 1]++;
    }
    for (int32_t i = 0; i < g->node_count; i++) s.first[i + 1] += s.first[i];
    int32_t *next = col_arena_copy(arena, s.first, sizeof(int32_t) * (size_t)g->node_count);
    for (int32_t e = 0; e < g->edge_count; e++) {
        size_t kv = (size_t)g->k[g->v[e]];
        s.list[next[g->u[e]]++] = (side){e, g->v[e], kv, 1};
        s.list[next[g->v[e]]++] = (side){e, g->u[e], 1, kv};
    }
    return s;
}
