/* Dynamic loss scaling: what the optimizer does for it. */
#ifndef COL_PASSES_SCALE_LOSS_H
#define COL_PASSES_SCALE_LOSS_H

#include "passes/pass.h"

/* Assigns the states that the pass `scale_loss` added: the scale of the next step. `sound` (bool) says whether all
 * gradients of this step are finite. Does nothing for a graph whose loss is not scaled. */
void col_loss_scale_update(col_builder *b, const col_pass_options *options, col_value *sound);

#endif
