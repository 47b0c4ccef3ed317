/* Views: what a value is in terms of the bytes of another. Reshape, transpose, broadcast, slice and split
 * cost nothing where an offset and strides express them; a value is *virtual* when they do, and its bytes are
 * those of its base. Consumers (kernels, matrix products, attention) read through the strides. A view op
 * whose result is not virtual (a reshape that merges dimensions of a transposed value) is a real copy. */
#ifndef COL_IR_VIEW_H
#define COL_IR_VIEW_H

#include "ir/graph.h"

typedef struct col_view {
    const col_value *base;         /* a value that has bytes of its own: a variable or a non-virtual result */
    int64_t offset;                /* elements from the start of the base */
    int64_t strides[COL_MAX_RANK]; /* elements, per dimension of the value; 0: broadcast */
} col_view;

/* The value as a view of its base; the base of a non-virtual value is itself, with row-major strides. */
col_view col_view_of(const col_value *value);
bool col_value_is_virtual(const col_value *value);

/* The same where values that have bytes of their own lie in memory with the strides that the function gives,
 * say inside a larger buffer. A value that is virtual over row-major bytes need not be over these. */
typedef void (*col_strides_fn)(void *context, const col_value *value, int64_t strides[COL_MAX_RANK]);
col_view col_view_over(const col_value *value, col_strides_fn strides, void *context);

/* Strides of the same elements in the same order under another shape with as many elements; false when
 * strides cannot express it. */
bool col_strides_reshape(col_shape from, const int64_t *strides, col_shape to, int64_t *out_strides);

/* Row-major strides of the shape of which the node makes a block (attribute `whole`), or else of `shape`. */
void col_whole_strides(const col_node *node, col_shape shape, int64_t strides[COL_MAX_RANK]);

/* Merges dimensions [from, to) of shape/strides into one stride: false when no single stride walks them in
 * row-major order (size-1 dimensions merge with anything). An empty or all-1 range has stride 0 and size 1.
  */
bool col_strides_merge(col_shape shape, const int64_t *strides, int from, int to, int64_t *out_size,
                       int64_t *out_stride);

/* Whether the executor writes the result over the bytes of the first operand: no two such nodes may share it. */
bool col_node_overwrites(const col_node *node);

#endif
