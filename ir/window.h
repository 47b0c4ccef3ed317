/* Sliding windows: what convolutions and poolings have in common. Activations are [n, channels, spatial...],
 * and a window moves over the spatial axes. With size s, padding low and high, dilation d and a kernel of k
 * taps
 *
 *     out = floor((s + low + high - ((k - 1) d + 1)) / stride) + 1
 *
 * and tap j of window i reads position i stride - low + j d, which is padding where it is outside [0, s).
 * This is ONNX's definition (auto_pad NOTSET, ceil_mode 0). */
#ifndef COL_IR_WINDOW_H
#define COL_IR_WINDOW_H

#include "ir/graph.h"

typedef struct col_window {
    int rank; /* spatial axes; the arrays below have one entry for each */
    int64_t size[COL_MAX_RANK], out[COL_MAX_RANK];
    int64_t kernel[COL_MAX_RANK], stride[COL_MAX_RANK], dilation[COL_MAX_RANK];
    int64_t low[COL_MAX_RANK], high[COL_MAX_RANK];
    int64_t groups;          /* of channels; 1 for poolings */
    bool count_includes_pad; /* an average divides by the taps of the kernel, not by those that are inside */
} col_window;

/* The window of a convolution, a pooling or one of their gradients whose inference went well. */
col_window col_window_of(const col_node *node);
/* The same while inferring: reads and checks the attributes, given the sizes (NULL: the attribute `sizes`)
 * and the kernel (NULL: the attribute `kernel`) of `rank` spatial axes. Adds a diagnostic and returns false
 * on a fault. */
bool col_window_read(const col_node *node, col_diags *diags, int rank, const int64_t *sizes,
                     const int64_t *kernel, col_window *out);

/* Products of the entries: taps of the kernel, positions of input and output. */
int64_t col_window_taps(const col_window *w);
int64_t col_window_inputs(const col_window *w);
int64_t col_window_outputs(const col_window *w);

/* For every output position and every tap, both in row-major order, the row-major input position that is
 * read, or -1 for padding: outputs x taps numbers on the heap; free() them. */
int64_t *col_window_map(const col_window *w);

/* Multiply-adds of a convolution or one of its gradients, twice: floating-point operations. */
double col_window_flops(const col_node *node);

#endif
