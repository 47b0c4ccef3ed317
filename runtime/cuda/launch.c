#include "runtime/cuda/cuda.h"

#include <limits.h>
#include <string.h>

col_status cuda_failure(const char *where, const char *call, cudaError_t error)
{
    return col_error_make(COL_DEVICE, "%s: %s: %s (%s)", where, call, cudaGetErrorString(error),
                          cudaGetErrorName(error));
}

col_status cuda_blas_failure(const char *where, const char *call, cublasStatus_t error)
{
    return col_error_make(COL_DEVICE, "%s: %s: %s", where, call, cublasLtGetStatusString(error));
}

col_status cuda_dnn_failure(const char *where, const char *call, cudnnStatus_t error)
{
    char more[256] = "";
    cudnnGetLastErrorString(more, sizeof more);
    return col_error_make(COL_DEVICE, "%s: %s: %s%s%s", where, call, cudnnGetErrorString(error),
                          *more ? ": " : "", more);
}

col_status cuda_find_own(const cuda_context *context, const char *name, cudaKernel_t *out)
{
    cudaError_t error = cudaLibraryGetKernel(out, context->own, name);
    return error ? cuda_failure(name, "cudaLibraryGetKernel", error) : NULL;
}

const char *cuda_type_suffix(Col__Plan__Dtype dtype)
{
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: return "f32";
    case COL__PLAN__DTYPE__BF16: return "bf16";
    case COL__PLAN__DTYPE__F16: return "f16";
    default: return NULL;
    }
}

col_status cuda_blocks_of(const char *where, int64_t count, unsigned threads, dim3 *out_blocks)
{
    int64_t blocks = (count + threads - 1) / threads;
    if (blocks > INT_MAX)
        return col_error_make(COL_BAD_INPUT, "'%s': %lld elements are more than one launch takes", where,
                              (long long)count);
    *out_blocks = (dim3){(unsigned)COL_MAX(blocks, 1), 1, 1};
    return NULL;
}

col_status cuda_launch(const cuda_context *context, const char *where, cudaKernel_t kernel, dim3 blocks,
                       unsigned threads, size_t shared, void **params)
{
    CUDA_TRY(where, cudaLaunchKernel, (const void *)kernel, blocks, (dim3){threads, 1, 1}, params, shared,
             context->stream);
    return NULL;
}
