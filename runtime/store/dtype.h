/* Element types of the files that training reads and makes: one table for safetensors and NumPy. */
#ifndef COL_STORE_DTYPE_H
#define COL_STORE_DTYPE_H

#include "ir/base/status.h"

/* X(enum suffix and safetensors name, bits of one element, NumPy descr or NULL where NumPy has none) */
#define COL_STORE_DTYPES(X)                                                                                  \
    X(F64, 64, "<f8")                                                                                        \
    X(F32, 32, "<f4")                                                                                        \
    X(F16, 16, "<f2")                                                                                        \
    X(BF16, 16, NULL)                                                                                        \
    X(I64, 64, "<i8")                                                                                        \
    X(I32, 32, "<i4")                                                                                        \
    X(I16, 16, "<i2")                                                                                        \
    X(I8, 8, "|i1")                                                                                          \
    X(U64, 64, "<u8")                                                                                        \
    X(U32, 32, "<u4")                                                                                        \
    X(U16, 16, "<u2")                                                                                        \
    X(U8, 8, "|u1")                                                                                          \
    X(BOOL, 8, "|b1")                                                                                        \
    X(C64, 64, "<c8")                                                                                        \
    X(F8_E4M3, 8, NULL)                                                                                      \
    X(F8_E5M2, 8, NULL)                                                                                      \
    X(F8_E4M3FNUZ, 8, NULL)                                                                                  \
    X(F8_E5M2FNUZ, 8, NULL)                                                                                  \
    X(F8_E8M0, 8, NULL)                                                                                      \
    X(F6_E2M3, 6, NULL)                                                                                      \
    X(F6_E3M2, 6, NULL)                                                                                      \
    X(F4, 4, NULL)

typedef enum col_store_dtype {
#define X(name, bits, npy) COL_STORE_##name,
    COL_STORE_DTYPES(X)
#undef X
        COL_STORE_DTYPE_COUNT
} col_store_dtype;

const char *col_store_dtype_name(col_store_dtype dtype); /* "F32" */
const char *col_store_dtype_npy(col_store_dtype dtype);  /* "<f4", or NULL */
uint32_t col_store_dtype_bits(col_store_dtype dtype);
/* Whether the name, given with its length, is known. */
bool col_store_dtype_parse(const char *name, size_t name_size, col_store_dtype *out_dtype);
bool col_store_dtype_parse_npy(const char *descr, size_t descr_size, col_store_dtype *out_dtype);

/* Bytes of a dense tensor. False when a dimension is negative, the product overflows 63 bits or the elements
 * do not fill whole bytes. A tensor without dimensions has one element. */
bool col_store_tensor_bytes(col_store_dtype dtype, uint32_t rank, const int64_t *shape, uint64_t *out_bytes);

#endif
