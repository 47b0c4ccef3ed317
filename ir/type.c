#include "ir/type.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[COL_DTYPE_COUNT] = {
    [COL_F32] = {"f32", 4}, [COL_F64] = {"f64", 8}, [COL_F16] = {"f16", 2}, [COL_BF16] = {"bf16", 2},
    [COL_I32] = {"i32", 4}, [COL_I64] = {"i64", 8}, [COL_U8] = {"u8", 1},   [COL_BOOL] = {"bool", 1},
    [COL_I8] = {"i8", 1},   [COL_I16] = {"i16", 2}, [COL_U16] = {"u16", 2}, [COL_U32] = {"u32", 4},
    [COL_U64] = {"u64", 8},
};

const char *col_dtype_name(col_dtype dtype)
{
    return dtypes[dtype].name;
}

bool col_dtype_parse(const char *name, col_dtype *out_dtype)
{
    for (size_t i = 0; i < COL_DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, name)) continue;
        *out_dtype = (col_dtype)i;
        return true;
    }
    return false;
}

size_t col_dtype_size(col_dtype dtype)
{
    return dtypes[dtype].size;
}

bool col_dtype_is_float(col_dtype dtype)
{
    return dtype == COL_F32 || dtype == COL_F64 || dtype == COL_F16 || dtype == COL_BF16;
}

bool col_dtype_is_integer(col_dtype dtype)
{
    return !col_dtype_is_float(dtype) && dtype != COL_BOOL;
}

bool col_dtype_is_unsigned(col_dtype dtype)
{
    return dtype == COL_BOOL || dtype == COL_U8 || dtype == COL_U16 || dtype == COL_U32 || dtype == COL_U64;
}

bool col_dtype_is_arithmetic(col_dtype dtype)
{
    return col_dtype_is_float(dtype) || dtype == COL_I32 || dtype == COL_I64;
}

bool col_dtype_holds(col_dtype dtype, double value)
{
    if (col_dtype_is_float(dtype)) return true;
    int bits = dtype == COL_BOOL ? 1 : (int)COL_MIN(8 * dtypes[dtype].size, 53);
    bool is_unsigned = col_dtype_is_unsigned(dtype);
    double reach = ldexp(1, is_unsigned || bits == 53 ? bits : bits - 1); /* of magnitudes */
    double most = bits == 53 ? reach : reach - 1;
    return value == floor(value) && value <= most && value >= (is_unsigned ? 0 : -reach);
}

col_shape col_shape_make(int rank, const int64_t *dims)
{
    COL_ASSERT(rank >= 0 && rank <= COL_MAX_RANK);
    col_shape shape = {.rank = rank};
    for (int i = 0; i < rank; i++) shape.dims[i] = dims[i];
    return shape;
}

bool col_shape_equal(col_shape a, col_shape b)
{
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++) {
        if (a.dims[i] != b.dims[i]) return false;
    }
    return true;
}

int64_t col_shape_numel(col_shape shape)
{
    int64_t numel = 1;
    for (int i = 0; i < shape.rank; i++) numel *= shape.dims[i];
    return numel;
}

bool col_shape_is_valid(col_shape shape)
{
    int64_t numel = 8;
    for (int i = 0; i < shape.rank; i++) {
        if (shape.dims[i] < 0) return false;
        if (__builtin_mul_overflow(numel, COL_MAX(shape.dims[i], 1), &numel) || numel >= INT64_C(1) << 62) {
            return false;
        }
    }
    return true;
}

bool col_shape_broadcast(col_shape a, col_shape b, col_shape *out_shape)
{
    col_shape out = {.rank = COL_MAX(a.rank, b.rank)};
    for (int i = 1; i <= out.rank; i++) {
        int64_t x = i <= a.rank ? a.dims[a.rank - i] : 1;
        int64_t y = i <= b.rank ? b.dims[b.rank - i] : 1;
        if (x != y && x != 1 && y != 1) return false;
        out.dims[out.rank - i] = x == 1 ? y : x;
    }
    *out_shape = out;
    return true;
}

void col_shape_strides(col_shape shape, int64_t strides[COL_MAX_RANK])
{
    int64_t stride = 1;
    for (int i = shape.rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= shape.dims[i];
    }
}

bool col_shape_axis(col_shape shape, int64_t axis, int *out_axis)
{
    if (axis < -shape.rank || axis >= shape.rank) return false;
    *out_axis = (int)(axis < 0 ? axis + shape.rank : axis);
    return true;
}

col_type col_type_make(col_dtype dtype, col_shape shape)
{
    return (col_type){dtype, shape};
}

bool col_type_equal(col_type a, col_type b)
{
    return a.dtype == b.dtype && col_shape_equal(a.shape, b.shape);
}

int64_t col_type_bytes(col_type type)
{
    return col_shape_numel(type.shape) * (int64_t)col_dtype_size(type.dtype);
}

void col_type_print(col_type type, col_str *out)
{
    col_str_printf(out, "%s[", col_dtype_name(type.dtype));
    for (int i = 0; i < type.shape.rank; i++) {
        col_str_printf(out, "%s%lld", i ? ", " : "", (long long)type.shape.dims[i]);
    }
    col_str_append(out, "]");
}
