#include "runtime/store/npy.h"
#include "ir/base/str.h"

#include <inttypes.h>
#include <string.h>

#define REMEDY                                                                                               \
    "save it again with numpy.save(file, numpy.ascontiguousarray(x, '<f4')), or '<i4' for whole numbers"

/* The header is a Python literal of a fixed form; this reads it character by character. */
typedef struct cursor {
    const char *name; /* of the file */
    const char *at, *end;
} cursor;

static col_status bad(const cursor *c, const char *what)
{
    return col_error_make(COL_BAD_INPUT, "%s: %s; " REMEDY, c->name, what);
}

static void skip_spaces(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) c->at++;
}

static bool take(cursor *c, const char *word)
{
    skip_spaces(c);
    size_t size = strlen(word);
    if ((size_t)(c->end - c->at) < size || memcmp(c->at, word, size)) return false;
    c->at += size;
    return true;
}

/* A quoted string without escapes. */
static bool take_string(cursor *c, const char **out_text, size_t *out_size)
{
    skip_spaces(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    const char *start = c->at + 1, *stop = memchr(start, *c->at, (size_t)(c->end - start));
    if (!stop || memchr(start, '\\', (size_t)(stop - start))) return false;
    *out_text = start;
    *out_size = (size_t)(stop - start);
    c->at = stop + 1;
    return true;
}

static bool take_size(cursor *c, int64_t *out)
{
    skip_spaces(c);
    const char *start = c->at;
    int64_t value = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *c->at - '0', &value)) {
            return false;
        }
        c->at++;
    }
    *out = value;
    return c->at > start;
}

static col_status parse_descr(cursor *c, col_npy *array)
{
    const char *descr = NULL;
    size_t size = 0;
    if (!take_string(c, &descr, &size)) return bad(c, "structured types are not read, only plain numbers");
    if (col_store_dtype_parse_npy(descr, size, &array->dtype)) return NULL;
    if (size && *descr == '>') return bad(c, "big-endian numbers are not read");
    if (size > 1 && descr[1] == 'O') return bad(c, "arrays of Python objects hold pickles and are not read");
    return col_error_make(COL_BAD_INPUT, "%s: type '%.*s' is not read; " REMEDY, c->name,
                          (int)COL_MIN(size, 20u), descr);
}

static col_status parse_shape(cursor *c, col_npy *array)
{
    bool comma = true; /* a tuple of one has its comma: (3,) */
    if (!take(c, "(")) return bad(c, "'shape' is not a tuple");
    while (!take(c, ")")) {
        if (!comma || array->rank == COL_NPY_RANK_LIMIT || !take_size(c, &array->shape[array->rank])) {
            return bad(c, "'shape' is not a tuple of up to 64 sizes");
        }
        array->rank++;
        comma = take(c, ",");
    }
    if (array->rank == 1 && !comma) return bad(c, "'shape' is not a tuple");
    return NULL;
}

static col_status parse_dict(cursor *c, col_npy *array)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    unsigned seen = 0;
    if (!take(c, "{")) return bad(c, "the header is not a dict");
    bool comma = true;
    while (!take(c, "}")) {
        const char *key = NULL;
        size_t size = 0;
        if (!comma || !take_string(c, &key, &size) || !take(c, ":"))
            return bad(c, "the header is not a dict");
        unsigned bit = 0;
        if (size == 5 && !memcmp(key, "descr", 5)) {
            bit = DESCR;
            COL_TRY(parse_descr(c, array));
        } else if (size == 13 && !memcmp(key, "fortran_order", 13)) {
            bit = ORDER;
            if (take(c, "True")) return bad(c, "arrays in Fortran order are not read");
            if (!take(c, "False")) return bad(c, "'fortran_order' is neither True nor False");
        } else if (size == 5 && !memcmp(key, "shape", 5)) {
            bit = SHAPE;
            if (!(seen & SHAPE)) COL_TRY(parse_shape(c, array));
        } else {
            return bad(c, "the header has an unknown key");
        }
        if (seen & bit) return bad(c, "the header has a key twice");
        seen |= bit;
        comma = take(c, ",");
    }
    skip_spaces(c);
    if (seen != ALL) return bad(c, "the header lacks descr, fortran_order or shape");
    return c->at == c->end ? NULL : bad(c, "something follows the header's dict");
}

col_status col_npy_parse(const char *name, const void *bytes, size_t size, col_npy *out_array)
{
    const unsigned char *at = bytes;
    *out_array = (col_npy){0};
    if (size < 10 || memcmp(at, "\x93NUMPY", 6)) {
        return col_error_make(COL_BAD_INPUT, "%s: not a .npy file; " REMEDY, name);
    }
    if (at[6] < 1 || at[6] > 2 || at[7]) {
        return col_error_make(COL_BAD_INPUT,
                              "%s: version %d.%d of .npy is not read, only 1.0 and 2.0; " REMEDY, name, at[6],
                              at[7]);
    }
    size_t start = at[6] == 1 ? 10 : 12;
    uint64_t length = at[8] | (uint64_t)at[9] << 8;
    if (start == 12 && size >= 12) length |= (uint64_t)at[10] << 16 | (uint64_t)at[11] << 24;
    if (size < start || length > size - start) {
        return col_error_make(COL_BAD_INPUT, "%s: cut short within its header; " REMEDY, name);
    }
    cursor c = {name, (const char *)at + start, (const char *)at + start + length};
    COL_TRY(parse_dict(&c, out_array));
    if (!col_store_tensor_bytes(out_array->dtype, out_array->rank, out_array->shape, &out_array->bytes)) {
        return bad(&c, "its shape is too large");
    }
    uint64_t have = size - start - length;
    if (have != out_array->bytes) {
        return col_error_make(
            COL_BAD_INPUT, "%s: its shape needs %" PRIu64 " bytes of data, but %" PRIu64 " follow; " REMEDY,
            name, out_array->bytes, have);
    }
    out_array->data = at + start + length;
    return NULL;
}

col_status col_npy_open(const char *path, col_npy *out_array)
{
    col_mapping mapping;
    COL_TRY(col_file_map(path, &mapping));
    col_status status = col_npy_parse(path, mapping.data, mapping.size, out_array);
    if (status) {
        col_file_unmap(&mapping);
        *out_array = (col_npy){0};
    } else {
        out_array->mapping = mapping;
    }
    return status;
}

void col_npy_close(col_npy *array)
{
    col_file_unmap(&array->mapping);
    *array = (col_npy){0};
}

static void make_header(col_store_dtype dtype, uint32_t rank, const int64_t *shape, col_str *out)
{
    col_str_append_bytes(out, "\x93NUMPY\x01\x00\x00\x00", 10);
    col_str_printf(out, "{'descr': '%s', 'fortran_order': False, 'shape': (", col_store_dtype_npy(dtype));
    for (uint32_t i = 0; i < rank; i++) col_str_printf(out, i ? " %" PRId64 "," : "%" PRId64 ",", shape[i]);
    if (rank > 1) out->data[--out->len] = '\0'; /* as NumPy prints tuples: (), (3,), (2, 3) */
    col_str_append(out, "), }");
    while ((out->len + 1) % 64) col_str_append(out, " ");
    col_str_append(out, "\n");
    size_t length = out->len - 10; /* below 64 Ki: at most 64 sizes */
    out->data[8] = (char)(length & 255);
    out->data[9] = (char)(length >> 8);
}

col_status col_npy_write(const char *path, col_store_dtype dtype, uint32_t rank, const int64_t *shape,
                         const void *data)
{
    uint64_t bytes = 0;
    if (!col_store_dtype_npy(dtype)) {
        return col_error_make(COL_BAD_INPUT, "cannot write '%s': NumPy has no type %s; convert to F32 first",
                              path, col_store_dtype_name(dtype));
    }
    if (rank > COL_NPY_RANK_LIMIT || !col_store_tensor_bytes(dtype, rank, shape, &bytes)) {
        return col_error_make(COL_BAD_INPUT, "cannot write '%s': the shape overflows", path);
    }
    col_writer *writer = NULL;
    COL_TRY(col_writer_open(path, &writer));
    col_str header = {0};
    make_header(dtype, rank, shape, &header);
    col_status status = col_writer_write(writer, header.data, header.len);
    if (!status) status = col_writer_write(writer, data, bytes);
    col_str_fini(&header);
    if (!status) return col_writer_commit(writer);
    col_writer_discard(writer);
    return status;
}
