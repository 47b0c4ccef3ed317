/* A star: every rank has a connection to rank 0, which passes on what concerns all. A connection that breaks is a rank
 * that is gone, and is known at once. Frames are a header and as many bytes as it says, in the order of the host:
 *
 *   DATA    of an exchange or a broadcast; all ranks call the same ones in the same order
 *   FAIL    a code and a message: the run is over; rank 0 passes it on to all
 *   ASK     from rank 0: where are you?
 *   PLACE   the answer (col_comm_type.watch)
 *   LATE    to rank 0: a place, and what this rank waits in, for longer than the timeout
 *
 * Whoever waits reads what comes. When patience is over rank 0 asks all; of those that answer within `GRACE` seconds
 * the one furthest behind is late, and before them all one that does not answer. */
#include "runtime/tcp/tcp.h"

#include <errno.h>
#include <poll.h>
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

enum { DATA = 1, FAIL, ASK, PLACE, LATE };

enum {
    GRACE = 2,          /* seconds for an answer */
    LEAVING = 60,       /* seconds for children to end */
    LEAVING_FAILED = 5, /* seconds for them to let their devices end */
    MOST_TEXT = 4096,
};

typedef struct header {
    uint32_t kind, code;
    uint64_t bytes, place;
} header;

typedef struct tcp {
    col_comm comm; /* first: this is a communicator */
    int64_t size;
    int *peers; /* sockets; of rank 0: by rank, its own -1; of others: rank 0's alone */
    int64_t peer_count;
    col_status failure; /* the first; NULL while all is well */
    uint64_t place;
    uint64_t *places; /* by rank, of those that have answered */
    bool *answered;
    pid_t *children; /* by rank; NULL: there are none */
} tcp;

static bool leads(const tcp *t)
{
    return t->comm.rank == 0;
}

static int64_t rank_of(const tcp *t, int64_t peer)
{
    return leads(t) ? peer : 0;
}

/* Failing. */

/* Keeps the first failure; the caller gets a copy. */
static col_status fail_with(tcp *t, col_status status)
{
    if (t->failure)
        col_error_free(status);
    else
        t->failure = status;
    return col_error_make(col_error_code(t->failure), "%s", col_error_message(t->failure));
}

static void tell_failure(tcp *t, int64_t but);

/* As above; who is first to know tells the others. */
static col_status ended(tcp *t, col_status status)
{
    if (!status) return NULL;
    bool first = !t->failure;
    status = fail_with(t, status);
    if (first) tell_failure(t, -1);
    return status;
}

static col_status gone(tcp *t, int64_t peer)
{
    return col_error_make(COL_DEVICE,
                          "rank %lld lost the connection to rank %lld, which has ended or was killed",
                          (long long)t->comm.rank, (long long)rank_of(t, peer));
}

/* Bytes. Sockets do not block. */

static col_status wait_for(tcp *t, int64_t peer, short events, double deadline)
{
    struct pollfd p = {.fd = t->peers[peer], .events = events};
    for (;;) {
        double left = deadline - col_seconds();
        int ready = poll(&p, 1, left > 0 ? (int)(1e3 * COL_MIN(left, 1e3)) + 1 : 0);
        if (ready > 0) return NULL;
        if (ready < 0 && errno != EINTR) return col_error_from_errno(errno, "poll");
        if (left > 0) continue;
        return col_error_make(
            COL_DEVICE,
            "rank %lld did not come to the meeting of all ranks, where rank %lld waits, within %g s; "
            "give --timeout if ranks may take longer",
            (long long)rank_of(t, peer), (long long)t->comm.rank, t->comm.timeout);
    }
}

static col_status send_bytes(tcp *t, int64_t peer, const void *data, uint64_t bytes, double deadline)
{
    for (uint64_t at = 0; at < bytes;) {
        ssize_t done = send(t->peers[peer], (const char *)data + at, bytes - at, MSG_NOSIGNAL);
        if (done > 0) at += (uint64_t)done;
        if (done >= 0 || errno == EINTR) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) return gone(t, peer);
        COL_TRY(wait_for(t, peer, POLLOUT, deadline));
    }
    return NULL;
}

static col_status receive_bytes(tcp *t, int64_t peer, void *data, uint64_t bytes, double deadline)
{
    for (uint64_t at = 0; at < bytes;) {
        ssize_t done = recv(t->peers[peer], (char *)data + at, bytes - at, 0);
        if (done > 0) at += (uint64_t)done;
        if (done > 0 || (done < 0 && errno == EINTR)) continue;
        if (done == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return gone(t, peer);
        COL_TRY(wait_for(t, peer, POLLIN, deadline));
    }
    return NULL;
}

static col_status send_frame(tcp *t, int64_t peer, header h, const void *data, double deadline)
{
    COL_TRY(send_bytes(t, peer, &h, sizeof h, deadline));
    return send_bytes(t, peer, data, h.bytes, deadline);
}

/* To all peers but one; those that are gone are past being told. */
static void tell(tcp *t, int64_t but, header h, const void *data)
{
    for (int64_t p = 0; p < t->peer_count; p++) {
        if (p == but || t->peers[p] < 0) continue;
        col_error_free(send_frame(t, p, h, data, col_seconds() + GRACE));
    }
}

static void tell_failure(tcp *t, int64_t but)
{
    const char *text = col_error_message(t->failure);
    header h = {.kind = FAIL,
                .code = (uint32_t)col_error_code(t->failure),
                .bytes = COL_MIN(strlen(text), MOST_TEXT)};
    tell(t, but, h, text);
}

/* Who is late. */

static col_status look_for_late(tcp *t, int64_t waiting, const char *what);

static col_status receive_text(tcp *t, int64_t peer, const header *h, char text[MOST_TEXT + 1],
                               double deadline)
{
    uint64_t bytes = COL_MIN(h->bytes, (uint64_t)MOST_TEXT);
    if (h->bytes > MOST_TEXT) return gone(t, peer);
    text[bytes] = '\0';
    return receive_bytes(t, peer, text, bytes, deadline);
}

/* Deals with a frame that is not DATA, whose header has been read. */
static col_status handle(tcp *t, int64_t peer, const header *h)
{
    char text[MOST_TEXT + 1];
    double deadline = col_seconds() + GRACE;
    switch (h->kind) {
    case FAIL: {
        COL_TRY(receive_text(t, peer, h, text, deadline));
        bool known = t->failure != NULL;
        col_status status = fail_with(t, col_error_make((col_code)h->code, "%s", text));
        if (leads(t) && !known) tell_failure(t, peer);
        return status;
    }
    case ASK: return send_frame(t, peer, (header){.kind = PLACE, .place = t->place}, NULL, deadline);
    case PLACE:
        t->places[rank_of(t, peer)] = h->place;
        t->answered[rank_of(t, peer)] = true;
        return NULL;
    case LATE:
        COL_TRY(receive_text(t, peer, h, text, deadline));
        t->places[rank_of(t, peer)] = h->place;
        return look_for_late(t, rank_of(t, peer), text);
    default: return gone(t, peer);
    }
}

/* Reads what has come from a peer without waiting, up to DATA, which stays. */
static col_status read_waiting(tcp *t, int64_t peer, bool *out_data)
{
    *out_data = false;
    for (;;) {
        header h;
        ssize_t got = recv(t->peers[peer], &h, sizeof h, MSG_PEEK);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return NULL;
        if (got <= 0) return gone(t, peer);
        if ((size_t)got < sizeof h) return NULL; /* the rest is on its way */
        *out_data = h.kind == DATA;
        if (*out_data) return NULL;
        COL_TRY(receive_bytes(t, peer, &h, sizeof h, col_seconds() + GRACE));
        COL_TRY(handle(t, peer, &h));
    }
}

/* Of rank 0: `waiting` has waited for too long. Always fails, on all ranks. */
static col_status look_for_late(tcp *t, int64_t waiting, const char *what)
{
    if (t->failure) return fail_with(t, NULL);
    double deadline = col_seconds() + GRACE;
    memset(t->answered, 0, (size_t)t->size * sizeof *t->answered);
    t->answered[0] = true;
    t->places[0] = t->place;
    tell(t, -1, (header){.kind = ASK}, NULL);
    for (bool all = false; !all && col_seconds() < deadline;) {
        all = true;
        for (int64_t p = 1; p < t->size; p++) {
            bool data = false;
            col_status status = t->answered[p] ? NULL : read_waiting(t, p, &data);
            if (status) return ended(t, status);
            /* It is in the next meeting: further than all that wait for their devices. */
            if (data) t->places[p] = UINT64_MAX;
            t->answered[p] |= data;
            all &= t->answered[p];
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    }
    int64_t late = -1;
    for (int64_t r = 0; r < t->size && late < 0; r++) {
        if (!t->answered[r]) late = r;
    }
    for (int64_t r = 0; r < t->size && late < 0; r++) {
        bool least = t->places[r] < t->places[waiting];
        for (int64_t s = 0; s < t->size && least; s++) least = t->places[r] <= t->places[s];
        if (least) late = r;
    }
    col_status status =
        late < 0 ? col_error_make(COL_DEVICE, "rank %lld: the %s does not end within %g s",
                                  (long long)waiting, what, t->comm.timeout)
                 : col_error_make(
                       COL_DEVICE,
                       "rank %lld did not come to the %s, where rank %lld waits, within %g s; give --timeout "
                       "if ranks may take longer",
                       (long long)late, what, (long long)waiting, t->comm.timeout);
    return ended(t, status);
}

/* Of another rank: rank 0 finds out; where it says nothing, it is the one. */
static col_status ask_who_is_late(tcp *t, const char *what)
{
    header h = {.kind = LATE, .bytes = COL_MIN(strlen(what), MOST_TEXT), .place = t->place};
    double deadline = col_seconds() + 2 * GRACE;
    COL_TRY(send_frame(t, 0, h, what, deadline));
    while (col_seconds() < deadline) {
        bool data;
        COL_TRY(read_waiting(t, 0, &data));
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    }
    return col_error_make(
        COL_DEVICE,
        "rank 0 did not come to the %s, where rank %lld waits, within %g s; give --timeout if ranks "
        "may take longer",
        what, (long long)t->comm.rank, t->comm.timeout);
}

/* The interface. */

static col_status broken(tcp *t)
{
    return fail_with(t, NULL);
}

/* The next DATA from a peer, of that size. */
static col_status receive_data(tcp *t, int64_t peer, void *data, uint64_t bytes, double deadline)
{
    for (;;) {
        header h;
        COL_TRY(receive_bytes(t, peer, &h, sizeof h, deadline));
        if (h.kind != DATA) {
            COL_TRY(handle(t, peer, &h));
            continue;
        }
        if (h.bytes != bytes) {
            return col_error_make(COL_DEVICE,
                                  "rank %lld sent %llu bytes where %llu were expected: are all processes the "
                                  "same build of colrun?",
                                  (long long)rank_of(t, peer), (unsigned long long)h.bytes,
                                  (unsigned long long)bytes);
        }
        return receive_bytes(t, peer, data, bytes, deadline);
    }
}

static col_status send_data(tcp *t, int64_t peer, const void *data, uint64_t bytes, double deadline)
{
    return send_frame(t, peer, (header){.kind = DATA, .bytes = bytes}, data, deadline);
}

static col_status gather_and_spread(tcp *t, const void *mine, char *all, uint64_t bytes)
{
    double deadline = col_seconds() + t->comm.timeout;
    uint64_t whole = (uint64_t)t->size * bytes;
    if (!leads(t)) {
        COL_TRY(send_data(t, 0, mine, bytes, deadline));
        return receive_data(t, 0, all, whole, deadline);
    }
    memcpy(all, mine, bytes);
    for (int64_t r = 1; r < t->size; r++)
        COL_TRY(receive_data(t, r, all + (uint64_t)r * bytes, bytes, deadline));
    for (int64_t r = 1; r < t->size; r++) COL_TRY(send_data(t, r, all, whole, deadline));
    return NULL;
}

static col_status tcp_exchange(col_comm *comm, const void *mine, void *all, uint64_t bytes)
{
    tcp *t = (tcp *)comm;
    if (t->failure) return broken(t);
    col_status status = gather_and_spread(t, mine, all, bytes);
    return ended(t, status);
}

static col_status spread(tcp *t, int64_t root, void *data, uint64_t bytes)
{
    double deadline = col_seconds() + t->comm.timeout;
    if (!leads(t)) {
        if (root == t->comm.rank) return send_data(t, 0, data, bytes, deadline);
        return receive_data(t, 0, data, bytes, deadline);
    }
    if (root) COL_TRY(receive_data(t, root, data, bytes, deadline));
    for (int64_t r = 1; r < t->size; r++) {
        if (r != root) COL_TRY(send_data(t, r, data, bytes, deadline));
    }
    return NULL;
}

static col_status tcp_broadcast(col_comm *comm, int64_t root, void *data, uint64_t bytes)
{
    tcp *t = (tcp *)comm;
    if (t->failure) return broken(t);
    col_status status = spread(t, root, data, bytes);
    return ended(t, status);
}

static col_status tcp_watch(col_comm *comm, const col_plan_instruction *in, uint64_t place, bool late)
{
    tcp *t = (tcp *)comm;
    col_status status = NULL;
    if (t->failure) return broken(t);
    t->place = place;
    for (int64_t p = 0; p < t->peer_count && !status; p++) {
        bool data;
        if (t->peers[p] >= 0) status = read_waiting(t, p, &data);
    }
    if (!status && late) {
        col_str what = {0};
        col_str_printf(&what, "%s '%s'", col_plan_collective_name(in->collective->kind), in->name);
        status =
            leads(t) ? look_for_late(t, 0, col_str_text(&what)) : ask_who_is_late(t, col_str_text(&what));
        col_str_fini(&what);
    }
    return ended(t, status);
}

static void tcp_fail(col_comm *comm, col_status status)
{
    tcp *t = (tcp *)comm;
    if (t->failure) return;
    t->failure = col_error_make(col_error_code(status), "rank %lld failed: %s", (long long)comm->rank,
                                col_error_message(status));
    tell_failure(t, -1);
}

/* Those that do not end, or cannot, for they were stopped, are ended. */
static void wait_for_children(tcp *t)
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
    tcp *t = (tcp *)comm;
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

static col_status check_plans(tcp *t, uint64_t hash)
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
static tcp *make(const col_mesh *mesh, int64_t rank, double timeout)
{
    tcp *t = calloc(1, sizeof *t);
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
    tcp *t = make(mesh, place.rank, timeout);
    t->comm.sharing = (int)COL_MAX(place.local_size, 1);
    t->comm.place = (int)place.local_rank;
    col_status status = col_tcp_connect(&place, timeout, t->peers);
    status = status ? ended(t, status) : check_plans(t, plan_hash);
    if (status)
        tcp_close(&t->comm);
    else
        *out_comm = &t->comm;
    return status;
}

/* In the child: it has no children, and one peer. */
static void become(tcp *t, int64_t rank, int peer)
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
    tcp *t = make(mesh, 0, timeout);
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
            status =
                ended(t, col_error_from_errno(errno, "cannot start a process for rank %lld", (long long)r));
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
