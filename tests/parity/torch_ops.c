/* Ops, their gradients and the optimizer against PyTorch's numbers (torch_ops.py), by the fp64 reference
 * evaluation: what is compared is the definition, so the tolerance is rounding. */
#include "tests/unit/unit.h"

#include "passes/gradcheck.h"
#include "passes/pass.h"
#include "tests/unit/samples.h"

#include <math.h>

enum { STEPS = 7, PARAMETERS = 8 };

typedef enum form { COL_FORM_WAVE, COL_FORM_POSITIVE, COL_FORM_COARSE } form;

typedef struct torch_case {
    sample s;
    form form;
    int64_t limit; /* of integer operands */
    int64_t count;
    const double *expected; /* used results, then gradients of the parameters */
} torch_case;

typedef struct torch_training {
    col_optimizer optimizer;
    col_lr_schedule schedule;
    double decay, clip, momentum, trust;
    double bias_scale; /* of the bias's first values */
    int64_t accumulate;
    double rates[STEPS], norms[STEPS]; /* per step */
    double parameters[PARAMETERS];     /* after the last */
} torch_training;

#include "tests/parity/torch_ops.inc"

static void fill_wave(col_tensor tensor, int k, form form)
{
    for (int64_t i = 0; i < col_shape_numel(tensor.type.shape); i++) {
        double v = sin(0.7 * (double)i + 1.3 * k + 0.2);
        if (form == COL_FORM_POSITIVE) v += 1.5;
        if (form == COL_FORM_COARSE) v = floor(2 * v + 0.5) / 2;
        tensor.data[i] = v;
    }
}

static bool is_near(double x, double y, double tolerance)
{
    return fabs(x - y) <= tolerance * (1 + fabs(y));
}

static void check_case(const torch_case *c, size_t index)
{
    col_arena *arena = col_arena_create();
    col_pass_options options = col_pass_options_default();
    col_node *node = sample_build(&c->s, arena);
    const char *name = col_op_info_of(node->op)->name;
    bool wanted[8], used[8];
    for (uint32_t i = 0; i < node->operand_count; i++)
        wanted[i] = col_node_operand(node, i)->var->kind == COL_VAR_PARAM;
    for (uint32_t i = 0; i < node->result_count; i++) used[i] = !(c->s.plain_results >> i & 1);
    col_graph *graph = col_gradcheck_probe(node, wanted, used, arena);
    col_node *copy = graph->first;
    graph->outputs.len = 0;
    col_value *loss = graph->last->results;
    for (uint32_t i = 0; i < copy->result_count; i++) {
        if (used[i]) col_graph_add_output(graph, "y", &copy->results[i], copy->loc);
    }
    size_t results = graph->outputs.len;
    col_graph_add_output(graph, "loss", loss, copy->loc);
    assert_ok(col_pass_autodiff(graph, &options));

    col_tensor *vars = col_evaluate_vars(graph, arena);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const char *var = graph->vars.data[i]->name;
        int k = atoi(var + strcspn(var, "0123456789"));
        if (*var == 'w') {
            fill_wave(vars[i], 100 + k, COL_FORM_WAVE);
        } else if (col_dtype_is_float(vars[i].type.dtype)) {
            fill_wave(vars[i], k, c->form);
        } else {
            for (int64_t j = 0; j < col_shape_numel(vars[i].type.shape); j++)
                vars[i].data[j] = (double)((7 * j + k) % c->limit);
        }
    }
    col_evaluation evaluation;
    assert_ok(col_evaluate(graph, NULL, vars, arena, &evaluation));
    int64_t next = 0;
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (i == results) continue; /* the loss */
        for (int64_t j = 0; j < col_shape_numel(evaluation.outputs[i].type.shape); j++, next++) {
            assert_true(next < c->count);
            if (is_near(evaluation.outputs[i].data[j], c->expected[next], 1e-12)) continue;
            fail_msg("case %zu, '%s', %s[%d]: %.17g, PyTorch says %.17g", index, name,
                     graph->outputs.data[i].name, (int)j, evaluation.outputs[i].data[j], c->expected[next]);
        }
    }
    assert_int_equal(next, c->count);
    col_arena_destroy(arena);
}

static void test_ops(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COL_COUNT(torch_cases); i++) check_case(&torch_cases[i], i);
}

static col_value *add_var(col_graph *graph, col_var_kind kind, const char *name, int64_t rows,
                          int64_t columns)
{
    col_shape shape = rows ? col_shape_make(2, (int64_t[]){rows, columns}) : col_shape_make(1, &columns);
    return col_graph_add_var(graph, kind, name, col_type_make(COL_F32, shape), (col_init){0}, (col_loc){0})
        ->value;
}

/* mean((x weight + bias - y)^2) */
static col_graph *regression(col_arena *arena)
{
    col_graph *graph = col_graph_create(arena, "regression");
    col_builder b = {.graph = graph};
    col_value *x = add_var(graph, COL_VAR_INPUT, "x", 4, 3), *y = add_var(graph, COL_VAR_INPUT, "y", 4, 2);
    col_value *weight = add_var(graph, COL_VAR_PARAM, "weight", 3, 2);
    col_value *bias = add_var(graph, COL_VAR_PARAM, "bias", 0, 2);
    col_value *error = col_build_einsum(&b, "bi,io->bo", x, weight);
    error = col_build_binary(&b, COL_OP_ADD, error, bias);
    error = col_build_binary(&b, COL_OP_SUB, error, y);
    error = col_build_binary(&b, COL_OP_MUL, error, error);
    col_graph_add_output(graph, "loss", col_build_reduce(&b, COL_OP_MEAN, error, 2, (int64_t[]){0, 1}, false),
                         (col_loc){0});
    return graph;
}

static col_tensor var_tensor(const col_graph *graph, const col_tensor *vars, const char *name)
{
    const col_var *var = col_graph_find_var(graph, name);
    assert_non_null(var);
    return vars[var->index];
}

static double output_scalar(const col_graph *graph, const col_evaluation *evaluation, const char *name)
{
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (!strcmp(graph->outputs.data[i].name, name)) return evaluation->outputs[i].data[0];
    }
    return NAN;
}

static void check_training(const torch_training *t, bool lower)
{
    col_arena *arena = col_arena_create();
    col_graph *graph = regression(arena);
    col_pass_options options = col_pass_options_default();
    options.optimizer = t->optimizer;
    options.lr_schedule = t->schedule;
    options.beta2 = 0.99;
    options.eps = 1e-6;
    options.momentum = t->momentum;
    options.trust = t->trust;
    options.weight_decay = t->decay;
    options.clip_norm = t->clip;
    options.accumulate = t->accumulate;
    assert_ok(col_pass_autodiff(graph, &options));
    assert_ok(col_pass_optimizer(graph, &options));
    assert_ok(col_graph_verify(graph));
    if (lower) {
        assert_ok(col_pass_lower(graph, &options));
        assert_ok(col_pass_fold(graph, &options));
        assert_ok(col_pass_cse(graph, &options));
        assert_ok(col_pass_dce(graph, &options));
        assert_ok(col_graph_verify(graph));
    }
    col_tensor *vars = col_evaluate_vars(graph, arena);
    fill_wave(var_tensor(graph, vars, "weight"), 1, COL_FORM_WAVE);
    fill_wave(var_tensor(graph, vars, "bias"), 2, COL_FORM_WAVE);
    for (int i = 0; i < 2; i++) var_tensor(graph, vars, "bias").data[i] *= t->bias_scale;
    var_tensor(graph, vars, "lr").data[0] = 0.1;
    var_tensor(graph, vars, "min_lr").data[0] = 0.01;
    var_tensor(graph, vars, "warmup_steps").data[0] = 2;
    var_tensor(graph, vars, "total_steps").data[0] = 6;
    /* Folding rounds constants to f32, as the program that runs will. */
    double tolerance = lower ? 1e-6 : 1e-9;
    for (int step = 0; step < STEPS; step++) {
        col_evaluation evaluation;
        for (int64_t micro = 0; micro < t->accumulate; micro++) {
            int k = 10 + step * (int)t->accumulate + (int)micro;
            fill_wave(var_tensor(graph, vars, "x"), k, COL_FORM_WAVE);
            fill_wave(var_tensor(graph, vars, "y"), 50 + k, COL_FORM_WAVE);
            bool last = micro == t->accumulate - 1;
            col_evaluate_options phases = {.last_phase = last ? COL_PHASE_UPDATE : COL_PHASE_BACKWARD};
            assert_ok(col_evaluate(graph, &phases, vars, arena, &evaluation));
        }
        assert_true(is_near(output_scalar(graph, &evaluation, "learning_rate"), t->rates[step], tolerance));
        assert_true(is_near(output_scalar(graph, &evaluation, "grad_norm"), t->norms[step], tolerance));
    }
    assert_true(var_tensor(graph, vars, "optimizer.step").data[0] == STEPS);
    for (int i = 0; i < PARAMETERS; i++) {
        double value =
            i < 6 ? var_tensor(graph, vars, "weight").data[i] : var_tensor(graph, vars, "bias").data[i - 6];
        if (!is_near(value, t->parameters[i], tolerance))
            fail_msg("training %d, parameter %d: %.17g, PyTorch says %.17g", (int)(t - torch_trainings), i,
                     value, t->parameters[i]);
    }
    col_arena_destroy(arena);
}

static void test_optimizers(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COL_COUNT(torch_trainings); i++) check_training(&torch_trainings[i], false);
}

static void test_optimizers_simplified(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COL_COUNT(torch_trainings); i++) check_training(&torch_trainings[i], true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops),
        cmocka_unit_test(test_optimizers),
        cmocka_unit_test(test_optimizers_simplified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
