/* Attention without the T x T matrix in memory: blocks of queries meet blocks of keys, with the running
 * maximum and sum of FlashAttention (Dao et al., arXiv 2205.14135); the backward pass recomputes the
 * probabilities from the log-sum-exp of each row. Matrix products of blocks are oneDNN's sgemm, which runs on
 * the calling thread inside a parallel region.
 *
 * Shapes: q, out, dout, dq [b, t, h, d]; k, v, dk, dv [b, s, h, d]; lse [b, h, t]. Strides are the views'
 * own; the last is 1 (checked at load).
 *
 * The work is cut by (batch, head, block of queries) forward and by (batch, head) backward, and every sum has
 * the same order however many threads there are. */
#include "runtime/cpu/cpu.h"

#include <dnnl.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/philox.h"

/* Loops over floats: a version per instruction set, chosen when the program starts. */
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))

enum {
    QUERIES = 64, /* of a block */
    KEYS = 256,
    MAX_HEAD = 256,
    SMALL = 1 << 20, /* floating-point operations */
};

/* One [rows, d] matrix per (batch, head). */
typedef struct heads {
    float *data;
    int64_t batch, row, head; /* strides in elements */
} heads;

typedef struct attention {
    heads q, k, v, out, dout, dq, dk, dv;
    float *lse;
    int64_t lse_batch, lse_head, lse_row;
    const float *mask;
    int64_t mask_strides[4];
    int64_t b, t, s, h, d;
    int64_t first; /* position of the first query among the keys, for the causal limit */
    bool causal;
    float scale, rate;
    uint64_t seed;
    uint32_t step, salt;
    int64_t all_heads, first_score; /* these are a block of the scores that dropout numbers */
} attention;

/* The stride of a single row means nothing and may be anything, but sgemm wants a leading dimension of at
 * least the columns. */
static heads heads_of(const col_plan_view *view, void *data)
{
    int64_t row = view->dims[1] == 1 ? view->dims[3] : view->strides[1];
    return (heads){data, view->strides[0], row, view->strides[2]};
}

static float *head_at(const heads *x, int64_t b, int64_t h, int64_t row)
{
    return x->data + b * x->batch + h * x->head + row * x->row;
}

/* The index of the mask among the views, reads first; beyond them where there is none. */
static size_t mask_index(const col_plan_instruction *in)
{
    if (in->kind_case != COL__PLAN__INSTRUCTION__KIND_ATTENTION || !in->attention->masked) return SIZE_MAX;
    return in->attention->backward ? 6 : 3;
}

col_status cpu_attention_check(const col_plan_instruction *in)
{
    for (size_t i = 0; i < in->n_reads + in->n_writes; i++) {
        const col_plan_view *v = i < in->n_reads ? in->reads[i] : in->writes[i - in->n_reads];
        if (v->n_dims != 4) continue;
        bool dense =
            i == mask_index(in) || ((v->strides[3] == 1 || v->dims[3] == 1) && v->dims[3] <= MAX_HEAD);
        if (dense && v->dtype == COL__PLAN__DTYPE__F32) continue;
        return col_error_make(COL_BAD_INPUT,
                              "'%s': attention on the CPU takes fp32 with dense heads of at most %d",
                              in->name, MAX_HEAD);
    }
    return NULL;
}

/* e^x within 2 ulp for x <= 0; 0 below -87; NaN stays NaN. Cephes' polynomial on [-ln2/2, ln2/2]. */
static inline float exp_negative(float x)
{
    float least = x < -87.0f ? -87.0f : x;
    float n = rintf(least * 1.44269504088896341f);
    float r = least - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((isnan(n) ? 0 : (int32_t)n) + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? 0.0f : p * power;
}

/* oneDNN's product of row-major matrices: c = alpha a b + beta c. */
static void multiply(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                     int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    dnnl_status_t status = dnnl_sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    COL_ASSERT(status == dnnl_success);
}

/* Keys that the query row sees: [0, limit). */
static int64_t key_limit(const attention *a, int64_t row)
{
    return a->causal ? COL_MIN(a->s, a->first + row + 1) : a->s;
}

/* scores[i][j] = scale q_i k_j + mask, -inf where the causal limit hides the key. */
static void score_block(const attention *a, int64_t b, int64_t h, int64_t q0, int64_t rows, int64_t k0,
                        int64_t columns, float *scores)
{
    multiply('N', 'T', rows, columns, a->d, a->scale, head_at(&a->q, b, h, q0), a->q.row,
             head_at(&a->k, b, h, k0), a->k.row, 0, scores, KEYS);
    for (int64_t i = 0; i < rows; i++) {
        float *row = scores + i * KEYS;
        if (a->mask) {
            const float *mask =
                a->mask + b * a->mask_strides[0] + h * a->mask_strides[1] + (q0 + i) * a->mask_strides[2];
            for (int64_t j = 0; j < columns; j++) row[j] += mask[(k0 + j) * a->mask_strides[3]];
        }
        for (int64_t j = COL_MAX(key_limit(a, q0 + i) - k0, 0); j < columns; j++) row[j] = -INFINITY;
    }
}

/* Zeroes what dropout drops and scales the rest; the element's number is that of [b, h, t, s] flattened, of
 * all batches and heads. */
static void drop_block(const attention *a, int64_t b, int64_t h, int64_t q0, int64_t rows, int64_t k0,
                       int64_t columns, float *p)
{
    float keep = 1 / (1 - a->rate);
    for (int64_t i = 0; i < rows; i++) {
        int64_t element = a->first_score + ((b * a->all_heads + h) * a->t + q0 + i) * a->s + k0;
        for (int64_t j = 0; j < columns; j++) {
            float u = col_philox_at(a->seed, a->step, a->salt, (uint64_t)(element + j));
            p[i * KEYS + j] = u < a->rate ? 0 : p[i * KEYS + j] * keep;
        }
    }
}

/* One row of a block meets its running maximum and sum; returns the factor by which earlier output shrinks.
 */
VECTORISED static float softmax_row(float *row, int64_t columns, float *max, float *sum)
{
    float top = *max, total = 0;
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < columns; j++) top = row[j] > top ? row[j] : top;
    if (top == -INFINITY) {
        for (int64_t j = 0; j < columns; j++) row[j] = isnan(row[j]) ? row[j] : 0;
        return 1;
    }
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < columns; j++) {
        row[j] = exp_negative(row[j] - top);
        total += row[j];
    }
    float shrink = *max == -INFINITY ? 0 : expf(*max - top);
    *sum = *sum * shrink + total;
    *max = top;
    return shrink;
}

VECTORISED static void scale_row(float *row, int64_t columns, float factor)
{
#pragma omp simd
    for (int64_t c = 0; c < columns; c++) row[c] *= factor;
}

/* A block of queries against all its keys. */
static void forward_block(const attention *a, int64_t b, int64_t h, int64_t q0)
{
    float scores[QUERIES * KEYS], max[QUERIES], sum[QUERIES];
    int64_t rows = COL_MIN(a->t - q0, (int64_t)QUERIES);
    float *out = head_at(&a->out, b, h, q0);
    for (int64_t i = 0; i < rows; i++) {
        max[i] = -INFINITY;
        sum[i] = 0;
        memset(out + i * a->out.row, 0, (size_t)a->d * sizeof *out);
    }
    int64_t keys = key_limit(a, q0 + rows - 1);
    for (int64_t k0 = 0; k0 < keys; k0 += KEYS) {
        int64_t columns = COL_MIN(keys - k0, (int64_t)KEYS);
        score_block(a, b, h, q0, rows, k0, columns, scores);
        for (int64_t i = 0; i < rows; i++) {
            float shrink = softmax_row(scores + i * KEYS, columns, &max[i], &sum[i]);
            if (k0) scale_row(out + i * a->out.row, a->d, shrink);
        }
        if (a->rate > 0) drop_block(a, b, h, q0, rows, k0, columns, scores);
        multiply('N', 'N', rows, a->d, columns, 1, scores, KEYS, head_at(&a->v, b, h, k0), a->v.row, 1, out,
                 a->out.row);
    }
    for (int64_t i = 0; i < rows; i++) {
        float inverse = sum[i] > 0 ? 1 / sum[i] : 0; /* a row that sees no key gives zeros */
        scale_row(out + i * a->out.row, a->d, inverse);
        if (!a->lse) continue;
        a->lse[b * a->lse_batch + h * a->lse_head + (q0 + i) * a->lse_row] =
            sum[i] > 0 ? max[i] + logf(sum[i]) : -INFINITY;
    }
}

static int64_t query_blocks(const attention *a)
{
    return (a->t + QUERIES - 1) / QUERIES;
}

static void forward_piece(void *context, int64_t piece)
{
    const attention *a = context;
    int64_t blocks = query_blocks(a), head = piece / blocks;
    forward_block(a, head / a->h, head % a->h, piece % blocks * QUERIES);
}

/* One thread where the arithmetic would not pay for waking another. */
static int useful_threads(const attention *a, int threads)
{
    return 4 * a->b * a->h * a->t * key_limit(a, a->t - 1) * a->d < SMALL ? 1 : threads;
}

static void run_forward(int threads, attention *a)
{
    cpu_parallel_each(useful_threads(a, threads), a->b * a->h * query_blocks(a), forward_piece, a);
}

/* p = e^(scores - lse); with the row's delta = sum(dout * out): ds = p (dp - delta) scale. */
VECTORISED static void probabilities(float *p, int64_t columns, float lse)
{
    if (lse == -INFINITY) lse = INFINITY; /* a row that saw no key: all zeros */
#pragma omp simd
    for (int64_t j = 0; j < columns; j++) p[j] = exp_negative(p[j] > lse ? 0 : p[j] - lse);
}

VECTORISED static void score_gradients(float *restrict ds, const float *restrict p, int64_t columns,
                                       float delta, float scale)
{
#pragma omp simd
    for (int64_t j = 0; j < columns; j++) ds[j] = p[j] * (ds[j] - delta) * scale;
}

static void backward_block(const attention *a, int64_t b, int64_t h, int64_t q0, int64_t k0,
                           const float *delta)
{
    float p[QUERIES * KEYS], dropped[QUERIES * KEYS], ds[QUERIES * KEYS];
    int64_t rows = COL_MIN(a->t - q0, (int64_t)QUERIES),
            columns = COL_MIN(key_limit(a, q0 + rows - 1) - k0, (int64_t)KEYS);
    score_block(a, b, h, q0, rows, k0, columns, p);
    for (int64_t i = 0; i < rows; i++) {
        probabilities(p + i * KEYS, columns,
                      a->lse[b * a->lse_batch + h * a->lse_head + (q0 + i) * a->lse_row]);
    }
    const float *dout = head_at(&a->dout, b, h, q0), *used = p;
    multiply('N', 'T', rows, columns, a->d, 1, dout, a->dout.row, head_at(&a->v, b, h, k0), a->v.row, 0, ds,
             KEYS);
    if (a->rate > 0) {
        memcpy(dropped, p, sizeof p);
        drop_block(a, b, h, q0, rows, k0, columns, dropped);
        drop_block(a, b, h, q0, rows, k0, columns, ds);
        used = dropped;
    }
    multiply('T', 'N', columns, a->d, rows, 1, used, KEYS, dout, a->dout.row, 1, head_at(&a->dv, b, h, k0),
             a->dv.row);
    for (int64_t i = 0; i < rows; i++)
        score_gradients(ds + i * KEYS, p + i * KEYS, columns, delta[i], a->scale);
    multiply('T', 'N', columns, a->d, rows, 1, ds, KEYS, head_at(&a->q, b, h, q0), a->q.row, 1,
             head_at(&a->dk, b, h, k0), a->dk.row);
    multiply('N', 'N', rows, a->d, columns, 1, ds, KEYS, head_at(&a->k, b, h, k0), a->k.row, 1,
             head_at(&a->dq, b, h, q0), a->dq.row);
}

static void zero_head(const heads *x, int64_t b, int64_t h, int64_t rows, int64_t d)
{
    for (int64_t i = 0; i < rows; i++) memset(head_at(x, b, h, i), 0, (size_t)d * sizeof(float));
}

/* delta_i = sum_c dout_ic out_ic, for a block of rows. */
VECTORISED static void row_deltas(const attention *a, int64_t b, int64_t h, int64_t q0, int64_t rows,
                                  float *delta)
{
    for (int64_t i = 0; i < rows; i++) {
        const float *out = head_at(&a->out, b, h, q0 + i), *dout = head_at(&a->dout, b, h, q0 + i);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < a->d; c++) sum += out[c] * dout[c];
        delta[i] = sum;
    }
}

static void backward_piece(void *context, int64_t piece)
{
    const attention *a = context;
    int64_t b = piece / a->h, h = piece % a->h;
    zero_head(&a->dq, b, h, a->t, a->d);
    zero_head(&a->dk, b, h, a->s, a->d);
    zero_head(&a->dv, b, h, a->s, a->d);
    for (int64_t q0 = 0; q0 < a->t; q0 += QUERIES) {
        float delta[QUERIES];
        int64_t rows = COL_MIN(a->t - q0, (int64_t)QUERIES), keys = key_limit(a, q0 + rows - 1);
        row_deltas(a, b, h, q0, rows, delta);
        for (int64_t k0 = 0; k0 < keys; k0 += KEYS) backward_block(a, b, h, q0, k0, delta);
    }
}

static void read_rng(attention *a, const void *data)
{
    int64_t rng[2];
    memcpy(rng, data, sizeof rng);
    a->seed = (uint64_t)rng[0];
    a->step = (uint32_t)rng[1];
}

static attention attention_of(const col_plan_instruction *in, void *const *args)
{
    const Col__Plan__Attention *how = in->attention;
    const col_plan_view *q = in->reads[0], *k = in->reads[1];
    attention a = {
        .q = heads_of(q, args[0]), .k = heads_of(k, args[1]), .v = heads_of(in->reads[2], args[2])};
    a.b = q->dims[0];
    a.t = q->dims[1];
    a.h = q->dims[2];
    a.d = q->dims[3];
    a.s = k->dims[1];
    a.causal = how->causal;
    a.scale = (float)how->scale;
    a.rate = (float)how->rate;
    a.salt = (uint32_t)how->salt;
    size_t fixed = how->backward ? 6 : 3, lse = how->backward ? 4 : in->n_reads + 1;
    const col_plan_view *lse_view = how->backward ? in->reads[4] : in->writes[1];
    a.lse = args[lse];
    a.lse_batch = lse_view->strides[0];
    a.lse_head = lse_view->strides[1];
    a.lse_row = lse_view->strides[2];
    if (how->masked) {
        a.mask = args[fixed];
        memcpy(a.mask_strides, in->reads[fixed]->strides, sizeof a.mask_strides);
    }
    a.all_heads = how->heads ? how->heads : a.h;
    if (how->rate > 0) read_rng(&a, args[fixed + (how->masked ? 1 : 0)]);
    if (how->heads) memcpy(&a.first_score, args[in->n_reads - 1], sizeof a.first_score);
    return a;
}

void cpu_attention_forward(int threads, const col_plan_instruction *in, void *const *args)
{
    attention a = attention_of(in, args);
    a.out = heads_of(in->writes[0], args[in->n_reads]);
    run_forward(threads, &a);
}

void cpu_attention_backward(int threads, const col_plan_instruction *in, void *const *args)
{
    attention a = attention_of(in, args);
    a.out = heads_of(in->reads[3], args[3]);
    a.dout = heads_of(in->reads[5], args[5]);
    a.dq = heads_of(in->writes[0], args[in->n_reads]);
    a.dk = heads_of(in->writes[1], args[in->n_reads + 1]);
    a.dv = heads_of(in->writes[2], args[in->n_reads + 2]);
    cpu_parallel_each(useful_threads(&a, threads), a.b * a.h, backward_piece, &a);
}

void cpu_attention_cached(int threads, const col_plan_instruction *in, void *const *args)
{
    const col_plan_view *q = in->reads[0], *k = in->reads[1];
    attention a = {.q = heads_of(q, args[0]),
                   .k = heads_of(k, args[1]),
                   .v = heads_of(in->reads[2], args[2]),
                   .out = heads_of(in->writes[0], args[4])};
    a.b = q->dims[0];
    a.t = q->dims[1];
    a.h = q->dims[2];
    a.d = q->dims[3];
    a.s = k->dims[1];
    a.causal = true;
    a.scale = (float)in->attention_cached->scale;
    int32_t position;
    memcpy(&position, args[3], sizeof position);
    a.first = COL_MIN(COL_MAX(position, 0), (int32_t)COL_MIN(a.s - 1, (int64_t)INT32_MAX));
    run_forward(threads, &a);
}
