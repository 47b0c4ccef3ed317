#include "passes/pass.h"

#include <string.h>
#include <time.h>

col_pass_options col_pass_options_default(void)
{
    return (col_pass_options){
        .optimizer = COL_OPTIMIZER_ADAMW,
        .lr_schedule = COL_LR_COSINE,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .momentum = 0.9,
        .trust = 1e-3,
        .weight_decay = 0.1,
        .clip_norm = 1,
        .accumulate = 1,
        .precision = COL_F32,
        .init_scale = 0x1p16,
        .growth_factor = 2,
        .backoff_factor = 0.5,
        .growth_interval = 2000,
        .few_results = 64,
        .few_rows = 64,
        .many_elements = 1 << 15,
        .many_rows = 1 << 15,
        .overlap_memory = 1.0 / 16,
    };
}

const col_pass *col_pass_find(const char *name)
{
    size_t count;
    const col_pass *passes = col_passes(&count);
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(passes[i].name, name)) return &passes[i];
    }
    return NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

col_status col_passes_run(col_graph *graph, const col_pass *const *passes, size_t count,
                          const col_pass_options *options, const col_pass_hooks *hooks)
{
    for (size_t i = 0; i < count; i++) {
        double start = now();
        COL_TRY(passes[i]->run(graph, options));
        double seconds = now() - start;
        col_status broken = col_graph_verify(graph);
        if (broken) COL_PANIC("pass '%s' broke the graph:\n%s", passes[i]->name, col_error_message(broken));
        if (hooks && hooks->after) COL_TRY(hooks->after(hooks->context, passes[i], graph, seconds));
    }
    return NULL;
}
