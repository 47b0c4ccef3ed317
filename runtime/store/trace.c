#include "runtime/store/trace.h"
#include "ir/base/file.h"
#include "ir/base/str.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

enum { FLUSH_BYTES = 1 << 20 };

struct col_trace {
    col_writer *writer;
    col_str pending;
    bool any; /* an event was written: the next needs a comma */
};

col_status col_trace_open(const char *path, col_trace **out_trace)
{
    col_writer *writer = NULL;
    COL_TRY(col_writer_open(path, &writer));
    col_trace *trace = calloc(1, sizeof *trace);
    if (!trace) col_out_of_memory(0);
    trace->writer = writer;
    col_str_append(&trace->pending, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
    *out_trace = trace;
    return NULL;
}

static void append_text(col_str *out, const char *key, const char *text)
{
    json_t *string = json_string(text);
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    col_str_printf(out, "\"%s\":%s", key, quoted ? quoted : "\"?\"");
    free(quoted);
    json_decref(string);
}

/* Starts an event; the caller appends ",…}" and calls end_event. */
static col_str *begin_event(col_trace *trace, char phase, int32_t process, const char *name)
{
    col_str *out = &trace->pending;
    col_str_append(out, trace->any ? ",\n{" : "\n{");
    trace->any = true;
    append_text(out, "name", name);
    col_str_printf(out, ",\"ph\":\"%c\",\"pid\":%" PRId32, phase, process);
    return out;
}

static col_status flush(col_trace *trace)
{
    col_status status = col_writer_write(trace->writer, trace->pending.data, trace->pending.len);
    col_str_clear(&trace->pending);
    return status;
}

static col_status end_event(col_trace *trace)
{
    return trace->pending.len < FLUSH_BYTES ? NULL : flush(trace);
}

col_status col_trace_name_process(col_trace *trace, int32_t process, const char *name)
{
    col_str *out = begin_event(trace, 'M', process, "process_name");
    col_str_append(out, ",\"args\":{");
    append_text(out, "name", name);
    col_str_append(out, "}}");
    return end_event(trace);
}

col_status col_trace_name_track(col_trace *trace, int32_t process, int32_t track, const char *name)
{
    col_str *out = begin_event(trace, 'M', process, "thread_name");
    col_str_printf(out, ",\"tid\":%" PRId32 ",\"args\":{", track);
    append_text(out, "name", name);
    col_str_append(out, "}}");
    return end_event(trace);
}

col_status col_trace_span(col_trace *trace, int32_t process, int32_t track, const char *category,
                          const char *name, double start_us, double duration_us, uint64_t bytes)
{
    COL_ASSERT(isfinite(start_us) && isfinite(duration_us) && duration_us >= 0);
    col_str *out = begin_event(trace, 'X', process, name);
    col_str_printf(out, ",\"tid\":%" PRId32 ",", track);
    append_text(out, "cat", category);
    col_str_printf(out, ",\"ts\":%.3f,\"dur\":%.3f", start_us, duration_us);
    if (bytes) col_str_printf(out, ",\"args\":{\"bytes\":%" PRIu64 "}", bytes);
    col_str_append(out, "}");
    return end_event(trace);
}

col_status col_trace_counter(col_trace *trace, int32_t process, const char *name, double at_us, double value)
{
    COL_ASSERT(isfinite(at_us));
    col_str *out = begin_event(trace, 'C', process, name);
    col_str_printf(out, ",\"ts\":%.3f,\"args\":{\"value\":%.17g}}", at_us, isfinite(value) ? value : 0);
    return end_event(trace);
}

static void trace_free(col_trace *trace)
{
    col_str_fini(&trace->pending);
    free(trace);
}

col_status col_trace_close(col_trace *trace)
{
    col_str_append(&trace->pending, "\n]}\n");
    col_status status = flush(trace);
    if (status) {
        col_writer_discard(trace->writer);
    } else {
        status = col_writer_commit(trace->writer);
    }
    trace_free(trace);
    return status;
}

void col_trace_discard(col_trace *trace)
{
    if (!trace) return;
    col_writer_discard(trace->writer);
    trace_free(trace);
}
