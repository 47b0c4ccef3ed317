/* The ranks of a plan that live in this process, each with a device of its own: all of them, as threads, or
 * one, with a communicator to other processes. Variables are whole on this side: what is written is cut by
 * the variable's layout, what is read is put together. */
#ifndef COL_RUNTIME_RANKS_H
#define COL_RUNTIME_RANKS_H

#include "runtime/hal.h"

typedef struct col_ranks col_ranks;

enum { COL_RANKS_MOST_LOCAL = 256 };

typedef struct col_ranks_options {
    col_device_options
        device;     /* threads, observer, and the place of the first rank here; rank 0 alone is observed */
    double timeout; /* of a collective among threads; seconds */
    col_comm *comm; /* to other processes, the caller's; NULL: all ranks are threads */
    int sharing;    /* with `comm`: ranks on this host */
} col_ranks_options;

/* The plan is verified and outlives the ranks. */
COL_MUST_USE col_status col_ranks_open(const col_plan *plan, const col_device_type *type,
                                       const col_ranks_options *options, col_ranks **out_ranks);
void col_ranks_close(col_ranks *ranks); /* NULL is fine */

/* Runs a program of the plan on every rank; `out_bad` as for a device, the least of all ranks here. The error
 * is that of the rank that failed first. */
COL_MUST_USE col_status col_ranks_run(col_ranks *ranks, const col_plan_program *program, int64_t *out_bad);

/* `bytes` from `offset` on of the whole variable, row-major. With other processes, all of them read the same
 * at the same time. */
COL_MUST_USE col_status col_ranks_write(col_ranks *ranks, const col_plan_variable *variable, uint64_t offset,
                                        const void *data, uint64_t bytes);
COL_MUST_USE col_status col_ranks_read(col_ranks *ranks, const col_plan_variable *variable, uint64_t offset,
                                       void *data, uint64_t bytes);
/* Of the first rank here: a range of its arena. */
COL_MUST_USE col_status col_ranks_read_arena(col_ranks *ranks, uint64_t offset, void *data, uint64_t bytes);
/* hal.h's functions of that name, of the only device of this process; NULL, and nothing, where there are several or its
 * type has none. */
void *col_ranks_host_memory(const col_ranks *ranks, uint64_t bytes);
COL_MUST_USE col_status col_ranks_stage(const col_ranks *ranks, const void *data, uint64_t bytes);

/* Where the whole variable lies in memory that the host can read; NULL when there is no such place. */
const void *col_ranks_host(const col_ranks *ranks, const col_plan_variable *variable);

/* Bytes that the ranks here have sent so far, by kind. */
void col_ranks_sent(const col_ranks *ranks, uint64_t out_bytes[COL_COMM_KINDS]);

#endif
