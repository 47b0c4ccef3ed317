/* Machine files: the shipped ones hold what their data sheets say, and a file's figures are those that come
 * out. */
#include "tests/unit/unit.h"
#include "tests/unit/temporary_folder.h"
#include "frontend/machine.h"

#include "ir/base/file.h"

static const char good[] = "name: box\nabout: made up\nunit: device\ndefault: 3\nmost: 16\ndevices: 4\n"
                           "memory: {bytes: 2GiB, source: x}\n"
                           "traffic: {bandwidth: [[1MiB, 4e9], [2MiB, 2e9]], source: x}\n"
                           "overhead: {alone: 1e-6, team: 2e-6, source: x}\n"
                           "products: {fp32: 10, bf16: 40, source: x}\n"
                           "attention: {fp32: 20, source: x}\nkernels: {fp32: 30, source: x}\n"
                           "moves: {fp32: [[5, 50]], source: x}\n"
                           "inside: {start: 1, latency: 2, all-reduce: 3, all-gather: 4, reduce-scatter: 5, "
                           "all-to-all: 6, source: x}\n"
                           "across: {start: 0, latency: 0, all-reduce: 7, all-gather: 8, reduce-scatter: 9, "
                           "all-to-all: 10, source: x}\n"
                           "overlap: {share: 0.25, source: x}\n"
                           "host: {bytes: 1kB, bandwidth: 11, source: x}\n";

static const char *write_file(folder *f, const char *text)
{
    const char *path = folder_file(f, "box.yaml");
    assert_ok(col_file_write(path, text, strlen(text)));
    return path;
}

static void figures_are_read(void **state)
{
    folder *f = *state;
    col_machine m;
    const char *path = write_file(f, good);
    assert_ok(col_machine_read(path, &m));
    assert_string_equal(m.name, "box:3");
    assert_int_equal(col_machine_devices(&m), 3);
    assert_int_equal(m.devices, 4);
    assert_float_equal(m.memory_bytes, 0x1p31, 0);
    assert_int_equal(m.traffic.count, 2);
    assert_float_equal(m.traffic.size[1], 0x1p21, 0);
    assert_float_equal(m.traffic.rate[1], 2e9, 0);
    assert_float_equal(m.overhead, 1e-6, 0);
    assert_float_equal(m.rates[COL_COST_PRODUCT][COL_PRECISION_BF16].rate[0], 40, 0);
    assert_float_equal(m.rates[COL_COST_PRODUCT][COL_PRECISION_TF32].rate[0], 10, 0); /* as fp32 */
    assert_float_equal(m.rates[COL_COST_PRODUCT][COL_PRECISION_FP16].rate[0], 40, 0); /* as bf16 */
    assert_float_equal(m.rates[COL_COST_ATTENTION][COL_PRECISION_FP32].rate[0], 20, 0);
    assert_float_equal(m.rates[COL_COST_KERNEL][COL_PRECISION_FP32].rate[0], 30, 0);
    assert_float_equal(m.rates[COL_COST_MOVE][COL_PRECISION_FP32].size[0], 5, 0);
    assert_float_equal(m.inside.start, 1, 0);
    assert_float_equal(m.inside.latency, 2, 0);
    for (int k = 0; k < COL_SHARD; k++) {
        assert_float_equal(m.inside.bandwidth[k], 3 + k, 0);
        assert_float_equal(m.across.bandwidth[k], 7 + k, 0);
    }
    assert_float_equal(m.overlap, 0.25, 0);
    assert_float_equal(m.host_bytes, 1000, 0);
    assert_float_equal(m.host_bandwidth, 11, 0);
    assert_ok(col_machine_read(col_arena_printf(f->arena, "%s:16", path), &m));
    assert_string_equal(m.name, "box:16");
    assert_fails(col_machine_read(col_arena_printf(f->arena, "%s:17", path), &m), COL_BAD_INPUT,
                 "outside 1..16");
}

/* Every line but those that may be missing is needed, and every key is known by one name only. */
static void nothing_may_be_missing(void **state)
{
    folder *f = *state;
    size_t faults = 0;
    for (const char *line = good; *line; line = strchr(line, '\n') + 1) {
        const char *after = strchr(line, '\n') + 1;
        char *text = col_arena_printf(f->arena, "%.*s%s", (int)(line - good), good, after);
        col_machine m;
        col_status status = col_machine_read(write_file(f, text), &m);
        bool optional =
            !strncmp(line, "about", 5) || !strncmp(line, "host", 4) || !strncmp(line, "overlap", 7);
        if (optional)
            assert_ok(status);
        else
            assert_fails(status, COL_BAD_INPUT, "missing");
        faults += !optional;
        text = col_arena_printf(f->arena, "%.*sx%s", (int)(line - good), good, line);
        assert_fails(col_machine_read(write_file(f, text), &m), COL_BAD_INPUT, "unknown key 'x");
    }
    assert_int_equal(faults, 14);
}

static void overlap_is_a_share(void **state)
{
    folder *f = *state;
    static const char *const wrong[] = {"1.01", "-0.1", "nan", "much"};
    const char *at = strstr(good, "0.25");
    col_machine m;
    for (size_t i = 0; i < COL_COUNT(wrong); i++) {
        char *text = col_arena_printf(f->arena, "%.*s%s%s", (int)(at - good), good, wrong[i], at + 4);
        assert_fails(col_machine_read(write_file(f, text), &m), COL_BAD_INPUT,
                     "overlap.share: a number from 0 to 1 is wanted");
    }
    char *without = col_arena_printf(f->arena, "%.*s%s", (int)(strstr(good, "overlap") - good), good,
                                     strstr(good, "host: "));
    assert_ok(col_machine_read(write_file(f, without), &m));
    assert_float_equal(m.overlap, 0, 0);
}

/* One H200 has the figures of those of the host. */
static void one_is_like_the_others(void **state)
{
    (void)state;
    col_machine one, host;
    assert_ok(col_machine_read("models/machines/h200.yaml", &one));
    assert_ok(col_machine_read("models/machines/h200x4.yaml", &host));
    assert_int_equal(col_machine_devices(&one), 1);
    assert_memory_equal(one.rates, host.rates, sizeof one.rates);
    assert_memory_equal(&one.traffic, &host.traffic, sizeof one.traffic);
    assert_true(one.memory == host.memory && one.overhead_alone == host.overhead_alone);
}

static void shipped_machines_are_right(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int64_t devices;
        double bytes, most_bf16, most_traffic, most_inside,
            most_across; /* data sheets: nothing achieves more */
    } shipped[] = {
        {"models/machines/h200x4.yaml", 4, 141e9, 989.4e12, 4.8e12, 450e9, 0},
        {"models/machines/h100-dgx.yaml:8", 64, 80e9, 989.4e12, 3.35e12, 450e9, 50e9},
        {"models/machines/a100-80g.yaml:16", 16, 80e9, 312e12, 2.039e12, 300e9, 25e9},
    };
    for (size_t i = 0; i < COL_COUNT(shipped); i++) {
        col_machine m;
        assert_ok(col_machine_read(shipped[i].path, &m));
        assert_int_equal(col_machine_devices(&m), shipped[i].devices);
        assert_float_equal(m.memory_bytes, shipped[i].bytes, 0);
        const col_rate *products = &m.rates[COL_COST_PRODUCT][COL_PRECISION_BF16];
        double bf16 = products->rate[products->count - 1], traffic = m.traffic.rate[m.traffic.count - 1];
        assert_true(bf16 < shipped[i].most_bf16 && bf16 > shipped[i].most_bf16 / 2);
        assert_true(traffic < shipped[i].most_traffic && traffic > shipped[i].most_traffic / 2);
        for (int k = 0; k < COL_SHARD; k++) {
            assert_true(m.inside.bandwidth[k] < shipped[i].most_inside);
            assert_true(m.across.bandwidth[k] <= shipped[i].most_across);
        }
    }
    /* NCCL's own tests on four H200, to 10 %: the tensor's bytes (of a gather, the whole's), and seconds. */
    static const struct {
        col_collective kind;
        double bytes, seconds;
    } measured[] = {
        {COL_ALL_REDUCE, 0x1p16, 26e-6},
        {COL_ALL_REDUCE, 0x1p20, 31e-6},
        {COL_ALL_REDUCE, 0x1p24, 1.5 * 0x1p24 / 249e9},
        {COL_ALL_REDUCE, 0x1p28, 1.5 * 0x1p28 / 340e9},
        {COL_ALL_GATHER, 0x1p22, 0.75 * 0x1p24 / 187e9},
        {COL_ALL_GATHER, 0x1p26, 0.75 * 0x1p28 / 305e9},
    };
    col_machine m;
    col_mesh mesh = {1, {4}};
    col_axes axes = {1, {0}};
    assert_ok(col_machine_read(shipped[0].path, &m));
    col_machine_links(&m, &mesh);
    for (size_t i = 0; i < COL_COUNT(measured); i++) {
        double seconds = col_cost_collective(&m, &mesh, measured[i].kind, &axes, measured[i].bytes);
        assert_float_equal(seconds / measured[i].seconds, 1, 0.1);
    }
    /* Two of them, where one rate for any number of ranks was up to 21 % too fast. */
    static const struct {
        col_collective kind;
        double bytes, seconds;
    } pair[] = {
        {COL_ALL_REDUCE, 0x1p26, 254e-6},     {COL_ALL_REDUCE, 0x1p28, 901e-6},
        {COL_ALL_GATHER, 0x1p25, 160e-6},     {COL_ALL_GATHER, 0x1p27, 551e-6},
        {COL_REDUCE_SCATTER, 0x1p26, 163e-6}, {COL_REDUCE_SCATTER, 0x1p28, 566e-6},
        {COL_ALL_TO_ALL, 0x1p26, 144e-6},     {COL_ALL_TO_ALL, 0x1p28, 474e-6},
    };
    mesh.dims[0] = 2;
    col_machine_links(&m, &mesh);
    for (size_t i = 0; i < COL_COUNT(pair); i++) {
        double seconds = col_cost_collective(&m, &mesh, pair[i].kind, &axes, pair[i].bytes);
        assert_float_equal(seconds / pair[i].seconds, 1, 0.06);
    }
    assert_ok(col_machine_read("models/machines/cpu.yaml:7", &m));
    assert_string_equal(m.name, "cpu:7");
    assert_float_equal(m.cores, 7, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(figures_are_read),
        FOLDER_TEST(nothing_may_be_missing),
        FOLDER_TEST(overlap_is_a_share),
        cmocka_unit_test(shipped_machines_are_right),
        cmocka_unit_test(one_is_like_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
