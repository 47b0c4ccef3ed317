/* Reductions of a core that look at memory, or at nodes with few edges.
 *
 * Memory. The uses of a node, items over intervals of time, are rewritten as disjoint segments; the least of
 * a segment is paid by every strategy and moves into the room. Then
 *   - a time whose room covers the sum of all maxima can never bind;
 *   - a time is implied by its neighbour when every node uses at most as much there, with no less room;
 *   - a strategy that alone exceeds the room of one of its times is dead (all others use at least 0).
 * Only the times left are kept.
 *
 * Degree. A node without memory and with at most two neighbours a, b is minimised out: the cost
 * min_q c_q + r_a[x][q] + r_b[y][q] becomes an edge (a, b), or a node cost (PBQP's RI and RII). */
#include "solver/sharding_core.h"

#include <stdlib.h>
#include <string.h>

static int compare_items(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->node != y->node) return x->node < y->node ? -1 : 1;
    return (x->lower > y->lower) - (x->lower < y->lower);
}

typedef struct event {
    int32_t time;
    int32_t sign;
    const int64_t *use;
} event;

static int compare_events(const void *a, const void *b)
{
    const event *x = a, *y = b;
    return (x->time > y->time) - (x->time < y->time);
}

static int64_t least_alive(const int64_t *use, const uint8_t *alive, int32_t k)
{
    int64_t least = INT64_MAX;
    for (int32_t p = 0; p < k; p++)
        if (alive[p]) least = COL_MIN(least, use[p]);
    return least;
}

/* Rewrites the items as disjoint segments in order of node and time; takes their least off the room.
 * Dead strategies get use 0. */
static void make_segments(core *g, const changes *c, col_arena *scratch)
{
    qsort(g->items, (size_t)g->item_count, sizeof *g->items, compare_items);
    COL_VEC(item) out = {0};
    int64_t *paid = COL_NEW_ARRAY(scratch, int64_t, g->time_count + 1); /* differences */
    for (int32_t from = 0, to; from < g->item_count; from = to) {
        int32_t i = g->items[from].node, k = g->k[i];
        for (to = from; to < g->item_count && g->items[to].node == i;) to++;
        int32_t events = 0;
        event *list = COL_NEW_ARRAY(scratch, event, 2 * (size_t)(to - from));
        for (int32_t j = from; j < to; j++) {
            list[events++] = (event){g->items[j].lower, 1, g->items[j].use};
            list[events++] = (event){g->items[j].upper, -1, g->items[j].use};
        }
        qsort(list, (size_t)events, sizeof *list, compare_events);
        int64_t *sum = COL_NEW_ARRAY(scratch, int64_t, k), *rest = COL_NEW_ARRAY(scratch, int64_t, k);
        size_t first = out.len;
        for (int32_t j = 0; j < events;) {
            int32_t time = list[j].time;
            for (; j < events && list[j].time == time; j++)
                for (int32_t p = 0; p < k; p++) sum[p] += list[j].sign * list[j].use[p];
            if (j == events) break;
            int64_t least = least_alive(sum, c->alive[i], k), most = 0;
            for (int32_t p = 0; p < k; p++) {
                rest[p] = c->alive[i][p] ? sum[p] - least : 0;
                most = COL_MAX(most, rest[p]);
            }
            paid[time] += least;
            paid[list[j].time] -= least;
            if (!most) continue;
            if (out.len > first) {
                item *last = &out.data[out.len - 1];
                if (last->upper == time && !memcmp(last->use, rest, sizeof(int64_t) * (size_t)k)) {
                    last->upper = list[j].time;
                    continue;
                }
            }
            int64_t *use = col_arena_copy(g->arena, rest, sizeof(int64_t) * (size_t)k);
            col_vec_push(scratch, &out, ((item){i, time, list[j].time, use}));
        }
    }
    int64_t level = 0;
    for (int32_t t = 0; t < g->time_count; t++) {
        level += paid[t];
        g->room[t] -= level;
    }
    g->items = col_arena_copy(g->arena, out.data, sizeof(item) * out.len);
    g->item_count = (int32_t)out.len;
}

/* Range minima of the room. */
typedef struct minima {
    int levels;
    int64_t *level[32];
} minima;

static minima minima_make(const int64_t *room, int32_t n, col_arena *scratch)
{
    minima m = {1, {col_arena_copy(scratch, room, sizeof(int64_t) * (size_t)n)}};
    for (int32_t half = 1; 2 * half <= n; half *= 2, m.levels++) {
        int32_t count = n - 2 * half + 1;
        const int64_t *below = m.level[m.levels - 1];
        int64_t *level = m.level[m.levels] = COL_NEW_ARRAY(scratch, int64_t, count);
        for (int32_t t = 0; t < count; t++) level[t] = COL_MIN(below[t], below[t + half]);
    }
    return m;
}

static int64_t minima_of(const minima *m, int32_t lower, int32_t upper)
{
    int l = 31 - __builtin_clz((unsigned)(upper - lower));
    return COL_MIN(m->level[l][lower], m->level[l][upper - (1 << l)]);
}

/* Whether use vectors a <= b and b <= a; NULL is 0. */
static void compare_uses(const int64_t *a, const int64_t *b, int32_t k, bool *out_le, bool *out_ge)
{
    *out_le = *out_ge = true;
    for (int32_t p = 0; p < k; p++) {
        int64_t x = a ? a[p] : 0, y = b ? b[p] : 0;
        if (x > y) *out_le = false;
        if (x < y) *out_ge = false;
    }
}

/* Marks times that cannot bind or are implied by a neighbour. */
static void mark_idle_times(const core *g, uint8_t *idle, col_arena *scratch)
{
    int32_t n = g->time_count;
    int64_t *most = COL_NEW_ARRAY(scratch, int64_t, n + 1);
    /* Nodes whose use falls (rises) somewhere between t-1 and t, by strategy. */
    int32_t *falls = COL_NEW_ARRAY(scratch, int32_t, n + 1), *rises = COL_NEW_ARRAY(scratch, int32_t, n + 1);
    for (int32_t j = 0; j < g->item_count; j++) {
        const item *x = &g->items[j];
        const item *next = j + 1 < g->item_count && g->items[j + 1].node == x->node ? x + 1 : NULL;
        const item *previous = j > 0 && g->items[j - 1].node == x->node ? x - 1 : NULL;
        int64_t largest = 0;
        for (int32_t p = 0; p < g->k[x->node]; p++) largest = COL_MAX(largest, x->use[p]);
        most[x->lower] += largest;
        most[x->upper] -= largest;
        if (!previous || previous->upper < x->lower) rises[x->lower]++;
        bool le = false, ge = true;
        if (next && next->lower == x->upper) compare_uses(x->use, next->use, g->k[x->node], &le, &ge);
        falls[x->upper] += !le;
        rises[x->upper] += !ge;
    }
    int64_t level = 0;
    for (int32_t t = 0; t < n; t++) {
        level += most[t];
        bool next = t + 1 < n && !falls[t + 1] && g->room[t] >= g->room[t + 1];
        bool previous = t > 0 && !rises[t] && g->room[t] >= g->room[t - 1];
        bool previous_goes_here = t > 0 && !falls[t] && g->room[t - 1] >= g->room[t];
        idle[t] = level <= g->room[t] || next || (previous && !previous_goes_here);
    }
}

static void drop_times(core *g, const uint8_t *idle, col_arena *scratch)
{
    int32_t *index = COL_NEW_ARRAY(scratch, int32_t, g->time_count + 1);
    int32_t times = 0, items = 0;
    for (int32_t t = 0; t < g->time_count; t++) {
        index[t] = times;
        if (idle[t]) continue;
        g->time[times] = g->time[t];
        g->room[times++] = g->room[t];
    }
    index[g->time_count] = times;
    g->time_count = times;
    for (int32_t j = 0; j < g->item_count; j++) {
        item x = g->items[j];
        x.lower = index[x.lower];
        x.upper = index[x.upper];
        if (x.lower < x.upper) g->items[items++] = x;
    }
    g->item_count = items;
}

bool sharding_reduce_memory(core *g, changes *c)
{
    col_arena *scratch = col_arena_create();
    bool feasible = true;
    make_segments(g, c, scratch);
    for (int32_t t = 0; t < g->time_count; t++) feasible = feasible && g->room[t] >= 0;
    if (feasible && g->item_count) {
        minima m = minima_make(g->room, g->time_count, scratch);
        for (int32_t j = 0; j < g->item_count; j++) {
            item *x = &g->items[j];
            int64_t room = minima_of(&m, x->lower, x->upper);
            for (int32_t p = 0; p < g->k[x->node]; p++) {
                if (x->use[p] <= room || !c->alive[x->node][p]) continue;
                c->alive[x->node][p] = 0;
                c->any = true;
            }
        }
    }
    if (feasible) {
        uint8_t *idle = COL_NEW_ARRAY(scratch, uint8_t, g->time_count + 1);
        mark_idle_times(g, idle, scratch);
        int32_t before = g->time_count;
        drop_times(g, idle, scratch);
        if (g->time_count < before) c->any = true;
    }
    col_arena_destroy(scratch);
    return feasible;
}

static int32_t label_count(const core *g, int32_t i)
{
    int32_t count = 0;
    for (int32_t p = 0; p < g->k[i]; p++) count = COL_MAX(count, g->label[i][p] + 1);
    return count;
}

/* Cheapest q of node i given rows ra (of a, or NULL) and rb. */
static int64_t cheapest(const core *g, const uint8_t *alive, int32_t i, const int64_t *ra, size_t sa,
                        const int64_t *rb, size_t sb, int32_t *out_q)
{
    int64_t best = INF;
    *out_q = 0;
    for (int32_t q = 0; q < g->k[i]; q++) {
        if (!alive[q]) continue;
        int64_t value = g->cost[i][q];
        if (ra) value = add_cost(value, ra[(size_t)q * sa]);
        if (rb) value = add_cost(value, rb[(size_t)q * sb]);
        if (value < best) {
            best = value;
            *out_q = q;
        }
    }
    return best;
}

bool sharding_reduce_degree(core *g, changes *c, records *r)
{
    col_arena *scratch = col_arena_create();
    sides s = sharding_sides_make(g, scratch);
    uint8_t *busy = COL_NEW_ARRAY(scratch, uint8_t, g->node_count); /* has memory, or a new edge */
    for (int32_t j = 0; j < g->item_count; j++) busy[g->items[j].node] = 1;
    int32_t *stack = COL_NEW_ARRAY(scratch, int32_t, g->node_count + 2 * (size_t)g->edge_count), depth = 0;
    for (int32_t i = g->node_count; i-- > 0;) stack[depth++] = i;
    bool any = false;
    while (depth) {
        int32_t i = stack[--depth];
        if (busy[i] || c->gone[i]) continue;
        const side *to[2];
        int32_t degree = 0;
        for (int32_t j = s.first[i]; j < s.first[i + 1] && degree <= 2; j++) {
            if (c->gone[s.list[j].other]) continue;
            if (degree < 2) to[degree] = &s.list[j];
            degree++;
        }
        if (degree > 2) continue;
        record x = {.node = g->rep[i], .parent = {-1, -1}, .width = 1};
        int32_t q;
        if (degree == 0) {
            g->constant = add_cost(g->constant, cheapest(g, c->alive[i], i, NULL, 0, NULL, 0, &q));
            x.table = COL_NEW_ARRAY(r->arena, int32_t, 1);
            x.table[0] = g->label[i][q];
        } else if (degree == 1) {
            int32_t a = to[0]->other;
            x.parent[0] = g->rep[a];
            x.table = COL_NEW_ARRAY(r->arena, int32_t, label_count(g, a));
            for (int32_t p = 0; p < g->k[a]; p++) {
                if (!c->alive[a][p]) continue;
                const int64_t *row = g->table[to[0]->edge] + (size_t)p * to[0]->step_q;
                g->cost[a][p] =
                    add_cost(g->cost[a][p], cheapest(g, c->alive[i], i, row, to[0]->step_p, NULL, 0, &q));
                x.table[g->label[a][p]] = g->label[i][q];
            }
            stack[depth++] = a;
        } else {
            if (to[0]->other > to[1]->other) {
                const side *swap = to[0];
                to[0] = to[1];
                to[1] = swap;
            }
            int32_t a = to[0]->other, b = to[1]->other;
            size_t size = (size_t)g->k[a] * (size_t)g->k[b];
            if (size > (size_t)g->k[i] * (size_t)(g->k[a] + g->k[b]) + 64) continue;
            x.parent[0] = g->rep[a];
            x.parent[1] = g->rep[b];
            x.width = label_count(g, b);
            x.table = COL_NEW_ARRAY(r->arena, int32_t, (size_t)label_count(g, a) * (size_t)x.width);
            int64_t *table = COL_NEW_ARRAY(g->arena, int64_t, size);
            for (int32_t p = 0; p < g->k[a]; p++) {
                if (!c->alive[a][p]) continue;
                const int64_t *ra = g->table[to[0]->edge] + (size_t)p * to[0]->step_q;
                for (int32_t p2 = 0; p2 < g->k[b]; p2++) {
                    if (!c->alive[b][p2]) continue;
                    const int64_t *rb = g->table[to[1]->edge] + (size_t)p2 * to[1]->step_q;
                    table[(size_t)p * (size_t)g->k[b] + (size_t)p2] =
                        cheapest(g, c->alive[i], i, ra, to[0]->step_p, rb, to[1]->step_p, &q);
                    x.table[g->label[a][p] * x.width + g->label[b][p2]] = g->label[i][q];
                }
            }
            busy[a] = busy[b] = 1;
            new_edge e = {a, b, table};
            col_vec_push(g->arena, &c->added, e);
        }
        col_vec_push(r->arena, &r->list, x);
        c->gone[i] = 1;
        any = true;
    }
    col_arena_destroy(scratch);
    c->any = c->any || any;
    return any;
}
