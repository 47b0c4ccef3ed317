/* Kernels of every op, of every dtype and of every shape of grid become PTX that NVIDIA's assembler takes, where there is
 * one: LLVM ends the process at what it has no code for. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "codegen/ptx.h"
#include "ir/base/file.h"
#include "ir/units.h"
#include "passes/pass.h"
#include "tests/unit/kernel_run.h"
#include "tests/unit/samples.h"

typedef COL_VEC(const col_kernel *) kernel_list;

static void add_kernels(col_graph *graph, col_arena *arena, kernel_list *list)
{
    kernel_run_prepare(graph);
    const col_units *units = col_units_of(graph, arena);
    for (uint32_t u = 0; u < units->count; u++) {
        const col_unit *unit = &units->units[u];
        if (unit->nodes[0]->group < 0) continue;
        const col_kernel *kernel =
            col_kernel_build((const col_node *const *)unit->nodes, unit->node_count, NULL, arena);
        col_vec_push(arena, list, kernel);
    }
}

static const char *compile(const kernel_list *list, const char *processor, col_arena *arena)
{
    const char *text = NULL;
    assert_ok(
        col_ptx_compile(list->data, list->len, &(col_ptx_options){.processor = processor}, arena, &text));
    for (size_t i = 0; i < list->len; i++) {
        char entry[32];
        snprintf(entry, sizeof entry, ".entry k%zu(", i);
        assert_non_null(strstr(text, entry));
        col_ptx_launch launch = col_ptx_launch_of(list->data[i]);
        assert_true(launch.blocks >= 1 && launch.threads >= 32 && launch.threads <= 1024);
    }
    return text;
}

/* Through a file in a folder of its own. */
static void assemble(const char *text, const char *processor)
{
    char folder[] = "/tmp/colc-ptx-XXXXXX", path[64], command[256];
    if (system("command -v ptxas >/dev/null")) {
        print_message("not assembled: there is no ptxas\n");
        return;
    }
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/k.ptx", folder);
    assert_ok(col_file_write(path, text, strlen(text)));
    snprintf(command, sizeof command, "ptxas -arch=%s %s -o %s/k.cubin; e=$?; rm -rf %s; exit $e", processor,
             path, folder, folder);
    if (system(command)) fail_msg("ptxas refuses what was made for %s", processor);
}

static bool has_code(col_op op)
{
    return op != COL_OP_POW;
}

static void every_op(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    kernel_list list = {0};
    for (size_t s = 0; s < sample_count; s++) {
        col_node *node = sample_build(&samples[s], arena);
        if (!has_code(node->op) || node->op == COL_OP_ASSIGN) continue;
        for (uint32_t i = 0; i < node->result_count; i++) {
            if (node->graph->outputs.len > i) continue;
            col_graph_add_output(node->graph, col_arena_printf(arena, "y%u", i), &node->results[i],
                                 (col_loc){0});
        }
        add_kernels(node->graph, arena, &list);
    }
    assert_true(list.len > 50);
    assemble(compile(&list, "sm_80", arena), "sm_80");
    col_arena_destroy(arena);
}

static void every_dtype(void **unused)
{
    (void)unused;
    static const char *const texts[] = {
        "model m()\ninput x : f64[5, 600]\noutput a = sum(x * x, axes = [1])\noutput b = max(x, axes = [0])\n"
        "output c = floor(x / 3.0) + sqrt(abs(x))\noutput d = cast(x, dtype = \"i64\")\n",
        "model m()\ninput x : f16[7, 64]\ninput y : bf16[7, 64]\noutput a = cast(x, dtype = \"f32\") + "
        "cast(y, dtype = \"f32\")\n"
        "output b = sum(y, axes = [1])\noutput c = tanh(x)\noutput d = cast(y, dtype = \"f16\")\noutput e = "
        "max(x, axes = [0])\n",
        "model m()\ninput x : i32[9, 4096]\noutput a = sum(x, axes = [1])\noutput b = min(x, axes = [0])\n"
        "output c = cast(x, dtype = \"bool\")\noutput d = cast(x, dtype = \"f32\") * 0.5\n",
        "model m()\ninput x : i64[70, 64]\noutput a = sum(x, axes = [0])\noutput b = max(x, axes = "
        "[1])\noutput c = x * 3 - x\n",
        "model m()\ninput x : u8[64, 33]\ninput t : bool[64, 33]\noutput a = eq(x, cast(t, dtype = \"u8\"))\n"
        "output b = not(t)\n"
        "output c = where(t, cast(x, dtype = \"f32\"), 0.0)\n",
        "model m()\ninput x : i8[64, 33]\ninput y : u16[64, 33]\ninput z : u64[64, 33]\noutput a = cast(x, "
        "dtype = "
        "\"u32\")\noutput b = cast(y, dtype = \"i16\")\noutput c = cast(z, dtype = \"f32\")\n"
        "output d = x < cast(y, dtype = \"i8\")\n",
    };
    col_arena *arena = col_arena_create();
    kernel_list list = {0};
    for (size_t i = 0; i < COL_COUNT(texts); i++)
        add_kernels(kernel_run_parse(texts[i], arena), arena, &list);
    assemble(compile(&list, "sm_90a", arena), "sm_90a");
    col_arena_destroy(arena);
}

/* Teams of a thread, a warp and a block; columns alone and shared; several sums at once; arguments that start anywhere. */
static void every_grid(void **unused)
{
    (void)unused;
    static const int sizes[] = {2, 31, 128, 768, 5000, 50304};
    col_arena *arena = col_arena_create();
    kernel_list list = {0};
    for (size_t i = 0; i < COL_COUNT(sizes); i++) {
        const char *text = col_arena_printf(
            arena,
            "model m()\ninput x, y : f32[96, %d]\nparam g, b : f32[%d] ~ zeros\ninput k : i32[96]\n"
            "output a = layer_norm(x + y, g, b)\noutput l = cross_entropy(x, k)\n"
            "output s = sum(x * y, axes = [0])\noutput t = softmax(x, axis = 0)\noutput u = x - y\n"
            "output v = max(transpose(x, perm = [1, 0]), axes = [1])\n",
            sizes[i], sizes[i]);
        add_kernels(kernel_run_parse(text, arena), arena, &list);
    }
    size_t aligned = list.len;
    for (size_t i = 0; i < aligned; i++) {
        col_kernel *kernel = col_arena_copy(arena, list.data[i], sizeof *kernel);
        kernel->unaligned = kernel->apart = true;
        for (int a = 0; a < kernel->input_count + kernel->output_count; a++)
            assert_false(col_ptx_wants_aligned(kernel, a));
        col_vec_push(arena, &list, kernel);
    }
    assemble(compile(&list, NULL, arena), "sm_86");
    col_arena_destroy(arena);
}

static void refusals(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    kernel_list list = {0};
    const char *text = NULL;
    add_kernels(kernel_run_parse("model m()\ninput x : f32[8]\noutput y = pow(x, x)\n", arena), arena, &list);
    col_status status = col_ptx_compile(list.data, list.len, &(col_ptx_options){0}, arena, &text);
    assert_fails(status, COL_BAD_INPUT, "'pow' of f32");
    list.len = 0;
    status = col_ptx_compile(list.data, 0, &(col_ptx_options){.processor = "sm_70"}, arena, &text);
    assert_fails(status, COL_BAD_INPUT, "'sm_70' is no GPU level");
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op),
        cmocka_unit_test(every_dtype),
        cmocka_unit_test(every_grid),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
