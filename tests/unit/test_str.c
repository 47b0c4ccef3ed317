/* String builder, human-readable numbers, strict parsing and suggestions. */
#include "tests/unit/unit.h"
#include "ir/base/str.h"

#include <float.h>
#include <math.h>

static void test_builder(void **state)
{
    (void)state;
    col_str s = {0};
    assert_string_equal(col_str_text(&s), "");
    col_str_clear(&s);
    for (int i = 0; i < 1000; i++) col_str_printf(&s, "%03d", i);
    assert_int_equal(s.len, 3000);
    assert_memory_equal(col_str_text(&s) + 2997, "999", 4);
    col_str_clear(&s);
    assert_string_equal(col_str_text(&s), "");
    col_str_append(&s, "ab");
    col_str_append_bytes(&s, "c\0d", 3);
    col_str_append_bytes(&s, NULL, 0);
    assert_int_equal(s.len, 5);
    assert_memory_equal(col_str_text(&s), "abc\0d", 6);
    col_str_fini(&s);
    assert_null(s.data);
    col_str_fini(&s);
}

/* Every size across the first allocation's edge: one byte too few would be found by the sanitizers. */
static void test_builder_at_the_edge(void **state)
{
    (void)state;
    for (int size = 0; size < 300; size++) {
        col_str s = {0};
        col_str_printf(&s, "%*s", size, "");
        col_str_append(&s, "!");
        assert_int_equal(s.len, size + 1);
        assert_int_equal(strlen(col_str_text(&s)), size + 1);
        col_str_fini(&s);
    }
}

static void test_formats(void **state)
{
    (void)state;
    char out[COL_HUMAN_SIZE];
    static const struct {
        double value;
        const char *text;
    } bytes[] = {{0, "0 B"},
                 {512, "512 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {25.7 * 1048576, "25.7 MiB"},
                 {1048575, "1.0 MiB"}, /* never "1024.0 KiB" */
                 {40 * 0x1p30, "40.0 GiB"},
                 {0x1p70, "1024.0 EiB"},
                 {-2048, "-2.0 KiB"}},
      seconds[] = {{0, "0 ns"},         {41.2e-6, "41.2 us"},  {3.1e-3, "3.10 ms"},  {2.51, "2.51 s"},
                   {0.99996, "1.00 s"}, {9.999e-6, "10.0 us"}, {99.96e-3, "100 ms"}, {3600, "3600.0 s"},
                   {1e-9, "1.00 ns"},   {-0.5, "-500 ms"}},
      counts[] = {{50257, "50257"},  {99999, "99999"},   {100000, "100.0 k"}, {124.44e6, "124.4 M"},
                  {999960, "1.0 M"}, {175e9, "175.0 G"}, {1e15, "1.0 P"},     {0, "0"}};
    for (size_t i = 0; i < COL_COUNT(bytes); i++) {
        assert_string_equal(col_format_bytes(out, bytes[i].value), bytes[i].text);
    }
    for (size_t i = 0; i < COL_COUNT(seconds); i++) {
        assert_string_equal(col_format_seconds(out, seconds[i].value), seconds[i].text);
    }
    for (size_t i = 0; i < COL_COUNT(counts); i++) {
        assert_string_equal(col_format_count(out, counts[i].value), counts[i].text);
    }
    static const double odd[] = {INFINITY, -INFINITY, NAN, DBL_MAX, -DBL_MAX, DBL_MIN, 5e-324};
    for (size_t i = 0; i < COL_COUNT(odd); i++) {
        assert_true(strlen(col_format_bytes(out, odd[i])) < COL_HUMAN_SIZE);
        assert_true(strlen(col_format_seconds(out, odd[i])) < COL_HUMAN_SIZE);
        assert_true(strlen(col_format_count(out, odd[i])) < COL_HUMAN_SIZE);
    }
}

static void test_parse_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"1", 1},
                {"1024", 1024},
                {"512MB", 512000000},
                {"40GiB", 40ull << 30},
                {"40 GiB", 40ull << 30},
                {"1.5kib", 1536},
                {".5k", 500},
                {"2T", 2000000000000},
                {"7b", 7},
                {"1e3", 1000},
                {"8TiB", 8ull << 40},
                {"016", 16}};
    for (size_t i = 0; i < COL_COUNT(good); i++) {
        uint64_t bytes = 0;
        assert_ok(col_parse_bytes(good[i].text, &bytes));
        assert_true(bytes == good[i].bytes);
    }
    static const char *const bad[] = {
        "",    " ",    "0",   "0.4", "-1",      "GiB",    "1XB",
        "1 ",  "0x10", "inf", "nan", "1e400",   "40GiBs", " 1",
        "1\n", "1k k", ".",   "--1", "9e18TiB", "16EiB",  "9223372036854775808"};
    for (size_t i = 0; i < COL_COUNT(bad); i++) {
        uint64_t bytes = 77;
        assert_fails(col_parse_bytes(bad[i], &bytes), COL_BAD_INPUT, "is not a size");
        assert_true(bytes == 77);
    }
}

static void test_parse_int(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_ok(col_parse_int("--n", "-9223372036854775808", INT64_MIN, INT64_MAX, &value));
    assert_true(value == INT64_MIN);
    assert_ok(col_parse_int("--n", "9223372036854775807", INT64_MIN, INT64_MAX, &value));
    assert_true(value == INT64_MAX);
    assert_fails(col_parse_int("--n", "9223372036854775808", INT64_MIN, INT64_MAX, &value), COL_BAD_INPUT,
                 "outside");
    assert_ok(col_parse_int("--n", "8", 1, 8, &value));
    assert_int_equal(value, 8);
    assert_fails(col_parse_int("--n", "9", 1, 8, &value), COL_BAD_INPUT, "--n: 9 is outside 1..8");
    static const char *const bad[] = {"", " 1", "1 ", "1.0", "0x1", "one", "-", "1e3", "1\n"};
    for (size_t i = 0; i < COL_COUNT(bad); i++) {
        assert_fails(col_parse_int("--n", bad[i], 0, 100, &value), COL_BAD_INPUT, "is not a whole number");
    }
    assert_int_equal(value, 8);
}

static void test_parse_double(void **state)
{
    (void)state;
    double value = 0;
    assert_ok(col_parse_double("--lr", "6e-4", 0, 1, &value));
    assert_true(value == 6e-4);
    assert_ok(col_parse_double("--lr", "-.25", -1, 1, &value));
    assert_true(value == -.25);
    assert_ok(col_parse_double("--lr", "+3.", -10, 10, &value));
    assert_true(value == 3);
    assert_fails(col_parse_double("--lr", "2", 0, 1, &value), COL_BAD_INPUT, "--lr: 2 is outside 0..1");
    assert_fails(col_parse_double("--lr", "1e999", 0, INFINITY, &value), COL_BAD_INPUT, "outside");
    assert_fails(col_parse_double("--beta1", "1", 0, 0.999999999, &value), COL_BAD_INPUT,
                 "--beta1: 1 is outside 0..0.999999999");
    static const char *const bad[] = {"",   "nan", "inf", "-inf", "0x1p3", " 1",
                                      "1 ", "1e",  "1,5", ".",    "-",     "e5"};
    for (size_t i = 0; i < COL_COUNT(bad); i++) {
        assert_fails(col_parse_double("--lr", bad[i], -DBL_MAX, DBL_MAX, &value), COL_BAD_INPUT,
                     "is not a number");
    }
    assert_true(value == 3);
}

static void test_suggest(void **state)
{
    (void)state;
    static const char *const ops[] = {"matmul", "add", "mul", "softmax", "layer_norm", "gelu_tanh", "x"};
    size_t count = COL_COUNT(ops);
    assert_string_equal(col_suggest("matmull", ops, count), "matmul");
    assert_string_equal(col_suggest("sofmtax", ops, count), "softmax");
    assert_string_equal(col_suggest("layernorm", ops, count), "layer_norm");
    assert_string_equal(col_suggest("mull", ops, count), "mul");
    assert_null(col_suggest("convolution", ops, count));
    assert_null(col_suggest("y", ops, count)); /* another letter is another name */
    assert_null(col_suggest("", ops, count));
    assert_null(col_suggest("xor", ops, 0));
    char text[400];
    memset(text, 'm', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_null(col_suggest(text, ops, count));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builder),   cmocka_unit_test(test_builder_at_the_edge),
        cmocka_unit_test(test_formats),   cmocka_unit_test(test_parse_bytes),
        cmocka_unit_test(test_parse_int), cmocka_unit_test(test_parse_double),
        cmocka_unit_test(test_suggest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
