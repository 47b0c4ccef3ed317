/* Matrix products: oneDNN's sgemm on tiles of the result, and our own product of a vector and a matrix, which
 * is bound by reading the matrix once and needs no blocking.
 *
 * The tiles depend on the shape alone and each is computed by one thread, so that the number of threads never
 * changes a result; a library's own parallel product may cut the inner dimension by it. */
#include "runtime/cpu/cpu.h"

#include <dnnl.h>
#include <string.h>

enum {
    TILE_ROWS = 512,
    TILE_COLUMNS = 768,
    LEAST_ROWS = 64,
    LEAST_COLUMNS = 192,
    WANTED_TILES = 4,
    COLUMN_ALIGNMENT = 16, /* floats of a cache line */
    SMALL = 1 << 21,       /* floating-point operations that do not pay for waking a thread */
    VECTOR_COST = 16,      /* how much longer one takes where every number comes from memory */
};

/* A [rows, columns] matrix for every index of the batch dimensions; strides in elements. */
typedef struct matrix {
    int64_t rows, columns;
    int64_t row_stride, column_stride;
    int64_t batch_strides[COL_PLAN_MAX_RANK];
    bool sgemm_reads; /* rows or columns are dense */
    char transposed;  /* 'T' when the columns are, as sgemm wants to be told */
    int64_t leading;
} matrix;

struct cpu_matmul {
    int batch_rank;
    int64_t batch_dims[COL_PLAN_MAX_RANK], batches;
    matrix a, b, c; /* c = a b, and c's columns are dense only if its rows are not */
    bool swapped;   /* a is the instruction's second operand */
    float beta;     /* 1: c += a b */
    bool is_vector;
    int64_t row_tiles, column_tiles; /* of each of the batch */
    int threads;
};

static matrix matrix_of(const col_plan_view *view)
{
    size_t batch = view->n_dims - 2;
    matrix m = {.rows = view->dims[batch],
                .columns = view->dims[batch + 1],
                .row_stride = view->strides[batch],
                .column_stride = view->strides[batch + 1]};
    memcpy(m.batch_strides, view->strides, batch * sizeof *view->strides);
    return m;
}

static matrix transpose(matrix m)
{
    matrix t = m;
    t.rows = m.columns;
    t.columns = m.rows;
    t.row_stride = m.column_stride;
    t.column_stride = m.row_stride;
    return t;
}

/* A stride along a dimension of size 1 means nothing, but sgemm checks the leading one. */
static void describe(matrix *m)
{
    bool rows_dense = m->columns == 1 || m->column_stride == 1;
    bool columns_dense = m->rows == 1 || m->row_stride == 1;
    if (rows_dense && (m->rows == 1 || m->row_stride >= m->columns)) {
        m->transposed = 'N';
        m->leading = m->rows == 1 ? m->columns : m->row_stride;
    } else if (columns_dense && (m->columns == 1 || m->column_stride >= m->rows)) {
        m->transposed = 'T';
        m->leading = m->columns == 1 ? m->rows : m->column_stride;
    }
    m->sgemm_reads = m->transposed != '\0';
}

static int64_t pieces(int64_t size, int64_t piece)
{
    return (size + piece - 1) / piece;
}

/* Large tiles repack their operands less often for the same arithmetic, small ones occupy more threads. */
static void choose_tiles(cpu_matmul *p)
{
    int64_t rows = COL_MIN(p->c.rows, (int64_t)TILE_ROWS),
            columns = COL_MIN(p->c.columns, (int64_t)TILE_COLUMNS);
    for (;;) {
        p->row_tiles = pieces(p->c.rows, rows);
        p->column_tiles = pieces(p->c.columns, columns);
        bool enough = p->batches * p->row_tiles * p->column_tiles >= WANTED_TILES;
        if (enough || (rows <= LEAST_ROWS && columns <= LEAST_COLUMNS)) return;
        if (columns > LEAST_COLUMNS && (columns > rows || rows <= LEAST_ROWS))
            columns = pieces(columns, 2);
        else
            rows = pieces(rows, 2);
    }
}

col_status cpu_matmul_prepare(col_arena *arena, int threads, const col_plan_instruction *in,
                              cpu_matmul **out_matmul)
{
    const col_plan_view *out = in->writes[0];
    if (in->reads[0]->dtype != COL__PLAN__DTYPE__F32 || out->dtype != COL__PLAN__DTYPE__F32)
        return col_error_make(COL_BAD_INPUT, "'%s': matrix products on the CPU are fp32", in->name);
    if (in->matmul && in->matmul->epilogue)
        return col_error_make(COL_BAD_INPUT,
                              "'%s' is a product with an epilogue, which the CPU does not make", in->name);
    cpu_matmul *p = COL_NEW(arena, cpu_matmul);
    p->batch_rank = (int)out->n_dims - 2;
    memcpy(p->batch_dims, out->dims, (size_t)p->batch_rank * sizeof *out->dims);
    p->batches = col_plan_numel((size_t)p->batch_rank, out->dims);
    p->a = matrix_of(in->reads[0]);
    p->b = matrix_of(in->reads[1]);
    p->c = matrix_of(out);
    describe(&p->c);
    /* A result in columns, and a column, are the transpose's rows: c' = b' a'. */
    p->swapped = p->c.rows > 1 && (p->c.transposed == 'T' || p->c.columns == 1);
    if (p->swapped) {
        matrix a = p->a;
        p->a = transpose(p->b);
        p->b = transpose(a);
        p->c = transpose(p->c);
        p->c.transposed = '\0';
        describe(&p->c);
    }
    describe(&p->a);
    describe(&p->b);
    const matrix *a = &p->a, *b = &p->b, *c = &p->c;
    p->beta = in->matmul->accumulate ? 1 : 0;
    p->is_vector = !in->matmul->accumulate && p->batches == 1 && c->rows == 1 &&
                   (a->column_stride == 1 || a->columns == 1) && (c->column_stride == 1 || c->columns == 1) &&
                   (b->row_stride == 1 || b->column_stride == 1);
    int64_t small = p->is_vector ? SMALL / VECTOR_COST : SMALL;
    p->threads = 2 * p->batches * c->rows * c->columns * a->columns < small ? 1 : threads;
    choose_tiles(p);
    *out_matmul = p;
    return NULL;
}

/* --- one row times a matrix --- */

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

static void run_vector(const cpu_matmul *p, const float *a, const float *b, float *c)
{
    bool rows = p->b.column_stride == 1;
    vector_job job = {a, b, c, p->b.rows, rows ? p->b.row_stride : p->b.column_stride};
    cpu_parallel_for(p->threads, p->c.columns, 64, rows ? vector_times_rows : vector_times_columns, &job);
}

/* --- tiles --- */

typedef struct tiles_job {
    const cpu_matmul *p;
    const float *a, *b;
    float *c;
} tiles_job;

static int64_t batch_offset(const cpu_matmul *p, const matrix *m, int64_t number)
{
    int64_t offset = 0;
    for (int d = p->batch_rank; d-- > 0; number /= p->batch_dims[d])
        offset += number % p->batch_dims[d] * m->batch_strides[d];
    return offset;
}

/* For matrices that sgemm cannot take: neither rows nor columns are dense, or elements repeat. */
static void multiply_plainly(const cpu_matmul *p, int64_t rows, int64_t columns, const float *a,
                             const float *b, float *c)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            float sum = 0;
            for (int64_t k = 0; k < p->b.rows; k++) {
                sum += a[i * p->a.row_stride + k * p->a.column_stride] *
                       b[k * p->b.row_stride + j * p->b.column_stride];
            }
            float *to = &c[i * p->c.row_stride + j * p->c.column_stride];
            *to = p->beta > 0 ? *to + sum : sum;
        }
    }
}

static int64_t column_of(const cpu_matmul *p, int64_t tile)
{
    if (tile == p->column_tiles) return p->c.columns;
    return p->c.columns * tile / p->column_tiles / COLUMN_ALIGNMENT * COLUMN_ALIGNMENT;
}

static void run_tile(void *context, int64_t tile)
{
    const tiles_job *job = context;
    const cpu_matmul *p = job->p;
    int64_t each = p->row_tiles * p->column_tiles, number = tile / each;
    int64_t row_tile = tile % p->row_tiles, column_tile = tile % each / p->row_tiles;
    int64_t row = p->c.rows * row_tile / p->row_tiles, column = column_of(p, column_tile);
    int64_t rows = p->c.rows * (row_tile + 1) / p->row_tiles - row;
    int64_t columns = column_of(p, column_tile + 1) - column;
    const float *a = job->a + batch_offset(p, &p->a, number) + row * p->a.row_stride;
    const float *b = job->b + batch_offset(p, &p->b, number) + column * p->b.column_stride;
    float *c = job->c + batch_offset(p, &p->c, number) + row * p->c.row_stride + column * p->c.column_stride;
    if (!p->a.sgemm_reads || !p->b.sgemm_reads || p->c.transposed != 'N') {
        multiply_plainly(p, rows, columns, a, b, c);
        return;
    }
    dnnl_status_t status = dnnl_sgemm(p->a.transposed, p->b.transposed, rows, columns, p->b.rows, 1, a,
                                      p->a.leading, b, p->b.leading, p->beta, c, p->c.leading);
    COL_ASSERT(status == dnnl_success);
}

void cpu_matmul_run(const cpu_matmul *p, void *const *args)
{
    const float *a = args[p->swapped ? 1 : 0], *b = args[p->swapped ? 0 : 1];
    if (p->is_vector) {
        run_vector(p, a, b, args[2]);
        return;
    }
    tiles_job job = {p, a, b, args[2]};
    cpu_parallel_each(p->threads, p->batches * p->row_tiles * p->column_tiles, run_tile, &job);
}
