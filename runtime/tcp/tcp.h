/* Ranks that are processes, forked here, or started by a launcher that told them of each other in the environment, as
 * torchrun does, or srun: what they need to know of each other goes over TCP. Their tensors do not: collectives are the devices' own
 * (col_comm_type.run is NULL). */
#ifndef COL_RUNTIME_TCP_TCP_H
#define COL_RUNTIME_TCP_TCP_H

#include "runtime/comm.h"

/* What the environment says. */
typedef struct col_tcp_place {
    int64_t rank, size; /* RANK, WORLD_SIZE; or SLURM_PROCID, SLURM_STEP_NUM_TASKS */
    int64_t local_rank,
        local_size;          /* LOCAL_RANK, LOCAL_WORLD_SIZE; or SLURM_LOCALID, SLURM_STEP_TASKS_PER_NODE */
    const char *host, *port; /* of rank 0: MASTER_ADDR, MASTER_PORT; NULL: not said */
} col_tcp_place;

/* False where no launcher started several processes. */
bool col_tcp_find_place(col_tcp_place *out_place);

/* Connects to rank 0, which listens on the port after MASTER_PORT (the launcher's own), and checks that there is a
 * process for each rank of the mesh and that all run the plan of that hash (COL_BAD_INPUT, on every rank). Whoever can
 * reach the port may join: for networks that are trusted. */
COL_MUST_USE col_status col_tcp_open(const col_mesh *mesh, uint64_t plan_hash, double timeout,
                                     col_comm **out_comm);

/* A process for each rank, on this host: this one is rank 0, the others are its children, which return from here as
 * it does. For a process with one thread. Closing rank 0's end waits for the children, and ends those that stay. */
COL_MUST_USE col_status col_tcp_fork(const col_mesh *mesh, double timeout, col_comm **out_comm);

#endif
