/* What the parts of plan emission share; for emit*.c alone. */
#ifndef COL_CODEGEN_EMIT_PROGRAM_H
#define COL_CODEGEN_EMIT_PROGRAM_H

#include "codegen/emit.h"

typedef struct emit_program {
    col_emitter *emitter;
    col_arena *arena;
    const col_graph *graph;
    const col_placement *placements;
    const char **names;
    uint32_t *started; /* by node id: the instruction that starts a collective */
    COL_VEC(col_plan_instruction *) instructions;
} emit_program;

col_plan_view *emit_make_view(emit_program *p, uint64_t offset, col_dtype dtype, int rank,
                              const int64_t *dims, const int64_t *strides);
/* A value as an operand: a window on its base. */
col_plan_view *emit_value_view(emit_program *p, const col_value *value);

/* The program's next instruction, with the node's name and phase; views and kind are the caller's to fill in. */
col_plan_instruction *emit_add_instruction(emit_program *p, const col_node *node, size_t reads,
                                           size_t writes);
/* The same with all operands from the first one given on, then all results, as views. */
col_plan_instruction *emit_plainly(emit_program *p, const col_node *node, uint32_t first_operand);

double emit_view_bytes(const col_plan_view *view);
double emit_bytes_moved(const col_plan_instruction *in);

/* Whether memory planning has put the parts of a concat where its result is. */
bool emit_is_concat_of_parts(const col_node *node, const col_placement *placements);

void emit_product(emit_program *p, const col_node *node);

/* A node that is no kernel: the instruction that its op's row names, or none. */
void emit_library_call(emit_program *p, const col_node *node);

#endif
