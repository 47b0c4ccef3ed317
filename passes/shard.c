/* The sharding model of passes/shard.h, and its solution.
 *
 * needs     groups and an order: fuse, schedule
 * provides  strategies of units, layouts of variables and of values that wait
 * breaks    nothing: the graph is only read */
#include "passes/shard_model.h"

#include <string.h>

static void take_answer(const shard_problem *b, const int32_t *choice, col_sharding *out)
{
    const shard_model *m = &b->m;
    const col_layout *layouts = m->layouts.list.data;
    out->mesh = m->options->mesh;
    out->machine = m->options->machine;
    out->units = m->units;
    out->factors = COL_NEW_ARRAY(m->arena, col_factors *, m->units->count + 1);
    out->strategies = COL_NEW_ARRAY(m->arena, col_strategy, m->units->count + 1);
    out->variables = COL_NEW_ARRAY(m->arena, col_layout, m->graph->vars.len + 1);
    out->stops = COL_NEW_ARRAY(m->arena, col_layout, m->graph->next_value_id);
    out->has_stop = COL_NEW_ARRAY(m->arena, bool, m->graph->next_value_id);
    out->seconds = COL_NEW_ARRAY(m->arena, double, m->units->count + 1);
    for (uint32_t i = 0; i < m->units->count; i++) {
        const shard_unit *u = &m->by_unit[i];
        out->factors[i] = u->factors;
        out->strategies[i] =
            u->is_assign ? col_strategy_replicated() : u->strategies[choice[b->unit_nodes[i]]];
        if (!u->is_assign)
            out->seconds[i] =
                1e-9 * (double)u->cost[choice[b->unit_nodes[i]]] / (double)shard_runs(&b->m, u->phase);
    }
    for (size_t v = 0; v < m->graph->vars.len; v++)
        out->variables[v] = layouts[m->variable_layouts[v][choice[b->variable_nodes[v]]]];
    for (uint32_t i = 0; i < m->graph->next_value_id; i++) {
        if (!b->stops[i].count) continue;
        out->stops[i] = layouts[b->stops[i].layouts[choice[b->stops[i].node]]];
        out->has_stop[i] = true;
    }
}

static void fill_report(const shard_problem *b, const col_sharding_solution *solution,
                        col_shard_report *report)
{
    report->status = solution->status;
    report->objective = 1e-9 * (double)solution->objective;
    report->bound = 1e-9 * (double)solution->bound;
    report->gap = solution->gap;
    report->seconds += solution->seconds;
    report->peak = solution->peak;
    report->least_memory = solution->least_memory;
    report->variables = solution->variables;
    report->rows = solution->rows;
    report->nodes = (int32_t)b->nodes.len;
    report->edges = (int32_t)b->edges.len;
    report->strategies = 0;
    for (size_t i = 0; i < b->nodes.len; i++) report->strategies += b->nodes.data[i].strategies;
}

bool shard_fits(const shard_problem *b, const col_sharding_solution *solution)
{
    int64_t limit = b->m.options->memory;
    return solution->choice && (!limit || solution->peak <= limit);
}

static col_status judge(const shard_problem *b, const col_sharding_solution *solution)
{
    if (shard_fits(b, solution)) return NULL;
    int64_t limit = b->m.options->memory;
    const char *plan = col_plan_kind_name(b->m.options->plan);
    if (solution->status == COL_SOLVE_INFEASIBLE && solution->choice) {
        return col_error_make(
            COL_INFEASIBLE,
            "plan %s does not fit %.1f MiB of memory per device: it needs --memory %lld (%.1f "
            "MiB) or more",
            plan, (double)limit / (1 << 20), (long long)solution->peak, (double)solution->peak / (1 << 20));
    }
    return col_error_make(COL_INFEASIBLE, "no way was found to run plan %s in %.1f MiB of memory per device",
                          plan, (double)limit / (1 << 20));
}

/* Solves for auto with what forced plans reach beside it. Without a limit of memory they come first, since
 * the best of them makes a good start; with one, a problem that nothing fits is told by one refusal, and they
 * follow. */
static col_status solve_compared(const shard_problem *b, col_sharding_solution *solution,
                                 col_shard_report *report)
{
    const col_shard_options *o = b->m.options;
    int32_t *start = NULL;
    int count = 0;
    if (!o->memory) COL_TRY(shard_compare(b, report->plans + 1, &count, &start));
    COL_TRY(shard_solve(b, o->seconds, start, true, solution));
    fill_report(b, solution, report);
    if (o->memory && solution->status != COL_SOLVE_INFEASIBLE) {
        COL_TRY(shard_compare(b, report->plans + 1, &count, &start));
        shard_price price = start ? shard_price_of(b, start) : (shard_price){0};
        if (start && (!shard_fits(b, solution) || price.compute + price.exposed < solution->objective))
            COL_TRY(shard_solve(b, o->seconds, start, true, solution));
        fill_report(b, solution, report);
    }
    if (!count) return NULL;
    report->plans[0] = shard_make_row(b, solution);
    report->plan_count = count + 1;
    return NULL;
}

/* The answer as plan auto's. Its bound is that of auto: a bound of one plan says nothing about others. */
static void list_beside(const shard_problem *b, const col_sharding_solution *solution,
                        col_shard_report *report)
{
    const col_shard_report *known = b->m.options->beside;
    if (!known->plan_count) return;
    memcpy(report->plans, known->plans, sizeof report->plans);
    report->plans[0] = shard_make_row(b, solution);
    report->plans[0].plan = COL_PLAN_AUTO;
    report->plan_count = known->plan_count;
    report->bound = known->bound;
    report->gap = report->objective > 0 ? (report->objective - report->bound) / report->objective : 0;
    if (report->gap > b->m.options->gap) report->status = COL_SOLVE_FEASIBLE;
}

col_status col_shard(const col_graph *graph, const col_shard_options *options, col_arena *arena,
                     col_sharding *out, col_shard_report *report)
{
    shard_problem b = {
        .m = {.arena = arena, .graph = graph, .options = options, .layouts = {.arena = arena}}};
    *report = (col_shard_report){0};
    b.m.units = col_units_of(graph, arena);
    shard_strategies(&b.m);
    shard_variable_layouts(&b.m);
    COL_TRY(shard_restrict(&b.m));
    shard_build(&b);
    col_sharding_solution solution;
    if (options->compare && options->plan == COL_PLAN_AUTO) {
        COL_TRY(solve_compared(&b, &solution, report));
    } else {
        COL_TRY(shard_solve(&b, options->seconds, NULL, true, &solution));
        fill_report(&b, &solution, report);
    }
    COL_TRY(judge(&b, &solution));
    if (options->beside) list_beside(&b, &solution, report);
    take_answer(&b, solution.choice, out);
    return NULL;
}
