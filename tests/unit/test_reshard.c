/* Paths between layouts: that each does what it says, on real data of every rank, and that none is cheaper.
 *
 * The other searcher is Bellman and Ford's: it relaxes every step from every layout until nothing changes,
 * over all layouts of the axes and dimensions concerned, with the steps written anew from the definition in
 * ir/base/layout.h. */
#include "tests/unit/unit.h"

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/reshard.h"
#include "tests/unit/random_layout.h"

#include <math.h>

enum { MOST_LAYOUTS = 4096 };

typedef struct problem {
    col_machine machine;
    col_mesh mesh;
    col_type type;
    col_layout from, to;
} problem;

/* Links that make different ways best in different problems. */
static void random_machine(unit_random *r, col_machine *m)
{
    *m = (col_machine){.name = "test"};
    for (int a = 0; a < COL_MESH_RANK; a++) {
        m->links[a].latency = random_chance(r, 0.5) ? 1e-6 : 1e-4;
        for (int k = 0; k < COL_COLLECTIVE_COUNT; k++)
            m->links[a].bandwidth[k] = 1e9 * (double)random_int(r, 1, 20);
    }
}

static void random_problem(unit_random *r, problem *p)
{
    static const char *const meshes[] = {"2", "4", "3", "2x2", "2x3", "2x2x2", "2x1x2"};
    static const int64_t sizes[] = {1, 4, 6, 8, 8, 12, 24};
    random_machine(r, &p->machine);
    assert_true(col_mesh_parse(meshes[random_int(r, 0, COL_COUNT(meshes) - 1)], &p->mesh));
    p->type = (col_type){COL_F32, {.rank = (int)random_int(r, 0, 3)}};
    for (int d = 0; d < p->type.shape.rank; d++)
        p->type.shape.dims[d] = sizes[random_int(r, 0, COL_COUNT(sizes) - 1)];
    p->from = random_layout(r, &p->mesh, p->type.shape, UINT32_MAX);
    p->to = random_layout(r, &p->mesh, p->type.shape, p->from.partial);
}

static const char *describe(const problem *p, col_arena *arena)
{
    col_str text = {0};
    col_mesh_print(&p->mesh, &text);
    col_str_append(&text, " ");
    col_type_print(p->type, &text);
    col_str_append(&text, " ");
    col_layout_print(&p->from, p->type.shape.rank, &text);
    col_str_append(&text, " -> ");
    col_layout_print(&p->to, p->type.shape.rank, &text);
    const char *copy = col_arena_strdup(arena, col_str_text(&text));
    col_str_fini(&text);
    return copy;
}

/* The path as a graph of every rank. */
static col_graph *path_graph(const problem *p, const col_reshard_path *path, col_arena *arena)
{
    static const col_op ops[] = {COL_OP_ALL_REDUCE, COL_OP_ALL_GATHER, COL_OP_REDUCE_SCATTER,
                                 COL_OP_ALL_TO_ALL, COL_OP_SHARD};
    col_graph *graph = col_graph_create(arena, "path");
    graph->mesh = p->mesh;
    col_type local = p->type;
    col_layout_local(&p->from, &p->mesh, local.shape.rank, local.shape.dims, local.shape.dims);
    col_value *x = col_graph_add_var(graph, COL_VAR_INPUT, "x", local, (col_init){0}, (col_loc){0})->value;
    col_builder b = {.graph = graph};
    for (int i = 0; i < path->count; i++) {
        const col_reshard_step *step = &path->steps[i];
        int64_t axes[COL_MESH_RANK];
        for (int a = 0; a < step->axes.count; a++) axes[a] = step->axes.axis[a];
        col_attr attrs[] = {col_attr_ints(COL_ATTR_MESH_AXES, step->axes.count, axes),
                            col_attr_int(COL_ATTR_AXIS, step->dim),
                            col_attr_int(COL_ATTR_FROM_AXIS, step->from_dim)};
        uint32_t count = step->kind == COL_ALL_REDUCE ? 1 : step->kind == COL_ALL_TO_ALL ? 3 : 2;
        x = &col_build(&b, ops[step->kind], 1, &x, count, attrs)->results[0];
    }
    col_graph_add_output(graph, "y", x, (col_loc){0});
    assert_ok(col_graph_verify(graph));
    return graph;
}

/* The term of the sum that a rank holds: the terms of a group sum to the value. */
static double term(const problem *p, uint32_t partial, int64_t rank, double value)
{
    double share = value;
    for (int a = 0; a < p->mesh.rank; a++) {
        if (!(partial >> a & 1)) continue;
        int64_t n = p->mesh.dims[a], at = col_mesh_coordinate(&p->mesh, rank, a);
        share *= at == n - 1 ? 1 - 3.0 * (double)(n - 1) : 3; /* 3 + 3 + … sums to 1 */
    }
    return share;
}

/* Blocks of 1, 2, 3, … go in; blocks of the same must come out. Partial results are summed here. */
static void replay(const problem *p, const col_reshard_path *path, const char *text, col_arena *arena)
{
    int64_t ranks = col_mesh_size(&p->mesh), numel = col_shape_numel(p->type.shape);
    col_graph *graph = path_graph(p, path, arena);
    col_tensor whole = {p->type, COL_NEW_ARRAY(arena, double, numel + 1)};
    for (int64_t i = 0; i < numel; i++) whole.data[i] = (double)(i + 1);
    col_tensor *in = COL_NEW_ARRAY(arena, col_tensor, ranks);
    const col_tensor **vars = COL_NEW_ARRAY(arena, const col_tensor *, ranks);
    col_evaluation *out = COL_NEW_ARRAY(arena, col_evaluation, ranks);
    for (int64_t r = 0; r < ranks; r++) {
        in[r] = col_tensor_block(&whole, &p->from, &p->mesh, r, arena);
        for (int64_t i = 0; i < col_shape_numel(in[r].type.shape); i++)
            in[r].data[i] = term(p, p->from.partial, r, in[r].data[i]);
        vars[r] = &in[r];
    }
    assert_ok(col_evaluate_ranks(graph, NULL, vars, arena, out));
    for (int64_t r = 0; r < ranks; r++) {
        col_tensor expected = col_tensor_block(&whole, &p->to, &p->mesh, r, arena);
        const col_tensor *got = &out[r].outputs[0];
        if (!col_shape_equal(got->type.shape, expected.type.shape)) fail_msg("%s: shape", text);
        for (int64_t i = 0; i < col_shape_numel(got->type.shape); i++) {
            double want = term(p, p->to.partial, r, expected.data[i]);
            if (fabs(got->data[i] - want) > 1e-9 * fabs(want))
                fail_msg("%s: rank %d has %g at %d, not %g", text, (int)r, got->data[i], (int)i, want);
        }
    }
}

/* Every layout over the axes that the two layouts use differently, in the dimensions that they split. */
typedef struct lattice {
    const problem *p;
    col_layout *layouts;
    double *seconds; /* cheapest way known from p->from */
    int count;
    uint32_t axes, dims;
} lattice;

static void list_layouts(lattice *l, col_layout at, uint32_t left)
{
    for (int i = 0; i < l->count; i++) {
        if (col_layout_equal(&l->layouts[i], &at)) return;
    }
    assert_true(l->count < MOST_LAYOUTS);
    l->layouts[l->count] = at;
    l->seconds[l->count++] = INFINITY;
    for (int a = 0; a < l->p->mesh.rank; a++) {
        if (!(left >> a & 1)) continue;
        for (int d = 0; d < l->p->type.shape.rank; d++) {
            col_layout next = at;
            if (!(l->dims >> d & 1)) continue;
            col_layout_push(&next, d, a);
            if (col_layout_fits(&next, &l->p->mesh, l->p->type.shape.rank, l->p->type.shape.dims))
                list_layouts(l, next, left & ~(1u << a));
        }
        if (l->p->from.partial >> a & 1) {
            col_layout next = at;
            next.partial = (uint8_t)(next.partial | 1u << a);
            list_layouts(l, next, left & ~(1u << a));
        }
    }
}

static bool starts_with(const col_axes *all, const col_axes *first)
{
    return all->count >= first->count && !memcmp(all->axis, first->axis, first->count);
}

/* The one collective between two layouts; false: there is none. */
static bool one_step(const problem *p, const col_layout *x, const col_layout *y, col_collective *kind,
                     col_axes *axes)
{
    int grown = -1, shrunk = -1, count = 0;
    if (y->partial & ~x->partial) return false;
    uint32_t combined = x->partial & ~(uint32_t)y->partial;
    for (int d = 0; d < p->type.shape.rank; d++) {
        const col_axes *a = &x->split[d], *b = &y->split[d];
        if (a->count == b->count && starts_with(a, b)) continue;
        if (++count > 2) return false;
        if (starts_with(b, a) && grown < 0)
            grown = d;
        else if (starts_with(a, b) && shrunk < 0)
            shrunk = d;
        else
            return false;
    }
    col_axes up = {0}, down = {0};
    uint32_t up_mask = 0;
    for (int i = grown < 0 ? 0 : x->split[grown].count; grown >= 0 && i < y->split[grown].count; i++) {
        up.axis[up.count++] = y->split[grown].axis[i];
        up_mask |= 1u << y->split[grown].axis[i];
    }
    for (int i = shrunk < 0 ? 0 : y->split[shrunk].count; shrunk >= 0 && i < x->split[shrunk].count; i++)
        down.axis[down.count++] = x->split[shrunk].axis[i];
    if (combined) {
        if (shrunk >= 0 || (grown >= 0 && up_mask != combined)) return false;
        *kind = grown >= 0 ? COL_REDUCE_SCATTER : COL_ALL_REDUCE;
        *axes = up;
        for (int a = 0; grown < 0 && a < p->mesh.rank; a++) {
            if (combined >> a & 1) axes->axis[axes->count++] = (uint8_t)a;
        }
        return true;
    }
    if (grown >= 0 && shrunk >= 0) {
        *kind = COL_ALL_TO_ALL;
        *axes = up;
        return up.count == down.count && starts_with(&up, &down);
    }
    *kind = grown >= 0 ? COL_SHARD : COL_ALL_GATHER;
    *axes = grown >= 0 ? up : down;
    return grown >= 0 || shrunk >= 0;
}

static col_layout without_narrow(const problem *p, const col_layout *layout)
{
    col_layout wide = {.partial = layout->partial};
    for (int d = 0; d < p->type.shape.rank; d++) {
        for (int i = 0; i < layout->split[d].count; i++) {
            if (p->mesh.dims[layout->split[d].axis[i]] > 1)
                col_layout_push(&wide, d, layout->split[d].axis[i]);
        }
    }
    for (int a = 0; a < p->mesh.rank; a++) {
        if (p->mesh.dims[a] == 1) wide.partial = (uint8_t)(wide.partial & ~(1u << a));
    }
    return wide;
}

static double local_bytes(const problem *p, const col_layout *layout)
{
    double bytes = (double)col_type_bytes(p->type);
    for (int d = 0; d < p->type.shape.rank; d++) bytes /= (double)col_layout_parts(layout, &p->mesh, d);
    return bytes;
}

/* Seconds of the cheapest way: steps over whatever axis either layout uses. Axes that are in the same place
 * with everything before them are left where they are. */
static double cheapest(problem p, col_arena *arena)
{
    lattice l = {.p = &p};
    p.from = without_narrow(&p, &p.from);
    p.to = without_narrow(&p, &p.to);
    col_layout base = col_layout_whole();
    base.partial = p.from.partial & p.to.partial;
    l.axes = col_layout_axes(&p.from) | col_layout_axes(&p.to);
    l.axes &= ~(uint32_t)base.partial;
    for (int d = 0; d < p.type.shape.rank; d++) {
        const col_axes *a = &p.from.split[d], *b = &p.to.split[d];
        int i = 0;
        for (; i < a->count && i < b->count && a->axis[i] == b->axis[i]; i++) {
            col_layout_push(&base, d, a->axis[i]);
            l.axes &= ~(1u << a->axis[i]);
        }
        if (i < a->count || i < b->count) l.dims |= 1u << d;
    }
    l.layouts = COL_NEW_ARRAY(arena, col_layout, MOST_LAYOUTS);
    l.seconds = COL_NEW_ARRAY(arena, double, MOST_LAYOUTS);
    list_layouts(&l, base, l.axes);
    int target = -1;
    for (int i = 0; i < l.count; i++) {
        if (col_layout_equal(&l.layouts[i], &p.from)) l.seconds[i] = 0;
        if (col_layout_equal(&l.layouts[i], &p.to)) target = i;
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < l.count; i++) {
            for (int j = 0; j < l.count && isfinite(l.seconds[i]); j++) {
                col_collective kind;
                col_axes axes;
                if (i == j || !one_step(&p, &l.layouts[i], &l.layouts[j], &kind, &axes)) continue;
                double seconds = l.seconds[i] + col_cost_collective(&p.machine, &p.mesh, kind, &axes,
                                                                    local_bytes(&p, &l.layouts[i]));
                if (seconds < l.seconds[j]) {
                    l.seconds[j] = seconds;
                    changed = true;
                }
            }
        }
    }
    assert_true(target >= 0);
    return l.seconds[target];
}

static int problems = 400;

static void random_paths(void **unused)
{
    (void)unused;
    for (int i = 0; i < problems; i++) {
        col_arena *arena = col_arena_create();
        unit_random r = {(uint64_t)i};
        problem p;
        random_problem(&r, &p);
        const char *text = describe(&p, arena);
        col_reshard_path path, again;
        col_reshard(&p.machine, &p.mesh, p.type, &p.from, &p.to, &path);
        replay(&p, &path, text, arena);
        double seconds = 0, bytes = 0;
        for (int s = 0; s < path.count; s++) {
            seconds += path.steps[s].seconds;
            bytes += path.steps[s].bytes;
        }
        assert_true(fabs(seconds - path.seconds) <= 1e-12 * seconds &&
                    fabs(bytes - path.bytes) <= 1e-12 * bytes);
        double best = cheapest(p, arena);
        if (fabs(path.seconds - best) > 1e-9 * best)
            fail_msg("problem %d: %s: %g seconds; %g is possible", i, text, path.seconds, best);
        col_reshard_costs *costs = col_reshard_costs_create(&p.machine, &p.mesh, arena);
        for (int twice = 0; twice < 2; twice++) {
            double alone = col_reshard_seconds(costs, p.type, &p.from, &p.to);
            assert_true(fabs(alone - path.seconds) <= 1e-12 * path.seconds);
        }
        col_reshard(&p.machine, &p.mesh, p.type, &p.from, &p.to, &again);
        assert_int_equal(path.count, again.count);
        for (int s = 0; s < path.count; s++) {
            assert_int_equal(path.steps[s].kind, again.steps[s].kind);
            assert_memory_equal(&path.steps[s].axes, &again.steps[s].axes, sizeof path.steps[s].axes);
        }
        col_arena_destroy(arena);
    }
}

/* One memory of costs for many pairs, on meshes where some axes are alike. */
static void shared_costs(void **unused)
{
    (void)unused;
    static const char *const meshes[] = {"2x2x2", "2x4x4", "2x2x3", "4x2"};
    static const col_type types[] = {
        {COL_F32, {3, {8, 16, 64}}}, {COL_F32, {3, {8, 64, 16}}}, {COL_F32, {2, {24, 24}}}};
    for (size_t i = 0; i < COL_COUNT(meshes); i++) {
        col_arena *arena = col_arena_create();
        unit_random r = {i};
        col_mesh mesh;
        col_machine machine;
        random_machine(&r, &machine);
        assert_true(col_mesh_parse(meshes[i], &mesh));
        for (int a = 1; a < mesh.rank; a++) {
            if (mesh.dims[a] == mesh.dims[a - 1]) machine.links[a] = machine.links[a - 1];
        }
        col_reshard_costs *costs = col_reshard_costs_create(&machine, &mesh, arena);
        for (int j = 0; j < 20 * problems; j++) {
            col_type type = types[j % (int)COL_COUNT(types)];
            col_layout from = random_layout(&r, &mesh, type.shape, UINT32_MAX);
            col_layout to = random_layout(&r, &mesh, type.shape, from.partial);
            col_reshard_path path;
            col_reshard(&machine, &mesh, type, &from, &to, &path);
            double seconds = col_reshard_seconds(costs, type, &from, &to);
            assert_true(fabs(seconds - path.seconds) <= 1e-9 * path.seconds);
        }
        col_arena_destroy(arena);
    }
}

/* Where all links are equal, what a textbook does. */
static void known_ways(void **unused)
{
    (void)unused;
    static const struct {
        const char *mesh, *from, *to, *way;
    } cases[] = {
        {"4", "RR", "RR", ""},
        {"4", "RR", "S0R", "shard"},
        {"4", "S0R", "RR", "all-gather"},
        {"4", "S0R", "RS0", "all-to-all"},
        {"4", "RR+P0", "RR", "all-reduce"},
        {"4", "RR+P0", "S0R", "reduce-scatter"},
        {"4", "RR+P0", "RR+P0", ""},
        {"2x2", "S0R+P1", "S0R", "all-reduce"},
        {"2x2", "S0R+P1", "S01R", "reduce-scatter"},
        {"2x2", "S01R", "RR", "all-gather"},
        {"2x2", "RR", "S0S1", "shard shard"},
        {"2x2", "RR", "S01R", "shard"},
        {"2x2", "S01R", "S0S1", "all-to-all"},
    };
    col_machine machine = {.name = "equal"};
    for (int a = 0; a < COL_MESH_RANK; a++) {
        for (int k = 0; k < COL_COLLECTIVE_COUNT; k++)
            machine.links[a].bandwidth[k] = 0x1p30; /* exact sums */
    }
    /* The same ways are found where the links are not known, and everything takes forever. */
    col_machine unknown = {.name = "unknown"};
    for (size_t i = 0; i < 2 * COL_COUNT(cases); i++) {
        col_mesh mesh;
        col_layout from, to;
        col_type type = {COL_F32, {2, {32, 64}}};
        size_t c = i / 2;
        assert_true(col_mesh_parse(cases[c].mesh, &mesh));
        assert_true(col_layout_parse(cases[c].from, 2, mesh.rank, &from));
        assert_true(col_layout_parse(cases[c].to, 2, mesh.rank, &to));
        col_reshard_path path;
        col_reshard(i % 2 ? &machine : &unknown, &mesh, type, &from, &to, &path);
        col_str way = {0};
        for (int s = 0; s < path.count; s++)
            col_str_printf(&way, "%s%s", s ? " " : "", col_collective_name(path.steps[s].kind));
        assert_string_equal(col_str_text(&way), cases[c].way);
        col_str_fini(&way);
    }
}

/* Meshes of many axes end within the room of a path. */
static void many_axes(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    unit_random r = {7};
    problem p = {.type = {COL_F32, {3, {4, 4, 4}}}};
    assert_true(col_mesh_parse("2x2x2x2x2x2", &p.mesh));
    random_machine(&r, &p.machine);
    for (int i = 0; i < 5; i++) {
        p.from = random_layout(&r, &p.mesh, p.type.shape, UINT32_MAX);
        p.to = random_layout(&r, &p.mesh, p.type.shape, p.from.partial);
        col_reshard_path path;
        col_reshard(&p.machine, &p.mesh, p.type, &p.from, &p.to, &path);
        replay(&p, &path, describe(&p, arena), arena);
    }
    col_arena_destroy(arena);
}

int main(int argc, char **argv)
{
    if (argc > 1) problems = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_ways),
        cmocka_unit_test(random_paths),
        cmocka_unit_test(shared_costs),
        cmocka_unit_test(many_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
