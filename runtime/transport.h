/* Which way ranks reach each other. */
#ifndef COL_RUNTIME_TRANSPORT_H
#define COL_RUNTIME_TRANSPORT_H

#include "runtime/comm.h"

/* "local": all ranks are threads of this process, and `*out_comm` is NULL; with GPUs, processes that
 * this one forks, which all return from here. "mpi": this process is one rank;
 * opens colc_mpi.so, which lies beside the program or in ../lib/colc. "tcp": the same, for processes that torchrun or
 * srun started, and devices that run collectives themselves. NULL: what started this process says. COL_BAD_INPUT when the processes are not as many as the plan's ranks, or have different plans. */
COL_MUST_USE col_status col_transport_open(const char *name, const col_plan *plan, double timeout,
                                           col_comm **out_comm);
#endif
