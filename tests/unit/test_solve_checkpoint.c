/* colc solve checkpoint: a chain and a graph whose answers are known by hand, and every way in which a file
 * can be bad. */
#include "tests/unit/temporary_folder.h"
#include "frontend/solve.h"

#include <jansson.h>

static col_status command(folder *f, const char *json, const char *memory, const char *method)
{
    char *in = folder_file(f, "in.json"), *out = folder_file(f, "out.json");
    assert_ok(col_file_write(in, json, strlen(json)));
    char *argv[] = {in, "-o", out, "--method", (char *)method, "--memory", (char *)memory};
    return col_solve_checkpoint_command(memory ? 7 : 5, argv);
}

static json_t *answer(folder *f)
{
    json_t *root = json_load_file(folder_file(f, "out.json"), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    return root;
}

static void expect(json_t *root, const char *status, double seconds, int64_t peak, const char *actions)
{
    assert_string_equal(json_string_value(json_object_get(root, "status")), status);
    assert_float_equal(json_number_value(json_object_get(root, "objective")), seconds, 1e-9);
    assert_int_equal(json_integer_value(json_object_get(root, "peak")), peak);
    col_str text = {0};
    size_t index;
    json_t *op;
    json_array_foreach(json_object_get(root, "schedule"), index, op)
    {
        col_str_printf(&text, "%s %s%d", index ? "," : "", json_string_value(json_object_get(op, "action")),
                       (int)json_integer_value(json_object_get(op, "stage")));
    }
    assert_string_equal(col_str_text(&text), actions);
    col_str_fini(&text);
    json_decref(root);
}

#define STAGE(name)                                                                                          \
    "{\"name\": \"" name "\", \"forward_seconds\": 1, \"backward_seconds\": 2, \"input_bytes\": 10, "        \
    "\"saved_bytes\": 30}"
static const char chain[] = "{\"stages\": [" STAGE("a") ", " STAGE("b") "], \"output_bytes\": 10}";

/* Keeping all takes a_0 + A_1 + A_2 + d_2 + d_1 = 10 + 30 + 30 + 10 + 10. Recomputing stage 0, stage 1 peaks
 * at a_0 + a_1 + A_2 + d_2 + d_1 = 70, and stage 0 at a_0 + A_1 + d_1 + d_0 = 60. */
static void test_known_chain(void **state)
{
    folder *f = *state;
    assert_ok(command(f, chain, NULL, "optimal"));
    expect(answer(f), "optimal", 6, 90, " forward_save0, forward_save1, backward1, backward0");
    assert_ok(command(f, chain, "89", "optimal"));
    expect(answer(f), "optimal", 7, 70, " forward_keep0, forward_save1, backward1, forward_save0, backward0");
    assert_ok(command(f, chain, "70", "greedy"));
    expect(answer(f), "feasible", 7, 70,
           " forward_keep0, forward_save1, backward1, forward_save0, backward0");
    assert_ok(command(f, chain, "90", "keep"));
    expect(answer(f), "feasible", 6, 90, " forward_save0, forward_save1, backward1, backward0");
    assert_fails(command(f, chain, "69", "optimal"), COL_INFEASIBLE,
                 "the smallest memory that would do is 70 bytes");
    json_t *root = answer(f);
    assert_int_equal(json_integer_value(json_object_get(root, "least_memory")), 70);
    assert_string_equal(json_string_value(json_object_get(root, "status")), "infeasible");
    json_decref(root);
}

static void test_refuses(void **state)
{
    folder *f = *state;
    static const struct {
        const char *json, *part;
    } cases[] = {
        {"", "in.json:1:1: error: "},
        {"{\"stages\": [}", "in.json:1:13: error: "},
        {"{\"stages\": [], \"stages\": []}", "duplicate"},
        {"[]", "must hold an object"},
        {"{\"output_bytes\": 1}", "stages: is missing, and so is nodes"},
        {"{\"stages\": [" STAGE("a") "], \"output_bytes\": 1, \"memory\": 0}", "memory: must not be 0"},
        {"{\"stages\": [" STAGE("a") "], \"output_bytes\": 1, \"memory\": -1}",
         "memory: must not be negative"},
        {"{\"stages\": 3, \"output_bytes\": 1}", "stages: must be a list"},
        {"{\"stages\": [], \"output_bytes\": 1}", "the chain has no stage"},
        {"{\"stages\": [7], \"output_bytes\": 1}", "stages[0]: must be an object"},
        {"{\"stages\": [" STAGE("a") "]}", "output_bytes: is missing"},
        {"{\"stages\": [" STAGE("a") "], \"output_bytes\": 31}",
         "saves 30 bytes, less than its output of 31"},
        {"{\"stages\": [" STAGE("a") "], \"output_bytes\": -1}", "output_bytes: must not be negative"},
        {"{\"stages\": [" STAGE("a") "], \"output_bytes\": 1.5}", "output_bytes: must be a whole number"},
        {"{\"stages\": [" STAGE("a") "], \"output_byte\": 1}", "did you mean 'output_bytes'?"},
        {"{\"stages\": [" STAGE("a") "], \"output_bytes\": 99999999999999999999}", "in.json:1:"},
        {"{\"stages\": [" STAGE("a") "], \"output_bytes\": 9223372036854775807}", "2^60"},
        {"{\"stages\": [{\"forward_seconds\": \"1\"}], \"output_bytes\": 1}",
         "stages[0].forward_seconds: must be a number"},
        {"{\"stages\": [{\"forward_seconds\": -1}], \"output_bytes\": 1}",
         "stages[0].forward_seconds: must not be negative"},
        {"{\"stages\": [{\"forward_seconds\": 1}], \"output_bytes\": 1}",
         "stages[0].backward_seconds: is missing"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        assert_fails(command(f, cases[i].json, NULL, "optimal"), COL_BAD_INPUT, cases[i].part);
        assert_false(col_file_exists(folder_file(f, "out.json")));
    }
    assert_fails(command(f, chain, "0", "optimal"), COL_BAD_INPUT, "--memory");
    assert_fails(command(f, chain, "-1", "optimal"), COL_BAD_INPUT, "--memory");
    assert_fails(command(f, chain, "70", "best"), COL_BAD_INPUT, "method");
}

/* The file has the nodes in another order than they run in. */
#define NODE(name, kind, seconds, bytes, operands)                                                           \
    "{\"name\": \"" name "\", \"kind\": \"" kind "\", \"seconds\": " #seconds ", \"bytes\": " #bytes         \
    ", \"operands\": [" operands "]"
static const char graph[] = "{\"nodes\": [" NODE(
    "db", "backward", 4, 8,
    "\"a\", \"c\"") "}, {\"name\": \"w\", \"kind\": \"state\", "
                    "\"bytes\": 5}," NODE("x", "backward", 0, 10, "") "}, " NODE(
                        "a", "forward", 2, 30,
                        "\"x\", \"w\"") "}, " NODE("b", "forward", 3, 20,
                                                   "\"a\"") "}, " NODE("c", "backward", 1, 2,
                                                                       "\"b\"") ", "
                                                                                "\"temp_"
                                                                                "bytes\": "
                                                                                "40},"
                                                                                " " NODE(
                                                                                    "d"
                                                                                    "a",
                                                                                    "b"
                                                                                    "a"
                                                                                    "c"
                                                                                    "k"
                                                                                    "w"
                                                                                    "a"
                                                                                    "r"
                                                                                    "d",
                                                                                    5, 1,
                                                                                    "\"x\", \"db\"") ", "
                                                                                                     "\"outpu"
                                                                                                     "t\": "
                                                                                                     "true}]"
                                                                                                     "}";

/* Base order: w x a b c db da. c keeps w 5, x 10, a 30, b 20, c 2 and 40: 107. Without a 77; then a comes
 * back at 5 + 10 + 2 + 30 and db takes 55. */
static void test_known_graph(void **state)
{
    folder *f = *state;
    assert_ok(command(f, graph, NULL, "optimal"));
    json_t *root = answer(f);
    assert_int_equal(json_integer_value(json_object_get(root, "peak")), 107);
    assert_int_equal(json_array_size(json_object_get(root, "schedule")), 6);
    json_decref(root);
    assert_ok(command(f, graph, "106", "optimal"));
    root = answer(f);
    assert_string_equal(json_string_value(json_object_get(root, "status")), "optimal");
    assert_float_equal(json_number_value(json_object_get(root, "objective")), 17, 1e-6);
    assert_float_equal(json_number_value(json_object_get(root, "bound")), 17, 1e-6);
    assert_int_equal(json_integer_value(json_object_get(root, "peak")), 77);
    const json_t *again = json_array_get(json_object_get(root, "schedule"), 4);
    assert_string_equal(json_string_value(json_object_get(again, "node")), "a");
    assert_true(json_is_true(json_object_get(again, "again")));
    json_decref(root);
    assert_ok(command(f, graph, "106", "greedy"));
    assert_fails(command(f, graph, "106", "keep"), COL_INFEASIBLE, "keep schedule takes 107 bytes");
    assert_fails(command(f, graph, "76", "optimal"), COL_INFEASIBLE,
                 "the smallest memory known to do is 77 bytes (proved: no less than 77)");
    root = answer(f);
    assert_string_equal(json_string_value(json_object_get(root, "status")), "infeasible");
    assert_int_equal(json_integer_value(json_object_get(root, "least_memory")), 77);
    json_decref(root);
}

static void test_refuses_graphs(void **state)
{
    folder *f = *state;
#define A NODE("a", "forward", 1, 1, "")
    static const struct {
        const char *json, *part;
    } cases[] = {
        {"{\"nodes\": 3}", "nodes: must be a list"},
        {"{\"nodes\": []}", "no node that runs"},
        {"{\"nodes\": [3]}", "nodes[0]: must be an object"},
        {"{\"nodes\": [{\"seconds\": 1, \"bytes\": 1}]}", "nodes[0].name: is missing"},
        {"{\"nodes\": [{\"name\": 1}]}", "nodes[0].name: must be a string"},
        {"{\"nodes\": [" A "}, " A "}]}", "nodes[1].name: 'a' is another node's, too"},
        {"{\"nodes\": [" A ", \"colour\": 1}]}", "nodes[0].colour: is no known key"},
        {"{\"nodes\": [" A "}], \"memry\": 1}", "did you mean 'memory'?"},
        {"{\"nodes\": [" NODE("a", "sideways", 1, 1, "") "}]}", "kind: must be forward, backward or state"},
        {"{\"nodes\": [" NODE("a", "forward", -1, 1, "") "}]}", "seconds: must not be negative"},
        {"{\"nodes\": [" NODE("a", "forward", 1e300, 1, "") "}]}", "give one from 0 to 1e12"},
        {"{\"nodes\": [" NODE("a", "forward", 1, -1, "") "}]}", "bytes: must not be negative"},
        {"{\"nodes\": [" NODE("a", "forward", 1, 9223372036854775807, "") "}]}", "2^60"},
        {"{\"nodes\": [{\"name\": \"a\", \"bytes\": 1}]}", "seconds: is missing"},
        {"{\"nodes\": [{\"name\": \"a\", \"seconds\": 1}]}", "bytes: is missing"},
        {"{\"nodes\": [" A ", \"output\": 1}]}", "output: must be true or false"},
        {"{\"nodes\": [" NODE("a", "forward", 1, 1, "\"b\"") "}]}", "there is no node 'b'"},
        {"{\"nodes\": [" NODE("a", "forward", 1, 1, "7") "}]}", "must be a list of names"},
        {"{\"nodes\": [{\"name\": \"a\", \"seconds\": 1, \"bytes\": 1, \"operands\": \"a\"}]}",
         "must be a list"},
        {"{\"nodes\": [" NODE("a", "forward", 1, 1, "\"a\"") "}]}", "circle: 'a' needs 'a'"},
        {"{\"nodes\": [" NODE("c", "forward", 1, 1, "\"b\"") "}, " NODE(
             "a", "forward", 1, 1, "\"b\"") "}, " NODE("b", "forward", 1, 1, "\"a\"") "}]}",
         "circle: 'b' needs 'a' needs 'b'"},
        {"{\"nodes\": [{\"name\": \"s\", \"kind\": \"state\", \"bytes\": 1, \"temp_bytes\": 1}]}",
         "a state has bytes only"},
        {"{\"nodes\": [" A "}], \"memory\": 0}", "memory: must not be 0"},
        {"{\"nodes\": [" A "}], \"memory\": 1.5}", "memory: must be a whole number"},
        {"{\"nodes\": [" A "}], \"stages\": []}", "stages: is no known key"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        assert_fails(command(f, cases[i].json, NULL, "optimal"), COL_BAD_INPUT, cases[i].part);
        assert_false(col_file_exists(folder_file(f, "out.json")));
    }
    assert_fails(command(f, graph, "0", "optimal"), COL_BAD_INPUT, "--memory");
    assert_fails(command(f, graph, "-7", "optimal"), COL_BAD_INPUT, "--memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_known_chain, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_refuses, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_known_graph, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_refuses_graphs, folder_set_up, folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
