/* The strategies of every unit: each mesh axis to one of its factors or to none. The layouts that variables
 * may have. */
#include "passes/shard_model.h"

#include <math.h>
#include <string.h>

#include "ir/view.h"
#include "ir/work.h"

/* The slot of the layout in the table, or the free one where it belongs. */
static size_t layout_slot(const shard_layouts *layouts, const col_layout *layout)
{
    size_t mask = layouts->table_size - 1, at = col_layout_hash(layout) & mask;
    while (layouts->table[at] >= 0 && !col_layout_equal(&layouts->list.data[layouts->table[at]], layout))
        at = (at + 1) & mask;
    return at;
}

static void grow_layouts(shard_layouts *layouts)
{
    layouts->table_size = layouts->table_size ? 2 * layouts->table_size : 1 << 12;
    layouts->table = COL_NEW_ARRAY(layouts->arena, int32_t, layouts->table_size);
    memset(layouts->table, -1, sizeof *layouts->table * layouts->table_size);
    for (size_t i = 0; i < layouts->list.len; i++)
        layouts->table[layout_slot(layouts, &layouts->list.data[i])] = (int32_t)i;
}

int32_t shard_layout_id(shard_layouts *layouts, const col_layout *layout)
{
    if (layouts->list.len >= layouts->table_size / 2) grow_layouts(layouts);
    int32_t *id = &layouts->table[layout_slot(layouts, layout)];
    if (*id < 0) {
        *id = (int32_t)layouts->list.len;
        col_vec_push(layouts->arena, &layouts->list, *layout);
    }
    return *id;
}

/* What a unit touches. */

static bool is_outside(const shard_model *m, const shard_unit *u, const col_value *value)
{
    return !value->producer || &m->by_unit[m->units->by_node[value->producer->id]] != u;
}

static void find_uses(shard_model *m)
{
    m->uses = COL_NEW_ARRAY(m->arena, uint8_t, m->graph->next_value_id);
    for (size_t i = 0; i < m->graph->outputs.len; i++)
        m->uses[m->graph->outputs.data[i].value->id] = SHARD_USED_OUTSIDE;
    COL_FOR_EACH_NODE (node, m->graph) {
        for (uint32_t i = 0; i < node->operand_count; i++) {
            const col_value *value = col_node_operand(node, i);
            bool inside =
                value->producer && m->units->by_node[value->producer->id] == m->units->by_node[node->id];
            m->uses[value->id] |= inside ? SHARD_USED_INSIDE : SHARD_USED_OUTSIDE;
        }
    }
}

static void find_ports(shard_model *m, shard_unit *u)
{
    COL_VEC(shard_port) reads = {0}, writes = {0};
    for (uint32_t n = 0; n < u->unit->node_count; n++) {
        const col_node *node = u->unit->nodes[n];
        for (uint32_t i = 0; i < node->operand_count; i++) {
            const col_value *value = col_node_operand(node, i);
            if (is_outside(m, u, value))
                col_vec_push(m->arena, &reads, ((shard_port){.value = value, .node = node, .operand = i}));
        }
        for (uint32_t i = 0; i < node->result_count; i++) {
            if (m->uses[node->results[i].id] & SHARD_USED_OUTSIDE)
                col_vec_push(m->arena, &writes, ((shard_port){.value = &node->results[i]}));
        }
    }
    for (size_t i = 0; i < reads.len; i++) {
        int *same = &reads.data[i].same;
        while (reads.data[*same].value != reads.data[i].value) (*same)++;
    }
    u->reads = reads.data;
    u->read_count = (int)reads.len;
    u->writes = writes.data;
    u->write_count = (int)writes.len;
}

/* Costs. */

static double local_bytes(const shard_model *m, const col_value *value, const col_layout *layout)
{
    const col_type *type = &value->type;
    int64_t dims[COL_MAX_RANK];
    double bytes = (double)col_dtype_size(type->dtype);
    col_layout_local(layout, &m->options->mesh, type->shape.rank, type->shape.dims, dims);
    for (int d = 0; d < type->shape.rank; d++) bytes *= (double)dims[d];
    return bytes;
}

static double all_reduce_seconds(const shard_model *m, const col_axes *axes, double bytes)
{
    return col_cost_collective(m->options->machine, &m->options->mesh, COL_ALL_REDUCE, axes, bytes);
}

enum { MOST_PENDING = 8, MOST_CUTS = 8, ALL_PORTS = 64 };

/* What a strategy combines inside a unit: reductions over split factors whose result something in the unit reads. */
typedef struct inner_work {
    double seconds; /* of one run */
    int cuts;       /* places where the unit waits for some of them: it runs as one kernel more than that */
    uint64_t ports[MOST_CUTS]; /* reads, as bits, that what is combined at the cut is computed from */
} inner_work;

/* A walk over the nodes of a unit. */
typedef struct inner_walk {
    const col_value *pending[MOST_PENDING]; /* combined, and not read yet */
    int count, port;
    uint32_t summed; /* axes of the last sum among them */
    uint64_t *
        ports; /* by place of a node in its unit: reads that its results are computed from, since the last cut */
} inner_walk;

/* Whether the node reads what is pending; notes what its results are computed from. */
static bool inner_wait(const shard_model *m, const shard_unit *u, inner_walk *walk, uint32_t place)
{
    const col_node *node = u->unit->nodes[place];
    bool waits = false;
    walk->ports[place] = 0;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *value = col_node_operand(node, i);
        bool is_pending = false;
        for (int k = 0; k < walk->count; k++) is_pending |= value == walk->pending[k];
        waits |= is_pending;
        if (is_outside(m, u, value)) {
            walk->ports[place] |= walk->port < ALL_PORTS ? UINT64_C(1) << walk->port : 0;
            walk->port++;
        } else if (!is_pending) {
            walk->ports[place] |= walk->ports[m->place[value->producer->id]];
        }
    }
    return waits;
}

static void inner_cut(const shard_model *m, inner_work *work, inner_walk *walk)
{
    uint64_t ports = 0;
    for (int k = 0; k < walk->count; k++) {
        uint64_t *own = &walk->ports[m->place[walk->pending[k]->producer->id]];
        ports |= *own;
        *own = 0;
    }
    if (work->cuts < MOST_CUTS) work->ports[work->cuts++] = ports;
    walk->count = 0;
}

/* Sums over the same axes become one all-reduce, unless something reads the one before the other (passes/bucket.c). */
static inner_work inner_reductions(const shard_model *m, const shard_unit *u, const col_strategy *s)
{
    inner_work work = {0};
    inner_walk walk = {.ports = u->ports};
    for (uint32_t n = 0; n < u->unit->node_count; n++) {
        const col_node *node = u->unit->nodes[n];
        if (inner_wait(m, u, &walk, n)) inner_cut(m, &work, &walk);
        for (uint32_t i = 0; i < node->result_count; i++) {
            const col_value *value = &node->results[i];
            col_op kind = COL_OP_SUM;
            uint32_t mask = col_factors_reduced_axes(u->factors, s, value, &kind);
            if (!mask || (kind == COL_OP_SUM && !(m->uses[value->id] & SHARD_USED_INSIDE))) continue;
            col_axes axes = {0};
            for (int a = 0; a < m->options->mesh.rank; a++) {
                if (mask >> a & 1) axes.axis[axes.count++] = (uint8_t)a;
            }
            col_layout layout = col_factors_result_layout(u->factors, s, value);
            double bytes = local_bytes(m, value, &layout);
            work.seconds += all_reduce_seconds(m, &axes, bytes);
            bool joins = walk.count && kind == COL_OP_SUM && mask == walk.summed && bytes < COL_BUCKET_LARGE;
            if (joins) work.seconds -= all_reduce_seconds(m, &axes, 0);
            if (kind == COL_OP_SUM) walk.summed = mask;
            if (walk.count < MOST_PENDING) walk.pending[walk.count++] = value;
        }
    }
    return work;
}

/* Whether a port before it reads the same part of the same value: a kernel reads it once. */
static bool reads_again(const shard_unit *u, const col_strategy *s, int i, const col_layout *layout)
{
    const shard_port *first = &u->reads[u->reads[i].same];
    if (u->reads[i].same == i) return false;
    col_layout other = col_factors_operand_layout(u->factors, s, first->node, first->operand);
    return col_layout_equal(&other, layout);
}

/* Of its own work, as one kernel that reads what the unit reads, and one for each cut. */
static double unit_seconds(const shard_model *m, const shard_unit *u, const col_strategy *s,
                           const inner_work *within)
{
    if (u->is_free) return 0;
    double flops = 0, bytes = 0, overhead = within->cuts * m->options->machine->overhead;
    for (uint32_t n = 0; n < u->unit->node_count; n++) {
        const col_node *node = u->unit->nodes[n];
        flops += col_node_work(node).flops * col_factors_share(u->factors, s, &m->options->mesh, node);
    }
    for (int i = 0; i < u->read_count; i++) {
        col_layout layout = col_factors_operand_layout(u->factors, s, u->reads[i].node, u->reads[i].operand);
        if (reads_again(u, s, i, &layout)) continue;
        int times = 1;
        for (int k = 0; k < within->cuts && i < ALL_PORTS; k++) times += within->ports[k] >> i & 1;
        bytes += times * local_bytes(m, u->reads[i].value, &layout);
    }
    for (int i = 0; i < u->write_count; i++) {
        col_layout layout = col_factors_result_layout(u->factors, s, u->writes[i].value);
        bytes += local_bytes(m, u->writes[i].value, &layout);
    }
    return overhead + col_cost_seconds(m->options->machine,
                                       col_cost_class_of(col_node_work(u->unit->nodes[0]).kind), flops,
                                       bytes);
}

/* Enumeration. */

static col_layout delivered_layout(const shard_model *m, const shard_unit *u, const col_strategy *s,
                                   const col_value *value)
{
    col_layout layout = col_factors_result_layout(u->factors, s, value);
    if (m->uses[value->id] & SHARD_USED_INSIDE) layout.partial = 0;
    return layout;
}

/* Writes the layouts of all ports, reads first. */
static void port_layouts(shard_model *m, const shard_unit *u, const col_strategy *s, int32_t *out)
{
    for (int i = 0; i < u->read_count; i++) {
        col_layout layout = col_factors_operand_layout(u->factors, s, u->reads[i].node, u->reads[i].operand);
        *out++ = shard_layout_id(&m->layouts, &layout);
    }
    for (int i = 0; i < u->write_count; i++) {
        col_layout layout = delivered_layout(m, u, s, u->writes[i].value);
        *out++ = shard_layout_id(&m->layouts, &layout);
    }
}

typedef struct found {
    col_strategy strategy;
    int64_t cost, inner;
    int32_t *layouts;
} found;

enum {
    MOST_FACTORS = 32,
    MOST_STRATEGIES = 1500, /* (factors + 1)^axes, before orders */
};

typedef struct enumeration {
    shard_model *m;
    shard_unit *u;
    int factors[MOST_FACTORS], factor_count; /* that can be split at all */
    int ports;
    COL_VEC(found *) list;
    col_map *known; /* the same, by layouts */
} enumeration;

/* Among strategies with the same layouts everywhere only the cheapest is kept. */
static void consider(enumeration *e, const col_strategy *s)
{
    shard_model *m = e->m;
    if (!col_strategy_is_valid(e->u->factors, s, &m->options->mesh)) return;
    int32_t *layouts = COL_NEW_ARRAY(m->arena, int32_t, e->ports + 1);
    port_layouts(m, e->u, s, layouts);
    int64_t runs = e->u->phase == COL_PHASE_UPDATE ? 1 : m->options->accumulate;
    inner_work within = inner_reductions(m, e->u, s);
    int64_t cost = runs * shard_nanoseconds(unit_seconds(m, e->u, s, &within) + within.seconds),
            inner = runs * shard_nanoseconds(within.seconds);
    size_t size = sizeof *layouts * (size_t)e->ports;
    found *other = col_map_get_bytes(e->known, layouts, size);
    if (!other) {
        other = COL_NEW(m->arena, found);
        *other = (found){*s, cost, inner, layouts};
        col_map_set_bytes(e->known, layouts, size, other);
        col_vec_push(m->arena, &e->list, other);
    } else if (cost < other->cost) {
        *other = (found){*s, cost, inner, other->layouts};
    }
}

static bool shares_factor(const col_strategy *s, int rank)
{
    for (int a = 0; a < rank; a++) {
        for (int b = 0; b < a; b++) {
            if (s->factor[a] >= 0 && s->factor[a] == s->factor[b]) return true;
        }
    }
    return false;
}

static void enumerate(enumeration *e, col_strategy *s, int axis)
{
    int rank = e->m->options->mesh.rank;
    if (axis == rank) {
        consider(e, s);
        if (!shares_factor(s, rank)) return;
        /* Blocks of blocks, the other way round: what a tensor that is split already needs. */
        col_strategy reversed = *s;
        for (int a = 0; a < rank; a++) reversed.order[a] = (uint8_t)(rank - 1 - a);
        consider(e, &reversed);
        return;
    }
    s->factor[axis] = -1;
    enumerate(e, s, axis + 1);
    if (e->m->options->mesh.dims[axis] == 1) return;
    for (int i = 0; i < e->factor_count; i++) {
        if (!col_factors_splits(e->u->factors, e->factors[i], e->m->options->mesh.dims[axis])) continue;
        s->factor[axis] = (int8_t)e->factors[i];
        enumerate(e, s, axis + 1);
    }
    s->factor[axis] = -1;
}

/* Takes the strategies of a unit that is the same but for its place. */
static void copy_strategies(shard_model *m, shard_unit *u, const shard_unit *same)
{
    size_t count = (size_t)same->count;
    COL_ASSERT(u->read_count == same->read_count && u->write_count == same->write_count);
    u->count = same->count;
    u->strategies = col_arena_copy(m->arena, same->strategies, sizeof *u->strategies * count);
    u->cost = col_arena_copy(m->arena, same->cost, sizeof *u->cost * count);
    u->inner = col_arena_copy(m->arena, same->inner, sizeof *u->inner * count);
    for (int i = 0; i < u->read_count; i++) {
        u->reads[i].layouts =
            col_arena_copy(m->arena, same->reads[i].layouts, sizeof *u->reads[i].layouts * count);
    }
    for (int i = 0; i < u->write_count; i++) {
        u->writes[i].layouts =
            col_arena_copy(m->arena, same->writes[i].layouts, sizeof *u->writes[i].layouts * count);
    }
}

/* Bytes of the values that the factor is a dimension of. */
static int64_t factor_weight(const shard_unit *u, int factor)
{
    int64_t weight = 0;
    for (int i = 0; i < u->read_count + u->write_count; i++) {
        const col_value *value = (i < u->read_count ? &u->reads[i] : &u->writes[i - u->read_count])->value;
        for (int d = 0; d < value->type.shape.rank; d++)
            if (col_factors_of_dim(u->factors, value, d) == factor)
                weight += (int64_t)col_type_bytes(value->type);
    }
    return weight;
}

/* The factors that some axis splits. Where many tensors are summed in one kernel, as for the norm of all
 * gradients, each has factors of its own, and a strategy can split two or three of them: then those of the
 * largest tensors are taken, as many as MOST_STRATEGIES allows. */
static void list_factors(enumeration *e)
{
    const col_mesh *mesh = &e->m->options->mesh;
    int64_t weights[MOST_FACTORS], most = 1;
    while (most < MOST_FACTORS && pow((double)most + 2, mesh->rank) <= MOST_STRATEGIES) most++;
    for (int f = 0; f < col_factors_count(e->u->factors); f++) {
        bool splits = false;
        for (int a = 0; a < mesh->rank; a++) splits |= col_factors_splits(e->u->factors, f, mesh->dims[a]);
        if (!splits || col_factors_size(e->u->factors, f) <= 1) continue;
        int64_t weight = factor_weight(e->u, f);
        int at = e->factor_count;
        while (at > 0 && weights[at - 1] < weight) at--;
        if (at == most) continue;
        e->factor_count = COL_MIN(e->factor_count + 1, (int)most);
        for (int i = e->factor_count - 1; i > at; i--) {
            weights[i] = weights[i - 1];
            e->factors[i] = e->factors[i - 1];
        }
        weights[at] = weight;
        e->factors[at] = f;
    }
}

static void enumerate_unit(shard_model *m, shard_unit *u)
{
    u->ports = COL_NEW_ARRAY(m->arena, uint64_t, u->unit->node_count);
    for (uint32_t n = 0; n < u->unit->node_count; n++) m->place[u->unit->nodes[n]->id] = n;
    enumeration e = {
        .m = m, .u = u, .ports = u->read_count + u->write_count, .known = col_map_create(m->arena)};
    list_factors(&e);
    col_strategy s = col_strategy_replicated();
    enumerate(&e, &s, 0);
    u->count = (int)e.list.len;
    u->strategies = COL_NEW_ARRAY(m->arena, col_strategy, e.list.len);
    u->cost = COL_NEW_ARRAY(m->arena, int64_t, e.list.len);
    u->inner = COL_NEW_ARRAY(m->arena, int64_t, e.list.len);
    for (int p = 0; p < e.ports; p++) {
        shard_port *port = p < u->read_count ? &u->reads[p] : &u->writes[p - u->read_count];
        port->layouts = COL_NEW_ARRAY(m->arena, int32_t, e.list.len);
        for (int k = 0; k < u->count; k++) port->layouts[k] = e.list.data[k]->layouts[p];
    }
    for (int k = 0; k < u->count; k++) {
        u->strategies[k] = e.list.data[k]->strategy;
        u->cost[k] = e.list.data[k]->cost;
        u->inner[k] = e.list.data[k]->inner;
    }
}

static bool needs_no_instruction(const col_unit *unit)
{
    const col_node *node = unit->nodes[0];
    if (unit->node_count > 1 || col_op_info_of(node->op)->op_class != COL_CLASS_VIEW) return false;
    for (uint32_t i = 0; i < node->result_count; i++) {
        if (!col_value_is_virtual(&node->results[i])) return false;
    }
    return true;
}

void shard_strategies(shard_model *m)
{
    m->by_unit = COL_NEW_ARRAY(m->arena, shard_unit, m->units->count);
    for (uint32_t i = 0; i < m->units->count; i++) {
        shard_unit *u = &m->by_unit[i];
        u->unit = &m->units->units[i];
        u->phase = u->unit->nodes[u->unit->node_count - 1]->phase;
        u->is_assign = u->unit->nodes[0]->op == COL_OP_ASSIGN;
        u->is_free = needs_no_instruction(u->unit);
        u->factors = col_factors_of((const col_node *const *)u->unit->nodes, u->unit->node_count, m->arena);
    }
    find_uses(m);
    m->place = COL_NEW_ARRAY(m->arena, uint32_t, m->graph->next_node_id);
    col_map *described = col_map_create(m->arena);
    for (uint32_t i = 0; i < m->units->count; i++) {
        shard_unit *u = &m->by_unit[i];
        find_ports(m, u);
        if (u->is_assign) continue;
        size_t size;
        const void *description = shard_describe_unit(m, u, &size);
        const shard_unit *same = col_map_get_bytes(described, description, size);
        if (same) {
            copy_strategies(m, u, same);
            continue;
        }
        enumerate_unit(m, u);
        col_map_set_bytes(described, description, size, u);
    }
}

/* Variables. */

typedef COL_VEC(int32_t) id_list;

static void push_once(shard_model *m, id_list *list, int32_t id)
{
    for (size_t i = 0; i < list->len; i++) {
        if (list->data[i] == id) return;
    }
    col_vec_push(m->arena, list, id);
}

/* All layouts that fit: the axes, taken in the order given, each to a dimension or to none. */
static void add_layouts(shard_model *m, const col_var *var, col_layout *layout, int axis, bool backwards,
                        id_list *out)
{
    const col_mesh *mesh = &m->options->mesh;
    if (axis == mesh->rank) {
        push_once(m, out, shard_layout_id(&m->layouts, layout));
        return;
    }
    int own = backwards ? mesh->rank - 1 - axis : axis;
    add_layouts(m, var, layout, axis + 1, backwards, out);
    if (mesh->dims[own] == 1) return;
    for (int d = 0; d < var->type.shape.rank; d++) {
        col_layout_push(layout, d, own);
        if (col_layout_fits(layout, mesh, var->type.shape.rank, var->type.shape.dims))
            add_layouts(m, var, layout, axis + 1, backwards, out);
        col_layout_pop(layout, d);
    }
}

void shard_variable_layouts(shard_model *m)
{
    m->variable_layouts = COL_NEW_ARRAY(m->arena, int32_t *, m->graph->vars.len);
    m->variable_counts = COL_NEW_ARRAY(m->arena, int, m->graph->vars.len);
    for (size_t v = 0; v < m->graph->vars.len; v++) {
        const col_var *var = m->graph->vars.data[v];
        const col_layout *settled = m->options->settled ? col_map_get(m->options->settled, var->name) : NULL;
        id_list ids = {0};
        col_layout layout = col_layout_whole();
        if (settled) {
            push_once(m, &ids, shard_layout_id(&m->layouts, settled));
        } else {
            add_layouts(m, var, &layout, 0, false, &ids);
            add_layouts(m, var, &layout, 0, true, &ids);
        }
        m->variable_layouts[v] = ids.data;
        m->variable_counts[v] = (int)ids.len;
    }
}
