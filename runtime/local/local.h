/* Ranks in one process: threads that read each other's memory. */
#ifndef COL_RUNTIME_LOCAL_LOCAL_H
#define COL_RUNTIME_LOCAL_LOCAL_H

#include "runtime/comm.h"

typedef struct col_local col_local;

/* One communicator per rank of the mesh. A collective that waits for longer than `timeout` seconds fails. */
col_local *col_local_create(const col_mesh *mesh, double timeout);
void col_local_destroy(col_local *local); /* NULL is fine; no rank may be in a collective */
/* For the thread of that rank alone; owned by `local`. */
col_comm *col_local_comm(col_local *local, int64_t rank);
/* A copy of the first failure of any rank; NULL while all is well. */
COL_MUST_USE col_status col_local_failure(col_local *local);

#endif
