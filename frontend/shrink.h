/* A model made small: the same ops in the same arrangement on small tensors, for checks whose price grows
 * with the tensors. */
#ifndef COL_FRONTEND_SHRINK_H
#define COL_FRONTEND_SHRINK_H

#include "frontend/parse.h"

/* What a node is, its sizes aside: op, attributes that are no sizes, dtype and rank of every operand and
 * which of their dimensions are 1, which operands are one value. Equal text, equal kind of node. In the
 * arena. */
const char *col_shrink_signature(const col_node *node, col_arena *arena);

/* The same op with the same attributes on operands of at most 4 elements a dimension, in a graph of its own
 * in the arena; the node itself where the op does not take them (a reshape, whose attributes are sizes). */
const col_node *col_shrink_node(const col_node *node, col_arena *arena);

/* Parses the model with hyperparameters as small as they can be while the set of node signatures stays as it
 * is with `options`. Hyperparameters that are equal stay equal, smaller ones stay no larger than larger ones.
 * A model whose sizes are written out stays as large as it is. `*out_settings` says what was changed,
 * "layers=2 width=4" ("" for nothing); all is in the arena. Fails when the model with `options` does. */
COL_MUST_USE col_status col_shrink_parse(const col_source *source, const col_parse_options *options,
                                         col_arena *arena, col_graph **out_graph, const char **out_settings);

#endif
