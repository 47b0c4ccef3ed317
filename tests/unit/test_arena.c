/* Arenas: zeroed, aligned, disjoint memory; refusal of what cannot be had. */
#include "tests/unit/unit.h"
#include "ir/base/arena.h"

#include <stdalign.h>

static void test_memory_is_zeroed_aligned_and_disjoint(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static unsigned char *parts[COUNT];
    static size_t sizes[COUNT];
    col_arena *arena = col_arena_create();
    uint32_t random = 1;
    for (size_t i = 0; i < COUNT; i++) {
        random = random * 1664525u + 1013904223u;
        sizes[i] = i % 500 == 499 ? 200000 : random >> 23; /* some larger than a block */
        parts[i] = col_arena_alloc(arena, sizes[i]);
        assert_int_equal((uintptr_t)parts[i] % alignof(max_align_t), 0);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(parts[i][k], 0);
        memset(parts[i], (int)(i % 255) + 1, sizes[i]);
    }
    size_t total = 0;
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(parts[i][k], i % 255 + 1);
        total += sizes[i];
    }
    assert_true(col_arena_bytes(arena) >= total);
    col_arena_destroy(arena);
}

static void test_copies(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    assert_string_equal(col_arena_strdup(arena, ""), "");
    assert_string_equal(col_arena_strdup(arena, "abc"), "abc");
    assert_string_equal(col_arena_strndup(arena, "abcdef", 3), "abc");
    assert_string_equal(col_arena_strndup(arena, NULL, 0), "");
    assert_non_null(col_arena_copy(arena, NULL, 0));
    assert_memory_equal(col_arena_copy(arena, "a\0b", 3), "a\0b", 3);
    assert_string_equal(col_arena_printf(arena, "%s-%05d", "x", 42), "x-00042");
    static char text[70001];
    memset(text, 'y', sizeof text - 1);
    assert_string_equal(col_arena_printf(arena, "%s", text), text);
    col_arena_destroy(arena);
    col_arena_destroy(NULL);
}

static void test_absurd_sizes_are_refused(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    assert_null(col_arena_try_alloc(arena, SIZE_MAX));
    assert_null(col_arena_try_alloc(arena, SIZE_MAX / 2 + 1));
    assert_null(col_arena_try_alloc(arena, SIZE_MAX / 2)); /* more than the address space */
    int *numbers = COL_NEW_ARRAY(arena, int, 10);          /* the arena is still good */
    for (int i = 0; i < 10; i++) assert_int_equal(numbers[i], 0);
    assert_non_null(COL_NEW_ARRAY(arena, int, 0));
    col_arena_destroy(arena);
}

static void test_a_child_goes_with_its_owner(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create(), *child = col_arena_create(), *other = col_arena_create();
    char *text = col_arena_strdup(child, "child");
    col_arena_adopt(arena, child);
    col_arena_adopt(arena, other);
    assert_string_equal(text, "child");
    assert_non_null(col_arena_alloc(child, 100000)); /* it can still be allocated from */
    col_arena_destroy(arena);                        /* leaks are told by the sanitizers */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed_aligned_and_disjoint),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_a_child_goes_with_its_owner),
        cmocka_unit_test(test_absurd_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
