/* What joins the GPU of a rank with those of the others: a stream for collectives beside the one for computing.
 *
 *     compute  ... a  ready ─────────────── b  ...  wait ── c
 *     link                └ begin pack NCCL unpack end, done ┘
 *
 * A collective begins when what the program did before it has ended, and all that comes after its wait (or after itself,
 * where it is not started) comes after its end. On the link's stream collectives run one after another, in the order of
 * the program, on every rank.
 *
 * The GPU says where it stands: before and after each collective a kernel writes a number that grows along the program
 * to memory of the host. While the host waits it looks at that number, and at the other ranks. */
#include "runtime/cuda/link.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/module.h"

enum {
    EAGER_POLLS = 300, /* before the first sleep */
    NAP_NANOSECONDS = 20000,
    LOOKS = 32,    /* polls between two looks at the other ranks */
    PATIENCE = 10, /* seconds for an aborted GPU */
};

col_status cuda_link_check(col_comm *comm, int gpu, int count)
{
    int64_t size = col_mesh_size(&comm->mesh), twin = -1;
    struct cudaDeviceProp properties;
    CUDA_TRY("opening the GPU", cudaGetDeviceProperties, &properties, gpu);
    cudaUUID_t *all = calloc((size_t)size, sizeof *all);
    if (!all) col_out_of_memory((size_t)size * sizeof *all);
    COL_TRY(comm->type->exchange(comm, &properties.uuid, all,
                                 sizeof *all)); /* where it fails, it still uses `all` */
    for (int64_t r = 0; r < size && twin < 0; r++) {
        if (r != comm->rank && !memcmp(&all[r], &properties.uuid, sizeof *all)) twin = r;
    }
    free(all);
    if (twin < 0) return NULL;
    return col_error_make(
        COL_DEVICE,
        "ranks %lld and %lld would share a GPU, for this host has %d that colrun may use, and the plan "
        "is for %lld ranks: compile it with a smaller --mesh, or see CUDA_VISIBLE_DEVICES",
        (long long)COL_MIN(comm->rank, twin), (long long)COL_MAX(comm->rank, twin), count, (long long)size);
}

static col_status open_nccl(cuda_link *link, const col_plan *plan)
{
    void *symbol;
    COL_TRY(col_module_open("colc_nccl.so", COL_NCCL_TYPE,
                            "build colc where NCCL is installed, or compile the model without --mesh",
                            &symbol));
    link->type = symbol;
    return link->type->open(plan, link->comm, &link->nccl);
}

col_status cuda_link_open(cuda_context *context, const col_plan *plan, col_comm *comm)
{
    static const char where[] = "opening the links between GPUs";
    int least, most;
    void *mark;
    if (!plan->n_mesh) return NULL;
    COL_ASSERT(comm);
    cuda_link *link = context->link = COL_NEW(context->memory, cuda_link);
    link->comm = comm;
    CUDA_TRY(where, cudaDeviceGetStreamPriorityRange, &least, &most);
    /* Its blocks go before those of the kernels that they run beside. */
    CUDA_TRY(where, cudaStreamCreateWithPriority, &link->stream, cudaStreamNonBlocking, most);
    CUDA_TRY(where, cudaEventCreateWithFlags, &link->ready, cudaEventDisableTiming);
    CUDA_TRY(where, cudaHostAlloc, &mark, sizeof *link->mark, cudaHostAllocMapped);
    link->mark = mark;
    *link->mark = 0;
    CUDA_TRY(where, cudaHostGetDevicePointer, (void **)&link->mark_there, mark, 0);
    COL_TRY(cuda_find_own(context, "col_mark", &link->mark_kernel));
    return open_nccl(link, plan);
}

col_status cuda_link_reserve(cuda_context *context)
{
    cuda_link *link = context->link;
    if (link && link->piece_bytes)
        CUDA_TRY("memory for pieces of collectives", cudaMalloc, &link->pieces, link->piece_bytes);
    return NULL;
}

void cuda_link_close(cuda_context *context)
{
    cuda_link *link = context->link;
    if (!link) return;
    if (link->nccl) link->type->close(link->nccl);
    for (size_t i = 0; i < link->events.len; i++) cudaEventDestroy(link->events.data[i]);
    if (link->ready) cudaEventDestroy(link->ready);
    cudaFreeHost((void *)(uintptr_t)link->mark);
    cudaFree(link->pieces);
    if (link->stream) cudaStreamDestroy(link->stream);
    context->link = NULL;
}

col_status cuda_link_mark(const cuda_context *context, const char *where, uint32_t mark)
{
    const cuda_link *link = context->link;
    uint32_t *there = link->mark_there;
    void *params[] = {&there, &mark};
    CUDA_TRY(where, cudaLaunchKernel, (const void *)link->mark_kernel, (dim3){1, 1, 1}, (dim3){1, 1, 1},
             params, 0, link->stream);
    return NULL;
}

void cuda_link_begin(const cuda_context *context, const col_plan_program *program)
{
    cuda_link *link = context->link;
    if (!link) return;
    link->program = program;
    link->runs++;
    *link->mark = 0;
}

void cuda_link_count(const cuda_context *context, const col_plan_program *program)
{
    for (size_t i = 0; context->link && i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        col_comm *comm = context->link->comm;
        if (in->kind_case != COL__PLAN__INSTRUCTION__KIND_COLLECTIVE) continue;
        col_group group = col_group_of(&comm->mesh, comm->rank, in->collective->n_axes, in->collective->axes);
        comm->sent[in->collective->kind] += col_group_sent(&group, in);
    }
}

uint64_t cuda_link_place(const cuda_link *link, uint32_t mark)
{
    return link->runs << 32 | mark;
}

/* Looks at the other ranks. */
static col_status look_around(const cuda_link *link)
{
    uint32_t mark = *link->mark;
    const col_plan_instruction *in = mark % 2 ? link->program->instructions[mark / 2] : NULL;
    return link->type->watch(link->nccl, in, cuda_link_place(link, mark));
}

/* cudaSuccess, cudaErrorNotReady, or what has failed. */
static cudaError_t query(const cuda_context *context)
{
    cudaError_t error = cudaStreamQuery(context->stream);
    if (error == cudaSuccess) error = cudaStreamQuery(context->link->stream);
    if (error == cudaErrorNotReady) (void)cudaGetLastError();
    return error;
}

void cuda_link_abort(const cuda_context *context)
{
    if (!context->link) return;
    context->link->type->abort(context->link->nccl);
    double end = col_seconds() + PATIENCE;
    while (query(context) == cudaErrorNotReady && col_seconds() < end)
        nanosleep(&(struct timespec){.tv_nsec = NAP_NANOSECONDS}, NULL);
}

col_status cuda_link_wait(const cuda_context *context, const char *where)
{
    for (int64_t polls = 1;; polls++) {
        cudaError_t error = query(context);
        if (error == cudaSuccess) return NULL;
        if (error != cudaErrorNotReady) return cuda_failure(where, "cudaStreamQuery", error);
        if (polls % LOOKS == 0) COL_TRY(look_around(context->link));
        if (polls < EAGER_POLLS)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = NAP_NANOSECONDS}, NULL);
    }
}
