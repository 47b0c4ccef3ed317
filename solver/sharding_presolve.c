/* Exact reductions of the sharding problem, in rounds over flat arrays.
 *
 * A round marks what may go (struct changes), then rebuilds the core without it, once, in linear time:
 *   1. parallel edges merge (rebuild)
 *   2. arc consistency: p of u dies when an edge of u has no finite pair with p (revise)
 *   3. separable edges r_pq = a_p + b_q move into the node costs (classify)
 *   4. functional edges, where each p of u has exactly one finite q = f(p) of v: v becomes a function of u
 *      (attach); chains of them are composed once per round, not once per link
 *   5. sharding_reduce.c: memory rows, dominated strategies, nodes of degree at most two
 * until nothing changes, or on a large core too little. Each is exact: every optimal value of what is left
 * extends to an optimum of the whole. */
#include "solver/sharding_core.h"

#include <stdio.h>
#include <string.h>

/* Incidence lists: edges of node i are list[first[i] .. first[i+1]). */
typedef struct incidence {
    int32_t *first, *list;
} incidence;

static incidence incidence_make(col_arena *arena, const core *g)
{
    incidence in;
    in.first = COL_NEW_ARRAY(arena, int32_t, g->node_count + 1);
    in.list = COL_NEW_ARRAY(arena, int32_t, 2 * (size_t)g->edge_count);
    for (int32_t e = 0; e < g->edge_count; e++) {
        in.first[g->u[e] + 1]++;
        in.first[g->v[e] + 1]++;
    }
    for (int32_t i = 0; i < g->node_count; i++) in.first[i + 1] += in.first[i];
    int32_t *next = col_arena_copy(arena, in.first, sizeof(int32_t) * (size_t)g->node_count);
    for (int32_t e = 0; e < g->edge_count; e++) {
        in.list[next[g->u[e]]++] = e;
        in.list[next[g->v[e]]++] = e;
    }
    return in;
}

/* Step 2. Returns false when a node has nothing left. */
static bool make_arc_consistent(const core *g, changes *c, col_arena *arena)
{
    incidence in = incidence_make(arena, g);
    int32_t m = g->edge_count, head = 0, count = 0;
    int32_t *queue = COL_NEW_ARRAY(arena, int32_t, m);
    uint8_t *queued = COL_NEW_ARRAY(arena, uint8_t, m);
    int32_t *left = COL_NEW_ARRAY(arena, int32_t, g->node_count);
    for (int32_t i = 0; i < g->node_count; i++) {
        for (int32_t p = 0; p < g->k[i]; p++) {
            if (g->cost[i][p] >= INF && c->alive[i][p]) {
                c->alive[i][p] = 0;
                c->any = true;
            }
            left[i] += c->alive[i][p];
        }
        if (!left[i]) return false;
    }
    for (int32_t e = 0; e < m; e++) {
        queue[count++] = e;
        queued[e] = 1;
    }
    while (count) {
        int32_t e = queue[head];
        head = head + 1 == m ? 0 : head + 1;
        count--;
        queued[e] = 0;
        int32_t ends[2] = {g->u[e], g->v[e]};
        size_t kv = (size_t)g->k[ends[1]];
        for (int side = 0; side < 2; side++) {
            int32_t x = ends[side], y = ends[!side];
            size_t step_x = side ? 1 : kv, step_y = side ? kv : 1;
            bool changed = false;
            for (int32_t p = 0; p < g->k[x]; p++) {
                if (!c->alive[x][p]) continue;
                const int64_t *row = g->table[e] + (size_t)p * step_x;
                bool supported = false;
                for (int32_t q = 0; q < g->k[y] && !supported; q++)
                    supported = c->alive[y][q] && row[(size_t)q * step_y] < INF;
                if (supported) continue;
                c->alive[x][p] = 0;
                left[x]--;
                changed = c->any = true;
            }
            if (!left[x]) return false;
            if (!changed) continue;
            for (int32_t j = in.first[x]; j < in.first[x + 1]; j++) {
                int32_t f = in.list[j];
                if (queued[f] || f == e) continue;
                queued[f] = 1;
                queue[(head + count++) % m] = f;
            }
        }
    }
    return true;
}

static bool is_separable(const int64_t *table, size_t width, const int32_t *ps, int32_t np, const int32_t *qs,
                         int32_t nq)
{
    const int64_t *first = table + (size_t)ps[0] * width;
    for (int32_t j = 0; j < nq; j++)
        if (first[qs[j]] >= INF) return false;
    for (int32_t i = 1; i < np; i++) {
        const int64_t *row = table + (size_t)ps[i] * width;
        if (row[qs[0]] >= INF) return false;
        int64_t shift = row[qs[0]] - first[qs[0]];
        for (int32_t j = 1; j < nq; j++)
            if (row[qs[j]] - first[qs[j]] != shift) return false; /* INF differs from every finite value */
    }
    return true;
}

/* For each p of x its only finite q of y, in out[p]; false if some p has two. */
static bool is_functional(const int64_t *table, size_t step_p, size_t step_q, const int32_t *ps, int32_t np,
                          const int32_t *qs, int32_t nq, int32_t *out)
{
    for (int32_t i = 0; i < np; i++) {
        const int64_t *row = table + (size_t)ps[i] * step_p;
        int32_t only = -1;
        for (int32_t j = 0; j < nq; j++) {
            if (row[(size_t)qs[j] * step_q] >= INF) continue;
            if (only >= 0) return false;
            only = qs[j];
        }
        out[ps[i]] = only;
    }
    return true;
}

static int32_t find_root(int32_t *leader, int32_t i)
{
    while (leader[i] != i) i = leader[i] = leader[leader[i]];
    return i;
}

/* Steps 3 and 4. An edge that makes v a function of u is kept: rebuild folds it onto the diagonal. */
static void classify_edges(core *g, changes *c, col_arena *arena)
{
    int32_t widest = 1;
    for (int32_t i = 0; i < g->node_count; i++) widest = COL_MAX(widest, g->k[i]);
    int32_t *ps = COL_NEW_ARRAY(arena, int32_t, widest), *qs = COL_NEW_ARRAY(arena, int32_t, widest);
    int32_t *function = COL_NEW_ARRAY(arena, int32_t, widest);
    int32_t *leader = COL_NEW_ARRAY(arena, int32_t, g->node_count);
    for (int32_t i = 0; i < g->node_count; i++) leader[i] = i;
    for (int32_t e = 0; e < g->edge_count; e++) {
        int32_t u = g->u[e], v = g->v[e];
        if (u == v) continue;
        size_t width = (size_t)g->k[v];
        int64_t *table = g->table[e];
        int32_t np = sharding_list_alive(c->alive[u], g->k[u], ps),
                nq = sharding_list_alive(c->alive[v], g->k[v], qs);
        if (is_separable(table, width, ps, np, qs, nq)) {
            int64_t corner = table[(size_t)ps[0] * width + (size_t)qs[0]];
            for (int32_t i = 0; i < np; i++)
                g->cost[u][ps[i]] += table[(size_t)ps[i] * width + (size_t)qs[0]];
            for (int32_t j = 0; j < nq; j++)
                g->cost[v][qs[j]] += table[(size_t)ps[0] * width + (size_t)qs[j]] - corner;
            c->dropped[e] = 1;
            c->any = true;
            continue;
        }
        for (int side = 0; side < 2; side++) {
            int32_t x = side ? v : u, y = side ? u : v;
            if (c->parent[y] >= 0 || find_root(leader, x) == y) continue;
            bool functional = side ? is_functional(table, 1, width, qs, nq, ps, np, function)
                                   : is_functional(table, width, 1, ps, np, qs, nq, function);
            if (!functional) continue;
            c->parent[y] = leader[y] = x;
            c->map[y] = COL_NEW_ARRAY(arena, int32_t, g->k[x]);
            for (int32_t p = 0; p < g->k[x]; p++) c->map[y][p] = c->alive[x][p] ? function[p] : -1;
            c->any = true;
            break;
        }
    }
}

enum { SMALL = 20000 };

/* Whether a round changed the core by enough to be worth another: anything at all on a small one. */
static bool is_worth_more(size_t before, size_t after)
{
    return after <= SMALL || after < before - before / 100;
}

static void print_core(const core *g, const char *what)
{
    fprintf(stderr, "sharding: %-12s %d nodes, %d edges, %zu strategies and pairs, %d items, %d times\n",
            what, g->node_count, g->edge_count, sharding_core_size(g), g->item_count, g->time_count);
}

bool sharding_presolve(core **core_, records *records_, bool verbose)
{
    core *g = *core_;
    if (verbose) print_core(g, "given");
    bool infeasible = false;
    size_t last = SIZE_MAX; /* size after the last search for dominated strategies, the dearest step */
    for (int round = 0, idle = 0; idle < 2 && !infeasible; round++) {
        col_arena *scratch = col_arena_create();
        changes *c = sharding_changes_make(scratch, g);
        size_t before = sharding_core_size(g);
        bool dominance = false;
        c->any = round == 0; /* the first rebuild folds loops and merges parallel edges */
        /* Linking steps and degree steps alternate: within a round each works on the core as it stands. */
        if (round % 2 == 0) {
            infeasible =
                g->constant >= INF || !sharding_reduce_memory(g, c) || !make_arc_consistent(g, c, scratch);
            if (!infeasible) classify_edges(g, c, scratch);
        } else {
            dominance = before <= SMALL || before < last - last / 10;
            if (dominance) sharding_reduce_dominated(g, c);
            sharding_reduce_degree(g, c, records_);
        }
        bool changed = c->any;
        if (!infeasible && changed) g = sharding_rebuild(g, c, records_, &infeasible);
        if (dominance) last = sharding_core_size(g);
        idle = changed && is_worth_more(before, sharding_core_size(g)) ? 0 : idle + 1;
        col_arena_destroy(scratch);
        if (verbose) {
            char name[32];
            snprintf(name, sizeof name, "round %d", round);
            print_core(g, name);
        }
    }
    if (!infeasible) {
        /* Where rounds ended early, the last may have linked nodes: their uses of memory become segments in
         * order again, which all that follows relies on. */
        col_arena *scratch = col_arena_create();
        changes *c = sharding_changes_make(scratch, g);
        infeasible = !sharding_reduce_memory(g, c);
        if (!infeasible && c->any) g = sharding_rebuild(g, c, records_, &infeasible);
        col_arena_destroy(scratch);
    }
    *core_ = g;
    return !infeasible;
}
