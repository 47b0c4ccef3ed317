/* Safetensors: round trips, every rule of the format, damage at every byte, and writing that never
 * half-succeeds. */
#include "tests/unit/temporary_folder.h"
#include "runtime/store/safetensors.h"

#include <math.h>

static const int64_t shape_2x3[] = {2, 3}, shape_0x5[] = {0, 5}, shape_5[] = {5};
static const float some_floats[6] = {0, -1, 2.5f, 1e30f, INFINITY, -0.0f};
static const uint8_t some_bytes[5] = {1, 2, 3, 4, 255};
static const double some_scalar = 3.25;

/* In the caller's order types of 1, 4, 8 bytes; the file orders them by alignment. */
static const col_tensor_source four[] = {
    {.name = "bytes", .dtype = COL_STORE_U8, .rank = 1, .shape = shape_5, .data = some_bytes},
    {.name = "h.0.w", .dtype = COL_STORE_F32, .rank = 2, .shape = shape_2x3, .data = some_floats},
    {.name = "empty", .dtype = COL_STORE_F32, .rank = 2, .shape = shape_0x5, .data = some_floats},
    {.name = "scalar", .dtype = COL_STORE_F64, .rank = 0, .data = &some_scalar},
};

/* A file as another program writes it, built from the JSON and `data_size` bytes 0, 1, 2, … */
static size_t foreign(unsigned char *out, const char *json, size_t data_size)
{
    size_t length = strlen(json);
    for (size_t i = 0; i < 8; i++) out[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(out + 8, json, length);
    for (size_t i = 0; i < data_size; i++) out[8 + length + i] = (unsigned char)i;
    return 8 + length + data_size;
}

static col_status open_json(const char *json, size_t data_size, col_safetensors **out)
{
    static unsigned char bytes[1 << 20];
    assert_true(strlen(json) + data_size + 8 <= sizeof bytes);
    return col_safetensors_open_bytes("x.safetensors", bytes, foreign(bytes, json, data_size), out);
}

static void round_trip(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.safetensors");
    col_metadata metadata[] = {{"note", "grüße"}};
    assert_ok(col_safetensors_write(path, four, 4, metadata, 1));
    assert_int_equal(folder_entries(f->path), 1);
    col_safetensors *set = NULL;
    assert_ok(col_safetensors_open(path, &set));
    assert_int_equal(col_safetensors_count(set), 4);
    for (size_t i = 0; i < 4; i++) {
        const col_stored_tensor *t = col_safetensors_find(set, four[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, four[i].dtype);
        assert_int_equal(t->rank, four[i].rank);
        if (t->rank) assert_memory_equal(t->shape, four[i].shape, t->rank * sizeof(int64_t));
        if (t->bytes) assert_memory_equal(t->data, four[i].data, t->bytes);
        assert_true(t->has_checksum);
        assert_int_equal((uintptr_t)t->data % (col_store_dtype_bits(t->dtype) / 8), 0);
    }
    assert_string_equal(col_safetensors_at(set, 0)->name, "scalar");
    assert_int_equal((uintptr_t)col_safetensors_at(set, 0)->data % 64, 0);
    assert_string_equal(col_safetensors_metadata(set, "note"), "grüße");
    assert_string_equal(col_safetensors_metadata(set, "format"), "pt");
    assert_null(col_safetensors_metadata(set, "absent"));
    size_t unchecked = 9;
    assert_ok(col_safetensors_verify(set, &unchecked));
    assert_int_equal(unchecked, 0);
    col_safetensors_close(set);
}

static void no_tensors_round_trip(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.safetensors");
    assert_ok(col_safetensors_write(path, NULL, 0, NULL, 0));
    col_safetensors *set = NULL;
    assert_ok(col_safetensors_open(path, &set));
    assert_int_equal(col_safetensors_count(set), 0);
    assert_ok(col_safetensors_verify(set, NULL));
    col_safetensors_close(set);
}

static void every_type_has_its_size(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t eight; /* bytes of 8 elements, by the format's documentation */
    } want[] = {{"F64", 64},    {"F32", 32},       {"F16", 16},        {"BF16", 16}, {"I64", 64},
                {"I32", 32},    {"I16", 16},       {"I8", 8},          {"U64", 64},  {"U32", 32},
                {"U16", 16},    {"U8", 8},         {"BOOL", 8},        {"C64", 64},  {"F8_E4M3", 8},
                {"F8_E5M2", 8}, {"F8_E8M0", 8},    {"F8_E4M3FNUZ", 8}, {"F4", 4},    {"F6_E2M3", 6},
                {"F6_E3M2", 6}, {"F8_E5M2FNUZ", 8}};
    assert_int_equal(COL_COUNT(want), COL_STORE_DTYPE_COUNT);
    for (size_t i = 0; i < COL_COUNT(want); i++) {
        char json[200];
        col_safetensors *set = NULL;
        snprintf(json, sizeof json, "{\"a\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%zu]}}",
                 want[i].name, want[i].eight);
        assert_ok(open_json(json, want[i].eight, &set));
        assert_string_equal(col_store_dtype_name(col_safetensors_at(set, 0)->dtype), want[i].name);
        col_safetensors_close(set);
    }
}

/* What is legal though unusual. */
static void foreign_files_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t data_size, count;
    } cases[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{ \"a\" :\n{\"shape\":[],\"data_offsets\":[0,4],\"dtype\":\"F32\"} }", 4, 1},
        {"{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]},\"a\":{\"dtype\":\"U8\",\"shape\":["
         "1],"
         "\"data_offsets\":[0,1]}}",
         4, 2},
        {"{\"e\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[2,2]},\"a\":{\"dtype\":\"U8\","
         "\"shape\":[2],"
         "\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]},\"z\":{"
         "\"dtype\":\"I8\","
         "\"shape\":[0],\"data_offsets\":[3,3]}}",
         3, 4},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_safetensors *set = NULL;
        assert_ok(open_json(cases[i].json, cases[i].data_size, &set));
        assert_int_equal(col_safetensors_count(set), cases[i].count);
        size_t unchecked = 0;
        assert_ok(col_safetensors_verify(set, &unchecked));
        assert_int_equal(unchecked, cases[i].count);
        col_safetensors_close(set);
    }
    col_safetensors *set = NULL;
    assert_ok(open_json(cases[4].json, 4, &set)); /* sorted by place; data where the offsets say */
    assert_string_equal(col_safetensors_at(set, 0)->name, "a");
    assert_memory_equal(col_safetensors_at(set, 1)->data, "\1\2\3", 3);
    col_safetensors_close(set);
}

#define ENTRY(dtype, shape, offsets)                                                                         \
    "{\"t.x\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void every_rule_is_enforced(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t data_size;
        const char *message;
    } cases[] = {
        {"", 0, "not a JSON object"},
        {"[]", 0, "not a JSON object"},
        {" {}", 0, "not a JSON object"},
        {"{}\n", 0, "padded with spaces"},
        {"{} {}", 0, "end of file expected"},
        {"{\"a\":{}", 0, "}"},
        {"{\"t\":1}", 0, "'t': its entry is not an object"},
        {ENTRY("F32", "[1]", "[0,4]"), 5, "1 bytes after the last tensor"},
        {ENTRY("F32", "[1]", "[0,4]"), 3, "'t.x': its data lies beyond the end"},
        {ENTRY("F32", "[1]", "[1,5]"), 5, "'t.x': there is a hole"},
        {ENTRY("F32", "[2]", "[0,4]"), 4, "needs 8 bytes, but data_offsets give 4"},
        {ENTRY("F32", "[1]", "[4,0]"), 4, "'data_offsets' is not"},
        {ENTRY("F32", "[1]", "[0]"), 4, "'data_offsets' is not"},
        {ENTRY("F32", "[1]", "[0,4,4]"), 4, "'data_offsets' is not"},
        {ENTRY("F32", "[1]", "[-4,0]"), 4, "'data_offsets' is not"},
        {ENTRY("F32", "[1]", "[0,4.0]"), 4, "'data_offsets' is not"},
        {ENTRY("F32", "[1]", "[0,18446744073709551615]"), 4, "too big integer"},
        {ENTRY("F32", "[1]", "[0,9223372036854775807]"), 4, "beyond the end"},
        {ENTRY("F32", "[-1]", "[0,4]"), 4, "'shape' is not"},
        {ENTRY("F32", "[1.0]", "[0,4]"), 4, "'shape' is not"},
        {ENTRY("F32", "[[1]]", "[0,4]"), 4, "'shape' is not"},
        {ENTRY("F32", "1", "[0,4]"), 4, "'shape' is not"},
        {ENTRY("F32", "[4611686018427387904,4]", "[0,0]"), 0, "whole bytes below 2^60"},
        {ENTRY("F32", "[4294967296,4294967296]", "[0,0]"), 0, "whole bytes below 2^60"},
        {ENTRY("F4", "[3]", "[0,1]"), 1, "whole bytes"},
        {ENTRY("F33", "[1]", "[0,4]"), 4, "unknown type 'F33'"},
        {ENTRY("f32", "[1]", "[0,4]"), 4, "unknown type"},
        {"{\"t\":{\"dtype\":32,\"shape\":[],\"data_offsets\":[0,4]}}", 4,
         "dtype, shape and data_offsets only"},
        {"{\"t\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dtype, shape and data_offsets only"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":0}}", 1, "only"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},\"t\":{\"dtype\":\"U8\",\"shape\":[],"
         "\"data_offsets\":[0,1]}}",
         1, "duplicate object key"},
        {"{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
         "duplicate object key"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":["
         "2],"
         "\"data_offsets\":[1,3]}}",
         3, "'b': its data overlaps"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":["
         "2],"
         "\"data_offsets\":[0,2]}}",
         2, "overlaps"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"e\":{\"dtype\":\"U8\",\"shape\":["
         "0],"
         "\"data_offsets\":[1,1]}}",
         2, "'e': its data overlaps"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "key 'a' is not a string"},
        {"{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0, "duplicate object key"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"a\\u0000b\":{}}", 0, "NUL"},
        {"{\"\xff\":{}}", 0, "unable to decode byte 0xff"},
        {"{\"__metadata__\":{\"xxh3\":\"0000000000000000\"}}", 0, "does not match its checksum"},
        {"{\"__metadata__\":{\"xxh3.a\":\"0000000000000000\"},\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_"
         "offsets\":"
         "[0,0]}}",
         0, "does not match its checksum"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_safetensors *set = NULL;
        assert_fails(open_json(cases[i].json, cases[i].data_size, &set), COL_BAD_INPUT, cases[i].message);
    }
    col_str deep = {0};
    col_str_append(&deep, "{\"t\":");
    for (int i = 0; i < 100000; i++) col_str_append(&deep, "[");
    col_str_append(&deep, "}");
    col_safetensors *set = NULL;
    assert_fails(open_json(deep.data, 0, &set), COL_BAD_INPUT, "maximum parsing depth");
    col_str_fini(&deep);
}

static void header_length_is_checked(void **state)
{
    (void)state;
    col_safetensors *set = NULL;
    for (size_t size = 0; size < 8; size++) {
        assert_fails(col_safetensors_open_bytes("x", "\2\0\0\0\0\0\0", size, &set), COL_BAD_INPUT, "too few");
    }
    unsigned char bytes[64];
    static const uint64_t lengths[] = {3, 100000001, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63};
    for (size_t i = 0; i < COL_COUNT(lengths); i++) {
        size_t size = foreign(bytes, "{}", 0);
        for (size_t k = 0; k < 8; k++) bytes[k] = (unsigned char)(lengths[i] >> (8 * k));
        assert_fails(col_safetensors_open_bytes("x", bytes, size, &set), COL_BAD_INPUT, "cut short");
    }
}

static void pickles_are_refused(void **state)
{
    folder *f = *state;
    col_safetensors *set = NULL;
    char zip[200] = "PK\3\4\0\0\10\10";
    assert_fails(col_safetensors_open_bytes("m.bin", zip, sizeof zip, &set), COL_BAD_INPUT, "PyTorch pickle");
    char old[200] = "\x80\2\x8a\nl\xfc\x9c\x46\xf9";
    assert_fails(col_safetensors_open_bytes("m.pt", old, sizeof old, &set), COL_BAD_INPUT, "save_file");
    assert_fails(col_safetensors_open(f->path, &set), COL_BAD_INPUT, "neither model.safetensors nor");
    assert_ok(col_file_write(folder_file(f, "pytorch_model.bin"), zip, sizeof zip));
    assert_fails(col_safetensors_open(f->path, &set), COL_BAD_INPUT, "PyTorch pickle");
    assert_fails(col_safetensors_open(folder_file(f, "absent"), &set), COL_BAD_INPUT, "No such file");
}

/* Every single-bit flip of a file is found: in the header when it is opened, in the data when it is verified,
 * and there with the tensor's name. */
static void every_flipped_bit_is_found(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.safetensors");
    assert_ok(col_safetensors_write(path, four, 4, NULL, 0));
    size_t size = 0;
    char *bytes = folder_read(f, path, &size);
    col_safetensors *set = NULL;
    assert_ok(col_safetensors_open_bytes("x", bytes, size, &set));
    size_t data_size = 0;
    for (size_t i = 0; i < col_safetensors_count(set); i++) data_size += col_safetensors_at(set, i)->bytes;
    col_safetensors_close(set);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        set = NULL;
        col_status status = col_safetensors_open_bytes("x", bytes, size, &set);
        if (!status) {
            assert_true(bit / 8 >= size - data_size);
            status = col_safetensors_verify(set, NULL);
            if (bit / 8 == size - 1) assert_non_null(strstr(col_error_message(status), "tensor 'bytes'"));
        }
        assert_int_equal(col_error_code(status), COL_BAD_INPUT);
        col_error_free(status);
        col_safetensors_close(set);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
    }
}

/* Any other byte in the header's place is found too. */
static void every_replaced_header_byte_is_found(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.safetensors");
    assert_ok(col_safetensors_write(path, &four[3], 1, NULL, 0));
    size_t size = 0;
    unsigned char *bytes = (unsigned char *)folder_read(f, path, &size);
    for (size_t i = 0; i < size - 8; i++) {
        unsigned char right = bytes[i];
        for (int value = 0; value < 256; value++) {
            bytes[i] = (unsigned char)value;
            col_safetensors *set = NULL;
            col_status status = col_safetensors_open_bytes("x", bytes, size, &set);
            assert_true((status == NULL) == (value == right));
            col_error_free(status);
            col_safetensors_close(set);
        }
        bytes[i] = right;
    }
}

static void every_truncation_is_found(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.safetensors");
    assert_ok(col_safetensors_write(path, four, 4, NULL, 0));
    size_t size = 0;
    char *bytes = folder_read(f, path, &size);
    for (size_t cut = 0; cut < size; cut++) {
        col_safetensors *set = NULL;
        char *exact = malloc(cut ? cut : 1); /* so that the sanitizer sees a read beyond it */
        memcpy(exact, bytes, cut);
        col_status status = col_safetensors_open_bytes("x", exact, cut, &set);
        assert_int_equal(col_error_code(status), COL_BAD_INPUT);
        col_error_free(status);
        free(exact);
    }
}

static void lookup_knows_prefixes(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"model.", "transformer."};
    col_safetensors *set = NULL;
    assert_ok(open_json(
        "{\"transformer.wte\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"wpe\":{\"dtype\":"
        "\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
        2, &set));
    assert_null(col_safetensors_find(set, "wte"));
    assert_string_equal(col_safetensors_find_prefixed(set, "wte", prefixes, 2)->name, "transformer.wte");
    assert_string_equal(col_safetensors_find_prefixed(set, "transformer.wpe", prefixes, 2)->name, "wpe");
    assert_string_equal(col_safetensors_find_prefixed(set, "wpe", prefixes, 2)->name, "wpe");
    assert_null(col_safetensors_find_prefixed(set, "lm_head", prefixes, 2));
    const col_stored_tensor *t = NULL;
    int64_t one[] = {1}, two[] = {2};
    assert_ok(col_safetensors_require(set, "wpe", COL_STORE_U8, 1, one, &t));
    assert_fails(col_safetensors_require(set, "wpf", COL_STORE_U8, 1, one, &t), COL_BAD_INPUT,
                 "nearest is 'wpe'");
    assert_fails(col_safetensors_require(set, "wpe", COL_STORE_U8, 1, two, &t), COL_BAD_INPUT,
                 "is U8[1], but the model needs U8[2]");
    assert_fails(col_safetensors_require(set, "wpe", COL_STORE_I8, 1, one, &t), COL_BAD_INPUT, "needs I8[1]");
    col_safetensors_close(set);
}

static void shards_round_trip(void **state)
{
    folder *f = *state;
    assert_ok(col_safetensors_write_base(f->path, "model", four, 4, NULL, 0, 24));
    /* scalar (8) | h.0.w (24), empty | bytes (5), each with the index beside it */
    assert_int_equal(folder_entries(f->path), 4);
    col_safetensors *set = NULL;
    assert_ok(col_safetensors_open(f->path, &set));
    assert_int_equal(col_safetensors_file_count(set), 3);
    assert_int_equal(col_safetensors_count(set), 4);
    for (size_t i = 0; i < 4; i++) {
        const col_stored_tensor *t = col_safetensors_find(set, four[i].name);
        assert_non_null(t);
        if (t->bytes) assert_memory_equal(t->data, four[i].data, t->bytes);
    }
    assert_ok(col_safetensors_verify(set, NULL));
    col_safetensors_close(set);
    assert_ok(col_safetensors_open(folder_file(f, "model.safetensors.index.json"), &set));
    col_safetensors_close(set);
    /* One file again: the index would now mislead and is gone. */
    assert_ok(col_safetensors_write_base(f->path, "model", four, 2, NULL, 0, 0));
    assert_false(col_file_exists(folder_file(f, "model.safetensors.index.json")));
    assert_ok(col_safetensors_open(f->path, &set));
    assert_int_equal(col_safetensors_count(set), 2);
    col_safetensors_close(set);
}

static void index_is_checked(void **state)
{
    folder *f = *state;
    char *index = folder_file(f, "model.safetensors.index.json");
    assert_ok(col_safetensors_write(folder_file(f, "a.safetensors"), four, 2, NULL, 0));
    assert_ok(col_make_folder(folder_file(f, "sub")));
    assert_ok(col_safetensors_write(folder_file(f, "sub/b.safetensors"), four + 3, 1, NULL, 0));
    static const struct {
        const char *json, *message; /* NULL: it is read */
    } cases[] = {
        {"{\"weight_map\":{\"bytes\":\"a.safetensors\",\"scalar\":\"sub/b.safetensors\"}}", NULL},
        {"{\"metadata\":{\"total_size\":1.5},\"weight_map\":{\"bytes\":\"a.safetensors\"}}", NULL},
        {"{\"weight_map\":{}}", NULL},
        {"{", "index.json:1:1"},
        {"{}", "no object 'weight_map'"},
        {"{\"weight_map\":[]}", "no object 'weight_map'"},
        {"{\"weight_map\":{\"bytes\":1}}", "not a string"},
        {"{\"weight_map\":{\"bytes\":\"\"}}", "not a file below"},
        {"{\"weight_map\":{\"bytes\":\"../a.safetensors\"}}", "not a file below"},
        {"{\"weight_map\":{\"bytes\":\"sub/../a.safetensors\"}}", "not a file below"},
        {"{\"weight_map\":{\"bytes\":\"sub/..\"}}", "not a file below"},
        {"{\"weight_map\":{\"bytes\":\"/etc/passwd\"}}", "not a file below"},
        {"{\"weight_map\":{\"bytes\":\"a.txt\"}}", "not a .safetensors file"},
        {"{\"weight_map\":{\"bytes\":\"a.bin\"}}", "PyTorch pickle"},
        {"{\"weight_map\":{\"bytes\":\"absent.safetensors\"}}", "No such file"},
        {"{\"weight_map\":{\"scalar\":\"a.safetensors\"}}", "has no tensor 'scalar'"},
        {"{\"weight_map\":{\"scalar\":\"a.safetensors\",\"bytes\":\"sub/b.safetensors\"}}", "has no tensor"},
        {"{\"weight_map\":{\"bytes\":\"a.safetensors\",\"bytes\":\"a.safetensors\"}}", "duplicate"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_safetensors *set = NULL;
        assert_ok(col_file_write(index, cases[i].json, strlen(cases[i].json)));
        if (cases[i].message) {
            assert_fails(col_safetensors_open(f->path, &set), COL_BAD_INPUT, cases[i].message);
            continue;
        }
        assert_ok(col_safetensors_open(f->path, &set));
        assert_int_equal(col_safetensors_count(set), i == 0 ? 2 : i == 1 ? 1 : 0);
        col_safetensors_close(set);
    }
}

static void writer_refuses_bad_names(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.safetensors");
    col_tensor_source twice[] = {four[0], four[0]}, bad = four[0];
    int64_t huge[] = {INT64_MAX, 2};
    assert_fails(col_safetensors_write(path, twice, 2, NULL, 0), COL_BAD_INPUT, "occurs twice");
    assert_fails(col_safetensors_write_base(f->path, "m", twice, 2, NULL, 0, 5), COL_BAD_INPUT,
                 "occurs twice");
    bad.name = "\xff";
    assert_fails(col_safetensors_write(path, &bad, 1, NULL, 0), COL_BAD_INPUT, "not UTF-8");
    bad.name = "__metadata__";
    assert_fails(col_safetensors_write(path, &bad, 1, NULL, 0), COL_BAD_INPUT, "reserved");
    bad = (col_tensor_source){.name = "x", .dtype = COL_STORE_F32, .rank = 2, .shape = huge};
    assert_fails(col_safetensors_write(path, &bad, 1, NULL, 0), COL_BAD_INPUT, "overflows");
    col_metadata metadata[] = {{"a", "b"}, {"a", "c"}};
    assert_fails(col_safetensors_write(path, four, 1, metadata, 2), COL_BAD_INPUT, "metadata 'a'");
    assert_int_equal(folder_entries(f->path), 0);
}

typedef struct pieces {
    size_t calls;
    uint64_t next, fail_at;
    unsigned char buffer[1 << 20];
} pieces;

static unsigned char piece_byte(uint64_t offset)
{
    return (unsigned char)(offset * 2654435761u >> 13);
}

static col_status fetch_piece(void *user, uint64_t offset, size_t size, const void **out_bytes)
{
    pieces *p = user;
    assert_int_equal(offset, p->next);
    assert_true(size <= sizeof p->buffer);
    if (offset >= p->fail_at) return col_error_make(COL_DEVICE, "the device is gone");
    for (size_t i = 0; i < size; i++) p->buffer[i] = piece_byte(offset + i);
    p->next += size;
    p->calls++;
    *out_bytes = p->buffer;
    return NULL;
}

/* A tensor that is nowhere whole in memory. */
static void tensors_may_come_in_pieces(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.safetensors");
    pieces *p = calloc(1, sizeof *p);
    int64_t shape[] = {3, 1000003};
    col_tensor_source source = {
        .name = "big", .dtype = COL_STORE_U8, .rank = 2, .shape = shape, .fetch = fetch_piece, .user = p};
    p->fail_at = UINT64_MAX;
    assert_ok(col_safetensors_write(path, &source, 1, NULL, 0));
    assert_int_equal(p->next, 3000009);
    assert_int_equal(p->calls, 3);
    col_safetensors *set = NULL;
    assert_ok(col_safetensors_open(path, &set));
    assert_ok(col_safetensors_verify(set, NULL));
    const unsigned char *data = col_safetensors_at(set, 0)->data;
    for (uint64_t i = 0; i < 3000009; i++) assert_true(data[i] == piece_byte(i));
    col_safetensors_close(set);
    *p = (pieces){.fail_at = 1 << 20};
    assert_fails(col_safetensors_write(path, &source, 1, NULL, 0), COL_DEVICE, "the device is gone");
    assert_ok(col_safetensors_open(path, &set)); /* the old one */
    assert_ok(col_safetensors_verify(set, NULL));
    col_safetensors_close(set);
    assert_int_equal(folder_entries(f->path), 1);
    free(p);
}

static col_status die_at_second_piece(void *user, uint64_t offset, size_t size, const void **out_bytes)
{
    static const unsigned char zeros[1 << 20];
    (void)user;
    if (offset) raise(SIGKILL);
    *out_bytes = size <= sizeof zeros ? zeros : NULL;
    return NULL;
}

static void killed_writer_leaves_the_old_file(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "x.safetensors");
    int64_t shape[] = {3 << 20};
    col_tensor_source source = {
        .name = "big", .dtype = COL_STORE_U8, .rank = 1, .shape = shape, .fetch = die_at_second_piece};
    assert_ok(col_safetensors_write(path, four, 4, NULL, 0));
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) _exit(col_error_ignore(col_safetensors_write(path, &source, 1, NULL, 0)));
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    col_safetensors *set = NULL;
    assert_ok(col_safetensors_open(path, &set));
    assert_int_equal(col_safetensors_count(set), 4);
    assert_ok(col_safetensors_verify(set, NULL));
    col_safetensors_close(set);
}

static void full_disk_leaves_the_old_file(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "model.safetensors");
    assert_ok(col_safetensors_write(path, four, 4, NULL, 0));
    size_t size = 0, now = 0;
    char *before = folder_read(f, path, &size);
    for (size_t limit = 0; limit < size; limit += 40) {
        col_status status = NULL;
        WITH_FILE_LIMIT(limit, status, col_safetensors_write(path, four, 4, NULL, 0));
        assert_fails(status, COL_DEVICE, "File too large");
        assert_memory_equal(folder_read(f, path, &now), before, size);
        assert_int_equal(now, size);
        assert_int_equal(folder_entries(f->path), 1);
    }
    /* The first shard fits, the second does not: neither appears. */
    static const unsigned char many[5000];
    int64_t shape[] = {sizeof many};
    col_tensor_source two[] = {
        four[3], {.name = "big", .dtype = COL_STORE_U8, .rank = 1, .shape = shape, .data = many}};
    col_status status = NULL;
    WITH_FILE_LIMIT(2000, status, col_safetensors_write_base(f->path, "model", two, 2, NULL, 0, 100));
    assert_fails(status, COL_DEVICE, "model-00002-of-00002.safetensors");
    assert_memory_equal(folder_read(f, path, &now), before, size);
    assert_int_equal(folder_entries(f->path), 1);
    assert_fails(col_safetensors_write("/nonexistent/x.safetensors", four, 4, NULL, 0), COL_BAD_INPUT,
                 "No such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(round_trip),
        FOLDER_TEST(no_tensors_round_trip),
        cmocka_unit_test(every_type_has_its_size),
        cmocka_unit_test(foreign_files_are_read),
        cmocka_unit_test(every_rule_is_enforced),
        cmocka_unit_test(header_length_is_checked),
        FOLDER_TEST(pickles_are_refused),
        FOLDER_TEST(every_flipped_bit_is_found),
        FOLDER_TEST(every_replaced_header_byte_is_found),
        FOLDER_TEST(every_truncation_is_found),
        cmocka_unit_test(lookup_knows_prefixes),
        FOLDER_TEST(shards_round_trip),
        FOLDER_TEST(index_is_checked),
        FOLDER_TEST(writer_refuses_bad_names),
        FOLDER_TEST(tensors_may_come_in_pieces),
        FOLDER_TEST(killed_writer_leaves_the_old_file),
        FOLDER_TEST(full_disk_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
