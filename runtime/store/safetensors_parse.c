/* The header of one safetensors file, checked entirely before anything is believed:
 * N fits the file and the limit; the JSON is one object without duplicate keys, padded with spaces; every
 * tensor has a known type, a shape whose product does not overflow and a range of just that many bytes;
 * sorted by place, the ranges cover the data from 0 to the end of the file without hole or overlap. */
#include "runtime/store/safetensors_parse.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void col_hex64_print(char out[COL_HEX64_SIZE], uint64_t value)
{
    for (int i = 15; i >= 0; i--, value >>= 4) out[i] = "0123456789abcdef"[value & 15];
    out[16] = '\0';
}

bool col_hex64_parse(const char *text, uint64_t *out_value)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t value = 0;
    for (size_t i = 0; i < 16; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit) return false;
        value = value << 4 | (uint64_t)(digit - digits);
    }
    *out_value = value;
    return text[16] == '\0';
}

uint64_t col_safetensors_header_checksum(const unsigned char *bytes, size_t size)
{
    static const char zeros[] = "0000000000000000";
    size_t before = 8 + strlen(COL_SAFETENSORS_OPENING), after = before + 16;
    COL_ASSERT(size >= after);
    XXH3_state_t *state = XXH3_createState();
    if (!state) col_out_of_memory(0);
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, bytes, before);
    XXH3_64bits_update(state, zeros, 16);
    XXH3_64bits_update(state, bytes + after, size - after);
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

col_status col_safetensors_refuse_pickle(const char *path)
{
    return col_error_make(
        COL_BAD_INPUT,
        "%s: a PyTorch pickle can run code when it is loaded, so it is not read; convert it once, "
        "in Python: safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
        "'model.safetensors')",
        path);
}

/* A non-negative JSON integer; jansson has refused those beyond 63 bits. */
static bool read_size(const json_t *value, int64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = json_integer_value(value);
    return true;
}

static col_status tensor_error(const char *path, const char *name, const char *what)
{
    return col_error_make(COL_BAD_INPUT, "%s: tensor '%.200s': %s; " COL_SAFETENSORS_REMEDY, path, name,
                          what);
}

static col_status parse_shape(col_arena *arena, const char *path, const json_t *shape,
                              col_stored_tensor *tensor)
{
    if (!json_is_array(shape)) return tensor_error(path, tensor->name, "'shape' is not a list of sizes");
    tensor->rank = (uint32_t)json_array_size(shape);
    int64_t *sizes = COL_NEW_ARRAY(arena, int64_t, tensor->rank);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (!read_size(json_array_get(shape, i), &sizes[i])) {
            return tensor_error(path, tensor->name, "'shape' is not a list of sizes");
        }
    }
    tensor->shape = sizes;
    return NULL;
}

/* One entry; `data` is where offset 0 lies. */
static col_status parse_tensor(col_arena *arena, const char *path, const char *name, const json_t *entry,
                               const unsigned char *data, uint64_t data_size, col_stored_tensor *tensor)
{
    tensor->name = col_arena_strdup(arena, name);
    if (!json_is_object(entry)) return tensor_error(path, name, "its entry is not an object");
    const json_t *dtype = json_object_get(entry, "dtype");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_string(dtype) || json_object_size(entry) != 3) {
        return tensor_error(path, name, "its entry must have dtype, shape and data_offsets only");
    }
    if (!col_store_dtype_parse(json_string_value(dtype), json_string_length(dtype), &tensor->dtype)) {
        return col_error_make(COL_BAD_INPUT,
                              "%s: tensor '%.200s' has the unknown type '%.40s'; convert it to F32", path,
                              name, json_string_value(dtype));
    }
    COL_TRY(parse_shape(arena, path, json_object_get(entry, "shape"), tensor));
    int64_t begin = 0, end = 0;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !read_size(json_array_get(offsets, 0), &begin) || !read_size(json_array_get(offsets, 1), &end) ||
        begin > end) {
        return tensor_error(path, name, "'data_offsets' is not [begin, end]");
    }
    if ((uint64_t)end > data_size)
        return tensor_error(path, name, "its data lies beyond the end of the file");
    if (!col_store_tensor_bytes(tensor->dtype, tensor->rank, tensor->shape, &tensor->bytes)) {
        return tensor_error(path, name, "its shape does not make whole bytes below 2^60");
    }
    if (tensor->bytes != (uint64_t)(end - begin)) {
        return col_error_make(COL_BAD_INPUT,
                              "%s: tensor '%.200s': its shape needs %" PRIu64
                              " bytes, but data_offsets give %" PRId64 "; " COL_SAFETENSORS_REMEDY,
                              path, name, tensor->bytes, end - begin);
    }
    tensor->data = data + begin;
    return NULL;
}

static col_status parse_metadata(col_arena *arena, const char *path, json_t *metadata, col_map *out)
{
    if (!json_is_object(metadata)) {
        return col_error_make(COL_BAD_INPUT, "%s: __metadata__ is not an object; " COL_SAFETENSORS_REMEDY,
                              path);
    }
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value)) {
            return col_error_make(COL_BAD_INPUT,
                                  "%s: __metadata__ key '%.200s' is not a string; " COL_SAFETENSORS_REMEDY,
                                  path, key);
        }
        col_map_set(out, key, col_arena_strdup(arena, json_string_value(value)));
    }
    return NULL;
}

/* By place; empty tensors before the one that starts where they lie; then by name, so that the order does not
 * depend on the JSON's. */
static int compare_place(const void *a, const void *b)
{
    const col_stored_tensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    if (!x->bytes != !y->bytes) return x->bytes ? 1 : -1;
    return strcmp(x->name, y->name);
}

static col_status check_coverage(const char *path, const col_stored_tensors *tensors,
                                 const unsigned char *data, uint64_t data_size)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < tensors->len; i++) {
        const col_stored_tensor *t = &tensors->data[i];
        if (t->data != at) {
            return tensor_error(path, t->name,
                                (const unsigned char *)t->data > at ? "there is a hole before its data"
                                                                    : "its data overlaps another tensor's");
        }
        at += t->bytes;
    }
    if (at == data + data_size) return NULL;
    return col_error_make(
        COL_BAD_INPUT, "%s: %" PRIu64 " bytes after the last tensor belong to none; " COL_SAFETENSORS_REMEDY,
        path, (uint64_t)(data + data_size - at));
}

/* Takes the checksums out of the metadata and checks the header's own. */
static col_status check_checksums(const char *path, const unsigned char *bytes, size_t before_data,
                                  col_safetensors_header *header)
{
    size_t known = 0;
    col_str key = {0};
    for (size_t i = 0; i < header->tensors.len; i++) {
        col_stored_tensor *t = &header->tensors.data[i];
        col_str_clear(&key);
        col_str_printf(&key, "xxh3.%s", t->name);
        const char *hex = col_map_get(header->metadata, col_str_text(&key));
        t->has_checksum = hex && col_hex64_parse(hex, &t->checksum);
        known += t->has_checksum;
    }
    col_str_fini(&key);
    const char *own = col_map_get(header->metadata, "xxh3");
    if (!own && !known) return NULL; /* a file by others */
    uint64_t want = 0;
    size_t opening = strlen(COL_SAFETENSORS_OPENING);
    bool placed = before_data > 8 + opening + 16 && !memcmp(bytes + 8, COL_SAFETENSORS_OPENING, opening);
    if (!own || !placed || !col_hex64_parse(own, &want) ||
        want != col_safetensors_header_checksum(bytes, before_data) || known != header->tensors.len) {
        return col_error_make(
            COL_BAD_INPUT,
            "%s: the header does not match its checksum: it was damaged, or rewritten by a program "
            "that kept the old checksums; copy the file again, or drop the __metadata__ keys xxh3*",
            path);
    }
    return NULL;
}

static col_status parse_object(col_arena *arena, const char *path, json_t *object, const unsigned char *bytes,
                               size_t size, size_t before_data, col_safetensors_header *header)
{
    const unsigned char *data = bytes + before_data;
    uint64_t data_size = size - before_data;
    const char *key;
    json_t *entry;
    json_object_foreach(object, key, entry)
    {
        if (!strcmp(key, "__metadata__")) {
            COL_TRY(parse_metadata(arena, path, entry, header->metadata));
            continue;
        }
        col_stored_tensor tensor = {0};
        COL_TRY(parse_tensor(arena, path, key, entry, data, data_size, &tensor));
        col_vec_push(arena, &header->tensors, tensor);
    }
    if (header->tensors.len) {
        qsort(header->tensors.data, header->tensors.len, sizeof *header->tensors.data, compare_place);
    }
    COL_TRY(check_coverage(path, &header->tensors, data, data_size));
    return check_checksums(path, bytes, before_data, header);
}

col_status col_safetensors_parse(col_arena *arena, const char *path, const unsigned char *bytes, size_t size,
                                 col_safetensors_header *out_header)
{
    if (size < 8) {
        return col_error_make(COL_BAD_INPUT,
                              "%s: %zu bytes are too few for a safetensors file; " COL_SAFETENSORS_REMEDY,
                              path, size);
    }
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > COL_SAFETENSORS_HEADER_LIMIT || length > size - 8) {
        bool pickle = !memcmp(bytes, "PK\3\4", 4) || (bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5);
        if (pickle) return col_safetensors_refuse_pickle(path);
        return col_error_make(
            COL_BAD_INPUT,
            "%s: not a safetensors file, or cut short: its first 8 bytes give a header of %" PRIu64
            " bytes, but %zu follow and at most %d are allowed; copy or download it again",
            path, length, size - 8, COL_SAFETENSORS_HEADER_LIMIT);
    }
    const char *text = (const char *)bytes + 8;
    size_t padded = (size_t)length;
    while (padded && text[padded - 1] == ' ') padded--;
    if (!padded || text[0] != '{' || text[padded - 1] != '}') {
        return col_error_make(
            COL_BAD_INPUT, "%s: the header is not a JSON object padded with spaces; " COL_SAFETENSORS_REMEDY,
            path);
    }
    json_error_t error;
    json_t *object = json_loadb(text, padded, JSON_REJECT_DUPLICATES, &error);
    if (!object) {
        return col_error_make(COL_BAD_INPUT, "%s: header, byte %d: %s; " COL_SAFETENSORS_REMEDY, path,
                              error.position, error.text);
    }
    size_t before_data = 8 + (size_t)length;
    *out_header =
        (col_safetensors_header){.metadata = col_map_create(arena), .hash = XXH3_64bits(bytes, before_data)};
    col_status status = parse_object(arena, path, object, bytes, size, before_data, out_header);
    json_decref(object);
    return status;
}
