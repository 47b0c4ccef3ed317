/* colc solve checkpoint: a chain whose answer is known by hand, and every way in which a file can be bad. */
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
        {"{\"output_bytes\": 1}", "stages: is missing"},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_known_chain, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_refuses, folder_set_up, folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
