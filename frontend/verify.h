/* What `colc verify` shows (docs/verify.md): that gradients are derivatives, and that a plan computes what
 * its model says. Both print a line per op or tensor to stdout. */
#ifndef COL_FRONTEND_VERIFY_H
#define COL_FRONTEND_VERIFY_H

#include "frontend/compile.h"

typedef struct col_verify_options {
    double tolerance;  /* of the plan: largest difference, relative to the tensor's largest element */
    double time_limit; /* seconds that the reference walk may be estimated to take */
    int64_t seed;      /* of the numbers that the check is made with */
} col_verify_options;

/* Checks every distinct op of the model that a gradient goes through, then the whole model, both made small
 * (frontend/shrink.h), in fp64 against central differences. `*out_failures` counts what is beyond
 * COL_GRADCHECK_TOLERANCE. */
COL_MUST_USE col_status col_verify_gradients(const col_source *source, const col_parse_options *parse,
                                             const col_verify_options *options, size_t *out_failures);

/* Runs every program of the plan once on its ranks (a training step with all its micro-batches), and the
 * graphs that `compile` makes by the fp64 reference walk, both from the same variables and inputs, and
 * compares outputs and variables. Outputs of the graphs that the plan lacks are compared with those of the
 * plan at `gradients_path`, where there is one: gradients, of which a plan keeps none. `*out_failures` counts
 * the tensors beyond the tolerance. COL_BAD_INPUT for a model whose reference walk needs more time or memory
 * than there is.
 *
 * Several GPUs need a process each, which return from here, too: `*out_leads` is false in all but the one that
 * compared and printed. */
COL_MUST_USE col_status col_verify_plan(const char *plan_path, const char *gradients_path,
                                        const col_compile_options *compile, const col_verify_options *options,
                                        size_t *out_failures, bool *out_leads);

/* verify_values.c: numbers for a variable, rounded to its dtype. Indices lie in the tables that they
 * index, what the optimizer reads makes every part of the update matter. Depends on the seed and the name. */
void col_verify_fill(const col_var *var, int64_t seed, double *data);

/* verify_cost.c: what col_evaluate of the whole graph takes. */
typedef struct col_verify_cost {
    double seconds, bytes;
} col_verify_cost;
col_verify_cost col_verify_estimate(const col_graph *graph);

#endif
