/* What the parts of the matrix product share; for matmul*.c and epilogue.c alone. */
#ifndef COL_RUNTIME_CUDA_MATMUL_H
#define COL_RUNTIME_CUDA_MATMUL_H

#include "runtime/cuda/cuda.h"

enum { CUDA_PRODUCT_WORKSPACE = 32 << 20 };

/* A [rows, columns] matrix for every index of the batch dims. */
typedef struct cuda_matrix {
    int64_t rows, columns, row_stride, column_stride;
    int64_t batch[COL_PLAN_MAX_RANK]; /* strides */
} cuda_matrix;

typedef struct cuda_matmul {
    /* One call multiplies `count` matrices that lie evenly apart, `steps` elements of a, b and c; the calls are the
     * other batch dims. */
    int outer_rank;
    int64_t outer_dims[COL_PLAN_MAX_RANK], calls, count, steps[3];
    cuda_matrix a, b, c;
    bool swapped;             /* a is the instruction's second operand */
    size_t in_size, out_size; /* bytes of an element */
    cublasLtMatmulDescOpaque_t how;
    cublasLtMatrixLayoutOpaque_t la, lb, lc;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace;
    /* Without the library. */
    cudaKernel_t plain;
    cuda_product description;
    dim3 blocks;
    /* The epilogue, where the library does not do it. */
    cudaKernel_t after; /* NULL: there is none, or the library does it */
    cuda_epilogue epilogue;
    dim3 after_blocks;
} cuda_matmul;

cuda_matrix cuda_matrix_of(const col_plan_view *view);
/* Whether rows lie dense one after another, a distance of `*out_leading` apart. */
bool cuda_matrix_has_dense_rows(const cuda_matrix *m, int64_t *out_leading);

/* The product by the library, with its epilogue where that is set, of the first so many calls. */
COL_MUST_USE col_status cuda_matmul_multiply(const cuda_context *context, const cuda_call *call,
                                             cuda_matmul *p, int64_t calls);
/* Sets the algorithm, and asks for its workspace; false: the library does not take the product. */
COL_MUST_USE col_status cuda_matmul_find_algorithm(cuda_context *context, cuda_call *call, cuda_matmul *p,
                                                   bool *out_found);

/* Tells the library to do the instruction's epilogue, where it can. */
COL_MUST_USE col_status cuda_epilogue_set(const cuda_call *call, cuda_matmul *p, bool *out_set);
/* Takes that back. */
COL_MUST_USE col_status cuda_epilogue_unset(const cuda_call *call, cuda_matmul *p);
/* Makes a kernel of the instruction's epilogue, which runs over the product. */
COL_MUST_USE col_status cuda_epilogue_prepare(const cuda_context *context, const cuda_call *call,
                                              cuda_matmul *p);
COL_MUST_USE col_status cuda_epilogue_run(const cuda_context *context, const cuda_call *call,
                                          const cuda_matmul *p);

#endif
