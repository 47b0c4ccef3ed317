/* Runs a graph with its kernels compiled: what tests of fusion and code generation compare with the reference
 * evaluator. Nodes that are no kernels are evaluated by the reference. */
#ifndef COL_UNIT_KERNEL_RUN_H
#define COL_UNIT_KERNEL_RUN_H

#include "codegen/kernel.h"

typedef struct kernel_run_options {
    const char *features; /* of col_x86_options */
    uint64_t split;       /* 0: whole ranges; else a seed of how they are cut and in which order they run */
    bool channels_last;   /* values of [n, c, ...] lie [n, ..., c] where all that uses them allows it */
} kernel_run_options;

/* The model's text as a graph. Aborts the test on a fault. */
col_graph *kernel_run_parse(const char *text, col_arena *arena);
/* lower, fold, cse, dce, legalize, fuse. */
void kernel_run_prepare(col_graph *graph);
/* Variables filled from a seed: floats in [-2, 2], booleans, integers in [0, 3), each rounded to its dtype.
 */
col_tensor *kernel_run_fill(const col_graph *graph, uint64_t seed, col_arena *arena);
/* Kernels that the prepared graph has. */
int kernel_run_count(const col_graph *graph);
/* Runs a prepared graph; returns one tensor per output, then one per variable as the step leaves it. */
col_tensor *kernel_run(const col_graph *graph, const col_tensor *vars, const kernel_run_options *options,
                       col_arena *arena);
/* What the prepared graph should give: the reference on the graph as it was. */
col_tensor *kernel_run_reference(const col_graph *graph, const col_tensor *vars, col_arena *arena);
/* The largest |a - b| over the larger of |b| and a hundredth of b's largest; NaN and infinities must agree.
 */
double kernel_run_distance(const col_tensor *a, const col_tensor *b);

#endif
