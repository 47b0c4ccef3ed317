/* colc sweep: the lists of its command line, and rows made by hand as table, CSV and picture. */
#include "tests/unit/unit.h"
#include "frontend/sweep.h"

#include <math.h>
#include <stdio.h>

#define MIB ((uint64_t)1 << 20)

static void test_limits(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_sweep_limit *limits;
    size_t count;
    assert_ok(col_sweep_limits("60%, 2GiB,12.5%", arena, &limits, &count));
    assert_int_equal(count, 3);
    assert_true(limits[0].percent == 60 && limits[2].percent == 12.5 && limits[1].percent == 0);
    assert_true(limits[1].bytes == 2048 * MIB);
    assert_string_equal(limits[0].label, "60%");
    assert_string_equal(limits[1].label, "2GiB");
    static const char *const bad[][2] = {
        {"", "entry 1"},
        {"60%,", "entry 2"},
        {",60%", "entry 1"},
        {"0%", "leaves no memory"},
        {"-5%", "outside 0..1000"},
        {"1001%", "outside"},
        {"%", "not a number"},
        {"x%", "not a number"},
        {"0", "--memory"},
        {"-1", "not a size"},
        {"99999999EiB", "--memory"},
        {"inf%", "not a number"},
        {"50%,50%", "given twice"},
        {"1GiB,1024MiB", "given twice"},
    };
    for (size_t i = 0; i < COL_COUNT(bad); i++)
        assert_fails(col_sweep_limits(bad[i][0], arena, &limits, &count), COL_BAD_INPUT, bad[i][1]);
    col_arena_destroy(arena);
}

static void test_batches(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    int64_t *batches;
    size_t count;
    assert_ok(col_sweep_batches("16,8", arena, &batches, &count));
    assert_int_equal(count, 2);
    assert_true(batches[0] == 16 && batches[1] == 8);
    static const char *const bad[][2] = {{"8,", "entry 2"},      {"0", "outside"},   {"-1", "outside"},
                                         {"8,8", "given twice"}, {"1.5", "--batch"}, {"8,x", "--batch"}};
    for (size_t i = 0; i < COL_COUNT(bad); i++)
        assert_fails(col_sweep_batches(bad[i][0], arena, &batches, &count), COL_BAD_INPUT, bad[i][1]);
    col_arena_destroy(arena);
}

static col_sweep limits_sweep(col_sweep_row *rows, size_t count)
{
    return (col_sweep){.model = "models/<a>&b.ir",
                       .machine = "cpu:2",
                       .measured = true,
                       .rows = {.data = rows, .len = count, .cap = count}};
}

static col_sweep_row rows[] = {
    {"none", "", 0, 8, COL_SWEEP_OK, NULL, 0, 1000 * MIB, 200 * MIB, 1.0, 8, 0.5, 1.1, 1000 * MIB, -1},
    {"all", "", 0, 8, COL_SWEEP_OK, NULL, 0, 300 * MIB, 200 * MIB, 1.33, 8 / 1.33, 0.5, 1.4, 300 * MIB, -1},
    {"sqrt", "", 0, 8, COL_SWEEP_UNSUPPORTED, "a \"chain\", not a graph", 0, 0, 0, 0, 0, 0, 0, 0, -1},
    {"auto", "80%", 800 * MIB, 8, COL_SWEEP_OK, NULL, 0, 790 * MIB, 200 * MIB, 1.02, 8 / 1.02, 0.5, 1.13,
     790 * MIB, -1},
    {"auto", "50%", 500 * MIB, 8, COL_SWEEP_OK, NULL, 0, 499 * MIB, 200 * MIB, 1.1, 8 / 1.1, 0.5, 1.2,
     499 * MIB, -1},
    {"auto", "20%", 200 * MIB, 8, COL_SWEEP_INFEASIBLE, "needs more", 290 * MIB, 0, 0, 0, 0, 0, 0, 0, -1},
};

static void test_over_limits(void **state)
{
    (void)state;
    col_sweep sweep = limits_sweep(rows, COL_COUNT(rows));
    assert_float_equal(col_sweep_overhead(&sweep, &rows[4]), 0.1, 1e-6);
    assert_float_equal(col_sweep_measured_overhead(&sweep, &rows[4]), 1.2 / 1.1 - 1, 1e-6);
    assert_true(isnan(col_sweep_overhead(&sweep, &rows[5])));
    assert_true(col_sweep_best(&sweep) == &rows[3]);
    col_str table = {0}, csv = {0}, svg = {0};
    col_sweep_print_table(&sweep, &table);
    assert_non_null(strstr(table.data, "50%  500.0 MiB  auto        499.0 MiB   49.9 %"));
    assert_non_null(strstr(table.data, "infeasible; 290.0 MiB (304087040) would do\n"));
    col_sweep_print_csv(&sweep, &csv);
    assert_non_null(
        strstr(csv.data, "\nauto,50%,524288000,8,ok,,523239424,209715200,1.1,0.1,7.27272727,0.5,1.2,"));
    assert_non_null(strstr(csv.data, ",unsupported,,,,,,,,,,,\"a \"\"chain\"\", not a graph\"\n"));
    assert_non_null(strstr(csv.data, "\nauto,20%,209715200,8,infeasible,304087040,,,,,,,,,,needs more\n"));
    col_sweep_print_svg(&sweep, &svg);
    assert_non_null(strstr(svg.data, "models/&lt;a&gt;&amp;b.ir"));
    assert_null(strstr(svg.data, "nan"));
    assert_null(strstr(svg.data, "inf,"));
    col_str_fini(&table);
    col_str_fini(&csv);
    col_str_fini(&svg);
}

/* One row, nothing that fits, all equal: every axis still has a length. */
static void test_degenerate(void **state)
{
    (void)state;
    for (size_t count = 0; count <= 2; count++) {
        for (int batches = 0; batches < 2; batches++) {
            col_sweep_row same[] = {rows[5], rows[0]};
            col_sweep sweep = limits_sweep(same + (count == 1), count);
            sweep.over_batches = batches;
            sweep.limit = "<1>";
            sweep.limit_bytes = batches ? MIB : 0;
            col_str out = {0};
            col_sweep_print_svg(&sweep, &out);
            col_sweep_print_table(&sweep, &out);
            assert_null(strstr(out.data, "nan"));
            assert_null(strstr(out.data, "\"inf"));
            assert_null(strstr(out.data, "\"-inf"));
            col_str_fini(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_over_limits),
        cmocka_unit_test(test_degenerate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
