/* The CUDA device's parts. Everything but collectives (link.c) runs on one stream in the order of the program;
 * nothing is allocated once the device is open. */
#ifndef COL_RUNTIME_CUDA_CUDA_H
#define COL_RUNTIME_CUDA_CUDA_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "ir/base/vec.h"
#include "runtime/cuda/choices.h"
#include "runtime/cuda/kernels.h"
#include "runtime/hal.h"

/* The module's only export: the table of a device. */
#define COL_CUDA_TYPE "col_device_cuda"
extern const col_device_type col_device_cuda;

/* Errors of foreign calls: "h.0.attn: cublasLtMatmul: ...". `where` is an instruction's name, or what is
 * being done. */
COL_MUST_USE col_status cuda_failure(const char *where, const char *call, cudaError_t error);
COL_MUST_USE col_status cuda_blas_failure(const char *where, const char *call, cublasStatus_t error);
COL_MUST_USE col_status cuda_dnn_failure(const char *where, const char *call, cudnnStatus_t error);

#define CUDA_TRY(where, function, ...)                                                                       \
    do {                                                                                                     \
        cudaError_t cuda_error_ = function(__VA_ARGS__);                                                     \
        if (cuda_error_) return cuda_failure(where, #function, cuda_error_);                                 \
    } while (0)
#define CUDA_BLAS_TRY(where, function, ...)                                                                  \
    do {                                                                                                     \
        cublasStatus_t blas_error_ = function(__VA_ARGS__);                                                  \
        if (blas_error_) return cuda_blas_failure(where, #function, blas_error_);                            \
    } while (0)
#define CUDA_DNN_TRY(where, function, ...)                                                                   \
    do {                                                                                                     \
        cudnnStatus_t dnn_error_ = function(__VA_ARGS__);                                                    \
        if (dnn_error_) return cuda_dnn_failure(where, #function, dnn_error_);                               \
    } while (0)

/* What the instructions of a device share. */
typedef struct cuda_context {
    col_arena *memory;
    cudaStream_t stream;
    cudaLibrary_t own; /* the kernels of kernels.cu */
    cublasLtHandle_t blas;
    cudnnHandle_t dnn;                       /* NULL: nothing needs it yet */
    COL_VEC(cudnnBackendDescriptor_t) nodes; /* graph.c's */
    void *arena;                             /* all tensors */
    size_t arena_bytes;
    bool is_noisy;   /* the arena holds random numbers */
    size_t borrowed; /* bytes of workspace that measuring has */
    void *workspace; /* of one instruction at a time; allocated when all are prepared */
    size_t workspace_bytes;
    size_t shared_bytes;               /* of a block, at most */
    int capability;                    /* 90: compute capability 9.0 */
    int processors;                    /* multiprocessors */
    cuda_choices choices;              /* of algorithms, by measuring */
    struct cuda_link *link;            /* to the GPUs of other ranks; NULL: the plan has no mesh */
    COL_VEC(cudaEvent_t) watch_events; /* observe.c's */
} cuda_context;

/* An instruction made ready: `run` launches it on operands at their addresses, reads first. */
typedef struct cuda_call {
    const col_plan_instruction *instruction;
    void **args;
    col_status (*run)(const cuda_context *context, const struct cuda_call *call);
    void *state;         /* run's own */
    bool uses_workspace; /* which no other instruction may do at the same time */
    bool is_small;       /* leaves most of the device idle */
    bool joins_next;     /* is launched with the next, by its `run` */
} cuda_call;

/* Asks for so much of the workspace, for an instruction. */
static inline void cuda_want(cuda_context *context, cuda_call *call, size_t bytes)
{
    context->workspace_bytes = COL_MAX(context->workspace_bytes, bytes);
    call->uses_workspace |= bytes > 0;
}

/* For measuring while instructions are prepared: at least so much workspace, which the device takes back, and random
 * numbers in all its memory, which it clears when all are prepared. */
COL_MUST_USE col_status cuda_borrow_workspace(cuda_context *context, size_t bytes);

/* Each prepares instructions of its kind: sets `run` and `state`, and asks for workspace. COL_BAD_INPUT for
 * what the device does not do, which the message names. */
COL_MUST_USE col_status cuda_matmul_prepare(cuda_context *context, cuda_call *call);
COL_MUST_USE col_status cuda_attention_prepare(cuda_context *context, cuda_call *call);
COL_MUST_USE col_status cuda_convolution_prepare(cuda_context *context, cuda_call *call);
COL_MUST_USE col_status cuda_pool_prepare(cuda_context *context, cuda_call *call);
COL_MUST_USE col_status cuda_copy_prepare(cuda_context *context, cuda_call *call);
COL_MUST_USE col_status cuda_fill_prepare(cuda_context *context, cuda_call *call);
COL_MUST_USE col_status cuda_update_slice_prepare(cuda_context *context, cuda_call *call);
COL_MUST_USE col_status cuda_scatter_add_prepare(cuda_context *context, cuda_call *call);
COL_MUST_USE col_status cuda_shard_prepare(cuda_context *context, cuda_call *call);
/* Instruction `index` of the program, and the wait for one, whose calls are `calls`. */
COL_MUST_USE col_status cuda_collective_prepare(cuda_context *context, const col_plan_program *program,
                                                cuda_call *calls, size_t index);
COL_MUST_USE col_status cuda_wait_prepare(const cuda_call *calls, cuda_call *call);

/* Whether every rank of the mesh has a GPU of its own, of which this host shows `count`; all ranks come. */
COL_MUST_USE col_status cuda_link_check(col_comm *comm, int gpu, int count);
/* Of a plan with a mesh: joins the GPU with those of the other ranks, which all come. Closing is for a context without
 * links too, and comes after the graphs that were captured with them are destroyed. */
COL_MUST_USE col_status cuda_link_open(cuda_context *context, const col_plan *plan, col_comm *comm);
void cuda_link_close(cuda_context *context);
/* Memory for packed pieces, when all is prepared. */
COL_MUST_USE col_status cuda_link_reserve(cuda_context *context);
/* Before a program is launched; after it has ended, counts what its collectives have sent. */
void cuda_link_begin(const cuda_context *context, const col_plan_program *program);
void cuda_link_count(const cuda_context *context, const col_plan_program *program);
/* After a failure: ends what waits for other ranks on the GPU. */
void cuda_link_abort(const cuda_context *context);
/* Until the GPU has nothing left to do, or another rank has failed, is gone or late. */
COL_MUST_USE col_status cuda_link_wait(const cuda_context *context, const char *where);

/* A kernel of kernels.cu by its name. */
COL_MUST_USE col_status cuda_find_own(const cuda_context *context, const char *name, cudaKernel_t *out);
/* The suffix of the kernels for a dtype: "f32", "bf16", "f16"; NULL for others. */
const char *cuda_type_suffix(Col__Plan__Dtype dtype);
/* Launches a kernel on a grid of so many blocks along x; `params` are addresses of its parameters. */
COL_MUST_USE col_status cuda_launch(const cuda_context *context, const char *where, cudaKernel_t kernel,
                                    dim3 blocks, unsigned threads, size_t shared, void **params);
/* Blocks of `threads` for a thread each of `count`; at most what a grid takes. */
COL_MUST_USE col_status cuda_blocks_of(const char *where, int64_t count, unsigned threads, dim3 *out_blocks);

/* The stream that a call's last work is on. */
cudaStream_t cuda_stream_of(const cuda_context *context, const cuda_call *call);

/* Makes a graph of the program, all of whose instructions have run before (runtime/cuda/capture.c). */
COL_MUST_USE col_status cuda_capture(const cuda_context *context, const col_plan_program *program,
                                     const cuda_call *calls, cudaGraphExec_t *out);

/* Until the GPU has nothing left to do; `where` is what it did. */
COL_MUST_USE col_status cuda_finish(const cuda_context *context, const char *where);

/* Runs the program to its end and tells the observer of `options` when each instruction ran. `*watch` is the program's own, NULL
 * at first; its events are the context's (runtime/cuda/observe.c). */
typedef struct cuda_watch cuda_watch;
COL_MUST_USE col_status cuda_observe(cuda_context *context, const col_plan_program *program,
                                     const cuda_call *calls, const col_device_options *options,
                                     cuda_watch **watch);

/* Sets the int at `flag` (device memory) to 1 if the view, at `data`, holds a NaN or an infinity. */
COL_MUST_USE col_status cuda_look(const cuda_context *context, const col_plan_view *view, const void *data,
                                  int32_t *flag);

#endif
