/* The order of a full compilation, top to bottom. The driver leaves out what a program does not need: a
 * forward program has no autodiff and no optimizer. */
#include "passes/pass.h"

static const col_pass table[] = {
    {"inference", "turn off dropout and batch statistics", col_pass_inference},
    {"kv_cache", "keep keys and values of earlier positions, for generation", col_pass_kv_cache},
    {"unmerge", "give parts that are split off a dimension of their own", col_pass_unmerge},
    {"precision", "let products and attention compute in 16 bits", col_pass_precision},
    {"space_to_depth", "turn strides over few channels into channels", col_pass_space_to_depth},
    {"autodiff", "differentiate the loss with respect to every parameter", col_pass_autodiff},
    {"scale_loss", "scale the loss, so that gradients of 16 bits do not become zero", col_pass_scale_loss},
    {"vanish", "leave out of sums what sums to zero", col_pass_vanish},
    {"optimizer", "turn gradients into the update of parameters and optimizer state", col_pass_optimizer},
    {"lower", "replace composite ops by primitives", col_pass_lower},
    {"fold", "simplify identities and evaluate constants", col_pass_fold},
    {"cse", "merge nodes that compute the same", col_pass_cse},
    {"dce", "remove nodes that nothing needs", col_pass_dce},
    {"chunk", "run the loss in chunks of rows", col_pass_chunk},
    {"bucket", "join small all-reduces into few", col_pass_bucket},
    {"legalize", "split reductions over cores; copy operands that kernels cannot read in place",
     col_pass_legalize},
    {"recompute", "compute forward values again in the backward phase", col_pass_recompute},
    {"epilogue", "give products the bias or GELU that follows them, on GPUs", col_pass_epilogue},
    {"fuse", "group nodes into kernels", col_pass_fuse},
    {"schedule", "order kernels to lower the peak of live bytes", col_pass_schedule},
    {"overlap", "start collectives early and wait for them late", col_pass_overlap},
};

const col_pass *col_passes(size_t *out_count)
{
    *out_count = COL_COUNT(table);
    return table;
}
