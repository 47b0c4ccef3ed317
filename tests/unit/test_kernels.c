/* Generated code against the reference evaluator: every op of the table, and the shapes, strides and fusions
 * that make code generation hard; at every CPU level that this machine has. */
#include "tests/unit/unit.h"

#include "tests/unit/kernel_run.h"
#include "tests/unit/samples.h"

#include "passes/pass.h"

/* The best level, then the others that run here. */
static const char *levels[4] = {NULL};
static size_t level_count = 1;

static double tolerance(col_dtype dtype)
{
    return dtype == COL_BF16 ? 1e-2 : dtype == COL_F16 ? 2e-3 : 2e-5;
}

static const char *result_name(const col_graph *graph, size_t i)
{
    size_t n = graph->outputs.len;
    return i < n ? graph->outputs.data[i].name : graph->vars.data[i - n]->name;
}

/* Compares every output and variable at every level, and checks that cutting the ranges changes no bit. */
static void check_graph(col_graph *graph, const char *what, uint64_t seed, col_arena *arena)
{
    const col_tensor *vars = kernel_run_fill(graph, seed, arena);
    const col_tensor *expected = kernel_run_reference(graph, vars, arena);
    kernel_run_prepare(graph);
    for (size_t l = 0; l < level_count; l++) {
        kernel_run_options whole = {.features = levels[l]}, cut = {.features = levels[l], .split = seed + 1};
        const char *level = levels[l] ? levels[l] : "best level";
        const col_tensor *got = kernel_run(graph, vars, &whole, arena);
        const col_tensor *again = kernel_run(graph, vars, &cut, arena);
        for (size_t i = 0; i < graph->outputs.len + graph->vars.len; i++) {
            double distance = kernel_run_distance(&got[i], &expected[i]);
            size_t bytes = sizeof(double) * (size_t)col_shape_numel(got[i].type.shape);
            if (memcmp(got[i].data, again[i].data, bytes))
                fail_msg("%s: '%s', %s: depends on how the range is cut", what, result_name(graph, i), level);
            if (distance <= tolerance(got[i].type.dtype)) continue;
            col_str text = {0};
            col_graph_print(graph, &text);
            fail_msg("%s: '%s', %s: off by %g\n%s", what, result_name(graph, i), level, distance,
                     col_str_text(&text));
        }
    }
}

static void check_model(const char *text)
{
    col_arena *arena = col_arena_create();
    check_graph(kernel_run_parse(text, arena), text, 1, arena);
    col_arena_destroy(arena);
}

/* The model with "N" replaced by each size. */
static void check_sizes(const char *text)
{
    static const int sizes[] = {1, 3, 17, 64, 130, 50257};
    for (size_t i = 0; i < COL_COUNT(sizes); i++) {
        char whole[4096];
        size_t n = 0;
        for (const char *c = text; *c; c++) {
            assert_true(n + 16 < sizeof whole);
            if (*c == 'N')
                n += (size_t)snprintf(whole + n, sizeof whole - n, "%d", sizes[i]);
            else
                whole[n++] = *c;
        }
        whole[n] = '\0';
        check_model(whole);
    }
}

static void elementwise_chains(void **unused)
{
    (void)unused;
    check_sizes("model m()\ninput x, y : f32[N]\ninput s : f32[]\n"
                "output a = tanh(x * y + s) / (1.0 + exp(-x))\n"
                "output b = where(x < y, log(abs(y) + 1.0), erf(x))\n");
    check_sizes("model m()\ninput x : f32[3, N]\ninput y : f32[N]\ninput z : f32[3, 1]\n"
                "output a = maximum(x * y, z) - minimum(x, y) * rsqrt(abs(z) + 0.5)\n");
    check_model("model m()\ninput x : f32[5, 1, 7]\ninput y : f32[6, 1]\noutput a = x + sqrt(abs(y))\n");
    check_model("model m()\ninput x : f64[33]\ninput i : i64[33]\ninput k : i32[33]\n"
                "output a = exp(x) * sin(x) + tanh(x)\noutput b = i * 3 - i\n"
                "output c = cast(x, dtype = \"i32\") + k\noutput d = cast(k, dtype = \"bool\")\n"
                "output e = cast(i, dtype = \"f32\") / 7.0\n");
}

static void narrow_types(void **unused)
{
    (void)unused;
    check_sizes("model m()\ninput x : bf16[N]\ninput y : f16[N]\ninput z : u8[N]\ninput t : bool[N]\n"
                "w = cast(x, dtype = \"f32\") * cast(y, dtype = \"f32\")\n"
                "output a = cast(w, dtype = \"bf16\")\noutput b = cast(w, dtype = \"f16\")\n"
                "output c = cast(z, dtype = \"f32\") + w\noutput d = not(t)\noutput e = x + x\n"
                "output f = eq(z, cast(t, dtype = \"u8\"))\n");
}

/* Whole numbers of every width: cast from each other (which keeps the lower bits) and from floats (which ends at the
 * type's limits), compared, chosen, and cast to what is wider. */
static void integer_types(void **unused)
{
    (void)unused;
    static const char *const types[] = {"i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"};
    char text[8192];
    size_t n = (size_t)snprintf(
        text, sizeof text, "model m()\ninput f : f32[67]\ninput k : i32[67]\nwide = k * 70001 - 70000\n");
    for (size_t i = 0; i < COL_COUNT(types); i++) {
        const char *t = types[i];
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "%s_x = cast(wide, dtype = \"%s\")\n%s_y = cast(f * 1e6, dtype = \"%s\")\n"
                              "output %s_least = where(%s_x < %s_y, %s_x, %s_y)\n"
                              "output %s_float = cast(%s_x, dtype = \"f32\")\n"
                              "output %s_count = cast(%s_x, dtype = \"u64\")\n",
                              t, t, t, t, t, t, t, t, t, t, t, t, t);
    }
    check_model(text);
}

static void row_kernels(void **unused)
{
    (void)unused;
    check_sizes("model m()\ninput x, r : f32[3, N]\nparam g, b : f32[N] ~ zeros\n"
                "output y = layer_norm(x + r, g, b)\noutput z = softmax(x, axis = -1)\noutput l = "
                "log_softmax(r, axis = -1)\n");
    check_sizes("model m()\ninput x : f32[2, N]\ninput k : i32[2]\noutput loss = cross_entropy(x, k)\n");
    check_sizes(
        "model m()\ninput x : f32[N]\noutput a = sum(x * x, axes = [0])\noutput b = max(x, axes = [0])\n"
        "output c = min(-x, axes = [0])\n");
    check_model("model m()\ninput x : f32[5, 6, 7, 3]\noutput a = sum(x, axes = [0, 2])\n"
                "output b = softmax(x, axis = 1)\noutput c = x - max(x, axes = [1, 3], keepdims = 1)\n");
    check_model(
        "model m()\ninput x : i32[4, 19]\noutput a = sum(x, axes = [1])\noutput b = max(x, axes = [0])\n");
}

static void column_kernels(void **unused)
{
    (void)unused;
    check_sizes(
        "model m()\ninput x, y : f32[5, N]\noutput a = sum(x * y, axes = [0])\n"
        "output b = sum(x, axes = [0])\noutput c = x * tanh(y)\noutput d = sum(x * tanh(y), axes = [0])\n");
    check_sizes("model m()\ninput x : f32[N, 3]\noutput a = softmax(x, axis = 0)\n");
    check_model("model m()\ninput x : f32[3, 40, 70]\noutput a = sum(x, axes = [1])\noutput b = softmax(x, "
                "axis = 1)\n");
}

static void strided_operands(void **unused)
{
    (void)unused;
    check_model("model m()\ninput x : f32[6, 35]\nt = transpose(x, perm = [1, 0])\n"
                "output a = t * 2.0\noutput b = reshape(t, shape = [7, 30])\noutput c = t + reshape(x, shape "
                "= [35, 6])\n"
                "output d = sum(t, axes = [0])\noutput e = reshape(t, shape = [2, 21, 5, 1]) * 3.0\n"
                "output f = softmax(t, axis = 0)\noutput g = reshape(x, shape = [10, 21]) - 1.0\noutput h = "
                "reshape(t, shape = [10, 21])\n");
    check_model("model m()\ninput x : f32[4, 9, 24]\nq, k, v = split(x, parts = 3, axis = -1)\n"
                "h = transpose(reshape(q * 2.0, shape = [4, 9, 2, 4]), perm = [0, 2, 1, 3])\n"
                "output a = h + 1.0\noutput b = reshape(h, shape = [8, 36])\noutput c = k * v\n"
                "output d = slice(v, starts = [1, 2, 3], stops = [3, 9, 8]) / 2.0\n"
                "output e = sum(reshape(k, shape = [4, 9, 2, 4]), axes = [1, 2])\n");
    check_model(
        "model m()\ninput x : f32[7]\noutput a = x * transpose(reshape(x, shape = [7, 1]), perm = [1, 0])\n"
        "output b = broadcast(reshape(x, shape = [7, 1]), shape = [7, 20]) + 0.0\n"
        "output c = exp(x) + slice(exp(reshape(x, shape = [1, 7])), starts = [0, 0], stops = [1, 7])\n");
}

static void moves(void **unused)
{
    (void)unused;
    check_sizes("model m()\ninput x : f32[3, N]\ninput y : f32[3, 5]\ninput z : f32[2, N]\n"
                "output a = concat(x, y, axis = 1)\noutput b = concat(z, x, z, axis = 0)\n"
                "output c = pad(x, low = [1, 2], high = [0, 3], value = 0.5) * 2.0\n");
    check_sizes("model m()\nparam t : f32[3, N] ~ zeros\nparam p : f32[4, N] ~ zeros\ninput i : i32[2, 4]\n"
                "output a = embedding(t, i) + p\n");
    check_model("model m()\nparam t : f32[1, 1] ~ zeros\ninput i : i64[9]\noutput a = embedding(t, i * 0)\n");
    check_model(
        "model m()\ninput x : f32[2, 3, 4]\noutput a = pad(x, low = [1, 1, 1], high = [1, 1, 1]) - 1.0\n"
        "output b = concat(transpose(x, perm = [0, 2, 1]), reshape(x, shape = [2, 4, 3]), axis = 2)\n");
}

static void random_numbers(void **unused)
{
    (void)unused;
    check_sizes("model m()\ninput rng : i64[2]\ninput x : f32[3, N]\n"
                "output a = random_uniform(rng, shape = [3, N], salt = 5)\noutput b = dropout(x, rng, rate = "
                "0.4, salt = 9)\n"
                "output c = transpose(random_uniform(rng, shape = [N, 3], salt = 5), perm = [1, 0]) + x\n");
    check_sizes(
        "model m()\ninput rng : i64[2]\ninput x : f32[3, N]\ninput first : i64[]\n"
        "output a = random_uniform(rng, first * 4, shape = [3, N], salt = 5, whole = [6, N])\n"
        "output b = random_uniform(rng, first + 21, shape = [3, N], salt = 5, whole = [9, 60000]) * x\n");
}

/* A training step: gradients, clipping, the update of every parameter. */
static void training_step(void **unused)
{
    (void)unused;
    static const char text[] =
        "model m()\ninput x : f32[6, 10]\ninput k : i32[6]\n"
        "h = gelu_tanh(linear(layer_norm(x) @ ln, 20) @ fc)\nh = x + linear(h, 10) @ proj\n"
        "output loss = cross_entropy(linear(layer_norm(h) @ ln_f, 7) @ head, k)\n";
    col_arena *arena = col_arena_create();
    col_graph *graph = kernel_run_parse(text, arena);
    col_pass_options options = col_pass_options_default();
    options.keep_gradients = true;
    const col_pass *passes[] = {col_pass_find("autodiff"), col_pass_find("optimizer")};
    assert_ok(col_passes_run(graph, passes, COL_COUNT(passes), &options, NULL));
    check_graph(graph, "training step", 3, arena);
    col_arena_destroy(arena);
}

static void every_op(void **unused)
{
    (void)unused;
    for (size_t s = 0; s < sample_count; s++) {
        col_arena *arena = col_arena_create();
        col_node *node = sample_build(&samples[s], arena);
        col_graph *graph = node->graph;
        for (uint32_t i = 0; i < node->result_count; i++) {
            if (graph->outputs.len > i) continue;
            col_graph_add_output(graph, col_arena_printf(arena, "y%u", i), &node->results[i], (col_loc){0});
        }
        if (node->op != COL_OP_ASSIGN) check_graph(graph, col_op_info_of(node->op)->name, s + 1, arena);
        col_arena_destroy(arena);
    }
}

int main(void)
{
    static const char *const all[] = {"sse2", "avx2", "avx512"};
    __builtin_cpu_init();
    levels[level_count++] = all[0];
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) levels[level_count++] = all[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op),         cmocka_unit_test(elementwise_chains),
        cmocka_unit_test(narrow_types),     cmocka_unit_test(integer_types),
        cmocka_unit_test(row_kernels),      cmocka_unit_test(column_kernels),
        cmocka_unit_test(strided_operands), cmocka_unit_test(moves),
        cmocka_unit_test(random_numbers),   cmocka_unit_test(training_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
