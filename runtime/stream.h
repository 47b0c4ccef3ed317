/* The communication stream of one rank: a thread that runs the collectives that a program starts, one after
 * another in the order in which they were started, while the rank computes.
 *
 * All ranks run the same program, so the k-th collective of one stream meets the k-th of the others. A
 * collective that is not started runs on the caller's thread, once the stream has nothing left to do: the
 * communicator is used by one thread at a time, and sees one order of collectives on every rank. */
#ifndef COL_RUNTIME_STREAM_H
#define COL_RUNTIME_STREAM_H

#include "runtime/comm.h"

typedef struct col_stream col_stream;

/* For the programs of the plan. `*out_stream` is NULL where none of them starts a collective: there is no
 * thread then, and the functions below take NULL. The communicator and the plan outlive the stream. */
COL_MUST_USE col_status col_stream_open(const col_plan *plan, col_comm *comm, col_stream **out_stream);
/* Joins the thread. No program is running. */
void col_stream_close(col_stream *stream);

/* Runs or starts the collective that is instruction `index` of a program, with its read and write at these
 * addresses, which stay the stream's until it is waited for. */
COL_MUST_USE col_status col_stream_collective(col_stream *stream, col_comm *comm,
                                              const col_plan_instruction *in, size_t index, const void *from,
                                              void *to);
/* Until the collective that was started by instruction `index` has ended: all that it wrote is then visible
 * to the caller. Fails with what it, or one before it, failed with; `*out_begin` and `*out_end`, if not NULL,
 * are the seconds (col_seconds) at which it ran. */
COL_MUST_USE col_status col_stream_wait(col_stream *stream, size_t index, double *out_begin, double *out_end);
/* At the end of every run of a program, whatever its status: nothing runs on the stream afterwards. Those
 * that come after one that failed are not run, so this ends as soon as that one does. */
void col_stream_settle(col_stream *stream);

#endif
