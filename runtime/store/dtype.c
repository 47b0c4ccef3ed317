#include "runtime/store/dtype.h"

#include <string.h>

static const struct {
    const char *name, *npy;
    uint32_t bits;
} table[] = {
#define X(name, bits, npy) {#name, npy, bits},
    COL_STORE_DTYPES(X)
#undef X
};
_Static_assert(COL_COUNT(table) == COL_STORE_DTYPE_COUNT, "one row per type");

const char *col_store_dtype_name(col_store_dtype dtype)
{
    COL_ASSERT((size_t)dtype < COL_COUNT(table));
    return table[dtype].name;
}

const char *col_store_dtype_npy(col_store_dtype dtype)
{
    COL_ASSERT((size_t)dtype < COL_COUNT(table));
    return table[dtype].npy;
}

uint32_t col_store_dtype_bits(col_store_dtype dtype)
{
    COL_ASSERT((size_t)dtype < COL_COUNT(table));
    return table[dtype].bits;
}

static bool equal(const char *text, const char *bytes, size_t size)
{
    return text && strlen(text) == size && !memcmp(text, bytes, size);
}

bool col_store_dtype_parse(const char *name, size_t name_size, col_store_dtype *out_dtype)
{
    for (size_t i = 0; i < COL_COUNT(table); i++) {
        if (!equal(table[i].name, name, name_size)) continue;
        *out_dtype = (col_store_dtype)i;
        return true;
    }
    return false;
}

bool col_store_dtype_parse_npy(const char *descr, size_t descr_size, col_store_dtype *out_dtype)
{
    for (size_t i = 0; i < COL_COUNT(table); i++) {
        if (!equal(table[i].npy, descr, descr_size)) continue;
        *out_dtype = (col_store_dtype)i;
        return true;
    }
    return false;
}

bool col_store_tensor_bytes(col_store_dtype dtype, uint32_t rank, const int64_t *shape, uint64_t *out_bytes)
{
    int64_t bits = col_store_dtype_bits(dtype);
    bool empty = false; /* a zero dimension makes the product zero, but the others must still fit */
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] < 0) return false;
        if (shape[i] == 0) {
            empty = true;
        } else if (__builtin_mul_overflow(bits, shape[i], &bits)) {
            return false;
        }
    }
    if (empty) bits = 0;
    if (bits % 8) return false;
    *out_bytes = (uint64_t)bits / 8;
    return true;
}
