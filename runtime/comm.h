/* What a transport between ranks implements: runtime/local for ranks that are threads of one process,
 * runtime/mpi for processes. A communicator is one rank's end of it.
 *
 * All ranks run the same instructions in the same order, so a collective needs no name: the k-th of one rank
 * meets the k-th of the others. Reductions are in the order of the group's members, so that every rank gets
 * the same bits, in every run. A rank that fails says so with `fail`; the others' collectives then fail too,
 * with its code, and with COL_DEVICE where one waits for longer than the timeout. After that the communicator
 * is of no more use.
 *
 * A communicator is used by one thread at a time, which need not be the same: the rank's own, or its stream's
 * (runtime/stream.h). */
#ifndef COL_RUNTIME_COMM_H
#define COL_RUNTIME_COMM_H

#include "ir/plan/plan.h"

enum { COL_COMM_KINDS = COL_PLAN_COLLECTIVE_KINDS };

typedef struct col_comm col_comm;

typedef struct col_comm_type {
    const char *name;
    /* The collective of an instruction, with its read and write at these addresses, in memory of the host. NULL
     * where a transport only says what processes need to know of each other. */
    col_status (*run)(col_comm *comm, const col_plan_instruction *instruction, const void *from, void *to);
    /* NULL where ranks share their memory, as `watch` is: `root`'s bytes to all ranks of the mesh, and every rank's
     * bytes to all, in the order of ranks. Not counted. */
    col_status (*broadcast)(col_comm *comm, int64_t root, void *data, uint64_t bytes);
    col_status (*exchange)(col_comm *comm, const void *mine, void *all, uint64_t bytes);
    /* For devices that run collectives themselves, between GPUs: called now and then by a rank that waits for its
     * device, which stands in the collective `instruction` (NULL: in none), with a number that grows along the run
     * and is the same on all ranks in the same collective. Fails when another rank has failed or is gone; with
     * `late`, when patience is over, it always fails, and names the rank that did not come. */
    col_status (*watch)(col_comm *comm, const col_plan_instruction *instruction, uint64_t place, bool late);
    /* This rank has failed; `status` stays the caller's. */
    void (*fail)(col_comm *comm, col_status status);
    void (*close)(col_comm *comm);
} col_comm_type;

struct col_comm {
    const col_comm_type *type;
    col_mesh mesh;
    int64_t rank;
    double timeout;                /* seconds */
    uint64_t sent[COL_COMM_KINDS]; /* bytes that this rank has sent, by kind */
    int sharing, place;            /* of processes: how many are on this host, and which of them this is */
};

#endif
