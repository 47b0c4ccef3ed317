/* What the host hands to the kernels of kernels.cu, by value; for the host's compiler and NVIDIA's alike.
 * Strides and sizes are in elements. */
#ifndef COL_RUNTIME_CUDA_KERNELS_H
#define COL_RUNTIME_CUDA_KERNELS_H

#include <stdint.h>

#define CUDA_MOST_RANK 8 /* COL_MAX_RANK, which host code compares */

typedef struct cuda_copy {
    int32_t rank, element; /* bytes of an element */
    int64_t count, dims[CUDA_MOST_RANK], to_strides[CUDA_MOST_RANK], from_strides[CUDA_MOST_RANK];
} cuda_copy;

/* Strides of a tensor [n, c, ...]. */
typedef struct cuda_image {
    int64_t n, c, at[3];
} cuda_image;

/* Axes that are not there have size, kernel, stride and dilation 1. `last`: threads walk channels innermost, else
 * positions; `wide`: with all three images so, and as many channels to a thread as 16 bytes hold. */
typedef struct cuda_pool {
    cuda_image x, dx, y;
    int64_t n;
    int32_t c, x_size[3], y_size[3], kernel[3], stride[3], low[3], dilation[3];
    int32_t is_max, padded, last, wide, few_taps; /* few_taps: 8 bits hold the number of one */
} cuda_pool;

/* x [n, c, ...], w [o, c / groups, ...], y [n, o, ...]; axes that are not there as above. */
typedef struct cuda_convolution {
    cuda_image x_strides, w_strides, y_strides;
    int64_t count, n, c, o, groups; /* count: elements of the result */
    int64_t x[3], y[3], kernel[3], stride[3], low[3], dilation[3];
} cuda_convolution;

/* c = a b; the strides of each are those of the batch dims, of rows, of columns. */
typedef struct cuda_product {
    int32_t batch_rank, wide, accumulate; /* wide: c is f32 whatever a and b are; accumulate: c += a b */
    int64_t count, rows, columns, inner, batch[CUDA_MOST_RANK], a[CUDA_MOST_RANK], b[CUDA_MOST_RANK],
        c[CUDA_MOST_RANK];
} cuda_product;

/* Over a product c [rows, columns] in place; strides are those of rows and of columns. */
enum { CUDA_BIAS, CUDA_BIAS_GELU, CUDA_GELU_SLOPE };
typedef struct cuda_epilogue {
    int32_t kind;
    int64_t count, columns, c[2];
    int64_t third[2];  /* the bias, or what GELU was taken of */
    int64_t second[2]; /* what GELU is taken of, where it is wanted */
} cuda_epilogue;

/* One [rows, d] matrix per batch and head; elements of a row are dense. */
typedef struct cuda_heads {
    void *data;
    int64_t batch, row, head;
} cuda_heads;

typedef struct cuda_attention {
    cuda_heads q, k, v, out, dout, dq, dk, dv;
    float *lse, *delta; /* delta: [2, b, h, t], the backward pass's own */
    int64_t lse_batch, lse_head, lse_row;
    const void *mask; /* of the operands' type; NULL: none */
    int64_t mask_strides[4];
    const int64_t *rng;         /* seed, step; NULL: no dropout */
    const int64_t *first_score; /* NULL: 0 */
    const int32_t *position;    /* of the first query among the keys; NULL: 0 */
    int64_t t, s, all_heads;
    int32_t b, h, d, causal;
    float scale, rate;
    uint32_t salt;
} cuda_attention;

#endif
