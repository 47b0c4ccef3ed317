/* Parts that are split off get a dimension of their own, and the numbers stay. */
#include "passes/pass.h"
#include "tests/unit/model_text.h"

/* Of values with one dimension more than the model's. */
static int splits_of(const col_graph *graph)
{
    int n = 0;
    COL_FOR_EACH_NODE (node, graph)
        n += node->op == COL_OP_SPLIT && col_node_operand(node, 0)->type.shape.rank == 4;
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
    col_graph *before = model_of(arena, text), *after = model_of(arena, text);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_unmerge(after, &options));
    assert_ok(col_graph_verify(after));
    const col_tensor *was = outputs_of(before, 1, arena), *is = outputs_of(after, 1, arena);
    for (size_t i = 0; i < before->outputs.len; i++) {
        int64_t count = col_shape_numel(was[i].type.shape);
        assert_true(col_type_equal(was[i].type, is[i].type));
        assert_memory_equal(was[i].data, is[i].data, sizeof(double) * (size_t)count);
    }
    bool done = splits_of(after) > 0;
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
