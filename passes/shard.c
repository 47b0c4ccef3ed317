/* The sharding model of passes/shard.h, and its solution.
 *
 * needs     groups and an order: fuse, schedule
 * provides  strategies of units, layouts of variables and of values that wait
 * breaks    nothing: the graph is only read */
#include "passes/shard_model.h"

#include <string.h>

static void take_answer(const shard_problem *b, const int32_t *choice, col_arena *arena, col_sharding *out)
{
    const shard_model *m = &b->m;
    const col_layout *layouts = m->layouts.list.data;
    out->mesh = m->options->mesh;
    out->machine = m->options->machine;
    out->units = m->units;
    out->factors = COL_NEW_ARRAY(arena, col_factors *, m->units->count + 1);
    out->strategies = COL_NEW_ARRAY(arena, col_strategy, m->units->count + 1);
    out->variables = COL_NEW_ARRAY(arena, col_layout, m->graph->vars.len + 1);
    out->stops = COL_NEW_ARRAY(arena, col_layout, m->graph->next_value_id);
    out->has_stop = COL_NEW_ARRAY(arena, bool, m->graph->next_value_id);
    out->seconds = COL_NEW_ARRAY(arena, double, m->units->count + 1);
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

/* The answer is plan auto's, and so is its bound: a bound of one plan says nothing about others. */
static void name_auto(const shard_problem *b, col_shard_report *report)
{
    report->plans[0].plan = COL_PLAN_AUTO;
    report->gap = report->objective > 0 ? (report->objective - report->bound) / report->objective : 0;
    if (report->gap > b->m.options->gap) report->status = COL_SOLVE_FEASIBLE;
}

static void list_beside(const shard_problem *b, const col_sharding_solution *solution,
                        col_shard_report *report)
{
    const col_shard_report *known = b->m.options->beside;
    if (!known->plan_count) return;
    memcpy(report->plans, known->plans, sizeof report->plans);
    report->plans[0] = shard_make_row(b, solution);
    report->plan_count = known->plan_count;
    report->bound = known->bound;
    name_auto(b, report);
}

struct col_shard_answers {
    const shard_problem *problem;
    int32_t *choices[COL_PLAN_COUNT]; /* by row: assignments of the problem; NULL: there is none */
};

static col_status compare(const shard_problem *b, col_shard_report *report, int *count, int32_t **start)
{
    struct col_shard_answers *answers = COL_NEW(b->m.arena, struct col_shard_answers);
    answers->problem = b;
    report->answers = answers;
    return shard_compare(b, report->plans + 1, answers->choices + 1, count, start);
}

bool col_shard_take(const col_shard_report *of, int row, col_arena *arena, col_sharding *out,
                    col_shard_report *report)
{
    const struct col_shard_answers *answers = of->answers;
    if (!answers || !answers->choices[row]) return false;
    take_answer(answers->problem, answers->choices[row], arena, out);
    *report = *of;
    report->peak = of->plans[row].peak;
    report->plans[0] = of->plans[row];
    report->plans[0].plan = COL_PLAN_AUTO;
    return true;
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
    if (!o->memory) COL_TRY(compare(b, report, &count, &start));
    COL_TRY(shard_solve(b, o->seconds, start, true, solution));
    fill_report(b, solution, report);
    if (o->memory && solution->status != COL_SOLVE_INFEASIBLE) {
        COL_TRY(compare(b, report, &count, &start));
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

col_status col_shard(const col_graph *graph, const col_shard_options *options, col_arena *arena,
                     col_sharding *out, col_shard_report *report)
{
    shard_problem *b = COL_NEW(arena, shard_problem);
    b->m.arena = b->m.layouts.arena = arena;
    b->m.graph = graph;
    b->m.options = col_arena_copy(arena, options, sizeof *options);
    *report = (col_shard_report){0};
    b->m.units = col_units_of(graph, arena);
    shard_strategies(&b->m);
    shard_variable_layouts(&b->m);
    COL_TRY(shard_restrict(&b->m));
    shard_build(b);
    col_sharding_solution solution;
    if (options->compare && options->plan == COL_PLAN_AUTO) {
        COL_TRY(solve_compared(b, &solution, report));
    } else {
        COL_TRY(shard_solve_forced(b, options->seconds, true, &solution));
        fill_report(b, &solution, report);
    }
    COL_TRY(judge(b, &solution));
    if (options->beside) list_beside(b, &solution, report);
    take_answer(b, solution.choice, arena, out);
    return NULL;
}
