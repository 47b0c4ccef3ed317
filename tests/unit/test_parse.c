/* The text frontend: numbers of hyperparameters, GPT-2's parameters by Hugging Face's names, and that nothing
 * a file can hold takes the parser down or long. */
#include "tests/unit/unit.h"
#include "frontend/parse.h"

#include "ir/base/file.h"
#include "ir/base/str.h"

#include <math.h>

static col_status parse_bytes(col_arena *arena, const char *text, size_t size,
                              const col_parse_options *options, col_graph **out)
{
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){"t.ir", text, size};
    return col_parse_model(source, options, arena, out);
}

static col_graph *parse_fine(col_arena *arena, const char *text)
{
    col_graph *graph;
    assert_ok(parse_bytes(arena, text, strlen(text), NULL, &graph));
    return graph;
}

/* The message of the fault that the text has. */
static const char *parse_fault(col_arena *arena, const char *text, size_t size)
{
    col_graph *graph;
    col_status status = parse_bytes(arena, text, size, NULL, &graph);
    assert_int_equal(col_error_code(status), COL_BAD_INPUT);
    assert_null(graph);
    const char *message = col_arena_strdup(arena, col_error_message(status));
    col_error_free(status);
    return message;
}

static size_t count_faults(const char *message)
{
    size_t count = 0;
    while ((message = strstr(message, ": error: "))) message++, count++;
    return count;
}

/* --- numbers --- */

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *expression;
        double value;
        bool is_float;
    } cases[] = {
        {"1 + 2 * 3", 7, false},
        {"(1 + 2) * 3", 9, false},
        {"10 - 4 - 3", 3, false},
        {"24 / 4 / 2", 3, false},
        {"-7 % 4", -3, false},
        {"- -3", 3, false},
        {"2 * -3", -6, false},
        {"1 / 2.0", 0.5, true},
        {"0.02 / sqrt(2 * 8)", 0.005, true},
        {"3 < 4", 1, false},
        {"3 == 3.5", 0, false},
        {"(3 != 4) + (4 >= 4) + (4 <= 3)", 2, false},
        {"min(3, 1, 2) + max(3, 7)", 8, false},
        {"max(1, 2.5)", 2.5, true},
        {"floor_div(-7, 2)", -4, false},
        {"ceil_div(-7, 2)", -3, false},
        {"ceil_div(7, 2)", 4, false},
        {"floor_div(7, -2)", -4, false},
        {"pow(2, 62)", 4611686018427387904.0, false},
        {"pow(2, -1)", 0.5, true},
        {"pow(-3, 3)", -27, false},
        {"int(2.9) + floor(-0.5) + ceil(0.5) + round(1.5)", 4, false},
        {"float(3)", 3, true},
        {"abs(-3) + abs(3)", 6, false},
        {"exp(log(4.0)) > 3.999", 1, false},
        {"and(1, 2) + or(0, 0) + not(0)", 2, false},
        {"true + true + false", 2, false},
        {"256 * ceil_div(floor_div(8 * 4096, 3), 256)", 11008, false}, /* a LLaMA's inner width */
        {"-9223372036854775808", -9223372036854775808.0, false},
        {"-inf", -INFINITY, true},
    };
    col_arena *a = col_arena_create();
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        const char *text =
            col_arena_printf(a, "model m(a = %s)\ninput x : f32[1]\noutput x = x\n", cases[i].expression);
        const col_graph *graph = parse_fine(a, text);
        const col_setting *s = &graph->settings.data[0];
        if (s->is_float != cases[i].is_float) fail_msg("kind of %s", cases[i].expression);
        double value = s->is_float ? s->float_value : (double)s->int_value;
        if (!(value == cases[i].value || fabs(value - cases[i].value) < 1e-15))
            fail_msg("%s gives %g", cases[i].expression, value);
    }
    col_arena_destroy(a);
}

static void test_number_faults(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "7 / 2",
        "1 / 0",
        "1 / 0.0",
        "1 % 0",
        "9223372036854775807 + 1",
        "-9223372036854775807 - 2",
        "4611686018427387904 * 2",
        "-9223372036854775808 / -1",
        "-(-9223372036854775807 - 1)",
        "abs(-9223372036854775808)",
        "floor_div(-9223372036854775808, -1)",
        "pow(2, 63)",
        "pow(3, 9223372036854775807)",
        "exp(1000)",
        "1e308 * 10",
        "log(0)",
        "int(1e30)",
        "1.5 % 2",
        "floor_div(1.5, 2)",
        "sqrt(1, 2)",
        "\"text\"",
        "[1, 2]",
        "normal(0, 1)",
        "1 < 2 < 3",
        "undefined",
    };
    col_arena *a = col_arena_create();
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        const char *text = col_arena_printf(a, "model m(a = %s)\ninput x : f32[1]\noutput x = x\n", cases[i]);
        const char *message = parse_fault(a, text, strlen(text));
        if (strncmp(message, "t.ir:1:", 7) != 0 || count_faults(message) != 1)
            fail_msg("%s: %s", cases[i], message);
    }
    col_arena_destroy(a);
}

/* --- GPT-2 --- */

static void expect_param(const col_graph *graph, col_arena *arena, size_t *seen, const char *prefix,
                         const char *name, int64_t rows, int64_t columns)
{
    const char *full = col_arena_printf(arena, "%s%s", prefix, name);
    const col_var *var = col_graph_find_var(graph, full);
    if (!var || var->kind != COL_VAR_PARAM) fail_msg("no parameter %s", full);
    col_shape shape = {.rank = columns ? 2 : 1, .dims = {rows, columns}};
    assert_true(col_type_equal(var->type, col_type_make(COL_F32, shape)));
    ++*seen;
}

/* Names and shapes of Hugging Face's GPT2Model, and the known numbers of parameters. */
static void test_gpt2_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *width, *heads;
        int64_t parameters;
    } sizes[] = {
        {"12", "768", "12", 124439808},
        {"24", "1024", "16", 354823168},
        {"36", "1280", "20", 774030080},
        {"48", "1600", "25", 1557611200},
    };
    for (size_t i = 0; i < COL_COUNT(sizes); i++) {
        col_arena *a = col_arena_create();
        col_source source = {.name = "models/gpt2.ir"};
        char *text;
        assert_ok(col_file_read(a, source.name, 0, &text, &source.size));
        source.text = text;
        const col_parse_setting settings[] = {
            {"layers", sizes[i].layers}, {"width", sizes[i].width}, {"heads", sizes[i].heads}};
        const col_parse_options options = {.settings = settings, .setting_count = 3, .batch = 2, .seq = 64};
        col_graph *graph;
        assert_ok(col_parse_model(&source, &options, a, &graph));
        assert_ok(col_graph_verify(graph));
        int64_t elements = 0;
        size_t params = 0, seen = 0;
        for (size_t v = 0; v < graph->vars.len; v++) {
            if (graph->vars.data[v]->kind != COL_VAR_PARAM) continue;
            elements += col_shape_numel(graph->vars.data[v]->type.shape);
            params++;
        }
        assert_int_equal(elements, sizes[i].parameters);
        int64_t layers = atoll(sizes[i].layers), c = atoll(sizes[i].width);
        expect_param(graph, a, &seen, "", "wte.weight", 50257, c);
        expect_param(graph, a, &seen, "", "wpe.weight", 1024, c);
        expect_param(graph, a, &seen, "", "ln_f.weight", c, 0);
        expect_param(graph, a, &seen, "", "ln_f.bias", c, 0);
        for (int64_t h = 0; h < layers; h++) {
            const char *prefix = col_arena_printf(a, "h.%lld.", (long long)h);
            expect_param(graph, a, &seen, prefix, "ln_1.weight", c, 0);
            expect_param(graph, a, &seen, prefix, "ln_1.bias", c, 0);
            expect_param(graph, a, &seen, prefix, "attn.c_attn.weight", c, 3 * c);
            expect_param(graph, a, &seen, prefix, "attn.c_attn.bias", 3 * c, 0);
            expect_param(graph, a, &seen, prefix, "attn.c_proj.weight", c, c);
            expect_param(graph, a, &seen, prefix, "attn.c_proj.bias", c, 0);
            expect_param(graph, a, &seen, prefix, "ln_2.weight", c, 0);
            expect_param(graph, a, &seen, prefix, "ln_2.bias", c, 0);
            expect_param(graph, a, &seen, prefix, "mlp.c_fc.weight", c, 4 * c);
            expect_param(graph, a, &seen, prefix, "mlp.c_fc.bias", 4 * c, 0);
            expect_param(graph, a, &seen, prefix, "mlp.c_proj.weight", 4 * c, c);
            expect_param(graph, a, &seen, prefix, "mlp.c_proj.bias", c, 0);
        }
        assert_int_equal(seen, params);
        const col_var *ids = col_graph_find_var(graph, "input_ids");
        assert_true(ids && ids->type.shape.dims[0] == 2 && ids->type.shape.dims[1] == 64);
        assert_non_null(col_graph_find_output(graph, "loss"));
        col_arena_destroy(a);
    }
}

/* A stream of random numbers belongs to its place: other layers, other sizes do not change it. */
static void test_salts_are_stable(void **state)
{
    (void)state;
    const char *form = "model m(n = %d)\ninput x : f32[2, 8]\n"
                       "block b(x) { return dropout(dropout(x, 0.5), 0.5) }\n"
                       "for i in 0..n { x = b(x) @ h.{i} }\noutput y = x\n";
    int64_t salts[2][8];
    for (int round = 0; round < 2; round++) {
        col_arena *a = col_arena_create();
        const col_graph *graph = parse_fine(a, col_arena_printf(a, form, 2 + 2 * round));
        size_t count = 0;
        COL_FOR_EACH_NODE (node, graph) salts[round][count++] = col_node_int(node, COL_ATTR_SALT);
        assert_int_equal(count, 4 + 4 * round);
        col_arena_destroy(a);
    }
    for (int i = 0; i < 8; i++) {
        if (i < 4) assert_int_equal(salts[0][i], salts[1][i]);
        for (int j = 0; j < i; j++) assert_int_not_equal(salts[1][i], salts[1][j]);
    }
}

/* --- hostile files --- */

static void test_random_bytes(void **state)
{
    (void)state;
    enum { SIZE = 10 << 20 };
    char *bytes = malloc(SIZE);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < SIZE; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        bytes[i] = (char)(x >> 32);
    }
    col_arena *a = col_arena_create();
    assert_int_equal(count_faults(parse_fault(a, bytes, SIZE)), 1);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (char)(' ' + (unsigned char)bytes[i] % 95); /* printable */
    assert_int_equal(count_faults(parse_fault(a, bytes, SIZE)), 1);
    memcpy(bytes, "model m\n", 8); /* and on one line after a good header */
    assert_in_range(count_faults(parse_fault(a, bytes, SIZE)), 1, 20);
    for (size_t i = 60; i < SIZE; i += 60) bytes[i] = '\n';
    const char *message = parse_fault(a, bytes, SIZE);
    assert_int_equal(count_faults(message), 20);
    assert_true(strlen(message) < 20000);
    col_arena_destroy(a);
    free(bytes);
}

/* `count` times `piece` between two texts. */
static const char *repeated(col_arena *a, const char *before, const char *piece, size_t count,
                            const char *after)
{
    col_str out = {0};
    col_str_append(&out, before);
    for (size_t i = 0; i < count; i++) col_str_append(&out, piece);
    col_str_append(&out, after);
    const char *text = col_arena_strdup(a, col_str_text(&out));
    col_str_fini(&out);
    return text;
}

static void test_depth(void **state)
{
    (void)state;
    enum { DEEP = 50000 };
    static const struct {
        const char *before, *piece, *after;
    } cases[] = {
        {"model m(a = ", "(", "\n"},
        {"model m(a = ", "-", "1)\n"},
        {"model m(a = ", "- -", "1)\n"},
        {"model m(a = 1", " + 1", ")\n"},
        {"model m(a = ", "min(", "\n"},
        {"model m(a = ", "[", "\n"},
        {"model m\ny = ", "f(x = ", "\n"},
        {"model m\n", "if 1 {\n", ""},
        {"model m\n", "for i in 0..1 {\n", ""},
        {"model m\n", "if 0 { } else ", "\n"},
        {"model m\nx = f(y) @ a", ".a", "\noutput x = x\n"},
        {"model m\nx", ", x", " = y\n"},
        {"model m\nx : ", "f32[", "\n"},
    };
    col_arena *a = col_arena_create();
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        const char *text = repeated(a, cases[i].before, cases[i].piece, DEEP, cases[i].after);
        const char *message = parse_fault(a, text, strlen(text));
        assert_in_range(count_faults(message), 1, 20);
    }
    col_arena_destroy(a);
}

/* Blocks that call one another double the work at every level: 2^60 instances in 60 lines. */
static void test_blow_up(void **state)
{
    (void)state;
    col_arena *a = col_arena_create();
    col_str text = {0};
    col_str_append(&text, "model m\ninput x : f32[2]\nblock b0(x) { return relu(x) }\n");
    for (int i = 1; i <= 60; i++)
        col_str_printf(&text, "block b%d(x) { x = b%d(x)\nreturn b%d(x) }\n", i, i - 1, i - 1);
    col_str_append(&text, "output y = b60(x)\n");
    const col_parse_options few_tensors = {.value_limit = 20000}, few_steps = {.step_limit = 20000};
    col_graph *graph;
    assert_fails(parse_bytes(a, text.data, text.len, &few_tensors, &graph), COL_BAD_INPUT,
                 "this model makes over 20000 tensors");
    assert_fails(parse_bytes(a, text.data, text.len, &few_steps, &graph), COL_BAD_INPUT,
                 "this model takes over 20000 steps");
    col_str_fini(&text);

    for (int i = 1; i <= 80; i++) col_str_printf(&text, "block b%d(x) { return b%d(x) }\n", i, i - 1);
    const char *deep = col_arena_printf(
        a, "model m\ninput x : f32[2]\nblock b0(x) { return relu(x) }\n%soutput y = b80(x)\n", text.data);
    assert_non_null(strstr(parse_fault(a, deep, strlen(deep)), "deep"));
    col_str_fini(&text);
    col_arena_destroy(a);
}

/* A long flat graph, as passes print it, parses in linear time: this would not end otherwise. */
static void test_long(void **state)
{
    (void)state;
    col_arena *a = col_arena_create();
    col_str text = {0};
    col_str_append(&text, "model m\ninput x : f32[2]\n%0 = relu(x)\n");
    for (int i = 1; i <= 50000; i++)
        col_str_printf(&text, "%%%d = relu(%%%d) @ h.%d : f32[2]\n", i, i - 1, i);
    col_str_append(&text, "output y = %50000\n");
    assert_int_equal(parse_fine(a, text.data)->node_count, 50001);
    col_str_fini(&text);
    col_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_number_faults),
        cmocka_unit_test(test_gpt2_parameters), cmocka_unit_test(test_salts_are_stable),
        cmocka_unit_test(test_random_bytes),    cmocka_unit_test(test_depth),
        cmocka_unit_test(test_blow_up),         cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
