/* The loss in chunks of rows: results stay, the large values are gone, and what cannot be cut is left alone. */
#include <math.h>

#include "frontend/machine.h"
#include "passes/pass.h"
#include "tests/unit/model_text.h"

/* A head on a trunk, as text; BODY makes `loss` of h [B, T, 8] and labels [B, T]. */
#define HEAD(B, T, BODY)                                                                                     \
    "model m(vocab = 96)\ninput x : f32[" B ", " T ", 4]\ninput labels : i32[" B ", " T "]\n"                \
    "param w : f32[vocab, 8] ~ zeros\nparam b : f32[vocab] ~ zeros\n"                                        \
    "h = tanh(linear(x, 8) @ trunk)\n" BODY

#define PLAIN                                                                                                \
    "output loss = cross_entropy(einsum(h, w, equation = \"btc,vc->btv\"), labels, ignore_index = 3)\n"
#define BIASED "z = einsum(h, w, equation = \"btc,vc->btv\") + b\n"

static col_graph *prepared(col_arena *arena, const char *text, bool trains, col_pass_options options)
{
    static const char *const names[] = {"precision", "autodiff", "lower", "fold", "cse",
                                        "dce",       "chunk",    "fold",  "cse",  "dce"};
    col_graph *graph = model_of(arena, text);
    for (size_t i = 0; i < COL_COUNT(names); i++) {
        const col_pass *pass = col_pass_find(names[i]);
        if ((!trains && !strcmp(names[i], "autodiff")) ||
            (options.precision == COL_F32 && !strcmp(names[i], "precision")))
            continue;
        assert_ok(col_passes_run(graph, &pass, 1, &options, NULL));
    }
    return graph;
}

static col_graph *in_chunks(col_arena *arena, const char *text, bool trains, int64_t chunks)
{
    col_pass_options options = col_pass_options_default();
    options.loss_chunks = chunks;
    return prepared(arena, text, trains, options);
}

static int count(const col_graph *graph, col_op op)
{
    int nodes = 0;
    COL_FOR_EACH_NODE (node, graph) nodes += node->op == op;
    return nodes;
}

static int64_t largest(const col_graph *graph)
{
    int64_t elements = 0;
    COL_FOR_EACH_NODE (node, graph) {
        for (uint32_t i = 0; i < node->result_count && node->phase < COL_PHASE_UPDATE; i++)
            elements = COL_MAX(elements, col_shape_numel(node->results[i].type.shape));
    }
    return elements;
}

static void assert_same(const col_graph *a, const col_graph *b, double tolerance, col_arena *arena)
{
    const col_tensor *was = outputs_of(a, 1.0 / 8, arena), *is = outputs_of(b, 1.0 / 8, arena);
    assert_int_equal(a->outputs.len, b->outputs.len);
    for (size_t i = 0; i < a->outputs.len; i++) {
        assert_string_equal(a->outputs.data[i].name, b->outputs.data[i].name);
        for (int64_t k = 0; k < col_shape_numel(is[i].type.shape); k++)
            assert_true(fabs(was[i].data[k] - is[i].data[k]) <= tolerance);
    }
}

/* The same numbers, also from kernels; nothing as large as the logits. */
static void check(const char *text, bool trains, int64_t chunks, int64_t logits)
{
    col_arena *arena = col_arena_create();
    col_graph *whole = in_chunks(arena, text, trains, 1), *graph = in_chunks(arena, text, trains, chunks);
    assert_int_equal(largest(whole), logits);
    assert_true(largest(graph) <= COL_MAX(logits / chunks, 96 * 8));
    assert_int_equal(count(graph, COL_OP_EINSUM_ADD), trains ? chunks - 1 : 0);
    assert_same(whole, graph, 1e-13, arena);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_legalize(graph, &options));
    assert_int_equal(count(graph, COL_OP_EINSUM_ADD), trains ? chunks - 1 : 0);
    assert_ok(col_pass_fuse(graph, &options));
    assert_ok(col_pass_schedule(graph, &options));
    assert_ok(col_graph_verify(graph));
    assert_same(whole, graph, 1e-13, arena);
    col_arena_destroy(arena);
}

static void results_stay(void **state)
{
    (void)state;
    for (int64_t chunks = 2; chunks <= 8; chunks *= 2) {
        check(HEAD("8", "3", PLAIN), true, chunks, 8 * 3 * 96);
        check(HEAD("8", "3", PLAIN), false, chunks, 8 * 3 * 96);
    }
    check(HEAD("6", "3", PLAIN), true, 3, 6 * 3 * 96);
    /* Rows of one sample, which are not outermost by the shape. */
    check(HEAD("1", "24", PLAIN), true, 4, 24 * 96);
    check(HEAD("8", "3", BIASED "output loss = cross_entropy(z, labels, label_smoothing = 0.1)\n"), true, 4,
          8 * 3 * 96);
    /* The largest logit of all, and random numbers, which belong to the elements. */
    check(HEAD("8", "3",
               BIASED "d = dropout(z, 0.3)\noutput top = max(z, axes = [0, 1, 2])\n"
                      "output loss = cross_entropy(d, labels)\n"),
          true, 4, 8 * 3 * 96);
    /* The head's weights the other way round: the gradient is a product of exchanged operands. */
    check(HEAD("8", "3",
               "param v : f32[8, vocab] ~ zeros\n"
               "output loss = cross_entropy(einsum(h, v, equation = \"btc,cv->btv\"), labels)\n"),
          true, 4, 8 * 3 * 96);
}

/* As many as asked for at most, and as divide the rows. */
static void counts_chunks(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    const char *text = HEAD("6", "4", PLAIN);
    assert_int_equal(count(in_chunks(arena, text, true, 5), COL_OP_EINSUM_ADD), 2);
    assert_int_equal(count(in_chunks(arena, text, true, 64), COL_OP_EINSUM_ADD), 5);
    assert_int_equal(count(in_chunks(arena, HEAD("7", "4", PLAIN), true, 6), COL_OP_EINSUM_ADD), 0);
    /* By itself: until no value is larger than another of the forward phase, by powers of two, ... */
    col_pass_options options = col_pass_options_default();
    options.few_rows = 1;
    assert_int_equal(count(prepared(arena, HEAD("64", "1", PLAIN), true, options), COL_OP_EINSUM_ADD), 15);
    assert_int_equal(count(prepared(arena, HEAD("6", "4", PLAIN), true, options), COL_OP_EINSUM_ADD), 1);
    options.few_rows = 30; /* ... that leave enough rows, ... */
    assert_int_equal(count(prepared(arena, HEAD("64", "1", PLAIN), true, options), COL_OP_EINSUM_ADD), 1);
    /* ... and while it costs next to nothing: of such small products every call does. */
    col_machine machine;
    col_mesh mesh = {0};
    assert_ok(col_machine_read("models/machines/h200.yaml", &machine));
    col_machine_links(&machine, &mesh);
    options.machine = &machine;
    options.few_rows = 1;
    assert_int_equal(count(prepared(arena, HEAD("64", "1", PLAIN), true, options), COL_OP_EINSUM_ADD), 0);
    const char *large =
        "model m()\ninput x : f32[8, 1024, 768]\ninput labels : i32[8, 1024]\nparam w : f32[50257, 768] ~ "
        "zeros\n"
        "output loss = cross_entropy(einsum(tanh(x), w, equation = \"btc,vc->btv\"), labels)\n";
    assert_true(count(prepared(arena, large, true, options), COL_OP_EINSUM_ADD) >= 3);
    col_arena_destroy(arena);
}

/* Sums of products of bf16 are f32, up to the gradient. */
static void sums_wide(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_pass_options options = col_pass_options_default();
    options.precision = COL_BF16;
    options.loss_chunks = 1;
    col_graph *whole = prepared(arena, HEAD("8", "3", PLAIN), true, options);
    options.loss_chunks = 4;
    col_graph *graph = prepared(arena, HEAD("8", "3", PLAIN), true, options);
    assert_int_equal(count(graph, COL_OP_EINSUM_ADD), 4);
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op != COL_OP_EINSUM_ADD) continue;
        assert_int_equal(node->results[0].type.dtype, COL_F32);
        assert_int_equal(col_node_operand(node, 1)->type.dtype, COL_BF16);
    }
    const col_value *gradient = col_graph_find_output(graph, "grad.w");
    assert_int_equal(gradient->producer->op, COL_OP_EINSUM_ADD);
    assert_same(whole, graph, 1e-2, arena);
    col_arena_destroy(arena);
}

static void assert_left_alone(const char *text)
{
    col_arena *arena = col_arena_create();
    col_graph *whole = in_chunks(arena, text, true, 1), *graph = in_chunks(arena, text, true, 4);
    col_str a = {0}, b = {0};
    col_graph_print(whole, &a);
    col_graph_print(graph, &b);
    assert_string_equal(col_str_text(&a), col_str_text(&b));
    col_str_fini(&a);
    col_str_fini(&b);
    col_arena_destroy(arena);
}

static void leaves_alone(void **state)
{
    (void)state;
    /* Somebody wants the logits. */
    assert_left_alone(HEAD("8", "3", BIASED "output logits = z\noutput loss = cross_entropy(z, labels)\n"));
    /* The gradient needs what all rows come to. */
    assert_left_alone(HEAD("8", "3",
                           BIASED "m = max(z, axes = [0, 1], keepdims = 1)\n"
                                  "output loss = cross_entropy(z - m, labels)\n"));
    /* The largest value is a layer's, with the rest of the model between it and its gradient. */
    assert_left_alone("model m()\ninput x : f32[8, 16]\ninput labels : i32[8]\n"
                      "for i in 0..3 { x = x + linear(tanh(linear(x, 64) @ a.{i}), 16) @ b.{i} }\n"
                      "output loss = cross_entropy(linear(x, 10) @ head, labels)\n");
    /* Made by a convolution. */
    assert_left_alone("model m()\ninput x : f32[8, 4, 6, 6]\ninput labels : i32[8]\n"
                      "y = tanh(conv(x, 8, kernel = 3) @ c)\n"
                      "output loss = cross_entropy(linear(mean(y, axes = [2, 3]), 3) @ head, labels)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_stay),
        cmocka_unit_test(counts_chunks),
        cmocka_unit_test(sums_wide),
        cmocka_unit_test(leaves_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
