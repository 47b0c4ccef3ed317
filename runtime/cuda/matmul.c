/* Matrix products through cuBLASLt. Its matrices are columns after columns, so a row-major C = A B is told to
 * it as C' = B' A'; operands whose columns are dense are transposed on the way, and nothing is stored
 * transposed.
 *
 * fp32 products are exact: TF32 is not used. Which algorithm multiplies is in matmul_search.c. */
#include "runtime/cuda/matmul.h"

#include <stdio.h>
#include <string.h>

enum { THREADS = 256 };

cuda_matrix cuda_matrix_of(const col_plan_view *view)
{
    size_t batch = view->n_dims - 2;
    cuda_matrix m = {
        view->dims[batch], view->dims[batch + 1], view->strides[batch], view->strides[batch + 1], {0}};
    memcpy(m.batch, view->strides, batch * sizeof *view->strides);
    return m;
}

static cuda_matrix transpose(cuda_matrix m)
{
    cuda_matrix t = m;
    t.rows = m.columns;
    t.columns = m.rows;
    t.row_stride = m.column_stride;
    t.column_stride = m.row_stride;
    return t;
}

bool cuda_matrix_has_dense_rows(const cuda_matrix *m, int64_t *out_leading)
{
    if (m->columns > 1 && m->column_stride != 1) return false;
    *out_leading = m->rows > 1 ? m->row_stride : m->columns;
    return *out_leading >= m->columns;
}

/* Merges batch dims, outermost first, that all three matrices walk as one; the innermost goes into one call.
 */
static void merge_batch(const col_plan_view *out, cuda_matmul *p)
{
    cuda_matrix *all[] = {&p->a, &p->b, &p->c};
    int rank = 0;
    int64_t dims[COL_PLAN_MAX_RANK];
    for (size_t d = 0; d + 2 < out->n_dims; d++) {
        if (out->dims[d] == 1) continue;
        bool one = rank > 0;
        for (int i = 0; i < 3 && one; i++) one = all[i]->batch[rank - 1] == all[i]->batch[d] * out->dims[d];
        if (!one) rank++;
        dims[rank - 1] = one ? dims[rank - 1] * out->dims[d] : out->dims[d];
        for (int i = 0; i < 3; i++) all[i]->batch[rank - 1] = all[i]->batch[d];
    }
    p->count = 1;
    if (rank) {
        rank--;
        p->count = dims[rank];
        for (int i = 0; i < 3; i++) p->steps[i] = all[i]->batch[rank];
    }
    p->outer_rank = rank;
    p->calls = 1;
    for (int d = 0; d < rank; d++) {
        p->outer_dims[d] = dims[d];
        p->calls *= dims[d];
    }
}

static bool find_type(Col__Plan__Dtype dtype, cudaDataType_t *out)
{
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: *out = CUDA_R_32F; return true;
    case COL__PLAN__DTYPE__BF16: *out = CUDA_R_16BF; return true;
    case COL__PLAN__DTYPE__F16: *out = CUDA_R_16F; return true;
    default: return false;
    }
}

static col_status make_layout(const char *name, cublasLtMatrixLayout_t out, cudaDataType_t type, int64_t rows,
                              int64_t columns, int64_t leading, int64_t count, int64_t step)
{
    int32_t batch = (int32_t)count;
    CUDA_BLAS_TRY(name, cublasLtMatrixLayoutInit, out, type, (uint64_t)rows, (uint64_t)columns, leading);
    CUDA_BLAS_TRY(name, cublasLtMatrixLayoutSetAttribute, out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                  sizeof batch);
    CUDA_BLAS_TRY(name, cublasLtMatrixLayoutSetAttribute, out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                  &step, sizeof step);
    return NULL;
}

/* An operand of the library, m' of the row-major m: dense rows are its columns. */
static col_status make_operand(const char *name, cuda_matmul *p, const cuda_matrix *m, cudaDataType_t type,
                               int64_t count, int64_t step, cublasLtMatmulDescAttributes_t attribute,
                               cublasLtMatrixLayout_t out)
{
    int64_t leading;
    cuda_matrix turned = transpose(*m);
    bool rows = cuda_matrix_has_dense_rows(m, &leading);
    cublasOperation_t operation = rows ? CUBLAS_OP_N : CUBLAS_OP_T;
    if (!rows) COL_ASSERT(cuda_matrix_has_dense_rows(&turned, &leading));
    CUDA_BLAS_TRY(name, cublasLtMatmulDescSetAttribute, &p->how, attribute, &operation, sizeof operation);
    return make_layout(name, out, type, rows ? m->columns : m->rows, rows ? m->rows : m->columns, leading,
                       count, step);
}

static int64_t offset_of(const cuda_matmul *p, const cuda_matrix *m, int64_t number)
{
    int64_t offset = 0;
    for (int d = p->outer_rank; d-- > 0; number /= p->outer_dims[d])
        offset += number % p->outer_dims[d] * m->batch[d];
    return offset;
}

col_status cuda_matmul_multiply(const cuda_context *context, const cuda_call *call, cuda_matmul *p,
                                int64_t calls)
{
    const float one = 1, beta = call->instruction->matmul->accumulate ? 1 : 0;
    const char *a = call->args[p->swapped ? 1 : 0], *b = call->args[p->swapped ? 0 : 1];
    char *c = call->args[call->instruction->n_reads];
    for (int64_t i = 0; i < calls; i++) {
        const char *at_a = a + offset_of(p, &p->a, i) * (int64_t)p->in_size;
        const char *at_b = b + offset_of(p, &p->b, i) * (int64_t)p->in_size;
        char *at_c = c + offset_of(p, &p->c, i) * (int64_t)p->out_size;
        CUDA_BLAS_TRY(call->instruction->name, cublasLtMatmul, context->blas, &p->how, &one, at_b, &p->lb,
                      at_a, &p->la, &beta, at_c, &p->lc, at_c, &p->lc, &p->algorithm, context->workspace,
                      p->workspace, context->stream);
    }
    return NULL;
}

static col_status run_library(const cuda_context *context, const cuda_call *call)
{
    cuda_matmul *p = call->state;
    COL_TRY(cuda_matmul_multiply(context, call, p, p->calls));
    return cuda_epilogue_run(context, call, p);
}

static col_status run_plain(const cuda_context *context, const cuda_call *call)
{
    const cuda_matmul *p = call->state;
    void *params[] = {(void *)(uintptr_t)&p->description, &call->args[call->instruction->n_reads],
                      &call->args[0], &call->args[1]};
    COL_TRY(cuda_launch(context, call->instruction->name, p->plain, p->blocks, THREADS, 0, params));
    return cuda_epilogue_run(context, call, p);
}

/* For matrices of which neither rows nor columns are dense, or whose elements repeat. */
static col_status prepare_plain(cuda_context *context, cuda_call *call, cuda_matmul *p)
{
    const col_plan_instruction *in = call->instruction;
    const col_plan_view *a = in->reads[0], *b = in->reads[1], *c = in->writes[0];
    cuda_product *d = &p->description;
    size_t batch = c->n_dims - 2;
    char name[64];
    *d = (cuda_product){.batch_rank = (int32_t)batch, .count = col_plan_numel(c->n_dims, c->dims)};
    d->wide = c->dtype == COL__PLAN__DTYPE__F32;
    d->accumulate = in->matmul->accumulate;
    d->rows = c->dims[batch];
    d->columns = c->dims[batch + 1];
    d->inner = a->dims[batch + 1];
    memcpy(d->batch, c->dims, batch * sizeof *c->dims);
    memcpy(d->a, a->strides, c->n_dims * sizeof *a->strides);
    memcpy(d->b, b->strides, c->n_dims * sizeof *b->strides);
    memcpy(d->c, c->strides, c->n_dims * sizeof *c->strides);
    snprintf(name, sizeof name, "col_product_%s", cuda_type_suffix(a->dtype));
    COL_TRY(cuda_find_own(context, name, &p->plain));
    if (in->matmul->epilogue) COL_TRY(cuda_epilogue_prepare(context, call, p));
    call->run = run_plain;
    return cuda_blocks_of(in->name, d->count, THREADS, &p->blocks);
}

static bool is_readable(const cuda_matrix *m)
{
    int64_t leading;
    cuda_matrix turned = transpose(*m);
    return cuda_matrix_has_dense_rows(m, &leading) || cuda_matrix_has_dense_rows(&turned, &leading);
}

col_status cuda_matmul_prepare(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    const col_plan_view *out = in->writes[0];
    cudaDataType_t in_type, out_type;
    bool known = find_type(in->reads[0]->dtype, &in_type) && find_type(out->dtype, &out_type);
    if (!known || (in->reads[0]->dtype != out->dtype && out->dtype != COL__PLAN__DTYPE__F32)) {
        return col_error_make(COL_BAD_INPUT, "'%s': matrix products of %s into %s are not made on a GPU",
                              in->name, col_plan_dtype_name(in->reads[0]->dtype),
                              col_plan_dtype_name(out->dtype));
    }
    cuda_matmul *p = COL_NEW(context->memory, cuda_matmul);
    call->state = p;
    p->in_size = col_plan_dtype_size(in->reads[0]->dtype);
    p->out_size = col_plan_dtype_size(out->dtype);
    p->a = cuda_matrix_of(in->reads[0]);
    p->b = cuda_matrix_of(in->reads[1]);
    p->c = cuda_matrix_of(out);
    int64_t leading;
    if (!cuda_matrix_has_dense_rows(&p->c, &leading)) { /* its columns may be: c' = b' a' */
        cuda_matrix a = p->a;
        p->a = transpose(p->b);
        p->b = transpose(a);
        p->c = transpose(p->c);
        p->swapped = true;
    }
    if (!cuda_matrix_has_dense_rows(&p->c, &leading) || !is_readable(&p->a) || !is_readable(&p->b))
        return prepare_plain(context, call, p);
    merge_batch(out, p);
    if (p->count > INT32_MAX) return prepare_plain(context, call, p);
    CUDA_BLAS_TRY(in->name, cublasLtMatmulDescInit, &p->how, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    COL_TRY(make_operand(in->name, p, &p->b, in_type, p->count, p->steps[1], CUBLASLT_MATMUL_DESC_TRANSA,
                         &p->lb));
    COL_TRY(make_operand(in->name, p, &p->a, in_type, p->count, p->steps[0], CUBLASLT_MATMUL_DESC_TRANSB,
                         &p->la));
    COL_TRY(make_layout(in->name, &p->lc, out_type, p->c.columns, p->c.rows, leading, p->count, p->steps[2]));
    bool found, inside = false;
    if (in->matmul->epilogue) COL_TRY(cuda_epilogue_set(call, p, &inside));
    COL_TRY(cuda_matmul_find_algorithm(context, call, p, &found));
    if (!found && inside) {
        inside = false;
        COL_TRY(cuda_epilogue_unset(call, p));
        COL_TRY(cuda_matmul_find_algorithm(context, call, p, &found));
    }
    if (found && in->matmul->epilogue && !inside) COL_TRY(cuda_epilogue_prepare(context, call, p));
    if (!found) return prepare_plain(context, call, p);
    call->run = run_library;
    return NULL;
}
