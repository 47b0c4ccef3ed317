/* Differentiation of whole models: against finite differences, and what it refuses. */
#include "tests/unit/unit.h"

#include "passes/autodiff.h"
#include "passes/gradcheck.h"
#include "passes/pass.h"

#include <math.h>

typedef struct model {
    col_arena *arena;
    col_graph *graph;
    col_builder b;
} model;

static void model_init(model *m)
{
    m->arena = col_arena_create();
    m->graph = col_graph_create(m->arena, "model");
    m->b = (col_builder){.graph = m->graph};
}

static col_value *var(model *m, col_var_kind kind, const char *name, col_dtype dtype, int rank,
                      const int64_t *dims)
{
    col_type type = col_type_make(dtype, col_shape_make(rank, dims));
    return col_graph_add_var(m->graph, kind, name, type, (col_init){0}, (col_loc){0})->value;
}

#define DIMS(...)                                                                                            \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                             \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define PARAM(m, name, ...)        var(m, COL_VAR_PARAM, name, COL_F32, DIMS(__VA_ARGS__))
#define INPUT(m, name, dtype, ...) var(m, COL_VAR_INPUT, name, dtype, DIMS(__VA_ARGS__))

static void set_loss(model *m, col_value *loss)
{
    col_graph_add_output(m->graph, "loss", loss, (col_loc){0});
}

static col_value *mean_of(model *m, col_value *x)
{
    int64_t axes[COL_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    return col_build_reduce(&m->b, COL_OP_MEAN, x, x->type.shape.rank, axes, false);
}

static col_status differentiate(model *m)
{
    col_pass_options options = col_pass_options_default();
    return col_pass_autodiff(m->graph, &options);
}

static void check_gradients(model *m, int64_t samples, size_t parameters)
{
    assert_ok(differentiate(m));
    assert_ok(col_graph_verify(m->graph));
    assert_int_equal(m->graph->outputs.len, 1 + parameters);
    col_tensor *vars = col_evaluate_vars(m->graph, m->arena);
    col_gradcheck_fill(m->graph, 1, false, vars);
    col_gradcheck check;
    assert_ok(col_gradcheck_graph(m->graph, vars, samples, 2, &check));
    assert_true(check.checked > 0);
    if (!(check.worst < COL_GRADCHECK_TOLERANCE)) {
        fail_msg("%s[%d]: gradient %g, differences %g", m->graph->vars.data[check.worst_variable]->name,
                 (int)check.worst_element, check.analytic, check.numeric);
    }
}

static col_value *linear(model *m, col_value *x, const char *name, int64_t in, int64_t out)
{
    col_value *weight = PARAM(m, col_arena_printf(m->arena, "%s.weight", name), in, out);
    col_value *bias = PARAM(m, col_arena_printf(m->arena, "%s.bias", name), out);
    const char *equation = x->type.shape.rank == 3 ? "btc,cn->btn" : "tc,cn->tn";
    return col_build_binary(&m->b, COL_OP_ADD, col_build_einsum(&m->b, equation, x, weight), bias);
}

static void test_mlp(void **unused)
{
    (void)unused;
    model m;
    model_init(&m);
    col_value *x = INPUT(&m, "x", COL_F32, 3, 4);
    x = col_build_unary(&m.b, COL_OP_TANH, linear(&m, x, "fc1", 4, 5));
    x = col_build_unary(&m.b, COL_OP_GELU, linear(&m, x, "fc2", 5, 5));
    x = linear(&m, x, "fc3", 5, 2);
    set_loss(&m, mean_of(&m, col_build_binary(&m.b, COL_OP_MUL, x, x)));
    check_gradients(&m, 0, 6);
    col_arena_destroy(m.arena);
}

enum { BATCH = 2, TIME = 4, WIDTH = 6, HEADS = 2, VOCAB = 7 };

static col_value *layer_norm(model *m, col_value *x, const char *name)
{
    col_value *weight = PARAM(m, col_arena_printf(m->arena, "%s.weight", name), WIDTH);
    col_value *bias = PARAM(m, col_arena_printf(m->arena, "%s.bias", name), WIDTH);
    return &col_build(&m->b, COL_OP_LAYER_NORM, 3, (col_value *[]){x, weight, bias}, 0, NULL)->results[0];
}

static col_value *dropout(model *m, col_value *x, col_value *generator, int64_t salt)
{
    col_attr attrs[] = {col_attr_float(COL_ATTR_RATE, 0.2), col_attr_int(COL_ATTR_SALT, salt)};
    return &col_build(&m->b, COL_OP_DROPOUT, 2, (col_value *[]){x, generator}, 2, attrs)->results[0];
}

static col_value *self_attention(model *m, col_value *x, const char *name, col_value *generator, int64_t salt)
{
    x = linear(m, x, col_arena_printf(m->arena, "%s.c_attn", name), WIDTH, 3 * WIDTH);
    col_attr parts[] = {col_attr_int(COL_ATTR_PARTS, 3), col_attr_int(COL_ATTR_AXIS, -1)};
    col_node *split = col_build(&m->b, COL_OP_SPLIT, 1, &x, 2, parts);
    col_value *operands[4] = {NULL, NULL, NULL, generator};
    col_shape heads = col_shape_make(4, (int64_t[]){BATCH, TIME, HEADS, WIDTH / HEADS});
    for (int i = 0; i < 3; i++) operands[i] = col_build_reshape(&m->b, &split->results[i], heads);
    col_attr attrs[] = {col_attr_int(COL_ATTR_CAUSAL, 1), col_attr_float(COL_ATTR_SCALE, 0.6),
                        col_attr_float(COL_ATTR_RATE, 0.1), col_attr_int(COL_ATTR_SALT, salt)};
    x = &col_build(&m->b, COL_OP_ATTENTION, 4, operands, 4, attrs)->results[0];
    x = col_build_reshape(&m->b, x, col_shape_make(3, (int64_t[]){BATCH, TIME, WIDTH}));
    return linear(m, x, col_arena_printf(m->arena, "%s.c_proj", name), WIDTH, WIDTH);
}

/* GPT-2 with its tied head, dropout and learned positions, small. */
static void build_gpt(model *m, int layers)
{
    col_value *ids = INPUT(m, "input_ids", COL_I32, BATCH, TIME);
    col_value *labels = INPUT(m, "labels", COL_I32, BATCH, TIME);
    col_value *generator = INPUT(m, "generator", COL_I64, 2);
    col_value *wte = PARAM(m, "wte.weight", VOCAB, WIDTH), *wpe = PARAM(m, "wpe.weight", TIME, WIDTH);
    col_attr shape = col_attr_ints(COL_ATTR_SHAPE, 1, (int64_t[]){TIME});
    col_value *positions = &col_build(&m->b, COL_OP_POSITION_IDS, 0, NULL, 1, &shape)->results[0];
    col_value *x = col_build_binary(&m->b, COL_OP_ADD, col_build_binary(&m->b, COL_OP_EMBEDDING, wte, ids),
                                    col_build_binary(&m->b, COL_OP_EMBEDDING, wpe, positions));
    for (int i = 0; i < layers; i++) {
        const char *name = col_arena_printf(m->arena, "h.%d", i);
        m->b.scope = name;
        col_value *y = layer_norm(m, x, col_arena_printf(m->arena, "%s.ln_1", name));
        y = self_attention(m, y, col_arena_printf(m->arena, "%s.attn", name), generator, 3 * i);
        x = col_build_binary(&m->b, COL_OP_ADD, x, dropout(m, y, generator, 3 * i + 1));
        y = layer_norm(m, x, col_arena_printf(m->arena, "%s.ln_2", name));
        y = linear(m, y, col_arena_printf(m->arena, "%s.mlp.c_fc", name), WIDTH, 4 * WIDTH);
        y = col_build_unary(&m->b, COL_OP_GELU_TANH, y);
        y = linear(m, y, col_arena_printf(m->arena, "%s.mlp.c_proj", name), 4 * WIDTH, WIDTH);
        x = col_build_binary(&m->b, COL_OP_ADD, x, dropout(m, y, generator, 3 * i + 2));
    }
    m->b.scope = "";
    x = layer_norm(m, x, "ln_f");
    col_value *logits = col_build_einsum(&m->b, "btc,vc->btv", x, wte);
    col_attr ignore = col_attr_int(COL_ATTR_IGNORE_INDEX, 1);
    set_loss(
        m,
        &col_build(&m->b, COL_OP_CROSS_ENTROPY, 2, (col_value *[]){logits, labels}, 1, &ignore)->results[0]);
}

static size_t count_op(const col_graph *graph, col_op op)
{
    size_t count = 0;
    COL_FOR_EACH_NODE (node, graph) count += node->op == op;
    return count;
}

static void test_gpt(void **unused)
{
    (void)unused;
    model m;
    model_init(&m);
    build_gpt(&m, 2);
    check_gradients(&m, 4, 2 + 2 * 12 + 2);
    /* The tied table: rows go onto the head's gradient, so one scatter has zeros and one has not. */
    size_t onto_zeros = 0;
    COL_FOR_EACH_NODE (node, m.graph) {
        const col_node *base = node->op == COL_OP_SCATTER_ADD ? col_node_operand(node, 0)->producer : NULL;
        if (base && base->op == COL_OP_CONSTANT) onto_zeros++;
    }
    assert_int_equal(count_op(m.graph, COL_OP_SCATTER_ADD), 2);
    assert_int_equal(onto_zeros, 1);
    assert_int_equal(count_op(m.graph, COL_OP_ATTENTION_GRAD), 2);
    COL_FOR_EACH_NODE (node, m.graph) {
        if (node->op == COL_OP_ATTENTION_GRAD) assert_true(!strncmp(node->scope, "h.", 2));
    }
    col_arena_destroy(m.arena);
}

/* The whole step, lowered and simplified, still gives the gradients of the step as it was differentiated. */
static void test_simplified_gpt(void **unused)
{
    (void)unused;
    model m;
    model_init(&m);
    build_gpt(&m, 2);
    assert_ok(differentiate(&m));
    col_graph *simple = col_graph_clone(m.graph, m.arena);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_lower(simple, &options));
    assert_ok(col_pass_fold(simple, &options));
    assert_ok(col_pass_cse(simple, &options));
    assert_ok(col_pass_dce(simple, &options));
    assert_ok(col_graph_verify(simple));
    col_tensor *vars = col_evaluate_vars(m.graph, m.arena);
    col_gradcheck_fill(m.graph, 1, false, vars);
    col_evaluation x, y;
    assert_ok(col_evaluate(m.graph, NULL, vars, m.arena, &x));
    assert_ok(col_evaluate(simple, NULL, vars, m.arena, &y));
    for (size_t i = 0; i < m.graph->outputs.len; i++) {
        for (int64_t j = 0; j < col_shape_numel(x.outputs[i].type.shape); j++) {
            /* Folding rounds constants to f32. */
            assert_true(fabs(x.outputs[i].data[j] - y.outputs[i].data[j]) < 1e-6);
        }
    }
    col_arena_destroy(m.arena);
}

/* What `colc verify` does: every node of a model by itself, with the demand that the model makes of it. */
static void test_nodes_of_gpt(void **unused)
{
    (void)unused;
    model m;
    model_init(&m);
    build_gpt(&m, 1);
    bool *active = col_autodiff_active(m.graph, m.arena);
    size_t checked = 0;
    COL_FOR_EACH_NODE (node, m.graph) {
        bool wanted[8], used[8];
        if (!col_gradcheck_demand(node, active, wanted, used)) continue;
        col_gradcheck check;
        assert_ok(col_gradcheck_node(node, wanted, used, 3, 1, &check));
        assert_true(check.checked > 0 && check.worst < COL_GRADCHECK_TOLERANCE);
        checked++;
    }
    assert_true(checked >= 20);
    col_arena_destroy(m.arena);
}

static void test_wrong_gradients_are_found(void **unused)
{
    (void)unused;
    model m;
    model_init(&m);
    col_value *a = PARAM(&m, "a", 3), *b = PARAM(&m, "b", 3);
    set_loss(&m, mean_of(&m, col_build_binary(&m.b, COL_OP_MUL, a, b)));
    assert_ok(differentiate(&m));
    /* b's gradient, off by a tenth at every element. */
    col_output *wrong = &m.graph->outputs.data[2];
    m.b.phase = COL_PHASE_BACKWARD;
    wrong->value = col_build_binary(&m.b, COL_OP_MUL, wrong->value, col_build_scalar(&m.b, 1.1, COL_F32));
    col_tensor *vars = col_evaluate_vars(m.graph, m.arena);
    col_gradcheck_fill(m.graph, 1, false, vars);
    col_gradcheck check;
    assert_ok(col_gradcheck_graph(m.graph, vars, 2, 1, &check));
    assert_int_equal(check.checked, 4);
    assert_int_equal(check.worst_variable, 1);
    assert_true(check.worst > 1e-2);
    col_arena_destroy(m.arena);
}

/* One value used twice, through copies that hand on the very same gradient. */
static void test_shared_gradients(void **unused)
{
    (void)unused;
    model m;
    model_init(&m);
    col_value *a = PARAM(&m, "a", 5, 5), *b = PARAM(&m, "b", 5, 5), *ids = INPUT(&m, "ids", COL_I32, 3);
    col_value *table = col_build_binary(&m.b, COL_OP_ADD, a, b);
    col_value *rows = col_build_binary(&m.b, COL_OP_EMBEDDING, table, ids);
    col_value *again = col_build_binary(&m.b, COL_OP_EMBEDDING, a, ids);
    col_value *squares = col_build_binary(&m.b, COL_OP_MUL, rows, again);
    set_loss(&m, mean_of(&m, col_build_binary(&m.b, COL_OP_ADD, squares, squares)));
    check_gradients(&m, 0, 2);
    col_arena_destroy(m.arena);
}

static void test_frozen_and_unused_parameters_have_no_gradient(void **unused)
{
    (void)unused;
    model m;
    model_init(&m);
    col_value *a = PARAM(&m, "a", 3), *frozen = PARAM(&m, "frozen", 3);
    PARAM(&m, "unused", 3);
    col_graph_find_var(m.graph, "frozen")->frozen = true;
    col_value *floor = col_build_unary(&m.b, COL_OP_FLOOR, a); /* gradient zero by definition */
    col_value *x = col_build_binary(&m.b, COL_OP_MUL, col_build_binary(&m.b, COL_OP_MUL, a, frozen), floor);
    set_loss(&m, mean_of(&m, x));
    check_gradients(&m, 0, 1);
    assert_non_null(col_graph_find_output(m.graph, "grad.a"));
    col_arena_destroy(m.arena);
}

static void test_refusals(void **unused)
{
    (void)unused;
    model m;
    model_init(&m);
    assert_fails(differentiate(&m), COL_BAD_INPUT, "no output 'loss'");
    set_loss(&m, PARAM(&m, "a", 3));
    assert_fails(differentiate(&m), COL_BAD_INPUT, "must be a floating-point scalar, not f32[3]");
    col_arena_destroy(m.arena);

    model_init(&m);
    set_loss(&m, mean_of(&m, INPUT(&m, "x", COL_F32, 3)));
    assert_fails(differentiate(&m), COL_BAD_INPUT, "depends on no parameter");
    col_arena_destroy(m.arena);

    model_init(&m);
    col_value *operands[] = {PARAM(&m, "a", 3, 4), PARAM(&m, "b", 3, 2), col_build_scalar(&m.b, 0, COL_I32)};
    col_attr axis = col_attr_int(COL_ATTR_AXIS, 1);
    m.b.loc =
        (col_loc){.source = &(col_source){"m.ir", "y = update_slice(a, b, 0)\n", 26}, .line = 1, .column = 5};
    set_loss(&m, mean_of(&m, &col_build(&m.b, COL_OP_UPDATE_SLICE, 3, operands, 1, &axis)->results[0]));
    assert_fails(differentiate(&m), COL_BAD_INPUT, "m.ir:1:5: error: 'update_slice' is not differentiable");
    col_arena_destroy(m.arena);

    /* The mask of an attention has no gradient: saying zero would be wrong. */
    model_init(&m);
    col_value *q = PARAM(&m, "q", 1, 2, 1, 2), *mask = PARAM(&m, "mask", 2, 2);
    col_node *attention = col_build(&m.b, COL_OP_ATTENTION, 4, (col_value *[]){q, q, q, mask}, 0, NULL);
    set_loss(&m, mean_of(&m, &attention->results[0]));
    assert_fails(differentiate(&m), COL_BAD_INPUT, "with respect to operand 4");
    col_arena_destroy(m.arena);

    model_init(&m);
    set_loss(&m, mean_of(&m, PARAM(&m, "a", 3)));
    assert_ok(differentiate(&m));
    assert_fails(differentiate(&m), COL_BAD_INPUT, "differentiated already");
    col_arena_destroy(m.arena);
}

static void test_optimizer_refusals_and_outputs(void **unused)
{
    (void)unused;
    model m;
    col_pass_options options = col_pass_options_default();
    model_init(&m);
    col_value *a = PARAM(&m, "a", 3);
    set_loss(&m, mean_of(&m, col_build_binary(&m.b, COL_OP_MUL, a, a)));
    assert_fails(col_pass_optimizer(m.graph, &options), COL_BAD_INPUT, "run the pass 'autodiff'");
    assert_ok(differentiate(&m));
    options.keep_gradients = true;
    options.accumulate = 2;
    assert_ok(col_pass_optimizer(m.graph, &options));
    assert_ok(col_graph_verify(m.graph));
    assert_non_null(col_graph_find_output(m.graph, "grad.a"));
    assert_non_null(col_graph_find_output(m.graph, "grad_norm"));
    assert_non_null(col_graph_find_output(m.graph, "learning_rate"));
    assert_non_null(col_graph_find_var(m.graph, "a.adam_m"));
    assert_non_null(col_graph_find_var(m.graph, "a.grad"));
    col_arena_destroy(m.arena);

    model_init(&m);
    a = PARAM(&m, "lr", 3);
    set_loss(&m, mean_of(&m, col_build_binary(&m.b, COL_OP_MUL, a, a)));
    assert_ok(differentiate(&m));
    assert_fails(col_pass_optimizer(m.graph, &options), COL_BAD_INPUT,
                 "the name 'lr' belongs to the optimizer");
    col_arena_destroy(m.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mlp),
        cmocka_unit_test(test_gpt),
        cmocka_unit_test(test_simplified_gpt),
        cmocka_unit_test(test_nodes_of_gpt),
        cmocka_unit_test(test_wrong_gradients_are_found),
        cmocka_unit_test(test_shared_gradients),
        cmocka_unit_test(test_frozen_and_unused_parameters_have_no_gradient),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_optimizer_refusals_and_outputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
