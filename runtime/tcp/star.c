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
#include "runtime/tcp/star.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "runtime/hal.h"

enum { DATA = 1, FAIL, ASK, PLACE, LATE };

enum {
    GRACE = 2, /* seconds for an answer */
    MOST_TEXT = 4096,
};

typedef struct header {
    uint32_t kind, code;
    uint64_t bytes, place;
} header;

bool col_star_leads(const col_star *t)
{
    return t->comm.rank == 0;
}

static int64_t rank_of(const col_star *t, int64_t peer)
{
    return col_star_leads(t) ? peer : 0;
}

/* Failing. */

col_status col_star_fail(col_star *t, col_status status)
{
    if (t->failure)
        col_error_free(status);
    else
        t->failure = status;
    return col_error_make(col_error_code(t->failure), "%s", col_error_message(t->failure));
}

col_status col_star_ended(col_star *t, col_status status)
{
    if (!status) return NULL;
    bool first = !t->failure;
    status = col_star_fail(t, status);
    if (first) col_star_tell(t, -1);
    return status;
}

static col_status gone(col_star *t, int64_t peer)
{
    return col_error_make(COL_DEVICE,
                          "rank %lld lost the connection to rank %lld, which has ended or was killed",
                          (long long)t->comm.rank, (long long)rank_of(t, peer));
}

/* Bytes. Sockets do not block. */

static col_status wait_for(col_star *t, int64_t peer, short events, double deadline)
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

static col_status send_bytes(col_star *t, int64_t peer, const void *data, uint64_t bytes, double deadline)
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

static col_status receive_bytes(col_star *t, int64_t peer, void *data, uint64_t bytes, double deadline)
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

static col_status send_frame(col_star *t, int64_t peer, header h, const void *data, double deadline)
{
    COL_TRY(send_bytes(t, peer, &h, sizeof h, deadline));
    return send_bytes(t, peer, data, h.bytes, deadline);
}

/* To all peers but one; those that are gone are past being told. */
static void tell(col_star *t, int64_t but, header h, const void *data)
{
    for (int64_t p = 0; p < t->peer_count; p++) {
        if (p == but || t->peers[p] < 0) continue;
        col_error_free(send_frame(t, p, h, data, col_seconds() + GRACE));
    }
}

void col_star_tell(col_star *t, int64_t but)
{
    const char *text = col_error_message(t->failure);
    header h = {.kind = FAIL,
                .code = (uint32_t)col_error_code(t->failure),
                .bytes = COL_MIN(strlen(text), MOST_TEXT)};
    tell(t, but, h, text);
}

/* Who is late. */

static col_status receive_text(col_star *t, int64_t peer, const header *h, char text[MOST_TEXT + 1],
                               double deadline)
{
    uint64_t bytes = COL_MIN(h->bytes, (uint64_t)MOST_TEXT);
    if (h->bytes > MOST_TEXT) return gone(t, peer);
    text[bytes] = '\0';
    return receive_bytes(t, peer, text, bytes, deadline);
}

/* Deals with a frame that is not DATA, whose header has been read. */
static col_status handle(col_star *t, int64_t peer, const header *h)
{
    char text[MOST_TEXT + 1];
    double deadline = col_seconds() + GRACE;
    switch (h->kind) {
    case FAIL: {
        COL_TRY(receive_text(t, peer, h, text, deadline));
        bool known = t->failure != NULL;
        col_status status = col_star_fail(t, col_error_make((col_code)h->code, "%s", text));
        if (col_star_leads(t) && !known) col_star_tell(t, peer);
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
        return col_star_find_late(t, rank_of(t, peer), text);
    default: return gone(t, peer);
    }
}

col_status col_star_read(col_star *t, int64_t peer, bool *out_data)
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

col_status col_star_find_late(col_star *t, int64_t waiting, const char *what)
{
    if (t->failure) return col_star_fail(t, NULL);
    double deadline = col_seconds() + GRACE;
    memset(t->answered, 0, (size_t)t->size * sizeof *t->answered);
    t->answered[0] = true;
    t->places[0] = t->place;
    tell(t, -1, (header){.kind = ASK}, NULL);
    for (bool all = false; !all && col_seconds() < deadline;) {
        all = true;
        for (int64_t p = 1; p < t->size; p++) {
            bool data = false;
            col_status status = t->answered[p] ? NULL : col_star_read(t, p, &data);
            if (status) return col_star_ended(t, status);
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
    return col_star_ended(t, status);
}

col_status col_star_ask_late(col_star *t, const char *what)
{
    header h = {.kind = LATE, .bytes = COL_MIN(strlen(what), MOST_TEXT), .place = t->place};
    double deadline = col_seconds() + 2 * GRACE;
    COL_TRY(send_frame(t, 0, h, what, deadline));
    while (col_seconds() < deadline) {
        bool data;
        COL_TRY(col_star_read(t, 0, &data));
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    }
    return col_error_make(
        COL_DEVICE,
        "rank 0 did not come to the %s, where rank %lld waits, within %g s; give --timeout if ranks "
        "may take longer",
        what, (long long)t->comm.rank, t->comm.timeout);
}

/* Data. */

col_status col_star_receive(col_star *t, int64_t peer, void *data, uint64_t bytes, double deadline)
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

col_status col_star_send(col_star *t, int64_t peer, const void *data, uint64_t bytes, double deadline)
{
    return send_frame(t, peer, (header){.kind = DATA, .bytes = bytes}, data, deadline);
}
