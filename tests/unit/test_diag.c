/* Diagnostics: the text as a user sees it, with the caret, and what odd sources do to it. */
#include "tests/unit/unit.h"
#include "ir/base/diag.h"

static char *report(col_arena *arena, const col_source *source, uint32_t line, uint32_t column)
{
    col_diags diags = {.arena = arena};
    col_diag_add(&diags, (col_loc){source, line, column}, "bad %s", "thing");
    col_status status = col_diags_status(&diags);
    assert_int_equal(col_error_code(status), COL_BAD_INPUT);
    char *text = col_arena_strdup(arena, col_error_message(status));
    col_error_free(status);
    return text;
}

static col_source source_of(const char *text)
{
    return (col_source){"m.ir", text, strlen(text)};
}

static void test_line_and_caret(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_source s = source_of("model m\n  y = matmull(x, w)\r\nlast\tline");
    assert_string_equal(report(arena, &s, 2, 7), "m.ir:2:7: error: bad thing\n"
                                                 "      y = matmull(x, w) \n"
                                                 "          ^");
    assert_string_equal(report(arena, &s, 1, 1), "m.ir:1:1: error: bad thing\n"
                                                 "    model m\n"
                                                 "    ^");
    assert_string_equal(report(arena, &s, 3, 6), "m.ir:3:6: error: bad thing\n"
                                                 "    last line\n"
                                                 "         ^");
    /* Past the end of the line, as for a missing token: the caret stands just behind. */
    assert_string_equal(report(arena, &s, 1, 8), "m.ir:1:8: error: bad thing\n"
                                                 "    model m\n"
                                                 "           ^");
    col_arena_destroy(arena);
}

static void test_caret_counts_characters(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_source s = source_of("\xc3\xa4\xe2\x82\xac x");
    assert_string_equal(report(arena, &s, 1, 7), "m.ir:1:7: error: bad thing\n"
                                                 "    \xc3\xa4\xe2\x82\xac x\n"
                                                 "       ^");
    col_arena_destroy(arena);
}

static void test_odd_bytes_are_shown_harmlessly(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    /* escape, C1 control in two bytes, stray continuation, cut sequence, surrogate, beyond U+10FFFF */
    col_source s = source_of("a\x1b[2J\xc2\x9b\x80\xff\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82");
    const char *text = report(arena, &s, 1, 3);
    assert_string_equal(text, "m.ir:1:3: error: bad thing\n"
                              "    a [2J?????????????\n"
                              "      ^");
    col_arena_destroy(arena);
}

static void test_messages_quote_harmlessly(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_source s = source_of("");
    col_diags diags = {.arena = arena};
    col_diag_add(&diags, (col_loc){&s, 1, 1}, "unknown '%s'", "\x1b[2J\xc3\xa4\x80");
    col_status status = col_diags_status(&diags);
    assert_string_equal(col_error_message(status), "m.ir:1:1: error: unknown ' [2J\xc3\xa4?'");
    col_error_free(status);
    col_arena_destroy(arena);
}

static void test_long_line_is_cut_around_the_place(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    enum { SIZE = 3000 };
    static char text[SIZE + 1];
    for (size_t i = 0; i + 1 < SIZE; i += 2) memcpy(text + i, "\xc3\xa4", 2);
    memcpy(text + 2000, "!!", 2);
    col_source s = source_of(text);
    for (uint32_t column = 1; column <= SIZE + 1; column += 77) {
        const char *message = report(arena, &s, 1, column);
        assert_null(strchr(message, '?')); /* never cut within a character */
        assert_true(strlen(message) < 600);
    }
    const char *message = report(arena, &s, 1, 2001);
    const char *line = strchr(message, '\n') + 1, *caret = strrchr(message, '\n') + 1;
    size_t characters = 0;
    for (const char *at = line; at < strchr(line, '!'); at++)
        characters += ((unsigned char)*at & 0xc0) != 0x80;
    assert_int_equal(strlen(caret) - 1, characters);
    col_arena_destroy(arena);
}

static void test_places_outside_the_source(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_source empty = {"empty.ir", NULL, 0}, s = source_of("one\n");
    assert_string_equal(report(arena, &empty, 1, 1), "empty.ir:1:1: error: bad thing");
    assert_string_equal(report(arena, &s, 9, 1), "m.ir:9:1: error: bad thing");
    assert_string_equal(report(arena, &s, 2, 1), "m.ir:2:1: error: bad thing\n    \n    ^");
    assert_string_equal(report(arena, &s, 1, 4000000000u),
                        "m.ir:1:4000000000: error: bad thing\n    one\n       ^");
    assert_string_equal(report(arena, NULL, 0, 0), "error: bad thing");
    col_arena_destroy(arena);
}

static void test_many_are_counted(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_diags diags = {.arena = arena};
    assert_ok(col_diags_status(&diags));
    for (int i = 0; i < COL_DIAG_LIMIT + 7; i++) col_diag_add(&diags, (col_loc){0}, "fault %d", i);
    assert_int_equal(diags.total, COL_DIAG_LIMIT + 7);
    assert_int_equal(diags.list.len, COL_DIAG_LIMIT);
    assert_fails(col_diags_status(&diags), COL_BAD_INPUT, "error: fault 19\n... and 7 more");
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_and_caret),
        cmocka_unit_test(test_caret_counts_characters),
        cmocka_unit_test(test_odd_bytes_are_shown_harmlessly),
        cmocka_unit_test(test_messages_quote_harmlessly),
        cmocka_unit_test(test_long_line_is_cut_around_the_place),
        cmocka_unit_test(test_places_outside_the_source),
        cmocka_unit_test(test_many_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
