/* Splitting over a mesh, op by op and unit by unit: every strategy that is valid is played through. Each rank
 * gets its blocks of the operands, runs what the column `local` builds, and what all ranks have, combined as
 * the layouts say, must be the result of one device. */
#include "tests/unit/unit.h"

#include "ir/evaluate.h"
#include "ir/factors.h"
#include "passes/pass.h"
#include "tests/unit/factor_cases.h"
#include "tests/unit/samples.h"

#include <math.h>

enum { MAX_RANKS = 8, MAX_RESULTS = 64, MAX_OPERANDS = 64 };

static const char *const meshes[] = {"2", "4", "3", "2x2", "2x3"};

/* The block of a tensor that a rank holds; partial sums are not thought of. */
static col_tensor block_of(const col_tensor *whole, const col_layout *layout, const col_mesh *mesh,
                           int64_t rank, col_arena *arena)
{
    col_shape shape = whole->type.shape, local = shape;
    int64_t strides[COL_MAX_RANK], own[COL_MAX_RANK], base = 0;
    col_layout_local(layout, mesh, shape.rank, shape.dims, local.dims);
    col_shape_strides(shape, strides);
    col_shape_strides(local, own);
    for (int d = 0; d < shape.rank; d++)
        base += strides[d] * col_layout_start(layout, mesh, shape.dims[d], d, rank);
    int64_t count = col_shape_numel(local);
    col_tensor block = {col_type_make(whole->type.dtype, local), NULL};
    block.data = COL_NEW_ARRAY(arena, double, COL_MAX(count, 1));
    for (int64_t i = 0; i < count; i++) {
        int64_t at = base;
        for (int d = 0; d < shape.rank; d++) at += i / own[d] % local.dims[d] * strides[d];
        block.data[i] = whole->data[at];
    }
    return block;
}

/* A node in play: what it reads and makes on one device, and the strategy. */
typedef struct play {
    const col_node *node;
    const col_tensor *values; /* by value id */
    const col_factors *f;
    const col_strategy *strategy;
    const col_mesh *mesh;
} play;

/* What one rank makes of its blocks; an assignment's result is the variable. */
static void run_rank(const play *p, int64_t rank, col_tensor *results, col_arena *arena)
{
    const col_node *node = p->node;
    col_graph *graph = col_graph_create(arena, "local");
    col_builder b = {.graph = graph};
    col_type type = {COL_I32, {.rank = 1, .dims = {p->mesh->rank}}};
    col_local local = {.b = &b, .mesh = p->mesh, .f = p->f, .strategy = p->strategy};
    local.coordinate =
        col_graph_add_var(graph, COL_VAR_INPUT, "mesh.coordinate", type, (col_init){0}, (col_loc){0})->value;
    col_value *operands[MAX_OPERANDS], *out[MAX_RESULTS] = {NULL};
    assert_true(node->operand_count <= MAX_OPERANDS);
    col_tensor *vars = COL_NEW_ARRAY(arena, col_tensor, node->operand_count + 2);
    vars[0] = (col_tensor){type, COL_NEW_ARRAY(arena, double, p->mesh->rank)};
    for (int a = 0; a < p->mesh->rank; a++) vars[0].data[a] = (double)col_mesh_coordinate(p->mesh, rank, a);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        col_layout layout = col_factors_operand_layout(p->f, p->strategy, node, i);
        assert_int_equal(layout.partial, 0);
        vars[1 + i] = block_of(&p->values[col_node_operand(node, i)->id], &layout, p->mesh, rank, arena);
        operands[i] = col_graph_add_var(graph, COL_VAR_INPUT, col_arena_printf(arena, "operand%u", i),
                                        vars[1 + i].type, (col_init){0}, (col_loc){0})
                          ->value;
    }
    size_t assigned = graph->vars.len;
    if (node->op == COL_OP_ASSIGN) {
        col_graph_add_var(graph, COL_VAR_STATE, col_node_text(node, COL_ATTR_VARIABLE), vars[1].type,
                          (col_init){0}, (col_loc){0});
        vars[assigned] =
            (col_tensor){vars[1].type, COL_NEW_ARRAY(arena, double, col_shape_numel(vars[1].type.shape))};
    }
    col_op_info_of(node->op)->local(&local, node, operands, out);
    for (uint32_t i = 0; i < node->result_count; i++)
        col_graph_add_output(graph, col_arena_printf(arena, "result%u", i), out[i], (col_loc){0});
    assert_ok(col_graph_verify(graph));
    col_evaluation evaluation;
    assert_ok(col_evaluate(graph, NULL, vars, arena, &evaluation));
    for (uint32_t i = 0; i < node->result_count; i++) results[i] = evaluation.outputs[i];
    if (node->op == COL_OP_ASSIGN) results[0] = vars[assigned];
}

static bool same_group(const col_mesh *mesh, int64_t a, int64_t b, uint32_t axes)
{
    for (int i = 0; i < mesh->rank; i++) {
        if (!(axes >> i & 1) && col_mesh_coordinate(mesh, a, i) != col_mesh_coordinate(mesh, b, i))
            return false;
    }
    return true;
}

static double combine(double x, double y, col_op kind)
{
    if (kind == COL_OP_SUM) return x + y;
    if (isnan(x) || isnan(y)) return NAN;
    return kind == COL_OP_MAX ? fmax(x, y) : fmin(x, y);
}

static void complain(const play *p, int64_t rank, uint32_t result, int64_t element, double got, double want)
{
    col_str text = {0};
    col_node_print(p->node, &text);
    col_str_append(&text, "\n   mesh ");
    col_mesh_print(p->mesh, &text);
    for (uint32_t i = 0; i < p->node->operand_count; i++) {
        col_layout layout = col_factors_operand_layout(p->f, p->strategy, p->node, i);
        col_str_append(&text, i ? ", " : ": ");
        col_type_print(col_node_operand(p->node, i)->type, &text);
        col_str_append(&text, " ");
        col_layout_print(&layout, col_node_operand(p->node, i)->type.shape.rank, &text);
    }
    print_error("%s\n   rank %d, result %u[%d]: %.17g, on one device %.17g\n", col_str_text(&text), (int)rank,
                result, (int)element, got, want);
    col_str_fini(&text);
    fail();
}

/* `blocks`: of the result, by rank. */
static void check_result(const play *p, uint32_t result, const col_tensor *whole, col_layout layout,
                         uint32_t axes, col_op kind, const col_tensor *blocks, col_arena *arena)
{
    double scale = 1;
    for (int64_t i = 0; i < col_shape_numel(whole->type.shape); i++) {
        if (isfinite(whole->data[i])) scale = fmax(scale, fabs(whole->data[i]));
    }
    layout.partial = 0;
    for (int64_t rank = 0; rank < col_mesh_size(p->mesh); rank++) {
        col_tensor want = block_of(whole, &layout, p->mesh, rank, arena);
        assert_true(col_type_equal(want.type, blocks[rank].type));
        for (int64_t i = 0; i < col_shape_numel(want.type.shape); i++) {
            double got = blocks[rank].data[i];
            for (int64_t other = 0; other < col_mesh_size(p->mesh); other++) {
                if (other != rank && same_group(p->mesh, rank, other, axes))
                    got = combine(got, blocks[other].data[i], kind);
            }
            bool equal = got == want.data[i] || (isnan(got) && isnan(want.data[i])) ||
                         fabs(got - want.data[i]) <= 1e-12 * scale;
            if (!equal) complain(p, rank, result, i, got, want.data[i]);
        }
    }
}

static void check_node(const play *p)
{
    col_arena *arena = col_arena_create();
    const col_node *node = p->node;
    int64_t ranks = col_mesh_size(p->mesh);
    col_tensor made[MAX_RANKS][MAX_RESULTS], blocks[MAX_RANKS];
    assert_true(ranks <= MAX_RANKS && node->result_count <= MAX_RESULTS);
    for (int64_t rank = 0; rank < ranks; rank++) run_rank(p, rank, made[rank], arena);
    uint32_t count = node->op == COL_OP_ASSIGN ? 1 : node->result_count;
    for (uint32_t i = 0; i < count; i++) {
        const col_value *result = node->op == COL_OP_ASSIGN ? col_node_operand(node, 0) : &node->results[i];
        col_op kind = COL_OP_SUM;
        col_layout layout;
        uint32_t axes = 0;
        if (node->op == COL_OP_ASSIGN) {
            layout = col_factors_operand_layout(p->f, p->strategy, node, 0);
        } else {
            layout = col_factors_result_layout(p->f, p->strategy, result);
            axes = col_factors_reduced_axes(p->f, p->strategy, result, &kind);
            assert_int_equal(layout.partial, kind == COL_OP_SUM ? axes : 0);
        }
        for (int64_t rank = 0; rank < ranks; rank++) blocks[rank] = made[rank][i];
        check_result(p, i, &p->values[result->id], layout, axes, kind, blocks, arena);
    }
    col_arena_destroy(arena);
}

/* Inside a unit a value has one layout, once sums are combined. */
static void check_inside(const play *p)
{
    for (uint32_t i = 0; i < p->node->operand_count; i++) {
        const col_value *x = col_node_operand(p->node, i);
        if (!x->producer || p->node->group < 0 || x->producer->group != p->node->group) continue;
        col_layout read = col_factors_operand_layout(p->f, p->strategy, p->node, i);
        col_layout made = col_factors_result_layout(p->f, p->strategy, x);
        made.partial = 0;
        assert_true(col_layout_equal(&read, &made));
    }
}

typedef struct unit {
    const col_node **nodes;
    size_t count;
    const col_tensor *values;
} unit;

/* The next strategy in the order of a counter over factors (-1 first), then of the order of axes. */
static bool advance(col_strategy *s, int factors, int rank)
{
    for (int a = 0; a < rank; a++) {
        if (++s->factor[a] < factors) return true;
        s->factor[a] = -1;
    }
    if (rank < 2 || s->order[0] == 1) return false;
    s->order[0] = 1;
    s->order[1] = 0;
    return true;
}

/* Plays all strategies; returns how many split something. */
static int check_unit(const unit *u)
{
    col_arena *arena = col_arena_create();
    const col_factors *f = col_factors_of(u->nodes, u->count, arena);
    int split = 0;
    for (size_t m = 0; m < COL_COUNT(meshes); m++) {
        col_mesh mesh;
        assert_true(col_mesh_parse(meshes[m], &mesh));
        col_strategy s = col_strategy_replicated();
        do {
            if (!col_strategy_is_valid(f, &s, &mesh)) continue;
            split += s.factor[0] >= 0 || s.factor[1] >= 0;
            for (size_t n = 0; n < u->count; n++) {
                play p = {u->nodes[n], u->values, f, &s, &mesh};
                check_inside(&p);
                check_node(&p);
                double share = col_factors_share(f, &s, &mesh, u->nodes[n]);
                assert_true(share <= 1 && share * (double)col_mesh_size(&mesh) >= 1 - 1e-9);
            }
        } while (advance(&s, col_factors_count(f), mesh.rank));
    }
    col_arena_destroy(arena);
    return split;
}

static const col_tensor *evaluate_all(const col_graph *graph, col_tensor *vars, col_arena *arena)
{
    col_evaluate_options options = {.last_phase = COL_PHASE_UPDATE, .keep_values = true};
    col_evaluation evaluation;
    assert_ok(col_evaluate(graph, &options, vars, arena, &evaluation));
    return evaluation.values;
}

/* The node as a unit of its own. */
static int check_alone(const col_node *node, col_tensor *vars, col_arena *arena)
{
    unit u = {&node, 1, evaluate_all(node->graph, vars, arena)};
    return check_unit(&u);
}

/* All nodes of a graph as one unit. */
static int check_together(col_graph *graph, col_tensor *vars, col_arena *arena)
{
    unit u = {.nodes = COL_NEW_ARRAY(arena, const col_node *, graph->node_count)};
    COL_FOR_EACH_NODE (node, graph) {
        node->group = 0;
        u.nodes[u.count++] = node;
    }
    u.values = evaluate_all(graph, vars, arena);
    return check_unit(&u);
}

static void test_every_op(void **unused)
{
    (void)unused;
    unit_random random = {1};
    for (int op = 0; op < COL_OP_COUNT; op++) {
        const col_op_info *info = col_op_info_of((col_op)op);
        int split = 0;
        bool collective = (info->required_attrs >> COL_ATTR_MESH_AXES & 1) != 0 || op == COL_OP_WAIT;
        if (info->lower || collective) {
            assert_null(info->factors);
            assert_null(info->local);
            continue;
        }
        if (!info->factors || !info->local) fail_msg("no rule of how '%s' is split", info->name);
        for (size_t i = 0; i < sample_count; i++) {
            if ((int)samples[i].op != op) continue;
            col_arena *arena = col_arena_create();
            col_node *node = sample_build(&samples[i], arena);
            factor_case c = {.b = {.graph = node->graph}, .random = &random};
            split += check_alone(node, factor_case_fill(&c, arena), arena);
            col_arena_destroy(arena);
        }
        int rounds = info->op_class == COL_CLASS_ELEMENTWISE ? 6 : 40;
        for (int i = 0; i < rounds; i++) {
            col_arena *arena = col_arena_create();
            factor_case c = factor_case_start(arena, &random);
            col_node *node = factor_case_of(&c, (col_op)op);
            if (node) split += check_alone(node, factor_case_fill(&c, arena), arena);
            col_arena_destroy(arena);
        }
        if (!split) fail_msg("'%s' was never split", info->name);
    }
}

static col_factors *factors_of_graph(const col_graph *graph, col_arena *arena)
{
    const col_node **nodes = COL_NEW_ARRAY(arena, const col_node *, graph->node_count);
    size_t count = 0;
    COL_FOR_EACH_NODE (node, graph) nodes[count++] = node;
    return col_factors_of(nodes, count, arena);
}

/* Composites lowered, all of their nodes as one unit. */
static void test_lowered_composites(void **unused)
{
    (void)unused;
    static const struct {
        col_op op;
        int axis;
        const char *types;
        int at_least; /* factors */
    } cases[] = {
        {COL_OP_SOFTMAX, 1, "f32[4, 6]", 2},
        {COL_OP_SOFTMAX, 0, "f32[4, 6]", 2},
        {COL_OP_LOG_SOFTMAX, 2, "f32[2, 3, 4]", 3},
        {COL_OP_LAYER_NORM, -1, "f32[2, 4, 6] f32[6] f32[6]", 3},
        {COL_OP_CROSS_ENTROPY, -1, "f32[4, 2, 6] i32[4, 2]", 3},
        {COL_OP_GELU_TANH, -1, "f32[4, 6]", 2},
        {COL_OP_MEAN, -1, "f32[4, 6]", 2},
    };
    static const int64_t first_axis = 0;
    unit_random random = {2};
    col_pass_options options = col_pass_options_default();
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_arena *arena = col_arena_create();
        factor_case c = factor_case_start(arena, &random);
        col_type types[64];
        col_value *x[64];
        uint32_t count = sample_types(cases[i].types, types);
        for (uint32_t k = 0; k < count; k++) x[k] = factor_input(&c, types[k].dtype, types[k].shape);
        col_attr axis = col_attr_int(COL_ATTR_AXIS, cases[i].axis);
        if (cases[i].op == COL_OP_MEAN) axis = col_attr_ints(COL_ATTR_AXES, 1, &first_axis);
        col_node *node =
            col_build(&c.b, cases[i].op, count, x, cases[i].op == COL_OP_MEAN || cases[i].axis >= 0, &axis);
        for (uint32_t k = 0; k < node->result_count; k++)
            col_graph_add_output(c.b.graph, col_arena_printf(arena, "y%u", k), &node->results[k],
                                 (col_loc){0});
        assert_ok(col_pass_lower(c.b.graph, &options));
        const col_node *nodes[256];
        size_t n = 0;
        COL_FOR_EACH_NODE (each, c.b.graph) nodes[n++] = each;
        assert_true(col_factors_count(col_factors_of(nodes, n, arena)) >= cases[i].at_least);
        assert_true(check_together(c.b.graph, factor_case_fill(&c, arena), arena) > 0);
        col_arena_destroy(arena);
    }
}

/* Queries, keys and values of one product, split into heads that meet: [b, t, 3 h d] to [b, h, t, t]. */
static void test_heads(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    unit_random random = {5};
    factor_case c = factor_case_start(arena, &random);
    col_value *x = factor_input(&c, COL_F32, col_shape_make(3, (int64_t[]){2, 3, 24})), *heads[3];
    col_attr attrs[] = {col_attr_int(COL_ATTR_PARTS, 3), col_attr_int(COL_ATTR_AXIS, 2)};
    col_node *parts = col_build(&c.b, COL_OP_SPLIT, 1, &x, 2, attrs);
    for (int i = 0; i < 3; i++) {
        heads[i] = col_build_reshape(&c.b, &parts->results[i], col_shape_make(4, (int64_t[]){2, 3, 4, 2}));
        heads[i] = col_build_transpose(&c.b, heads[i], (int64_t[]){0, 2, 1, 3});
    }
    col_value *scores = col_build_einsum(&c.b, "bhtd,bhsd->bhts", heads[0], heads[1]);
    col_value *mixed = col_build_einsum(&c.b, "bhts,bhsd->bhtd", scores, heads[2]);
    assert_true(check_together(c.b.graph, factor_case_fill(&c, arena), arena) > 0);
    col_factors *f = factors_of_graph(c.b.graph, arena);
    assert_true(col_factors_of_dim(f, x, 0) >= 0);
    assert_int_equal(col_factors_of_dim(f, x, 2), -1);
    assert_int_equal(col_factors_of_dim(f, mixed, 0), col_factors_of_dim(f, x, 0));
    col_arena_destroy(arena);
}

/* Rows of a table that are also the rows of what is looked up in it: a sum over them cannot have them. */
static void test_sum_over_own_factor(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    unit_random random = {6};
    factor_case c = factor_case_start(arena, &random);
    col_value *table = factor_input(&c, COL_F32, col_shape_make(2, (int64_t[]){4, 6}));
    col_value *ids = factor_input(&c, COL_I32, col_shape_make(1, (int64_t[]){4}));
    c.limit[1] = 4;
    col_value *rows = col_build_binary(&c.b, COL_OP_EMBEDDING, table, ids);
    col_build_binary(&c.b, COL_OP_ADD, rows, table);
    assert_true(check_together(c.b.graph, factor_case_fill(&c, arena), arena) > 0);
    assert_int_equal(col_factors_of_dim(factors_of_graph(c.b.graph, arena), table, 0), -1);
    col_arena_destroy(arena);
}

/* Random graphs of views, reductions and elementwise ops, each as one unit. */
static col_value *grow(factor_case *c, col_value *const *made, int count)
{
    col_value *x = made[random_int(c->random, 0, count - 1)], *y = made[random_int(c->random, 0, count - 1)];
    col_shape joint, shape = x->type.shape;
    int64_t perm[COL_MAX_RANK], axis = shape.rank ? random_int(c->random, 0, shape.rank - 1) : 0;
    switch (random_int(c->random, 0, 5)) {
    case 0: return col_build_reshape(&c->b, x, factor_regrouped(c->random, shape));
    case 1:
        for (int d = 0; d < shape.rank; d++) perm[d] = (d + axis) % shape.rank;
        return col_build_transpose(&c->b, x, perm);
    case 2:
        if (!shape.rank) return col_build_unary(&c->b, COL_OP_TANH, x);
        return col_build_reduce(&c->b, random_chance(c->random, 0.5) ? COL_OP_SUM : COL_OP_MAX, x, 1, &axis,
                                random_chance(c->random, 0.5));
    case 3:
        if (!shape.rank || shape.rank > 3) return col_build_unary(&c->b, COL_OP_NEG, x);
        joint = shape;
        memmove(joint.dims + 1, joint.dims, sizeof *joint.dims * (size_t)joint.rank++);
        joint.dims[0] = col_shape_numel(shape) > 60 ? 1 : random_int(c->random, 1, 4);
        return col_build_broadcast(&c->b, x, joint);
    default:
        if (!col_shape_broadcast(shape, y->type.shape, &joint) || col_shape_numel(joint) > 400)
            return col_build_unary(&c->b, COL_OP_SIN, x);
        return col_build_binary(&c->b, random_chance(c->random, 0.5) ? COL_OP_ADD : COL_OP_MUL, x, y);
    }
}

static void test_random_units(void **unused)
{
    (void)unused;
    unit_random random = {3};
    int split = 0;
    for (int i = 0; i < 150; i++) {
        col_arena *arena = col_arena_create();
        factor_case c = factor_case_start(arena, &random);
        col_value *made[16];
        int count = 0;
        col_shape shape = factor_shape(&random, 2);
        made[count++] = factor_input(&c, COL_F32, shape);
        made[count++] =
            factor_input(&c, COL_F32, random_chance(&random, 0.5) ? shape : factor_shape(&random, 3));
        while (count < 9) {
            made[count] = grow(&c, made, count);
            count++;
        }
        if (c.b.graph->node_count) split += check_together(c.b.graph, factor_case_fill(&c, arena), arena);
        col_arena_destroy(arena);
    }
    assert_true(split > 500);
}

static void test_expected_factors(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    unit_random random = {4};
    col_op kind;

    factor_case c = factor_case_start(arena, &random);
    col_value *x = factor_input(&c, COL_F32, col_shape_make(3, (int64_t[]){2, 4, 8}));
    col_value *w = factor_input(&c, COL_F32, col_shape_make(2, (int64_t[]){8, 6}));
    col_value *y = col_build_einsum(&c.b, "btc,cn->btn", x, w);
    col_factors *f = factors_of_graph(c.b.graph, arena);
    assert_int_equal(col_factors_count(f), 4);
    int inner = col_factors_of_dim(f, x, 2);
    assert_int_equal(col_factors_size(f, inner), 8);
    assert_int_equal(inner, col_factors_of_dim(f, w, 0));
    assert_int_equal(col_factors_of_dim(f, x, 0), col_factors_of_dim(f, y, 0));
    col_strategy s = col_strategy_replicated();
    s.factor[0] = (int8_t)inner;
    col_layout layout = col_factors_result_layout(f, &s, y);
    assert_int_equal(layout.partial, 1);
    assert_int_equal(col_factors_reduced_axes(f, &s, y, &kind), 1);
    assert_int_equal(kind, COL_OP_SUM);
    col_mesh mesh = {.rank = 1, .dims = {4}};
    assert_true(col_strategy_is_valid(f, &s, &mesh));
    assert_true(col_factors_share(f, &s, &mesh, y->producer) == 0.25);
    mesh.dims[0] = 3;
    assert_false(col_strategy_is_valid(f, &s, &mesh));

    /* Slots of one value apart in a unit of one node. */
    c = factor_case_start(arena, &random);
    x = factor_input(&c, COL_F32, col_shape_make(2, (int64_t[]){2, 4}));
    y = col_build_einsum(&c.b, "bi,bj->ij", x, x);
    f = factors_of_graph(c.b.graph, arena);
    assert_int_equal(col_factors_count(f), 3);
    assert_true(col_factors_of_dim(f, y, 0) >= 0 && col_factors_of_dim(f, y, 1) >= 0);

    /* Heads: [b, t, h d] to [b, t, h, d] to [b, h, t, d]. */
    c = factor_case_start(arena, &random);
    x = factor_input(&c, COL_F32, col_shape_make(3, (int64_t[]){2, 4, 24}));
    y = col_build_reshape(&c.b, x, col_shape_make(4, (int64_t[]){2, 4, 6, 4}));
    y = col_build_transpose(&c.b, y, (int64_t[]){0, 2, 1, 3});
    f = factors_of_graph(c.b.graph, arena);
    assert_int_equal(col_factors_count(f), 3);
    assert_int_equal(col_factors_size(f, col_factors_of_dim(f, x, 2)), 6);
    assert_int_equal(col_factors_of_dim(f, x, 2), col_factors_of_dim(f, y, 1));
    assert_int_equal(col_factors_of_dim(f, y, 3), -1);

    /* Sizes with a common divisor share it; without one they are whole. */
    c = factor_case_start(arena, &random);
    x = factor_input(&c, COL_F32, col_shape_make(2, (int64_t[]){6, 4}));
    y = col_build_reshape(&c.b, x, col_shape_make(2, (int64_t[]){4, 6}));
    f = factors_of_graph(c.b.graph, arena);
    assert_int_equal(col_factors_count(f), 1);
    assert_int_equal(col_factors_size(f, 0), 2);
    c = factor_case_start(arena, &random);
    x = factor_input(&c, COL_F32, col_shape_make(2, (int64_t[]){3, 4}));
    col_build_reshape(&c.b, x, col_shape_make(2, (int64_t[]){4, 3}));
    assert_int_equal(col_factors_count(factors_of_graph(c.b.graph, arena)), 0);

    /* Attention: batch and heads. */
    c = factor_case_start(arena, &random);
    x = factor_input(&c, COL_F32, col_shape_make(4, (int64_t[]){4, 2, 6, 8}));
    col_build(&c.b, COL_OP_ATTENTION, 3, (col_value *[]){x, x, x}, 0, NULL);
    f = factors_of_graph(c.b.graph, arena);
    assert_int_equal(col_factors_count(f), 2);
    assert_int_equal(col_factors_size(f, 0), 4);
    assert_int_equal(col_factors_size(f, 1), 6);
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expected_factors),    cmocka_unit_test(test_every_op),
        cmocka_unit_test(test_lowered_composites),  cmocka_unit_test(test_heads),
        cmocka_unit_test(test_sum_over_own_factor), cmocka_unit_test(test_random_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
