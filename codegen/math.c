/* Elementary functions in f32 as straight-line vector code, so that loops over lanes need no calls. Each is
 * within 2 ulp of the correctly rounded result (tests/unit/test_math.c measures it), and treats infinities,
 * NaN and denormals as C's functions do.
 *
 * Polynomials: exp and log from S. Moshier's Cephes (single precision); tanh likewise; erf a minimax fit on
 * two intervals, the outer one as 1 - e^p(|x|). */
#include "codegen/llvm.h"

#include <math.h>

static LLVMValueRef number(const col_llvm *l, double value, LLVMValueRef like)
{
    return col_llvm_float_like(l, value, like);
}

static LLVMValueRef add(const col_llvm *l, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildFAdd(l->b, a, b, "");
}

static LLVMValueRef sub(const col_llvm *l, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildFSub(l->b, a, b, "");
}

static LLVMValueRef mul(const col_llvm *l, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildFMul(l->b, a, b, "");
}

/* a b + c, fused where the processor can. */
static LLVMValueRef fma3(const col_llvm *l, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    return col_llvm_intrinsic(l, "llvm.fmuladd", &type, 1, (LLVMValueRef[]){a, b, c}, 3);
}

static LLVMValueRef absolute(const col_llvm *l, LLVMValueRef x)
{
    LLVMTypeRef type = LLVMTypeOf(x);
    return col_llvm_intrinsic(l, "llvm.fabs", &type, 1, &x, 1);
}

static LLVMValueRef copysign_of(const col_llvm *l, LLVMValueRef magnitude, LLVMValueRef sign)
{
    LLVMTypeRef type = LLVMTypeOf(magnitude);
    return col_llvm_intrinsic(l, "llvm.copysign", &type, 1, (LLVMValueRef[]){magnitude, sign}, 2);
}

/* Horner's rule, highest coefficient first. */
static LLVMValueRef polynomial(const col_llvm *l, LLVMValueRef x, const double *coefficients, size_t count)
{
    LLVMValueRef p = number(l, coefficients[0], x);
    for (size_t i = 1; i < count; i++) p = fma3(l, p, x, number(l, coefficients[i], x));
    return p;
}

static LLVMTypeRef ints(const col_llvm *l, LLVMValueRef like)
{
    return col_llvm_widen(LLVMInt32TypeInContext(l->context), like);
}

static LLVMValueRef choose(const col_llvm *l, LLVMRealPredicate predicate, LLVMValueRef x, double bound,
                           LLVMValueRef yes, LLVMValueRef no)
{
    return LLVMBuildSelect(l->b, LLVMBuildFCmp(l->b, predicate, x, number(l, bound, x), ""), yes, no, "");
}

/* 2^n as a float for -126 <= n <= 127. */
static LLVMValueRef power_of_two(const col_llvm *l, LLVMValueRef n, LLVMTypeRef type)
{
    LLVMValueRef biased = LLVMBuildAdd(l->b, n, col_llvm_int_like(l, 127, n), "");
    return LLVMBuildBitCast(l->b, LLVMBuildShl(l->b, biased, col_llvm_int_like(l, 23, n), ""), type, "");
}

/* Lanes first, first + step, ... of one vector, or of two joined. */
static LLVMValueRef lanes_of(const col_llvm *l, LLVMValueRef a, LLVMValueRef b, unsigned first, unsigned step,
                             unsigned count)
{
    LLVMValueRef indices[256];
    COL_ASSERT(count <= COL_COUNT(indices));
    for (unsigned i = 0; i < count; i++)
        indices[i] = LLVMConstInt(LLVMInt32TypeInContext(l->context), first + i * step, false);
    return LLVMBuildShuffleVector(l->b, a, b, LLVMConstVector(indices, count), "");
}

/* x 2^n for whole n; vectors of 16 lanes or a power of two times that. */
static LLVMValueRef scalef(const col_llvm *l, LLVMValueRef x, LLVMValueRef n)
{
    unsigned lanes = LLVMGetVectorSize(LLVMTypeOf(x));
    if (lanes == 16) {
        LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context), i16 = LLVMInt16TypeInContext(l->context);
        LLVMValueRef all = LLVMConstAllOnes(i16),
                     rounding = LLVMConstInt(i32, 4, false); /* the present one */
        return col_llvm_intrinsic(l, "llvm.x86.avx512.mask.scalef.ps.512", NULL, 0,
                                  (LLVMValueRef[]){x, n, x, all, rounding}, 5);
    }
    LLVMValueRef half[2], none = LLVMGetPoison(LLVMTypeOf(x));
    for (unsigned i = 0; i < 2; i++) {
        half[i] = scalef(l, lanes_of(l, x, none, i * lanes / 2, 1, lanes / 2),
                         lanes_of(l, n, none, i * lanes / 2, 1, lanes / 2));
    }
    return lanes_of(l, half[0], half[1], 0, 1, lanes);
}

/* A GPU's own function, within 2^-22 relative, lane by lane. */
static LLVMValueRef approximate(const col_llvm *l, const char *name, LLVMValueRef x)
{
    if (!col_llvm_is_vector(x)) return col_llvm_intrinsic(l, name, NULL, 0, &x, 1);
    LLVMValueRef all = LLVMGetPoison(LLVMTypeOf(x));
    for (unsigned i = 0; i < LLVMGetVectorSize(LLVMTypeOf(x)); i++) {
        LLVMValueRef at = LLVMConstInt(LLVMInt32TypeInContext(l->context), i, false);
        LLVMValueRef one = LLVMBuildExtractElement(l->b, x, at, "");
        one = col_llvm_intrinsic(l, name, NULL, 0, &one, 1);
        all = LLVMBuildInsertElement(l->b, all, one, at, "");
    }
    return all;
}

/* e^x = 2^y (1 + z ln2) for x log2(e) = y + z with y rounded: the processor's 2^y takes every y. What is below the
 * smallest normal number becomes 0. */
static LLVMValueRef exp_of_gpu(const col_llvm *l, LLVMValueRef x)
{
    LLVMTypeRef type = LLVMTypeOf(x);
    /* Both keep a NaN. */
    x = col_llvm_intrinsic(l, "llvm.minimum", &type, 1, (LLVMValueRef[]){x, number(l, 89.0, x)}, 2);
    x = col_llvm_intrinsic(l, "llvm.maximum", &type, 1, (LLVMValueRef[]){x, number(l, -104.0, x)}, 2);
    LLVMValueRef upper = number(l, 0x1.715476p+0, x), lower = number(l, 0x1.4ae0cp-26, x); /* of log2(e) */
    LLVMValueRef y = mul(l, x, upper);
    LLVMValueRef parts[] = {x, upper, LLVMBuildFNeg(l->b, y, "")};
    LLVMValueRef z = col_llvm_intrinsic(l, "llvm.fma", &type, 1, parts, 3);
    z = fma3(l, x, lower, z);
    LLVMValueRef correction = fma3(l, z, number(l, 0.693147180559945309, x), number(l, 1, x));
    return mul(l, approximate(l, "llvm.nvvm.ex2.approx.ftz.f", y), correction);
}

/* e^x = 2^n e^r with |r| <= ln2 / 2. Adding 1.5 * 2^23 rounds to an integer that then stands in the low bits,
 * for NaN too, where a conversion would be undefined. Without scalef, 2^n is applied in two halves so that
 * results down to the smallest denormal and up to infinity come out. */
LLVMValueRef col_llvm_exp(const col_llvm *l, LLVMValueRef x)
{
    static const double c[] = {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
                               4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1};
    LLVMTypeRef type = LLVMTypeOf(x);
    const double magic = 12582912.0;
    if (l->is_gpu) return exp_of_gpu(l, x);
    x = choose(l, LLVMRealOGT, x, 89.0, number(l, 89.0, x), x);
    x = choose(l, LLVMRealOLT, x, -104.0, number(l, -104.0, x), x);
    LLVMValueRef shifted = fma3(l, x, number(l, 1.44269504088896341, x), number(l, magic, x));
    LLVMValueRef n = sub(l, shifted, number(l, magic, x));
    LLVMValueRef r = fma3(l, n, number(l, -0.693359375, x), x);
    r = fma3(l, n, number(l, 2.12194440e-4, x), r);
    LLVMValueRef p = polynomial(l, r, c, COL_COUNT(c));
    p = add(l, fma3(l, p, mul(l, r, r), r), number(l, 1, x));
    if (l->has_scalef && col_llvm_is_vector(x) && LLVMGetVectorSize(type) % 16 == 0) return scalef(l, p, n);
    LLVMValueRef bits = LLVMBuildBitCast(l->b, shifted, ints(l, x), "");
    LLVMValueRef whole = LLVMBuildSub(l->b, bits, col_llvm_int_like(l, 0x4B400000, bits), "");
    LLVMValueRef half = LLVMBuildAShr(l->b, whole, col_llvm_int_like(l, 1, whole), "");
    LLVMValueRef rest = LLVMBuildSub(l->b, whole, half, "");
    return mul(l, mul(l, p, power_of_two(l, half, type)), power_of_two(l, rest, type));
}

/* ln x = e ln2 + ln m with m in [sqrt(1/2), sqrt(2)). */
LLVMValueRef col_llvm_log(const col_llvm *l, LLVMValueRef x)
{
    static const double c[] = {7.0376836292e-2,  -1.1514610310e-1, 1.1676998740e-1,
                               -1.2420140846e-1, 1.4249322787e-1,  -1.6668057665e-1,
                               2.0000714765e-1,  -2.4999993993e-1, 3.3333331174e-1};
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef tiny = LLVMBuildFCmp(l->b, LLVMRealOLT, x, number(l, 0x1p-126, x), "");
    LLVMValueRef scaled = LLVMBuildSelect(l->b, tiny, mul(l, x, number(l, 0x1p25, x)), x, "");
    LLVMValueRef bits = LLVMBuildBitCast(l->b, scaled, ints(l, x), "");
    /* Subtracting the bits of sqrt(1/2) puts the cut between exponents there. */
    LLVMValueRef from_root = LLVMBuildSub(l->b, bits, col_llvm_int_like(l, 0x3f3504f3, bits), "");
    LLVMValueRef e = LLVMBuildAShr(l->b, from_root, col_llvm_int_like(l, 23, bits), "");
    LLVMValueRef m_bits =
        LLVMBuildSub(l->b, bits, LLVMBuildShl(l->b, e, col_llvm_int_like(l, 23, bits), ""), "");
    LLVMValueRef f = sub(l, LLVMBuildBitCast(l->b, m_bits, type, ""), number(l, 1, x));
    LLVMValueRef exponent = LLVMBuildSIToFP(l->b, e, type, "");
    exponent = sub(l, exponent, LLVMBuildSelect(l->b, tiny, number(l, 25, x), number(l, 0, x), ""));
    LLVMValueRef square = mul(l, f, f);
    LLVMValueRef y = mul(l, mul(l, polynomial(l, f, c, COL_COUNT(c)), f), square);
    y = fma3(l, exponent, number(l, -2.12194440e-4, x), y);
    y = fma3(l, square, number(l, -0.5, x), y);
    LLVMValueRef result = fma3(l, exponent, number(l, 0.693359375, x), add(l, f, y));
    result = choose(l, LLVMRealOEQ, x, INFINITY, x, result);
    result = choose(l, LLVMRealOEQ, x, 0, number(l, -INFINITY, x), result);
    return choose(l, LLVMRealUGE, x, 0,
                  LLVMBuildSelect(l->b, LLVMBuildFCmp(l->b, LLVMRealUNO, x, x, ""), x, result, ""),
                  number(l, NAN, x));
}

/* An odd polynomial near zero, 1 - 2 / (e^2|x| + 1) elsewhere, where an error of the power hardly shows: a GPU's is its own
 * 2^y, of y rounded. */
LLVMValueRef col_llvm_tanh(const col_llvm *l, LLVMValueRef x)
{
    static const double c[] = {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
                               -3.33332819422e-1};
    LLVMValueRef size = absolute(l, x), square = mul(l, x, x);
    LLVMValueRef near = fma3(l, mul(l, polynomial(l, square, c, COL_COUNT(c)), square), x, x);
    LLVMValueRef power = l->is_gpu ? approximate(l, "llvm.nvvm.ex2.approx.ftz.f",
                                                 mul(l, size, number(l, 2.885390081777927, x)))
                                   : col_llvm_exp(l, add(l, size, size));
    LLVMValueRef below = add(l, power, number(l, 1, x));
    LLVMValueRef quotient = l->is_gpu
                                ? mul(l, number(l, 2, x), approximate(l, "llvm.nvvm.rcp.approx.ftz.f", below))
                                : LLVMBuildFDiv(l->b, number(l, 2, x), below, "");
    LLVMValueRef far = copysign_of(l, sub(l, number(l, 1, x), quotient), x);
    return choose(l, LLVMRealOLT, size, 0.625, near, far);
}

LLVMValueRef col_llvm_erf(const col_llvm *l, LLVMValueRef x)
{
    static const double inner[] = {-5.96761703e-4, 4.99119423e-3,  -2.67681349e-2,
                                   1.12819925e-1,  -3.76125336e-1, 1.28379166e-1};
    static const double high[] = {-1.72853470e-5, 3.83197126e-4}, low[] = {-3.88396438e-3, 2.42546219e-2};
    static const double outer[] = {-1.06777877e-1, -6.34846687e-1, -1.28717512e-1};
    LLVMValueRef t = absolute(l, x), s = mul(l, x, x);
    LLVMValueRef near = fma3(l, polynomial(l, s, inner, COL_COUNT(inner)), x, x);
    LLVMValueRef r =
        fma3(l, polynomial(l, t, high, COL_COUNT(high)), s, polynomial(l, t, low, COL_COUNT(low)));
    for (size_t i = 0; i < COL_COUNT(outer); i++) r = fma3(l, r, t, number(l, outer[i], x));
    r = fma3(l, r, t, LLVMBuildFNeg(l->b, t, ""));
    r = choose(l, LLVMRealOGT, t, 10, number(l, -100, x), r);
    LLVMValueRef far = copysign_of(l, sub(l, number(l, 1, x), col_llvm_exp(l, r)), x);
    return choose(l, LLVMRealOGT, t, 0.927734375, far, near);
}

/* x = n pi/2 + r, |r| <= pi/4, in f64: pi/2 is two doubles, and fused products make the difference exact. */
static LLVMValueRef quarter_turns(const col_llvm *l, LLVMValueRef x, LLVMValueRef *out_n)
{
    LLVMTypeRef f64 = col_llvm_widen(LLVMDoubleTypeInContext(l->context), x);
    LLVMTypeRef i64 = col_llvm_widen(LLVMInt64TypeInContext(l->context), x);
    LLVMValueRef wide = LLVMBuildFPExt(l->b, x, f64, "");
    LLVMValueRef turns = mul(l, wide, number(l, M_2_PI, wide));
    turns = col_llvm_intrinsic(l, "llvm.rint", &f64, 1, &turns, 1);
    LLVMValueRef negative = LLVMBuildFNeg(l->b, turns, "");
    LLVMValueRef r = fma3(l, negative, number(l, 0x1.921fb54442d18p+0, wide), wide);
    r = fma3(l, negative, number(l, 0x1.1a62633145c07p-54, wide), r);
    *out_n = col_llvm_intrinsic(l, "llvm.fptosi.sat", (LLVMTypeRef[]){i64, f64}, 2, &turns, 1);
    return r;
}

/* sin(x + shift pi/2), Taylor's series up to r^11 and r^12: below 1e-9 on [-pi/4, pi/4]. */
static LLVMValueRef shifted_sine(const col_llvm *l, LLVMValueRef x, int64_t shift)
{
    static const double s[] = {-1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6};
    static const double c[] = {1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5};
    LLVMValueRef n, r = quarter_turns(l, x, &n), square = mul(l, r, r);
    LLVMValueRef sine = fma3(l, mul(l, polynomial(l, square, s, COL_COUNT(s)), square), r, r);
    LLVMValueRef cosine = fma3(l, polynomial(l, square, c, COL_COUNT(c)), square, number(l, 1, r));
    n = LLVMBuildAdd(l->b, n, col_llvm_int_like(l, shift, n), "");
    LLVMValueRef zero = col_llvm_int_like(l, 0, n);
    LLVMValueRef odd = LLVMBuildAnd(l->b, n, col_llvm_int_like(l, 1, n), "");
    LLVMValueRef half = LLVMBuildAnd(l->b, n, col_llvm_int_like(l, 2, n), "");
    LLVMValueRef y = LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntNE, odd, zero, ""), cosine, sine, "");
    y = LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntNE, half, zero, ""), LLVMBuildFNeg(l->b, y, ""), y,
                        "");
    return LLVMBuildFPTrunc(l->b, y, LLVMTypeOf(x), "");
}

LLVMValueRef col_llvm_sin(const col_llvm *l, LLVMValueRef x)
{
    return shifted_sine(l, x, 0);
}

LLVMValueRef col_llvm_cos(const col_llvm *l, LLVMValueRef x)
{
    return shifted_sine(l, x, 1);
}

/* Below 2^23 (f64: 2^52) by way of an integer; all larger numbers are whole. */
LLVMValueRef col_llvm_floor(const col_llvm *l, LLVMValueRef x)
{
    LLVMTypeRef type = LLVMTypeOf(x), element = type;
    if (!l->is_baseline) return col_llvm_intrinsic(l, "llvm.floor", &type, 1, &x, 1);
    if (col_llvm_is_vector(x)) element = LLVMGetElementType(type);
    bool is_f64 = LLVMGetTypeKind(element) == LLVMDoubleTypeKind;
    LLVMTypeRef whole = is_f64 ? LLVMInt64TypeInContext(l->context) : LLVMInt32TypeInContext(l->context);
    LLVMValueRef cut = LLVMBuildFPToSI(l->b, x, col_llvm_widen(whole, x), "");
    LLVMValueRef back = LLVMBuildSIToFP(l->b, cut, type, "");
    LLVMValueRef above = LLVMBuildFCmp(l->b, LLVMRealOGT, back, x, "");
    LLVMValueRef floor = LLVMBuildSelect(l->b, above, sub(l, back, number(l, 1, x)), back, "");
    return choose(l, LLVMRealOLT, absolute(l, x), is_f64 ? 0x1p52 : 0x1p23, copysign_of(l, floor, x), x);
}

/* Philox. */

/* 32-bit words stand in i64 lanes, whose products then are whole. */
static LLVMValueRef low_word(const col_llvm *l, LLVMValueRef wide)
{
    return LLVMBuildAnd(l->b, wide, col_llvm_int_like(l, 0xffffffff, wide), "");
}

static LLVMValueRef high_word(const col_llvm *l, LLVMValueRef wide)
{
    return LLVMBuildLShr(l->b, wide, col_llvm_int_like(l, 32, wide), "");
}

/* The four words of blocks, as ir/base/philox.h defines them; operands are i64 of equal width. */
static void philox(const col_llvm *l, LLVMValueRef seed, LLVMValueRef step, uint32_t salt, LLVMValueRef block,
                   LLVMValueRef words[4])
{
    LLVMBuilderRef b = l->b;
    LLVMValueRef c[4] = {low_word(l, block), high_word(l, block), col_llvm_int_like(l, salt, block),
                         low_word(l, step)};
    LLVMValueRef key0 = low_word(l, seed), key1 = high_word(l, seed);
    for (int round = 0; round < 10; round++) {
        LLVMValueRef p0 = LLVMBuildMul(b, c[0], col_llvm_int_like(l, 0xD2511F53, block), "");
        LLVMValueRef p1 = LLVMBuildMul(b, c[2], col_llvm_int_like(l, 0xCD9E8D57, block), "");
        c[0] = LLVMBuildXor(b, LLVMBuildXor(b, high_word(l, p1), c[1], ""), key0, "");
        c[1] = low_word(l, p1);
        c[2] = LLVMBuildXor(b, LLVMBuildXor(b, high_word(l, p0), c[3], ""), key1, "");
        c[3] = low_word(l, p0);
        key0 = low_word(l, LLVMBuildAdd(b, key0, col_llvm_int_like(l, 0x9E3779B9, key0), ""));
        key1 = low_word(l, LLVMBuildAdd(b, key1, col_llvm_int_like(l, 0xBB67AE85, key1), ""));
    }
    LLVMTypeRef word = col_llvm_widen(LLVMInt32TypeInContext(l->context), block);
    for (int i = 0; i < 4; i++) words[i] = LLVMBuildTrunc(b, c[i], word, "");
}

static LLVMValueRef uniform_of(const col_llvm *l, LLVMValueRef word)
{
    /* 24 bits: signed conversion is exact, and there is an instruction for it everywhere. */
    LLVMValueRef bits = LLVMBuildLShr(l->b, word, col_llvm_int_like(l, 8, word), "");
    LLVMTypeRef type = col_llvm_widen(LLVMFloatTypeInContext(l->context), bits);
    LLVMValueRef uniform = LLVMBuildSIToFP(l->b, bits, type, "");
    return mul(l, uniform, number(l, 0x1p-24, uniform));
}

LLVMValueRef col_llvm_uniform(const col_llvm *l, LLVMValueRef seed, LLVMValueRef step, uint32_t salt,
                              LLVMValueRef element)
{
    LLVMBuilderRef b = l->b;
    LLVMValueRef words[4];
    philox(l, seed, step, salt, LLVMBuildLShr(b, element, col_llvm_int_like(l, 2, element), ""), words);
    LLVMValueRef lane = LLVMBuildTrunc(b, LLVMBuildAnd(b, element, col_llvm_int_like(l, 3, element), ""),
                                       ints(l, element), "");
    LLVMValueRef word = words[3];
    for (int i = 2; i >= 0; i--) {
        LLVMValueRef is = LLVMBuildICmp(b, LLVMIntEQ, lane, col_llvm_int_like(l, i, lane), "");
        word = LLVMBuildSelect(b, is, words[i], word, "");
    }
    return uniform_of(l, word);
}

LLVMValueRef col_llvm_uniform_run(const col_llvm *l, LLVMValueRef seed, LLVMValueRef step, uint32_t salt,
                                  LLVMValueRef first)
{
    LLVMBuilderRef b = l->b;
    col_llvm blocks = *l;
    blocks.lanes = l->lanes / 4;
    LLVMValueRef block = LLVMBuildLShr(b, first, col_llvm_i64(l, 2), ""), words[4];
    block = LLVMBuildAdd(b, col_llvm_splat(&blocks, block), col_llvm_lanes(&blocks), "");
    philox(&blocks, col_llvm_splat(&blocks, seed), col_llvm_splat(&blocks, step), salt, block, words);
    /* Word w of block i belongs into lane 4 i + w. */
    LLVMValueRef low = lanes_of(l, words[0], words[1], 0, 1, l->lanes / 2);
    LLVMValueRef high = lanes_of(l, words[2], words[3], 0, 1, l->lanes / 2), order[256];
    for (unsigned i = 0; i < l->lanes; i++) {
        unsigned from = i % 4 * blocks.lanes + i / 4;
        order[i] = LLVMConstInt(LLVMInt32TypeInContext(l->context), from, false);
    }
    return uniform_of(l, LLVMBuildShuffleVector(b, low, high, LLVMConstVector(order, l->lanes), ""));
}
