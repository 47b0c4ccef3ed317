/* Dominated strategies of a core.
 *
 * p of node i is dropped for p' when p' uses no more memory at any time and costs no more whatever the
 * neighbours choose: c_p' - c_p + sum_e max_q (r_e[p'][q] - r_e[p][q]) <= 0. Without the memory clause this
 * is wrong.
 *
 * A node with many edges (the norm of all gradients has one for each) mostly has strategies that differ from
 * each other in few of them: on each edge the rows that most strategies share are left out of every sum,
 * since they are 0 there. */
#include "solver/sharding_core.h"

#include <string.h>

/* A node as the search for dominated strategies sees it. */
typedef struct view {
    const core *g;
    int32_t degree, k;
    const side *edges;
    int64_t **least;      /* [edge][p] of the row */
    int32_t **favourite;  /* [edge][p] a q where the row is least */
    int32_t *first, *odd; /* edges whose row for p is not the usual one: odd[first[p] .. first[p + 1]) */
} view;

static const int64_t *row_of(const view *v, int32_t j, int32_t p)
{
    return v->g->table[v->edges[j].edge] + (size_t)p * v->edges[j].step_p;
}

static bool rows_equal(const view *v, int32_t j, int32_t p, int32_t p2)
{
    const int64_t *a = row_of(v, j, p), *b = row_of(v, j, p2);
    const side *x = &v->edges[j];
    for (int32_t q = 0; q < v->g->k[x->other]; q++)
        if (a[(size_t)q * x->step_q] != b[(size_t)q * x->step_q]) return false;
    return true;
}

/* A strategy whose row most others share, if any does (Boyer and Moore's vote). */
static int32_t find_usual(const view *v, int32_t j)
{
    int32_t usual = 0, votes = 0;
    for (int32_t p = 0; p < v->k; p++) {
        if (!votes) usual = p;
        votes += rows_equal(v, j, p, usual) ? 1 : -1;
    }
    return usual;
}

static void find_least(view *v, int32_t j, col_arena *arena)
{
    const side *x = &v->edges[j];
    v->least[j] = COL_NEW_ARRAY(arena, int64_t, v->k);
    v->favourite[j] = COL_NEW_ARRAY(arena, int32_t, v->k);
    for (int32_t p = 0; p < v->k; p++) {
        const int64_t *row = row_of(v, j, p);
        int32_t best = 0;
        for (int32_t q = 1; q < v->g->k[x->other]; q++)
            if (row[(size_t)q * x->step_q] < row[(size_t)best * x->step_q]) best = q;
        v->least[j][p] = row[(size_t)best * x->step_q];
        v->favourite[j][p] = best;
    }
}

static view make_view(const core *g, const sides *s, int32_t i, col_arena *arena)
{
    view v = {.g = g, .degree = s->first[i + 1] - s->first[i], .k = g->k[i], .edges = s->list + s->first[i]};
    v.least = COL_NEW_ARRAY(arena, int64_t *, v.degree);
    v.favourite = COL_NEW_ARRAY(arena, int32_t *, v.degree);
    v.first = COL_NEW_ARRAY(arena, int32_t, v.k + 1);
    int32_t *usual = COL_NEW_ARRAY(arena, int32_t, v.degree);
    uint8_t *is_odd = COL_NEW_ARRAY(arena, uint8_t, (size_t)v.degree * (size_t)v.k);
    for (int32_t j = 0; j < v.degree; j++) {
        find_least(&v, j, arena);
        usual[j] = find_usual(&v, j);
        for (int32_t p = 0; p < v.k; p++) {
            is_odd[(size_t)j * (size_t)v.k + (size_t)p] = !rows_equal(&v, j, p, usual[j]);
            v.first[p + 1] += is_odd[(size_t)j * (size_t)v.k + (size_t)p];
        }
    }
    for (int32_t p = 0; p < v.k; p++) v.first[p + 1] += v.first[p];
    v.odd = COL_NEW_ARRAY(arena, int32_t, v.first[v.k]);
    int32_t *next = col_arena_copy(arena, v.first, sizeof *next * (size_t)v.k);
    for (int32_t j = 0; j < v.degree; j++) {
        for (int32_t p = 0; p < v.k; p++)
            if (is_odd[(size_t)j * (size_t)v.k + (size_t)p]) v.odd[next[p]++] = j;
    }
    return v;
}

/* The edges where p or p2 is odd, in order. */
typedef struct walk {
    const int32_t *a, *a_end, *b, *b_end;
} walk;

static walk start_walk(const view *v, int32_t p, int32_t p2)
{
    return (walk){v->odd + v->first[p], v->odd + v->first[p + 1], v->odd + v->first[p2],
                  v->odd + v->first[p2 + 1]};
}

static bool next_edge(walk *w, int32_t *out_edge)
{
    if (w->a == w->a_end && w->b == w->b_end) return false;
    int32_t a = w->a < w->a_end ? *w->a : INT32_MAX, b = w->b < w->b_end ? *w->b : INT32_MAX;
    *out_edge = COL_MIN(a, b);
    w->a += a == *out_edge;
    w->b += b == *out_edge;
    return true;
}

/* Whether p2 costs no more than p where the neighbours choose what is best for p. `slack` is what p costs
 * more than p2 with every row at its least: on an edge, max_q (a - b) is at least the difference of the rows'
 * minima, and the sum of what edges pass that by may not exceed the slack. */
static bool passes_favourites(const view *v, int32_t p2, int32_t p, int64_t slack)
{
    walk w = start_walk(v, p, p2);
    for (int32_t j; next_edge(&w, &j);) {
        slack -= row_of(v, j, p2)[(size_t)v->favourite[j][p] * v->edges[j].step_q] - v->least[j][p2];
        if (slack < 0) return false;
    }
    return true;
}

/* Whether p2 never costs more than p. */
static bool costs_no_more(const view *v, int32_t p2, int32_t p, int64_t slack)
{
    walk w = start_walk(v, p, p2);
    for (int32_t j; next_edge(&w, &j);) {
        const side *x = &v->edges[j];
        const int64_t *a = row_of(v, j, p2), *b = row_of(v, j, p);
        int64_t least = v->least[j][p2] - v->least[j][p], most = least;
        for (int32_t q = 0; q < v->g->k[x->other]; q++, a += x->step_q, b += x->step_q) {
            if (*b >= INF || *a - *b <= most) continue;
            most = *a - *b; /* *a may be infinite */
            if (most - least > slack) return false;
        }
        slack -= most - least;
    }
    return true;
}

enum { MANY = 800 }; /* strategies, from which on so many pairs that a look at one cell of each row pays */

/* Drops what is dominated of one node. */
static bool reduce_node(const view *v, const int64_t *cost, const item *items, int32_t item_count,
                        uint8_t *alive, col_arena *arena)
{
    int32_t k = v->k;
    int64_t *least = COL_NEW_ARRAY(arena, int64_t, k), *uses = COL_NEW_ARRAY(arena, int64_t, k);
    for (int32_t p = 0; p < k; p++) {
        least[p] = cost[p];
        for (int32_t j = 0; j < v->degree; j++) {
            least[p] = add_cost(least[p], v->least[j][p]);
            if (v->least[j][p] >= INF) alive[p] = 0;
        }
        for (int32_t j = 0; j < item_count; j++) uses[p] += items[j].use[p];
    }
    bool any = false;
    for (int32_t p = 0; p < k; p++) {
        for (int32_t p2 = 0; p2 < k && alive[p]; p2++) {
            if (p2 == p || !alive[p2] || least[p2] > least[p] || uses[p2] > uses[p]) continue;
            int64_t slack = least[p] - least[p2];
            if (k > MANY && !passes_favourites(v, p2, p, slack)) continue;
            bool less = true;
            for (int32_t j = 0; j < item_count && less; j++) less = items[j].use[p2] <= items[j].use[p];
            if (!less || !costs_no_more(v, p2, p, slack)) continue;
            alive[p] = 0;
            any = true;
        }
    }
    return any;
}

bool sharding_reduce_dominated(core *g, changes *c)
{
    col_arena *scratch = col_arena_create();
    sides s = sharding_sides_make(g, scratch);
    int32_t *first_item = COL_NEW_ARRAY(scratch, int32_t, g->node_count + 1);
    for (int32_t j = 0; j < g->item_count; j++) first_item[g->items[j].node + 1]++;
    for (int32_t i = 0; i < g->node_count; i++) first_item[i + 1] += first_item[i];
    item *items = COL_NEW_ARRAY(scratch, item, g->item_count);
    int32_t *next = col_arena_copy(scratch, first_item, sizeof(int32_t) * (size_t)g->node_count);
    for (int32_t j = 0; j < g->item_count; j++) items[next[g->items[j].node]++] = g->items[j];
    bool any = false;
    for (int32_t i = 0; i < g->node_count; i++) {
        if (g->k[i] < 2) continue;
        col_arena *own = col_arena_create();
        view v = make_view(g, &s, i, own);
        any |= reduce_node(&v, g->cost[i], items + first_item[i], first_item[i + 1] - first_item[i],
                           c->alive[i], own);
        col_arena_destroy(own);
    }
    col_arena_destroy(scratch);
    c->any = c->any || any;
    return any;
}
