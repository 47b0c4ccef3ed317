/* Collectives between GPUs through NCCL, for the CUDA device. In a shared module of its own, colc_nccl.so, that
 * runtime/cuda opens for plans with a mesh: a plan for one GPU does not need NCCL.
 *
 * A rank has one communicator for each list of mesh axes that its plan's collectives name. They do not block: a rank
 * that waits, for a connection or for its GPU, looks at the others meanwhile, through the transport that the ranks
 * have in common (runtime/comm.h). When one has failed, is gone or is late, the communicators are to be aborted,
 * which ends what runs on the GPU. */
#ifndef COL_RUNTIME_NCCL_NCCL_H
#define COL_RUNTIME_NCCL_NCCL_H

#include "runtime/comm.h"

typedef struct col_nccl col_nccl;
struct CUstream_st; /* cudaStream_t is a pointer to it */

/* The module's only export, by this name. */
#define COL_NCCL_TYPE "col_nccl_module"
typedef struct col_nccl_type {
    /* Of a rank, on its thread, with its GPU current; all ranks come. Plan and `comm` outlive it. */
    col_status (*open)(const col_plan *plan, col_comm *comm, col_nccl **out_nccl);
    /* All ranks come, unless one has failed. Nothing runs on the GPU, and no graph is left that was captured from it,
     * for which NCCL would wait. NULL is fine. */
    void (*close)(col_nccl *nccl);
    /* Enqueues the collective of an instruction. `from` and `to` are in the GPU's memory and row-major, and pieces of
     * members (runtime/pieces.h) lie one after another in them, each dense. `place` as for `watch`. */
    col_status (*run)(col_nccl *nccl, const col_plan_instruction *instruction, uint64_t place,
                      const void *from, void *to, struct CUstream_st *stream);
    /* What `run` enqueues in between, over one list of axes, runs as one operation. `end` is called whatever has failed.
     */
    col_status (*begin)(col_nccl *nccl);
    col_status (*end)(col_nccl *nccl, const col_plan_instruction *instruction, uint64_t place);
    /* For a rank that waits for its GPU, which stands in this collective (NULL: in none), at this place in the run
     * (col_comm_type.watch); a place that has not changed for as long as the timeout is late. */
    col_status (*watch)(col_nccl *nccl, const col_plan_instruction *instruction, uint64_t place);
    /* After a failure: what runs on the GPU ends soon; the communicators are of no more use. */
    void (*abort)(col_nccl *nccl);
} col_nccl_type;

extern const col_nccl_type col_nccl_module;

#endif
