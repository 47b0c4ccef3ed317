/* The state of a loop nest that is being emitted, and its accesses to memory; for loops.c and access.c alone.
 */
#ifndef COL_CODEGEN_NEST_H
#define COL_CODEGEN_NEST_H

#include "codegen/llvm.h"

typedef struct nest {
    col_llvm *l;
    const col_kernel *k;
    col_arena *scratch;
    LLVMValueRef args;                   /* void *const * */
    LLVMValueRef *bases;                 /* by argument */
    LLVMValueRef index[COL_KERNEL_DIMS]; /* i64; of the innermost dim: the first lane's */
    LLVMValueRef *values;                /* by instruction, at the present point */
    unsigned width;                      /* lanes of a register */
    LLVMValueRef dummy;                  /* somewhere to read from when a guard does not hold */
    uint32_t inner;                      /* bit of the innermost dim */
} nest;

/* Constants. */
static inline LLVMValueRef nest_i64(const nest *n, int64_t value)
{
    return col_llvm_i64(n->l, value);
}

static inline LLVMValueRef nest_i32(const nest *n, unsigned value)
{
    return LLVMConstInt(LLVMInt32TypeInContext(n->l->context), value, false);
}

/* Whether what depends on these dims differs from lane to lane. */
static inline bool nest_varies(const nest *n, uint32_t dims)
{
    return (dims & n->inner) != 0;
}

/* offset + sum of strides[d] * i[d], as i64 of the first lane. */
LLVMValueRef nest_linear(const nest *n, int64_t offset, const int64_t *strides);

/* The value of a LOAD at the present point: a vector where it differs from lane to lane. */
LLVMValueRef nest_load(const nest *n, const col_instr *in);

/* Writes the value of the store's instruction at the present point, all lanes of it where its place differs
 * from lane to lane. */
void nest_store(const nest *n, const col_store *store);

#endif
