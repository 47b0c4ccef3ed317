/* Forced plans beside auto's: each solved with the candidates that it allows, from the tables of the whole
 * model. */
#include "passes/shard_model.h"

#include <math.h>

static const double FORCED_SHARE = 0.1; /* of the time for auto, for each plan that it is compared with */

static col_shard_row make_row(const shard_problem *b, const col_sharding_solution *solution)
{
    col_shard_row row = {.plan = b->m.options->plan, .status = solution->status, .peak = solution->peak};
    if (!solution->choice) return row;
    double communication = 0;
    for (size_t e = 0; e < b->edges.len; e++) {
        const col_sharding_edge *edge = &b->edges.data[e];
        int32_t row_of = solution->choice[edge->u] * b->nodes.data[edge->v].strategies;
        communication += 1e-9 * (double)edge->cost[row_of + solution->choice[edge->v]];
    }
    for (uint32_t i = 0; i < b->m.units->count; i++) {
        const shard_unit *u = &b->m.by_unit[i];
        if (u->is_assign) continue;
        const col_strategy *s = &u->strategies[solution->choice[b->unit_nodes[i]]];
        communication += (double)shard_runs(&b->m, u->phase) * shard_inner_reductions(&b->m, u, s);
    }
    row.seconds = 1e-9 * (double)solution->objective;
    row.communication = fmin(communication, row.seconds);
    row.compute = row.seconds - row.communication;
    return row;
}

/* A copy whose candidates may be taken away. Layouts keep their ids and all of them are known, so that tables
 * are shared. */
static shard_problem copy_candidates(const shard_problem *b, const col_shard_options *options)
{
    const shard_model *m = &b->m;
    shard_problem c = {.m = *m, .tables = b->tables};
    c.m.options = options;
    c.m.by_unit = col_arena_copy(m->arena, m->by_unit, sizeof *m->by_unit * m->units->count);
    for (uint32_t i = 0; i < m->units->count; i++) {
        shard_unit *u = &c.m.by_unit[i];
        size_t count = (size_t)u->count;
        u->strategies = col_arena_copy(m->arena, u->strategies, sizeof *u->strategies * count);
        u->cost = col_arena_copy(m->arena, u->cost, sizeof *u->cost * count);
        u->reads = col_arena_copy(m->arena, u->reads, sizeof *u->reads * (size_t)u->read_count);
        u->writes = col_arena_copy(m->arena, u->writes, sizeof *u->writes * (size_t)u->write_count);
        for (int p = 0; p < u->read_count + u->write_count; p++) {
            shard_port *port = p < u->read_count ? &u->reads[p] : &u->writes[p - u->read_count];
            port->layouts = col_arena_copy(m->arena, port->layouts, sizeof *port->layouts * count);
        }
    }
    size_t vars = m->graph->vars.len;
    c.m.variable_layouts = col_arena_copy(m->arena, m->variable_layouts, sizeof *m->variable_layouts * vars);
    c.m.variable_counts = col_arena_copy(m->arena, m->variable_counts, sizeof *m->variable_counts * vars);
    for (size_t v = 0; v < vars; v++) {
        size_t bytes = sizeof **m->variable_layouts * (size_t)m->variable_counts[v];
        c.m.variable_layouts[v] = col_arena_copy(m->arena, m->variable_layouts[v], bytes);
    }
    return c;
}

/* The answer of a forced plan stands in for auto's. */
static void take_over(const col_shard_options *options, const col_sharding_solution *solution,
                      col_shard_report *report)
{
    report->objective = 1e-9 * (double)solution->objective;
    report->bound = fmin(report->bound, report->objective);
    report->gap = report->objective > 0 ? 1 - report->bound / report->objective : 0;
    report->peak = solution->peak;
    report->status = report->gap <= options->gap ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
}

col_status shard_compare(shard_problem *b, col_sharding_solution *solution, shard_problem *best,
                         col_shard_report *report)
{
    report->plans[report->plan_count++] = make_row(b, solution);
    for (int kind = COL_PLAN_AUTO + 1; kind < COL_PLAN_COUNT; kind++) {
        col_shard_options *options = col_arena_copy(b->m.arena, b->m.options, sizeof *b->m.options);
        options->plan = (col_plan_kind)kind;
        shard_problem c = copy_candidates(b, options);
        col_sharding_solution forced = {0};
        col_shard_report own;
        col_shard_row row = {.plan = options->plan, .status = COL_SOLVE_INFEASIBLE};
        col_status status = shard_solve(&c, FORCED_SHARE * b->m.options->seconds, &forced, &own);
        if (col_error_code(status) == COL_BAD_INPUT) {
            row.reason = col_arena_strdup(b->m.arena, col_error_message(status));
            col_error_ignore(status);
            report->plans[report->plan_count++] = row;
            continue;
        }
        COL_TRY(status);
        report->plans[report->plan_count++] = row = make_row(&c, &forced);
        bool beats = !shard_fits(best, solution) || forced.objective < solution->objective;
        if (!shard_fits(&c, &forced) || !beats) continue;
        *best = c;
        *solution = forced;
        take_over(b->m.options, &forced, report);
        report->plans[0] = row;
        report->plans[0].plan = COL_PLAN_AUTO;
        report->plans[0].status = report->status;
    }
    return NULL;
}
