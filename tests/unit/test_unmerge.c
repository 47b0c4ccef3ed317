/* Parts that are split off get a dimension of their own, and the numbers stay. */
#include "tests/unit/unit.h"

#include <string.h>

#include "frontend/parse.h"
#include "ir/evaluate.h"
#include "passes/pass.h"
#include "tests/unit/random.h"

static col_graph *parse(col_arena *arena, const char *text)
{
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){.name = "m.ir", .text = text, .size = strlen(text)};
    col_graph *graph;
    assert_ok(col_parse_model(source, NULL, arena, &graph));
    return graph;
}

/* The same numbers for a variable, whatever dimensions it has. */
static const col_tensor *evaluate(const col_graph *graph, col_arena *arena)
{
    col_tensor *vars = col_evaluate_vars(graph, arena);
    for (size_t v = 0; v < graph->vars.len; v++) {
        unit_random r = {v};
        for (int64_t i = 0; i < col_shape_numel(vars[v].type.shape); i++)
            vars[v].data[i] = (double)random_int(&r, -8, 8);
    }
    col_evaluation out;
    assert_ok(col_evaluate(graph, NULL, vars, arena, &out));
    return out.outputs;
}

static int slices_of(const col_graph *graph)
{
    int n = 0;
    COL_FOR_EACH_NODE (node, graph) n += node->op == COL_OP_SLICE;
    return n;
}

/* Returns whether the split was taken apart; the outputs are compared in any case. */
static bool unmerges(const char *body)
{
    col_arena *arena = col_arena_create();
    const char *text = col_arena_printf(arena,
                                        "model m()\ninput x : f32[2, 5, 4]\n"
                                        "param w, v : f32[4, 12] ~ zeros\nparam s : f32[12, 12] ~ zeros\n"
                                        "param b : f32[12] ~ zeros\n%s",
                                        body);
    col_graph *before = parse(arena, text), *after = parse(arena, text);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_unmerge(after, &options));
    assert_ok(col_graph_verify(after));
    const col_tensor *was = evaluate(before, arena), *is = evaluate(after, arena);
    for (size_t i = 0; i < before->outputs.len; i++) {
        int64_t count = col_shape_numel(was[i].type.shape);
        assert_true(col_type_equal(was[i].type, is[i].type));
        assert_memory_equal(was[i].data, is[i].data, sizeof(double) * (size_t)count);
    }
    bool done = slices_of(after) > 0;
    col_arena_destroy(arena);
    return done;
}

#define PARTS "p, q, r = split(y, parts = 3, axis = -1)\noutput p = p\noutput q = q\noutput r = r\n"

static void takes_parts_apart(void **unused)
{
    (void)unused;
    assert_true(unmerges("y = einsum(x, w, equation = \"btc,cn->btn\") + b\n" PARTS));
    assert_true(unmerges("y = einsum(x, w, equation = \"btc,cn->btn\") * 2.0\n" PARTS));
}

/* A parameter that is met twice is cut once; other users see it as it was. */
static void shares_parameters(void **unused)
{
    (void)unused;
    assert_true(unmerges("y = einsum(x, w, equation = \"btc,cn->btn\") + b + b\n" PARTS));
    assert_true(unmerges("y = einsum(x, w, equation = \"btc,cn->btn\") * einsum(x * 2.0, w, equation = "
                         "\"btc,cn->btn\")\n" PARTS));
    assert_true(unmerges("y = einsum(x, w, equation = \"btc,cn->btn\") + b\noutput sum = w + b\n" PARTS));
}

/* Values with other users, sizes that do not divide, and one matrix cut along both its dimensions. */
static void leaves_others(void **unused)
{
    (void)unused;
    assert_false(unmerges("y = einsum(x, w, equation = \"btc,cn->btn\")\noutput y = y\n" PARTS));
    assert_false(unmerges("a = einsum(x, w, equation = \"btc,cm->btm\")\n"
                          "y = einsum(a, s, equation = \"btm,mn->btn\") * einsum(a, s, equation = "
                          "\"btm,nm->btn\")\n" PARTS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_parts_apart),
        cmocka_unit_test(shares_parameters),
        cmocka_unit_test(leaves_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
