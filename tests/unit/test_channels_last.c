/* Channels last: which values of a network lie so, that kernels over them compute the same, and that folding strides into
 * channels changes no result. */
#include "tests/unit/unit.h"

#include "tests/unit/kernel_run.h"

#include "ir/window.h"
#include "passes/channels_last.h"
#include "passes/memory.h"
#include "passes/pass.h"

static bool is_conv(const col_node *node)
{
    return node->op == COL_OP_CONV || node->op == COL_OP_CONV_GRAD_INPUT ||
           node->op == COL_OP_CONV_GRAD_WEIGHT;
}

static void run_passes(col_graph *graph, const char *const *names, size_t count)
{
    col_pass_options options = col_pass_options_default();
    options.channels_last = true;
    options.precision = COL_BF16;
    for (size_t i = 0; i < count; i++) {
        const col_pass *pass = col_pass_find(names[i]);
        assert_non_null(pass);
        assert_ok(col_passes_run(graph, &pass, 1, &options, NULL));
    }
}

static const char *const training[] = {
    "precision", "space_to_depth", "autodiff", "optimizer", "lower", "fold",    "cse",
    "dce",       "legalize",       "cse",      "dce",       "fuse",  "schedule"};

static bool has_strides(const col_memory *memory, const col_value *value, bool last)
{
    int64_t strides[COL_MAX_RANK];
    if (last)
        col_channels_last_strides(value->type.shape, strides);
    else
        col_shape_strides(value->type.shape, strides);
    return !memcmp(strides, memory->placements[value->id].strides,
                   sizeof *strides * (size_t)value->type.shape.rank);
}

/* All convolutions of the training step compute channels-last; variables and outputs lie as users see them. */
static void check_layout(const char *text, int wanted)
{
    col_arena *arena = col_arena_create();
    col_graph *graph = kernel_run_parse(text, arena);
    run_passes(graph, training, COL_COUNT(training));
    col_memory memory = {0};
    col_memory_fix_strides(graph, col_units_of(graph, arena), true, arena, &memory);
    int convolutions = 0;
    COL_FOR_EACH_NODE (node, graph) {
        if (!is_conv(node)) continue;
        convolutions++;
        assert_int_equal(col_dtype_size(node->results[0].type.dtype), 2);
        for (uint32_t i = 0; i < 2; i++) assert_true(has_strides(&memory, col_node_operand(node, i), true));
        assert_true(has_strides(&memory, &node->results[0], true));
    }
    assert_int_equal(convolutions, wanted);
    for (size_t i = 0; i < graph->vars.len; i++)
        assert_true(has_strides(&memory, graph->vars.data[i]->value, false));
    for (size_t i = 0; i < graph->outputs.len; i++)
        assert_true(has_strides(&memory, graph->outputs.data[i].value, false));
    col_arena_destroy(arena);
}

#define LOSS "output loss = cross_entropy(dense(x, 5) @ fc, labels)\n"

static void networks_lie_channels_last(void **unused)
{
    (void)unused;
    static const char head[] = "model m()\ninput pixel_values : f32[4, 3, 12, 12]\ninput labels : i32[4]\n";
    char text[1024];
    /* A residual block between a first convolution and a mean: gradients of all weights, of all inputs but the images. */
    snprintf(
        text, sizeof text,
        "%sx = relu(batch_norm(conv(pixel_values, 16, 7, stride = 2, padding = 3, bias = false) @ c0) @ n0)\n"
        "x = max_pool(x, kernel = 3, stride = 2, padding = 1)\n"
        "y = relu(batch_norm(conv(x, 16, 3, padding = 1, bias = false) @ c1) @ n1)\n"
        "x = relu(batch_norm(conv(y, 16, 1, bias = false) @ c2) @ n2 + x)\n"
        "x = mean(x, axes = [2, 3])\n" LOSS,
        head);
    check_layout(text, 3 + 3 + 2);
    /* What is flattened, and what users ask for, is row-major: copies stand between. */
    snprintf(text, sizeof text,
             "%sx = conv(pixel_values, 8, 3, padding = 1) @ c0\noutput seen = x\nx = conv(x, 8, 3, stride = "
             "4) @ c1\n"
             "output also = x\nx = reshape(x, shape = [4, 72])\n" LOSS,
             head);
    check_layout(text, 2 + 2 + 1);
}

/* The same results whatever the layout, of kernels that join values of both. */
static void kernels_compute_the_same(void **unused)
{
    (void)unused;
    static const char *const models[] = {
        "model m()\ninput x, y : f32[3, 8, 5, 6]\ninput c : f32[8]\na = relu(x * 2.0)\nb = relu(y - 1.0)\n"
        "w = reshape(c, shape = [8, 1, 1])\nd = max_pool(a, kernel = 2, stride = 1)\n"
        "output s = sum(a * b, axes = [0, 2, 3])\noutput t = sum(b, axes = [2, 3]) * 2.0\n"
        "output u = reshape(a * w + b, shape = [3, 240])\noutput v = exp(d)\noutput z = sum(b, axes = [1])\n",
        "model m()\ninput x : f32[4, 16, 9]\nparam g, b : f32[16] ~ zeros\nstate m, v : f32[16] ~ zeros\n"
        "y = conv(relu(x), 16, 3, padding = 1) @ c\n"
        "output a = y * sum(y, axes = [0, 2], keepdims = 1)\noutput b = transpose(y, perm = [2, 0, 1]) + "
        "1.0\n"
        "output p = pad(y, low = [0, 0, 2], high = [0, 1, 0])\n"};
    for (size_t m = 0; m < COL_COUNT(models); m++) {
        col_arena *arena = col_arena_create();
        col_graph *graph = kernel_run_parse(models[m], arena);
        const col_tensor *vars = kernel_run_fill(graph, 5, arena);
        const col_tensor *expected = kernel_run_reference(graph, vars, arena);
        kernel_run_prepare(graph);
        kernel_run_options options = {.channels_last = true, .split = 3};
        const col_tensor *got = kernel_run(graph, vars, &options, arena);
        for (size_t i = 0; i < graph->outputs.len; i++) {
            double distance = kernel_run_distance(&got[i], &expected[i]);
            if (distance > 2e-5) fail_msg("'%s' is off by %g", graph->outputs.data[i].name, distance);
        }
        col_arena_destroy(arena);
    }
}

typedef struct geometry {
    int size, kernel, stride, padding;
    bool folds;
} geometry;

static void strides_become_channels(void **unused)
{
    (void)unused;
    static const geometry cases[] = {{12, 7, 2, 3, true}, {8, 2, 2, 0, true},  {10, 3, 2, 1, true},
                                     {10, 5, 2, 2, true}, {9, 3, 2, 1, false}, {12, 3, 1, 1, false},
                                     {12, 4, 4, 0, false}};
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        geometry g = cases[i];
        char text[512];
        snprintf(
            text, sizeof text,
            "model m()\ninput x : f32[2, 3, %d, %d]\noutput y = conv(x, 4, %d, stride = %d, padding = %d, "
            "bias = false) @ c\n",
            g.size, g.size, g.kernel, g.stride, g.padding);
        col_arena *arena = col_arena_create();
        col_graph *graph = kernel_run_parse(text, arena);
        const col_tensor *vars = kernel_run_fill(graph, i, arena);
        run_passes(graph, training, 1);
        const col_tensor *expected = kernel_run_reference(graph, vars, arena);
        run_passes(graph, training + 1, 1);
        const col_tensor *got = kernel_run_reference(graph, vars, arena);
        assert_true(kernel_run_distance(&got[0], &expected[0]) < 1e-2);
        COL_FOR_EACH_NODE (node, graph) {
            if (node->op != COL_OP_CONV) continue;
            col_window w = col_window_of(node);
            assert_int_equal(w.stride[0], g.folds ? 1 : g.stride);
            assert_int_equal(col_node_operand(node, 0)->type.shape.dims[1] % 8 == 0, g.folds);
        }
        col_arena_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_lie_channels_last),
        cmocka_unit_test(kernels_compute_the_same),
        cmocka_unit_test(strides_become_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
