/* The string map against a plain list; order of iteration; keys of arbitrary bytes; the hash is fixed. */
#include "tests/unit/unit.h"
#include "ir/base/map.h"

static void test_agrees_with_a_list(void **state)
{
    (void)state;
    enum { KEYS = 700, STEPS = 20000 };
    static int values[STEPS];
    static int *expected[KEYS];
    memset(expected, 0, sizeof expected);
    col_arena *arena = col_arena_create();
    col_map *map = col_map_create(arena);
    uint32_t random = 7;
    size_t distinct = 0;
    for (int step = 0; step < STEPS; step++) {
        random = random * 1664525u + 1013904223u;
        uint32_t k = (random >> 8) % KEYS;
        char key[32];
        snprintf(key, sizeof key, "h.%u.attn", k);
        assert_ptr_equal(col_map_get(map, key), expected[k]);
        assert_ptr_equal(col_map_set(map, key, &values[step]), expected[k]);
        memset(key, 'x', 1); /* the map keeps its own copy */
        distinct += !expected[k];
        expected[k] = &values[step];
        assert_int_equal(map->len, distinct);
    }
    for (uint32_t k = 0; k < KEYS; k++) {
        char key[32];
        snprintf(key, sizeof key, "h.%u.attn", k);
        assert_ptr_equal(col_map_get(map, key), expected[k]);
    }
    assert_null(col_map_get(map, "absent"));
    col_arena_destroy(arena);
}

static void test_iterates_in_order_of_insertion(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_map *map = col_map_create(arena);
    assert_null(col_map_get(map, "anything")); /* also in an empty map */
    for (int i = 99; i >= 0; i--) col_map_set(map, col_arena_printf(arena, "k%d", i), map);
    col_map_set(map, "k50", arena); /* setting again keeps the place */
    assert_int_equal(map->len, 100);
    for (int i = 0; i < 100; i++) {
        assert_string_equal(map->entries[i].key, col_arena_printf(arena, "k%d", 99 - i));
    }
    col_arena_destroy(arena);
}

static void test_keys_are_bytes(void **state)
{
    (void)state;
    int a, b, c, d;
    col_arena *arena = col_arena_create();
    col_map *map = col_map_create(arena);
    assert_null(col_map_set_bytes(map, "x\0y", 3, &a));
    assert_null(col_map_set_bytes(map, "x\0z", 3, &b));
    assert_null(col_map_set_bytes(map, "x", 1, &c));
    assert_null(col_map_set_bytes(map, NULL, 0, &d));
    assert_ptr_equal(col_map_get_bytes(map, "x\0y", 3), &a);
    assert_ptr_equal(col_map_get_bytes(map, "x\0z", 3), &b);
    assert_ptr_equal(col_map_get(map, "x"), &c);
    assert_ptr_equal(col_map_get(map, ""), &d);
    assert_int_equal(map->entries[0].key_size, 3);
    assert_int_equal(map->entries[0].key[3], '\0');
    col_arena_destroy(arena);
}

/* Plans and caches are compared by hash, so it must not change. The value follows from the definition:
 * FNV-1a of "a" is 0xaf63dc4c8601ec8c (published vector), then the finaliser. */
static void test_hash_is_fixed(void **state)
{
    (void)state;
    uint64_t h = 0xaf63dc4c8601ec8cu;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    h ^= h >> 33;
    assert_true(col_hash_bytes("a", 1, 0) == h);
    assert_true(col_hash_bytes("ab", 2, 0) != col_hash_bytes("ba", 2, 0));
    assert_true(col_hash_bytes("a", 1, 1) != h);
    assert_true(col_hash_bytes(NULL, 0, 0) == col_hash_bytes("", 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_a_list),
        cmocka_unit_test(test_iterates_in_order_of_insertion),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_hash_is_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
