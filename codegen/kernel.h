/* Kernels: what a fused group computes, free of the graph. A kernel is a loop nest over an iteration domain
 * and a straight list of scalar instructions; the back ends (x86, PTX) turn it into code, and equal
 * kernels (the layers of a model) are compiled once.
 *
 * The domain has dims of sizes[0..rank), outer to inner; each is parallel or, if its bit is in `reduced`,
 * reduced. The innermost is the one that a back end runs over vector lanes or adjacent threads.
 *
 * An instruction has one value per point of the dims in its mask `dims`. There are loads, indices, constants,
 * elementwise ops, and reductions, which fold their operand over all reduced dims and so do not depend on
 * these any more.
 *
 * Reductions may depend on one another (softmax: the sum needs the maximum), so the reduced dims are walked
 * in passes. A reduction of stage p is computed in pass p; any other instruction of stage s can be evaluated
 * once the passes 0..s-1 are complete. What several passes need is computed again in each.
 *
 * A store writes an instruction to an output: in the pass of the instruction's stage if its place depends on
 * reduced dims, otherwise once per point of the parallel dims, when the instruction is known.
 *
 * Arguments are pointers to the first element that the kernel's strides count from: inputs, then outputs. */
#ifndef COL_CODEGEN_KERNEL_H
#define COL_CODEGEN_KERNEL_H

#include "ir/graph.h"

enum { COL_KERNEL_DIMS = 12, COL_KERNEL_GUARDS = COL_MAX_RANK };

/* Holds where low <= i[dim] < high. */
typedef struct col_guard {
    int dim;
    int64_t low, high;
} col_guard;

/* Element of an argument: offset + sum of strides[d] * i[d] (+ row_stride * clamp(row, 0, rows - 1)). */
typedef struct col_access {
    int arg; /* inputs first, then outputs */
    col_dtype dtype;
    int64_t offset;
    int64_t strides[COL_KERNEL_DIMS];
    int row; /* instruction (i32 or i64) that gives the row of a gather; -1: none */
    int64_t row_stride, rows;
    int guard_count; /* where a guard does not hold nothing is read */
    col_guard guards[COL_KERNEL_GUARDS];
} col_access;

typedef enum col_instr_kind {
    COL_INSTR_LOAD,     /* `access`; operands[0] >= 0: the value where a guard does not hold.
                           A gather whose row is out of range gives NaN (0 for integers). */
    COL_INSTR_INDEX,    /* i64 or i32: access.offset + sum of access.strides[d] * i[d] */
    COL_INSTR_CONSTANT, /* `value` */
    COL_INSTR_COMPUTE,  /* elementwise `op` (COPY, CAST and all others of that class) */
    COL_INSTR_RANDOM,   /* f32 uniform on [0, 1): operands seed, step, element (i64); `salt` (ir/philox.h) */
    COL_INSTR_REDUCE,   /* `op` SUM, MAX or MIN of operands[0] over all reduced dims */
} col_instr_kind;

typedef struct col_instr {
    col_instr_kind kind;
    col_op op;       /* COMPUTE, REDUCE */
    col_dtype dtype; /* of the result; f16 and bf16 are held as f32, and rounded where a CAST says so */
    int operands[3]; /* earlier instructions; -1: none */
    col_access access;
    double value;
    int64_t salt;
    uint32_t dims;  /* bit d: depends on i[d] */
    uint32_t stage; /* REDUCE: the pass that computes it; others: passes that must be complete before */
} col_instr;

typedef struct col_store {
    int instr;
    col_access access;
    uint32_t dims; /* bit d: its place depends on i[d] */
} col_store;

/* Where an argument starts: `offset` elements into the bytes of `value`, which is a variable or a result that
 * is not virtual (ir/view.h). */
typedef struct col_kernel_arg {
    const col_value *value;
    int64_t offset;
} col_kernel_arg;

typedef struct col_kernel {
    int rank;
    int64_t sizes[COL_KERNEL_DIMS];
    uint32_t reduced; /* bit d: dim d is reduced */
    int passes;       /* over the reduced dims; 0 when there are none */
    int instr_count, store_count, input_count, output_count;
    col_instr *instrs;
    col_store *stores;
    col_kernel_arg *inputs, *outputs; /* argument i: inputs[i], then outputs[i - input_count] */

    /* Work split on the CPU: a parallel iteration is one point of the parallel dims, or, where the innermost
     * dim is parallel, `tile` elements of it (0: it is reduced). Iterations are numbered row-major. */
    int64_t tile;
    int64_t range; /* number of parallel iterations */

    bool unaligned; /* on a GPU: arguments may start at any element */
    bool apart;     /* on a GPU: no output shares bytes with another argument */

    /* Of one whole run: arithmetic (exp and its like counted by their cost) and bytes moved, where what
     * several passes read is counted once. */
    double flops, bytes;

    /* What makes kernels equal. */
    const void *key;
    size_t key_size;
    uint64_t hash;
} col_kernel;

/* How materialised values lie in memory. */
typedef struct col_kernel_layout {
    void *context;
    /* Fills in the strides, in elements, of a variable or a result that is not virtual. */
    void (*strides)(void *context, const col_value *value, int64_t strides[COL_MAX_RANK]);
} col_kernel_layout;

/* Builds the kernel of one group made by col_pass_fuse: `nodes` are its `n` nodes in graph order (view nodes
 * included or not). Outputs are the group's values that are needed outside: by other nodes, by `assign` or as
 * a graph output; a value needed only through a virtual view is written itself, not the view. `layout` NULL:
 * all row-major. The strides of an operand's base must allow its views (ir/view.h), else it is an internal
 * error. Everything is in `arena`; graph values are referred to. */
col_kernel *col_kernel_build(const col_node *const *nodes, size_t n, const col_kernel_layout *layout,
                             col_arena *arena);

/* Same code: everything but the arguments' identities. */
bool col_kernel_equal(const col_kernel *a, const col_kernel *b);
uint64_t col_kernel_hash(const col_kernel *kernel);

/* True when output `output` may have the same bytes as input `input`, both starting at the same address:
 * every element is read, for the last time, by the iteration that writes it and before it does. */
bool col_kernel_in_place(const col_kernel *kernel, int input, int output);

/* For people and golden tests:
 *     kernel [256 x 768r], 2 passes, range 256
 *       %0 = load f32 in0 [768, 1]
 *       %1 = sum %0 … */
void col_kernel_print(const col_kernel *kernel, col_str *out);

#endif
