/* Growable arrays: order and values survive growth, also when the pushed value is an element. */
#include "tests/unit/unit.h"
#include "ir/base/vec.h"

typedef struct point {
    int64_t x;
    char tag;
} point;

static void test_push_keeps_order_and_values(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    COL_VEC(point) points = {0};
    for (int64_t i = 0; i < 10000; i++) {
        point p = {i * i, (char)('a' + i % 26)};
        col_vec_push(arena, &points, p);
        assert_int_equal(points.len, i + 1);
        assert_true(points.cap >= points.len);
    }
    for (int64_t i = 0; i < 10000; i++) {
        assert_int_equal(points.data[i].x, i * i);
        assert_int_equal(points.data[i].tag, 'a' + i % 26);
    }
    /* Doubling: what growth leaves behind is at most as much again as the final storage. */
    assert_true(col_arena_bytes(arena) < 2 * points.cap * sizeof(point) + 4096);
    col_arena_destroy(arena);
}

static void test_push_of_an_own_element(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    COL_VEC(int) numbers = {0};
    col_vec_push(arena, &numbers, 7);
    for (int i = 0; i < 1000; i++) col_vec_push(arena, &numbers, numbers.data[0]);
    for (size_t i = 0; i < numbers.len; i++) assert_int_equal(numbers.data[i], 7);
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_keeps_order_and_values),
        cmocka_unit_test(test_push_of_an_own_element),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
