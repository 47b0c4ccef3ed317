/* Random graphs of one rank with every collective, and plans made of such graphs: for tests of what starts
 * collectives and of what runs them. */
#ifndef COL_UNIT_COLLECTIVE_GRAPHS_H
#define COL_UNIT_COLLECTIVE_GRAPHS_H

#include "tests/unit/unit.h"

#include "codegen/emit.h"
#include "ir/evaluate.h"
#include "ir/plan/plan_verify.h"
#include "passes/memory.h"
#include "passes/pass.h"
#include "tests/unit/random.h"

static inline void run_pass(col_graph *graph, const char *name, const col_pass_options *options)
{
    const col_pass *pass = col_pass_find(name);
    assert_non_null(pass);
    assert_ok(col_passes_run(graph, &pass, 1, options, NULL));
}

static inline void schedule(col_graph *graph)
{
    static const char *const names[] = {"legalize", "cse", "dce", "fuse", "schedule"};
    col_pass_options options = col_pass_options_default();
    for (size_t i = 0; i < COL_COUNT(names); i++) run_pass(graph, names[i], &options);
}

static inline col_graph *overlapped(const col_graph *graph, col_arena *arena, col_overlap how,
                                    const col_machine *machine, double memory)
{
    col_graph *out = col_graph_clone(graph, arena);
    col_pass_options options = col_pass_options_default();
    options.overlap = how;
    options.machine = machine;
    options.overlap_memory = memory;
    run_pass(out, "overlap", &options);
    return out;
}

enum { SIDE = 8, VALUES = 24, STATES = 3, RANKS = 2 };

typedef struct maker {
    unit_random *random;
    col_builder b;
    col_value *values[VALUES + STATES];
    int count;
} maker;

static inline col_value *collective(maker *m, col_op op, col_value *x, int axis, int from_axis, int shift)
{
    int64_t axes[] = {0};
    col_attr attrs[4] = {col_attr_ints(COL_ATTR_MESH_AXES, 1, axes)};
    uint32_t n = 1;
    if (axis >= 0) attrs[n++] = col_attr_int(COL_ATTR_AXIS, axis);
    if (from_axis >= 0) attrs[n++] = col_attr_int(COL_ATTR_FROM_AXIS, from_axis);
    if (shift) attrs[n++] = col_attr_int(COL_ATTR_SHIFT, shift);
    return &col_build(&m->b, op, 1, &x, n, attrs)->results[0];
}

static inline col_value *any_value(maker *m)
{
    int64_t low = random_chance(m->random, 0.6) ? COL_MAX(m->count - 4, 0) : 0;
    return m->values[random_int(m->random, low, m->count - 1)];
}

/* f32[8, 8] from f32[8, 8]. */
static inline col_value *next_value(maker *m)
{
    static const int64_t whole[] = {SIDE, SIDE}, low[] = {0, 0}, high[] = {SIDE, SIDE}, swap[] = {1, 0};
    col_value *x = any_value(m), *y = any_value(m), *parts[] = {x, y};
    col_shape shape = col_shape_make(2, whole);
    switch (random_int(m->random, 0, 10)) {
    case 0: return col_build_unary(&m->b, COL_OP_TANH, x);
    case 1: return col_build_binary(&m->b, COL_OP_ADD, x, y);
    case 2: return col_build_einsum(&m->b, "ab,bc->ac", x, y);
    case 3: return col_build_transpose(&m->b, x, swap);
    case 4: return collective(m, COL_OP_ALL_REDUCE, x, -1, -1, 0);
    case 5: return col_build_slice(&m->b, collective(m, COL_OP_ALL_GATHER, x, 0, -1, 0), low, high);
    case 6: {
        col_value *part = collective(m, COL_OP_REDUCE_SCATTER, x, 0, -1, 0);
        return collective(m, COL_OP_ALL_GATHER, part, 0, -1, 0);
    }
    case 7: return col_build_reshape(&m->b, collective(m, COL_OP_ALL_TO_ALL, x, 0, 1, 0), shape);
    case 8: return collective(m, COL_OP_SEND_RECEIVE, x, -1, -1, random_chance(m->random, 0.5) ? 1 : -1);
    case 9: {
        col_value *all = collective(m, COL_OP_ALL_REDUCE, col_build_concat(&m->b, 2, parts, 0), -1, -1, 0);
        return col_build_slice(&m->b, all, low, high);
    }
    default: return col_build_binary(&m->b, COL_OP_MUL, x, col_build_scalar(&m->b, 0.5, COL_F32));
    }
}

static inline col_graph *random_graph(unit_random *random, col_arena *arena)
{
    static const char *const names[] = {"s0", "s1", "s2"}, *const outputs[] = {"o0", "o1"};
    col_graph *graph = col_graph_create(arena, "random");
    graph->mesh = (col_mesh){1, {RANKS}};
    maker m = {.random = random, .b = {.graph = graph, .scope = ""}};
    col_type type = {COL_F32, {2, {SIDE, SIDE}}};
    for (int i = 0; i < STATES; i++) {
        m.values[m.count++] =
            col_graph_add_var(graph, COL_VAR_STATE, names[i], type, (col_init){0}, (col_loc){0})->value;
    }
    for (int i = 0; i < VALUES; i++) {
        if (random_chance(random, 0.08) && m.b.phase < COL_PHASE_UPDATE) m.b.phase++;
        col_value *value = next_value(&m);
        m.values[m.count++] = value;
    }
    m.b.phase = COL_PHASE_UPDATE;
    for (int i = 0; i < STATES; i++) {
        if (random_chance(random, 0.7)) col_build_assign(&m.b, graph->vars.data[i], any_value(&m));
    }
    for (size_t i = 0; i < COL_COUNT(outputs); i++)
        col_graph_add_output(graph, outputs[i], any_value(&m), (col_loc){0});
    schedule(graph);
    return graph;
}

/* Outputs and states of all ranks, one after another. */
static inline double *evaluate(const col_graph *graph, col_arena *arena, size_t *out_count)
{
    const col_tensor *vars[RANKS];
    col_evaluation by_rank[RANKS];
    unit_random random = {99};
    for (int r = 0; r < RANKS; r++) {
        col_tensor *own = col_evaluate_vars(graph, arena);
        for (size_t v = 0; v < graph->vars.len; v++) {
            for (int i = 0; i < SIDE * SIDE; i++) own[v].data[i] = (double)random_int(&random, -64, 64) / 128;
        }
        vars[r] = own;
    }
    assert_ok(col_evaluate_ranks(graph, NULL, vars, arena, by_rank));
    size_t each = SIDE * SIDE, per_rank = (graph->vars.len + graph->outputs.len) * each;
    double *all = COL_NEW_ARRAY(arena, double, RANKS *per_rank), *at = all;
    for (int r = 0; r < RANKS; r++) {
        for (size_t v = 0; v < graph->vars.len; v++, at += each)
            memcpy(at, vars[r][v].data, each * sizeof *at);
        for (size_t o = 0; o < graph->outputs.len; o++, at += each)
            memcpy(at, by_rank[r].outputs[o].data, each * sizeof *at);
    }
    *out_count = RANKS * per_rank;
    return all;
}

/* A plan of one program, as compilation makes it, all but its code. */
typedef struct laid_out {
    const col_graph *graph;
    col_units *units;
    const col_kernel **kernels;
    col_memory memory;
    col_emitter emitter;
    col_plan_program *program;
    col_plan *plan;
} laid_out;

static inline bool in_place(void *context, const col_unit *unit, const col_value *input,
                            const col_value *output)
{
    const laid_out *l = context;
    return col_emit_in_place(l->kernels[unit - l->units->units], input, output);
}

/* Rows over all ranks: each rank has a matrix of its own. */
static inline col_plan_variable *lay_out_variable(const col_var *var, int64_t ranks, uint64_t offset,
                                                  col_arena *arena)
{
    col_plan_variable *v = COL_NEW(arena, col_plan_variable);
    col__plan__variable__init(v);
    v->name = (char *)(uintptr_t)var->name;
    v->kind = COL__PLAN__VARIABLE_KIND__STATE;
    v->dtype = COL__PLAN__DTYPE__F32;
    v->n_dims = (size_t)var->type.shape.rank;
    v->dims = col_arena_copy(arena, var->type.shape.dims, sizeof *v->dims * v->n_dims);
    v->dims[0] *= ranks;
    v->layout = "S0R";
    v->offset = offset;
    return v;
}

/* Of a scheduled graph on a mesh of one axis whose variables are matrices. The plan passes the verifier. */
static inline laid_out *lay_out(const col_graph *graph, col_arena *arena)
{
    laid_out *l = COL_NEW(arena, laid_out);
    *l = (laid_out){.graph = graph, .units = col_units_of(graph, arena), .emitter = {.arena = arena}};
    col_plan *plan = l->plan = COL_NEW(arena, col_plan);
    col__plan__plan__init(plan);
    plan->version = COL_PLAN_VERSION;
    plan->target = "cpu";
    plan->source = COL_NEW(arena, Col__Plan__Source);
    col__plan__source__init(plan->source);
    plan->n_mesh = (size_t)graph->mesh.rank;
    plan->mesh = (int64_t *)(uintptr_t)graph->mesh.dims;
    uint64_t *offsets = COL_NEW_ARRAY(arena, uint64_t, graph->vars.len);
    plan->n_variables = graph->vars.len;
    plan->variables = COL_NEW_ARRAY(arena, col_plan_variable *, plan->n_variables);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        offsets[i] = plan->state_bytes;
        plan->variables[i] = lay_out_variable(var, graph->mesh.dims[0], offsets[i], arena);
        plan->state_bytes += ((uint64_t)col_type_bytes(var->type) + 63) / 64 * 64;
    }
    col_memory_fix_strides(graph, l->units, false, arena, &l->memory);
    l->kernels = col_emit_kernels(&l->emitter, l->units, l->memory.placements);
    col_memory_rules rules = {l, in_place, false};
    assert_ok(col_memory_assign(graph, l->units, &rules, offsets, plan->state_bytes, arena, &l->memory));
    uint32_t *starts = COL_NEW_ARRAY(arena, uint32_t, l->units->count + 1);
    l->program =
        col_emit_program(&l->emitter, "step", graph, l->units, l->kernels, l->memory.placements, starts);
    plan->arena_bytes = plan->state_bytes + l->memory.temporary_bytes;
    plan->n_programs = plan->n_objects = 1;
    plan->programs = &l->program;
    plan->objects = COL_NEW(arena, Col__Plan__CodeObject *);
    plan->objects[0] = COL_NEW(arena, Col__Plan__CodeObject);
    col__plan__code_object__init(plan->objects[0]);
    assert_ok(col_plan_verify(plan));
    return l;
}

#endif
