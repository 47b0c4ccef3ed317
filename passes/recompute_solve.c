/* Which forward values are computed again, and in which turn (docs/checkpoint.md).
 *
 *   sets        items i: values of the forward phase; turns 1..T of the backward phase
 *   variables   x_i: none (not there in the backward phase), keep, or again in one of the turns t of C_i, the
 *               latest in which it is of use and the one before
 *   minimise    sum of cost_i over those that are computed again
 *   so that     what a unit of the backward phase reads is kept, or computed again by its time;
 *               where i is computed again in turn t and needs j, so is j, in turn t or before, or it is kept;
 *               at every time, the bytes live then are at most M
 *
 * Times are the units of a step, and in front of a turn one for each item that it may compute. An item is
 * live from its unit to its last reader in the forward phase; if kept, from there to where the earliest turn
 * may compute it; and from where it is computed, or that place, to its last reader of all that there may be.
 * So each stretch is live or not by x_i alone, and the problem is one of solver/sharding.h: a node for each
 * item, one for each further stretch tied to it, and an edge for each need. */
#include "passes/recompute_model.h"

#include <math.h>

#include "solver/sharding.h"

enum { MOST_TURNS = 2 };         /* of an item */
static const double STALL = 0.5; /* of the work so far without progress, when the solver gives up */
static const double FOREVER = 1e4;
static const double LEAST_WORK = 0.1; /* of what the solver may do, for the cheapest plan of the least peak */

/* What may be chosen for an item. */
typedef enum choice_kind { CHOICE_NONE, CHOICE_KEEP, CHOICE_AGAIN } choice_kind;

typedef struct choices {
    int32_t node; /* of the problem; -1: there is nothing to choose */
    int32_t count;
    choice_kind kind[MOST_TURNS + 2];
    int32_t turn[MOST_TURNS + 2];
    int32_t turns[MOST_TURNS], turn_count; /* C_i, ascending */
    int32_t slots[MOST_TURNS];             /* times of these */
    int32_t end;                           /* first time at which it is of no use */
} choices;

typedef struct solver {
    const col_recompute_model *m;
    const recompute_turns *t;
    col_arena *arena;
    choices *of;     /* by item */
    int32_t *before; /* by turn - 1: times of all turns up to it, by which later units move */
    int32_t end;     /* of time */
    int64_t *change; /* of the bytes that are live whatever is chosen, by time */
    COL_VEC(col_sharding_node) nodes;
    COL_VEC(col_sharding_edge) edges;
} solver;

static int32_t time_of(const solver *s, int32_t position)
{
    int32_t turn = recompute_turn_at(s->t, position);
    return position + (turn ? s->before[turn - 1] : 0);
}

/* Candidates. */

static void find_candidates(solver *s, int32_t i)
{
    choices *c = &s->of[i];
    int32_t latest = recompute_latest_turn(s->m, s->t, i);
    for (int32_t turn = COL_MAX(latest - MOST_TURNS + 1, 1); turn <= latest; turn++)
        c->turns[c->turn_count++] = turn;
}

/* An item in the earlier of its turns is of use only where a later group's turn may need it. */
static void drop_useless(solver *s, int32_t i)
{
    const recompute_item *item = &s->m->items.data[i];
    choices *c = &s->of[i];
    while (c->turn_count > 1) {
        bool used = item->first_backward >= 0 && recompute_turn_at(s->t, item->first_backward) < c->turns[1];
        for (size_t r = 0; r < item->readers.len && !used; r++) {
            const choices *reader = &s->of[item->readers.data[r]];
            for (int32_t k = 0; k < reader->turn_count; k++) used |= reader->turns[k] == c->turns[0];
        }
        if (used) return;
        for (int32_t k = 1; k < c->turn_count; k++) c->turns[k - 1] = c->turns[k];
        c->turn_count--;
    }
}

static void give_times(solver *s)
{
    size_t count = s->m->items.len;
    s->before = COL_NEW_ARRAY(s->arena, int32_t, s->t->count + 1);
    int32_t slots = 0;
    for (int32_t turn = 1; turn <= s->t->count; turn++) {
        for (size_t i = 0; i < count; i++) {
            choices *c = &s->of[i];
            for (int32_t k = 0; k < c->turn_count; k++) {
                if (c->turns[k] == turn) c->slots[k] = s->t->start[turn - 1] + slots++;
            }
        }
        s->before[turn - 1] = slots;
    }
    s->end = (int32_t)s->m->units->count + 1 + slots;
}

/* Readers stand behind what they read, so that their times are known. */
static void find_end(solver *s, int32_t i)
{
    const recompute_item *item = &s->m->items.data[i];
    choices *c = &s->of[i];
    c->end = item->last_backward >= 0 ? time_of(s, item->last_backward) + !item->reused_backward
                                      : item->last_forward + !item->reused_forward;
    for (size_t r = 0; r < item->readers.len; r++) {
        const choices *reader = &s->of[item->readers.data[r]];
        if (reader->turn_count) c->end = COL_MAX(c->end, reader->slots[reader->turn_count - 1] + 1);
    }
    for (int32_t k = 0; k < c->turn_count; k++) c->end = COL_MAX(c->end, c->slots[k] + 1);
}

/* The problem. */

static int32_t add_node(solver *s, int32_t count, int32_t lower, int32_t upper, const int64_t *cost,
                        const int64_t *usage)
{
    col_vec_push(s->arena, &s->nodes, ((col_sharding_node){count, lower, upper, cost, usage}));
    return (int32_t)s->nodes.len - 1;
}

static int64_t *zeros(solver *s, int32_t count)
{
    return COL_NEW_ARRAY(s->arena, int64_t, count);
}

/* A stretch of time in which the item is live for some of its choices. */
static void add_stretch(solver *s, int32_t i, int32_t lower, int32_t upper, const bool *live)
{
    const choices *c = &s->of[i];
    if (upper <= lower) return;
    int64_t *usage = zeros(s, 2), *tie = zeros(s, 2 * c->count);
    usage[1] = s->m->items.data[i].bytes;
    for (int32_t k = 0; k < c->count; k++) tie[2 * k + !live[k]] = COL_SHARDING_INFINITY;
    int32_t node = add_node(s, 2, lower, upper, zeros(s, 2), usage);
    col_vec_push(s->arena, &s->edges, ((col_sharding_edge){c->node, node, tie}));
}

static void add_item(solver *s, int32_t i)
{
    const recompute_item *item = &s->m->items.data[i];
    choices *c = &s->of[i];
    bool direct = item->first_backward >= 0;
    s->change[item->unit] += item->bytes;
    c->node = -1;
    if (item->must_keep && direct) {
        s->change[c->end] -= item->bytes;
        c->kind[c->count++] = CHOICE_KEEP;
        return;
    }
    s->change[item->last_forward + !item->reused_forward] -= item->bytes;
    if (!direct) c->kind[c->count++] = CHOICE_NONE;
    c->kind[c->count++] = CHOICE_KEEP;
    for (int32_t k = 0; k < c->turn_count; k++) {
        c->turn[c->count] = c->turns[k];
        c->kind[c->count++] = CHOICE_AGAIN;
    }
    int64_t *cost = zeros(s, c->count);
    for (int32_t k = 0; k < c->count; k++) cost[k] = c->kind[k] == CHOICE_AGAIN ? item->cost : 0;
    c->node = add_node(s, c->count, 0, 0, cost, zeros(s, c->count));
    for (int32_t stretch = 0; stretch <= c->turn_count; stretch++) {
        bool live[MOST_TURNS + 2];
        for (int32_t k = 0; k < c->count; k++) {
            live[k] = c->kind[k] == CHOICE_KEEP ||
                      (c->kind[k] == CHOICE_AGAIN && stretch && c->turn[k] <= c->turns[stretch - 1]);
        }
        int32_t lower = stretch ? c->slots[stretch - 1] : item->last_forward + !item->reused_forward;
        int32_t upper = stretch < c->turn_count ? c->slots[stretch] : c->end;
        add_stretch(s, i, lower, upper, live);
    }
}

/* Whether a reader that is computed again in the turn finds the item. */
static bool is_there(const choices *c, int32_t k, int32_t turn)
{
    return c->kind[k] == CHOICE_KEEP || (c->kind[k] == CHOICE_AGAIN && c->turn[k] <= turn);
}

static void add_need(solver *s, int32_t reader, int32_t read)
{
    const choices *r = &s->of[reader], *c = &s->of[read];
    if (r->node < 0 || c->node < 0) return; /* kept, both or the one that is read */
    int64_t *table = zeros(s, r->count * c->count);
    bool any = false;
    for (int32_t p = 0; p < r->count; p++) {
        for (int32_t q = 0; q < c->count; q++) {
            if (r->kind[p] != CHOICE_AGAIN || is_there(c, q, r->turn[p])) continue;
            table[p * c->count + q] = COL_SHARDING_INFINITY;
            any = true;
        }
    }
    if (any) col_vec_push(s->arena, &s->edges, ((col_sharding_edge){r->node, c->node, table}));
}

/* What is live whatever is chosen, one node for each stretch of equal bytes; and what all units cost. */
static void add_others(solver *s)
{
    const col_recompute_model *m = s->m;
    int64_t items = 0, *usage = NULL, *cost = zeros(s, 1);
    int32_t position = 0;
    cost[0] = m->cost;
    add_node(s, 1, 0, 0, cost, zeros(s, 1));
    for (int32_t time = 0; time < s->end; time++) {
        while (position < (int32_t)m->units->count && time_of(s, position) < time) position++;
        bool is_unit = time_of(s, position) == time;
        items += s->change[time];
        /* Between two units what both have is live: no more than either. */
        int64_t other = is_unit || !position
                            ? m->other_bytes[position]
                            : COL_MIN(m->other_bytes[position - 1], m->other_bytes[position]);
        int64_t bytes = items + other;
        if (usage && *usage == bytes) {
            s->nodes.data[s->nodes.len - 1].upper = time + 1;
            continue;
        }
        usage = zeros(s, 1);
        *usage = bytes;
        add_node(s, 1, time, time + 1, zeros(s, 1), usage);
    }
}

static void build(solver *s)
{
    int32_t count = (int32_t)s->m->items.len;
    s->of = COL_NEW_ARRAY(s->arena, choices, count + 1);
    for (int32_t i = 0; i < count; i++) find_candidates(s, i);
    for (int32_t i = count - 1; i >= 0; i--) drop_useless(s, i);
    give_times(s);
    s->change = COL_NEW_ARRAY(s->arena, int64_t, s->end + 2);
    for (int32_t i = count - 1; i >= 0; i--) find_end(s, i);
    for (int32_t i = 0; i < count; i++) add_item(s, i);
    for (int32_t i = 0; i < count; i++) {
        const recompute_item *item = &s->m->items.data[i];
        for (size_t r = 0; r < item->reads.len; r++) add_need(s, i, item->reads.data[r]);
    }
    add_others(s);
}

/* The answer. */

static void count_answer(const col_recompute_model *m, col_recompute_answer *out)
{
    int64_t again = 0;
    for (size_t i = 0; i < m->items.len; i++) {
        const recompute_item *item = &m->items.data[i];
        int32_t how = out->plan.forward[item->node->id];
        if (how > 0) {
            out->again++;
            again += item->cost;
        }
        out->kept += how == COL_RECOMPUTE_KEEP && item->last_backward >= 0;
    }
    out->again_seconds = 1e-9 * (double)again;
    out->seconds = 1e-9 * (double)(m->cost + again);
}

static void take_answer(const solver *s, const int32_t *choice, col_recompute_answer *out)
{
    for (size_t i = 0; i < s->m->items.len; i++) {
        const choices *c = &s->of[i];
        if (c->node < 0) continue;
        int32_t k = choice[c->node], *how = &out->plan.forward[s->m->items.data[i].node->id];
        if (c->kind[k] == CHOICE_NONE) *how = COL_RECOMPUTE_ASKED;
        if (c->kind[k] == CHOICE_AGAIN) *how = c->turn[k];
    }
}

/* Where nothing fits, the least peak is known, with an assignment that was found for its peak alone: looks for a cheap
 * one. */
static col_status solve_frugal(solver *s, col_sharding_problem *problem, const col_sharding_limits *how,
                               col_sharding_solution *solution)
{
    col_sharding_limits cheapest = *how;
    col_sharding_solution found;
    problem->limit = solution->peak;
    problem->start = solution->choice;
    cheapest.below = 0;
    cheapest.work = LEAST_WORK * how->work;
    COL_TRY(col_sharding_solve(s->arena, problem, &cheapest, &found));
    solution->work += found.work;
    solution->seconds += found.seconds;
    if (!found.choice || found.peak > solution->peak) return NULL;
    solution->choice = found.choice;
    solution->peak = found.peak;
    return NULL;
}

col_status col_recompute_solve(const col_recompute_model *model, const col_recompute_limits *limits,
                               col_arena *arena, col_recompute_answer *out)
{
    solver s = {.m = model, .arena = col_arena_create()};
    *out = (col_recompute_answer){0};
    s.t = recompute_turns_make(model, COL_MAX(limits->joined, 1), s.arena);
    build(&s);
    col_sharding_problem problem = {.node_count = (int32_t)s.nodes.len,
                                    .edge_count = (int32_t)s.edges.len,
                                    .nodes = s.nodes.data,
                                    .edges = s.edges.data,
                                    .limit = limits->memory};
    /* One thread and a limit of work, not of time: the same plan in every run. */
    col_sharding_limits how = {
        .seconds = FOREVER, .gap = limits->gap, .stall = STALL, .work = limits->work, .threads = 1};
    if (limits->below > 0) how.below = model->cost + (int64_t)(1e9 * limits->below);
    col_sharding_solution solution;
    col_status status = col_sharding_solve(s.arena, &problem, &how, &solution);
    if (!status && limits->frugal && solution.status == COL_SOLVE_INFEASIBLE && solution.choice)
        status = solve_frugal(&s, &problem, &how, &solution);
    if (!status) {
        recompute_plan_init(model, s.t, arena, &out->plan);
        out->joined = COL_MAX(limits->joined, 1);
        out->turns = s.t->count;
        out->status = solution.status;
        out->bound = 1e-9 * (double)solution.bound;
        out->gap = solution.gap;
        out->solve_seconds = solution.seconds;
        out->work = solution.work;
        out->peak = solution.peak;
        out->least_memory = solution.least_memory;
        out->variables = solution.variables;
        out->rows = solution.rows;
        if (solution.choice) take_answer(&s, solution.choice, out);
        count_answer(model, out);
    }
    col_arena_destroy(s.arena);
    return status;
}

void col_recompute_all(const col_recompute_model *m, int32_t joined, col_arena *arena,
                       col_recompute_answer *out)
{
    col_arena *scratch = col_arena_create();
    *out = (col_recompute_answer){.status = COL_SOLVE_FEASIBLE};
    if (!joined) joined = (int32_t)lround(sqrt((double)col_recompute_blocks(m)));
    const recompute_turns *t = recompute_turns_make(m, COL_MAX(joined, 1), scratch);
    recompute_plan_init(m, t, arena, &out->plan);
    out->turns = t->count;
    for (size_t i = 0; i < m->items.len; i++) {
        const recompute_item *item = &m->items.data[i];
        bool crosses =
            item->readers.len && t->group_of[item->readers.data[item->readers.len - 1]] != t->group_of[i];
        int32_t turn = recompute_latest_turn(m, t, (int32_t)i);
        /* The first turn would only do again what has just been done. */
        if (!crosses && turn > 1) out->plan.forward[item->node->id] = turn;
    }
    count_answer(m, out);
    col_arena_destroy(scratch);
}
