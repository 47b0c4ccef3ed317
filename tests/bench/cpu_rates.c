/* The rates of passes/machine.c, measured on this machine: matrix products and attention of GPT-2 124M's
 * shapes through the CPU device's own code, memory traffic of streams of several sizes, arithmetic in
 * registers, and what an instruction costs that does nothing. Prints a table for one core and for all; best
 * of several repetitions, since anything else on the machine only makes them slower. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/cpu/cpu.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *make_floats(size_t count)
{
    float *data = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    if (!data) COL_PANIC("out of memory");
    for (size_t i = 0; i < count; i++) data[i] = (float)(i % 97) * 0.01f - 0.4f;
    return data;
}

/* Seconds of one call: the best of `rounds` rounds of calls that last about 50 ms each. */
static double measure(void (*call)(void *), void *context)
{
    call(context);
    double start = now();
    call(context);
    int calls = (int)(0.05 / (now() - start + 1e-9)) + 1;
    double best = INFINITY;
    for (int round = 0; round < 7; round++) {
        start = now();
        for (int i = 0; i < calls; i++) call(context);
        best = fmin(best, (now() - start) / calls);
    }
    return best;
}

/* --- matrix products --- */

typedef struct product {
    cpu_matmul *matmul;
    void *args[3];
} product;

static void run_product(void *context)
{
    product *p = context;
    cpu_matmul_run(p->matmul, p->args);
}

static void set_view(col_plan_view *view, int64_t *numbers, int64_t rows, int64_t columns, bool transposed)
{
    col__plan__view__init(view);
    int64_t all[4] = {rows, columns, transposed ? 1 : columns, transposed ? rows : 1};
    memcpy(numbers, all, sizeof all);
    view->n_dims = view->n_strides = 2;
    view->dims = numbers;
    view->strides = numbers + 2;
}

static void measure_product(int threads, int64_t m, int64_t n, int64_t k, bool ta, bool tb)
{
    col_plan_instruction in = COL__PLAN__INSTRUCTION__INIT;
    col_plan_view views[3], *reads[2] = {&views[0], &views[1]}, *writes[1] = {&views[2]};
    int64_t numbers[3][4];
    set_view(&views[0], numbers[0], m, k, ta);
    set_view(&views[1], numbers[1], k, n, tb);
    set_view(&views[2], numbers[2], m, n, false);
    in.name = "product";
    in.reads = reads;
    in.writes = writes;
    in.n_reads = 2;
    in.n_writes = 1;
    product p = {0};
    col_arena *arena = col_arena_create();
    if (cpu_matmul_prepare(arena, threads, &in, &p.matmul)) COL_PANIC("the product cannot be prepared");
    p.args[0] = make_floats((size_t)(m * k));
    p.args[1] = make_floats((size_t)(k * n));
    p.args[2] = make_floats((size_t)(m * n));
    double seconds = measure(run_product, &p), flops = 2.0 * (double)m * (double)n * (double)k;
    printf("  product %5lld x %5lld x %5lld %c%c  %10.1f us  %7.1f GFLOP/s  %6.1f GB/s\n", (long long)m,
           (long long)k, (long long)n, ta ? 't' : '-', tb ? 't' : '-', 1e6 * seconds, 1e-9 * flops / seconds,
           4e-9 * (double)(m * k + k * n + m * n) / seconds);
    for (int i = 0; i < 3; i++) free(p.args[i]);
    col_arena_destroy(arena);
}

/* --- attention: 4 sequences of 64 or 1024 tokens, 12 causal heads of 64 --- */

typedef struct heads {
    int threads;
    col_plan_instruction in;
    void *args[9];
} heads;

static void run_attention(void *context)
{
    heads *a = context;
    (a->in.attention->backward ? cpu_attention_backward : cpu_attention_forward)(a->threads, &a->in, a->args);
}

static void measure_attention(int threads, int64_t tokens, bool backward)
{
    enum { BATCH = 4, HEADS = 12, SIZE = 64, MOST = 9 };
    int64_t dims[] = {BATCH, tokens, HEADS, SIZE}, strides[] = {tokens * HEADS * SIZE, HEADS * SIZE, SIZE, 1};
    int64_t row_dims[] = {BATCH, HEADS, tokens}, row_strides[] = {HEADS * tokens, tokens, 1};
    Col__Plan__Attention how = COL__PLAN__ATTENTION__INIT;
    col_plan_view views[MOST], *list[MOST];
    heads a = {.threads = threads, .in = COL__PLAN__INSTRUCTION__INIT};
    how.backward = backward;
    how.causal = true;
    how.scale = 0.125;
    a.in.attention = &how;
    a.in.n_reads = backward ? 6 : 3;
    a.in.n_writes = backward ? 3 : 2;
    a.in.reads = list;
    a.in.writes = list + a.in.n_reads;
    for (size_t i = 0; i < a.in.n_reads + a.in.n_writes; i++) {
        bool rows = i == 4; /* the log-sum-exp, written or read */
        col__plan__view__init(&views[i]);
        views[i].n_dims = views[i].n_strides = rows ? 3 : 4;
        views[i].dims = rows ? row_dims : dims;
        views[i].strides = rows ? row_strides : strides;
        list[i] = &views[i];
        a.args[i] = make_floats((size_t)(BATCH * HEADS * tokens * (rows ? 1 : SIZE)));
    }
    /* As codegen/emit.c counts: two products forward, five backward, half of each under the causal limit. */
    double flops = 2.0 * BATCH * HEADS * (double)(tokens * tokens) * SIZE * (backward ? 5 : 2) / 2;
    double seconds = measure(run_attention, &a);
    printf("  attention%s of %4lld tokens %15.1f us  %7.1f GFLOP/s\n", backward ? "_grad" : "     ",
           (long long)tokens, 1e6 * seconds, 1e-9 * flops / seconds);
    for (size_t i = 0; i < a.in.n_reads + a.in.n_writes; i++) free(a.args[i]);
}

/* --- streams: c = a + s b, two reads and a write --- */

typedef struct stream {
    int threads;
    int64_t count;
    float *a, *b, *c;
    int work; /* extra multiply-adds per element */
} stream;

__attribute__((target_clones("avx512f", "avx2", "default"))) static void
stream_part(void *context, int64_t begin, int64_t end)
{
    const stream *s = context;
    const float *restrict a = s->a, *restrict b = s->b;
    float *restrict c = s->c;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) c[i] = a[i] + 0.5f * b[i];
}

/* Degree-32 polynomial: 64 operations per element, no memory to speak of. */
__attribute__((target_clones("avx512f", "avx2", "default"))) static void work_part(void *context,
                                                                                   int64_t begin, int64_t end)
{
    const stream *s = context;
    const float *restrict a = s->a, *restrict b = s->b;
    float *restrict c = s->c;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        float x = a[i], y = b[i];
        for (int k = 0; k < 32; k++) y = y * x + 0.25f;
        c[i] = y;
    }
}

static void run_stream(void *context)
{
    stream *s = context;
    cpu_parallel_for(s->threads, s->count, 1024, s->work ? work_part : stream_part, s);
}

static void measure_stream(int threads, int64_t count, int work)
{
    stream s = {
        threads, count, make_floats((size_t)count), make_floats((size_t)count), make_floats((size_t)count),
        work};
    double seconds = measure(run_stream, &s);
    if (work)
        printf("  arithmetic %29.1f us  %7.1f GFLOP/s\n", 1e6 * seconds, 64e-9 * (double)count / seconds);
    else
        printf("  stream of %8.2f MiB %17.1f us  %6.1f GB/s\n", 12.0 * (double)count / (1 << 20),
               1e6 * seconds, 12e-9 * (double)count / seconds);
    free(s.a);
    free(s.b);
    free(s.c);
}

int main(void)
{
    static const int64_t products[][3] = {{256, 768, 768},  {256, 2304, 768},  {256, 3072, 768},
                                          {256, 768, 3072}, {256, 50257, 768}, {256, 768, 50257},
                                          {768, 3072, 256}, {50257, 768, 256}, {4096, 3072, 768},
                                          {32, 128, 128},   {1, 768, 3072}};
    int most = omp_get_max_threads();
    omp_set_num_threads(1); /* of oneDNN where it is called, as the device has it */
    for (int threads = 1; threads <= most; threads = threads == most ? most + 1 : most) {
        printf("%d thread%s\n", threads, threads == 1 ? "" : "s");
        for (size_t i = 0; i < COL_COUNT(products); i++) {
            const int64_t *p = products[i];
            measure_product(threads, p[0], p[1], p[2], false, false);
        }
        measure_product(threads, 256, 50257, 768, false, true);
        measure_product(threads, 50257, 768, 256, true, false);
        measure_product(threads, 3072, 768, 256, true, false);
        for (int64_t tokens = 64; tokens <= 1024; tokens *= 16) {
            measure_attention(threads, tokens, false);
            measure_attention(threads, tokens, true);
        }
        for (int64_t count = 1 << 10; count <= 1 << 25; count <<= 3) measure_stream(threads, count, 0);
        measure_stream(threads, 1 << 16, 1);
    }
    return 0;
}
