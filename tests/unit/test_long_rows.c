/* Reductions of long rows in pieces: the same results, each element read by one kernel. */
#include <math.h>

#include "passes/pass.h"
#include "tests/unit/model_text.h"

static col_graph *lowered(col_arena *arena, const char *text, int64_t row_bytes)
{
    static const col_pass_fn passes[] = {col_pass_autodiff, col_pass_lower,    col_pass_fold, col_pass_cse,
                                         col_pass_dce,      col_pass_legalize, col_pass_cse,  col_pass_dce};
    col_graph *graph = model_of(arena, text);
    col_pass_options options = col_pass_options_default();
    options.row_bytes = row_bytes;
    for (size_t i = 0; i < COL_COUNT(passes); i++) assert_ok(passes[i](graph, &options));
    assert_ok(col_graph_verify(graph));
    return graph;
}

/* Reductions that read rows of so many elements. */
static int reductions_of(const col_graph *graph, int64_t elements)
{
    int count = 0;
    COL_FOR_EACH_NODE (node, graph) {
        if (col_op_info_of(node->op)->op_class != COL_CLASS_REDUCTION) continue;
        col_shape shape = col_node_operand(node, 0)->type.shape;
        count += shape.rank && shape.dims[shape.rank - 1] == elements;
    }
    return count;
}

static void compare(col_arena *arena, const col_graph *whole, const col_graph *cut, double unit)
{
    const col_tensor *was = outputs_of(whole, unit, arena), *is = outputs_of(cut, unit, arena);
    for (size_t i = 0; i < whole->outputs.len; i++) {
        for (int64_t k = 0; k < col_shape_numel(is[i].type.shape); k++)
            assert_true(fabs(was[i].data[k] - is[i].data[k]) <= 1e-13 * fmax(1, fabs(was[i].data[k])));
    }
}

#define LOSS(more)                                                                                           \
    "model m()\nparam x : f32[3, 96] ~ zeros\ninput labels : i32[3]\n"                                       \
    "output loss = cross_entropy(x, labels" more ")\n"

static void a_loss_reads_its_rows_in_pieces(void **unused)
{
    (void)unused;
    static const char *const texts[] = {LOSS(""), LOSS(", label_smoothing = 0.25")};
    for (size_t t = 0; t < COL_COUNT(texts); t++) {
        col_arena *arena = col_arena_create();
        /* 16 elements at once; differences of rows are large enough for the maxima to matter. */
        const col_graph *whole = lowered(arena, texts[t], 0), *cut = lowered(arena, texts[t], 64);
        int rows = reductions_of(whole, 96);
        assert_true(rows >= 3);
        assert_int_equal(reductions_of(cut, 96), 0);
        assert_int_equal(reductions_of(cut, 16), rows);
        compare(arena, whole, cut, 1.0 / 8);
        compare(arena, whole, cut, 40);
        col_arena_destroy(arena);
    }
}

static void a_piece_without_numbers_counts_as_nothing(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    const col_graph *graphs[] = {lowered(arena, LOSS(""), 0), lowered(arena, LOSS(""), 64)};
    double losses[2];
    for (int g = 0; g < 2; g++) {
        col_tensor *vars = col_evaluate_vars(graphs[g], arena);
        for (size_t v = 0; v < graphs[g]->vars.len; v++) {
            int64_t count = col_shape_numel(vars[v].type.shape);
            bool is_x = !strcmp(graphs[g]->vars.data[v]->name, "x");
            for (int64_t i = 0; i < count; i++)
                vars[v].data[i] = !is_x ? 2 : i % 96 < 32 ? (double)(i % 7) : -INFINITY;
        }
        col_evaluation out;
        assert_ok(col_evaluate(graphs[g], NULL, vars, arena, &out));
        for (size_t i = 0; i < graphs[g]->outputs.len; i++) {
            if (!strcmp(graphs[g]->outputs.data[i].name, "loss")) losses[g] = out.outputs[i].data[0];
        }
    }
    assert_true(isfinite(losses[0]) && fabs(losses[0] - losses[1]) <= 1e-12);
    col_arena_destroy(arena);
}

static void rows_that_have_no_such_pieces_stay(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    /* Too short; prime; and a maximum that is not of what is summed. */
    const col_graph *cut = lowered(arena, LOSS(""), 128);
    assert_int_equal(reductions_of(cut, 96), reductions_of(lowered(arena, LOSS(""), 0), 96));
    const char *prime = "model m()\nparam x : f32[3, 97] ~ zeros\noutput loss = sum(x * x, axes = [0, 1])\n"
                        "output most = max(x, axes = [1])\n";
    assert_int_equal(reductions_of(lowered(arena, prime, 64), 97),
                     reductions_of(lowered(arena, prime, 0), 97));
    const char *other = "model m()\nparam x : f32[3, 96] ~ zeros\nparam y : f32[3, 96] ~ zeros\n"
                        "s = sum(exp(x - max(y, axes = [1], keepdims = 1)), axes = [1])\n"
                        "output loss = sum(s * s, axes = [0])\n";
    compare(arena, lowered(arena, other, 0), lowered(arena, other, 64), 1.0 / 8);
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_reads_its_rows_in_pieces),
        cmocka_unit_test(a_piece_without_numbers_counts_as_nothing),
        cmocka_unit_test(rows_that_have_no_such_pieces_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
