/* Rebuilds a graph with the shapes of one rank.
 *
 * needs     lower, and a sharding whose strategies are valid for the factors of its units
 * provides  a graph with a mesh: the same for every rank, without composites, groups to be made anew
 *
 * Units are taken in order. Every value has its forms in the new graph, one for each layout that something
 * wanted: the first is as its maker gives it, and each further one is made by the steps of a resharding path
 * (passes/reshard.h) right before the unit that wants it first, in that unit's phase. Between the maker's
 * layout and any other lies the value's stop, if it has one, so that users share what they have in common.
 * The first form and the stop wait for all users; any other is made anew in each phase, since the solver
 * counts no memory for what would wait from the forward to the backward pass.
 *
 * A result that was reduced over a split factor is one rank's part. Sums stay so where they leave their unit,
 * with a partial layout; a maximum, a minimum, or what another node of the same unit reads, is combined at
 * once. */
#include "passes/partition.h"

#include "ir/builder.h"
#include "passes/shard_log.h"

/* A value of the old graph in one layout. */
typedef struct form {
    col_layout layout;
    col_value *value;
    col_phase phase; /* that it is made in */
} form;

typedef COL_VEC(form) form_list;

typedef struct partitioner {
    const col_sharding *sharding;
    col_graph *graph; /* the new one */
    col_arena *scratch;
    col_builder b;
    form_list *forms; /* by id of the old value; the first is the maker's */
    col_var *coordinate;
    col_shard_log *log;            /* NULL: none is wanted */
    col_reshard_steps steps;       /* inserted for the value that is being brought to a user */
    col_reshard_steps *stop_steps; /* by id of the old value: that led to its stop, for the first user that is
                                      not content with the maker's layout */
} partitioner;

/* Without the axes of one rank: of two such layouts, equal ones are the same, and no step is about those
 * axes. */
static col_layout without_narrow_axes(const partitioner *p, const col_layout *layout)
{
    const col_mesh *mesh = &p->sharding->mesh;
    col_layout wide = {0};
    for (int d = 0; d < COL_MAX_RANK; d++) {
        for (int i = 0; i < layout->split[d].count; i++) {
            if (mesh->dims[layout->split[d].axis[i]] > 1) col_layout_push(&wide, d, layout->split[d].axis[i]);
        }
    }
    for (int a = 0; a < mesh->rank; a++) {
        if (mesh->dims[a] > 1) wide.partial = (uint8_t)(wide.partial | (layout->partial & 1u << a));
    }
    return wide;
}

static col_shape local_shape(const partitioner *p, col_shape whole, const col_layout *layout)
{
    const col_mesh *mesh = &p->sharding->mesh;
    COL_ASSERT(col_layout_fits(layout, mesh, whole.rank, whole.dims));
    col_layout_local(layout, mesh, whole.rank, whole.dims, whole.dims);
    return whole;
}

static form *find_form(const partitioner *p, const col_value *value, const col_layout *layout)
{
    form_list *forms = &p->forms[value->id];
    bool waits = false;
    if (p->sharding->has_stop[value->id]) {
        col_layout stop = without_narrow_axes(p, &p->sharding->stops[value->id]);
        waits = col_layout_equal(&stop, layout);
    }
    for (size_t i = 0; i < forms->len; i++) {
        form *f = &forms->data[i];
        if (col_layout_equal(&f->layout, layout) && (!i || waits || f->phase == p->b.phase)) return f;
    }
    return NULL;
}

static void add_form(partitioner *p, const col_value *value, const col_layout *layout, col_value *local)
{
    COL_ASSERT(local->type.dtype == value->type.dtype &&
               col_shape_equal(local->type.shape, local_shape(p, value->type.shape, layout)));
    form made = {*layout, local, p->b.phase};
    col_vec_push(p->scratch, &p->forms[value->id], made);
    if (!local->var && !local->name && value->name)
        local->name = col_arena_strdup(p->graph->arena, value->name);
}

static const form *maker_form(const partitioner *p, const col_value *value)
{
    COL_ASSERT(p->forms[value->id].len);
    return &p->forms[value->id].data[0];
}

/* Collectives. */

static col_attr mesh_axes_attr(const col_axes *axes, int64_t list[COL_MESH_RANK])
{
    for (int i = 0; i < axes->count; i++) list[i] = axes->axis[i];
    return col_attr_ints(COL_ATTR_MESH_AXES, axes->count, list);
}

static col_value *build_step(partitioner *p, const col_reshard_step *step, col_value *x)
{
    static const col_op ops[COL_COLLECTIVE_COUNT] = {
        [COL_ALL_REDUCE] = COL_OP_ALL_REDUCE,
        [COL_ALL_GATHER] = COL_OP_ALL_GATHER,
        [COL_REDUCE_SCATTER] = COL_OP_REDUCE_SCATTER,
        [COL_ALL_TO_ALL] = COL_OP_ALL_TO_ALL,
        [COL_SHARD] = COL_OP_SHARD,
    };
    int64_t list[COL_MESH_RANK];
    col_attr attrs[] = {
        mesh_axes_attr(&step->axes, list),
        col_attr_int(COL_ATTR_AXIS, step->dim),
        col_attr_int(COL_ATTR_FROM_AXIS, step->from_dim),
    };
    uint32_t count = step->kind == COL_ALL_REDUCE ? 1 : step->kind == COL_ALL_TO_ALL ? 3 : 2;
    return &col_build(&p->b, ops[step->kind], 1, &x, count, attrs)->results[0];
}

static col_axes wide_axes(const partitioner *p, uint32_t axes)
{
    col_axes list = {0};
    for (int a = 0; a < p->sharding->mesh.rank; a++) {
        if (axes >> a & 1 && p->sharding->mesh.dims[a] > 1) list.axis[list.count++] = (uint8_t)a;
    }
    return list;
}

static void log_inner(partitioner *p, uint32_t unit, const col_value *x, uint32_t axes)
{
    col_axes list = wide_axes(p, axes);
    if (p->log && list.count) col_shard_log_inner(p->log, unit, &list, (double)col_type_bytes(x->type));
}

static col_value *build_all_reduce(partitioner *p, col_value *x, uint32_t axes, col_op kind)
{
    col_axes list = wide_axes(p, axes);
    int64_t numbers[COL_MESH_RANK];
    if (!list.count) return x;
    col_attr attrs[] = {
        mesh_axes_attr(&list, numbers),
        col_attr_text(COL_ATTR_REDUCE, kind == COL_OP_MAX ? "max" : "min"),
    };
    return &col_build(&p->b, COL_OP_ALL_REDUCE, 1, &x, kind == COL_OP_SUM ? 1 : 2, attrs)->results[0];
}

/* Where a step leads. */
static void apply_step(col_layout *layout, const col_reshard_step *step)
{
    int from = step->kind == COL_ALL_TO_ALL ? step->from_dim : step->kind == COL_ALL_GATHER ? step->dim : -1;
    int to = step->kind == COL_ALL_GATHER || step->kind == COL_ALL_REDUCE ? -1 : step->dim;
    for (int i = 0; i < step->axes.count; i++) {
        if (from >= 0)
            col_layout_pop(layout, from);
        else if (step->kind != COL_SHARD)
            layout->partial = (uint8_t)(layout->partial & ~(1u << step->axes.axis[i]));
    }
    for (int i = 0; i < step->axes.count && to >= 0; i++) col_layout_push(layout, to, step->axes.axis[i]);
}

/* The value in the layout `to`, by the shortest way from another form of it. */
static col_value *reshard(partitioner *p, const col_value *value, form from, const col_layout *to)
{
    const form *known = find_form(p, value, to);
    if (known) return known->value;
    col_reshard_path path;
    col_reshard(p->sharding->machine, &p->sharding->mesh, value->type, &from.layout, to, &path);
    for (int i = 0; i < path.count; i++) {
        apply_step(&from.layout, &path.steps[i]);
        known = find_form(p, value, &from.layout);
        from.value = known ? known->value : build_step(p, &path.steps[i], from.value);
        if (known) continue;
        add_form(p, value, &from.layout, from.value);
        if (p->log) col_vec_push(p->log->arena, &p->steps, path.steps[i]);
    }
    return from.value;
}

/* The value as a user wants it, on the way over its stop. */
static col_value *bring_to(partitioner *p, const col_value *value, const col_layout *wanted)
{
    form from = *maker_form(p, value);
    const form *known = find_form(p, value, wanted);
    if (known) return known->value;
    if (p->sharding->has_stop[value->id]) {
        col_layout stop = without_narrow_axes(p, &p->sharding->stops[value->id]);
        from = (form){stop, reshard(p, value, from, &stop), p->b.phase};
    }
    return reshard(p, value, from, wanted);
}

/* For a unit, or for an output of the graph. */
static col_value *bring(partitioner *p, const col_value *value, const col_layout *layout, uint32_t unit,
                        const col_output *output)
{
    col_layout wanted = without_narrow_axes(p, layout), made = maker_form(p, value)->layout;
    p->steps = (col_reshard_steps){0};
    if (!col_layout_equal(&wanted, &made)) {
        p->steps = p->stop_steps[value->id];
        p->stop_steps[value->id] = (col_reshard_steps){0};
    }
    col_value *local = bring_to(p, value, &wanted);
    if (p->log) {
        col_shard_edge edge = {value, unit, output, made, wanted, p->steps};
        col_shard_log_edge(p->log, &edge);
    }
    return local;
}

/* Nodes. */

static void set_place(partitioner *p, const col_node *node)
{
    p->b.phase = node->phase;
    p->b.scope = *node->scope ? col_arena_strdup(p->graph->arena, node->scope) : "";
    p->b.loc = node->loc;
}

static bool is_inside(const partitioner *p, const col_value *value, uint32_t unit)
{
    return value->producer && p->sharding->units->by_node[value->producer->id] == unit;
}

static bool is_read_inside(const partitioner *p, const col_value *value, uint32_t unit)
{
    COL_FOR_EACH_USE (use, value) {
        if (p->sharding->units->by_node[use->user->id] == unit) return true;
    }
    return false;
}

static void take_result(partitioner *p, uint32_t unit, const col_value *result, col_value *local)
{
    const col_factors *f = p->sharding->factors[unit];
    const col_strategy *s = &p->sharding->strategies[unit];
    col_layout layout = col_factors_result_layout(f, s, result);
    col_op kind = COL_OP_SUM;
    uint32_t axes = col_factors_reduced_axes(f, s, result, &kind);
    if (axes && (kind != COL_OP_SUM || is_read_inside(p, result, unit))) {
        log_inner(p, unit, local, axes);
        local = build_all_reduce(p, local, axes, kind);
        layout.partial = (uint8_t)(layout.partial & ~axes);
    }
    layout = without_narrow_axes(p, &layout);
    add_form(p, result, &layout, local);
}

/* Within a unit a value is wanted as it is made. */
static col_value *inner_operand(const partitioner *p, const col_value *value, const col_layout *layout)
{
    col_layout wanted = without_narrow_axes(p, layout);
    const form *made = maker_form(p, value);
    COL_ASSERT(col_layout_equal(&made->layout, &wanted));
    return made->value;
}

static void rebuild_node(partitioner *p, const col_node *node, uint32_t unit)
{
    const col_factors *f = p->sharding->factors[unit];
    const col_strategy *s = &p->sharding->strategies[unit];
    col_value **operands = COL_NEW_ARRAY(p->scratch, col_value *, node->operand_count);
    col_value **results = COL_NEW_ARRAY(p->scratch, col_value *, node->result_count);
    set_place(p, node);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *value = col_node_operand(node, i);
        col_layout wanted = col_factors_operand_layout(f, s, node, i);
        operands[i] = is_inside(p, value, unit) ? inner_operand(p, value, &wanted)
                                                : bring(p, value, &wanted, unit, NULL);
    }
    col_local local = {&p->b, &p->sharding->mesh, f, s, p->coordinate->value};
    COL_ASSERT(col_op_info_of(node->op)->local);
    col_op_info_of(node->op)->local(&local, node, operands, results);
    for (uint32_t i = 0; i < node->result_count; i++) take_result(p, unit, &node->results[i], results[i]);
}

/* Values go on to their stops at once: where a gradient is scattered, its parts do not wait for the update.
 */
static void make_stops(partitioner *p, const col_unit *unit)
{
    for (uint32_t i = 0; i < unit->node_count; i++) {
        const col_node *node = unit->nodes[i];
        set_place(p, node);
        for (uint32_t r = 0; r < node->result_count; r++) {
            uint32_t id = node->results[r].id;
            if (!p->sharding->has_stop[id]) continue;
            col_layout stop = without_narrow_axes(p, &p->sharding->stops[id]);
            p->steps = (col_reshard_steps){0};
            bring_to(p, &node->results[r], &stop);
            p->stop_steps[id] = p->steps;
        }
    }
}

static void rebuild_assign(partitioner *p, const col_node *node, uint32_t unit)
{
    col_var *var = col_graph_find_var(p->graph, col_node_text(node, COL_ATTR_VARIABLE));
    set_place(p, node);
    const col_layout *layout = &p->sharding->variables[var->index];
    col_build_assign(&p->b, var, bring(p, col_node_operand(node, 0), layout, unit, NULL));
}

/* The phase in which an output is first there. */
static col_phase phase_of(const col_value *value)
{
    return value->producer ? value->producer->phase : COL_PHASE_FORWARD;
}

static void finish_outputs(partitioner *p, const col_graph *graph, col_phase phase)
{
    col_layout whole = col_layout_whole();
    for (size_t i = 0; i < graph->outputs.len; i++) {
        const col_output *output = &graph->outputs.data[i];
        if (phase_of(output->value) != phase) continue;
        p->b = (col_builder){.graph = p->graph, .phase = phase, .scope = "", .loc = output->loc};
        if (output->value->producer) set_place(p, output->value->producer);
        bring(p, output->value, &whole, p->sharding->units->count, output);
    }
}

static void rebuild_units(partitioner *p, const col_graph *graph)
{
    const col_units *units = p->sharding->units;
    uint32_t next = 0;
    for (int phase = 0; phase < COL_PHASE_COUNT; phase++) {
        for (; next < units->count && (int)units->units[next].nodes[0]->phase == phase; next++) {
            const col_unit *unit = &units->units[next];
            for (uint32_t i = 0; i < unit->node_count; i++) {
                if (unit->nodes[i]->op == COL_OP_ASSIGN)
                    rebuild_assign(p, unit->nodes[i], next);
                else
                    rebuild_node(p, unit->nodes[i], next);
            }
            make_stops(p, unit);
        }
        finish_outputs(p, graph, (col_phase)phase);
    }
    COL_ASSERT(next == units->count);
}

/* The graph around the nodes. */

static void rebuild_vars(partitioner *p, const col_graph *graph)
{
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        const col_layout *layout = &p->sharding->variables[i];
        col_type type = {var->type.dtype, local_shape(p, var->type.shape, layout)};
        col_var *made = col_graph_add_var(p->graph, var->kind, var->name, type, var->init, var->loc);
        made->frozen = var->frozen;
        made->layout = *layout;
        made->whole = var->whole;
        made->stored = var->stored;
        col_layout wide = without_narrow_axes(p, layout);
        add_form(p, var->value, &wide, made->value);
    }
    int64_t rank = p->graph->mesh.rank;
    col_type type = {COL_I32, col_shape_make(1, &rank)};
    p->coordinate =
        col_graph_add_var(p->graph, COL_VAR_INPUT, COL_MESH_COORDINATE, type, (col_init){0}, (col_loc){0});
}

static void copy_settings(col_graph *made, const col_graph *graph)
{
    for (size_t i = 0; i < graph->settings.len; i++) {
        col_setting setting = graph->settings.data[i];
        setting.name = col_arena_strdup(made->arena, setting.name);
        col_vec_push(made->arena, &made->settings, setting);
    }
}

/* The coordinate is the last variable. */
static void drop_unused_coordinate(partitioner *p)
{
    if (col_value_has_uses(p->coordinate->value)) return;
    p->graph->vars.len--;
    col_map_set(p->graph->var_by_name, COL_MESH_COORDINATE, NULL);
}

col_graph *col_partition(const col_graph *graph, const col_sharding *sharding, col_arena *arena,
                         col_shard_log *log)
{
    col_arena *scratch = col_arena_create();
    partitioner p = {
        .sharding = sharding, .graph = col_graph_create(arena, graph->name), .scratch = scratch, .log = log};
    p.graph->mesh = sharding->mesh;
    p.b = (col_builder){.graph = p.graph, .scope = ""};
    p.forms = COL_NEW_ARRAY(scratch, form_list, graph->next_value_id);
    p.stop_steps = COL_NEW_ARRAY(scratch, col_reshard_steps, graph->next_value_id);
    copy_settings(p.graph, graph);
    rebuild_vars(&p, graph);
    rebuild_units(&p, graph);
    col_layout whole = col_layout_whole();
    for (size_t i = 0; i < graph->outputs.len; i++) {
        const col_output *output = &graph->outputs.data[i];
        col_graph_add_output(p.graph, output->name, bring_to(&p, output->value, &whole), output->loc);
    }
    drop_unused_coordinate(&p);
    col_arena_destroy(scratch);
    return p.graph;
}
