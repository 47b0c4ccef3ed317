/* Which of the library's algorithms multiplies: of the first that its heuristic gives for the shape, the fastest on this
 * GPU, measured once and kept (choices.h). None of them depends on a run, so two runs of a plan give the same bits.
 *
 * They are measured on the plan's own memory, before it holds anything, on random numbers: products of zeros are
 * faster. An earlier candidate stays unless a later one is faster by more than the noise. */
#include "runtime/cuda/matmul.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CANDIDATES = 8, RUNS = 5, KEY_BYTES = 512, WORD_DIGITS = 16 };
static const float NOISE = 0.01F, HOPELESS = 1.25F; /* of the best's time */

/* The largest power of two that all of the operand's matrices start at a multiple of, at most 256 bytes. */
static uint32_t alignment_of(const cuda_matmul *p, const cuda_matrix *m, const void *data, int64_t step,
                             size_t element)
{
    uint64_t all = 256 | (uint64_t)(uintptr_t)data | (uint64_t)step * element;
    for (int d = 0; d < p->outer_rank; d++) all |= (uint64_t)m->batch[d] * element;
    return (uint32_t)(all & -all);
}

typedef struct search {
    cuda_context *context;
    const cuda_call *call;
    cuda_matmul *p;
    uint32_t alignment[3]; /* of a, b, c */
    int count;
    cublasLtMatmulHeuristicResult_t candidates[CANDIDATES];
} search;

/* Candidates of the shape, none where the library does not take it. */
static col_status find_candidates(search *s)
{
    const char *name = s->call->instruction->name;
    cuda_matmul *p = s->p;
    cublasLtMatmulPreferenceOpaque_t preference;
    size_t bytes = CUDA_PRODUCT_WORKSPACE;
    const uint32_t *alignment = s->alignment;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t size;
    } attributes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &alignment[1],
         sizeof *alignment}, /* exchanged, as the */
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &alignment[0], sizeof *alignment}, /* operands are */
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &alignment[2], sizeof *alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &alignment[2], sizeof *alignment}};
    CUDA_BLAS_TRY(name, cublasLtMatmulPreferenceInit, &preference);
    for (size_t i = 0; i < COL_COUNT(attributes); i++) {
        CUDA_BLAS_TRY(name, cublasLtMatmulPreferenceSetAttribute, &preference, attributes[i].name,
                      attributes[i].value, attributes[i].size);
    }
    cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(s->context->blas, &p->how, &p->lb, &p->la, &p->lc, &p->lc, &preference,
                                       CANDIDATES, s->candidates, &s->count);
    if (status) s->count = 0;
    if (status && status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE)
        return cuda_blas_failure(name, "cublasLtMatmulAlgoGetHeuristic", status);
    return NULL;
}

/* Milliseconds of the fastest of some runs; infinite where it fails, or is without hope beside `best`. */
static col_status measure(search *s, int candidate, cudaEvent_t begin, cudaEvent_t end, float best,
                          float *out_time)
{
    cuda_context *context = s->context;
    const char *name = s->call->instruction->name;
    s->p->algorithm = s->candidates[candidate].algo;
    s->p->workspace = s->candidates[candidate].workspaceSize;
    *out_time = HUGE_VALF;
    for (int run = 0; run < RUNS; run++) {
        float time;
        CUDA_TRY(name, cudaEventRecord, begin, context->stream);
        col_status status = cuda_matmul_multiply(context, s->call, s->p, 1);
        if (status) { /* a candidate that is none */
            col_error_free(status);
            return NULL;
        }
        CUDA_TRY(name, cudaEventRecord, end, context->stream);
        CUDA_TRY(name, cudaEventSynchronize, end);
        CUDA_TRY(name, cudaEventElapsedTime, &time, begin, end);
        if (run) *out_time = COL_MIN(*out_time, time); /* the first loads code */
        if (run && time > HOPELESS * best) return NULL;
    }
    return NULL;
}

static col_status measure_all(search *s, cudaEvent_t begin, cudaEvent_t end, int *out_best)
{
    float best = HUGE_VALF, time;
    *out_best = 0;
    for (int i = 0; i < s->count; i++) {
        COL_TRY(measure(s, i, begin, end, best, &time));
        if (time >= best * (1 - NOISE)) continue;
        best = time;
        *out_best = i;
    }
    return NULL;
}

/* The library's algorithm as text, and back. */
static void print_algorithm(const cublasLtMatmulAlgo_t *algorithm, char *out)
{
    for (size_t i = 0; i < COL_COUNT(algorithm->data); i++)
        sprintf(out + WORD_DIGITS * i, "%016" PRIx64, algorithm->data[i]);
}

static bool scan_algorithm(const char *text, cublasLtMatmulAlgo_t *out)
{
    size_t words = COL_COUNT(out->data);
    if (strlen(text) != WORD_DIGITS * words) return false;
    for (size_t i = 0; i < words; i++) {
        if (sscanf(text + WORD_DIGITS * i, "%16" SCNx64, &out->data[i]) != 1) return false;
    }
    return true;
}
_Static_assert(sizeof(cublasLtMatmulAlgo_t) * 2 < CUDA_CHOICE_BYTES, "an algorithm is a choice");

/* Of cuda_choices_find. Where nothing is kept nothing is measured: the first is what every run would take. */
static col_status choose(void *context, char out[CUDA_CHOICE_BYTES])
{
    search *s = context;
    cudaEvent_t begin = NULL, end = NULL;
    int best = 0;
    COL_TRY(find_candidates(s));
    if (!s->count) return NULL;
    if (s->count > 1 && cuda_choices_are_kept(&s->context->choices)) {
        const char *name = s->call->instruction->name;
        COL_TRY(cuda_borrow_workspace(s->context, CUDA_PRODUCT_WORKSPACE));
        CUDA_TRY(name, cudaEventCreate, &begin);
        CUDA_TRY(name, cudaEventCreate, &end);
        COL_TRY(measure_all(s, begin, end, &best));
        cudaEventDestroy(begin);
        cudaEventDestroy(end);
    }
    print_algorithm(&s->candidates[best].algo, out);
    return NULL;
}

static int print_layout(char *out, size_t size, const cublasLtMatrixLayoutOpaque_t *layout)
{
    uint64_t rows = 0, columns = 0;
    int64_t leading = 0, step = 0;
    uint32_t type = 0;
    int32_t count = 0;
    size_t written;
    cublasLtMatrixLayout_t l = (cublasLtMatrixLayout_t)(uintptr_t)layout;
    cublasLtMatrixLayoutGetAttribute(l, CUBLASLT_MATRIX_LAYOUT_TYPE, &type, sizeof type, &written);
    cublasLtMatrixLayoutGetAttribute(l, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof rows, &written);
    cublasLtMatrixLayoutGetAttribute(l, CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof columns, &written);
    cublasLtMatrixLayoutGetAttribute(l, CUBLASLT_MATRIX_LAYOUT_LD, &leading, sizeof leading, &written);
    cublasLtMatrixLayoutGetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count, &written);
    cublasLtMatrixLayoutGetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step,
                                     &written);
    return snprintf(out, size, " %" PRIu64 "x%" PRIu64 ":%" PRId64 " type %u batch %d:%" PRId64, rows,
                    columns, leading, type, count, step);
}

/* All that the choice depends on. */
static void print_key(const search *s, char key[KEY_BYTES])
{
    cuda_matmul *p = s->p;
    int32_t a = 0, b = 0;
    uint32_t epilogue = 0;
    int64_t leading = 0;
    size_t written;
    cublasLtMatmulDescGetAttribute(&p->how, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a, &written);
    cublasLtMatmulDescGetAttribute(&p->how, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b, &written);
    cublasLtMatmulDescGetAttribute(&p->how, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue,
                                   &written);
    cublasLtMatmulDescGetAttribute(&p->how, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &leading, sizeof leading,
                                   &written);
    int at = snprintf(key, KEY_BYTES, "cublasLt %zu:", cublasLtGetVersion());
    const cublasLtMatrixLayoutOpaque_t *layouts[] = {&p->lb, &p->la, &p->lc};
    for (size_t i = 0; i < COL_COUNT(layouts); i++)
        at += print_layout(key + at, KEY_BYTES - (size_t)at, layouts[i]);
    if (s->call->instruction->matmul->accumulate) at += snprintf(key + at, KEY_BYTES - (size_t)at, " added");
    at += snprintf(key + at, KEY_BYTES - (size_t)at, " op %d %d epilogue %u:%" PRId64 " aligned %u %u %u", a,
                   b, epilogue, leading, s->alignment[1], s->alignment[0], s->alignment[2]);
    COL_ASSERT(at < KEY_BYTES);
}

col_status cuda_matmul_find_algorithm(cuda_context *context, cuda_call *call, cuda_matmul *p, bool *out_found)
{
    const col_plan_instruction *in = call->instruction;
    search s = {.context = context, .call = call, .p = p};
    s.alignment[0] = alignment_of(p, &p->a, call->args[p->swapped ? 1 : 0], p->steps[0], p->in_size);
    s.alignment[1] = alignment_of(p, &p->b, call->args[p->swapped ? 0 : 1], p->steps[1], p->in_size);
    s.alignment[2] = alignment_of(p, &p->c, call->args[in->n_reads], p->steps[2], p->out_size);
    char key[KEY_BYTES];
    const char *text;
    cublasLtMatmulHeuristicResult_t checked;
    print_key(&s, key);
    COL_TRY(cuda_choices_find(&context->choices, key, choose, &s, &text));
    *out_found = *text != '\0';
    if (!*out_found) return NULL;
    bool good = scan_algorithm(text, &p->algorithm) &&
                !cublasLtMatmulAlgoCheck(context->blas, &p->how, &p->lb, &p->la, &p->lc, &p->lc,
                                         &p->algorithm, &checked) &&
                checked.workspaceSize <= CUDA_PRODUCT_WORKSPACE;
    if (!good) {
        return col_error_make(
            COL_DEVICE,
            "'%s': the library does not take the algorithm that the cache of measured ones has: "
            "remove %s, and they are measured again",
            in->name, context->choices.path ? context->choices.path : "that of rank 0");
    }
    p->workspace = checked.workspaceSize;
    cuda_want(context, call, p->workspace);
    return NULL;
}
