#include "codegen/llvm.h"

#include <string.h>

static LLVMTypeRef element_type(const col_llvm *l, col_dtype dtype, bool memory)
{
    switch (dtype) {
    case COL_F64: return LLVMDoubleTypeInContext(l->context);
    case COL_F16: return memory ? LLVMHalfTypeInContext(l->context) : LLVMFloatTypeInContext(l->context);
    case COL_BF16: return memory ? LLVMInt16TypeInContext(l->context) : LLVMFloatTypeInContext(l->context);
    case COL_I32:
    case COL_U32: return LLVMInt32TypeInContext(l->context);
    case COL_I64:
    case COL_U64: return LLVMInt64TypeInContext(l->context);
    case COL_I16:
    case COL_U16: return LLVMInt16TypeInContext(l->context);
    case COL_I8:
    case COL_U8: return LLVMInt8TypeInContext(l->context);
    case COL_BOOL: return memory ? LLVMInt8TypeInContext(l->context) : LLVMInt1TypeInContext(l->context);
    default: return LLVMFloatTypeInContext(l->context);
    }
}

LLVMTypeRef col_llvm_register(const col_llvm *l, col_dtype dtype)
{
    return element_type(l, dtype, false);
}

LLVMTypeRef col_llvm_memory(const col_llvm *l, col_dtype dtype)
{
    return element_type(l, dtype, true);
}

bool col_llvm_is_vector(LLVMValueRef value)
{
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
}

LLVMTypeRef col_llvm_widen(LLVMTypeRef element, LLVMValueRef like)
{
    return col_llvm_is_vector(like) ? LLVMVectorType(element, LLVMGetVectorSize(LLVMTypeOf(like))) : element;
}

LLVMValueRef col_llvm_i64(const col_llvm *l, int64_t value)
{
    return LLVMConstInt(LLVMInt64TypeInContext(l->context), (unsigned long long)value, true);
}

static LLVMValueRef constant_of(LLVMValueRef scalar, LLVMTypeRef type)
{
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind) return scalar;
    LLVMValueRef list[256];
    unsigned n = LLVMGetVectorSize(type);
    COL_ASSERT(n <= COL_COUNT(list));
    for (unsigned i = 0; i < n; i++) list[i] = scalar;
    return LLVMConstVector(list, n);
}

static LLVMTypeRef element_of(LLVMTypeRef type)
{
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

LLVMValueRef col_llvm_float_like(const col_llvm *l, double value, LLVMValueRef like)
{
    (void)l;
    LLVMTypeRef type = LLVMTypeOf(like);
    return constant_of(LLVMConstReal(element_of(type), value), type);
}

LLVMValueRef col_llvm_int_like(const col_llvm *l, int64_t value, LLVMValueRef like)
{
    (void)l;
    LLVMTypeRef type = LLVMTypeOf(like);
    return constant_of(LLVMConstInt(element_of(type), (unsigned long long)value, true), type);
}

LLVMValueRef col_llvm_splat(const col_llvm *l, LLVMValueRef scalar)
{
    if (col_llvm_is_vector(scalar)) return scalar;
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), l->lanes), i32 = LLVMInt32TypeInContext(l->context);
    LLVMValueRef first =
        LLVMBuildInsertElement(l->b, LLVMGetPoison(type), scalar, LLVMConstInt(i32, 0, false), "");
    return LLVMBuildShuffleVector(l->b, first, LLVMGetPoison(type),
                                  LLVMConstNull(LLVMVectorType(i32, l->lanes)), "");
}

LLVMValueRef col_llvm_lanes(const col_llvm *l)
{
    LLVMValueRef list[256];
    COL_ASSERT(l->lanes <= COL_COUNT(list));
    for (unsigned i = 0; i < l->lanes; i++) list[i] = col_llvm_i64(l, i);
    return LLVMConstVector(list, l->lanes);
}

LLVMValueRef col_llvm_intrinsic(const col_llvm *l, const char *name, LLVMTypeRef *overloads,
                                unsigned overload_count, LLVMValueRef *args, unsigned arg_count)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    COL_ASSERT(id);
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(l->module, id, overloads, overload_count);
    LLVMTypeRef type = LLVMIntrinsicGetType(l->context, id, overloads, overload_count);
    return LLVMBuildCall2(l->b, type, function, args, arg_count, "");
}

/* bf16 is the upper half of a float; rounding is to nearest, ties to even, and keeps NaN. */
static LLVMValueRef bf16_bits(const col_llvm *l, LLVMValueRef value)
{
    LLVMTypeRef i32 = col_llvm_widen(LLVMInt32TypeInContext(l->context), value);
    LLVMValueRef bits = LLVMBuildBitCast(l->b, value, i32, "");
    LLVMValueRef odd = LLVMBuildAnd(l->b, LLVMBuildLShr(l->b, bits, col_llvm_int_like(l, 16, bits), ""),
                                    col_llvm_int_like(l, 1, bits), "");
    LLVMValueRef bias = LLVMBuildAdd(l->b, odd, col_llvm_int_like(l, 0x7fff, bits), "");
    LLVMValueRef rounded = LLVMBuildAdd(l->b, bits, bias, "");
    LLVMValueRef quiet = LLVMBuildOr(l->b, bits, col_llvm_int_like(l, 0x400000, bits), "");
    LLVMValueRef is_nan = LLVMBuildFCmp(l->b, LLVMRealUNO, value, value, "");
    return LLVMBuildSelect(l->b, is_nan, quiet, rounded, "");
}

/* f16 without the processor's help. The exponents are moved by a multiplication, which also makes denormals
 * right; infinities and NaN then need theirs back. */
static LLVMValueRef f16_to_f32(const col_llvm *l, LLVMValueRef stored)
{
    LLVMBuilderRef b = l->b;
    LLVMTypeRef f32 = col_llvm_widen(LLVMFloatTypeInContext(l->context), stored);
    LLVMTypeRef i32 = col_llvm_widen(LLVMInt32TypeInContext(l->context), stored);
    LLVMTypeRef i16 = col_llvm_widen(LLVMInt16TypeInContext(l->context), stored);
    LLVMValueRef bits = LLVMBuildZExt(b, LLVMBuildBitCast(b, stored, i16, ""), i32, "");
    LLVMValueRef sign = LLVMBuildShl(b, LLVMBuildAnd(b, bits, col_llvm_int_like(l, 0x8000, bits), ""),
                                     col_llvm_int_like(l, 16, bits), "");
    LLVMValueRef rest = LLVMBuildShl(b, LLVMBuildAnd(b, bits, col_llvm_int_like(l, 0x7fff, bits), ""),
                                     col_llvm_int_like(l, 13, bits), "");
    LLVMValueRef value = LLVMBuildBitCast(b, rest, f32, "");
    value = LLVMBuildFMul(b, value, col_llvm_float_like(l, 0x1p112, value), "");
    LLVMValueRef finite = LLVMBuildBitCast(b, value, i32, "");
    LLVMValueRef special = LLVMBuildOr(b, finite, col_llvm_int_like(l, 0x7f800000, bits), "");
    LLVMValueRef is_special =
        LLVMBuildICmp(b, LLVMIntUGE, rest, col_llvm_int_like(l, 0x7c00 << 13, bits), "");
    LLVMValueRef magnitude = LLVMBuildSelect(b, is_special, special, finite, "");
    return LLVMBuildBitCast(b, LLVMBuildOr(b, magnitude, sign, ""), f32, "");
}

/* To nearest, ties to even: by carrying in the integers for normal results, by adding 1/2, which leaves the
 * last bit where the result's is, for denormal ones. */
static LLVMValueRef f32_to_f16(const col_llvm *l, LLVMValueRef value)
{
    LLVMBuilderRef b = l->b;
    LLVMTypeRef f32 = LLVMTypeOf(value), i32 = col_llvm_widen(LLVMInt32TypeInContext(l->context), value);
    LLVMTypeRef i16 = col_llvm_widen(LLVMInt16TypeInContext(l->context), value);
    LLVMValueRef bits = LLVMBuildBitCast(b, value, i32, "");
    LLVMValueRef size = LLVMBuildAnd(b, bits, col_llvm_int_like(l, 0x7fffffff, bits), "");
    LLVMValueRef sign = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, col_llvm_int_like(l, 16, bits), ""),
                                     col_llvm_int_like(l, 0x8000, bits), "");
    LLVMValueRef upper = LLVMBuildLShr(b, size, col_llvm_int_like(l, 13, bits), "");
    LLVMValueRef odd = LLVMBuildAnd(b, upper, col_llvm_int_like(l, 1, bits), "");
    LLVMValueRef carried = LLVMBuildAdd(b, size, col_llvm_int_like(l, (int32_t)0xc8000fff, bits), "");
    LLVMValueRef normal =
        LLVMBuildLShr(b, LLVMBuildAdd(b, carried, odd, ""), col_llvm_int_like(l, 13, bits), "");
    LLVMValueRef small = LLVMBuildBitCast(b, size, f32, "");
    small = LLVMBuildFAdd(b, small, col_llvm_float_like(l, 0.5, value), "");
    LLVMValueRef denormal =
        LLVMBuildSub(b, LLVMBuildBitCast(b, small, i32, ""), col_llvm_int_like(l, 0x3f000000, bits), "");
    LLVMValueRef nan = LLVMBuildOr(b, LLVMBuildAnd(b, upper, col_llvm_int_like(l, 0x3ff, bits), ""),
                                   col_llvm_int_like(l, 0x7e00, bits), "");
    LLVMValueRef is_nan = LLVMBuildICmp(b, LLVMIntUGT, size, col_llvm_int_like(l, 0x7f800000, bits), "");
    LLVMValueRef is_large = LLVMBuildICmp(b, LLVMIntUGE, size, col_llvm_int_like(l, 0x47800000, bits), "");
    LLVMValueRef is_small = LLVMBuildICmp(b, LLVMIntULT, size, col_llvm_int_like(l, 0x38800000, bits), "");
    LLVMValueRef special = LLVMBuildSelect(b, is_nan, nan, col_llvm_int_like(l, 0x7c00, bits), "");
    LLVMValueRef finite = LLVMBuildSelect(b, is_small, denormal, normal, "");
    LLVMValueRef half = LLVMBuildOr(b, LLVMBuildSelect(b, is_large, special, finite, ""), sign, "");
    return LLVMBuildBitCast(b, LLVMBuildTrunc(b, half, i16, ""),
                            col_llvm_widen(LLVMHalfTypeInContext(l->context), value), "");
}

LLVMValueRef col_llvm_unpack(const col_llvm *l, col_dtype dtype, LLVMValueRef stored)
{
    LLVMTypeRef f32 = col_llvm_widen(LLVMFloatTypeInContext(l->context), stored);
    switch (dtype) {
    case COL_F16: return l->is_baseline ? f16_to_f32(l, stored) : LLVMBuildFPExt(l->b, stored, f32, "");
    case COL_BF16: {
        LLVMTypeRef i32 = col_llvm_widen(LLVMInt32TypeInContext(l->context), stored);
        LLVMValueRef wide = LLVMBuildZExt(l->b, stored, i32, "");
        return LLVMBuildBitCast(l->b, LLVMBuildShl(l->b, wide, col_llvm_int_like(l, 16, wide), ""), f32, "");
    }
    case COL_BOOL: return LLVMBuildICmp(l->b, LLVMIntNE, stored, col_llvm_int_like(l, 0, stored), "");
    default: return stored;
    }
}

LLVMValueRef col_llvm_pack(const col_llvm *l, col_dtype dtype, LLVMValueRef value)
{
    switch (dtype) {
    case COL_F16:
        if (l->is_baseline) return f32_to_f16(l, value);
        return LLVMBuildFPTrunc(l->b, value, col_llvm_widen(LLVMHalfTypeInContext(l->context), value), "");
    case COL_BF16: {
        if (l->is_gpu) {
            LLVMTypeRef bf16 = col_llvm_widen(LLVMBFloatTypeInContext(l->context), value);
            LLVMTypeRef i16 = col_llvm_widen(LLVMInt16TypeInContext(l->context), value);
            return LLVMBuildBitCast(l->b, LLVMBuildFPTrunc(l->b, value, bf16, ""), i16, "");
        }
        LLVMValueRef bits = bf16_bits(l, value);
        LLVMValueRef upper = LLVMBuildLShr(l->b, bits, col_llvm_int_like(l, 16, bits), "");
        return LLVMBuildTrunc(l->b, upper, col_llvm_widen(LLVMInt16TypeInContext(l->context), value), "");
    }
    case COL_BOOL:
        return LLVMBuildZExt(l->b, value, col_llvm_widen(LLVMInt8TypeInContext(l->context), value), "");
    default: return value;
    }
}

LLVMValueRef col_llvm_round(const col_llvm *l, col_dtype dtype, LLVMValueRef value)
{
    if (dtype != COL_F16 && dtype != COL_BF16) return value;
    return col_llvm_unpack(l, dtype, col_llvm_pack(l, dtype, value));
}
