/* The loop nest of a kernel, as LLVM IR for a CPU. */
#ifndef COL_CODEGEN_LOOPS_H
#define COL_CODEGEN_LOOPS_H

#include "codegen/llvm.h"

/* Adds the function `name(args, begin, end)` of codegen/x86.h to the module. `width` is the number of f32
 * lanes of the machine's vectors. */
void col_loops_emit(col_llvm *l, const col_kernel *kernel, const char *name, unsigned width,
                    col_arena *scratch);

#endif
