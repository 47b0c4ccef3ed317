#include "runtime/bandwidth.h"

__attribute__((target_clones("avx512f", "avx2", "default"))) static uint64_t sum_words(const uint64_t *words,
                                                                                       int64_t count)
{
    uint64_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += words[i];
    return sum;
}

/* In blocks, so that the threads share the work of tensors of any size. */
static uint64_t read_all(const uint64_t *words, int64_t count)
{
    enum { BLOCK = 1 << 15 };
    uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (int64_t at = 0; at < count; at += BLOCK)
        sum += sum_words(words + at, COL_MIN(count - at, (int64_t)BLOCK));
    return sum;
}

double col_weights_read_seconds(const col_session *session, uint64_t *out_bytes)
{
    const col_plan *plan = col_session_plan(session);
    double best = 0;
    *out_bytes = 0;
    volatile uint64_t keep = 0; /* the sums must be made */
    for (int pass = 0; pass < 5; pass++) {
        double start = col_seconds();
        uint64_t bytes = 0;
        for (size_t i = 0; i < plan->n_variables; i++) {
            const col_plan_variable *v = plan->variables[i];
            const void *data = col_session_host(session, v);
            if (!data) return 0;
            if (v->kind != COL__PLAN__VARIABLE_KIND__PARAM || (uintptr_t)data % sizeof(uint64_t)) continue;
            uint64_t size = col_plan_variable_bytes(v);
            keep += read_all(data, (int64_t)(size / sizeof(uint64_t)));
            bytes += size;
        }
        double seconds = col_seconds() - start;
        if (!pass || seconds < best) best = seconds;
        *out_bytes = bytes;
    }
    return best;
}
