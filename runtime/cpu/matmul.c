/* Matrix products through oneDNN, prepared when the plan is loaded, one primitive per distinct problem; and
 * our own matrix-vector product, which is bound by reading the matrix once and needs no blocking. */
#include "runtime/cpu/cpu.h"

#include <dnnl.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIMS = COL_PLAN_MAX_RANK };

/* The shape of a product, batch dimensions merged where all three operands allow: equal keys, equal
 * primitives. Batch dimensions that both factors repeat, which oneDNN cannot say, are walked around the rest.
 */
typedef struct problem {
    int rank;
    int64_t dims[3][MAX_DIMS];
    int64_t strides[3][MAX_DIMS];
    int outer_rank;
    int64_t outer_dims[MAX_DIMS], outer_strides[MAX_DIMS]; /* the factors' strides there are 0 */
} problem;

struct cpu_matmul {
    struct cpu_matmul *next;
    problem key;
    bool is_vector; /* one row times a matrix: handled here */
    bool is_plain;  /* two dims, and each operand dense along one: oneDNN's sgemm */
    dnnl_primitive_t primitive;
    dnnl_memory_t memories[3], scratch;
};

struct cpu_matmuls {
    int threads;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    cpu_matmul *first;
    void *scratch; /* shared by all: instructions run one after another */
    size_t scratch_bytes;
};

#define DNNL_TRY(call)                                                                                       \
    do {                                                                                                     \
        dnnl_status_t dnnl_try_status_ = (call);                                                             \
        if (dnnl_try_status_ != dnnl_success) {                                                              \
            return col_error_make(COL_DEVICE, "oneDNN: %s failed with status %d", #call,                     \
                                  (int)dnnl_try_status_);                                                    \
        }                                                                                                    \
    } while (0)

cpu_matmuls *cpu_matmuls_create(int threads)
{
    cpu_matmuls *matmuls = calloc(1, sizeof *matmuls);
    if (!matmuls) COL_PANIC("out of memory");
    matmuls->threads = threads;
    return matmuls;
}

void cpu_matmuls_destroy(cpu_matmuls *matmuls)
{
    if (!matmuls) return;
    for (cpu_matmul *m = matmuls->first, *next; m; m = next) {
        next = m->next;
        for (int i = 0; i < 3; i++) {
            if (m->memories[i]) dnnl_memory_destroy(m->memories[i]);
        }
        if (m->scratch) dnnl_memory_destroy(m->scratch);
        if (m->primitive) dnnl_primitive_destroy(m->primitive);
        free(m);
    }
    if (matmuls->stream) dnnl_stream_destroy(matmuls->stream);
    if (matmuls->engine) dnnl_engine_destroy(matmuls->engine);
    free(matmuls->scratch);
    free(matmuls);
}

static bool batch_merges(const problem *p, int d)
{
    for (int i = 0; i < 3; i++) {
        if (p->strides[i][d] != p->strides[i][d + 1] * p->dims[i][d + 1] &&
            p->strides[i][d] + p->strides[i][d + 1]) {
            return false;
        }
    }
    return true;
}

static void remove_dim(problem *p, int d)
{
    for (int i = 0; i < 3; i++) {
        for (int j = d; j + 1 < p->rank; j++) {
            p->dims[i][j] = p->dims[i][j + 1];
            p->strides[i][j] = p->strides[i][j + 1];
        }
        p->dims[i][p->rank - 1] = p->strides[i][p->rank - 1] = 0;
    }
    p->rank--;
}

/* Drops batch dimensions of size 1, then merges neighbours that every operand walks with one stride. */
static problem make_problem(const col_plan_instruction *instruction)
{
    const col_plan_view *views[3] = {instruction->reads[0], instruction->reads[1], instruction->writes[0]};
    problem p = {.rank = (int)views[0]->n_dims};
    for (int i = 0; i < 3; i++) {
        for (int d = 0; d < p.rank; d++) {
            p.dims[i][d] = views[i]->dims[d];
            p.strides[i][d] = views[i]->strides[d];
        }
    }
    for (int d = p.rank - 3; d >= 0; d--) {
        if (p.dims[2][d] == 1) remove_dim(&p, d);
    }
    for (int d = p.rank - 3; d >= 0; d--) {
        if (p.strides[0][d] || p.strides[1][d]) continue;
        p.outer_dims[p.outer_rank] = p.dims[2][d];
        p.outer_strides[p.outer_rank++] = p.strides[2][d];
        remove_dim(&p, d);
    }
    for (int d = p.rank - 4; d >= 0; d--) {
        if (!batch_merges(&p, d)) continue;
        for (int i = 0; i < 3; i++) {
            p.dims[i][d + 1] *= p.dims[i][d];
        }
        remove_dim(&p, d);
    }
    for (int i = 0; i < 3; i++) {
        for (int d = 0; d + 2 < p.rank; d++) {
            if (p.strides[i][d] == 0) p.dims[i][d] = 1; /* oneDNN says broadcast by size 1 */
        }
        /* A stride along a dimension of size 1 is free: choose the one that keeps the matrix plainly dense.
         */
        for (int d = p.rank - 1; d >= 0; d--) {
            if (p.dims[i][d] != 1) continue;
            bool last = d == p.rank - 1;
            p.strides[i][d] = last ? (p.strides[i][d - 1] == 1 ? p.dims[i][d - 1] : 1)
                                   : p.strides[i][d + 1] * p.dims[i][d + 1];
        }
    }
    return p;
}

static bool is_vector_product(const problem *p)
{
    return p->rank == 2 && p->dims[2][0] == 1 && (p->strides[0][1] == 1 || p->dims[0][1] == 1) &&
           (p->strides[2][1] == 1 || p->dims[2][1] == 1) && (p->strides[1][0] == 1 || p->strides[1][1] == 1);
}

/* A leading dimension and whether the matrix is transposed, as BLAS has it; false when neither dim is dense.
 */
static bool is_dense(const problem *p, int i, bool *out_transposed, int64_t *out_leading)
{
    *out_transposed = p->strides[i][1] != 1;
    *out_leading = p->strides[i][*out_transposed ? 1 : 0];
    return p->strides[i][*out_transposed ? 0 : 1] == 1 && *out_leading >= p->dims[i][*out_transposed ? 0 : 1];
}

/* oneDNN has two ways to multiply matrices; on plain ones its sgemm is the faster, up to three times where
 * the inner dimension is short (weight gradients), since its matmul primitive packs an operand that is not in
 * blocked form. */
static bool is_plain_product(const problem *p)
{
    bool transposed;
    int64_t leading;
    return p->rank == 2 && is_dense(p, 0, &transposed, &leading) && is_dense(p, 1, &transposed, &leading) &&
           is_dense(p, 2, &transposed, &leading) && !transposed;
}

static col_status run_plain(const problem *p, const void *a, const void *b, void *c)
{
    bool ta, tb, tc;
    int64_t lda, ldb, ldc;
    COL_ASSERT(is_dense(p, 0, &ta, &lda) && is_dense(p, 1, &tb, &ldb) && is_dense(p, 2, &tc, &ldc));
    DNNL_TRY(dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', p->dims[2][0], p->dims[2][1], p->dims[0][1], 1, a,
                        lda, b, ldb, 0, c, ldc));
    return NULL;
}

static col_status create_primitive(cpu_matmuls *matmuls, cpu_matmul *m)
{
    if (!matmuls->engine) {
        DNNL_TRY(dnnl_engine_create(&matmuls->engine, dnnl_cpu, 0));
        DNNL_TRY(dnnl_stream_create(&matmuls->stream, matmuls->engine, dnnl_stream_default_flags));
    }
    dnnl_memory_desc_t descs[3];
    for (int i = 0; i < 3; i++) {
        DNNL_TRY(dnnl_memory_desc_init_by_strides(&descs[i], m->key.rank, m->key.dims[i], dnnl_f32,
                                                  m->key.strides[i]));
        DNNL_TRY(dnnl_memory_create(&m->memories[i], &descs[i], matmuls->engine, DNNL_MEMORY_NONE));
    }
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t primitive_desc = NULL;
    DNNL_TRY(dnnl_matmul_desc_init(&desc, &descs[0], &descs[1], NULL, &descs[2]));
    DNNL_TRY(dnnl_primitive_attr_create(&attr));
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    dnnl_status_t made = dnnl_primitive_desc_create(&primitive_desc, &desc, attr, matmuls->engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    DNNL_TRY(made);
    made = dnnl_primitive_create(&m->primitive, primitive_desc);
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_scratchpad_md, 0);
    size_t bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    if (made == dnnl_success && bytes)
        made = dnnl_memory_create(&m->scratch, scratch, matmuls->engine, DNNL_MEMORY_NONE);
    dnnl_primitive_desc_destroy(primitive_desc);
    DNNL_TRY(made);
    if (bytes > matmuls->scratch_bytes) {
        free(matmuls->scratch);
        matmuls->scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
        if (!matmuls->scratch) return col_error_make(COL_DEVICE, "no memory for %zu bytes of scratch", bytes);
        matmuls->scratch_bytes = bytes;
    }
    return NULL;
}

col_status cpu_matmul_prepare(cpu_matmuls *matmuls, const col_plan_instruction *instruction,
                              cpu_matmul **out_matmul)
{
    if (instruction->reads[0]->dtype != COL__PLAN__DTYPE__F32 ||
        instruction->writes[0]->dtype != COL__PLAN__DTYPE__F32) {
        return col_error_make(COL_BAD_INPUT, "'%s': matrix products on the CPU are fp32", instruction->name);
    }
    problem key = make_problem(instruction);
    for (cpu_matmul *m = matmuls->first; m; m = m->next) {
        if (!memcmp(&m->key, &key, sizeof key)) {
            *out_matmul = m;
            return NULL;
        }
    }
    cpu_matmul *m = calloc(1, sizeof *m);
    if (!m) COL_PANIC("out of memory");
    m->key = key;
    m->is_vector = is_vector_product(&key);
    m->next = matmuls->first;
    matmuls->first = m;
    *out_matmul = m;
    m->is_plain = !m->is_vector && is_plain_product(&key);
    if (m->is_vector || m->is_plain) return NULL;
    return col_error_annotate(create_primitive(matmuls, m), "'%s'", instruction->name);
}

typedef struct vector_job {
    const float *a, *b;
    float *c;
    int64_t k, row_stride;
} vector_job;

enum { COLUMN_BLOCK = 2048 }; /* accumulators: 8 KiB, well inside the first-level cache */

/* c = a B, B row-major: walks the rows of B, so every byte is read once and in order. */
__attribute__((target_clones("avx512f", "avx2", "default"))) static void
vector_times_rows(void *context, int64_t begin, int64_t end)
{
    const vector_job *job = context;
    for (int64_t block = begin; block < end; block += COLUMN_BLOCK) {
        int64_t columns = COL_MIN(end - block, (int64_t)COLUMN_BLOCK);
        float *restrict c = job->c + block;
        for (int64_t j = 0; j < columns; j++) c[j] = 0;
        int64_t k = 0;
        for (; k + 4 <= job->k; k += 4) {
            const float *restrict b = job->b + k * job->row_stride + block;
            float a0 = job->a[k], a1 = job->a[k + 1], a2 = job->a[k + 2], a3 = job->a[k + 3];
            const float *restrict b1 = b + job->row_stride, *restrict b2 = b1 + job->row_stride;
            const float *restrict b3 = b2 + job->row_stride;
#pragma omp simd
            for (int64_t j = 0; j < columns; j++) c[j] += a0 * b[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];
        }
        for (; k < job->k; k++) {
            const float *restrict b = job->b + k * job->row_stride + block;
            float a0 = job->a[k];
#pragma omp simd
            for (int64_t j = 0; j < columns; j++) c[j] += a0 * b[j];
        }
    }
}

enum { LANES = 64 }; /* partial sums of a dot product: four vectors of AVX-512 hide the latency of addition */

/* c = a B, B column-major: a dot product per column, each with the same order of additions wherever the
 * columns are cut. */
__attribute__((target_clones("avx512f", "avx2", "default"))) static void
vector_times_columns(void *context, int64_t begin, int64_t end)
{
    const vector_job *job = context;
    const float *restrict a = job->a;
    float *restrict c = job->c;
    int64_t size = job->k, stride = job->row_stride;
    for (int64_t j = begin; j < end; j++) {
        const float *restrict b = job->b + j * stride;
        float sums[LANES] = {0}, sum = 0;
        int64_t k = 0;
        for (; k + LANES <= size; k += LANES) {
#pragma omp simd
            for (int64_t l = 0; l < LANES; l++) sums[l] += a[k + l] * b[k + l];
        }
        for (; k < size; k++) sum += a[k] * b[k];
#pragma omp simd reduction(+ : sum)
        for (int64_t l = 0; l < LANES; l++) sum += sums[l];
        c[j] = sum;
    }
}

static col_status run_inner(cpu_matmuls *matmuls, cpu_matmul *m, const void *a, const void *b, void *c)
{
    if (m->is_vector) {
        bool rows = m->key.strides[1][1] == 1;
        vector_job job = {a, b, c, m->key.dims[0][1], m->key.strides[1][rows ? 0 : 1]};
        cpu_parallel_for(matmuls->threads, m->key.dims[2][1], 64,
                         rows ? vector_times_rows : vector_times_columns, &job);
        return NULL;
    }
    if (m->is_plain) return run_plain(&m->key, a, b, c);
    DNNL_TRY(dnnl_memory_set_data_handle(m->memories[0], (void *)(uintptr_t)a));
    DNNL_TRY(dnnl_memory_set_data_handle(m->memories[1], (void *)(uintptr_t)b));
    DNNL_TRY(dnnl_memory_set_data_handle(m->memories[2], c));
    dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, m->memories[0]},
        {DNNL_ARG_WEIGHTS, m->memories[1]},
        {DNNL_ARG_DST, m->memories[2]},
        {DNNL_ARG_SCRATCHPAD, m->scratch},
    };
    if (m->scratch) DNNL_TRY(dnnl_memory_set_data_handle(m->scratch, matmuls->scratch));
    DNNL_TRY(dnnl_primitive_execute(m->primitive, matmuls->stream, m->scratch ? 4 : 3, args));
    DNNL_TRY(dnnl_stream_wait(matmuls->stream));
    return NULL;
}

col_status cpu_matmul_run(cpu_matmuls *matmuls, cpu_matmul *m, const void *a, const void *b, void *c)
{
    const problem *p = &m->key;
    int64_t index[MAX_DIMS] = {0};
    float *to = c;
    for (;;) {
        COL_TRY(run_inner(matmuls, m, a, b, to));
        int d = 0;
        while (d < p->outer_rank && ++index[d] == p->outer_dims[d]) {
            to -= (p->outer_dims[d] - 1) * p->outer_strides[d];
            index[d++] = 0;
        }
        if (d == p->outer_rank) return NULL;
        to += p->outer_strides[d];
    }
}
