/* The table from elementwise ops to LLVM instructions. */
#include "codegen/llvm.h"

#include <math.h>

typedef struct operands {
    col_llvm *l;
    col_dtype dtype, result;
    LLVMValueRef x, y, z;
} operands;

static bool is_float(const operands *o)
{
    return col_dtype_is_float(o->dtype);
}

static bool is_f64(const operands *o)
{
    return o->dtype == COL_F64;
}

static LLVMValueRef one(const operands *o)
{
    return col_llvm_float_like(o->l, 1, o->x);
}

static LLVMValueRef call(operands *o, const char *intrinsic)
{
    LLVMTypeRef type = LLVMTypeOf(o->x);
    return col_llvm_intrinsic(o->l, intrinsic, &type, 1, &o->x, 1);
}

/* An intrinsic that becomes a call of the mathematical library. */
static LLVMValueRef library_call(operands *o, const char *intrinsic)
{
    o->l->needs_libm = true;
    return call(o, intrinsic);
}

/* A function of libm that has no intrinsic: element by element. */
static LLVMValueRef libm_call(operands *o, const char *name)
{
    col_llvm *l = o->l;
    l->needs_libm = true;
    LLVMTypeRef f64 = LLVMDoubleTypeInContext(l->context), type = LLVMFunctionType(f64, &f64, 1, false);
    LLVMValueRef function = LLVMGetNamedFunction(l->module, name);
    if (!function) function = LLVMAddFunction(l->module, name, type);
    if (!col_llvm_is_vector(o->x)) return LLVMBuildCall2(l->b, type, function, &o->x, 1, "");
    LLVMValueRef result = LLVMGetPoison(LLVMTypeOf(o->x));
    for (unsigned i = 0; i < LLVMGetVectorSize(LLVMTypeOf(o->x)); i++) {
        LLVMValueRef at = LLVMConstInt(LLVMInt32TypeInContext(l->context), i, false);
        LLVMValueRef x = LLVMBuildExtractElement(l->b, o->x, at, "");
        result =
            LLVMBuildInsertElement(l->b, result, LLVMBuildCall2(l->b, type, function, &x, 1, ""), at, "");
    }
    return result;
}

static LLVMValueRef emit_copy(operands *o)
{
    return o->x;
}

static LLVMValueRef emit_neg(operands *o)
{
    return is_float(o) ? LLVMBuildFNeg(o->l->b, o->x, "") : LLVMBuildNeg(o->l->b, o->x, "");
}

static LLVMValueRef emit_abs(operands *o)
{
    return call(o, "llvm.fabs");
}

static LLVMValueRef emit_sign(operands *o)
{
    LLVMBuilderRef b = o->l->b;
    LLVMValueRef zero = col_llvm_float_like(o->l, 0, o->x);
    LLVMValueRef below = LLVMBuildFCmp(b, LLVMRealOLT, o->x, zero, ""),
                 above = LLVMBuildFCmp(b, LLVMRealOGT, o->x, zero, "");
    LLVMValueRef rest =
        LLVMBuildSelect(b, below, col_llvm_float_like(o->l, -1, o->x), o->x, ""); /* 0 and NaN stay */
    return LLVMBuildSelect(b, above, one(o), rest, "");
}

static LLVMValueRef emit_exp(operands *o)
{
    return is_f64(o) ? library_call(o, "llvm.exp") : col_llvm_exp(o->l, o->x);
}

static LLVMValueRef emit_log(operands *o)
{
    return is_f64(o) ? library_call(o, "llvm.log") : col_llvm_log(o->l, o->x);
}

static LLVMValueRef emit_sqrt(operands *o)
{
    return call(o, "llvm.sqrt");
}

static LLVMValueRef emit_rsqrt(operands *o)
{
    return LLVMBuildFDiv(o->l->b, one(o), call(o, "llvm.sqrt"), "");
}

static LLVMValueRef emit_reciprocal(operands *o)
{
    return LLVMBuildFDiv(o->l->b, one(o), o->x, "");
}

static LLVMValueRef emit_tanh(operands *o)
{
    return is_f64(o) ? libm_call(o, "tanh") : col_llvm_tanh(o->l, o->x);
}

static LLVMValueRef emit_erf(operands *o)
{
    return is_f64(o) ? libm_call(o, "erf") : col_llvm_erf(o->l, o->x);
}

static LLVMValueRef emit_sin(operands *o)
{
    return o->l->is_gpu ? col_llvm_sin(o->l, o->x) : library_call(o, "llvm.sin");
}

static LLVMValueRef emit_cos(operands *o)
{
    return o->l->is_gpu ? col_llvm_cos(o->l, o->x) : library_call(o, "llvm.cos");
}

static LLVMValueRef emit_floor(operands *o)
{
    return col_llvm_floor(o->l, o->x);
}

static LLVMValueRef emit_not(operands *o)
{
    return LLVMBuildNot(o->l->b, o->x, "");
}

/* Float to integer truncates and saturates, NaN gives 0; everything to bool asks for non-zero. */
static LLVMValueRef emit_cast(operands *o)
{
    col_llvm *l = o->l;
    LLVMTypeRef to = col_llvm_widen(col_llvm_register(l, o->result), o->x), from = LLVMTypeOf(o->x);
    bool to_float = col_dtype_is_float(o->result), is_signed = !col_dtype_is_unsigned(o->dtype);
    if (o->dtype == o->result) return o->x;
    if (o->result == COL_BOOL) {
        if (is_float(o)) return LLVMBuildFCmp(l->b, LLVMRealUNE, o->x, col_llvm_float_like(l, 0, o->x), "");
        return LLVMBuildICmp(l->b, LLVMIntNE, o->x, col_llvm_int_like(l, 0, o->x), "");
    }
    if (is_float(o) && to_float) return col_llvm_round(l, o->result, LLVMBuildFPCast(l->b, o->x, to, ""));
    if (to_float) {
        LLVMValueRef wide =
            is_signed ? LLVMBuildSIToFP(l->b, o->x, to, "") : LLVMBuildUIToFP(l->b, o->x, to, "");
        return col_llvm_round(l, o->result, wide);
    }
    if (is_float(o)) {
        const char *convert = col_dtype_is_unsigned(o->result) ? "llvm.fptoui.sat" : "llvm.fptosi.sat";
        return col_llvm_intrinsic(l, convert, (LLVMTypeRef[]){to, from}, 2, &o->x, 1);
    }
    return LLVMBuildIntCast2(l->b, o->x, to, is_signed, "");
}

#define ARITHMETIC(name, FloatOp, IntOp)                                                                     \
    static LLVMValueRef emit_##name(operands *o)                                                             \
    {                                                                                                        \
        if (is_float(o)) return LLVMBuild##FloatOp(o->l->b, o->x, o->y, "");                                 \
        return LLVMBuild##IntOp(o->l->b, o->x, o->y, "");                                                    \
    }
ARITHMETIC(add, FAdd, Add)
ARITHMETIC(sub, FSub, Sub)
ARITHMETIC(mul, FMul, Mul)
ARITHMETIC(div, FDiv, SDiv)

static LLVMValueRef emit_pow(operands *o)
{
    o->l->needs_libm = true;
    LLVMTypeRef type = LLVMTypeOf(o->x);
    return col_llvm_intrinsic(o->l, "llvm.pow", &type, 1, (LLVMValueRef[]){o->x, o->y}, 2);
}

static LLVMValueRef compare(operands *o, LLVMRealPredicate real, LLVMIntPredicate signed_int,
                            LLVMIntPredicate unsigned_int)
{
    if (is_float(o)) return LLVMBuildFCmp(o->l->b, real, o->x, o->y, "");
    bool is_unsigned = col_dtype_is_unsigned(o->dtype);
    return LLVMBuildICmp(o->l->b, is_unsigned ? unsigned_int : signed_int, o->x, o->y, "");
}

/* NaN in either operand gives NaN, as NumPy's and PyTorch's maximum do. */
static LLVMValueRef emit_maximum(operands *o)
{
    LLVMValueRef first = compare(o, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT);
    if (is_float(o))
        first = LLVMBuildOr(o->l->b, first, LLVMBuildFCmp(o->l->b, LLVMRealUNO, o->x, o->x, ""), "");
    return LLVMBuildSelect(o->l->b, first, o->x, o->y, "");
}

static LLVMValueRef emit_minimum(operands *o)
{
    LLVMValueRef first = compare(o, LLVMRealOLT, LLVMIntSLT, LLVMIntULT);
    if (is_float(o))
        first = LLVMBuildOr(o->l->b, first, LLVMBuildFCmp(o->l->b, LLVMRealUNO, o->x, o->x, ""), "");
    return LLVMBuildSelect(o->l->b, first, o->x, o->y, "");
}

static LLVMValueRef emit_eq(operands *o)
{
    return compare(o, LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ);
}

static LLVMValueRef emit_ne(operands *o)
{
    return compare(o, LLVMRealUNE, LLVMIntNE, LLVMIntNE);
}

static LLVMValueRef emit_lt(operands *o)
{
    return compare(o, LLVMRealOLT, LLVMIntSLT, LLVMIntULT);
}

static LLVMValueRef emit_le(operands *o)
{
    return compare(o, LLVMRealOLE, LLVMIntSLE, LLVMIntULE);
}

static LLVMValueRef emit_gt(operands *o)
{
    return compare(o, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT);
}

static LLVMValueRef emit_ge(operands *o)
{
    return compare(o, LLVMRealOGE, LLVMIntSGE, LLVMIntUGE);
}

static LLVMValueRef emit_and(operands *o)
{
    return LLVMBuildAnd(o->l->b, o->x, o->y, "");
}

static LLVMValueRef emit_or(operands *o)
{
    return LLVMBuildOr(o->l->b, o->x, o->y, "");
}

static LLVMValueRef emit_where(operands *o)
{
    return LLVMBuildSelect(o->l->b, o->x, o->y, o->z, "");
}

static LLVMValueRef (*const emitters[COL_OP_COUNT])(operands *o) = {
    [COL_OP_COPY] = emit_copy,       [COL_OP_NEG] = emit_neg,         [COL_OP_ABS] = emit_abs,
    [COL_OP_SIGN] = emit_sign,       [COL_OP_EXP] = emit_exp,         [COL_OP_LOG] = emit_log,
    [COL_OP_SQRT] = emit_sqrt,       [COL_OP_RSQRT] = emit_rsqrt,     [COL_OP_RECIPROCAL] = emit_reciprocal,
    [COL_OP_TANH] = emit_tanh,       [COL_OP_ERF] = emit_erf,         [COL_OP_SIN] = emit_sin,
    [COL_OP_COS] = emit_cos,         [COL_OP_FLOOR] = emit_floor,     [COL_OP_NOT] = emit_not,
    [COL_OP_CAST] = emit_cast,       [COL_OP_ADD] = emit_add,         [COL_OP_SUB] = emit_sub,
    [COL_OP_MUL] = emit_mul,         [COL_OP_DIV] = emit_div,         [COL_OP_POW] = emit_pow,
    [COL_OP_MAXIMUM] = emit_maximum, [COL_OP_MINIMUM] = emit_minimum, [COL_OP_EQ] = emit_eq,
    [COL_OP_NE] = emit_ne,           [COL_OP_LT] = emit_lt,           [COL_OP_LE] = emit_le,
    [COL_OP_GT] = emit_gt,           [COL_OP_GE] = emit_ge,           [COL_OP_AND] = emit_and,
    [COL_OP_OR] = emit_or,           [COL_OP_WHERE] = emit_where,
};

/* Products and sums of different nodes are not contracted into fused multiply-adds: a value would depend on
 * the kernel that it is computed in, and be another where the backward pass computes it again. */
LLVMValueRef col_llvm_compute(col_llvm *l, col_op op, col_dtype dtype, col_dtype result, LLVMValueRef *values)
{
    operands o = {l, dtype, result, values[0], values[1], values[2]};
    if (!emitters[op]) COL_PANIC("no code for the elementwise op '%s'", col_op_info_of(op)->name);
    return emitters[op](&o);
}

LLVMValueRef col_llvm_combine(const col_llvm *l, col_op op, col_dtype dtype, LLVMValueRef a, LLVMValueRef b)
{
    bool real = col_dtype_is_float(dtype);
    if (op == COL_OP_SUM) return real ? LLVMBuildFAdd(l->b, a, b, "") : LLVMBuildAdd(l->b, a, b, "");
    bool is_max = op == COL_OP_MAX, is_unsigned = col_dtype_is_unsigned(dtype);
    LLVMIntPredicate greater = is_unsigned ? LLVMIntUGT : LLVMIntSGT,
                     less = is_unsigned ? LLVMIntULT : LLVMIntSLT;
    LLVMValueRef first = real ? LLVMBuildFCmp(l->b, is_max ? LLVMRealOGT : LLVMRealOLT, a, b, "")
                              : LLVMBuildICmp(l->b, is_max ? greater : less, a, b, "");
    return LLVMBuildSelect(l->b, first, a, b, "");
}

LLVMValueRef col_llvm_neutral(const col_llvm *l, col_op op, col_dtype dtype, LLVMTypeRef type)
{
    LLVMValueRef like = LLVMGetUndef(type);
    if (col_dtype_is_float(dtype)) {
        return col_llvm_float_like(l, op == COL_OP_SUM ? 0 : op == COL_OP_MAX ? -INFINITY : INFINITY, like);
    }
    int64_t bits = (int64_t)col_dtype_size(dtype) * 8;
    bool is_unsigned = col_dtype_is_unsigned(dtype);
    int64_t most = is_unsigned ? -1 : (int64_t)(UINT64_MAX >> 1) >> (64 - bits);
    int64_t least = is_unsigned ? 0 : -most - 1;
    return col_llvm_int_like(l, op == COL_OP_SUM ? 0 : op == COL_OP_MAX ? least : most, like);
}
