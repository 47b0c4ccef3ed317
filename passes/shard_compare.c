/* Forced plans beside auto's: each solved with the candidates that it allows, from the tables of the whole
 * model. */
#include "passes/shard_model.h"

#include <string.h>

enum { WHOLE_NODES = 1000 };            /* of a problem that is solved as a whole for each forced plan, too */
static const double FORCED_SHARE = 0.1; /* of the time for auto, for each plan that it is compared with */

col_shard_row shard_make_row(const shard_problem *b, const col_sharding_solution *solution)
{
    col_shard_row row = {.plan = b->m.options->plan, .status = solution->status, .peak = solution->peak};
    if (!solution->choice) return row;
    shard_price price = shard_price_of(b, solution->choice);
    row.compute = 1e-9 * (double)price.compute;
    row.communication = 1e-9 * (double)price.exposed;
    row.seconds = 1e-9 * (double)(price.compute + price.exposed);
    return row;
}

/* A copy whose candidates may be taken away. Layouts keep their ids and all of them are known, so that tables
 * are shared. */
static shard_problem copy_candidates(const shard_problem *b, const col_shard_options *options,
                                     col_arena *arena)
{
    const shard_model *m = &b->m;
    shard_problem c = {.m = *m, .tables = b->tables};
    c.m.arena = arena;
    c.m.options = options;
    c.m.by_unit = col_arena_copy(arena, m->by_unit, sizeof *m->by_unit * m->units->count);
    for (uint32_t i = 0; i < m->units->count; i++) {
        shard_unit *u = &c.m.by_unit[i];
        size_t count = (size_t)u->count;
        u->strategies = col_arena_copy(arena, u->strategies, sizeof *u->strategies * count);
        u->cost = col_arena_copy(arena, u->cost, sizeof *u->cost * count);
        u->inner = col_arena_copy(arena, u->inner, sizeof *u->inner * count);
        u->reads = col_arena_copy(arena, u->reads, sizeof *u->reads * (size_t)u->read_count);
        u->writes = col_arena_copy(arena, u->writes, sizeof *u->writes * (size_t)u->write_count);
        for (int p = 0; p < u->read_count + u->write_count; p++) {
            shard_port *port = p < u->read_count ? &u->reads[p] : &u->writes[p - u->read_count];
            port->layouts = col_arena_copy(arena, port->layouts, sizeof *port->layouts * count);
        }
    }
    size_t vars = m->graph->vars.len;
    c.m.variable_layouts = col_arena_copy(arena, m->variable_layouts, sizeof *m->variable_layouts * vars);
    c.m.variable_counts = col_arena_copy(arena, m->variable_counts, sizeof *m->variable_counts * vars);
    for (size_t v = 0; v < vars; v++) {
        size_t bytes = sizeof **m->variable_layouts * (size_t)m->variable_counts[v];
        c.m.variable_layouts[v] = col_arena_copy(arena, m->variable_layouts[v], bytes);
    }
    return c;
}

static int32_t find_layout(const shard_node *node, int32_t count, int32_t layout)
{
    int32_t k = 0;
    while (k < count && node->layouts[k] != layout) k++;
    return k;
}

static int32_t find_strategy(const shard_unit *u, const col_strategy *strategy)
{
    int32_t k = 0;
    while (k < u->count && memcmp(&u->strategies[k], strategy, sizeof *strategy)) k++;
    return k;
}

/* The same answer as strategies of `b`, whose candidates those of `c` were taken from: node by node, since
 * both are built from one graph. */
static int32_t *translate(const shard_problem *c, const int32_t *choice, const shard_problem *b)
{
    int32_t *out = COL_NEW_ARRAY(b->m.arena, int32_t, b->nodes.len + 1);
    COL_ASSERT(b->nodes.len == c->nodes.len);
    for (size_t i = 0; i < b->nodes.len; i++) {
        const shard_node *to = &b->stands_for.data[i], *from = &c->stands_for.data[i];
        int32_t count = b->nodes.data[i].strategies;
        COL_ASSERT(to->kind == from->kind && to->position == from->position);
        switch (to->kind) {
        case SHARD_VARIABLE:
        case SHARD_STOP: out[i] = find_layout(to, count, from->layouts[choice[i]]); break;
        case SHARD_UNIT:
            out[i] =
                find_strategy(&b->m.by_unit[to->position], &c->m.by_unit[to->position].strategies[choice[i]]);
            break;
        case SHARD_FOLLOWER:
            while (out[i] < count && b->nodes.data[i].usage[out[i]] != c->nodes.data[i].usage[choice[i]])
                out[i]++;
            break;
        case SHARD_OUTPUTS: break;
        }
        COL_ASSERT(out[i] < count);
    }
    return out;
}

/* Small problems are solved as a whole. In large ones a plan that is forced takes the same answer whether it is alone or
 * beside others: one that gives repeated layers the same strategies, unless another is better by more than the gap. */
col_status shard_solve_forced(const shard_problem *b, double seconds, bool proves, col_sharding_solution *out)
{
    const col_shard_options *o = b->m.options;
    bool is_plain = o->plan == COL_PLAN_AUTO || o->memory || (int32_t)b->nodes.len <= WHOLE_NODES;
    if (is_plain) return shard_solve(b, seconds, NULL, true, out);
    COL_TRY(shard_solve(b, FORCED_SHARE * o->seconds, NULL, false, out));
    if (!proves || !out->choice) return NULL;
    col_sharding_solution whole;
    COL_TRY(shard_solve(b, seconds, out->choice, true, &whole));
    whole.seconds += out->seconds;
    if (whole.choice && (double)whole.objective < (1 - o->gap) * (double)out->objective) {
        *out = whole;
        return NULL;
    }
    int32_t *choice = out->choice;
    int64_t objective = out->objective, peak = out->peak;
    *out = whole;
    out->choice = choice;
    out->objective = objective;
    out->peak = peak;
    out->gap = (double)(objective - whole.bound) / (double)COL_MAX(objective, 1);
    out->status = out->gap <= o->gap ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
    return NULL;
}

/* Fills in the row of one forced plan. `*out_choice` is its answer as an assignment of `b`, NULL where it has none. */
static col_status compare_one(const shard_problem *b, const col_shard_options *options, col_arena *scratch,
                              col_shard_row *row, int32_t **out_choice)
{
    *row = (col_shard_row){.plan = options->plan, .status = COL_SOLVE_INFEASIBLE};
    *out_choice = NULL;
    shard_problem c = copy_candidates(b, options, scratch);
    col_status status = shard_restrict(&c.m);
    if (col_error_code(status) == COL_BAD_INPUT) {
        row->reason = col_arena_strdup(b->m.arena, col_error_message(status));
        col_error_ignore(status);
        return NULL;
    }
    COL_TRY(status);
    shard_build(&c);
    col_sharding_solution forced;
    double seconds = FORCED_SHARE * options->seconds;
    COL_TRY(options->memory ? shard_solve(&c, seconds, NULL, false, &forced)
                            : shard_solve_forced(&c, seconds, false, &forced));
    *row = shard_make_row(&c, &forced);
    row->fits = shard_fits(&c, &forced);
    if (forced.choice) *out_choice = translate(&c, forced.choice, b);
    return NULL;
}

col_status shard_compare(const shard_problem *b, col_shard_row *rows, int32_t **choices, int *out_count,
                         int32_t **out_best)
{
    double least = INFINITY;
    *out_count = 0;
    *out_best = NULL;
    for (int kind = COL_PLAN_AUTO + 1; kind < COL_PLAN_COUNT; kind++) {
        col_arena *scratch = col_arena_create();
        col_shard_options options = *b->m.options;
        options.plan = (col_plan_kind)kind;
        col_shard_row *row = &rows[*out_count];
        int32_t **choice = &choices[(*out_count)++];
        col_status status = compare_one(b, &options, scratch, row, choice);
        col_arena_destroy(scratch);
        COL_TRY(status);
        if (!row->fits || row->seconds >= least) continue;
        least = row->seconds;
        *out_best = *choice;
    }
    return NULL;
}
