/* x86-64 code for kernels: one ELF shared object whose function `k<i>` runs kernel i:
 *
 *     void k0(void *const *args, int64_t begin, int64_t end);
 *
 * computes the parallel iterations [begin, end) of [0, kernel->range). Iterations are independent, and the
 * result does not depend on how the range is cut. `args` are the kernel's arguments in order
 * (codegen/kernel.h), aligned to their element; 64-byte alignment is fastest. The object depends on nothing
 * but libm, and on that only for what col_x86_code names in `needs_libm`. */
#ifndef COL_CODEGEN_X86_H
#define COL_CODEGEN_X86_H

#include "codegen/kernel.h"

typedef struct col_x86_options {
    const char *features; /* "sse2", "avx2", "avx512", or NULL: the best that this machine has */
    const char *dump_ir;  /* file for the optimised LLVM IR, or NULL */
    int threads;          /* compile with up to this many; 0: 1 */
} col_x86_options;

typedef struct col_x86_code {
    void *elf;
    size_t elf_size;
    /* What the code needs of the CPU, as GCC's __builtin_cpu_supports spells it ("avx2", "avx512f"). */
    const char *const *features;
    size_t feature_count;
    bool needs_libm; /* refers to pow, sin, cos or a double-precision function */
} col_x86_code;

/* Compiles `n` kernels; equal ones are compiled as often as given. COL_BAD_INPUT for an unknown level (one
 * above this machine's is fine, for a plan that runs elsewhere); COL_DEVICE when no linker is installed or it
 * fails. */
COL_MUST_USE col_status col_x86_compile(const col_kernel *const *kernels, size_t n,
                                        const col_x86_options *options, col_arena *arena,
                                        col_x86_code *out_code);

#endif
