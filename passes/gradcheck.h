/* Gradients against finite differences, in fp64 (ir/evaluate.h): what tests and `colc verify` show about
 * differentiation. A central difference with step h = 1e-5 max(1, |x|) is right to about 1e-9 of the loss's
 * scale, so a correct gradient passes at 1e-6 and a wrong one fails by orders. */
#ifndef COL_PASSES_GRADCHECK_H
#define COL_PASSES_GRADCHECK_H

#include "ir/evaluate.h"

#define COL_GRADCHECK_TOLERANCE 1e-6

typedef struct col_gradcheck {
    int64_t checked; /* elements compared; the rest means nothing when 0 */
    double worst;    /* largest |analytic - numeric| / (|analytic| + |numeric| + scale); NaN is worst */
    uint32_t worst_variable; /* and where: index among the graph's variables; of a probed node, the operand */
    int64_t worst_element;   /* row-major */
    double analytic, numeric; /* there */
} col_gradcheck;

/* Compares every "grad.<parameter>" output of a graph after autodiff with differences of its output `loss`,
 * at up to `samples` elements per parameter (0: all), chosen by `seed`. `vars` as for col_evaluate;
 * unchanged. `scale`, the magnitude below which a gradient counts as zero, is 1e-3 of the parameter's
 * largest and the noise of the difference. An element where the loss has a kink, so that it has no
 * derivative, is passed over. Fails when the evaluation does. */
COL_MUST_USE col_status col_gradcheck_graph(const col_graph *graph, const col_tensor *vars, int64_t samples,
                                            uint64_t seed, col_gradcheck *out);

/* A model whose loss is made by this one node: the operands that `wanted` marks are parameters "x<i>", the
 * others inputs, and the loss is the sum of the results that `used` marks, each weighted by an input
 * "weight<i>" of its shape. In `arena`, which outlives the graph. */
col_graph *col_gradcheck_probe(const col_node *node, const bool *wanted, const bool *used, col_arena *arena);

/* Numbers for the variables of a probe, from `seed`: floating point in +-[0.25, 1.25], or in [0.25, 1.25]
 * with `positive`; integers below the smallest dimension of the first variable, so that they are indices into
 * it; booleans at random. */
void col_gradcheck_fill(const col_graph *probe, uint64_t seed, bool positive, col_tensor *vars);

/* Probes the node and compares at up to `samples` elements per operand. Takes values of both signs, or
 * positive ones where the loss is not a number otherwise (log, sqrt). COL_BAD_INPUT when the node is not
 * differentiable with respect to a wanted operand. */
COL_MUST_USE col_status col_gradcheck_node(const col_node *node, const bool *wanted, const bool *used,
                                           int64_t samples, uint64_t seed, col_gradcheck *out);

/* What a forward graph asks of a node: the operands that carry gradients to trained parameters and the
 * results that the model reads. False when no gradient goes through the node. `active` is col_autodiff_active
 * of the graph; `wanted` and `used` have room for the node's operands and results. */
bool col_gradcheck_demand(const col_node *node, const bool *active, bool *wanted, bool *used);

#endif
