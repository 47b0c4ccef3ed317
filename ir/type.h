/* Element types, shapes and tensor types: plain values, copied freely. */
#ifndef COL_IR_TYPE_H
#define COL_IR_TYPE_H

#include "ir/base/layout.h"

typedef enum col_dtype {
    COL_F32,
    COL_F64,
    COL_F16,
    COL_BF16,
    COL_I32,
    COL_I64,
    COL_U8,
    COL_BOOL,
    COL_I8,
    COL_I16,
    COL_U16,
    COL_U32,
    COL_U64,
    COL_DTYPE_COUNT
} col_dtype;

typedef struct col_shape {
    int rank;
    int64_t dims[COL_MAX_RANK]; /* unused entries are 0 */
} col_shape;

typedef struct col_type {
    col_dtype dtype;
    col_shape shape;
} col_type;

/* "f32", "bf16" …; and back: false for anything else. */
const char *col_dtype_name(col_dtype dtype);
bool col_dtype_parse(const char *name, col_dtype *out_dtype);
size_t col_dtype_size(col_dtype dtype); /* bytes of one element */
bool col_dtype_is_float(col_dtype dtype);
bool col_dtype_is_integer(col_dtype dtype);    /* of any width; not bool */
bool col_dtype_is_unsigned(col_dtype dtype);   /* also bool */
bool col_dtype_is_arithmetic(col_dtype dtype); /* floats, i32 and i64: others are moved, compared and cast */

/* Whether a constant can have the value: all numbers for floats, else whole ones in range; of 64 bits those that a
 * double tells apart, up to 2^53. */
bool col_dtype_holds(col_dtype dtype, double value);

/* `dims` is copied; 0 <= rank <= COL_MAX_RANK. */
col_shape col_shape_make(int rank, const int64_t *dims);
bool col_shape_equal(col_shape a, col_shape b);
/* Number of elements; shapes in a graph are checked not to overflow. */
int64_t col_shape_numel(col_shape shape);
/* False when a dimension is negative or the elements times 8 bytes do not fit 62 bits. */
bool col_shape_is_valid(col_shape shape);
/* NumPy broadcasting, aligned at the last dimension; false when a pair of sizes differs and none is 1. */
bool col_shape_broadcast(col_shape a, col_shape b, col_shape *out_shape);
/* Row-major strides in elements. */
void col_shape_strides(col_shape shape, int64_t strides[COL_MAX_RANK]);
/* -rank..rank-1 to 0..rank-1; false outside. */
bool col_shape_axis(col_shape shape, int64_t axis, int *out_axis);

col_type col_type_make(col_dtype dtype, col_shape shape);
bool col_type_equal(col_type a, col_type b);
int64_t col_type_bytes(col_type type);
/* "f32[4, 64, 768]"; "f32[]" for a scalar. */
void col_type_print(col_type type, col_str *out);

#endif
