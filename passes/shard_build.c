/* The sharding problem of a model: nodes, edges and live ranges, as passes/shard.h has them. */
#include "passes/shard_model.h"

#include <string.h>

typedef COL_VEC(int32_t) id_list;

int64_t shard_runs(const shard_model *m, col_phase phase)
{
    return phase == COL_PHASE_UPDATE ? 1 : m->options->accumulate;
}

static int32_t add_node(shard_problem *b, shard_node stands_for, int32_t count, int32_t lower, int32_t upper,
                        const int64_t *cost, const int64_t *usage)
{
    col_vec_push(b->m.arena, &b->nodes, ((col_sharding_node){count, lower, upper, cost, usage}));
    col_vec_push(b->m.arena, &b->stands_for, stands_for);
    return (int32_t)b->nodes.len - 1;
}

/* `hides`: the phase that can hide what the edge costs. `joined`: of such edges, whose all-reduces become one. */
static void add_joined_edge(shard_problem *b, const col_value *value, const shard_source *from, int32_t node,
                            const int32_t *layouts, int64_t runs, int hides, int64_t joined)
{
    const shard_table *table = shard_table_of(b->tables, &value->type, from->count, from->layouts,
                                              b->nodes.data[node].strategies, layouts, runs, joined);
    if (table->is_free) return;
    col_vec_push(b->m.arena, &b->edges, ((col_sharding_edge){from->node, node, table->cost}));
    col_vec_push(b->m.arena, &b->hides, (int8_t)hides);
}

static void add_edge(shard_problem *b, const col_value *value, const shard_source *from, int32_t node,
                     const int32_t *layouts, int64_t runs, int hides)
{
    add_joined_edge(b, value, from, node, layouts, runs, hides, 1);
}

/* Bytes on one device under each layout. */
static int64_t *usages(shard_problem *b, const col_value *value, int32_t count, const int32_t *layouts)
{
    int64_t *usage = COL_NEW_ARRAY(b->m.arena, int64_t, count + 1);
    for (int32_t k = 0; k < count; k++) {
        int64_t dims[COL_MAX_RANK], bytes = (int64_t)col_dtype_size(value->type.dtype);
        col_layout_local(&b->m.layouts.list.data[layouts[k]], &b->m.options->mesh, value->type.shape.rank,
                         value->type.shape.dims, dims);
        for (int d = 0; d < value->type.shape.rank; d++) bytes *= dims[d];
        usage[k] = col_plan_padded(bytes);
    }
    return usage;
}

static int64_t *zeros(shard_problem *b, int32_t count)
{
    return COL_NEW_ARRAY(b->m.arena, int64_t, count + 1);
}

static void add_variables(shard_problem *b)
{
    shard_model *m = &b->m;
    int32_t end = (int32_t)m->units->count + 1;
    b->variable_nodes = COL_NEW_ARRAY(m->arena, int32_t, m->graph->vars.len + 1);
    for (size_t v = 0; v < m->graph->vars.len; v++) {
        const col_value *value = m->graph->vars.data[v]->value;
        int32_t count = m->variable_counts[v], *layouts = m->variable_layouts[v];
        int32_t node = add_node(b, (shard_node){SHARD_VARIABLE, -1, layouts}, count, 0, end, zeros(b, count),
                                usages(b, value, count, layouts));
        b->variable_nodes[v] = node;
        b->makers[value->id] = (shard_source){node, count, layouts};
    }
}

/* Units. */

static int32_t position_of(const shard_problem *b, const col_node *node)
{
    return (int32_t)b->m.units->by_node[node->id];
}

/* A view needs its operand for as long as its own results are needed. */
static void find_last_uses(shard_problem *b)
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

/* Whether the backward pass makes the value for the update. */
static bool is_gradient(const col_value *value)
{
    if (!value->producer || value->producer->phase != COL_PHASE_BACKWARD) return false;
    COL_FOR_EACH_USE (use, value) {
        if (use->user->phase == COL_PHASE_UPDATE) return true;
    }
    return false;
}

/* Values with more than one user, and gradients, which plans are told apart by. Not parameters: a copy of one
 * in a further layout is made for each use, and does not wait for the backward pass (ZeRO-3). */
static bool wants_stop(const shard_problem *b, const col_value *value)
{
    if (value->var && value->var->kind == COL_VAR_PARAM) return false;
    int32_t first = -1;
    bool several = col_value_is_output(b->m.graph, value);
    int32_t own = value->producer ? position_of(b, value->producer) : -1;
    COL_FOR_EACH_USE (use, value) {
        int32_t user = position_of(b, use->user);
        if (user == own) continue;
        if (first < 0) first = user;
        several |= user != first;
    }
    return first >= 0 && (several || is_gradient(value));
}

/* A gradient that only the update waits for: its reduction can run while backward goes on. */
static bool is_awaited_gradient(const shard_problem *b, const col_value *value)
{
    if (!value->producer || value->producer->phase != COL_PHASE_BACKWARD) return false;
    bool any = false;
    COL_FOR_EACH_USE (use, value) {
        if (use->user->phase == COL_PHASE_UPDATE)
            any = true;
        else if (position_of(b, use->user) != position_of(b, value->producer))
            return false;
    }
    return any;
}

/* How many all-reduces of gradients become one: nothing reads them before all are there. */
static int64_t count_joined(const shard_problem *b)
{
    int64_t count = 0;
    COL_FOR_EACH_NODE (node, b->m.graph) {
        for (uint32_t i = 0; i < node->result_count; i++) {
            const col_value *value = &node->results[i];
            count += col_type_bytes(value->type) < COL_BUCKET_LARGE && is_awaited_gradient(b, value);
        }
    }
    return COL_MAX(COL_MIN(count, (int64_t)COL_BUCKET_MEMBERS), 1);
}

/* Parameters are there from the start of a step: a copy in a further layout can be made while others compute.
 */
static bool can_prefetch(const col_value *value, const shard_unit *u)
{
    return value->var && value->var->kind == COL_VAR_PARAM && u->phase != COL_PHASE_UPDATE;
}

/* Pushes those that are not in the list yet. */
static void push_new(shard_problem *b, id_list *list, int32_t count, const int32_t *ids)
{
    b->stamp++;
    for (size_t i = 0; i < list->len; i++) b->seen[list->data[i]] = b->stamp;
    for (int32_t k = 0; k < count; k++) {
        if (b->seen[ids[k]] == b->stamp) continue;
        b->seen[ids[k]] = b->stamp;
        col_vec_push(b->m.arena, list, ids[k]);
    }
}

static void add_stop_candidates(shard_problem *b, const shard_unit *u, id_list *lists)
{
    for (int r = 0; r < u->read_count; r++)
        push_new(b, &lists[u->reads[r].value->id], u->count, u->reads[r].layouts);
}

/* A stop's layouts are those that its value is made in or wanted in. */
static void add_stop(shard_problem *b, const col_value *value, id_list *wanted)
{
    const shard_source *maker = &b->makers[value->id];
    id_list ids = {0};
    push_new(b, wanted, maker->count, maker->layouts);
    for (size_t i = 0; i < wanted->len; i++) col_vec_push(b->m.arena, &ids, wanted->data[i]);
    if (is_gradient(value)) ids.len = (size_t)shard_restrict_gradient(&b->m, value, (int)ids.len, ids.data);
    if (!ids.len) col_vec_push(b->m.arena, &ids, *b->whole);
    ids.data = shard_list(b->tables, (int32_t)ids.len, ids.data);
    int32_t count = (int32_t)ids.len, from = value->producer ? position_of(b, value->producer) : 0;
    int32_t node =
        add_node(b, (shard_node){SHARD_STOP, -1, ids.data}, count, from, b->last_use[value->id] + 1,
                 zeros(b, count), value->producer ? usages(b, value, count, ids.data) : zeros(b, count));
    bool awaited = is_awaited_gradient(b, value);
    add_joined_edge(b, value, maker, node, ids.data,
                    shard_runs(&b->m, value->producer ? value->producer->phase : COL_PHASE_FORWARD),
                    awaited ? COL_PHASE_BACKWARD : SHARD_BLOCKS, awaited ? b->joined : 1);
    b->stops[value->id] = (shard_source){node, count, ids.data};
}

/* The further results of a unit lie in memory as its strategy says, but for other times: a node whose
 * strategies are the sizes that occur. */
static void add_follower(shard_problem *b, int32_t unit, const shard_port *port, int32_t lower, int32_t upper)
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
    int32_t node =
        add_node(b, (shard_node){SHARD_FOLLOWER, -1, NULL}, sizes, lower, upper, zeros(b, sizes), usage);
    int64_t *table = COL_NEW_ARRAY(b->m.arena, int64_t, (size_t)count * (size_t)sizes);
    for (int32_t p = 0; p < count; p++) {
        for (int32_t q = 0; q < sizes; q++)
            table[p * sizes + q] = q == size_of[p] ? 0 : COL_SHARDING_INFINITY;
    }
    if (sizes == 1) return;
    col_vec_push(b->m.arena, &b->edges, ((col_sharding_edge){unit, node, table}));
    col_vec_push(b->m.arena, &b->hides, SHARD_BLOCKS);
}

static void add_unit(shard_problem *b, int32_t position)
{
    const shard_unit *u = &b->m.by_unit[position];
    int32_t unit = add_node(b, (shard_node){SHARD_UNIT, position, NULL}, u->count, position, position + 1,
                            u->cost, zeros(b, u->count));
    b->unit_nodes[position] = unit;
    for (int w = 0; w < u->write_count; w++) {
        const shard_port *port = &u->writes[w];
        b->makers[port->value->id] = (shard_source){unit, u->count, port->layouts};
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

static const shard_source *source_of(const shard_problem *b, const col_value *value)
{
    return b->stops[value->id].count ? &b->stops[value->id] : &b->makers[value->id];
}

static void add_edges_of(shard_problem *b, int32_t position)
{
    const shard_unit *u = &b->m.by_unit[position];
    for (int r = 0; r < u->read_count; r++) {
        const col_value *value = u->reads[r].value;
        if (u->is_assign) {
            const char *name = col_node_text(u->unit->nodes[0], COL_ATTR_VARIABLE);
            uint32_t v = col_graph_find_var(b->m.graph, name)->index;
            add_edge(b, value, source_of(b, value), b->variable_nodes[v], b->m.variable_layouts[v],
                     shard_runs(&b->m, u->phase), SHARD_BLOCKS);
        } else {
            add_edge(b, value, source_of(b, value), b->unit_nodes[position], u->reads[r].layouts,
                     shard_runs(&b->m, u->phase), can_prefetch(value, u) ? (int)u->phase : SHARD_BLOCKS);
        }
    }
}

static void add_outputs(shard_problem *b)
{
    int32_t node = add_node(b, (shard_node){SHARD_OUTPUTS, -1, NULL}, 1, 0, 0, zeros(b, 1), zeros(b, 1));
    for (size_t i = 0; i < b->m.graph->outputs.len; i++) {
        const col_value *value = b->m.graph->outputs.data[i].value;
        add_edge(b, value, source_of(b, value), node, b->whole, 1, SHARD_BLOCKS);
    }
}

/* Makes one of all equal lists of layouts. */
static void share_lists(shard_problem *b)
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

void shard_build(shard_problem *b)
{
    const shard_model *m = &b->m;
    share_lists(b);
    id_list *wanted = COL_NEW_ARRAY(m->arena, id_list, m->graph->next_value_id);
    b->makers = COL_NEW_ARRAY(m->arena, shard_source, m->graph->next_value_id);
    b->stops = COL_NEW_ARRAY(m->arena, shard_source, m->graph->next_value_id);
    b->unit_nodes = COL_NEW_ARRAY(m->arena, int32_t, m->units->count + 1);
    find_last_uses(b);
    b->joined = count_joined(b);
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
