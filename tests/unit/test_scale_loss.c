/* Dynamic loss scaling: the states after a sequence of good and bad steps are those of torch.amp.GradScaler, and
 * the gradients are those without it. */
#include <math.h>

#include "passes/pass.h"
#include "tests/unit/model_text.h"

/* loss = p x, so the gradient is x. SGD without momentum, decay or clipping, rate 0.5. */
static const char text[] = "model m()\ninput x : f32[]\nparam p : f32[] ~ constant(1)\noutput loss = p * x\n";

static col_graph *scaled(col_arena *arena, const char *model, const col_pass_options *options)
{
    col_graph *graph = model_of(arena, model);
    assert_ok(col_pass_autodiff(graph, options));
    assert_ok(col_pass_scale_loss(graph, options));
    assert_ok(col_graph_verify(graph));
    return graph;
}

static double *number(const col_graph *graph, const col_tensor *vars, const char *name)
{
    const col_var *var = col_graph_find_var(graph, name);
    assert_non_null(var);
    return vars[var->index].data;
}

typedef struct row {
    double before, after;
    int tracker;
    double parameter;
} row;

/* A step of the pattern is good (g), or its gradient is infinite (i) or not a number (n). */
static void follow(double init, double growth, double backoff, int64_t interval, const char *pattern,
                   const row *rows)
{
    col_arena *arena = col_arena_create();
    col_pass_options options = col_pass_options_default();
    options.precision = COL_F16;
    options.optimizer = COL_OPTIMIZER_SGD;
    options.lr_schedule = COL_LR_CONSTANT;
    options.momentum = options.weight_decay = options.clip_norm = 0;
    options.init_scale = init;
    options.growth_factor = growth;
    options.backoff_factor = backoff;
    options.growth_interval = interval;
    col_graph *graph = scaled(arena, text, &options);
    assert_ok(col_pass_optimizer(graph, &options));
    assert_ok(col_graph_verify(graph));
    col_tensor *vars = col_evaluate_vars(graph, arena);
    const col_var *scale = col_graph_find_var(graph, "optimizer.loss_scale");
    assert_non_null(scale);
    assert_int_equal(scale->init.kind, COL_INIT_CONSTANT);
    assert_true(scale->init.a == init);
    *number(graph, vars, "optimizer.loss_scale") = init;
    *number(graph, vars, "optimizer.growth_tracker") = *number(graph, vars, "optimizer.step") = 0;
    *number(graph, vars, "p") = 1;
    *number(graph, vars, "lr") = 0.5;
    int good = 0;
    for (size_t i = 0; pattern[i]; i++) {
        char step = pattern[i];
        *number(graph, vars, "x") = step == 'g' ? 0.25 : step == 'i' ? INFINITY : (double)NAN;
        good += step == 'g';
        col_evaluation out;
        assert_ok(col_evaluate(graph, NULL, vars, arena, &out));
        for (size_t o = 0; o < graph->outputs.len; o++) {
            if (!strcmp(graph->outputs.data[o].name, "loss_scale"))
                assert_true(out.outputs[o].data[0] == rows[i].before);
        }
        assert_true(*number(graph, vars, "optimizer.loss_scale") == rows[i].after);
        assert_true(*number(graph, vars, "optimizer.growth_tracker") == rows[i].tracker);
        assert_true(*number(graph, vars, "p") == rows[i].parameter);
        assert_true(*number(graph, vars, "optimizer.step") == good);
    }
    col_arena_destroy(arena);
}

/* The rows are what PyTorch 2 gives, for p = Parameter(1), SGD(lr=0.5) and x as above:
 *     s.scale(p * x).backward(); s.unscale_(sgd); s.step(sgd); s.update()
 *     (get_scale() before, get_scale(), _get_growth_tracker(), p) */
static void scales_as_grad_scaler(void **unused)
{
    (void)unused;
    static const row common[] = {
        {65536, 65536, 1, 0.875}, {65536, 65536, 2, 0.75},  {65536, 32768, 0, 0.75},
        {32768, 32768, 1, 0.625}, {32768, 32768, 2, 0.5},   {32768, 65536, 0, 0.375},
        {65536, 65536, 1, 0.25},  {65536, 32768, 0, 0.25},  {32768, 16384, 0, 0.25},
        {16384, 16384, 1, 0.125}, {16384, 16384, 2, 0},     {16384, 32768, 0, -0.125},
        {32768, 32768, 1, -0.25}, {32768, 16384, 0, -0.25}, {16384, 16384, 1, -0.375}};
    follow(65536, 2, 0.5, 3, "ggiggggnnggggig", common);
    static const row uneven[] = {{1024, 1024, 1, 0.875}, {1024, 256, 0, 0.875}, {256, 256, 1, 0.75},
                                 {256, 384, 0, 0.625},   {384, 384, 1, 0.5},    {384, 576, 0, 0.375},
                                 {576, 576, 1, 0.25},    {576, 144, 0, 0.25},   {144, 144, 1, 0.125}};
    follow(1024, 1.5, 0.25, 2, "gigggggig", uneven);
    static const row high[] = {
        {0x1p127, 0x1p127, 0, 0.875}, {0x1p127, 0x1p127, 0, 0.75}, {0x1p127, 0x1p127, 0, 0.625}};
    follow(0x1p127, 2, 0.5, 1, "ggg", high);
}

/* Below 1 GradScaler goes on; here the trainer reports the gradient. */
static void stops_at_one(void **unused)
{
    (void)unused;
    static const row rows[] = {{3, 1.5, 0, 1}, {1.5, 1, 0, 1}, {1, 1, 0, 1}, {1, 1, 1, 0.875}};
    follow(3, 2, 0.5, 3, "iiig", rows);
}

/* With powers of two, which fp64 scales exactly, every gradient is what it was, and so is the loss. */
static void leaves_gradients(void **unused)
{
    (void)unused;
    static const char model[] = "model m()\ninput x : f32[3, 4]\ninput t : i32[3]\nparam w : f32[4, 8] ~ "
                                "zeros\nparam b : f32[8] ~ zeros\n"
                                "y = gelu_tanh(einsum(x, w, equation = \"bc,cn->bn\") + b)\n"
                                "output loss = cross_entropy(y, t)\n";
    col_arena *arena = col_arena_create();
    col_pass_options options = col_pass_options_default();
    col_graph *plain = scaled(arena, model, &options);
    assert_null(col_graph_find_var(plain, "optimizer.loss_scale"));
    options.precision = COL_F16;
    col_graph *graph = scaled(arena, model, &options);
    col_tensor *vars[2] = {col_evaluate_vars(plain, arena), col_evaluate_vars(graph, arena)};
    for (size_t v = 0; v < plain->vars.len; v++) {
        unit_random r = {v};
        for (int64_t i = 0; i < col_shape_numel(vars[0][v].type.shape); i++)
            vars[0][v].data[i] = vars[1][v].data[i] = (double)random_int(&r, 0, 7) / (v == 1 ? 1 : 8);
    }
    *number(graph, vars[1], "optimizer.loss_scale") = 4096;
    col_evaluation out[2];
    assert_ok(col_evaluate(plain, NULL, vars[0], arena, &out[0]));
    assert_ok(col_evaluate(graph, NULL, vars[1], arena, &out[1]));
    assert_int_equal(graph->outputs.len, plain->outputs.len + 1);
    for (size_t i = 0; i < plain->outputs.len; i++) {
        assert_string_equal(plain->outputs.data[i].name, graph->outputs.data[i].name);
        for (int64_t k = 0; k < col_shape_numel(out[0].outputs[i].type.shape); k++) {
            double want = out[0].outputs[i].data[k];
            assert_true(fabs(out[1].outputs[i].data[k] - want) <= 1e-6 * fabs(want));
            if (i) assert_true(want != 0);
        }
    }
    col_arena_destroy(arena);
}

static void wants_gradients(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_pass_options options = col_pass_options_default();
    options.precision = COL_F16;
    col_status status = col_pass_scale_loss(model_of(arena, text), &options);
    assert_non_null(status);
    assert_int_equal(col_error_code(status), COL_BAD_INPUT);
    assert_non_null(strstr(col_error_message(status), "run the pass 'autodiff' before"));
    col_error_free(status);
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_as_grad_scaler),
        cmocka_unit_test(stops_at_one),
        cmocka_unit_test(leaves_gradients),
        cmocka_unit_test(wants_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
