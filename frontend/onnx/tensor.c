#include "frontend/onnx/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ir/base/file.h"
#include "runtime/store/npy.h"

/* ONNX's numbers of element types; those without a dtype are only named in messages. */
static const struct {
    const char *name;
    int dtype; /* -1: colc has no such type */
} types[] = {
    {"undefined", -1},      {"float", COL_F32},   {"uint8", COL_U8},      {"int8", COL_I8},
    {"uint16", COL_U16},    {"int16", COL_I16},   {"int32", COL_I32},     {"int64", COL_I64},
    {"string", -1},         {"bool", COL_BOOL},   {"float16", COL_F16},   {"double", COL_F64},
    {"uint32", COL_U32},    {"uint64", COL_U64},  {"complex64", -1},      {"complex128", -1},
    {"bfloat16", COL_BF16}, {"float8e4m3fn", -1}, {"float8e4m3fnuz", -1}, {"float8e5m2", -1},
    {"float8e5m2fnuz", -1}, {"uint4", -1},        {"int4", -1},           {"float4e2m1", -1},
};

col_status col_onnx_dtype(int32_t number, col_dtype *out_dtype)
{
    if (number < 0 || (size_t)number >= COL_COUNT(types))
        return col_error_make(COL_BAD_INPUT, "%d is no element type of ONNX", number);
    if (types[number].dtype < 0) {
        return col_error_make(COL_BAD_INPUT,
                              "elements of type %s are not supported: convert the model to float, float16, "
                              "bfloat16, double, bool, or whole numbers of 8 to 64 bits",
                              types[number].name);
    }
    *out_dtype = (col_dtype)types[number].dtype;
    return NULL;
}

/* 8-bit floats: a sign, exponents, and the rest of the bits. Of `fnuz` types -0 is the only NaN, `fn` has it where
 * all bits are set, and neither has infinities. Source: ONNX's page on these types. */
static const struct {
    int number, fraction_bits, bias;
    bool is_fnuz, is_fn;
} small_types[] = {
    {17, 3, 7, false, true}, {18, 3, 8, true, false}, {19, 2, 15, false, false}, {20, 2, 16, true, false}};

bool col_onnx_is_small(int32_t number)
{
    return number >= small_types[0].number && number <= small_types[COL_COUNT(small_types) - 1].number;
}

static float small_value(int32_t number, unsigned bits)
{
    size_t k = (size_t)(number - small_types[0].number);
    int width = small_types[k].fraction_bits, exponent = (int)((bits & 127) >> width);
    int fraction = (int)(bits & ((1u << width) - 1)), all = (1 << (7 - width)) - 1, most = (1 << width) - 1;
    bool has_special = !small_types[k].is_fnuz && exponent == all;
    if (small_types[k].is_fnuz && bits == 128) return NAN;
    if (has_special && small_types[k].is_fn && fraction == most) return NAN;
    if (has_special && !small_types[k].is_fn && fraction) return NAN;
    double size =
        ldexp(fraction + (exponent ? 1 << width : 0), COL_MAX(exponent, 1) - small_types[k].bias - width);
    if (has_special && !small_types[k].is_fn) size = INFINITY;
    return (float)(bits & 128 ? -size : size);
}

static const char *entry(const Col__Onnx__Tensor *message, const char *key)
{
    for (size_t i = 0; i < message->n_external_data; i++) {
        const Col__Onnx__StringEntry *e = message->external_data[i];
        if (e->key && e->value && !strcmp(e->key, key)) return e->value;
    }
    return NULL;
}

static col_status entry_number(const Col__Onnx__Tensor *message, const char *key, int64_t *value)
{
    const char *text = entry(message, key);
    return text ? col_parse_int(key, text, 0, INT64_MAX, value) : NULL;
}

/* The file of external data as a path that, with all links followed, is below the model's folder. */
static col_status confine(const char *folder, const char *location, col_arena *arena, const char **out_path)
{
    const char *path = col_arena_printf(arena, "%s/%s", folder, location);
    char *inside = realpath(folder, NULL), *file = realpath(path, NULL);
    size_t size = inside ? strlen(inside) : 0;
    if (size == 1) size = 0; /* the root */
    bool is_inside = inside && file && !strncmp(file, inside, size) && file[size] == '/';
    bool exists = file != NULL;
    *out_path = file ? col_arena_strdup(arena, file) : path;
    free(inside);
    free(file);
    if (*location == '/' || (exists && !is_inside)) {
        return col_error_make(
            COL_BAD_INPUT, "external data '%s' lies outside the model's folder, where it must be", location);
    }
    if (!exists)
        return col_error_make(COL_BAD_INPUT, "external data '%s' is not in the model's folder", location);
    return NULL;
}

/* Maps a file, or finds it among those that are. */
static col_status open_file(col_onnx_files *files, const char *path, col_arena *arena, size_t *out_index)
{
    for (*out_index = 0; *out_index < files->open.len; ++*out_index) {
        if (!strcmp(files->open.data[*out_index].path, path)) return NULL;
    }
    col_onnx_file file = {.path = path};
    COL_TRY(col_file_map(path, &file.mapping));
    col_vec_push(arena, &files->open, file);
    return NULL;
}

static col_status read_external(const Col__Onnx__Tensor *message, col_onnx_files *files, uint64_t bytes,
                                col_arena *arena, const void **out_data)
{
    const char *location = entry(message, "location"), *path;
    int64_t offset = 0, length = (int64_t)bytes;
    size_t index;
    if (!files || !location || !*location)
        return col_error_make(COL_BAD_INPUT, "its elements are in another file, which is not given");
    COL_TRY(entry_number(message, "offset", &offset));
    COL_TRY(entry_number(message, "length", &length));
    if ((uint64_t)length != bytes) {
        return col_error_make(COL_BAD_INPUT, "its type takes %llu bytes, its external data has %lld",
                              (unsigned long long)bytes, (long long)length);
    }
    COL_TRY(confine(files->folder, location, arena, &path));
    COL_TRY(open_file(files, path, arena, &index));
    const col_mapping *mapping = &files->open.data[index].mapping;
    if ((uint64_t)offset > mapping->size || bytes > mapping->size - (uint64_t)offset) {
        return col_error_make(COL_BAD_INPUT, "external data '%s' has %zu bytes; %llu from %lld on are wanted",
                              location, mapping->size, (unsigned long long)bytes, (long long)offset);
    }
    col_onnx_range range = {index, (uint64_t)offset, (uint64_t)offset + bytes,
                            message->name ? message->name : ""};
    if (bytes) col_vec_push(arena, &files->taken, range);
    *out_data = mapping->data + offset;
    return NULL;
}

static int by_place(const void *a, const void *b)
{
    const col_onnx_range *x = a, *y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

col_status col_onnx_files_check(const col_onnx_files *files, col_arena *arena)
{
    size_t count = files->taken.len;
    if (!count) return NULL;
    col_onnx_range *sorted = col_arena_copy(arena, files->taken.data, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_place);
    for (size_t i = 1; i < count; i++) {
        const col_onnx_range *one = &sorted[i - 1], *two = &sorted[i];
        if (one->file == two->file && two->begin < one->end) {
            return col_error_make(
                COL_BAD_INPUT,
                "the external data of '%s' and '%s' overlap: give each tensor bytes of its own", one->name,
                two->name);
        }
    }
    return NULL;
}

void col_onnx_files_close(col_onnx_files *files)
{
    for (size_t i = 0; i < files->open.len; i++) col_file_unmap(&files->open.data[i].mapping);
    files->open.len = 0;
}

/* Messages take at most so many bytes for each of the file (an empty attribute is two there, and a structure here):
 * a field that is repeated where it should be once is merged again and again, which would take any amount. */
enum { BYTES_PER_BYTE = 256, BYTES_AT_LEAST = 1 << 16 };

typedef struct budget {
    col_arena *arena;
    size_t left;
} budget;

static void *allocate(void *context, size_t size)
{
    budget *b = context;
    if (size > b->left) return NULL;
    b->left -= size;
    return col_arena_try_alloc(b->arena, size);
}

static void keep(void *context, void *data)
{
    (void)context, (void)data;
}

static ProtobufCAllocator allocator_for(budget *b, size_t size, col_arena *arena)
{
    size_t most = (SIZE_MAX - BYTES_AT_LEAST) / BYTES_PER_BYTE;
    *b = (budget){arena, COL_MIN(size, most) * BYTES_PER_BYTE + BYTES_AT_LEAST};
    return (ProtobufCAllocator){allocate, keep, b};
}

Col__Onnx__Tensor *col_onnx_tensor_unpack(const void *bytes, size_t size, col_arena *arena)
{
    budget b;
    ProtobufCAllocator allocator = allocator_for(&b, size, arena);
    return col__onnx__tensor__unpack(&allocator, size, bytes);
}

Col__Onnx__Model *col_onnx_model_unpack(const void *bytes, size_t size, col_arena *arena)
{
    budget b;
    ProtobufCAllocator allocator = allocator_for(&b, size, arena);
    return col__onnx__model__unpack(&allocator, size, bytes);
}

/* Elements that are stored each in a larger one, of `wide` bytes: its first bytes. */
static const void *narrow_elements(const void *list, size_t count, size_t wide, size_t size, col_arena *arena)
{
    unsigned char *data = col_arena_alloc(arena, COL_MAX(count * size, 1));
    for (size_t i = 0; i < count; i++) memcpy(data + i * size, (const char *)list + i * wide, size);
    return data;
}

static const void *listed_elements(const Col__Onnx__Tensor *message, col_dtype dtype, col_arena *arena,
                                   size_t *out_count)
{
    switch (dtype) {
    case COL_F32: *out_count = message->n_float_data; return message->float_data;
    case COL_F64: *out_count = message->n_double_data; return message->double_data;
    case COL_I64: *out_count = message->n_int64_data; return message->int64_data;
    case COL_I32: *out_count = message->n_int32_data; return message->int32_data;
    case COL_U64: *out_count = message->n_uint64_data; return message->uint64_data;
    case COL_U32:
        *out_count = message->n_uint64_data;
        return narrow_elements(message->uint64_data, *out_count, 8, 4, arena);
    default:
        *out_count = message->n_int32_data;
        return narrow_elements(message->int32_data, *out_count, 4, col_dtype_size(dtype), arena);
    }
}

static col_status find_elements(const Col__Onnx__Tensor *message, col_onnx_files *files, uint64_t bytes,
                                col_arena *arena, col_onnx_tensor *out)
{
    size_t count, size = col_dtype_size(out->type.dtype);
    if (message->data_location == 1) return read_external(message, files, bytes, arena, &out->data);
    if (message->has_raw_data) {
        out->data = message->raw_data.data;
        count = message->raw_data.len / size;
        if (message->raw_data.len % size) count = SIZE_MAX;
    } else {
        out->data = listed_elements(message, out->type.dtype, arena, &count);
    }
    if (count != bytes / size) {
        return col_error_make(COL_BAD_INPUT, "its shape has %llu elements, its data %s",
                              (unsigned long long)(bytes / size),
                              count == SIZE_MAX ? "ends within one" : "another number of them");
    }
    return NULL;
}

static col_status decode_small(int32_t number, uint64_t count, col_arena *arena, col_onnx_tensor *out)
{
    float *wide = count < SIZE_MAX / sizeof(float)
                      ? col_arena_try_alloc(arena, COL_MAX(count, 1) * sizeof(float))
                      : NULL;
    if (!wide)
        return col_error_make(COL_DEVICE, "no memory for its %llu elements", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) wide[i] = small_value(number, ((const unsigned char *)out->data)[i]);
    *out = (col_onnx_tensor){col_type_make(COL_F32, out->type.shape), wide, true};
    return NULL;
}

col_status col_onnx_tensor_read(const Col__Onnx__Tensor *message, col_onnx_files *files, col_arena *arena,
                                col_onnx_tensor *out)
{
    *out = (col_onnx_tensor){0};
    bool is_small = col_onnx_is_small(message->data_type);
    out->type.dtype = COL_U8; /* of their bits */
    if (!is_small) COL_TRY(col_onnx_dtype(message->data_type, &out->type.dtype));
    if (message->n_dims > COL_MAX_RANK) {
        return col_error_make(COL_BAD_INPUT, "it has %zu dimensions; colc knows at most %d", message->n_dims,
                              COL_MAX_RANK);
    }
    out->type.shape = col_shape_make((int)message->n_dims, message->dims);
    if (!col_shape_is_valid(out->type.shape))
        return col_error_make(COL_BAD_INPUT, "its dimensions are negative or absurdly large");
    uint64_t bytes = (uint64_t)col_type_bytes(out->type);
    COL_TRY(find_elements(message, files, bytes, arena, out));
    if (!bytes) out->data = "";
    if (is_small) return decode_small(message->data_type, bytes, arena, out);
    if (out->type.dtype != COL_BOOL) return NULL;
    unsigned char *bits = col_arena_alloc(arena, COL_MAX(bytes, 1));
    for (uint64_t i = 0; i < bytes; i++) bits[i] = ((const unsigned char *)out->data)[i] != 0;
    out->data = bits;
    return NULL;
}

static col_status read_numpy(const char *path, col_arena *arena, col_onnx_tensor *out)
{
    static const struct {
        col_store_dtype stored;
        col_dtype dtype;
    } known[] = {{COL_STORE_F32, COL_F32},   {COL_STORE_F64, COL_F64}, {COL_STORE_F16, COL_F16},
                 {COL_STORE_I32, COL_I32},   {COL_STORE_I64, COL_I64}, {COL_STORE_U8, COL_U8},
                 {COL_STORE_BOOL, COL_BOOL}, {COL_STORE_I8, COL_I8},   {COL_STORE_I16, COL_I16},
                 {COL_STORE_U16, COL_U16},   {COL_STORE_U32, COL_U32}, {COL_STORE_U64, COL_U64}};
    col_npy array;
    size_t i = 0;
    COL_TRY(col_npy_open(path, &array));
    while (i < COL_COUNT(known) && known[i].stored != array.dtype) i++;
    col_status status = NULL;
    if (i == COL_COUNT(known) || array.rank > COL_MAX_RANK) {
        status = col_error_make(COL_BAD_INPUT, "'%s' has %u dimensions of %s, which no input can have", path,
                                array.rank, col_store_dtype_name(array.dtype));
    } else {
        out->type = col_type_make(known[i].dtype, col_shape_make((int)array.rank, array.shape));
        void *copy = col_arena_try_alloc(arena, COL_MAX(array.bytes, 1));
        if (!copy) status = col_error_make(COL_DEVICE, "no memory for '%s'", path);
        if (copy && array.bytes) memcpy(copy, array.data, array.bytes);
        out->data = copy;
    }
    col_npy_close(&array);
    return status;
}

col_status col_onnx_tensor_file(const char *path, col_arena *arena, col_onnx_tensor *out)
{
    size_t length = strlen(path);
    if (length > 4 && !strcmp(path + length - 4, ".npy")) return read_numpy(path, arena, out);
    col_mapping mapping;
    COL_TRY(col_file_map(path, &mapping));
    Col__Onnx__Tensor *message = col_onnx_tensor_unpack(mapping.data, mapping.size, arena);
    col_file_unmap(&mapping);
    if (!message) return col_error_make(COL_BAD_INPUT, "'%s' is no ONNX tensor; give a .pb or .npy", path);
    return col_error_annotate(col_onnx_tensor_read(message, NULL, arena, out), "'%s'", path);
}

/* The value of IEEE half-precision bits. */
static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                      : ldexp(fraction, -24);
    return bits >> 15 ? -magnitude : magnitude;
}

double col_onnx_tensor_at(const col_onnx_tensor *tensor, int64_t i)
{
    size_t size = col_dtype_size(tensor->type.dtype);
    union {
        float f32;
        double f64;
        int32_t i32;
        int64_t i64;
        uint64_t u64;
        uint32_t u32;
        int16_t i16;
        uint16_t u16;
        int8_t i8;
        unsigned char u8;
    } v = {.i64 = 0};
    memcpy(&v, (const char *)tensor->data + (size_t)i * size, size);
    switch (tensor->type.dtype) {
    case COL_F32: return (double)v.f32;
    case COL_F64: return v.f64;
    case COL_F16: return half_value(v.u16);
    case COL_BF16: v.u32 = (uint32_t)v.u16 << 16; return (double)v.f32;
    case COL_I32: return v.i32;
    case COL_I64: return (double)v.i64;
    case COL_U64: return (double)v.u64;
    case COL_U32: return v.u32;
    case COL_I16: return v.i16;
    case COL_U16: return v.u16;
    case COL_I8: return v.i8;
    default: return v.u8;
    }
}
