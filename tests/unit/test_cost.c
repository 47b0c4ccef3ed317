/* The cost model: roofline of a machine found by name. */
#include "tests/unit/unit.h"

#include "passes/cost.h"

static void names_are_checked(void **state)
{
    (void)state;
    col_machine m;
    assert_ok(col_machine_find("cpu:3", &m));
    assert_string_equal(m.name, "cpu:3");
    assert_ok(col_machine_find("cpu", &m));
    assert_true(!strncmp(m.name, "cpu:", 4) && atoi(m.name + 4) >= 1);
    assert_fails(col_machine_find("gpu9000", &m), COL_BAD_INPUT, "unknown machine 'gpu9000'");
    assert_fails(col_machine_find("cpu:0", &m), COL_BAD_INPUT, "cpu:N");
    assert_fails(col_machine_find("cpu:two", &m), COL_BAD_INPUT, "cpu:N");
    assert_fails(col_machine_find("cpu:99999999", &m), COL_BAD_INPUT, "cpu:N");
}

static void the_slower_side_counts(void **state)
{
    (void)state;
    col_machine m = {.flops = {100, 50, 20, 10},
                     .memory_bandwidth = 4,
                     .cache_bandwidth = 8,
                     .cache_bytes = 16,
                     .overhead = 0.5};
    /* Bound by arithmetic: 200 / 100; by traffic in the cache: 16 / 8; by memory: 40 / 4. */
    assert_float_equal(col_cost_seconds(&m, COL_COST_PRODUCT, 200, 8), 2.5, 1e-12);
    assert_float_equal(col_cost_seconds(&m, COL_COST_PRODUCT, 10, 16), 2.5, 1e-12);
    assert_float_equal(col_cost_seconds(&m, COL_COST_MOVE, 10, 40), 10.5, 1e-12);
    assert_float_equal(col_cost_seconds(&m, COL_COST_MOVE, 0, 0), 0.5, 1e-12);
    assert_float_equal(col_cost_arithmetic(&m, COL_COST_ATTENTION, 100), 2, 1e-12);
}

static void more_cores_are_faster(void **state)
{
    (void)state;
    col_machine one, four;
    assert_ok(col_machine_find("cpu:1", &one));
    assert_ok(col_machine_find("cpu:4", &four));
    for (int c = 0; c < COL_COST_COUNT; c++) {
        double slow = col_cost_seconds(&one, (col_cost_class)c, 1e9, 1e9),
               fast = col_cost_seconds(&four, (col_cost_class)c, 1e9, 1e9);
        assert_true(fast < slow && fast > slow / 4.5);
        assert_non_null(col_cost_class_name((col_cost_class)c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(the_slower_side_counts),
        cmocka_unit_test(more_cores_are_faster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
