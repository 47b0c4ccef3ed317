#include "runtime/cpu/cpu.h"

#include <omp.h>

void cpu_parallel_for(int threads, int64_t range, int64_t grain, cpu_body body, void *context)
{
    int64_t most = COL_MAX(range / COL_MAX(grain, 1), 1);
    int parts = (int)COL_MIN((int64_t)threads, most);
    if (parts <= 1) {
        body(context, 0, range);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int i = 0; i < parts; i++) body(context, range * i / parts, range * (i + 1) / parts);
}

void cpu_parallel_each(int threads, int64_t count, void (*body)(void *context, int64_t i), void *context)
{
    if (threads == 1 || count == 1) {
        for (int64_t i = 0; i < count; i++) body(context, i);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < count; i++) body(context, i);
}
