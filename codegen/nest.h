/* The state of a loop nest that is being emitted, its pieces (nest.c) and its accesses to memory (access.c);
 * for these, loops.c and ptx_loops.c alone. */
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
    LLVMValueRef *loaded; /* by instruction: loads at this point that an earlier pass did, and that this
                             one adds to; NULL: they are done again */
    unsigned width;       /* lanes of a register */
    LLVMValueRef spare;   /* somewhere to read from when a guard does not hold */
    uint32_t inner;       /* bit of the innermost dim */
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

LLVMBasicBlockRef nest_block(const nest *n);
/* An alloca at the function's entry. */
LLVMValueRef nest_slot(const nest *n, LLVMTypeRef type);

typedef struct nest_loop {
    LLVMBasicBlockRef head, exit;
    LLVMValueRef slot, step;
} nest_loop;

/* for (i = from; i + step <= to; i += step): opens the body and gives i. */
nest_loop nest_open(const nest *n, LLVMValueRef from, LLVMValueRef to, int64_t step, LLVMValueRef *out_i);
void nest_close(const nest *n, nest_loop made);
/* The counter after the loop: where the remainder starts. */
LLVMValueRef nest_loop_end(const nest *n, nest_loop made);

/* Instructions of a stage that do not walk the reduced dims, and their stores. */
void nest_outside(const nest *n, int stage);
bool nest_has_outside_stores(const nest *n, int stage);
void nest_outside_stores(const nest *n, int stage);

/* By instruction: what the pass's reductions and stores are made of. */
bool *nest_needed(const nest *n, int pass);
/* Accumulators of a pass by instruction, neutral; vectors of `lanes` if any. NULL for what it does not
 * reduce. */
LLVMValueRef *nest_open_sums(const nest *n, int pass, unsigned lanes);
LLVMValueRef nest_read_sum(const nest *n, LLVMValueRef slot);
/* Loads what the pass needs at this point into n->loaded, but for what depends on other instructions. */
void nest_load_point(nest *n, const bool *needed);
/* The innermost body of a pass, at one point of the reduced dims (or `lanes` of them). */
void nest_point(nest *n, int pass, const bool *needed, LLVMValueRef *sums);
/* Folds a vector by halves into a scalar. */
LLVMValueRef nest_fold(const nest *n, const col_instr *in, LLVMValueRef vector);

/* The value of a LOAD at the present point: a vector where it differs from lane to lane. */
LLVMValueRef nest_load(const nest *n, const col_instr *in);

/* Writes the value of the store's instruction at the present point, all lanes of it where its place differs
 * from lane to lane. */
void nest_store(const nest *n, const col_store *store);

#endif
