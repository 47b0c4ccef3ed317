/* The communicator over a star of connections (star.c): a connection that breaks is a rank that is gone, and is known at
 * once. */
#include "runtime/tcp/tcp.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ir/base/str.h"
#include "runtime/hal.h"
#include "runtime/tcp/connect.h"
#include "runtime/tcp/star.h"

enum {
    LEAVING = 60,       /* seconds for children to end */
    LEAVING_FAILED = 5, /* seconds for them to let their devices end */
};

/* The interface. */

static col_status gather_and_spread(col_star *t, const void *mine, char *all, uint64_t bytes)
{
    double deadline = col_seconds() + t->comm.timeout;
    uint64_t whole = (uint64_t)t->size * bytes;
    if (!col_star_leads(t)) {
        COL_TRY(col_star_send(t, 0, mine, bytes, deadline));
        return col_star_receive(t, 0, all, whole, deadline);
    }
    memcpy(all, mine, bytes);
    for (int64_t r = 1; r < t->size; r++)
        COL_TRY(col_star_receive(t, r, all + (uint64_t)r * bytes, bytes, deadline));
    for (int64_t r = 1; r < t->size; r++) COL_TRY(col_star_send(t, r, all, whole, deadline));
    return NULL;
}

static col_status tcp_exchange(col_comm *comm, const void *mine, void *all, uint64_t bytes)
{
    col_star *t = (col_star *)comm;
    if (t->failure) return col_star_fail(t, NULL);
    col_status status = gather_and_spread(t, mine, all, bytes);
    return col_star_ended(t, status);
}

static col_status spread(col_star *t, int64_t root, void *data, uint64_t bytes)
{
    double deadline = col_seconds() + t->comm.timeout;
    if (!col_star_leads(t)) {
        if (root == t->comm.rank) return col_star_send(t, 0, data, bytes, deadline);
        return col_star_receive(t, 0, data, bytes, deadline);
    }
    if (root) COL_TRY(col_star_receive(t, root, data, bytes, deadline));
    for (int64_t r = 1; r < t->size; r++) {
        if (r != root) COL_TRY(col_star_send(t, r, data, bytes, deadline));
    }
    return NULL;
}

static col_status tcp_broadcast(col_comm *comm, int64_t root, void *data, uint64_t bytes)
{
    col_star *t = (col_star *)comm;
    if (t->failure) return col_star_fail(t, NULL);
    col_status status = spread(t, root, data, bytes);
    return col_star_ended(t, status);
}

static col_status tcp_watch(col_comm *comm, const col_plan_instruction *in, uint64_t place, bool late)
{
    col_star *t = (col_star *)comm;
    col_status status = NULL;
    if (t->failure) return col_star_fail(t, NULL);
    t->place = place;
    for (int64_t p = 0; p < t->peer_count && !status; p++) {
        bool data;
        if (t->peers[p] >= 0) status = col_star_read(t, p, &data);
    }
    if (!status && late) {
        col_str what = {0};
        col_str_printf(&what, "%s '%s'", col_plan_collective_name(in->collective->kind), in->name);
        status = col_star_leads(t) ? col_star_find_late(t, 0, col_str_text(&what))
                                   : col_star_ask_late(t, col_str_text(&what));
        col_str_fini(&what);
    }
    return col_star_ended(t, status);
}

static void tcp_fail(col_comm *comm, col_status status)
{
    col_star *t = (col_star *)comm;
    if (t->failure) return;
    t->failure = col_error_make(col_error_code(status), "rank %lld failed: %s", (long long)comm->rank,
                                col_error_message(status));
    col_star_tell(t, -1);
}

/* Those that do not end, or cannot, for they were stopped, are ended. */
static void wait_for_children(col_star *t)
{
    double deadline = col_seconds() + (t->failure ? LEAVING_FAILED : LEAVING);
    for (int64_t r = 1; r < t->size; r++) {
        while (t->children[r] > 0 && waitpid(t->children[r], NULL, WNOHANG) == 0) {
            if (col_seconds() > deadline) kill(t->children[r], SIGKILL);
            nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
        }
    }
}

/* Ranks leave together: one that left alone would be taken for one that was killed. */
static void tcp_close(col_comm *comm)
{
    col_star *t = (col_star *)comm;
    char here = 0, *all = calloc((size_t)t->size, 1);
    if (!all) col_out_of_memory((size_t)t->size);
    if (!t->failure) col_error_free(tcp_exchange(comm, &here, all, 1));
    for (int64_t p = 0; p < t->peer_count; p++) {
        if (t->peers[p] >= 0) close(t->peers[p]);
    }
    if (t->children) wait_for_children(t);
    col_error_free(t->failure);
    free(all);
    free(t->children);
    free(t->peers);
    free(t->places);
    free(t->answered);
    free(t);
}

static const col_comm_type tcp_type = {.name = "tcp",
                                       .broadcast = tcp_broadcast,
                                       .exchange = tcp_exchange,
                                       .watch = tcp_watch,
                                       .fail = tcp_fail,
                                       .close = tcp_close};

/* Opening. */

static col_status check_size(const col_mesh *mesh, int64_t size)
{
    if (size == col_mesh_size(mesh)) return NULL;
    col_str text = {0};
    col_mesh_print(mesh, &text);
    col_status status = col_error_make(COL_BAD_INPUT,
                                       "the launcher started %lld processes, but the plan is for %lld rank%s "
                                       "(mesh %s): start as many, or give --comm "
                                       "local",
                                       (long long)size, (long long)col_mesh_size(mesh),
                                       col_mesh_size(mesh) == 1 ? "" : "s", col_str_text(&text));
    col_str_fini(&text);
    return status;
}

static col_status check_plans(col_star *t, uint64_t hash)
{
    uint64_t *hashes = calloc((size_t)t->size, sizeof *hashes);
    if (!hashes) col_out_of_memory((size_t)t->size * sizeof *hashes);
    col_status status = tcp_exchange(&t->comm, &hash, hashes, sizeof hash);
    for (int64_t r = 1; r < t->size && !status; r++) {
        if (hashes[r] == hashes[0]) continue;
        status = col_error_make(
            COL_BAD_INPUT,
            "rank %lld has another plan than rank 0: compile once and give all ranks the same file",
            (long long)r);
    }
    free(hashes);
    return status;
}

/* Its peers are still to come. */
static col_star *make(const col_mesh *mesh, int64_t rank, double timeout)
{
    col_star *t = calloc(1, sizeof *t);
    if (!t) col_out_of_memory(sizeof *t);
    t->comm = (col_comm){.type = &tcp_type, .mesh = *mesh, .rank = rank, .timeout = timeout};
    t->size = col_mesh_size(mesh);
    t->peer_count = rank ? 1 : t->size;
    t->peers = calloc((size_t)t->size, sizeof *t->peers);
    t->places = calloc((size_t)t->size, sizeof *t->places);
    t->answered = calloc((size_t)t->size, sizeof *t->answered);
    if (!t->peers || !t->places || !t->answered) col_out_of_memory(0);
    for (int64_t p = 0; p < t->size; p++) t->peers[p] = -1;
    return t;
}

col_status col_tcp_open(const col_mesh *mesh, uint64_t plan_hash, double timeout, col_comm **out_comm)
{
    col_tcp_place place;
    if (!col_tcp_find_place(&place))
        return col_error_make(COL_BAD_INPUT,
                              "--comm tcp is for processes that torchrun or srun started: RANK and "
                              "WORLD_SIZE do not say which of several this is");
    COL_TRY(check_size(mesh, place.size));
    col_star *t = make(mesh, place.rank, timeout);
    t->comm.sharing = (int)COL_MAX(place.local_size, 1);
    t->comm.place = (int)place.local_rank;
    col_status status = col_tcp_connect(&place, timeout, t->peers);
    status = status ? col_star_ended(t, status) : check_plans(t, plan_hash);
    if (status)
        tcp_close(&t->comm);
    else
        *out_comm = &t->comm;
    return status;
}

/* In the child: it has no children, and one peer. */
static void become(col_star *t, int64_t rank, int peer)
{
    for (int64_t r = 1; r < rank; r++) {
        close(t->peers[r]);
        t->peers[r] = -1;
    }
    free(t->children);
    t->children = NULL;
    t->comm.rank = t->comm.place = (int)rank;
    t->peer_count = 1;
    t->peers[0] = peer;
}

col_status col_tcp_fork(const col_mesh *mesh, double timeout, col_comm **out_comm)
{
    col_star *t = make(mesh, 0, timeout);
    col_status status = NULL;
    t->comm.sharing = (int)t->size;
    t->children = calloc((size_t)t->size, sizeof *t->children);
    if (!t->children) col_out_of_memory(0);
    fflush(NULL);
    for (int64_t r = 1; r < t->size && t->children && !status; r++) {
        int pair[2];
        pid_t child = -1;
        if (!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) child = fork();
        if (child < 0) {
            status = col_star_ended(
                t, col_error_from_errno(errno, "cannot start a process for rank %lld", (long long)r));
            break;
        }
        close(pair[child ? 1 : 0]);
        if (!child) {
            become(t, r, pair[1]);
        } else {
            t->peers[r] = pair[0];
            t->children[r] = child;
        }
    }
    if (status)
        tcp_close(&t->comm);
    else
        *out_comm = &t->comm;
    return status;
}
