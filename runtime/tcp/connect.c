/* Rank 0 listens on the port after MASTER_PORT: that one is the launcher's own, torchrun has its store there. The others
 * try until it does. Whoever connects says which rank it is; what does not is sent away. */
#include "runtime/tcp/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "ir/base/str.h"
#include "runtime/hal.h"

enum {
    MAGIC = 0x636f6c63, /* "colc" */
    MOST_PORT = 65535,
    PATIENCE = 2, /* seconds for a connection to say who it is */
    RETRY_NANOSECONDS = 50 * 1000 * 1000,
    MOST_NAMED = 8, /* ranks in a message */
};

typedef struct hello {
    uint32_t magic, rank;
} hello;

/* The environment. */

/* The number that a variable begins with: "4(x2)", as SLURM writes lists, is 4. */
static bool read_number(const char *name, int64_t *out)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !*text) return false;
    *out = strtoll(text, &end, 10);
    return end != text && *out >= 0;
}

bool col_tcp_find_place(col_tcp_place *out)
{
    *out = (col_tcp_place){.local_size = 1, .host = getenv("MASTER_ADDR"), .port = getenv("MASTER_PORT")};
    if (read_number("RANK", &out->rank) && read_number("WORLD_SIZE", &out->size)) {
        if (!read_number("LOCAL_RANK", &out->local_rank)) out->local_rank = out->rank;
        if (!read_number("LOCAL_WORLD_SIZE", &out->local_size)) out->local_size = out->size;
    } else if (read_number("SLURM_PROCID", &out->rank) && read_number("SLURM_STEP_NUM_TASKS", &out->size)) {
        if (!read_number("SLURM_LOCALID", &out->local_rank)) out->local_rank = out->rank;
        if (!read_number("SLURM_STEP_TASKS_PER_NODE", &out->local_size)) out->local_size = out->size;
    }
    return out->size > 1 && out->rank < out->size;
}

static col_status find_address(const col_tcp_place *place, struct addrinfo **out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char port[16], *end;
    if (!place->host || !place->port) {
        return col_error_make(
            COL_BAD_INPUT,
            "a launcher started %lld processes, and %s is not set: export MASTER_ADDR (the host of "
            "rank 0) and MASTER_PORT, or give --comm local",
            (long long)place->size, place->host ? "MASTER_PORT" : "MASTER_ADDR");
    }
    long number = strtol(place->port, &end, 10);
    if (*end || number < 1 || number >= MOST_PORT)
        return col_error_make(COL_BAD_INPUT, "MASTER_PORT=%s is not a port below %d", place->port, MOST_PORT);
    snprintf(port, sizeof port, "%ld", number + 1);
    int error = getaddrinfo(place->host, port, &hints, out);
    if (!error) return NULL;
    return col_error_make(COL_DEVICE, "MASTER_ADDR=%s: %s", place->host, gai_strerror(error));
}

static void make_ready(int peer)
{
    int yes = 1;
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(peer, F_SETFL, fcntl(peer, F_GETFL) | O_NONBLOCK);
}

/* Rank 0. */

static void welcome(const col_tcp_place *place, int listener, int *sockets)
{
    hello h = {0};
    struct timeval soon = {.tv_sec = PATIENCE};
    int peer = accept(listener, NULL, NULL);
    if (peer < 0) return;
    fcntl(peer, F_SETFD, FD_CLOEXEC);
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    if (recv(peer, &h, sizeof h, MSG_WAITALL) == (ssize_t)sizeof h && h.magic == MAGIC && h.rank > 0 &&
        h.rank < place->size && sockets[h.rank] < 0) {
        make_ready(peer);
        sockets[h.rank] = peer;
    } else {
        close(peer);
    }
}

static col_status not_all(const col_tcp_place *place, double timeout, const int *sockets)
{
    col_str ranks = {0};
    int named = 0;
    for (int64_t r = 1; r < place->size; r++) {
        if (sockets[r] < 0 && named++ < MOST_NAMED)
            col_str_printf(&ranks, "%s%lld", named > 1 ? ", " : "", (long long)r);
    }
    col_status status =
        col_error_make(COL_DEVICE,
                       "rank%s %s%s did not connect to rank 0 at %s, on the port after MASTER_PORT=%s, "
                       "within %g s",
                       named > 1 ? "s" : "", col_str_text(&ranks), named > MOST_NAMED ? ", ..." : "",
                       place->host, place->port, timeout);
    col_str_fini(&ranks);
    return status;
}

static col_status accept_all(const col_tcp_place *place, double timeout, int listener, int *sockets)
{
    double deadline = col_seconds() + timeout;
    for (;;) {
        int64_t here = 1;
        for (int64_t r = 1; r < place->size; r++) here += sockets[r] >= 0;
        if (here == place->size) return NULL;
        double left = deadline - col_seconds();
        if (left <= 0) return not_all(place, timeout, sockets);
        struct pollfd p = {.fd = listener, .events = POLLIN};
        if (poll(&p, 1, (int)(1e3 * COL_MIN(left, 1)) + 1) > 0) welcome(place, listener, sockets);
    }
}

static col_status listen_for_all(const col_tcp_place *place, const struct addrinfo *address, double timeout,
                                 int *sockets)
{
    int yes = 1, listener = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) return col_error_from_errno(errno, "cannot make a socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    col_status status = NULL;
    if (bind(listener, address->ai_addr, address->ai_addrlen) || listen(listener, (int)place->size)) {
        status =
            col_error_make(COL_DEVICE, "rank 0 cannot listen at %s, on the port after MASTER_PORT=%s: %s",
                           place->host, place->port, strerror(errno));
    }
    if (!status) status = accept_all(place, timeout, listener, sockets);
    close(listener);
    return status;
}

/* The others. */

static col_status connect_to_first(const col_tcp_place *place, const struct addrinfo *address, double timeout,
                                   int *out_socket)
{
    double deadline = col_seconds() + timeout;
    hello h = {MAGIC, (uint32_t)place->rank};
    for (;;) {
        int peer = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (peer < 0) return col_error_from_errno(errno, "cannot make a socket");
        int error = connect(peer, address->ai_addr, address->ai_addrlen) ? errno : 0;
        if (!error && send(peer, &h, sizeof h, MSG_NOSIGNAL) != (ssize_t)sizeof h) error = errno;
        if (!error) {
            make_ready(peer);
            *out_socket = peer;
            return NULL;
        }
        close(peer);
        if (col_seconds() > deadline) {
            return col_error_make(COL_DEVICE,
                                  "rank %lld cannot reach rank 0 at %s, on the port after MASTER_PORT=%s: %s",
                                  (long long)place->rank, place->host, place->port, strerror(error));
        }
        nanosleep(&(struct timespec){.tv_nsec = RETRY_NANOSECONDS}, NULL);
    }
}

col_status col_tcp_connect(const col_tcp_place *place, double timeout, int *sockets)
{
    struct addrinfo *address = NULL;
    for (int64_t r = 0; r < (place->rank ? 1 : place->size); r++) sockets[r] = -1;
    COL_TRY(find_address(place, &address));
    col_status status = place->rank ? connect_to_first(place, address, timeout, sockets)
                                    : listen_for_all(place, address, timeout, sockets);
    freeaddrinfo(address);
    return status;
}
