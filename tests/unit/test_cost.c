/* The cost model: rooflines by size, what a rank of a mesh has of a machine, and collectives against times
 * worked out by hand. */
#include "tests/unit/unit.h"

#include <math.h>

#include "passes/cost.h"

#define CONSTANT(value)                                                                                      \
    {                                                                                                        \
        1, {1},                                                                                              \
        {                                                                                                    \
            value                                                                                            \
        }                                                                                                    \
    }

static void the_slower_side_counts(void **state)
{
    (void)state;
    col_machine m = {.rates = {{CONSTANT(100)}, {CONSTANT(50)}, {CONSTANT(20)}, {CONSTANT(10)}},
                     .traffic = {2, {16, 32}, {8, 4}},
                     .cores = 1,
                     .overhead = 0.5};
    /* Bound by arithmetic: 200 / 100; by traffic in the cache: 16 / 8; by memory: 40 / 4. */
    assert_float_equal(col_cost_seconds(&m, COL_COST_PRODUCT, 200, 8), 2.5, 1e-12);
    assert_float_equal(col_cost_seconds(&m, COL_COST_PRODUCT, 10, 16), 2.5, 1e-12);
    assert_float_equal(col_cost_seconds(&m, COL_COST_MOVE, 10, 40), 10.5, 1e-12);
    assert_float_equal(col_cost_seconds(&m, COL_COST_MOVE, 0, 0), 0.5, 1e-12);
    assert_float_equal(col_cost_arithmetic(&m, COL_COST_ATTENTION, 100), 2, 1e-12);
    /* Half way from 2 s at 16 bytes to 8 s at 32. */
    assert_float_equal(col_cost_traffic(&m, 24), 5, 1e-12);
    /* Two cores halve the work of each. */
    m.cores = 2;
    assert_float_equal(col_cost_traffic(&m, 48), 5, 1e-12);
    assert_float_equal(col_cost_arithmetic(&m, COL_COST_ATTENTION, 100), 1, 1e-12);
}

static void precisions_have_their_rates(void **state)
{
    (void)state;
    col_machine m = {.cores = 1};
    for (int p = 0; p < COL_PRECISION_COUNT; p++) {
        m.rates[COL_COST_PRODUCT][p] = (col_rate)CONSTANT(p + 1.0);
        m.precision = (col_precision)p;
        assert_float_equal(col_cost_arithmetic(&m, COL_COST_PRODUCT, 12), 12 / (p + 1.0), 1e-12);
        assert_non_null(col_precision_name(m.precision));
    }
}

static void more_work_takes_longer(void **state)
{
    (void)state;
    col_rate rate = {4, {10, 100, 1000, 1e5}, {1, 8, 50, 40}};
    assert_true(col_rate_valid(&rate));
    double before = 0;
    for (double size = 0.01; size < 1e7; size *= 1.03) {
        double now = col_rate_seconds(&rate, size);
        assert_true(now > before);
        before = now;
    }
    for (int i = 0; i < rate.count; i++)
        assert_float_equal(col_rate_seconds(&rate, rate.size[i]), rate.size[i] / rate.rate[i], 1e-9);
    assert_float_equal(col_rate_seconds(&rate, 0), 0, 0);
    assert_false(col_rate_valid(&(col_rate){0}));
    assert_false(col_rate_valid(&(col_rate){2, {10, 10}, {1, 1}}));
    assert_false(col_rate_valid(&(col_rate){2, {10, 20}, {1, 3}})); /* 20 would take less time than 10 */
    assert_false(col_rate_valid(&(col_rate){1, {10}, {-1}}));
    assert_false(col_rate_valid(&(col_rate){1, {10}, {NAN}}));
}

/* Hosts of four devices: 8 bytes a second and kind inside, 2 across. */
static col_machine hosts(int64_t count)
{
    col_machine m = {.unit = COL_MACHINE_HOSTS, .count = count, .devices = 4, .memory = 100};
    m.inside = (col_link){1, 0.25, {8, 8, 8, 8, INFINITY}, {0}};
    m.across = (col_link){3, 0.5, {2, 2, 2, 2, INFINITY}, {0}};
    m.overhead_alone = m.overhead_team = 1;
    return m;
}

static double seconds(const col_machine *m, const char *mesh_text, col_collective kind, uint32_t axes,
                      double bytes)
{
    col_mesh mesh;
    col_axes list = {0};
    assert_true(col_mesh_parse(mesh_text, &mesh));
    for (int i = 0; i < mesh.rank; i++) {
        if (axes >> i & 1) list.axis[list.count++] = (uint8_t)i;
    }
    col_machine placed = *m;
    col_machine_links(&placed, &mesh);
    return col_cost_collective(&placed, &mesh, kind, &list, bytes);
}

static void collectives_cost_what_they_send(void **state)
{
    (void)state;
    col_machine m = hosts(2);
    /* Inside, 4 ranks: 1 + rounds / 4 + bytes / 8. */
    assert_float_equal(seconds(&m, "4", COL_ALL_REDUCE, 1, 64), 1 + 6 * 0.25 + 96 / 8.0, 1e-9);
    assert_float_equal(seconds(&m, "4", COL_ALL_GATHER, 1, 64), 1 + 3 * 0.25 + 192 / 8.0, 1e-9);
    assert_float_equal(seconds(&m, "4", COL_REDUCE_SCATTER, 1, 64), 1 + 3 * 0.25 + 48 / 8.0, 1e-9);
    assert_float_equal(seconds(&m, "4", COL_ALL_TO_ALL, 1, 64), 1 + 3 * 0.25 + 48 / 8.0, 1e-9);
    assert_float_equal(seconds(&m, "4", COL_SHARD, 1, 64), 0, 0);
    assert_float_equal(seconds(&m, "1x4", COL_ALL_REDUCE, 1, 64), 0, 0);
    assert_float_equal(seconds(&m, "2x4", COL_ALL_REDUCE, 0, 64), 0, 0);
    /* Axis 0 of 2x4 goes across: 3 + 1 + 64 / 2. */
    assert_float_equal(seconds(&m, "2x4", COL_ALL_REDUCE, 1, 64), 3 + 2 * 0.5 + 64 / 2.0, 1e-9);
    assert_float_equal(seconds(&m, "2x4", COL_ALL_REDUCE, 2, 64), 1 + 6 * 0.25 + 96 / 8.0, 1e-9);
    /* Both: 96 bytes inside, then a sum of a quarter, 16 bytes, across. */
    double both = 3 + 6 * 0.25 + 96 / 8.0 + 2 * 0.5 + 16 / 2.0;
    assert_float_equal(seconds(&m, "2x4", COL_ALL_REDUCE, 3, 64), both, 1e-9);
    /* A gather starts across with 64 bytes, then has 128 to send to three others inside. */
    assert_float_equal(seconds(&m, "2x4", COL_ALL_GATHER, 3, 64), 3 + 0.5 + 64 / 2.0 + 0.75 + 384 / 8.0,
                       1e-9);
    assert_float_equal(seconds(&m, "2x4", COL_ALL_TO_ALL, 3, 64), 3 + 0.5 + 32 / 2.0 + 0.75 + 24 / 8.0, 1e-9);
    /* One axis over both hosts costs what the two together do. */
    static const col_collective kinds[] = {COL_ALL_REDUCE, COL_ALL_GATHER, COL_REDUCE_SCATTER,
                                           COL_ALL_TO_ALL};
    for (size_t i = 0; i < COL_COUNT(kinds); i++)
        assert_float_equal(seconds(&m, "8", kinds[i], 1, 64), seconds(&m, "2x4", kinds[i], 3, 64), 1e-9);
    assert_float_equal(seconds(&m, "4x2", COL_ALL_REDUCE, 1, 64), seconds(&m, "2x2x2", COL_ALL_REDUCE, 3, 64),
                       1e-9);
}

static void axes_map_to_links(void **state)
{
    (void)state;
    static const struct {
        const char *mesh;
        double latency[3]; /* by axis: 0.25 inside, 0.5 across */
    } cases[] = {
        {"2x2", {0.25, 0.25}},        {"3", {0.25}},        {"4x4", {0.5, 0.25}},
        {"4x2x2", {0.5, 0.25, 0.25}}, {"2x3", {0.5, 0.5}},  {"16x1", {0.15, 0.25}},
        {"4x4x1", {0.5, 0.25, 0.25}}, {"3x4", {0.5, 0.25}},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_machine m = hosts(4);
        col_mesh mesh;
        assert_true(col_mesh_parse(cases[i].mesh, &mesh));
        col_machine_links(&m, &mesh);
        for (int a = 0; a < mesh.rank; a++) {
            if (mesh.dims[a] > 1) assert_float_equal(m.links[a].latency, cases[i].latency[a], 1e-9);
        }
        assert_float_equal(m.cores, 1, 0);
        assert_float_equal(m.memory_bytes, 100, 0);
    }
    col_machine m = hosts(4);
    assert_int_equal(col_machine_devices(&m), 16);
    m.unit = COL_MACHINE_DEVICES;
    assert_int_equal(col_machine_devices(&m), 4);
}

/* What each rank sends over several axes is what one ring over all of them would send; and more bytes, or
 * slower links, never take less time. */
static void collectives_are_consistent(void **state)
{
    (void)state;
    static const char *const meshes[] = {"2x4", "4x2", "2x2x2", "2x2x2x2", "4x4", "16", "3x5"};
    for (size_t i = 0; i < COL_COUNT(meshes); i++) {
        col_mesh mesh;
        assert_true(col_mesh_parse(meshes[i], &mesh));
        uint32_t all = (1u << mesh.rank) - 1;
        for (int k = 0; k < COL_SHARD; k++) {
            col_machine m = hosts(4);
            m.across = m.inside = (col_link){0, 0, {1, 1, 1, 1, INFINITY}, {0}};
            double bytes = col_cost_collective_bytes((col_collective)k, col_mesh_size(&mesh), 720);
            assert_float_equal(seconds(&m, meshes[i], (col_collective)k, all, 720), bytes, 1e-6);
            m = hosts(4);
            double before = 0;
            for (double size = 1; size < 1e6; size *= 2) {
                double now = seconds(&m, meshes[i], (col_collective)k, all, size);
                assert_true(now > before);
                before = now;
            }
            double fast = seconds(&m, meshes[i], (col_collective)k, all, 720);
            for (int c = 0; c < COL_SHARD; c++) m.across.bandwidth[c] /= 2;
            assert_true(seconds(&m, meshes[i], (col_collective)k, all, 720) >= fast);
        }
    }
}

static void ranks_share_cores(void **state)
{
    (void)state;
    col_machine m = {.unit = COL_MACHINE_CORES, .count = 4, .devices = 1, .memory = 80};
    m.inside = (col_link){1, 2, {8, 8, 8, 8, INFINITY}, {0}};
    m.overhead_alone = 1;
    m.overhead_team = 3;
    static const struct {
        const char *mesh;
        double cores, overhead, latency, bandwidth, memory;
    } cases[] = {
        {"1", 4, 3, 2, 8, 80}, {"2", 2, 3, 2, 8, 40},   {"3", 1, 1, 2, 8, 80 / 3.0},
        {"4", 1, 1, 2, 8, 20}, {"8", 0.5, 2, 4, 4, 10}, {"16", 0.25, 4, 8, 2, 5},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_mesh mesh;
        assert_true(col_mesh_parse(cases[i].mesh, &mesh));
        col_machine_links(&m, &mesh); /* again and again: the file's figures stay */
        assert_float_equal(m.cores, cases[i].cores, 1e-12);
        assert_float_equal(m.overhead, cases[i].overhead, 1e-12);
        assert_float_equal(m.memory_bytes, cases[i].memory, 1e-9);
        assert_float_equal(m.links[0].latency, cases[i].latency, 1e-12);
        assert_float_equal(m.links[0].bandwidth[COL_ALL_GATHER], cases[i].bandwidth, 1e-12);
    }
    assert_true(col_machine_devices(&m) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slower_side_counts), cmocka_unit_test(precisions_have_their_rates),
        cmocka_unit_test(more_work_takes_longer), cmocka_unit_test(collectives_cost_what_they_send),
        cmocka_unit_test(axes_map_to_links),      cmocka_unit_test(collectives_are_consistent),
        cmocka_unit_test(ranks_share_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
