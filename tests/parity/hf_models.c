/* Models of models/ against Hugging Face's transformers (hf_models.py): logits, loss and the gradient of every
 * parameter by its name, by the fp64 reference evaluation: what is compared is the definition, so the
 * tolerance is rounding. */
#include "tests/unit/unit.h"
#include "frontend/parse.h"

#include "ir/base/file.h"
#include "ir/evaluate.h"
#include "passes/pass.h"

#include <math.h>

/* Of a parameter's gradient the sum of the elements, and of element i times cos(i). */
typedef struct expected_gradient {
    const char *name;
    double sum, wave;
} expected_gradient;

enum { MOST_SETTINGS = 10 };

typedef struct expected_model {
    const char *path;
    struct {
        const char *key, *value;
    } settings[MOST_SETTINGS];
    size_t setting_count;
    int64_t seq, classes; /* seq 0: none */
    double loss;
    size_t logit_count;
    const double *logits;
    size_t gradient_count;
    const expected_gradient *gradients;
} expected_model;

#include "tests/parity/hf_models.inc"

/* Element i of a variable, as hf_models.py has it. */
static double element(const expected_model *m, const char *name, double s, int64_t i)
{
    if (!strcmp(name, "input_ids")) return (double)((3 * i + 1) % VOCAB);
    if (!strcmp(name, "attention_mask")) return i % m->seq == 0 || (5 * i + 2) % 7 > 1;
    if (!strcmp(name, "token_type_ids")) return (double)(i / 3 % 2);
    if (!strcmp(name, "labels")) return i % 4 == 3 ? -100 : (double)((5 * i + 2) % m->classes);
    return 0.3 * sin(0.7 * (double)i + s);
}

static void fill(const expected_model *m, const col_graph *graph, col_tensor *vars)
{
    for (size_t v = 0; v < graph->vars.len; v++) {
        const col_var *var = graph->vars.data[v];
        double s = 0;
        for (const char *at = var->name; *at; at++) s += (unsigned char)*at;
        s = fmod(s, 101);
        for (int64_t i = 0; i < col_shape_numel(var->type.shape); i++)
            vars[v].data[i] = element(m, var->name, s, i);
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

static void check_model(const expected_model *m)
{
    col_arena *a = col_arena_create();
    col_source source = {.name = m->path};
    char *text;
    assert_ok(col_file_read(a, source.name, 0, &text, &source.size));
    source.text = text;
    col_parse_setting settings[MOST_SETTINGS];
    for (size_t i = 0; i < m->setting_count; i++)
        settings[i] = (col_parse_setting){m->settings[i].key, m->settings[i].value};
    const col_parse_options options = {
        .settings = settings, .setting_count = m->setting_count, .batch = BATCH, .seq = m->seq};
    col_graph *graph;
    assert_ok(col_parse_model(&source, &options, a, &graph));
    col_pass_options pass_options = col_pass_options_default();
    pass_options.keep_gradients = true;
    assert_ok(col_pass_autodiff(graph, &pass_options));
    col_tensor *vars = col_evaluate_vars(graph, a);
    fill(m, graph, vars);
    col_evaluation evaluation;
    assert_ok(col_evaluate(graph, NULL, vars, a, &evaluation));

    assert_near("the loss", output_of(graph, &evaluation, "loss")->data[0], m->loss, 0);
    const col_tensor *logits = output_of(graph, &evaluation, "logits");
    assert_int_equal(col_shape_numel(logits->type.shape), m->logit_count);
    for (size_t i = 0; i < m->logit_count; i++) assert_near("a logit", logits->data[i], m->logits[i], 1);
    size_t params = 0;
    for (size_t v = 0; v < graph->vars.len; v++) params += graph->vars.data[v]->kind == COL_VAR_PARAM;
    assert_int_equal(params, m->gradient_count);
    for (size_t p = 0; p < m->gradient_count; p++) {
        const char *name = m->gradients[p].name;
        const col_tensor *gradient = output_of(graph, &evaluation, col_arena_printf(a, "grad.%s", name));
        double sum = 0, wave = 0;
        for (int64_t i = 0; i < col_shape_numel(gradient->type.shape); i++) {
            sum += gradient->data[i];
            wave += gradient->data[i] * cos((double)i);
        }
        assert_near(name, sum, m->gradients[p].sum, 1);
        assert_near(name, wave, m->gradients[p].wave, 1);
    }
    col_arena_destroy(a);
}

static void test_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < COL_COUNT(models); i++) {
        print_message("%s with %zu settings\n", models[i].path, models[i].setting_count);
        check_model(&models[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
