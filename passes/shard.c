/* The sharding model of passes/shard.h, and its solution.
 *
 * needs     groups and an order: fuse, schedule
 * provides  strategies of units, layouts of variables and of values that wait
 * breaks    nothing: the graph is only read */
#include "passes/shard_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double FORCED_SHARE = 0.1; /* of the time for auto, for each plan that it is compared with */

/* Where a value's bytes come from: a node of the problem, and an id of a layout for each of its strategies.
 */
typedef struct source {
    int32_t node; /* -1: none */
    int32_t count;
    const int32_t *layouts;
} source;

typedef struct builder {
    shard_model m;
    COL_VEC(col_sharding_node) nodes;
    COL_VEC(col_sharding_edge) edges;
    int32_t *unit_nodes, *variable_nodes;
    source *makers, *stops; /* by value id */
    int32_t *last_use;      /* by value id: position of the last unit that needs it; -1: none */
    shard_tables *tables;
    int32_t *whole;        /* a list of the whole layout alone */
    uint32_t *seen, stamp; /* by layout: last met in list number `stamp` */
} builder;

static int64_t runs_of(const builder *b, col_phase phase)
{
    return phase == COL_PHASE_UPDATE ? 1 : b->m.options->accumulate;
}

static int32_t add_node(builder *b, int32_t count, int32_t lower, int32_t upper, const int64_t *cost,
                        const int64_t *usage)
{
    col_vec_push(b->m.arena, &b->nodes, ((col_sharding_node){count, lower, upper, cost, usage}));
    return (int32_t)b->nodes.len - 1;
}

static void add_edge(builder *b, const col_value *value, const source *from, int32_t node,
                     const int32_t *layouts, int64_t runs)
{
    const shard_table *table = shard_table_of(b->tables, &value->type, from->count, from->layouts,
                                              b->nodes.data[node].strategies, layouts, runs);
    if (!table->is_free)
        col_vec_push(b->m.arena, &b->edges, ((col_sharding_edge){from->node, node, table->cost}));
}

/* Bytes on one device under each layout. */
static int64_t *usages(builder *b, const col_value *value, int32_t count, const int32_t *layouts)
{
    int64_t *usage = COL_NEW_ARRAY(b->m.arena, int64_t, count + 1);
    for (int32_t k = 0; k < count; k++) {
        int64_t dims[COL_MAX_RANK], bytes = (int64_t)col_dtype_size(value->type.dtype);
        col_layout_local(&b->m.layouts.list.data[layouts[k]], &b->m.options->mesh, value->type.shape.rank,
                         value->type.shape.dims, dims);
        for (int d = 0; d < value->type.shape.rank; d++) bytes *= dims[d];
        usage[k] = (bytes + 63) / 64 * 64;
    }
    return usage;
}

static int64_t *zeros(builder *b, int32_t count)
{
    return COL_NEW_ARRAY(b->m.arena, int64_t, count + 1);
}

/* Variables. */

typedef COL_VEC(int32_t) id_list;

static void push_once(builder *b, id_list *list, int32_t id)
{
    for (size_t i = 0; i < list->len; i++) {
        if (list->data[i] == id) return;
    }
    col_vec_push(b->m.arena, list, id);
}

/* All layouts that fit: the axes, taken in the order given, each to a dimension or to none. */
static void add_layouts(builder *b, const col_var *var, col_layout *layout, int axis, bool backwards,
                        id_list *out)
{
    const col_mesh *mesh = &b->m.options->mesh;
    if (axis == mesh->rank) {
        push_once(b, out, shard_layout_id(&b->m.layouts, layout));
        return;
    }
    int own = backwards ? mesh->rank - 1 - axis : axis;
    add_layouts(b, var, layout, axis + 1, backwards, out);
    if (mesh->dims[own] == 1) return;
    for (int d = 0; d < var->type.shape.rank; d++) {
        col_layout_push(layout, d, own);
        if (col_layout_fits(layout, mesh, var->type.shape.rank, var->type.shape.dims))
            add_layouts(b, var, layout, axis + 1, backwards, out);
        col_layout_pop(layout, d);
    }
}

static void list_variable_layouts(builder *b)
{
    shard_model *m = &b->m;
    m->variable_layouts = COL_NEW_ARRAY(m->arena, int32_t *, m->graph->vars.len);
    m->variable_counts = COL_NEW_ARRAY(m->arena, int, m->graph->vars.len);
    for (size_t v = 0; v < m->graph->vars.len; v++) {
        const col_var *var = m->graph->vars.data[v];
        const col_layout *settled = m->options->settled ? col_map_get(m->options->settled, var->name) : NULL;
        id_list ids = {0};
        col_layout layout = col_layout_whole();
        if (settled) {
            push_once(b, &ids, shard_layout_id(&m->layouts, settled));
        } else {
            add_layouts(b, var, &layout, 0, false, &ids);
            add_layouts(b, var, &layout, 0, true, &ids);
        }
        m->variable_layouts[v] = ids.data;
        m->variable_counts[v] = (int)ids.len;
    }
}

static void add_variables(builder *b)
{
    shard_model *m = &b->m;
    int32_t end = (int32_t)m->units->count + 1;
    b->variable_nodes = COL_NEW_ARRAY(m->arena, int32_t, m->graph->vars.len + 1);
    for (size_t v = 0; v < m->graph->vars.len; v++) {
        const col_value *value = m->graph->vars.data[v]->value;
        int32_t count = m->variable_counts[v], *layouts = m->variable_layouts[v];
        int32_t node = add_node(b, count, 0, end, zeros(b, count), usages(b, value, count, layouts));
        b->variable_nodes[v] = node;
        b->makers[value->id] = (source){node, count, layouts};
    }
}

/* Units. */

static int32_t position_of(const builder *b, const col_node *node)
{
    return (int32_t)b->m.units->by_node[node->id];
}

/* A view needs its operand for as long as its own results are needed. */
static void find_last_uses(builder *b)
{
    const shard_model *m = &b->m;
    b->last_use = COL_NEW_ARRAY(m->arena, int32_t, m->graph->next_value_id);
    for (uint32_t i = 0; i < m->graph->next_value_id; i++) b->last_use[i] = -1;
    for (size_t i = 0; i < m->graph->outputs.len; i++)
        b->last_use[m->graph->outputs.data[i].value->id] = (int32_t)m->units->count;
    for (int32_t i = (int32_t)m->units->count - 1; i >= 0; i--) {
        const shard_unit *u = &m->by_unit[i];
        int32_t at = i;
        for (int w = 0; u->is_free && w < u->write_count; w++)
            at = COL_MAX(at, b->last_use[u->writes[w].value->id]);
        for (int r = 0; r < u->read_count; r++) {
            int32_t *last = &b->last_use[u->reads[r].value->id];
            *last = COL_MAX(*last, at);
        }
    }
}

/* Values with more than one user, and gradients, which plans are told apart by. Not parameters: a copy of one
 * in a further layout is made for each use, and does not wait for the backward pass (ZeRO-3). */
static bool wants_stop(const builder *b, const col_value *value)
{
    if (value->var && value->var->kind == COL_VAR_PARAM) return false;
    int32_t first = -1;
    bool several = col_value_is_output(b->m.graph, value), crosses = false;
    int32_t own = value->producer ? position_of(b, value->producer) : -1;
    COL_FOR_EACH_USE (use, value) {
        int32_t user = position_of(b, use->user);
        if (user == own) continue;
        if (first < 0) first = user;
        several |= user != first;
        crosses |= use->user->phase == COL_PHASE_UPDATE;
    }
    if (first < 0) return false;
    bool is_gradient = value->producer && value->producer->phase == COL_PHASE_BACKWARD && crosses;
    return several || is_gradient;
}

/* Pushes those that are not in the list yet. */
static void push_new(builder *b, id_list *list, int32_t count, const int32_t *ids)
{
    b->stamp++;
    for (size_t i = 0; i < list->len; i++) b->seen[list->data[i]] = b->stamp;
    for (int32_t k = 0; k < count; k++) {
        if (b->seen[ids[k]] == b->stamp) continue;
        b->seen[ids[k]] = b->stamp;
        col_vec_push(b->m.arena, list, ids[k]);
    }
}

static void add_stop_candidates(builder *b, const shard_unit *u, id_list *lists)
{
    for (int r = 0; r < u->read_count; r++)
        push_new(b, &lists[u->reads[r].value->id], u->count, u->reads[r].layouts);
}

/* A stop's layouts are those that its value is made in or wanted in. */
static void add_stop(builder *b, const col_value *value, id_list *wanted)
{
    const source *maker = &b->makers[value->id];
    id_list ids = {0};
    push_new(b, wanted, maker->count, maker->layouts);
    for (size_t i = 0; i < wanted->len; i++) {
        if (shard_stop_allowed(&b->m, value, &b->m.layouts.list.data[wanted->data[i]]))
            col_vec_push(b->m.arena, &ids, wanted->data[i]);
    }
    if (!ids.len) col_vec_push(b->m.arena, &ids, *b->whole);
    ids.data = shard_list(b->tables, (int32_t)ids.len, ids.data);
    int32_t count = (int32_t)ids.len, from = value->producer ? position_of(b, value->producer) : 0;
    int32_t node = add_node(b, count, from, b->last_use[value->id] + 1, zeros(b, count),
                            value->producer ? usages(b, value, count, ids.data) : zeros(b, count));
    add_edge(b, value, maker, node, ids.data,
             runs_of(b, value->producer ? value->producer->phase : COL_PHASE_FORWARD));
    b->stops[value->id] = (source){node, count, ids.data};
}

/* The further results of a unit lie in memory as its strategy says, but for other times: a node whose
 * strategies are the sizes that occur. */
static void add_follower(builder *b, int32_t unit, const shard_port *port, int32_t lower, int32_t upper)
{
    int32_t count = b->nodes.data[unit].strategies, sizes = 0;
    int64_t *own = usages(b, port->value, count, port->layouts);
    int64_t *usage = COL_NEW_ARRAY(b->m.arena, int64_t, count);
    int32_t *size_of = COL_NEW_ARRAY(b->m.arena, int32_t, count);
    for (int32_t p = 0; p < count; p++) {
        while (size_of[p] < sizes && usage[size_of[p]] != own[p]) size_of[p]++;
        usage[size_of[p]] = own[p];
        sizes = COL_MAX(sizes, size_of[p] + 1);
    }
    int32_t node = add_node(b, sizes, lower, upper, zeros(b, sizes), usage);
    int64_t *table = COL_NEW_ARRAY(b->m.arena, int64_t, (size_t)count * (size_t)sizes);
    for (int32_t p = 0; p < count; p++) {
        for (int32_t q = 0; q < sizes; q++)
            table[p * sizes + q] = q == size_of[p] ? 0 : COL_SHARDING_INFINITY;
    }
    if (sizes > 1) col_vec_push(b->m.arena, &b->edges, ((col_sharding_edge){unit, node, table}));
}

static void add_unit(builder *b, int32_t position)
{
    const shard_unit *u = &b->m.by_unit[position];
    int32_t unit = add_node(b, u->count, position, position + 1, u->cost, zeros(b, u->count));
    b->unit_nodes[position] = unit;
    for (int w = 0; w < u->write_count; w++) {
        const shard_port *port = &u->writes[w];
        b->makers[port->value->id] = (source){unit, u->count, port->layouts};
        if (u->is_free) continue;
        int32_t end = wants_stop(b, port->value) ? position + 1 : b->last_use[port->value->id] + 1;
        if (w == 0) {
            b->nodes.data[unit].usage = usages(b, port->value, u->count, port->layouts);
            b->nodes.data[unit].upper = COL_MAX(end, position + 1);
        } else if (col_type_bytes(port->value->type) >= 4096) {
            add_follower(b, unit, port, position, COL_MAX(end, position + 1));
        }
    }
}

static const source *source_of(const builder *b, const col_value *value)
{
    return b->stops[value->id].count ? &b->stops[value->id] : &b->makers[value->id];
}

static void add_edges_of(builder *b, int32_t position)
{
    const shard_unit *u = &b->m.by_unit[position];
    for (int r = 0; r < u->read_count; r++) {
        const col_value *value = u->reads[r].value;
        if (u->is_assign) {
            const char *name = col_node_text(u->unit->nodes[0], COL_ATTR_VARIABLE);
            uint32_t v = col_graph_find_var(b->m.graph, name)->index;
            add_edge(b, value, source_of(b, value), b->variable_nodes[v], b->m.variable_layouts[v],
                     runs_of(b, u->phase));
        } else {
            add_edge(b, value, source_of(b, value), b->unit_nodes[position], u->reads[r].layouts,
                     runs_of(b, u->phase));
        }
    }
}

static void add_outputs(builder *b)
{
    int32_t node = add_node(b, 1, 0, 0, zeros(b, 1), zeros(b, 1));
    for (size_t i = 0; i < b->m.graph->outputs.len; i++) {
        const col_value *value = b->m.graph->outputs.data[i].value;
        add_edge(b, value, source_of(b, value), node, b->whole, 1);
    }
}

/* Makes one of all equal lists of layouts. */
static void share_lists(builder *b)
{
    shard_model *m = &b->m;
    col_layout whole = col_layout_whole();
    int32_t id = shard_layout_id(&m->layouts, &whole);
    if (!b->tables) b->tables = shard_tables_create(m);
    b->seen = COL_NEW_ARRAY(m->arena, uint32_t, m->layouts.list.len);
    b->whole = shard_list(b->tables, 1, col_arena_copy(m->arena, &id, sizeof id));
    for (size_t v = 0; v < m->graph->vars.len; v++)
        m->variable_layouts[v] = shard_list(b->tables, m->variable_counts[v], m->variable_layouts[v]);
    for (uint32_t i = 0; i < m->units->count; i++) {
        shard_unit *u = &m->by_unit[i];
        if (u->is_assign) continue;
        for (int r = 0; r < u->read_count; r++)
            u->reads[r].layouts = shard_list(b->tables, u->count, u->reads[r].layouts);
        for (int w = 0; w < u->write_count; w++)
            u->writes[w].layouts = shard_list(b->tables, u->count, u->writes[w].layouts);
    }
}

static void build(builder *b)
{
    const shard_model *m = &b->m;
    share_lists(b);
    id_list *wanted = COL_NEW_ARRAY(m->arena, id_list, m->graph->next_value_id);
    b->makers = COL_NEW_ARRAY(m->arena, source, m->graph->next_value_id);
    b->stops = COL_NEW_ARRAY(m->arena, source, m->graph->next_value_id);
    b->unit_nodes = COL_NEW_ARRAY(m->arena, int32_t, m->units->count + 1);
    find_last_uses(b);
    add_variables(b);
    for (uint32_t i = 0; i < m->units->count; i++) {
        if (!m->by_unit[i].is_assign) add_unit(b, (int32_t)i);
        add_stop_candidates(b, &m->by_unit[i], wanted);
    }
    for (size_t v = 0; v < m->graph->vars.len; v++) {
        const col_value *value = m->graph->vars.data[v]->value;
        if (wants_stop(b, value)) add_stop(b, value, &wanted[value->id]);
    }
    for (uint32_t i = 0; i < m->units->count; i++) {
        const shard_unit *u = &m->by_unit[i];
        for (int w = 0; w < u->write_count; w++) {
            const col_value *value = u->writes[w].value;
            if (wants_stop(b, value)) add_stop(b, value, &wanted[value->id]);
        }
    }
    for (uint32_t i = 0; i < m->units->count; i++) add_edges_of(b, (int32_t)i);
    add_outputs(b);
}

/* The answer. */

static void take_answer(const builder *b, const int32_t *choice, col_sharding *out)
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
            out->seconds[i] = 1e-9 * (double)u->cost[choice[b->unit_nodes[i]]] / (double)runs_of(b, u->phase);
    }
    for (size_t v = 0; v < m->graph->vars.len; v++)
        out->variables[v] = layouts[m->variable_layouts[v][choice[b->variable_nodes[v]]]];
    for (uint32_t i = 0; i < m->graph->next_value_id; i++) {
        if (!b->stops[i].count) continue;
        out->stops[i] = layouts[b->stops[i].layouts[choice[b->stops[i].node]]];
        out->has_stop[i] = true;
    }
}

static void fill_report(const builder *b, const col_sharding_solution *solution, col_shard_report *report)
{
    *report = (col_shard_report){
        .status = solution->status,
        .objective = 1e-9 * (double)solution->objective,
        .bound = 1e-9 * (double)solution->bound,
        .gap = solution->gap,
        .seconds = solution->seconds,
        .peak = solution->peak,
        .least_memory = solution->least_memory,
        .variables = solution->variables,
        .rows = solution->rows,
        .nodes = (int32_t)b->nodes.len,
        .edges = (int32_t)b->edges.len,
    };
    for (size_t i = 0; i < b->nodes.len; i++) report->strategies += b->nodes.data[i].strategies;
}

static col_status judge(const builder *b, const col_sharding_solution *solution)
{
    int64_t limit = b->m.options->memory;
    if (solution->choice && (!limit || solution->peak <= limit)) return NULL;
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

/* Fills the report in also when there is no answer that fits. */
static col_status solve(builder *b, double seconds, col_sharding_solution *solution, col_shard_report *report)
{
    const col_shard_options *o = b->m.options;
    COL_TRY(shard_restrict(&b->m));
    build(b);
    col_sharding_problem problem = {.node_count = (int32_t)b->nodes.len,
                                    .edge_count = (int32_t)b->edges.len,
                                    .nodes = b->nodes.data,
                                    .edges = b->edges.data,
                                    .limit = o->memory ? o->memory : INT64_MAX / 4};
    col_sharding_limits limits = {
        .seconds = seconds, .gap = o->gap, .stall = o->stall, .threads = o->threads};
    COL_TRY(col_sharding_solve(b->m.arena, &problem, &limits, solution));
    fill_report(b, solution, report);
    return NULL;
}

/* Forced plans beside auto's. */

static bool fits(const builder *b, const col_sharding_solution *solution)
{
    int64_t limit = b->m.options->memory;
    return solution->choice && (!limit || solution->peak <= limit);
}

static col_shard_row make_row(const builder *b, const col_sharding_solution *solution)
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
        communication += (double)runs_of(b, u->phase) * shard_inner_reductions(&b->m, u, s);
    }
    row.seconds = 1e-9 * (double)solution->objective;
    row.communication = fmin(communication, row.seconds);
    row.compute = row.seconds - row.communication;
    return row;
}

/* A copy whose candidates may be taken away. Layouts keep their ids and all of them are known, so that tables
 * are shared. */
static builder copy_candidates(const builder *b, const col_shard_options *options)
{
    const shard_model *m = &b->m;
    builder c = {.m = *m, .tables = b->tables};
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

/* Solves for each forced plan. Where one beats `*solution`, it and `*best`, whose answer it is, become that
 * plan's. */
static col_status compare(builder *b, col_sharding_solution *solution, builder *best,
                          col_shard_report *report)
{
    report->plans[report->plan_count++] = make_row(b, solution);
    for (int kind = COL_PLAN_AUTO + 1; kind < COL_PLAN_COUNT; kind++) {
        col_shard_options *options = col_arena_copy(b->m.arena, b->m.options, sizeof *b->m.options);
        options->plan = (col_plan_kind)kind;
        builder c = copy_candidates(b, options);
        col_sharding_solution forced = {0};
        col_shard_report own;
        col_shard_row row = {.plan = options->plan, .status = COL_SOLVE_INFEASIBLE};
        col_status status = solve(&c, FORCED_SHARE * b->m.options->seconds, &forced, &own);
        if (col_error_code(status) == COL_BAD_INPUT) {
            row.reason = col_arena_strdup(b->m.arena, col_error_message(status));
            col_error_ignore(status);
            report->plans[report->plan_count++] = row;
            continue;
        }
        COL_TRY(status);
        report->plans[report->plan_count++] = row = make_row(&c, &forced);
        bool beats = !fits(best, solution) || forced.objective < solution->objective;
        if (!fits(&c, &forced) || !beats) continue;
        *best = c;
        *solution = forced;
        take_over(b->m.options, &forced, report);
        report->plans[0] = row;
        report->plans[0].plan = COL_PLAN_AUTO;
        report->plans[0].status = report->status;
    }
    return NULL;
}

col_status col_shard(const col_graph *graph, const col_shard_options *options, col_arena *arena,
                     col_sharding *out, col_shard_report *report)
{
    builder b = {.m = {.arena = arena, .graph = graph, .options = options, .layouts = {.arena = arena}}};
    b.m.units = col_units_of(graph, arena);
    shard_strategies(&b.m);
    list_variable_layouts(&b);
    col_sharding_solution solution;
    COL_TRY(solve(&b, options->seconds, &solution, report));
    builder best = b;
    bool compares = options->compare && options->plan == COL_PLAN_AUTO;
    if (compares && solution.status != COL_SOLVE_INFEASIBLE) COL_TRY(compare(&b, &solution, &best, report));
    COL_TRY(judge(&best, &solution));
    take_answer(&best, solution.choice, out);
    return NULL;
}
