/* Chrome trace JSON, for chrome://tracing and Perfetto: {"traceEvents": [...]}.
 *
 * Times are in microseconds since the start of the trace. Events of one track (process and thread number)
 * must nest; give every stream a track of its own. The file replaces an older one when it is closed. */
#ifndef COL_STORE_TRACE_H
#define COL_STORE_TRACE_H

#include "ir/base/status.h"

typedef struct col_trace col_trace;

/* COL_BAD_INPUT when the file cannot be written. */
COL_MUST_USE col_status col_trace_open(const char *path, col_trace **out_trace);
/* Names ("M" events). Text that is not UTF-8 is shown as "?". */
COL_MUST_USE col_status col_trace_name_process(col_trace *trace, int32_t process, const char *name);
COL_MUST_USE col_status col_trace_name_track(col_trace *trace, int32_t process, int32_t track,
                                             const char *name);
/* A span ("X"). `bytes` > 0 is shown as an argument of that name. */
COL_MUST_USE col_status col_trace_span(col_trace *trace, int32_t process, int32_t track, const char *category,
                                       const char *name, double start_us, double duration_us, uint64_t bytes);
/* A value over time ("C"), one chart per name. */
COL_MUST_USE col_status col_trace_counter(col_trace *trace, int32_t process, const char *name, double at_us,
                                          double value);
/* Ends the JSON, syncs and renames. Frees the trace in any case. COL_DEVICE for a full disk. */
COL_MUST_USE col_status col_trace_close(col_trace *trace);
void col_trace_discard(col_trace *trace); /* without a file; NULL is fine */

#endif
