/* .npy: bytes as NumPy writes them, round trips, every refusal, truncation anywhere. */
#include "tests/unit/temporary_folder.h"
#include "runtime/store/npy.h"

/* What numpy.save(f, numpy.arange(6, dtype='<i4').reshape(2, 3)) writes (NumPy 2.4). */
static size_t numpy_example(unsigned char *out)
{
    static const char dict[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }";
    memcpy(out, "\x93NUMPY\x01\x00\x76\x00", 10);
    memset(out + 10, ' ', 117);
    memcpy(out + 10, dict, sizeof dict - 1);
    out[127] = '\n';
    for (unsigned i = 0; i < 24; i++) out[128 + i] = i % 4 ? 0 : (unsigned char)(i / 4);
    return 152;
}

static void writes_what_numpy_writes(void **state)
{
    folder *f = *state;
    unsigned char want[152];
    char *path = folder_file(f, "x.npy");
    int32_t values[] = {0, 1, 2, 3, 4, 5};
    int64_t shape[] = {2, 3};
    size_t size = 0;
    assert_ok(col_npy_write(path, COL_STORE_I32, 2, shape, values));
    char *have = folder_read(f, path, &size);
    assert_int_equal(size, numpy_example(want));
    assert_memory_equal(have, want, size);
}

static void every_type_and_rank_round_trips(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.npy");
    static const int64_t shape[COL_NPY_RANK_LIMIT + 1] = {
        2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    unsigned char data[48];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 37);
    for (int dtype = 0; dtype < COL_STORE_DTYPE_COUNT; dtype++) {
        for (uint32_t rank = 0; rank <= COL_NPY_RANK_LIMIT; rank += rank < 4 ? 1 : 30) {
            col_npy array;
            if (!col_store_dtype_npy((col_store_dtype)dtype)) {
                assert_fails(col_npy_write(path, (col_store_dtype)dtype, rank, shape, data), COL_BAD_INPUT,
                             "NumPy has no type");
                continue;
            }
            assert_ok(col_npy_write(path, (col_store_dtype)dtype, rank, shape, data));
            assert_ok(col_npy_open(path, &array));
            assert_int_equal(array.dtype, dtype);
            assert_int_equal(array.rank, rank);
            assert_memory_equal(array.shape, shape, rank * sizeof *shape);
            assert_memory_equal(array.data, data, array.bytes);
            assert_int_equal((uintptr_t)array.data % 64, 0);
            col_npy_close(&array);
        }
    }
    assert_fails(col_npy_write(path, COL_STORE_F32, COL_NPY_RANK_LIMIT + 1, shape, data), COL_BAD_INPUT,
                 "overflows");
    int64_t none[] = {0, 4};
    col_npy array;
    assert_ok(col_npy_write(path, COL_STORE_F32, 2, none, NULL));
    assert_ok(col_npy_open(path, &array));
    assert_int_equal(array.bytes, 0);
    col_npy_close(&array);
}

static size_t build(unsigned char *out, int version, const char *dict, size_t data_size)
{
    size_t length = strlen(dict), start = version == 1 ? 10 : 12;
    memset(out, 0, start + length + data_size);
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    for (size_t i = 8; i < start; i++) out[i] = (unsigned char)(length >> (8 * (i - 8)));
    memcpy(out + start, dict, length);
    return start + length + data_size;
}

static void header_rules(void **state)
{
    (void)state;
    static const struct {
        const char *dict, *message; /* NULL: it is read */
        size_t data_size;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", NULL, 4},
        {"{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(1,)}", NULL, 4},
        {"{'shape': (2, 0,), 'descr': '|b1', 'fortran_order': False}   \n", NULL, 0},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "Fortran order", 4},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "big-endian", 4},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "Python objects", 4},
        {"{'descr': '<U3', 'fortran_order': False, 'shape': (1,), }", "type '<U3'", 12},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "structured", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1), }", "not a tuple", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': [1], }", "not a tuple", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1), }", "not a tuple", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "not a tuple", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,", "not a tuple", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,), }", "not a tuple", 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2), }", "too large", 0},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "neither True nor False", 4},
        {"{'descr': '<f4', 'shape': (1,), }", "lacks", 4},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "twice", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}", "key twice", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", "unknown key", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", "follows", 4},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,), }", "not a dict", 4},
        {"", "not a dict", 0},
        {"{'descr': '<f4", "structured", 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "needs 4 bytes of data, but 3", 3},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "needs 4 bytes of data, but 5", 5},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        for (int version = 1; version <= 2; version++) {
            unsigned char bytes[256];
            size_t size = build(bytes, version, cases[i].dict, cases[i].data_size);
            unsigned char *exact = malloc(size);
            memcpy(exact, bytes, size);
            col_npy array;
            if (cases[i].message) {
                assert_fails(col_npy_parse("x.npy", exact, size, &array), COL_BAD_INPUT, cases[i].message);
            } else {
                assert_ok(col_npy_parse("x.npy", exact, size, &array));
                assert_int_equal(array.bytes, cases[i].data_size);
            }
            free(exact);
        }
    }
    unsigned char bytes[256];
    col_npy array;
    size_t size = build(bytes, 3, cases[0].dict, 4);
    assert_fails(col_npy_parse("x.npy", bytes, size, &array), COL_BAD_INPUT, "version 3.0");
    bytes[0] = 'x';
    assert_fails(col_npy_parse("x.npy", bytes, size, &array), COL_BAD_INPUT, "not a .npy file");
}

static void every_truncation_is_found(void **state)
{
    folder *f = *state;
    unsigned char bytes[152];
    col_npy array;
    for (size_t size = 0; size < numpy_example(bytes); size++) {
        unsigned char *exact = malloc(size ? size : 1);
        memcpy(exact, bytes, size);
        assert_fails(col_npy_parse("x.npy", exact, size, &array), COL_BAD_INPUT, "x.npy: ");
        free(exact);
    }
    assert_ok(col_file_write(folder_file(f, "empty.npy"), "", 0));
    assert_fails(col_npy_open(folder_file(f, "empty.npy"), &array), COL_BAD_INPUT, "not a .npy file");
    assert_fails(col_npy_open(f->path, &array), COL_BAD_INPUT, "not a regular file");
}

static void full_disk_leaves_the_old_file(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.npy");
    int64_t shape[] = {1000};
    static const float zeros[1000];
    col_status status = NULL;
    assert_ok(col_npy_write(path, COL_STORE_F32, 0, NULL, zeros));
    WITH_FILE_LIMIT(2000, status, col_npy_write(path, COL_STORE_F32, 1, shape, zeros));
    assert_fails(status, COL_DEVICE, "x.npy");
    size_t size = 0;
    folder_read(f, path, &size);
    assert_int_equal(size, 132);
    assert_int_equal(folder_entries(f->path), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(writes_what_numpy_writes),
        FOLDER_TEST(every_type_and_rank_round_trips),
        cmocka_unit_test(header_rules),
        FOLDER_TEST(every_truncation_is_found),
        FOLDER_TEST(full_disk_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
