/* The links of a rank's GPU to those of the other ranks: link.c, and what collective.c makes of instructions. */
#ifndef COL_RUNTIME_CUDA_LINK_H
#define COL_RUNTIME_CUDA_LINK_H

#include "runtime/cuda/cuda.h"
#include "runtime/nccl/nccl.h"
#include "runtime/pieces.h"

typedef struct cuda_link {
    col_comm *comm;
    const col_nccl_type *type;
    col_nccl *nccl;
    cudaStream_t stream;
    cudaEvent_t ready;           /* of the computing stream, at the collective that comes next */
    COL_VEC(cudaEvent_t) events; /* collective.c's */
    void *pieces; /* packed, of collectives that run together; allocated when all are prepared */
    size_t piece_bytes;
    /* Where the GPU stands in the program: 2 i + 1 in the collective that is instruction i, 2 i + 2 after it. */
    volatile uint32_t *mark;
    uint32_t *mark_there; /* for the GPU */
    cudaKernel_t mark_kernel;
    const col_plan_program *program;
    uint64_t runs;
} cuda_link;

/* Has the link's stream write the number. */
COL_MUST_USE col_status cuda_link_mark(const cuda_context *context, const char *where, uint32_t mark);
/* The same number on all ranks (col_comm_type.watch). */
uint64_t cuda_link_place(const cuda_link *link, uint32_t mark);

#endif
