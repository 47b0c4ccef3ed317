/* What is done to a product before it is stored: by cuBLASLt, in its own kernel, where the matrices are as it likes
 * them; otherwise by a kernel over the product. In fp32 the kernel does it: the library's tanh is made for 16 bits. */
#include "runtime/cuda/matmul.h"

#include <stdio.h>
#include <string.h>

enum { THREADS = 256, ALIGNMENT = 16 /* bytes, of what the library reads and writes beside the product */ };

static bool is_aligned(const void *data)
{
    return (uintptr_t)data % ALIGNMENT == 0;
}

/* A matrix beside the product, as large: GELU's operand. */
static bool find_leading(const col_plan_view *view, const void *data, size_t element, int64_t *out_leading)
{
    cuda_matrix m = cuda_matrix_of(view);
    return cuda_matrix_has_dense_rows(&m, out_leading) && is_aligned(data) &&
           *out_leading * (int64_t)element % ALIGNMENT == 0;
}

static col_status set(const cuda_call *call, cuda_matmul *p, cublasLtMatmulDescAttributes_t attribute,
                      const void *value, size_t size)
{
    CUDA_BLAS_TRY(call->instruction->name, cublasLtMatmulDescSetAttribute, &p->how, attribute, value, size);
    return NULL;
}

static col_status set_aux(const cuda_call *call, cuda_matmul *p, void *data, int64_t leading)
{
    COL_TRY(set(call, p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &data, sizeof data));
    return set(call, p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &leading, sizeof leading);
}

col_status cuda_epilogue_set(const cuda_call *call, cuda_matmul *p, bool *out_set)
{
    const col_plan_instruction *in = call->instruction;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    int64_t leading = 0;
    bool slope = in->matmul->epilogue == COL__PLAN__EPILOGUE__GELU_SLOPE;
    void *third = call->args[2], *second = in->n_writes > 1 ? call->args[in->n_reads + 1] : NULL;
    *out_set = false;
    if (p->swapped || p->calls != 1 || p->count != 1 || p->out_size != 2 || p->in_size != 2) return NULL;
    if (!slope && !is_aligned(third)) return NULL;
    if (slope && !find_leading(in->reads[2], third, p->out_size, &leading)) return NULL;
    if (second && !find_leading(in->writes[1], second, p->out_size, &leading)) return NULL;
    if (in->matmul->epilogue == COL__PLAN__EPILOGUE__BIAS_GELU)
        epilogue = second ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_BIAS;
    if (slope) epilogue = CUBLASLT_EPILOGUE_DGELU;
    COL_TRY(set(call, p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (!slope) COL_TRY(set(call, p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &third, sizeof third));
    if (slope || second) COL_TRY(set_aux(call, p, slope ? third : second, leading));
    *out_set = true;
    return NULL;
}

col_status cuda_epilogue_unset(const cuda_call *call, cuda_matmul *p)
{
    cublasLtEpilogue_t none = CUBLASLT_EPILOGUE_DEFAULT;
    return set(call, p, CUBLASLT_MATMUL_DESC_EPILOGUE, &none, sizeof none);
}

col_status cuda_epilogue_prepare(const cuda_context *context, const cuda_call *call, cuda_matmul *p)
{
    static const int kinds[] = {[COL__PLAN__EPILOGUE__BIAS] = CUDA_BIAS,
                                [COL__PLAN__EPILOGUE__BIAS_GELU] = CUDA_BIAS_GELU,
                                [COL__PLAN__EPILOGUE__GELU_SLOPE] = CUDA_GELU_SLOPE};
    const col_plan_instruction *in = call->instruction;
    const col_plan_view *c = in->writes[0], *third = in->reads[2],
                        *second = in->n_writes > 1 ? in->writes[1] : c;
    char name[64];
    bool is_vector = third->n_dims == 1;
    p->epilogue = (cuda_epilogue){
        .kind = kinds[in->matmul->epilogue],
        .count = c->dims[0] * c->dims[1],
        .columns = c->dims[1],
        .c = {c->strides[0], c->strides[1]},
        .third = {is_vector ? 0 : third->strides[0], third->strides[is_vector ? 0 : 1]},
        .second = {second->strides[0], second->strides[1]},
    };
    snprintf(name, sizeof name, "col_epilogue_%s", cuda_type_suffix(c->dtype));
    COL_TRY(cuda_find_own(context, name, &p->after));
    return cuda_blocks_of(in->name, p->epilogue.count, THREADS, &p->after_blocks);
}

col_status cuda_epilogue_run(const cuda_context *context, const cuda_call *call, const cuda_matmul *p)
{
    const col_plan_instruction *in = call->instruction;
    if (!p->after) return NULL;
    void *none = NULL, *description = (void *)(uintptr_t)&p->epilogue;
    void **second = in->n_writes > 1 ? &call->args[in->n_reads + 1] : &none;
    void *params[] = {description, &call->args[in->n_reads], &call->args[2], second};
    return cuda_launch(context, in->name, p->after, p->after_blocks, THREADS, 0, params);
}
