/* Collectives through MPI, of point-to-point messages alone, so that the order of additions is ours: pieces
 * are gathered and summed in the order of the group's members. Messages between two ranks arrive in the order
 * in which they were sent, and all ranks run the same instructions, so one tag is enough.
 *
 *   all-reduce   member i gets chunk i of every member and sums it; then it sends the sum to all
 *   send-receive one message to the member `shift` places on, one from the member `shift` places back
 *   the others   every member sends its piece for each of the others, packed (runtime/pieces.h)
 *
 * MPI is called by one thread at a time, the rank's own or its stream's (runtime/stream.h), which take turns:
 * MPI_THREAD_SERIALIZED.
 *
 * Nothing blocks inside MPI: requests are polled, asleep in between, until they are done or the timeout is
 * over. When a rank has failed, MPI_Abort ends the others as the process exits, after its message is out. */
#define _GNU_SOURCE
#include "runtime/mpi/mpi.h"

#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ir/base/str.h"
#include "runtime/pieces.h"

enum {
    TAG = 1,
    SLICE = 1 << 30,   /* bytes of a message at most: counts are int */
    EAGER_POLLS = 100, /* before the first sleep */
    NAP_NANOSECONDS = 50000,
    MOST_NAMED = 8, /* ranks in a message */
};

typedef struct request_list {
    MPI_Request *requests;
    int *peers; /* who is on the other side; -1: all are */
    int count, capacity;
} request_list;

typedef struct mpi {
    col_comm comm; /* first: this is a communicator */
    MPI_Comm world;
    bool failed;
    const char *bad_call; /* the first that could not be started, and its error; NULL: none */
    int error;
    request_list list;
    char *buffer; /* packed pieces */
    size_t buffer_size;
    const void **sources;
} mpi;

/* Of the process, as MPI is: what it exits with when this rank's communicator has failed; 0: it has not. */
static int abort_code;

static void abort_others(void)
{
    int started = 0, finished = 0;
    MPI_Initialized(&started);
    MPI_Finalized(&finished);
    if (abort_code && started && !finished) MPI_Abort(MPI_COMM_WORLD, abort_code);
}

/* Waiting. */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_polling(int64_t polls)
{
    if (polls < EAGER_POLLS)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = NAP_NANOSECONDS}, NULL);
}

static MPI_Request *add_request(mpi *m, int peer)
{
    request_list *l = &m->list;
    if (l->count == l->capacity) {
        l->capacity = 2 * l->capacity + 16;
        l->requests = realloc(l->requests, sizeof *l->requests * (size_t)l->capacity);
        l->peers = realloc(l->peers, sizeof *l->peers * (size_t)l->capacity);
        if (!l->requests || !l->peers) col_out_of_memory(0);
    }
    l->peers[l->count] = peer;
    l->requests[l->count] = MPI_REQUEST_NULL;
    return &l->requests[l->count++];
}

/* Keeps the first error of a call that starts something; wait_all reports it. */
static void note(mpi *m, const char *call, int error)
{
    if (error == MPI_SUCCESS || m->bad_call) return;
    m->bad_call = call;
    m->error = error;
}

static void send_to(mpi *m, int64_t peer, const void *data, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += SLICE) {
        note(m, "MPI_Isend",
             MPI_Isend((const char *)data + at, (int)COL_MIN(bytes - at, (int64_t)SLICE), MPI_BYTE, (int)peer,
                       TAG, m->world, add_request(m, (int)peer)));
    }
}

static void receive_from(mpi *m, int64_t peer, void *data, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += SLICE) {
        note(m, "MPI_Irecv",
             MPI_Irecv((char *)data + at, (int)COL_MIN(bytes - at, (int64_t)SLICE), MPI_BYTE, (int)peer, TAG,
                       m->world, add_request(m, (int)peer)));
    }
}

/* `what`: "all-reduce 'h.0.sum'" */
static col_status too_late(mpi *m, const char *what)
{
    int late = -1;
    for (int i = 0; i < m->list.count && late < 0; i++) {
        int done = 0;
        if (m->list.peers[i] >= 0 &&
            MPI_Test(&m->list.requests[i], &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !done) {
            late = m->list.peers[i];
        }
    }
    col_str who = {0};
    if (late >= 0)
        col_str_printf(&who, "rank %d", late);
    else
        col_str_append(&who, "another rank");
    col_status status = col_error_make(COL_DEVICE,
                                       "%s did not come to the %s, where rank %lld waits, within %g s; give "
                                       "--timeout if ranks may take longer",
                                       col_str_text(&who), what, (long long)m->comm.rank, m->comm.timeout);
    col_str_fini(&who);
    return status;
}

/* Until all requests are done; the list is empty then. After a failure they are left to MPI_Abort. */
static col_status wait_all(mpi *m, const char *what)
{
    double deadline = now() + m->comm.timeout;
    if (m->bad_call) {
        m->failed = true;
        return col_error_make(COL_DEVICE, "rank %lld: %s failed in the %s (MPI error %d)",
                              (long long)m->comm.rank, m->bad_call, what, m->error);
    }
    for (int64_t polls = 0;; polls++) {
        int done = 0;
        int error = MPI_Testall(m->list.count, m->list.requests, &done, MPI_STATUSES_IGNORE);
        if (error != MPI_SUCCESS) {
            m->failed = true;
            return col_error_make(COL_DEVICE, "rank %lld lost the connection to another rank in the %s",
                                  (long long)m->comm.rank, what);
        }
        if (done) break;
        if (now() > deadline) {
            m->failed = true;
            return too_late(m, what);
        }
        pause_polling(polls);
    }
    m->list.count = 0;
    return NULL;
}

static col_status wait_for(mpi *m, const col_plan_instruction *in)
{
    col_str what = {0};
    col_str_printf(&what, "%s '%s'", col_plan_collective_name(in->collective->kind), in->name);
    col_status status = wait_all(m, col_str_text(&what));
    col_str_fini(&what);
    return status;
}

/* Collectives. */

static char *buffer_of(mpi *m, int64_t bytes)
{
    if ((size_t)bytes > m->buffer_size) {
        free(m->buffer);
        m->buffer_size = (size_t)bytes;
        m->buffer = malloc(m->buffer_size);
        if (!m->buffer) col_out_of_memory(m->buffer_size);
    }
    return m->buffer;
}

static col_status all_reduce(mpi *m, const col_group *group, const col_plan_instruction *in, const char *from,
                             char *to)
{
    const col_plan_view *view = in->reads[0];
    int64_t element = (int64_t)col_plan_dtype_size(view->dtype), n = group->size, self = group->self;
    int64_t count = col_plan_numel(view->n_dims, view->dims);
    int64_t start = col_chunk_start(count, n, self), own = col_chunk_start(count, n, self + 1) - start;
    char *slots = buffer_of(m, n * own * element);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = col_chunk_start(count, n, i), size = col_chunk_start(count, n, i + 1) - at;
        m->sources[i] = i == self ? from + start * element : slots + i * own * element;
        if (i == self) continue;
        receive_from(m, col_group_member(group, i), slots + i * own * element, own * element);
        send_to(m, col_group_member(group, i), from + at * element, size * element);
    }
    COL_TRY(wait_for(m, in));
    col_reduce(in->collective->reduce, view->dtype, n, m->sources, own, to + start * element);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = col_chunk_start(count, n, i), size = col_chunk_start(count, n, i + 1) - at;
        if (i == self) continue;
        receive_from(m, col_group_member(group, i), to + at * element, size * element);
        send_to(m, col_group_member(group, i), to + start * element, own * element);
    }
    return wait_for(m, in);
}

/* What a member does with the pieces that it got, packed one after another in the group's order. */
static void place_pieces(mpi *m, const col_group *group, const col_plan_instruction *in,
                         const col_piece *piece, const char *packed, char *to)
{
    int64_t count = col_piece_numel(piece), bytes = count * (int64_t)piece->element;
    if (in->collective->kind == COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER) {
        for (int64_t i = 0; i < group->size; i++) m->sources[i] = packed + i * bytes;
        col_reduce(in->collective->reduce, in->reads[0]->dtype, group->size, m->sources, count, to);
        return;
    }
    for (int64_t i = 0; i < group->size; i++)
        col_piece_unpack(piece, packed + i * bytes, to + i * piece->to_step * (int64_t)piece->element);
}

static col_status exchange_pieces(mpi *m, const col_group *group, const col_plan_instruction *in,
                                  const char *from, char *to)
{
    col_piece piece = col_piece_of(in, group->size);
    int64_t element = (int64_t)piece.element, bytes = col_piece_numel(&piece) * element, n = group->size;
    char *out = buffer_of(m, 2 * n * bytes), *got = out + n * bytes;
    for (int64_t i = 0; i < n; i++) {
        bool self = i == group->self;
        col_piece_pack(&piece, from + i * piece.from_step * element, (self ? got : out) + i * bytes);
        if (self) continue;
        receive_from(m, col_group_member(group, i), got + i * bytes, bytes);
        send_to(m, col_group_member(group, i), out + i * bytes, bytes);
    }
    COL_TRY(wait_for(m, in));
    place_pieces(m, group, in, &piece, got, to);
    return NULL;
}

/* Both sides are row-major. */
static col_status broadcast_piece(mpi *m, const col_group *group, const col_plan_instruction *in,
                                  const char *from, char *to)
{
    const col_plan_view *view = in->reads[0];
    int64_t bytes = col_plan_numel(view->n_dims, view->dims) * (int64_t)col_plan_dtype_size(view->dtype);
    int64_t root = in->collective->root;
    if (group->self != root) {
        receive_from(m, col_group_member(group, root), to, bytes);
        return wait_for(m, in);
    }
    for (int64_t i = 0; i < group->size; i++) {
        if (i != root) send_to(m, col_group_member(group, i), from, bytes);
    }
    memcpy(to, from, (size_t)bytes);
    return wait_for(m, in);
}

static col_status send_receive(mpi *m, const col_group *group, const col_plan_instruction *in,
                               const char *from, char *to)
{
    const col_plan_view *view = in->reads[0];
    int64_t bytes = col_plan_numel(view->n_dims, view->dims) * (int64_t)col_plan_dtype_size(view->dtype);
    int64_t sender = col_group_partner(group, -in->collective->shift),
            receiver = col_group_partner(group, in->collective->shift);
    if (sender >= 0)
        receive_from(m, col_group_member(group, sender), to, bytes);
    else
        memset(to, 0, (size_t)bytes);
    if (receiver >= 0) send_to(m, col_group_member(group, receiver), from, bytes);
    return wait_for(m, in);
}

static col_status broken(const mpi *m)
{
    return col_error_make(COL_DEVICE, "rank %lld has failed before", (long long)m->comm.rank);
}

static col_status mpi_run(col_comm *comm, const col_plan_instruction *in, const void *from, void *to)
{
    mpi *m = (mpi *)comm;
    col_group group = col_group_of(&comm->mesh, comm->rank, in->collective->n_axes, in->collective->axes);
    if (m->failed) return broken(m);
    comm->sent[in->collective->kind] += col_group_sent(&group, in);
    if (in->collective->kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE)
        return all_reduce(m, &group, in, from, to);
    if (in->collective->kind == COL__PLAN__COLLECTIVE_KIND__BROADCAST)
        return broadcast_piece(m, &group, in, from, to);
    if (in->collective->kind == COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE)
        return send_receive(m, &group, in, from, to);
    return exchange_pieces(m, &group, in, from, to);
}

static col_status mpi_broadcast(col_comm *comm, int64_t root, void *data, uint64_t bytes)
{
    mpi *m = (mpi *)comm;
    if (m->failed) return broken(m);
    for (uint64_t at = 0; at < bytes; at += SLICE) {
        note(m, "MPI_Ibcast",
             MPI_Ibcast((char *)data + at, (int)COL_MIN(bytes - at, (uint64_t)SLICE), MPI_BYTE, (int)root,
                        m->world, add_request(m, comm->rank == root ? -1 : (int)root)));
    }
    return wait_all(m, "exchange of variables");
}

static col_status mpi_exchange(col_comm *comm, const void *mine, void *all, uint64_t bytes)
{
    mpi *m = (mpi *)comm;
    if (m->failed) return broken(m);
    COL_ASSERT(bytes <= SLICE);
    note(m, "MPI_Iallgather",
         MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, m->world, add_request(m, -1)));
    return wait_all(m, "meeting of all ranks");
}

/* A process that dies is mpirun's affair: it ends the others. */
static col_status mpi_watch(col_comm *comm, const col_plan_instruction *in, uint64_t place, bool late)
{
    mpi *m = (mpi *)comm;
    (void)place;
    if (m->failed) return broken(m);
    if (!late) return NULL;
    col_str what = {0};
    col_str_printf(&what, "%s '%s'", col_plan_collective_name(in->collective->kind), in->name);
    m->failed = true;
    col_status status = too_late(m, col_str_text(&what));
    col_str_fini(&what);
    return status;
}

static void mpi_fail(col_comm *comm, col_status status)
{
    mpi *m = (mpi *)comm;
    m->failed = true;
    abort_code = (int)col_error_code(status);
}

/* Ranks leave together: one that left alone would be taken for a failure by mpirun. */
static void mpi_close(col_comm *comm)
{
    mpi *m = (mpi *)comm;
    if (!m->failed) {
        note(m, "MPI_Ibarrier", MPI_Ibarrier(m->world, add_request(m, -1)));
        m->failed = col_error_ignore(wait_all(m, "end of the run"));
    }
    if (m->failed)
        abort_code = abort_code ? abort_code : COL_DEVICE;
    else
        m->failed = MPI_Finalize() != MPI_SUCCESS;
    /* What is under way still uses the buffer: after a failure it stays until the process ends. */
    if (!m->failed) free(m->buffer);
    free(m->list.requests);
    free(m->list.peers);
    free(m->sources);
    free(m);
}

static const col_comm_type mpi_type = {.name = "mpi",
                                       .run = mpi_run,
                                       .broadcast = mpi_broadcast,
                                       .exchange = mpi_exchange,
                                       .watch = mpi_watch,
                                       .fail = mpi_fail,
                                       .close = mpi_close};

/* Opening. */

static col_status check_size(const mpi *m)
{
    int size = 0;
    MPI_Comm_size(m->world, &size);
    if (size == col_mesh_size(&m->comm.mesh)) return NULL;
    col_str mesh = {0};
    col_mesh_print(&m->comm.mesh, &mesh);
    col_status status = col_error_make(
        COL_BAD_INPUT,
        "mpirun started %d process%s, but the plan is for %lld rank%s (mesh %s): start as many", size,
        size == 1 ? "" : "es", (long long)col_mesh_size(&m->comm.mesh),
        col_mesh_size(&m->comm.mesh) == 1 ? "" : "s", col_str_text(&mesh));
    col_str_fini(&mesh);
    return status;
}

static col_status check_plans(mpi *m, uint64_t hash)
{
    int64_t size = col_mesh_size(&m->comm.mesh), differ = 0;
    uint64_t *hashes = calloc((size_t)size, sizeof *hashes);
    if (!hashes) col_out_of_memory(0);
    col_status status = mpi_exchange(&m->comm, &hash, hashes, sizeof hash);
    col_str ranks = {0};
    for (int64_t r = 0; r < size && !status; r++) {
        if (hashes[r] == hashes[0]) continue;
        if (differ++ < MOST_NAMED) col_str_printf(&ranks, "%s%lld", differ > 1 ? ", " : "", (long long)r);
    }
    if (differ) {
        status =
            col_error_make(COL_BAD_INPUT,
                           "rank%s %s%s %s another plan than rank 0: compile once and give all ranks the "
                           "same file",
                           differ > 1 ? "s" : "", col_str_text(&ranks), differ > MOST_NAMED ? ", ..." : "",
                           differ > 1 ? "have" : "has");
    }
    col_str_fini(&ranks);
    if (!m->failed) free(hashes); /* as in mpi_close */
    return status;
}

/* MPI_Init waits for all processes without an end of its own: a thread that ends this process instead, after
 * which mpirun ends the others. */
typedef struct watch {
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct timespec deadline;
    bool started;
} watch;

static void *watch_start(void *context)
{
    watch *w = context;
    pthread_mutex_lock(&w->lock);
    while (!w->started) {
        if (pthread_cond_timedwait(&w->change, &w->lock, &w->deadline) != ETIMEDOUT || w->started) continue;
        fprintf(stderr, "colrun: error: not all processes of mpirun came to MPI_Init within the timeout\n");
        _exit(COL_DEVICE);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static col_status start_mpi(double timeout)
{
    watch w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    int provided;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&w.change, &clock);
    pthread_condattr_destroy(&clock);
    clock_gettime(CLOCK_MONOTONIC, &w.deadline);
    w.deadline.tv_sec += (time_t)timeout + 1;
    int error = pthread_create(&thread, NULL, watch_start, &w);
    if (error) return col_error_from_errno(error, "cannot start a thread");
    int started = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    pthread_mutex_lock(&w.lock);
    w.started = true;
    pthread_cond_signal(&w.change);
    pthread_mutex_unlock(&w.lock);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&w.change);
    if (started != MPI_SUCCESS) return col_error_make(COL_DEVICE, "MPI cannot be started: use mpirun");
    if (provided >= MPI_THREAD_SERIALIZED) return NULL;
    return col_error_make(COL_DEVICE,
                          "this MPI cannot be called by several threads in turn: use one that is built "
                          "with support for threads");
}

col_status col_mpi_open(const col_mesh *mesh, uint64_t plan_hash, double timeout, col_comm **out_comm)
{
    int rank;
    COL_TRY(start_mpi(timeout));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    atexit(abort_others);
    mpi *m = calloc(1, sizeof *m);
    if (!m) col_out_of_memory(0);
    m->world = MPI_COMM_WORLD;
    m->comm = (col_comm){.type = &mpi_type, .mesh = *mesh, .rank = rank, .timeout = timeout};
    m->sources = calloc((size_t)col_mesh_size(mesh), sizeof *m->sources);
    if (!m->sources) col_out_of_memory(0);
    col_status status = check_size(m);
    if (!status) status = check_plans(m, plan_hash);
    if (status)
        mpi_close(&m->comm); /* all ranks see the same */
    else
        *out_comm = &m->comm;
    return status;
}
