/* The report and the log of a small plan made by hand: figures that can be counted on paper. */
#define _GNU_SOURCE
#include "tests/unit/temporary_folder.h"

#include "frontend/explain.h"
#include "frontend/predict.h"
#include "frontend/report.h"

static int64_t dims_w[] = {4, 3}, strides_w[] = {3, 1}, dims_x[] = {2, 4}, strides_x[] = {4, 1},
               dims_y[] = {2, 3};

/* Two micro-batches: y = x w; w.grad = k0(y) for both; w, w.adam_m = k1(w.grad) at the end of the step. */
static col_plan *make_plan(col_arena *arena)
{
    col_plan *plan = COL_NEW(arena, col_plan);
    col__plan__plan__init(plan);
    static const struct {
        char *name;
        Col__Plan__VariableKind kind;
        int64_t *dims;
        size_t rank;
    } variables[] = {
        {"x", COL__PLAN__VARIABLE_KIND__INPUT, dims_x, 2},
        {"w", COL__PLAN__VARIABLE_KIND__PARAM, dims_w, 2},
        {"w.adam_m", COL__PLAN__VARIABLE_KIND__STATE, dims_w, 2},
        {"w.grad", COL__PLAN__VARIABLE_KIND__STATE, dims_w, 2},
        {"cache.0.k", COL__PLAN__VARIABLE_KIND__STATE, dims_y, 2},
    };
    plan->n_variables = COL_COUNT(variables);
    plan->variables = COL_NEW_ARRAY(arena, col_plan_variable *, plan->n_variables);
    for (size_t i = 0; i < plan->n_variables; i++) {
        col_plan_variable *v = plan->variables[i] = COL_NEW(arena, col_plan_variable);
        col__plan__variable__init(v);
        v->name = variables[i].name;
        v->kind = variables[i].kind;
        v->dims = variables[i].dims;
        v->n_dims = variables[i].rank;
        v->offset = 64 * i;
    }
    col_plan_view *views = COL_NEW_ARRAY(arena, col_plan_view, 4);
    static const struct {
        uint64_t offset;
        int64_t *dims, *strides;
    } windows[] = {
        {0, dims_x, strides_x}, {64, dims_w, strides_w}, {320, dims_y, strides_w}, {192, dims_w, strides_w}};
    for (size_t i = 0; i < 4; i++) {
        col__plan__view__init(&views[i]);
        views[i].offset = windows[i].offset;
        views[i].dims = windows[i].dims;
        views[i].strides = windows[i].strides;
        views[i].n_dims = views[i].n_strides = 2;
    }
    static const int reads[3][2] = {{0, 1}, {2, -1}, {3, -1}};
    static const int writes[3] = {2, 3, 1};
    static char *const names[] = {"fc", "fc.sum", "w"};
    static char *const symbols[] = {NULL, "k0", "k1"};
    plan->n_programs = 2;
    plan->programs = COL_NEW_ARRAY(arena, col_plan_program *, 2);
    for (int p = 0; p < 2; p++) {
        plan->programs[p] = COL_NEW(arena, col_plan_program);
        col__plan__program__init(plan->programs[p]);
        plan->programs[p]->name = p ? "step" : "micro";
        plan->programs[p]->n_instructions = p ? 3 : 2;
        plan->programs[p]->instructions = COL_NEW_ARRAY(arena, col_plan_instruction *, 3);
    }
    for (int i = 0; i < 3; i++) {
        col_plan_instruction *in = COL_NEW(arena, col_plan_instruction);
        col__plan__instruction__init(in);
        plan->programs[1]->instructions[i] = in;
        if (i < 2) plan->programs[0]->instructions[i] = in;
        in->name = names[i];
        in->phase = (uint32_t)i;
        in->n_reads = reads[i][1] < 0 ? 1 : 2;
        in->reads = COL_NEW_ARRAY(arena, col_plan_view *, 2);
        for (size_t j = 0; j < in->n_reads; j++) in->reads[j] = &views[reads[i][j]];
        in->n_writes = 1;
        in->writes = COL_NEW_ARRAY(arena, col_plan_view *, 1);
        in->writes[0] = &views[writes[i]];
        in->flops = i ? 20e6 : 48e6;
        in->bytes = 1000;
        if (!symbols[i]) {
            in->kind_case = COL__PLAN__INSTRUCTION__KIND_MATMUL;
            in->matmul = COL_NEW(arena, Col__Plan__Matmul);
            col__plan__matmul__init(in->matmul);
            continue;
        }
        in->kind_case = COL__PLAN__INSTRUCTION__KIND_KERNEL;
        in->kernel = COL_NEW(arena, Col__Plan__Kernel);
        col__plan__kernel__init(in->kernel);
        in->kernel->symbol = symbols[i];
    }
    Col__Plan__MemoryReport *m = COL_NEW(arena, Col__Plan__MemoryReport);
    col__plan__memory_report__init(m);
    m->program = "step";
    m->state_bytes = 320;
    m->temporary_bytes = 300;
    m->live_bound = 250;
    m->peak_instruction = 1;
    static const uint32_t lives[3][3] = {{200, 0, 1}, {50, 1, 2}, {40, 2, 3}};
    m->n_buffers = 3;
    m->buffers = COL_NEW_ARRAY(arena, Col__Plan__LiveBuffer *, 3);
    for (int i = 0; i < 3; i++) {
        m->buffers[i] = COL_NEW(arena, Col__Plan__LiveBuffer);
        col__plan__live_buffer__init(m->buffers[i]);
        m->buffers[i]->name = (char *[]){"large", "small", "result"}[i];
        m->buffers[i]->bytes = lives[i][0];
        m->buffers[i]->first = lives[i][1];
        m->buffers[i]->last = lives[i][2];
    }
    plan->n_memory = 1;
    plan->memory = COL_NEW(arena, Col__Plan__MemoryReport *);
    plan->memory[0] = m;
    plan->n_passes = 2;
    plan->passes = COL_NEW_ARRAY(arena, Col__Plan__PassTime *, 2);
    for (int i = 0; i < 2; i++) {
        plan->passes[i] = COL_NEW(arena, Col__Plan__PassTime);
        col__plan__pass_time__init(plan->passes[i]);
        plan->passes[i]->name = i ? "step.memory" : "step.cse";
        plan->passes[i]->seconds = i ? 0.25 : 0.5;
    }
    plan->target = "cpu";
    plan->machine = "cpu:2";
    plan->precision = "fp32";
    plan->optimizer = "adamw";
    plan->use = "train";
    plan->accumulate = 2;
    plan->arena_bytes = 620;
    plan->state_bytes = 320;
    plan->compile_seconds = 1.5;
    plan->source = COL_NEW(arena, Col__Plan__Source);
    col__plan__source__init(plan->source);
    plan->source->name = "tiny";
    return plan;
}

static const col_machine machine = {
    .name = "cpu:2",
    .rates = {{{1, {1}, {48e6}}}, {{1, {1}, {1}}}, {{1, {1}, {10e6}}}, {{1, {1}, {1}}}},
    .traffic = {1, {1}, {1e6}},
    .cores = 1};

static void prediction_counts_the_runs_of_a_step(void **state)
{
    folder *f = *state;
    col_plan *plan = make_plan(f->arena);
    col_predict(&machine, plan);
    assert_float_equal(col_predict_program(plan, plan->programs[0]), 1 + 2, 1e-9);
    assert_float_equal(col_predict_step(plan), 2 * 3 + 2, 1e-9);
    assert_int_equal(col_predict_class(plan->programs[0]->instructions[0]), COL_COST_PRODUCT);
    assert_int_equal(col_predict_class(plan->programs[1]->instructions[1]), COL_COST_KERNEL);
}

static void figures_add_up(void **state)
{
    folder *f = *state;
    col_report_figures figures;
    col_report_figure(make_plan(f->arena), &figures);
    assert_int_equal(figures.parameters, 12);
    assert_int_equal(figures.parameter_tensors, 1);
    assert_int_equal(figures.parameter_bytes, 48);
    assert_int_equal(figures.optimizer_bytes, 96);
    assert_int_equal(figures.cache_bytes, 24);
    assert_int_equal(figures.input_bytes, 32);
    assert_int_equal(figures.kernels, 2);
    assert_float_equal(figures.memory_seconds, 0.25, 0);
}

static double json_field(const json_t *json, const char *object, const char *key)
{
    const json_t *value = json_object_get(json_object_get(json, object), key);
    if (!value || !json_is_number(value)) fail_msg("%s.%s is missing", object, key);
    return json_number_value(value);
}

static void report_is_json(void **state)
{
    folder *f = *state;
    col_plan *plan = make_plan(f->arena);
    col_predict(&machine, plan);
    const char *path = folder_file(f, "report.json");
    assert_ok(col_report_write(plan, path));
    json_error_t error;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "model")), "tiny");
    assert_int_equal(json_integer_value(json_object_get(json, "parameters")), 12);
    assert_int_equal(json_integer_value(json_object_get(json, "ops")), 3);
    assert_int_equal(
        json_integer_value(json_array_get(json_object_get(json_object_get(json, "mesh"), "shape"), 0)), 1);
    assert_float_equal(json_field(json, "predicted", "step_seconds"), 8, 1e-9);
    assert_float_equal(json_field(json, "predicted", "peak_bytes"), 620, 0);
    assert_float_equal(json_field(json, "predicted", "state_bytes"), 48 + 96 + 24, 0);
    assert_float_equal(json_field(json, "solver", "objective"), 300, 0);
    assert_float_equal(json_field(json, "solver", "bound"), 250, 0);
    assert_float_equal(json_field(json, "solver", "gap"), 1.0 / 6, 1e-12);
    assert_float_equal(json_field(json, "solver", "variables"), 3, 0);
    assert_float_equal(json_field(json, "solver", "rows"), 2, 0); /* large-small, small-result */
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "solver"), "status")),
                        "feasible");
    assert_int_equal(json_array_size(json_object_get(json, "passes")), 2);
    json_decref(json);
}

/* Whether a line of the text holds all the parts, in order. */
static void assert_line(const char *text, const char *const *parts)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *end = strchrnul(line, '\n'), *at = line;
        size_t i = 0;
        for (; parts[i] && at; i++) {
            at = strstr(at, parts[i]);
            if (at && at >= end) at = NULL;
        }
        if (at && !parts[i]) return;
        if (!*end) break;
    }
    fail_msg("no line with '%s' ... in:\n%s", parts[0], text);
}
#define ASSERT_LINE(text, ...) assert_line((text), (const char *[]){__VA_ARGS__, NULL})

static void text_tells_costs_and_memory(void **state)
{
    folder *f = *state;
    col_plan *plan = make_plan(f->arena);
    col_predict(&machine, plan);
    col_str text = {0};
    col_explain_text(plan, &(col_explain_options){.variables = true}, &text);
    const char *t = col_str_text(&text);
    ASSERT_LINE(t, "fc ", "[2, 3] = [2, 4] x [4, 3]", "compute", "1.00 s", "comm 0", "mem", "24 B");
    ASSERT_LINE(t, "fc.sum", "[4, 3] = k0([2, 3])", "2.00 s");
    ASSERT_LINE(t, "program micro: 2 instructions, predicted 3.00 s");
    ASSERT_LINE(t, "memory of step", "320 B", "300 B", "250 B", "instruction 1, fc.sum");
    ASSERT_LINE(t, "large", "200 B", "0 -> 1 fc.sum");
    ASSERT_LINE(t, "small", "50 B", "1 -> 2 w");
    ASSERT_LINE(t, "phase |fbu");
    ASSERT_LINE(t, "320 B |", "#");
    ASSERT_LINE(t, "w.adam_m", "state", "f32[4, 3]", "R", "at", "128", "48 B");
    assert_null(strstr(t, "result")); /* not live at the peak */
    col_str_fini(&text);
}

static void json_log_starts_with_the_report(void **state)
{
    folder *f = *state;
    col_plan *plan = make_plan(f->arena);
    col_predict(&machine, plan);
    json_t *json = col_explain_json(plan, &(col_explain_options){.program = "step"});
    assert_float_equal(json_field(json, "predicted", "step_seconds"), 8, 1e-9);
    json_t *programs = json_object_get(json, "programs");
    assert_int_equal(json_array_size(programs), 1);
    json_t *in = json_array_get(json_object_get(json_array_get(programs, 0), "instructions"), 2);
    assert_string_equal(json_string_value(json_object_get(in, "kernel")), "k1");
    assert_int_equal(json_array_size(json_object_get(json, "memory")), 1);
    json_decref(json);
}

static void an_empty_plan_has_a_summary(void **state)
{
    folder *f = *state;
    col_plan *plan = COL_NEW(f->arena, col_plan);
    col__plan__plan__init(plan);
    col_str text = {0};
    col_explain_text(plan, &(col_explain_options){0}, &text);
    ASSERT_LINE(col_str_text(&text), "parameters 0 in 0 tensors");
    col_str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prediction_counts_the_runs_of_a_step, folder_set_up,
                                        folder_tear_down),
        cmocka_unit_test_setup_teardown(figures_add_up, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(report_is_json, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(text_tells_costs_and_memory, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(json_log_starts_with_the_report, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(an_empty_plan_has_a_summary, folder_set_up, folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
