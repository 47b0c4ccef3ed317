/* What the parts of the pass `legalize` share; for legalize*.c alone. */
#ifndef COL_PASSES_LEGALIZE_H
#define COL_PASSES_LEGALIZE_H

#include "passes/pass.h"

/* Cuts a reduction along long rows in two levels, if it is one; the node is gone then. The builder stands at it. */
bool col_legalize_long_row(col_builder *b, col_node *node, const col_pass_options *options);

#endif
