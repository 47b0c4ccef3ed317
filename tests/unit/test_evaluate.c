/* The reference walk: variables, phases, what is kept. */
#include "tests/unit/unit.h"

#include "ir/evaluate.h"
#include "ir/builder.h"

static col_var *scalar(col_graph *graph, col_var_kind kind, const char *name)
{
    return col_graph_add_var(graph, kind, name, (col_type){.dtype = COL_F32}, (col_init){0}, (col_loc){0});
}

/* Two states that swap, and a third counting in the update phase. */
static col_graph *swapping(col_arena *arena)
{
    col_graph *graph = col_graph_create(arena, "swap");
    col_builder b = {.graph = graph};
    col_var *x = scalar(graph, COL_VAR_STATE, "x"), *y = scalar(graph, COL_VAR_STATE, "y");
    col_var *n = scalar(graph, COL_VAR_STATE, "n");
    col_value *sum = col_build_binary(&b, COL_OP_ADD, x->value, y->value);
    col_graph_add_output(graph, "sum", sum, (col_loc){0});
    col_build_assign(&b, x, y->value);
    col_build_assign(&b, y, x->value);
    b.phase = COL_PHASE_UPDATE;
    col_value *next = col_build_binary(&b, COL_OP_ADD, n->value, col_build_scalar(&b, 1, COL_F32));
    col_graph_add_output(graph, "next", next, (col_loc){0});
    col_build_assign(&b, n, next);
    return graph;
}

static void test_assignments_take_effect_at_the_end(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_graph *graph = swapping(arena);
    col_tensor *vars = col_evaluate_vars(graph, arena);
    col_evaluation evaluation;
    vars[0].data[0] = 3;
    vars[1].data[0] = 5;
    assert_ok(col_evaluate(graph, NULL, vars, arena, &evaluation));
    assert_true(evaluation.outputs[0].data[0] == 8);
    assert_true(vars[0].data[0] == 5 && vars[1].data[0] == 3 && vars[2].data[0] == 1);
    assert_null(evaluation.values);
    col_arena_destroy(arena);
}

static void test_later_phases_wait(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_graph *graph = swapping(arena);
    col_tensor *vars = col_evaluate_vars(graph, arena);
    col_evaluate_options options = {.last_phase = COL_PHASE_BACKWARD, .keep_values = true};
    col_evaluation evaluation;
    vars[0].data[0] = 3;
    vars[1].data[0] = 5;
    assert_ok(col_evaluate(graph, &options, vars, arena, &evaluation));
    assert_true(vars[0].data[0] == 5 && vars[2].data[0] == 0);
    assert_null(evaluation.outputs[1].data);
    assert_true(evaluation.values[graph->first->results[0].id].data[0] == 8);
    assert_true(evaluation.values[graph->vars.data[0]->value->id].data[0] == 3);
    col_arena_destroy(arena);
}

/* A product that is large enough to run in blocks, against the sum as it is written. */
static void test_matrix_product(void **unused)
{
    (void)unused;
    enum { M = 5, K = 150, N = 300 };
    col_arena *arena = col_arena_create();
    col_graph *graph = col_graph_create(arena, "product");
    col_builder b = {.graph = graph};
    col_type left = {COL_F32, {.rank = 2, .dims = {K, M}}}, right = {COL_F32, {.rank = 2, .dims = {N, K}}};
    col_value *x = col_graph_add_var(graph, COL_VAR_INPUT, "x", left, (col_init){0}, (col_loc){0})->value;
    col_value *y = col_graph_add_var(graph, COL_VAR_INPUT, "y", right, (col_init){0}, (col_loc){0})->value;
    col_graph_add_output(graph, "z", col_build_einsum(&b, "km,nk->mn", x, y), (col_loc){0});
    col_tensor *vars = col_evaluate_vars(graph, arena);
    for (int i = 0; i < K * M; i++) vars[0].data[i] = i % 7 - 3;
    for (int i = 0; i < N * K; i++) vars[1].data[i] = i % 11 - 5;
    col_evaluation evaluation;
    assert_ok(col_evaluate(graph, NULL, vars, arena, &evaluation));
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            double sum = 0;
            for (int k = 0; k < K; k++) sum += vars[0].data[k * M + m] * vars[1].data[n * K + k];
            assert_true(evaluation.outputs[0].data[m * N + n] == sum);
        }
    }
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assignments_take_effect_at_the_end),
        cmocka_unit_test(test_later_phases_wait),
        cmocka_unit_test(test_matrix_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
