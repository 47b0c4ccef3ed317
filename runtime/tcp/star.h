/* A star of connections: every rank has one to rank 0, which passes on what concerns all (see star.c). Sockets do not
 * block; deadlines are times of col_seconds. */
#ifndef COL_RUNTIME_TCP_STAR_H
#define COL_RUNTIME_TCP_STAR_H

#include <sys/types.h>

#include "runtime/comm.h"

typedef struct col_star {
    col_comm comm; /* first: this is a communicator */
    int64_t size;
    int *peers; /* sockets; of rank 0: by rank, its own -1; of others: rank 0's alone */
    int64_t peer_count;
    col_status failure; /* the first; NULL while all is well */
    uint64_t place;
    uint64_t *places; /* by rank, of those that have answered */
    bool *answered;
    pid_t *children; /* by rank; NULL: there are none */
} col_star;

bool col_star_leads(const col_star *t);

/* Keeps the first failure; the caller gets a copy. */
COL_MUST_USE col_status col_star_fail(col_star *t, col_status status);
/* The same, if there is one; who is first to know tells the others. */
COL_MUST_USE col_status col_star_ended(col_star *t, col_status status);
/* Tells all peers but one of the failure. */
void col_star_tell(col_star *t, int64_t but);

/* Data to a peer, and the next from it, of that size. */
COL_MUST_USE col_status col_star_send(col_star *t, int64_t peer, const void *data, uint64_t bytes,
                                      double deadline);
COL_MUST_USE col_status col_star_receive(col_star *t, int64_t peer, void *data, uint64_t bytes,
                                         double deadline);
/* Reads what has come from a peer without waiting, up to data, which stays. */
COL_MUST_USE col_status col_star_read(col_star *t, int64_t peer, bool *out_data);

/* Of rank 0: `waiting` has waited for too long. Always fails, on all ranks. */
COL_MUST_USE col_status col_star_find_late(col_star *t, int64_t waiting, const char *what);
/* Of another rank: rank 0 finds out; where it says nothing, it is the one. */
COL_MUST_USE col_status col_star_ask_late(col_star *t, const char *what);

#endif
