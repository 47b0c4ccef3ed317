/* The loop nest of a kernel, as LLVM IR for a GPU. */
#ifndef COL_CODEGEN_PTX_LOOPS_H
#define COL_CODEGEN_PTX_LOOPS_H

#include "codegen/llvm.h"

/* How the threads of the device share a kernel. An item is a point of the parallel dims, or, where the
 * innermost dim is parallel, `lanes` points in a row of it; a team of threads computes an item. */
typedef struct ptx_shape {
    unsigned lanes;       /* elements of a thread's vector along the innermost dim */
    unsigned team;        /* threads that share an item: 1, 32 or all of a block; for columns 1 or several of
                             different warps */
    unsigned threads;     /* of a block */
    int64_t items, steps; /* `steps`: vectors of the reduced dims, that a team walks */
    bool by_rows;         /* the innermost dim is reduced */
} ptx_shape;

ptx_shape ptx_shape_of(const col_kernel *kernel);
int64_t ptx_shape_blocks(const ptx_shape *shape);

/* Whether an access may take `lanes` elements at once, if its argument starts at a multiple of 16 bytes. */
bool ptx_is_wide(const col_kernel *kernel, const col_access *access, unsigned lanes);

/* Adds the kernel function `name(argument 0, argument 1, ...)` to the module. */
void ptx_loops_emit(col_llvm *l, const col_kernel *kernel, const char *name, col_arena *scratch);

#endif
