/* What a plan costs where devices compute and communicate at once, and the plan that costs least.
 *
 * In phase f (forward, backward) of a step, H_f is communication that nothing in the phase waits for:
 * reductions of gradients that only the update reads, and copies of parameters in further layouts. B_f is the
 * compute of the phase, and a collective keeps the share v of its speed meanwhile (machine file, `overlap`).
 * So a step takes
 *
 *     T(s) = compute + other communication + sum_f max(0, H_f - v B_f)
 *
 * which is no sum over nodes and edges. But for weights 0 <= w_f <= 1
 *
 *     T(s) >= L_w(s) = compute + other communication + sum_f w_f (H_f - v B_f)
 *
 * is one: the costs of hideable edges times w, and of units less w v times their compute. So the least of
 * L_w, which the solver bounds, is a bound for T, and an answer s with w_f = 1 where H_f > v B_f and w_f = 0
 * elsewhere has T(s) = L_w(s). That is the Lagrangian dual of min sum_f h_f, h_f >= H_f - v B_f. The weights
 * start next to 0, so that of equal answers the one with less communication is found, go to 1 where
 * communication does not hide, and are bisected where both are wrong. Whatever the weights, answers are
 * judged by T. */
#include "passes/shard_model.h"

#include <math.h>
#include <string.h>

/* Of weights; then at those of the highest bound, with less and less left by the solver; then of weights again. */
enum { TRIES = 3, TIGHTER = 2, TRIES_AGAIN = 5, TRIES_UNPROVED = 5, TRIES_LARGE = 2 };
enum { LARGE_NODES = 10000 }; /* of a problem that takes TRIES_LARGE where nothing is proved */

static const double LEAST_WEIGHT = 1.0 / 1024;
/* Of the gap, what the solver may leave at given weights. */
static const double GAP_SHARE = 0.9;
static const double LEFT_SHARE = 0.5; /* ... and of that at each tighter try */

static double overlap_of(const shard_problem *b)
{
    return b->m.options->machine->overlap;
}

static int64_t edge_cost(const shard_problem *b, size_t e, const int32_t *choice)
{
    const col_sharding_edge *edge = &b->edges.data[e];
    return edge->cost[choice[edge->u] * b->nodes.data[edge->v].strategies + choice[edge->v]];
}

shard_price shard_price_of(const shard_problem *b, const int32_t *choice)
{
    shard_price price = {0};
    for (size_t i = 0; i < b->nodes.len; i++) {
        if (b->stands_for.data[i].kind != SHARD_UNIT) continue;
        const shard_unit *u = &b->m.by_unit[b->stands_for.data[i].position];
        int64_t own = u->cost[choice[i]] - u->inner[choice[i]];
        price.compute += own;
        price.communication += u->inner[choice[i]];
        if ((int)u->phase < SHARD_HIDING_PHASES) price.behind[u->phase] += own;
    }
    for (size_t e = 0; e < b->edges.len; e++) {
        int64_t cost = edge_cost(b, e, choice);
        price.communication += cost;
        if (b->hides.data[e] != SHARD_BLOCKS) price.hideable[b->hides.data[e]] += cost;
    }
    price.exposed = price.communication;
    for (int f = 0; f < SHARD_HIDING_PHASES; f++)
        price.exposed -= COL_MIN(price.hideable[f], (int64_t)(overlap_of(b) * (double)price.behind[f]));
    return price;
}

/* The problem that minimises L_w; costs are rounded down, so that its bound holds. */
static col_sharding_problem weigh(const shard_problem *b, const double *w, col_arena *arena)
{
    col_sharding_node *nodes = col_arena_copy(arena, b->nodes.data, sizeof *nodes * b->nodes.len);
    col_sharding_edge *edges = col_arena_copy(arena, b->edges.data, sizeof *edges * b->edges.len);
    for (size_t i = 0; i < b->nodes.len; i++) {
        if (b->stands_for.data[i].kind != SHARD_UNIT) continue;
        const shard_unit *u = &b->m.by_unit[b->stands_for.data[i].position];
        if ((int)u->phase >= SHARD_HIDING_PHASES) continue;
        int64_t *cost = COL_NEW_ARRAY(arena, int64_t, u->count);
        for (int p = 0; p < u->count; p++) {
            double own = (double)(u->cost[p] - u->inner[p]);
            cost[p] = u->cost[p] - (int64_t)ceil(w[u->phase] * overlap_of(b) * own);
        }
        nodes[i].cost = cost;
    }
    col_map *known = col_map_create(arena); /* tables are shared between equal edges */
    for (size_t e = 0; e < b->edges.len; e++) {
        if (b->hides.data[e] == SHARD_BLOCKS) continue;
        struct {
            const int64_t *table;
            int64_t phase;
        } key = {edges[e].cost, b->hides.data[e]};
        int64_t *cost = col_map_get_bytes(known, &key, sizeof key);
        if (!cost) {
            size_t size = (size_t)nodes[edges[e].u].strategies * (size_t)nodes[edges[e].v].strategies;
            cost = col_arena_copy(arena, edges[e].cost, sizeof *cost * size);
            for (size_t j = 0; j < size; j++)
                if (cost[j] < COL_SHARDING_INFINITY) cost[j] = (int64_t)(w[key.phase] * (double)cost[j]);
            col_map_set_bytes(known, &key, sizeof key, cost);
        }
        edges[e].cost = cost;
    }
    return (col_sharding_problem){.node_count = (int32_t)b->nodes.len,
                                  .edge_count = (int32_t)b->edges.len,
                                  .nodes = nodes,
                                  .edges = edges};
}

/* Moves the weights towards what the answer says of them; false: they agree with it. */
static bool move_weights(const shard_problem *b, const shard_price *price, double *w, double *low,
                         double *high)
{
    bool moved = false;
    for (int f = 0; f < SHARD_HIDING_PHASES; f++) {
        bool hides = (double)price->hideable[f] <= overlap_of(b) * (double)price->behind[f];
        if (w[f] == (hides ? LEAST_WEIGHT : 1)) continue;
        *(hides ? &high[f] : &low[f]) = w[f];
        w[f] = w[f] == LEAST_WEIGHT ? 1 : (low[f] + high[f]) / 2;
        moved = true;
    }
    return moved;
}

static col_status solve_overlapped(const shard_problem *b, const col_sharding_problem *plain,
                                   const col_sharding_limits *limits, col_sharding_solution *best)
{
    double w[SHARD_HIDING_PHASES], tightest[SHARD_HIDING_PHASES] = {0}, low[SHARD_HIDING_PHASES],
                                   high[SHARD_HIDING_PHASES];
    for (int f = 0; f < SHARD_HIDING_PHASES; f++) {
        w[f] = low[f] = LEAST_WEIGHT;
        high[f] = 1;
    }
    col_sharding_limits own = *limits;
    own.gap *= GAP_SHARE;
    int64_t bound = 0;
    double seconds = 0;
    *best = (col_sharding_solution){0};
    int unproved = (int32_t)b->nodes.len > LARGE_NODES ? TRIES_LARGE : TRIES_UNPROVED;
    for (int i = 0; i < (limits->alike_only ? unproved : TRIES + TIGHTER + TRIES_AGAIN); i++) {
        col_sharding_problem problem = weigh(b, w, b->m.arena);
        problem.limit = plain->limit;
        problem.alike = plain->alike;
        problem.start = best->choice ? best->choice : plain->start;
        own.seconds = limits->seconds - seconds;
        col_sharding_solution found;
        COL_TRY(col_sharding_solve(b->m.arena, &problem, &own, &found));
        seconds += found.seconds;
        if (found.bound > bound) memcpy(tightest, w, sizeof w);
        bound = COL_MAX(bound, found.bound);
        if (!found.choice || found.peak > plain->limit) { /* so it is at any weights, but for the time */
            if (i == 0) *best = found;
            break;
        }
        shard_price price = shard_price_of(b, found.choice);
        found.objective = price.compute + price.exposed;
        if (i == 0 || found.objective < best->objective) *best = found;
        best->bound = COL_MIN(bound, best->objective);
        best->gap = (double)(best->objective - best->bound) / (double)COL_MAX(best->objective, 1);
        bool met = best->gap <= limits->gap;
        best->status = met ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
        bool moved = move_weights(b, &price, w, low, high);
        if (met || seconds >= limits->seconds || (limits->alike_only && !moved)) break;
        if (limits->alike_only || (moved && (i + 1 < TRIES || i >= TRIES + TIGHTER - 1))) continue;
        memcpy(w, tightest, sizeof w);
        own.gap *= LEFT_SHARE;
    }
    best->seconds = seconds;
    return NULL;
}

/* A start that is cheaper by T than what was found at some weights stays the answer. */
static void keep_start(const shard_problem *b, const col_sharding_problem *problem, double gap,
                       col_sharding_solution *s)
{
    if (!problem->start || col_sharding_peak(problem, problem->start) > problem->limit) return;
    shard_price price = shard_price_of(b, problem->start);
    if (s->choice && price.compute + price.exposed >= s->objective) return;
    s->choice = col_arena_copy(b->m.arena, problem->start, sizeof *s->choice * b->nodes.len);
    s->objective = price.compute + price.exposed;
    s->peak = col_sharding_peak(problem, s->choice);
    s->bound = COL_MIN(s->bound, s->objective);
    s->gap = (double)(s->objective - s->bound) / (double)COL_MAX(s->objective, 1);
    s->status = s->gap <= gap ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
}

col_status shard_solve(const shard_problem *b, double seconds, const int32_t *start, bool proves,
                       col_sharding_solution *solution)
{
    const col_shard_options *o = b->m.options;
    col_sharding_problem problem = {.node_count = (int32_t)b->nodes.len,
                                    .edge_count = (int32_t)b->edges.len,
                                    .nodes = b->nodes.data,
                                    .edges = b->edges.data,
                                    .limit = o->memory ? o->memory : INT64_MAX / 4,
                                    .alike = shard_find_alike(b),
                                    .start = start};
    col_sharding_limits limits = {.seconds = seconds > 0 ? seconds : 60,
                                  .gap = o->gap,
                                  .stall = o->stall,
                                  .threads = o->threads,
                                  .alike_only = !proves};
    if (overlap_of(b) <= 0) return col_sharding_solve(b->m.arena, &problem, &limits, solution);
    COL_TRY(solve_overlapped(b, &problem, &limits, solution));
    keep_start(b, &problem, o->gap, solution);
    return NULL;
}
