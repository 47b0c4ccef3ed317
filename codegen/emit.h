/* Plan emission: scheduled, placed programs become instructions, and their kernels one code object. */
#ifndef COL_CODEGEN_EMIT_H
#define COL_CODEGEN_EMIT_H

#include "codegen/kernel.h"
#include "codegen/ptx.h"
#include "codegen/x86.h"
#include "ir/plan/plan.h"
#include "ir/units.h"

/* Gathers the kernels of all programs of a plan, so that equal ones are compiled once. */
typedef struct col_emitter {
    col_arena *arena; /* everything emitted lives here, the plan's messages included */
    bool is_gpu;      /* kernels become PTX */
    COL_VEC(const col_kernel *) kernels;
} col_emitter;

/* The kernels of a program, by unit; NULL for units that are no kernel. Needs the strides of all values
 * (placements without offsets). */
const col_kernel **col_emit_kernels(col_emitter *emitter, const col_units *units,
                                    const col_placement *placements);

/* Whether the kernel may write `output` over `input`; false for values that are not its arguments. */
bool col_emit_in_place(const col_kernel *kernel, const col_value *input, const col_value *output);

/* The program's instructions and outputs. Needs every value placed. An assignment whose value is in its
 * variable already needs no instruction, nor does a view. `out_starts`, of one element more than there are
 * units, gets the number of instructions before each unit, and of all. */
col_plan_program *col_emit_program(col_emitter *emitter, const char *name, const col_graph *graph,
                                   const col_units *units, const col_kernel *const *kernels,
                                   const col_placement *placements, uint32_t *out_starts);

/* Compiles the kernels gathered so far into the plan's code object. */
COL_MUST_USE col_status col_emit_code(col_emitter *emitter, const col_x86_options *options, col_plan *plan);
/* The same, of an emitter for a GPU. */
COL_MUST_USE col_status col_emit_ptx(col_emitter *emitter, const col_ptx_options *options, col_plan *plan);

/* The plan's name of a dtype. */
Col__Plan__Dtype col_emit_dtype(col_dtype dtype);

#endif
