/* One communicator for all ranks of the mesh is made from an identifier that rank 0 gives to all; those of other
 * groups are split off it, in the order in which the plan's collectives first name them, so that all ranks ask for
 * the same one at the same time.
 *
 * Every call may return ncclInProgress; `settle` waits for its end. Sums: NCCL chooses ring or tree, and the order of
 * additions, by the size of the tensor and the links between the GPUs, so two runs on one machine have the same bits.
 * f16 and bf16 are rounded after each addition, and a maximum or minimum takes a number before a NaN. */
#define _GNU_SOURCE /* pthread_timedjoin_np */
#include "runtime/nccl/nccl.h"

#include <cuda_runtime_api.h>
#include <nccl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/hal.h"
#include "runtime/pieces.h"

enum {
    EAGER_POLLS = 100, /* before the first sleep */
    NAP_NANOSECONDS = 100000,
    PATIENCE = 10, /* seconds for a communicator to end */
};

typedef struct group {
    col_group members; /* its axes are the plan's */
    ncclComm_t comm;
} group;

/* The end of a communicator. */
typedef struct ending {
    ncclComm_t comm;
    pthread_t thread;
} ending;

struct col_nccl {
    col_comm *comm;
    ncclComm_t all; /* of all ranks of the mesh, in their order */
    group *groups;
    size_t count;
    bool failed, is_joining; /* is_joining: between `begin` and `end` */
    ending *endings;         /* once it has failed */
    size_t ending_count;
    /* Where this rank stands, and since when. */
    const col_plan_instruction *instruction;
    uint64_t place;
    double since;
};

/* Errors. */

/* `where`: an instruction's name, or what is being done. */
static col_status failure(const col_nccl *n, const char *where, const char *call, ncclResult_t error)
{
    const char *more = ncclGetLastError(n->all);
    return col_error_make(COL_DEVICE, "rank %lld: %s: %s: %s%s%s", (long long)n->comm->rank, where, call,
                          ncclGetErrorString(error), more && *more ? ": " : "", more && *more ? more : "");
}

static void *abort_one(void *context)
{
    ending *e = context;
    ncclCommAbort(e->comm);
    return NULL;
}

static void start_ending(col_nccl *n, ncclComm_t comm)
{
    ending *e = &n->endings[n->ending_count];
    e->comm = comm;
    if (!pthread_create(&e->thread, NULL, abort_one, e)) n->ending_count++;
}

/* Aborting stops what runs of a communicator at once, but then waits for the graphs that hold its collectives, which
 * cannot be destroyed while those of another still run: so all are aborted at a time. */
static void nccl_abort(col_nccl *n)
{
    if (n->failed) return;
    n->failed = true;
    n->endings = calloc(n->count + 1, sizeof *n->endings);
    if (!n->endings) col_out_of_memory((n->count + 1) * sizeof *n->endings);
    for (size_t i = 0; i < n->count; i++) {
        if (n->groups[i].comm && n->groups[i].comm != n->all) start_ending(n, n->groups[i].comm);
    }
    if (n->all) start_ending(n, n->all);
}

/* False where one takes too long: it still uses its memory then, until the process ends. */
static bool wait_for_endings(col_nccl *n)
{
    struct timespec end;
    bool all = true;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE;
    for (size_t i = 0; i < n->ending_count; i++)
        all &= !pthread_timedjoin_np(n->endings[i].thread, NULL, &end);
    return all;
}

static col_status check(const col_nccl *n, const char *where)
{
    for (size_t i = 0; i < n->count; i++) {
        ncclResult_t state = ncclSuccess;
        ncclResult_t error =
            n->groups[i].comm ? ncclCommGetAsyncError(n->groups[i].comm, &state) : ncclSuccess;
        if (error) return failure(n, where, "ncclCommGetAsyncError", error);
        if (state != ncclSuccess && state != ncclInProgress)
            return failure(n, where, "a connection to another GPU", state);
    }
    return NULL;
}

static col_status watch(col_nccl *n, const col_plan_instruction *in, uint64_t place)
{
    if (n->failed)
        return col_error_make(COL_DEVICE, "rank %lld: an earlier collective has failed",
                              (long long)n->comm->rank);
    if (n->instruction != in || n->place != place) n->since = col_seconds();
    n->instruction = in;
    n->place = place;
    bool late = in && col_seconds() - n->since > n->comm->timeout;
    col_status status = n->comm->type->watch(n->comm, in, place, late);
    if (!status) status = check(n, in ? in->name : "waiting for the GPU");
    return status;
}

/* Until what was asked of `*comm` has ended; `*comm` may be NULL at first. `result` is what the call returned. */
static col_status settle(col_nccl *n, const ncclComm_t *comm, const char *where, const char *call,
                         ncclResult_t result)
{
    double start = col_seconds();
    for (int64_t polls = 0; result == ncclInProgress; polls++) {
        ncclResult_t state = ncclInProgress;
        ncclResult_t error = *comm ? ncclCommGetAsyncError(*comm, &state) : ncclSuccess;
        result = error ? error : state;
        if (result != ncclInProgress) break;
        COL_TRY(watch(n, n->instruction, n->place));
        if (!n->instruction && col_seconds() - start > n->comm->timeout) {
            return col_error_make(COL_DEVICE,
                                  "rank %lld: %s does not end within %g s; give --timeout if it may",
                                  (long long)n->comm->rank, where, n->comm->timeout);
        }
        if (polls < EAGER_POLLS)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = NAP_NANOSECONDS}, NULL);
    }
    return result == ncclSuccess ? NULL : failure(n, where, call, result);
}

/* Opening. */

/* NVLink multicast adds in the switches, in an order of their own. Whoever sets the variable decides. */
static void choose_algorithms(void)
{
    setenv("NCCL_NVLS_ENABLE", "0", 0);
}

static col_status meet(col_nccl *n, ncclUniqueId *out_id)
{
    size_t size = (size_t)col_mesh_size(&n->comm->mesh);
    ncclUniqueId mine;
    memset(&mine, 0, sizeof mine);
    choose_algorithms();
    ncclResult_t error = n->comm->rank ? ncclSuccess : ncclGetUniqueId(&mine);
    if (error) return failure(n, "opening the links between GPUs", "ncclGetUniqueId", error);
    ncclUniqueId *all = calloc(size, sizeof *all);
    if (!all) col_out_of_memory(size * sizeof *all);
    COL_TRY(
        n->comm->type->exchange(n->comm, &mine, all, sizeof mine)); /* where it fails, it still uses `all` */
    *out_id = all[0];
    free(all);
    return NULL;
}

static const group *find_group(const col_nccl *n, const Col__Plan__Collective *how)
{
    for (size_t i = 0; i < n->count; i++) {
        const col_group *g = &n->groups[i].members;
        if (g->axis_count == how->n_axes && !memcmp(g->axes, how->axes, g->axis_count * sizeof *g->axes))
            return &n->groups[i];
    }
    return NULL;
}

static bool is_everybody(const col_group *g)
{
    if (g->size != col_mesh_size(&g->mesh)) return false;
    for (int64_t i = 0; i < g->size; i++) {
        if (col_group_member(g, i) != i) return false;
    }
    return true;
}

static col_status add_group(col_nccl *n, const Col__Plan__Collective *how)
{
    static const char where[] = "opening the links between GPUs";
    if (find_group(n, how)) return NULL;
    group *g = &n->groups[n->count++];
    g->members = col_group_of(&n->comm->mesh, n->comm->rank, how->n_axes, how->axes);
    if (is_everybody(&g->members)) {
        g->comm = n->all;
        return NULL;
    }
    ncclResult_t result =
        ncclCommSplit(n->all, (int)col_group_member(&g->members, 0), (int)g->members.self, &g->comm, NULL);
    COL_TRY(settle(n, &n->all, where, "ncclCommSplit", result));
    return settle(n, &g->comm, where, "ncclCommSplit", ncclInProgress);
}

static col_status open_groups(col_nccl *n, const col_plan *plan)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    size_t most = 0;
    config.blocking = 0;
    COL_TRY(meet(n, &id));
    for (size_t p = 0; p < plan->n_programs; p++) most += plan->programs[p]->n_instructions;
    n->groups = calloc(most ? most : 1, sizeof *n->groups);
    if (!n->groups) col_out_of_memory(most * sizeof *n->groups);
    ncclResult_t result =
        ncclCommInitRankConfig(&n->all, (int)col_mesh_size(&n->comm->mesh), id, (int)n->comm->rank, &config);
    COL_TRY(settle(n, &n->all, "opening the links between GPUs", "ncclCommInitRankConfig", result));
    for (size_t p = 0; p < plan->n_programs; p++) {
        for (size_t i = 0; i < plan->programs[p]->n_instructions; i++) {
            const col_plan_instruction *in = plan->programs[p]->instructions[i];
            if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE)
                COL_TRY(add_group(n, in->collective));
        }
    }
    return NULL;
}

static void close_one(col_nccl *n, ncclComm_t comm)
{
    if (!comm || n->failed) return;
    if (col_error_ignore(settle(n, &comm, "closing", "ncclCommFinalize", ncclCommFinalize(comm))))
        nccl_abort(n);
    else
        ncclCommDestroy(comm);
}

/* Finalizing waits for the other ranks; after a failure there is nothing left but memory. */
static void nccl_close(col_nccl *n)
{
    if (!n) return;
    n->instruction = NULL;
    for (; n->count; n->count--) {
        ncclComm_t comm = n->groups[n->count - 1].comm;
        if (comm != n->all) close_one(n, comm);
    }
    close_one(n, n->all);
    if (!wait_for_endings(n)) return;
    free(n->endings);
    free(n->groups);
    free(n);
}

static col_status nccl_open(const col_plan *plan, col_comm *comm, col_nccl **out_nccl)
{
    col_nccl *n = calloc(1, sizeof *n);
    if (!n) col_out_of_memory(0);
    n->comm = comm;
    col_status status = open_groups(n, plan);
    if (status) {
        nccl_abort(n);
        nccl_close(n);
    } else {
        *out_nccl = n;
    }
    return status;
}

/* Running. */

static ncclDataType_t type_of(Col__Plan__Dtype dtype)
{
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: return ncclFloat32;
    case COL__PLAN__DTYPE__F64: return ncclFloat64;
    case COL__PLAN__DTYPE__F16: return ncclFloat16;
    case COL__PLAN__DTYPE__BF16: return ncclBfloat16;
    case COL__PLAN__DTYPE__I32: return ncclInt32;
    case COL__PLAN__DTYPE__I64: return ncclInt64;
    default: COL_PANIC("a reduction of %s passed the verifier", col_plan_dtype_name(dtype));
    }
}

static ncclRedOp_t reduction_of(const Col__Plan__Collective *how)
{
    if (how->reduce == COL__PLAN__REDUCE_KIND__SUM) return ncclSum;
    return how->reduce == COL__PLAN__REDUCE_KIND__MAX ? ncclMax : ncclMin;
}

/* In a group, where calls only take note. */
static bool is_bad(ncclResult_t result)
{
    return result != ncclSuccess && result != ncclInProgress;
}

static ncclResult_t all_to_all(const group *g, size_t bytes, const char *from, char *to, cudaStream_t stream)
{
    ncclResult_t result = ncclGroupStart(), end;
    for (int64_t i = 0; i < g->members.size && !is_bad(result); i++) {
        result = ncclSend(from + (size_t)i * bytes, bytes, ncclInt8, (int)i, g->comm, stream);
        if (!is_bad(result))
            result = ncclRecv(to + (size_t)i * bytes, bytes, ncclInt8, (int)i, g->comm, stream);
    }
    end = ncclGroupEnd();
    return is_bad(result) ? result : end;
}

/* What nobody sends is zero, which the caller has written. */
static ncclResult_t send_receive(const group *g, int64_t shift, size_t bytes, const void *from, void *to,
                                 cudaStream_t stream)
{
    int64_t sender = col_group_partner(&g->members, -shift), receiver = col_group_partner(&g->members, shift);
    ncclResult_t result = ncclGroupStart(), end;
    if (receiver >= 0 && !is_bad(result))
        result = ncclSend(from, bytes, ncclInt8, (int)receiver, g->comm, stream);
    if (sender >= 0 && !is_bad(result)) result = ncclRecv(to, bytes, ncclInt8, (int)sender, g->comm, stream);
    end = ncclGroupEnd();
    return is_bad(result) ? result : end;
}

static col_status nccl_run(col_nccl *n, const col_plan_instruction *in, uint64_t place, const void *from,
                           void *to, cudaStream_t stream)
{
    const Col__Plan__Collective *how = in->collective;
    const col_plan_view *view = in->reads[0];
    const group *g = find_group(n, how);
    size_t count = (size_t)col_plan_numel(view->n_dims, view->dims);
    size_t bytes = count * col_plan_dtype_size(view->dtype), size = (size_t)g->members.size;
    ncclResult_t result = ncclSuccess;
    COL_TRY(watch(n, in, place));
    switch (how->kind) {
    case COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE:
        result = ncclAllReduce(from, to, count, type_of(view->dtype), reduction_of(how), g->comm, stream);
        break;
    case COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER:
        result = ncclReduceScatter(from, to, count / size, type_of(view->dtype), reduction_of(how), g->comm,
                                   stream);
        break;
    case COL__PLAN__COLLECTIVE_KIND__ALL_GATHER:
        result = ncclAllGather(from, to, bytes, ncclInt8, g->comm, stream);
        break;
    case COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL:
        result = all_to_all(g, bytes / size, from, to, stream);
        break;
    case COL__PLAN__COLLECTIVE_KIND__BROADCAST:
        result = ncclBroadcast(from, to, bytes, ncclInt8, (int)how->root, g->comm, stream);
        break;
    case COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE:
        result = send_receive(g, how->shift, bytes, from, to, stream);
        break;
    default: COL_PANIC("collective '%s' passed the verifier with an unknown kind", in->name);
    }
    if (n->is_joining && !is_bad(result)) return NULL; /* `end` asks how it went */
    return settle(n, &g->comm, in->name, col_plan_collective_name(how->kind), result);
}

static col_status nccl_begin(col_nccl *n)
{
    n->is_joining = true;
    ncclResult_t result = ncclGroupStart();
    return result == ncclSuccess ? NULL : failure(n, "joined collectives", "ncclGroupStart", result);
}

static col_status nccl_end(col_nccl *n, const col_plan_instruction *in, uint64_t place)
{
    n->is_joining = false;
    ncclResult_t result = ncclGroupEnd();
    COL_TRY(watch(n, in, place));
    return settle(n, &find_group(n, in->collective)->comm, in->name, "ncclGroupEnd", result);
}

const col_nccl_type col_nccl_module = {.open = nccl_open,
                                       .close = nccl_close,
                                       .run = nccl_run,
                                       .begin = nccl_begin,
                                       .end = nccl_end,
                                       .watch = watch,
                                       .abort = nccl_abort};
