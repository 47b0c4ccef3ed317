/* Which way ranks reach each other. */
#ifndef COL_RUNTIME_TRANSPORT_H
#define COL_RUNTIME_TRANSPORT_H

#include "runtime/comm.h"

/* "local": all ranks are threads of this process, and `*out_comm` is NULL. "mpi": this process is one rank;
 * opens colc_mpi.so, which lies beside the program or in ../lib/colc. "tcp": the same, for processes that torchrun or
 * srun started, and devices that run collectives themselves. NULL: what started this process says. COL_BAD_INPUT when the processes are not as many as the plan's ranks, or have different plans. */
COL_MUST_USE col_status col_transport_open(const char *name, const col_plan *plan, double timeout,
                                           col_comm **out_comm);
/* Ranks of the communicator that are on this host; 0 for none (NULL). */
int col_transport_sharing(const col_comm *comm);
/* The place of this rank among them; 0 for NULL. */
int col_transport_place(const col_comm *comm);

#endif
