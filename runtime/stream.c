#include "runtime/stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/hal.h"

typedef struct started {
    const col_plan_instruction *in;
    const void *from;
    void *to;
    double begin, end;
    bool ended;
} started;

/* The thread reads an entry after it was queued, and writes `begin`, `end` and `ended` before it counts it as
 * done, both with the lock: so all that a rank wrote before a start is seen by the collective, and all that
 * the collective wrote is seen after the wait. */
struct col_stream {
    col_comm *comm; /* the thread's while `done` < `queued`, the caller's otherwise */
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work, change;
    started *entries;     /* by the index of the instruction */
    uint32_t *queue;      /* of indices, in the order of starts */
    size_t queued, done;  /* of the program that is running */
    bool failed, closing; /* failed: the rest of the program's are not run */
    col_status failure;   /* until somebody has been told */
};

static void run_one(col_stream *stream, started *e)
{
    if (stream->failed) return;
    pthread_mutex_unlock(&stream->lock);
    e->begin = col_seconds();
    col_status status = stream->comm->type->run(stream->comm, e->in, e->from, e->to);
    e->end = col_seconds();
    pthread_mutex_lock(&stream->lock);
    stream->failed = status != NULL;
    stream->failure = status;
}

static void *work(void *context)
{
    col_stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    for (;;) {
        while (stream->done == stream->queued && !stream->closing)
            pthread_cond_wait(&stream->work, &stream->lock);
        if (stream->done == stream->queued) break;
        started *e = &stream->entries[stream->queue[stream->done]];
        run_one(stream, e);
        e->ended = true;
        stream->done++;
        pthread_cond_signal(&stream->change);
    }
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

static bool starts(const col_plan_instruction *in)
{
    return in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE && in->collective->started;
}

/* The most instructions, and the most that are started, of any program. */
static void measure(const col_plan *plan, size_t *out_instructions, size_t *out_started)
{
    *out_instructions = *out_started = 0;
    for (size_t p = 0; p < plan->n_programs; p++) {
        size_t count = 0;
        for (size_t i = 0; i < plan->programs[p]->n_instructions; i++)
            count += starts(plan->programs[p]->instructions[i]);
        *out_instructions = COL_MAX(*out_instructions, plan->programs[p]->n_instructions);
        *out_started = COL_MAX(*out_started, count);
    }
}

static void release(col_stream *stream)
{
    pthread_cond_destroy(&stream->work);
    pthread_cond_destroy(&stream->change);
    pthread_mutex_destroy(&stream->lock);
    col_error_free(stream->failure);
    free(stream->entries);
    free(stream->queue);
    free(stream);
}

col_status col_stream_open(const col_plan *plan, col_comm *comm, col_stream **out_stream)
{
    size_t instructions, most;
    *out_stream = NULL;
    measure(plan, &instructions, &most);
    if (!most) return NULL;
    col_stream *stream = calloc(1, sizeof *stream);
    if (!stream) col_out_of_memory(0);
    stream->comm = comm;
    stream->entries = calloc(instructions, sizeof *stream->entries);
    stream->queue = calloc(most, sizeof *stream->queue);
    if (!stream->entries || !stream->queue) col_out_of_memory(0);
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->work, NULL);
    pthread_cond_init(&stream->change, NULL);
    int error = pthread_create(&stream->thread, NULL, work, stream);
    if (error) {
        release(stream);
        return col_error_make(COL_DEVICE, "cannot start the communication thread of rank %lld: %s",
                              (long long)comm->rank, strerror(error));
    }
    *out_stream = stream;
    return NULL;
}

void col_stream_close(col_stream *stream)
{
    if (!stream) return;
    pthread_mutex_lock(&stream->lock);
    stream->closing = true;
    pthread_cond_signal(&stream->work);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(stream->thread, NULL);
    release(stream);
}

/* With the lock: what the caller is told of a failure. */
static col_status take_failure(col_stream *stream)
{
    if (!stream->failed) return NULL;
    col_status failure = stream->failure;
    stream->failure = NULL;
    if (failure) return failure;
    return col_error_make(COL_DEVICE, "rank %lld: an earlier collective has failed",
                          (long long)stream->comm->rank);
}

/* Until the stream has nothing left to do. */
static col_status run_out(col_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    while (stream->done < stream->queued) pthread_cond_wait(&stream->change, &stream->lock);
    col_status status = take_failure(stream);
    pthread_mutex_unlock(&stream->lock);
    return status;
}

col_status col_stream_collective(col_stream *stream, col_comm *comm, const col_plan_instruction *in,
                                 size_t index, const void *from, void *to)
{
    if (!in->collective->started) {
        if (stream) COL_TRY(run_out(stream));
        return comm->type->run(comm, in, from, to);
    }
    COL_ASSERT(stream && comm == stream->comm);
    pthread_mutex_lock(&stream->lock);
    stream->entries[index] = (started){.in = in, .from = from, .to = to};
    stream->queue[stream->queued++] = (uint32_t)index;
    pthread_cond_signal(&stream->work);
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

col_status col_stream_wait(col_stream *stream, size_t index, double *out_begin, double *out_end)
{
    COL_ASSERT(stream);
    const started *e = &stream->entries[index];
    pthread_mutex_lock(&stream->lock);
    while (!e->ended) pthread_cond_wait(&stream->change, &stream->lock);
    if (out_begin) *out_begin = e->begin;
    if (out_end) *out_end = e->end;
    col_status status = take_failure(stream);
    pthread_mutex_unlock(&stream->lock);
    return status;
}

void col_stream_settle(col_stream *stream)
{
    if (!stream) return;
    col_error_free(run_out(stream));
    pthread_mutex_lock(&stream->lock);
    stream->queued = stream->done = 0;
    stream->failed = false;
    pthread_mutex_unlock(&stream->lock);
}
