/* Inside passes/chunk*.c: what runs in chunks. */
#ifndef COL_PASSES_CHUNK_REGION_H
#define COL_PASSES_CHUNK_REGION_H

#include "ir/factors.h"
#include "passes/pass.h"

enum { CHUNK_MOST = 64 /* operands of a concat */ };

typedef struct chunk_region {
    const col_node **nodes; /* in the order of the graph */
    size_t count;
    bool *inside;  /* by node id */
    bool *depends; /* by node id: not inside, and needs a result of the region */
    col_value *large;
    int64_t rest; /* bytes of the largest forward value outside */
    col_factors *factors;
    col_strategy strategy; /* the factor of the rows, on the only axis of a mesh of chunks */
} chunk_region;

/* Finds the region around the largest forward value, and its rows. False: there is none that can run in chunks. */
bool chunk_region_find(const col_graph *graph, col_arena *arena, chunk_region *out);
/* Into how many chunks it is worth to cut it (chunk.c), or as the options say. 1: none. */
int64_t chunk_region_count(const chunk_region *r, const col_pass_options *options);

/* The dimension of the result that is cut; -1: it is combined from the chunks by `*out_kind`. */
int chunk_region_dim(const chunk_region *r, const col_value *result, col_op *out_kind);
/* Read outside the region, or an output. */
bool chunk_region_leaves(const chunk_region *r, const col_value *value);

#endif
