/* Reference evaluation: walks a graph in order with each op's `eval`, in fp64, one buffer per value. The
 * oracle of tests and of `colc verify`; nothing here is fast but the matrix product. */
#ifndef COL_IR_EVALUATE_H
#define COL_IR_EVALUATE_H

#include "ir/graph.h"

typedef struct col_evaluate_options {
    col_phase last_phase; /* later phases are not walked: COL_PHASE_BACKWARD runs one micro-batch */
    bool keep_values;     /* keep every value, not only the outputs */
} col_evaluate_options;

typedef struct col_evaluation {
    const col_tensor *outputs; /* by output; data is NULL where the phases did not reach it */
    const col_tensor *values;  /* by value id, with keep_values; else NULL */
} col_evaluation;

/* Walks the phases up to `options->last_phase` (NULL: all of them, keeping outputs only).
 *
 * `vars` holds one tensor per variable, by the variable's index and of its type. Every read of a variable
 * sees what it holds at the start; the assignments of the walked phases are written into `vars` at the end.
 * `out->outputs` and `out->values` live in `arena`. COL_DEVICE when the machine has no memory for a value. */
COL_MUST_USE col_status col_evaluate(const col_graph *graph, const col_evaluate_options *options,
                                     const col_tensor *vars, col_arena *arena, col_evaluation *out);

/* The same for a partitioned graph on all ranks of its mesh in lock-step, collectives exchanging what they
 * have: `vars[r]` are the tensors of rank r, `out[r]` is what it comes to. */
COL_MUST_USE col_status col_evaluate_ranks(const col_graph *graph, const col_evaluate_options *options,
                                           const col_tensor *const *vars, col_arena *arena,
                                           col_evaluation *out);
/* From and to the outside of a partitioned graph (ir/evaluate_whole.c): `vars` has one tensor per variable,
 * of its whole shape; each rank gets its block, and `mesh.coordinate` its coordinates. Written variables are
 * put together again and the outputs, whole on every rank, come as rank 0 has them. COL_INTERNAL when copies
 * that should be equal differ between ranks; the message says which and where. */
COL_MUST_USE col_status col_evaluate_whole(const col_graph *graph, const col_evaluate_options *options,
                                           const col_tensor *vars, col_arena *arena,
                                           const col_tensor **out_outputs);
/* The block that a rank holds of a whole tensor; in the arena. */
col_tensor col_tensor_block(const col_tensor *whole, const col_layout *layout, const col_mesh *mesh,
                            int64_t rank, col_arena *arena);

/* Zeroed tensors for all variables of a graph, in the arena. */
col_tensor *col_evaluate_vars(const col_graph *graph, col_arena *arena);

#endif
