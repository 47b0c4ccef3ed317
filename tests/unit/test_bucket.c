/* Small all-reduces become few, and only where nothing reads one of them before the last is there. */
#include "tests/unit/unit.h"

#include <string.h>

#include "frontend/parse.h"
#include "passes/pass.h"

static col_graph *bucketed(col_arena *arena, const char *body)
{
    const char *head = "model m()\nmesh 2x2\ninput x : f32[4, 6]\ninput y : f32[5]\ninput z : f32[3, 2]\n"
                       "input large : f32[1024, 1024]\n";
    col_source source = {.name = "m.ir", .text = col_arena_printf(arena, "%s%s", head, body)};
    source.size = strlen(source.text);
    col_source *kept = col_arena_copy(arena, &source, sizeof source);
    col_graph *graph;
    assert_ok(col_parse_model(kept, NULL, arena, &graph));
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_bucket(graph, &options));
    assert_ok(col_graph_verify(graph));
    return graph;
}

static int count(const col_graph *graph, col_op op)
{
    int n = 0;
    COL_FOR_EACH_NODE (node, graph) n += node->op == op;
    return n;
}

static void joins_what_waits(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_graph *graph = bucketed(arena, "a = all_reduce(x, mesh_axes = [0])\n"
                                       "b = all_reduce(y, mesh_axes = [0])\n"
                                       "c = all_reduce(z, mesh_axes = [0])\n"
                                       "output a = a\noutput b = exp(b)\noutput c = c\n");
    assert_int_equal(count(graph, COL_OP_ALL_REDUCE), 1);
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op != COL_OP_ALL_REDUCE) continue;
        assert_int_equal(col_shape_numel(node->results[0].type.shape), 24 + 5 + 6);
    }
    assert_int_equal(col_graph_find_output(graph, "c")->type.shape.rank, 2);
    col_arena_destroy(arena);
}

/* A bucket that was read leaves a place, and is not taken for another's. */
static void finds_its_own(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_graph *graph = bucketed(arena, "a = all_reduce(x, mesh_axes = [0])\n"
                                       "b = all_reduce(y, mesh_axes = [1])\n"
                                       "e = exp(a)\n"
                                       "d = all_reduce(z, mesh_axes = [1])\n"
                                       "output e = e\noutput b = b\noutput d = d\n");
    assert_int_equal(count(graph, COL_OP_ALL_REDUCE), 2);
    col_arena_destroy(arena);
}

/* Sixty-five sums are one bucket and one that is left. */
static void closes_what_is_full(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_str body = {0};
    for (int i = 0; i < 65; i++)
        col_str_printf(&body, "a%d = all_reduce(y * %d.0, mesh_axes = [0])\noutput a%d = a%d\n", i, i, i, i);
    col_graph *graph = bucketed(arena, col_str_text(&body));
    assert_int_equal(count(graph, COL_OP_ALL_REDUCE), 2);
    assert_int_equal(count(graph, COL_OP_CONCAT), 1);
    col_str_fini(&body);
    col_arena_destroy(arena);
}

/* Forward sums are read at once; other axes, other reductions and large sums stay apart. */
static void keeps_others(void **unused)
{
    (void)unused;
    static const char *const bodies[] = {
        "a = all_reduce(y, mesh_axes = [0])\nb = all_reduce(exp(a), mesh_axes = [0])\noutput b = b\n",
        "a = all_reduce(y, mesh_axes = [0])\nb = all_reduce(exp(y), mesh_axes = [1])\noutput a = a\noutput b "
        "= b\n",
        "a = all_reduce(y, mesh_axes = [0])\nb = all_reduce(y, mesh_axes = [0], reduce = \"max\")\n"
        "output a = a\noutput b = b\n",
        "a = all_reduce(large, mesh_axes = [0])\nb = all_reduce(y, mesh_axes = [0])\noutput a = a\noutput b "
        "= b\n",
    };
    for (size_t i = 0; i < COL_COUNT(bodies); i++) {
        col_arena *arena = col_arena_create();
        col_graph *graph = bucketed(arena, bodies[i]);
        assert_int_equal(count(graph, COL_OP_ALL_REDUCE), 2);
        assert_int_equal(count(graph, COL_OP_CONCAT), 0);
        col_arena_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(joins_what_waits), cmocka_unit_test(finds_its_own),
                                       cmocka_unit_test(closes_what_is_full), cmocka_unit_test(keeps_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
