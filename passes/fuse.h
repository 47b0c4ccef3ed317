/* What the parts of the pass `fuse` share; for fuse*.c alone. */
#ifndef COL_PASSES_FUSE_H
#define COL_PASSES_FUSE_H

#include "ir/base/vec.h"
#include "ir/graph.h"

enum { FUSE_NONE = -1 }; /* no unit, or no group */

typedef COL_VEC(col_node *) fuse_nodes;

/* Whether the node's results are only another way to index its operand's bytes. */
bool fuse_is_virtual_view(const col_node *node);

/* Whether something reads the value's bytes whatever is fused: a library call, an assignment, a move, the
 * caller. `is_output` is by value id. */
bool fuse_is_needed_in_memory(const bool *is_output, const col_value *value);

/* Which nodes are computed again in every group that reads them, by node id; in the arena. Sets every node's
 * group to -1. */
const bool *fuse_find_inlined(col_graph *graph, const bool *is_output, col_arena *arena);

/* Makes a group of each unit's kernel: `units` has the nodes of each, those before it being what it may read;
 * `unit_of` is by node id, FUSE_NONE for what is only inlined. */
void fuse_write(col_graph *graph, const bool *inlined, const int *unit_of, const fuse_nodes *units,
                size_t count, col_arena *arena);

#endif
