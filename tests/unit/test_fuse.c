/* The fusion pass: how many kernels known patterns become, and random graphs, whose groups must stand
 * together, respect data flow and compute what the reference computes. */
#include "tests/unit/unit.h"

#include <math.h>

#include "tests/unit/kernel_run.h"
#include "tests/unit/random.h"

#include "ir/units.h"
#include "ir/view.h"
#include "passes/pass.h"

typedef struct counts {
    int forward, backward, update;
} counts;

static counts count_kernels(const col_graph *graph)
{
    int by_phase[COL_PHASE_COUNT] = {0};
    int32_t last = -1;
    COL_FOR_EACH_NODE (node, graph) {
        if (node->group >= 0 && node->group != last) by_phase[node->phase]++;
        if (node->group >= 0) last = node->group;
    }
    return (counts){by_phase[0], by_phase[1], by_phase[2]};
}

static counts fuse(const char *text, bool train)
{
    col_arena *arena = col_arena_create();
    col_graph *graph = kernel_run_parse(text, arena);
    if (train) {
        const col_pass *passes[] = {col_pass_find("autodiff"), col_pass_find("optimizer")};
        col_pass_options options = col_pass_options_default();
        assert_ok(col_passes_run(graph, passes, COL_COUNT(passes), &options, NULL));
    }
    kernel_run_prepare(graph);
    counts c = count_kernels(graph);
    assert_int_equal(c.forward + c.backward + c.update, kernel_run_count(graph));
    col_arena_destroy(arena);
    return c;
}

static void composites_are_one_kernel(void **unused)
{
    (void)unused;
    static const char *const one[] = {
        "model m()\ninput x : f32[4, 64, 300]\noutput y = softmax(x, axis = -1)\n",
        "model m()\ninput x : f32[4, 64, 300]\noutput y = log_softmax(x, axis = 1)\n",
        "model m()\ninput x : f32[4, 64, 300]\noutput y = gelu(x)\n",
        "model m()\ninput x : f32[4, 64, 300]\noutput y = silu(gelu_tanh(x))\n",
        /* a residual block's seam: bias, dropout, addition, norm; the sum goes on as well */
        "model m()\ninput x, r : f32[4, 64, 300]\ninput rng : i64[2]\nparam bias, g, b : f32[300] ~ zeros\n"
        "s = r + dropout(x + bias, rng, rate = 0.1, salt = 1)\noutput s = s\noutput y = layer_norm(s, g, "
        "b)\n",
        /* token and position embeddings */
        "model m()\ninput ids : i32[4, 16]\nparam t : f32[50, 32] ~ zeros\nparam p : f32[16, 32] ~ zeros\n"
        "param g, b : f32[32] ~ zeros\noutput y = layer_norm(embedding(t, ids) + p, g, b)\n",
        /* heads taken apart: bias, reshape, transpose */
        "model m()\ninput x : f32[4, 16, 32]\nparam b : f32[32] ~ zeros\n"
        "output y = transpose(reshape(x + b, shape = [4, 16, 2, 16]), perm = [0, 2, 1, 3]) * 2.0\n",
        /* rank 0 */
        "model m()\ninput a, b, c : f32[]\noutput y = sqrt(a * b + c) / (1.0 + exp(-b))\n",
    };
    for (size_t i = 0; i < COL_COUNT(one); i++) {
        counts c = fuse(one[i], false);
        if (c.forward != 1) fail_msg("%d kernels instead of one:\n%s", c.forward, one[i]);
    }
}

static void losses(void **unused)
{
    (void)unused;
    /* A row kernel, then the mean; backward, logits' gradient in one. */
    counts c = fuse("model m()\nparam x : f32[64, 1000] ~ zeros\ninput k : i32[64]\n"
                    "output loss = cross_entropy(x, k)\n",
                    true);
    assert_int_equal(c.forward, 2);
    assert_int_equal(c.backward, 1);
}

static void norm_backward(void **unused)
{
    (void)unused;
    /* Forward: the norm with the row sums of the loss, their mean. Backward: dx in one kernel by rows; the
     * gradients of scale and bias in one by columns. */
    counts c = fuse(
        "model m()\nparam x : f32[64, 300] ~ zeros\nparam g, b : f32[300] ~ zeros\ninput w : f32[64, 300]\n"
        "y = layer_norm(x, g, b)\noutput loss = sum(y * w, axes = [0, 1])\n",
        true);
    assert_int_equal(c.backward, 2);
}

static void update_is_one_kernel(void **unused)
{
    (void)unused;
    /* Per parameter: a sum of squares (large ones in two steps) and the update; besides, the scalars. */
    static const char text[] = "model m()\ninput x : f32[8, 30]\ninput k : i32[8]\n%s"
                               "output loss = cross_entropy(h, k)\n";
    int kernels[3];
    for (int layers = 0; layers < 3; layers++) {
        char body[512] = "h = linear(x, 30) @ l\n", whole[1024];
        for (int i = 0; i < layers; i++)
            snprintf(body + strlen(body), sizeof body - strlen(body), "h = linear(h, 30) @ l%d\n", i);
        snprintf(whole, sizeof whole, text, body);
        kernels[layers] = fuse(whole, true).update;
    }
    assert_int_equal(kernels[2] - kernels[1], kernels[1] - kernels[0]);
    assert_true(kernels[1] - kernels[0] <= 4); /* two parameters */
}

static void backward_recomputes_activations(void **unused)
{
    (void)unused;
    /* gelu's input is a product plus bias; nothing but the product is kept for the backward phase. */
    col_arena *arena = col_arena_create();
    col_graph *graph = kernel_run_parse(
        "model m()\ninput x : f32[16, 30]\ninput k : i32[16]\n"
        "h = gelu_tanh(linear(x, 40) @ a)\noutput loss = cross_entropy(linear(h, 9) @ b, k)\n",
        arena);
    const col_pass *passes[] = {col_pass_find("autodiff"), col_pass_find("optimizer")};
    col_pass_options options = col_pass_options_default();
    assert_ok(col_passes_run(graph, passes, COL_COUNT(passes), &options, NULL));
    kernel_run_prepare(graph);
    const col_units *units = col_units_of(graph, arena);
    for (uint32_t u = 0; u < units->count; u++) {
        const col_unit *unit = &units->units[u];
        if (unit->nodes[0]->phase != COL_PHASE_FORWARD || unit->nodes[0]->group < 0) continue;
        for (uint32_t i = 0; i < unit->write_count; i++) {
            const col_value *value = unit->writes[i];
            if (col_shape_numel(value->type.shape) != 16 * 40) continue;
            assert_int_equal(unit->write_count, 1); /* the activation itself, for the next product */
        }
    }
    col_arena_destroy(arena);
}

/* Random graphs. */

enum { POOL = 40 };

typedef struct pool {
    col_builder b;
    unit_random *r;
    col_value *values[POOL];
    int count;
} pool;

static col_value *pick(pool *p)
{
    /* Mostly late ones, for depth. */
    int a = (int)random_int(p->r, 0, p->count - 1), c = (int)random_int(p->r, 0, p->count - 1);
    return p->values[a > c ? a : c];
}

static col_value *random_binary(pool *p)
{
    static const col_op ops[] = {COL_OP_ADD, COL_OP_SUB, COL_OP_MUL, COL_OP_MAXIMUM};
    col_value *x = pick(p), *y = pick(p);
    col_shape shape;
    if (!col_shape_broadcast(x->type.shape, y->type.shape, &shape) || col_shape_numel(shape) > 5000)
        return NULL;
    return col_build_binary(&p->b, ops[random_int(p->r, 0, 3)], x, y);
}

static col_value *random_reshape(pool *p)
{
    col_value *x = pick(p);
    int64_t numel = col_shape_numel(x->type.shape), outer = random_int(p->r, 1, 6);
    if (numel % outer) return NULL;
    return col_build_reshape(&p->b, x, col_shape_make(2, (int64_t[]){outer, numel / outer}));
}

static col_value *random_view(pool *p)
{
    col_value *x = pick(p);
    col_shape shape = x->type.shape;
    int64_t starts[COL_MAX_RANK], stops[COL_MAX_RANK], perm[COL_MAX_RANK];
    if (!shape.rank) return NULL;
    for (int i = 0; i < shape.rank; i++) {
        perm[i] = shape.rank - 1 - i;
        starts[i] = random_int(p->r, 0, shape.dims[i] - 1);
        stops[i] = random_int(p->r, starts[i] + 1, shape.dims[i]);
    }
    return random_chance(p->r, 0.6) ? col_build_transpose(&p->b, x, perm)
                                    : col_build_slice(&p->b, x, starts, stops);
}

static col_value *random_reduction(pool *p)
{
    col_value *x = pick(p);
    if (!x->type.shape.rank) return NULL;
    int64_t axis = random_int(p->r, 0, x->type.shape.rank - 1);
    return col_build_reduce(&p->b, random_chance(p->r, 0.7) ? COL_OP_SUM : COL_OP_MAX, x, 1, &axis,
                            random_chance(p->r, 0.6));
}

static col_value *random_move(pool *p)
{
    col_value *x = pick(p);
    int rank = x->type.shape.rank;
    if (!rank) return NULL;
    if (random_chance(p->r, 0.5)) {
        col_value *parts[] = {x, x};
        return col_build_concat(&p->b, 2, parts, (int)random_int(p->r, 0, rank - 1));
    }
    int64_t axis = random_int(p->r, 0, rank - 1);
    col_value *ramp = col_build_iota(&p->b, x->type, (int)axis);
    col_value *half = col_build_scalar(&p->b, 2, COL_F32);
    return col_build_where(&p->b, col_build_binary(&p->b, COL_OP_LT, ramp, half), x, ramp);
}

static col_value *random_value(pool *p)
{
    switch (random_int(p->r, 0, 11)) {
    case 0:
    case 1: return col_build_unary(&p->b, COL_OP_TANH, pick(p));
    case 2:
    case 3: return random_reshape(p);
    case 4: return random_view(p);
    case 5:
    case 6: return random_reduction(p);
    case 7: return random_move(p);
    default: return random_binary(p);
    }
}

static col_graph *random_graph(unit_random *r, col_arena *arena)
{
    static const int64_t shapes[][2] = {{4, 6}, {4, 1}, {1, 6}, {6, 4}, {2, 12}};
    col_graph *graph = col_graph_create(arena, "random");
    pool p = {.b = {.graph = graph}, .r = r};
    for (size_t i = 0; i < COL_COUNT(shapes); i++) {
        col_type type = {COL_F32, col_shape_make(2, shapes[i])};
        p.values[p.count++] = col_graph_add_var(graph, COL_VAR_INPUT, col_arena_printf(arena, "x%zu", i),
                                                type, (col_init){0}, (col_loc){0})
                                  ->value;
    }
    while (p.count < POOL) {
        p.b.phase = p.count > POOL / 2 ? COL_PHASE_BACKWARD : COL_PHASE_FORWARD;
        col_value *made = random_value(&p);
        if (made) p.values[p.count++] = col_shape_numel(made->type.shape) > 2000 ? p.values[0] : made;
    }
    for (int i = 0; i < 4; i++)
        col_graph_add_output(graph, col_arena_printf(arena, "y%d", i), p.values[POOL - 1 - 3 * i],
                             (col_loc){0});
    return graph;
}

/* Groups are contiguous, numbered in order, of one phase; what they read stands before them. */
static void check_order(const col_graph *graph, col_arena *arena)
{
    bool *made = COL_NEW_ARRAY(arena, bool, graph->next_value_id);
    for (size_t i = 0; i < graph->vars.len; i++) made[graph->vars.data[i]->value->id] = true;
    int32_t next = 0, current = -1;
    col_phase phase = COL_PHASE_FORWARD;
    COL_FOR_EACH_NODE (node, graph) {
        if (node->group >= 0 && node->group != current) {
            assert_int_equal(node->group, next);
            next++;
        } else if (node->group >= 0) {
            assert_true(node->prev->group == node->group && node->phase == phase);
        }
        current = node->group;
        phase = node->phase;
        for (uint32_t i = 0; i < node->operand_count; i++) assert_true(made[col_node_operand(node, i)->id]);
        for (uint32_t i = 0; i < node->result_count; i++) made[node->results[i].id] = true;
    }
}

/* The numbers are of order one, also where they cancel. */
static double largest_error(const col_tensor *got, const col_tensor *expected)
{
    double worst = 0;
    for (int64_t i = 0; i < col_shape_numel(got->type.shape); i++) {
        double error = fabs(got->data[i] - expected->data[i]) / fmax(fabs(expected->data[i]), 1);
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

static int random_graphs = 60;

static void random_graphs_agree(void **unused)
{
    (void)unused;
    for (int i = 0; i < random_graphs; i++) {
        col_arena *arena = col_arena_create();
        unit_random r = {(uint64_t)i};
        col_graph *graph = random_graph(&r, arena);
        const col_tensor *vars = kernel_run_fill(graph, (uint64_t)i, arena);
        const col_tensor *expected = kernel_run_reference(graph, vars, arena);
        kernel_run_prepare(graph);
        check_order(graph, arena);
        const col_tensor *got = kernel_run(graph, vars, &(kernel_run_options){.split = (uint64_t)i}, arena);
        for (size_t o = 0; o < graph->outputs.len; o++) {
            double distance = largest_error(&got[o], &expected[o]);
            if (distance <= 1e-4) continue;
            col_str text = {0};
            col_graph_print(graph, &text);
            fail_msg("random graph %d, output %zu: off by %g\n%s", i, o, distance, col_str_text(&text));
        }
        col_arena_destroy(arena);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) random_graphs = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(composites_are_one_kernel),
        cmocka_unit_test(losses),
        cmocka_unit_test(norm_backward),
        cmocka_unit_test(update_is_one_kernel),
        cmocka_unit_test(backward_recomputes_activations),
        cmocka_unit_test(random_graphs_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
