/* The order of dimensions in memory for convolutional networks: channels last. */
#ifndef COL_PASSES_CHANNELS_LAST_H
#define COL_PASSES_CHANNELS_LAST_H

#include "ir/units.h"

/* Whether a convolution is one that computes on tensors with channels last: those of 16 bits, for which tensor
 * cores read them so. */
bool col_conv_wants_channels_last(const col_node *node);

/* Whether every use of a value, and what made it, can do with channels last: kernels, convolutions and poolings
 * can; library calls, views that need another order, outputs and variables cannot. Asked of a graph before or
 * after fusion. */
bool col_value_allows_channels_last(const col_value *value);

/* Strides of [n, c, spatial...] laid out as [n, spatial..., c]. */
void col_channels_last_strides(col_shape shape, int64_t strides[COL_MAX_RANK]);

/* Gives channels-last strides, in `placements` (by value id, row-major so far), to what the convolutions of a
 * fused and scheduled graph read and write, and to what kernels and poolings make of it. */
void col_channels_last(const col_graph *graph, const col_units *units, col_placement *placements,
                       col_arena *arena);

#endif
