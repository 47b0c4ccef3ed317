/* PTX for kernels: one text whose entry `k<i>` runs kernel i on an NVIDIA GPU,
 *
 *     .entry k0(.param .u64 argument 0, .param .u64 argument 1, ...)
 *
 * with the kernel's arguments in order (codegen/kernel.h), as addresses in the device's memory, aligned to
 * their element, and to 16 bytes where col_ptx_wants_aligned says so. It is launched with the blocks and
 * threads of col_ptx_launch_of, no dynamic shared memory, and is deterministic. */
#ifndef COL_CODEGEN_PTX_H
#define COL_CODEGEN_PTX_H

#include "codegen/kernel.h"

#define COL_PTX_DEFAULT "sm_80" /* its code runs on all later ones, too */

typedef struct col_ptx_options {
    const char *processor; /* "sm_80", "sm_86", "sm_89", "sm_90" or "sm_90a"; NULL: COL_PTX_DEFAULT */
    const char *dump_ir;   /* file for the optimised LLVM IR, or NULL */
} col_ptx_options;

typedef struct col_ptx_launch {
    int64_t blocks;
    unsigned threads; /* of a block */
} col_ptx_launch;

col_ptx_launch col_ptx_launch_of(const col_kernel *kernel);

/* Whether the code takes several elements of the argument at once: then it must start at a multiple of 16
 * bytes, or the kernel be marked `unaligned`. */
bool col_ptx_wants_aligned(const col_kernel *kernel, int arg);

/* Compiles `n` kernels; equal ones are compiled as often as given. `*out_text` is in the arena and
 * NUL-terminated. COL_BAD_INPUT for an unknown processor, and for ops without code for GPUs (pow; exp, log,
 * tanh, erf, sin and cos of f64), which the message names. */
COL_MUST_USE col_status col_ptx_compile(const col_kernel *const *kernels, size_t n,
                                        const col_ptx_options *options, col_arena *arena,
                                        const char **out_text);

#endif
