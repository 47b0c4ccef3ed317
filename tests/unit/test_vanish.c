/* Sums that vanish become exact zeros, and all other gradients stay: in fp64, where what is left of the sums is
 * smaller than any difference that counts. */
#include <math.h>

#include "passes/pass.h"
#include "tests/unit/model_text.h"

static col_graph *differentiated(col_arena *arena, const char *text)
{
    col_graph *graph = model_of(arena, text);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_unmerge(graph, &options));
    assert_ok(col_pass_autodiff(graph, &options));
    return graph;
}

/* Bits of the gradient's elements that the pass made exactly zero; everything is compared with what it was. */
static uint64_t zeros_of(const char *body, const char *parameter)
{
    col_arena *arena = col_arena_create();
    const char *text = col_arena_printf(arena,
                                        "model m()\ninput x : f32[2, 5, 4]\nparam w : f32[4, 12] ~ zeros\n"
                                        "param u : f32[4, 4] ~ zeros\nparam b : f32[12] ~ zeros\n"
                                        "param c : f32[4] ~ zeros\nparam p : f32[5, 4] ~ zeros\n%s\n"
                                        "output loss = sum(y * y * x, axes = [0, 1, 2], keepdims = 0)\n",
                                        body);
    col_graph *before = differentiated(arena, text), *after = differentiated(arena, text);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_vanish(after, &options));
    assert_ok(col_graph_verify(after));
    const col_tensor *was = outputs_of(before, 1.0 / 8, arena), *is = outputs_of(after, 1.0 / 8, arena);
    uint64_t zeros = 0;
    bool found = false;
    for (size_t i = 0; i < after->outputs.len; i++) {
        bool asked = !strcmp(after->outputs.data[i].name, parameter);
        found |= asked;
        for (int64_t k = 0; k < col_shape_numel(is[i].type.shape); k++) {
            assert_true(fabs(was[i].data[k] - is[i].data[k]) <= 1e-13);
            if (asked && is[i].data[k] == 0) zeros |= UINT64_C(1) << k;
        }
    }
    assert_true(found);
    col_arena_destroy(arena);
    return zeros;
}

#define SPLIT  "q, k, v = split(einsum(x, w, equation = \"btc,cn->btn\") + b, parts = 3, axis = -1)\n"
#define ATTEND "y = attention(q, k, v, heads = 2, causal = true)"
#define SELF   "q = x\nv = x\n"

static void zeroes_the_keys_part_of_a_bias(void **unused)
{
    (void)unused;
    assert_int_equal(zeros_of(SPLIT ATTEND, "grad.b"), 0x0f0);
    assert_int_equal(zeros_of(SPLIT "y = attention(q, v, k, heads = 2)", "grad.b"), 0xf00);
    /* A second use of the product keeps its columns in one dimension: the walk meets a concatenation. */
    assert_int_equal(
        zeros_of(
            "z = einsum(x, w, equation = \"btc,cn->btn\")\nq, k, v = split(z + b, parts = 3, axis = -1)\n"
            "e, f, g = split(z, parts = 3, axis = -1)\n" ATTEND " + f",
            "grad.b"),
        0x0f0);
}

static void zeroes_the_bias_of_a_product_of_its_own(void **unused)
{
    (void)unused;
    assert_int_equal(zeros_of(SELF "k = einsum(x, u, equation = \"btc,cn->btn\") + c\n" ATTEND, "grad.c"),
                     0xf);
    assert_int_equal(
        zeros_of(SELF "f = reshape(x, shape = [10, 4])\ng = einsum(f, u, equation = \"tc,cn->tn\") + c\n"
                      "k = reshape(g, shape = [2, 5, 4])\n" ATTEND,
                 "grad.c"),
        0xf);
}

static void keeps_what_does_not_vanish(void **unused)
{
    (void)unused;
    assert_int_equal(zeros_of("q = x + c\nk = x\nv = x\n" ATTEND, "grad.c"), 0);
    assert_int_equal(zeros_of("q = x\nk = x\nv = x + c\n" ATTEND, "grad.c"), 0);
    /* Of keys that are values too, the values' share is left. */
    assert_int_equal(zeros_of("q = x\nk = x + c\nv = k\n" ATTEND, "grad.c"), 0);
    /* A vector for each position is no constant. */
    assert_int_equal(zeros_of(SELF "k = x + p\n" ATTEND, "grad.p"), 0);
    /* Keys that are scaled by position after the bias, as rotary embeddings are. */
    assert_int_equal(zeros_of(SELF "k = (x + c) * x\n" ATTEND, "grad.c"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroes_the_keys_part_of_a_bias),
        cmocka_unit_test(zeroes_the_bias_of_a_product_of_its_own),
        cmocka_unit_test(keeps_what_does_not_vanish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
