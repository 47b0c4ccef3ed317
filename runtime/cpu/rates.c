#include "runtime/cpu/rates.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cpu/cpu.h"

enum { ROUNDS = 5 };

static col_status make_floats(size_t count, void **out)
{
    float *data = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    if (!data) return col_error_make(COL_DEVICE, "no memory for %zu bytes to measure with", 4 * count);
    for (size_t i = 0; i < count; i++) data[i] = (float)(i % 97) * 0.01f - 0.4f;
    *out = data;
    return NULL;
}

static void free_all(void **list, size_t count)
{
    for (size_t i = 0; i < count; i++) free(list[i]);
}

/* Seconds of one call: the best of rounds that last about 50 ms each. */
static double measure(void (*call)(void *), void *context)
{
    call(context);
    double start = col_seconds();
    call(context);
    int calls = (int)(0.05 / (col_seconds() - start + 1e-9)) + 1;
    double best = INFINITY;
    for (int round = 0; round < ROUNDS; round++) {
        start = col_seconds();
        for (int i = 0; i < calls; i++) call(context);
        best = fmin(best, (col_seconds() - start) / calls);
    }
    return best;
}

/* A dense view; `numbers` holds its dimensions, then its strides. */
static void set_view(col_plan_view *view, int64_t *numbers, size_t rank, const int64_t *dims)
{
    col__plan__view__init(view);
    view->n_dims = view->n_strides = rank;
    view->dims = numbers;
    view->strides = numbers + rank;
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
        numbers[i] = dims[i];
        numbers[rank + i] = stride;
        stride *= dims[i];
    }
}

/* --- products --- */

typedef struct product {
    cpu_matmul *matmul;
    void *args[3];
} product;

static void run_product(void *context)
{
    product *p = context;
    cpu_matmul_run(p->matmul, p->args);
}

static col_status time_product(product *p, col_arena *arena, int threads, const int64_t dims[3][2],
                               double *out_seconds)
{
    col_plan_instruction in = COL__PLAN__INSTRUCTION__INIT;
    col_plan_view views[3], *reads[2] = {&views[0], &views[1]}, *writes[1] = {&views[2]};
    int64_t numbers[3][4];
    for (int i = 0; i < 3; i++) {
        set_view(&views[i], numbers[i], 2, dims[i]);
        COL_TRY(make_floats((size_t)(dims[i][0] * dims[i][1]), &p->args[i]));
    }
    Col__Plan__Matmul how = COL__PLAN__MATMUL__INIT;
    in.name = "product";
    in.matmul = &how;
    in.reads = reads;
    in.writes = writes;
    in.n_reads = 2;
    in.n_writes = 1;
    COL_TRY(cpu_matmul_prepare(arena, threads, &in, &p->matmul));
    int before = omp_get_max_threads();
    omp_set_num_threads(1); /* oneDNN's, as the device has it while it runs */
    *out_seconds = measure(run_product, p);
    omp_set_num_threads(before);
    return NULL;
}

col_status cpu_time_product(int threads, int64_t m, int64_t n, int64_t k, cpu_timed *out)
{
    product p = {0};
    const int64_t dims[3][2] = {{m, k}, {k, n}, {m, n}};
    col_arena *arena = col_arena_create();
    out->size = 2.0 * (double)m * (double)n * (double)k;
    col_status status = time_product(&p, arena, threads, dims, &out->seconds);
    free_all(p.args, COL_COUNT(p.args));
    col_arena_destroy(arena);
    return status;
}

/* --- attention --- */

enum { BATCH = 4, HEADS = 12, HEAD_SIZE = 64, MOST_ARGS = 9 };

typedef struct heads {
    int threads;
    col_plan_instruction in;
    void *args[MOST_ARGS];
} heads;

static void run_attention(void *context)
{
    heads *a = context;
    (a->in.attention->backward ? cpu_attention_backward : cpu_attention_forward)(a->threads, &a->in, a->args);
}

static col_status time_attention(int threads, int64_t tokens, bool backward, double *out_seconds)
{
    const int64_t dims[] = {BATCH, tokens, HEADS, HEAD_SIZE}, row_dims[] = {BATCH, HEADS, tokens};
    Col__Plan__Attention how = COL__PLAN__ATTENTION__INIT;
    col_plan_view views[MOST_ARGS], *list[MOST_ARGS];
    int64_t numbers[MOST_ARGS][8];
    heads a = {.threads = threads, .in = COL__PLAN__INSTRUCTION__INIT};
    how.backward = backward;
    how.causal = true;
    how.scale = 0.125;
    a.in.attention = &how;
    a.in.n_reads = backward ? 6 : 3;
    a.in.n_writes = backward ? 3 : 2;
    a.in.reads = list;
    a.in.writes = list + a.in.n_reads;
    col_status status = NULL;
    for (size_t i = 0; i < a.in.n_reads + a.in.n_writes && !status; i++) {
        bool rows = i == 4; /* the log-sum-exp, written or read */
        set_view(&views[i], numbers[i], rows ? 3 : 4, rows ? row_dims : dims);
        list[i] = &views[i];
        status = make_floats((size_t)(BATCH * HEADS * tokens * (rows ? 1 : HEAD_SIZE)), &a.args[i]);
    }
    if (!status) *out_seconds = measure(run_attention, &a);
    free_all(a.args, COL_COUNT(a.args));
    return status;
}

col_status cpu_time_attention(int threads, int64_t tokens, cpu_timed *out)
{
    double forward, backward;
    COL_TRY(time_attention(threads, tokens, false, &forward));
    COL_TRY(time_attention(threads, tokens, true, &backward));
    /* Two products forward, five backward, half of each under the causal limit. */
    out->size = 2.0 * BATCH * HEADS * (double)(tokens * tokens) * HEAD_SIZE * 7 / 2;
    out->seconds = forward + backward;
    return NULL;
}

/* --- loops over arrays --- */

typedef struct arrays {
    int threads;
    int64_t count;
    void *args[3];
    cpu_body body;
} arrays;

__attribute__((target_clones("avx512f", "avx2", "default"))) static void
stream_part(void *context, int64_t begin, int64_t end)
{
    const arrays *s = context;
    const float *restrict a = s->args[0], *restrict b = s->args[1];
    float *restrict c = s->args[2];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) c[i] = a[i] + 0.5f * b[i];
}

enum { DEGREE = 32 };

__attribute__((target_clones("avx512f", "avx2", "default"))) static void
polynomial_part(void *context, int64_t begin, int64_t end)
{
    const arrays *s = context;
    const float *restrict a = s->args[0], *restrict b = s->args[1];
    float *restrict c = s->args[2];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        float x = a[i], y = b[i];
        for (int k = 0; k < DEGREE; k++) y = y * x + 0.25f;
        c[i] = y;
    }
}

static void run_arrays(void *context)
{
    arrays *s = context;
    cpu_parallel_for(s->threads, s->count, 1024, s->body, s);
}

static col_status time_arrays(int threads, int64_t count, cpu_body body, double *out_seconds)
{
    arrays s = {.threads = threads, .count = count, .body = body};
    col_status status = NULL;
    for (size_t i = 0; i < COL_COUNT(s.args) && !status; i++) status = make_floats((size_t)count, &s.args[i]);
    if (!status) *out_seconds = measure(run_arrays, &s);
    free_all(s.args, COL_COUNT(s.args));
    return status;
}

col_status cpu_time_arithmetic(int threads, cpu_timed *out)
{
    int64_t count = (int64_t)threads << 15;
    out->size = 2.0 * DEGREE * (double)count;
    return time_arrays(threads, count, polynomial_part, &out->seconds);
}

col_status cpu_time_stream(int threads, int64_t bytes, cpu_timed *out)
{
    int64_t count = bytes / 12;
    out->size = 12.0 * (double)count;
    return time_arrays(threads, count, stream_part, &out->seconds);
}

/* --- scatter --- */

typedef struct scatter {
    int threads;
    col_plan_instruction in;
    void *args[3];
} scatter;

static void run_scatter(void *context)
{
    scatter *s = context;
    cpu_scatter_add(s->threads, &s->in, s->args);
}

col_status cpu_time_scatter(int threads, cpu_timed *out)
{
    enum { ROWS = 1024, TABLE = 4096, WIDTH = 768 };
    scatter s = {.threads = threads, .in = COL__PLAN__INSTRUCTION__INIT};
    col_plan_view views[3], *reads[2] = {&views[0], &views[1]}, *writes[1] = {&views[2]};
    int64_t numbers[3][4];
    int32_t ids[ROWS];
    set_view(&views[0], numbers[0], 1, (int64_t[]){ROWS});
    set_view(&views[1], numbers[1], 2, (int64_t[]){ROWS, WIDTH});
    set_view(&views[2], numbers[2], 2, (int64_t[]){TABLE, WIDTH});
    for (int64_t i = 0; i < ROWS; i++) ids[i] = (int32_t)(i * 2654435761 % TABLE);
    s.in.reads = reads;
    s.in.writes = writes;
    s.in.n_reads = 2;
    s.in.n_writes = 1;
    s.args[0] = ids;
    out->size = (double)ROWS * WIDTH;
    col_status status = make_floats((size_t)ROWS * WIDTH, &s.args[1]);
    if (!status) status = make_floats((size_t)TABLE * WIDTH, &s.args[2]);
    if (!status) out->seconds = measure(run_scatter, &s);
    free_all(s.args + 1, 2);
    return status;
}

/* --- starting --- */

static void do_nothing(void *context, int64_t begin, int64_t end)
{
    (void)context, (void)begin, (void)end;
}

static void run_nothing(void *context)
{
    cpu_parallel_for(*(int *)context, *(int *)context, 1, do_nothing, NULL);
}

col_status cpu_time_start(int threads, double *out_seconds)
{
    cpu_timed one = {0};
    if (threads > 1) {
        *out_seconds = measure(run_nothing, &threads);
        return NULL;
    }
    COL_TRY(cpu_time_product(1, 2, 2, 2, &one));
    *out_seconds = one.seconds;
    return NULL;
}
