/* What the back ends share of LLVM: values that are scalars or vectors of lanes, memory accesses,
 * mathematics. Only codegen/ includes LLVM's headers. */
#ifndef COL_CODEGEN_LLVM_H
#define COL_CODEGEN_LLVM_H

#include <llvm-c/Core.h>

#include "codegen/kernel.h"

/* Where code is being emitted. `lanes` is the width of vector values: a value that depends on the innermost
 * dim is a vector of that many elements, any other is a scalar. */
typedef struct col_llvm {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMValueRef function;
    unsigned lanes;
    bool is_gpu;      /* no masked accesses, no calls; bf16 is converted by the processor */
    bool is_baseline; /* no instructions that round or convert f16: they are spelled out */
    bool has_scalef;  /* AVX-512's x 2^floor(y) */
    bool needs_libm;  /* a call of the mathematical library was emitted */
} col_llvm;

/* Registers: f16 and bf16 are held as float, bool as i1. Memory: bool is a byte. */
LLVMTypeRef col_llvm_register(const col_llvm *l, col_dtype dtype);
LLVMTypeRef col_llvm_memory(const col_llvm *l, col_dtype dtype);
bool col_llvm_is_vector(LLVMValueRef value);
/* The type of `like`'s width with another element. */
LLVMTypeRef col_llvm_widen(LLVMTypeRef element, LLVMValueRef like);

LLVMValueRef col_llvm_i64(const col_llvm *l, int64_t value);
/* Constants of the width of `like`. */
LLVMValueRef col_llvm_float_like(const col_llvm *l, double value, LLVMValueRef like);
LLVMValueRef col_llvm_int_like(const col_llvm *l, int64_t value, LLVMValueRef like);
/* A scalar in every lane; vectors are returned as they are. */
LLVMValueRef col_llvm_splat(const col_llvm *l, LLVMValueRef scalar);
/* <0, 1, 2, ...> of i64. */
LLVMValueRef col_llvm_lanes(const col_llvm *l);
/* Calls the intrinsic of that name, overloaded on the given types. */
LLVMValueRef col_llvm_intrinsic(const col_llvm *l, const char *name, LLVMTypeRef *overloads,
                                unsigned overload_count, LLVMValueRef *args, unsigned arg_count);

/* Memory to register and back, elementwise on scalars or vectors of the memory type. */
LLVMValueRef col_llvm_unpack(const col_llvm *l, col_dtype dtype, LLVMValueRef stored);
LLVMValueRef col_llvm_pack(const col_llvm *l, col_dtype dtype, LLVMValueRef value);
/* Rounds a float to bf16 or f16 precision and back. */
LLVMValueRef col_llvm_round(const col_llvm *l, col_dtype dtype, LLVMValueRef value);

/* math.c: f32 functions inline, within 2 ulp; on scalars and vectors alike. */
LLVMValueRef col_llvm_exp(const col_llvm *l, LLVMValueRef x);
LLVMValueRef col_llvm_log(const col_llvm *l, LLVMValueRef x);
LLVMValueRef col_llvm_tanh(const col_llvm *l, LLVMValueRef x);
LLVMValueRef col_llvm_erf(const col_llvm *l, LLVMValueRef x);
/* On a GPU, by way of f64: absolute error below 1e-7 up to 2^50. */
LLVMValueRef col_llvm_sin(const col_llvm *l, LLVMValueRef x);
LLVMValueRef col_llvm_cos(const col_llvm *l, LLVMValueRef x);
LLVMValueRef col_llvm_floor(const col_llvm *l, LLVMValueRef x); /* f64, too */
/* Uniform numbers of ir/base/philox.h; operands are i64 of equal width. */
LLVMValueRef col_llvm_uniform(const col_llvm *l, LLVMValueRef seed, LLVMValueRef step, uint32_t salt,
                              LLVMValueRef element);

/* The same for `lanes` elements in a row, from a scalar `first` on; both are multiples of 4. Seed and step
 * are scalars, too. A quarter of the work. */
LLVMValueRef col_llvm_uniform_run(const col_llvm *l, LLVMValueRef seed, LLVMValueRef step, uint32_t salt,
                                  LLVMValueRef first);

/* scalar.c: an elementwise op on operands of equal width. `dtype` is that of the operands, `result` of the
 * result. */
LLVMValueRef col_llvm_compute(col_llvm *l, col_op op, col_dtype dtype, col_dtype result,
                              LLVMValueRef *operands);
/* One step of a reduction, and its neutral element. */
LLVMValueRef col_llvm_combine(const col_llvm *l, col_op op, col_dtype dtype, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef col_llvm_neutral(const col_llvm *l, col_op op, col_dtype dtype, LLVMTypeRef type);

#endif
