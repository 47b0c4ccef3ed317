/* When instructions ran: an event of the GPU before and after each on the stream that it runs on, and one at the
 * program's beginning, whose moment the host knows. Streams overlap as they do when nobody looks; only the program is no graph.
 *
 * Collectives run on the link's stream, one after another, each from when what the program did before it has ended: it
 * begins at the later of that and the end of the collective before it. */
#include "runtime/cuda/link.h"

struct cuda_watch {
    cudaEvent_t start, *before, *after; /* of each instruction */
};

static col_status make_event(cuda_context *context, const char *where, cudaEvent_t *out)
{
    CUDA_TRY(where, cudaEventCreateWithFlags, out, cudaEventDefault);
    col_vec_push(context->memory, &context->watch_events, *out);
    return NULL;
}

static col_status make_watch(cuda_context *context, const col_plan_program *program, cuda_watch **out)
{
    cuda_watch *watch = COL_NEW(context->memory, cuda_watch);
    watch->before = COL_NEW_ARRAY(context->memory, cudaEvent_t, program->n_instructions);
    watch->after = COL_NEW_ARRAY(context->memory, cudaEvent_t, program->n_instructions);
    COL_TRY(make_event(context, program->name, &watch->start));
    for (size_t i = 0; i < program->n_instructions; i++) {
        COL_TRY(make_event(context, program->name, &watch->before[i]));
        COL_TRY(make_event(context, program->name, &watch->after[i]));
    }
    *out = watch;
    return NULL;
}

static bool is_collective(const cuda_call *call)
{
    return call->instruction->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE;
}

static col_status run_calls(const cuda_context *context, const cuda_watch *watch, size_t count,
                            const cuda_call *calls)
{
    for (size_t i = 0; i < count; i++) {
        const cuda_call *call = &calls[i];
        const char *name = call->instruction->name;
        CUDA_TRY(name, cudaEventRecord, watch->before[i], context->stream);
        COL_TRY(call->run(context, call));
        CUDA_TRY(name, cudaEventRecord, watch->after[i],
                 is_collective(call) ? context->link->stream : context->stream);
    }
    return NULL;
}

static col_status seconds_of(const char *where, cudaEvent_t start, cudaEvent_t event, double *out)
{
    float milliseconds = 0;
    CUDA_TRY(where, cudaEventElapsedTime, &milliseconds, start, event);
    *out = 1e-3 * (double)milliseconds;
    return NULL;
}

col_status cuda_observe(cuda_context *context, const col_plan_program *program, const cuda_call *calls,
                        const col_device_options *options, cuda_watch **watch)
{
    const char *where = program->name;
    double linked = 0; /* when the collective before ended */
    if (!*watch) COL_TRY(make_watch(context, program, watch));
    CUDA_TRY(where, cudaEventRecord, (*watch)->start, context->stream);
    CUDA_TRY(where, cudaEventSynchronize, (*watch)->start);
    double start = col_seconds();
    COL_TRY(run_calls(context, *watch, program->n_instructions, calls));
    COL_TRY(cuda_finish(context, where));
    for (size_t i = 0; i < program->n_instructions; i++) {
        double begin = 0, end = 0;
        COL_TRY(seconds_of(where, (*watch)->start, (*watch)->before[i], &begin));
        COL_TRY(seconds_of(where, (*watch)->start, (*watch)->after[i], &end));
        if (is_collective(&calls[i])) {
            begin = COL_MAX(begin, linked);
            linked = end;
        }
        options->observe(options->context, calls[i].instruction, start + begin, start + COL_MAX(end, begin));
    }
    return NULL;
}
