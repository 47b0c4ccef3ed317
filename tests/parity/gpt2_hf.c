/* models/gpt2.ir against Hugging Face's GPT2LMHeadModel (gpt2_hf.py): logits, loss and the gradient of every
 * parameter by its name, by the fp64 reference evaluation: what is compared is the definition, so the
 * tolerance is rounding. */
#include "tests/unit/unit.h"
#include "frontend/parse.h"

#include "ir/base/file.h"
#include "ir/evaluate.h"
#include "passes/pass.h"

#include <math.h>

#include "tests/parity/gpt2_hf.inc"

static void fill(const col_graph *graph, col_tensor *vars)
{
    for (size_t v = 0; v < graph->vars.len; v++) {
        const col_var *var = graph->vars.data[v];
        int64_t count = col_shape_numel(var->type.shape);
        double s = 0;
        for (const char *at = var->name; *at; at++) s += (unsigned char)*at;
        s = fmod(s, 101);
        for (int64_t i = 0; i < count; i++) {
            double value = 0.3 * sin(0.7 * (double)i + s);
            if (!strcmp(var->name, "input_ids")) value = (double)((3 * i + 1) % VOCAB);
            if (!strcmp(var->name, "labels")) value = i % 4 == 3 ? -100 : (double)((5 * i + 2) % VOCAB);
            vars[v].data[i] = value;
        }
    }
}

static const col_tensor *output_of(const col_graph *graph, const col_evaluation *evaluation, const char *name)
{
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (!strcmp(graph->outputs.data[i].name, name)) return &evaluation->outputs[i];
    }
    fail_msg("there is no output %s", name);
    return NULL;
}

static void assert_near(const char *what, double got, double expected, double scale)
{
    if (!(fabs(got - expected) <= 1e-9 * (scale + fabs(expected))))
        fail_msg("%s is %.17g, not %.17g", what, got, expected);
}

static void test_gpt2(void **state)
{
    (void)state;
    col_arena *a = col_arena_create();
    col_source source = {.name = "models/gpt2.ir"};
    char *text;
    assert_ok(col_file_read(a, source.name, 0, &text, &source.size));
    source.text = text;
    const struct {
        const char *key;
        int value;
    } sizes[] = {
        {"layers", LAYERS}, {"heads", HEADS}, {"width", WIDTH}, {"vocab", VOCAB}, {"context", CONTEXT}};
    col_parse_setting settings[COL_COUNT(sizes)];
    for (size_t i = 0; i < COL_COUNT(sizes); i++)
        settings[i] = (col_parse_setting){sizes[i].key, col_arena_printf(a, "%d", sizes[i].value)};
    const col_parse_options options = {
        .settings = settings, .setting_count = COL_COUNT(settings), .batch = BATCH, .seq = SEQ};
    col_graph *graph;
    assert_ok(col_parse_model(&source, &options, a, &graph));
    col_pass_options pass_options = col_pass_options_default();
    pass_options.keep_gradients = true;
    assert_ok(col_pass_autodiff(graph, &pass_options));
    col_tensor *vars = col_evaluate_vars(graph, a);
    fill(graph, vars);
    col_evaluation evaluation;
    assert_ok(col_evaluate(graph, NULL, vars, a, &evaluation));

    assert_near("the loss", output_of(graph, &evaluation, "loss")->data[0], expected_loss, 0);
    const col_tensor *logits = output_of(graph, &evaluation, "logits");
    assert_int_equal(col_shape_numel(logits->type.shape), COL_COUNT(expected_logits));
    for (size_t i = 0; i < COL_COUNT(expected_logits); i++)
        assert_near("a logit", logits->data[i], expected_logits[i], 1);
    size_t params = 0;
    for (size_t v = 0; v < graph->vars.len; v++) params += graph->vars.data[v]->kind == COL_VAR_PARAM;
    assert_int_equal(params, COL_COUNT(expected_gradients));
    for (size_t p = 0; p < COL_COUNT(expected_gradients); p++) {
        const char *name = expected_gradients[p].name;
        const col_tensor *gradient = output_of(graph, &evaluation, col_arena_printf(a, "grad.%s", name));
        double sum = 0, wave = 0;
        for (int64_t i = 0; i < col_shape_numel(gradient->type.shape); i++) {
            sum += gradient->data[i];
            wave += gradient->data[i] * cos((double)i);
        }
        assert_near(name, sum, expected_gradients[p].sum, 1);
        assert_near(name, wave, expected_gradients[p].wave, 1);
    }
    col_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gpt2)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
