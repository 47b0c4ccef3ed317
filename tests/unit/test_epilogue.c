/* Which products get an epilogue, and that results stay: in fp64, which rounds nothing to 16 bits. */
#include <math.h>

#include "passes/pass.h"
#include "tests/unit/model_text.h"

typedef struct counts {
    int einsum, bias, gelu, slope, tanh;
} counts;

static counts count_products(const col_graph *graph)
{
    counts n = {0};
    COL_FOR_EACH_NODE (node, graph) {
        n.einsum += node->op == COL_OP_EINSUM;
        n.bias += node->op == COL_OP_PRODUCT_BIAS;
        n.gelu += node->op == COL_OP_PRODUCT_GELU;
        n.slope += node->op == COL_OP_PRODUCT_GELU_GRAD;
        n.tanh += node->op == COL_OP_TANH;
    }
    return n;
}

static col_graph *legal_graph(col_arena *arena, const char *text, col_dtype precision, bool trained)
{
    static const col_pass_fn training[] = {col_pass_precision, col_pass_autodiff};
    static const col_pass_fn common[] = {col_pass_lower,    col_pass_fold, col_pass_cse, col_pass_dce,
                                         col_pass_legalize, col_pass_cse,  col_pass_dce};
    col_graph *graph = model_of(arena, text);
    col_pass_options options = col_pass_options_default();
    options.precision = precision;
    for (size_t i = 0; i < (trained ? 2 : 1); i++) {
        if (training[i] == col_pass_precision && precision == COL_F32) continue;
        assert_ok(training[i](graph, &options));
    }
    for (size_t i = 0; i < COL_COUNT(common); i++) assert_ok(common[i](graph, &options));
    return graph;
}

/* Runs the pass; all outputs stay what they were. */
static counts run(const char *text, col_dtype precision, bool trained)
{
    col_arena *arena = col_arena_create();
    col_graph *before = legal_graph(arena, text, precision, trained),
              *after = legal_graph(arena, text, precision, trained);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_epilogue(after, &options));
    assert_ok(col_graph_verify(after));
    const col_tensor *was = outputs_of(before, 1.0 / 8, arena), *is = outputs_of(after, 1.0 / 8, arena);
    for (size_t i = 0; i < after->outputs.len; i++) {
        for (int64_t k = 0; k < col_shape_numel(is[i].type.shape); k++)
            assert_true(fabs(was[i].data[k] - is[i].data[k]) <= 1e-12);
    }
    /* An op with an epilogue is what it lowers to: lowered again, the pass finds it again. */
    counts found = count_products(after);
    assert_ok(col_pass_lower(after, &options));
    assert_int_equal(count_products(after).gelu + count_products(after).slope, 0);
    assert_ok(col_pass_fold(after, &options));
    assert_ok(col_pass_cse(after, &options));
    assert_ok(col_pass_dce(after, &options));
    assert_ok(col_pass_epilogue(after, &options));
    counts again = count_products(after);
    assert_memory_equal(&found, &again, sizeof found);
    col_arena_destroy(arena);
    return found;
}

#define HEAD                                                                                                 \
    "model m()\ninput x : f32[2, 4, 8]\nparam w : f32[8, 16] ~ zeros\nparam b : f32[16] ~ zeros\n"           \
    "param u : f32[16, 8] ~ zeros\nparam c : f32[8] ~ zeros\n"
#define LOSS "output loss = sum(y * y * x, axes = [0, 1, 2], keepdims = 0)\n"
#define MLP                                                                                                  \
    HEAD "h = gelu_tanh(einsum(x, w, equation = \"btc,cn->btn\") + b)\n"                                     \
         "y = einsum(h, u, equation = \"btc,cn->btn\") + c\n" LOSS

static void a_perceptron_has_one_of_each(void **unused)
{
    (void)unused;
    counts n = run(MLP, COL_BF16, true);
    assert_int_equal(n.gelu, 1);
    assert_int_equal(n.slope, 1);
    assert_int_equal(n.tanh, 0);
    /* The last bias is added in passing. */
    assert_int_equal(n.bias, 0);
    n = run(MLP, COL_F16, true);
    assert_int_equal(n.gelu + n.slope, 2);
    n = run(MLP, COL_BF16, false);
    assert_int_equal(n.gelu, 1);
    assert_int_equal(n.slope + n.tanh, 0);
}

static void wide_products_stay(void **unused)
{
    (void)unused;
    counts n = run(MLP, COL_F32, true);
    assert_int_equal(n.gelu + n.slope + n.bias, 0);
    assert_true(n.tanh > 0);
}

static void a_bias_goes_where_a_library_reads_the_sum(void **unused)
{
    (void)unused;
    counts n = run(HEAD "h = einsum(x, w, equation = \"btc,cn->btn\") + b\n"
                        "y = einsum(h, u, equation = \"btc,cn->btn\") + c\n" LOSS,
                   COL_BF16, true);
    assert_int_equal(n.bias, 1);
}

static void what_is_read_twice_stays(void **unused)
{
    (void)unused;
    /* The bare product is read as well as the sum. */
    counts n = run(HEAD "z = einsum(x, w, equation = \"btc,cn->btn\")\nh = gelu_tanh(z + b) + z\n"
                        "y = einsum(h, u, equation = \"btc,cn->btn\") + c\n" LOSS,
                   COL_BF16, true);
    assert_int_equal(n.gelu, 0);
    /* Another activation is no GELU by tanh. */
    n = run(HEAD "h = gelu(einsum(x, w, equation = \"btc,cn->btn\") + b)\n"
                 "y = einsum(h, u, equation = \"btc,cn->btn\") + c\n" LOSS,
            COL_BF16, true);
    assert_int_equal(n.gelu + n.slope, 0);
    /* A bias along the rows is none. */
    n = run("model m()\ninput x : f32[2, 8, 8]\nparam w : f32[8, 8] ~ zeros\nparam b : f32[8, 1] ~ zeros\n"
            "h = gelu_tanh(einsum(x, w, equation = \"btc,cn->btn\") + b)\n"
            "y = einsum(h, w, equation = \"btc,cn->btn\")\n" LOSS,
            COL_BF16, true);
    assert_int_equal(n.gelu, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_perceptron_has_one_of_each),
        cmocka_unit_test(wide_products_stay),
        cmocka_unit_test(a_bias_goes_where_a_library_reads_the_sum),
        cmocka_unit_test(what_is_read_twice_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
