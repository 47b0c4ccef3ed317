/* Collectives through shared memory. Ranks show each other where their tensors are, meet, take what they need
 * from the others, and meet again before anybody's memory changes:
 *
 *   all-reduce     each rank reduces its own chunk of all members' tensors (n-1 chunks come in), meet, then
 *                  takes the other chunks: 2 (n-1)/n of the tensor per rank, the least there is
 *   send-receive   each rank takes the tensor of the one that sends to it; only these two meet
 *   the others     each rank takes its piece from every member (runtime/pieces.h)
 *
 * Ranks meet by phases: every rank counts how often it has met, and waits, asleep, until none of those that
 * it meets is behind it. Since all ranks run the same instructions, equal counts are the same meeting.
 *
 * A seat is used by one thread at a time, the rank's own or its stream's (runtime/stream.h). */
#include "runtime/local/local.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ir/base/str.h"
#include "runtime/pieces.h"

/* Members of a group. */
typedef struct places {
    int64_t first, end;
} places;

typedef struct seat {
    col_comm comm; /* first: a seat is a communicator */
    col_local *local;
    pthread_cond_t wake;
    uint64_t phase;                 /* meetings come to */
    bool waits;                     /* at the last of them, */
    col_group group;                /* for these */
    places awaited;                 /* of the group */
    const col_plan_instruction *in; /* the collective that it is in or was in last */
    const void *from;
    void *to;
    const void **sources; /* scratch: an address per rank */
} seat;

struct col_local {
    pthread_mutex_t lock; /* of phases, what seats show, and the failure */
    int64_t count;
    seat *seats;
    col_status failure; /* the first; NULL while all is well */
};

/* Meetings. */

static const seat *find_late(const col_local *local, const col_group *group, places among, uint64_t phase)
{
    for (int64_t i = among.first; i < among.end; i++) {
        const seat *other = &local->seats[col_group_member(group, i)];
        if (other->phase < phase) return other;
    }
    return NULL;
}

static void wake_all(col_local *local)
{
    for (int64_t i = 0; i < local->count; i++) pthread_cond_signal(&local->seats[i].wake);
}

/* What a rank is in: "all-reduce 'h.0.sum'". */
static const char *what_of(const seat *s, col_str *text)
{
    col_str_printf(text, "%s '%s'", col_plan_collective_name(s->in->collective->kind), s->in->name);
    return col_str_text(text);
}

static col_status given_up(const seat *s)
{
    col_str text = {0};
    col_status status =
        col_error_make(col_error_code(s->local->failure), "rank %lld gives up the %s: %s",
                       (long long)s->comm.rank, what_of(s, &text), col_error_message(s->local->failure));
    col_str_fini(&text);
    return status;
}

static col_status did_not_come(const seat *s, const seat *late)
{
    col_str text = {0};
    col_status status = col_error_make(
        COL_DEVICE,
        "rank %lld did not come to the %s, where rank %lld waits, within %g s; give "
        "--timeout if ranks may take longer",
        (long long)late->comm.rank, what_of(s, &text), (long long)s->comm.rank, s->comm.timeout);
    col_str_fini(&text);
    return status;
}

/* The first rank whose patience ends says who is late: the rank that it waits for, or the one that this rank
 * waits for elsewhere, and so on. */
static void accuse(const seat *s)
{
    col_local *local = s->local;
    const seat *late = find_late(local, &s->group, s->awaited, s->phase);
    for (int64_t i = 0; i < local->count && late->waits; i++) {
        const seat *next = find_late(local, &late->group, late->awaited, late->phase);
        if (!next) break;
        s = late;
        late = next;
    }
    local->failure = did_not_come(s, late);
    wake_all(local);
}

static struct timespec deadline_of(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double whole = (double)(int64_t)seconds;
    t.tv_sec += (time_t)whole;
    t.tv_nsec += (long)(1e9 * (seconds - whole));
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

static void wake(const seat *s, const col_group *group, places who)
{
    for (int64_t i = who.first; i < who.end; i++)
        pthread_cond_signal(&s->local->seats[col_group_member(group, i)].wake);
}

/* With the lock. */
static col_status wait_for(seat *s, const col_group *group, places awaited)
{
    struct timespec deadline = deadline_of(s->comm.timeout);
    const seat *late = find_late(s->local, group, awaited, s->phase);
    s->group = *group;
    s->awaited = awaited;
    s->waits = true;
    while (late && !s->local->failure) {
        int error = pthread_cond_timedwait(&s->wake, &s->local->lock, &deadline);
        late = find_late(s->local, group, awaited, s->phase);
        if (late && error == ETIMEDOUT && !s->local->failure) accuse(s);
    }
    s->waits = false;
    return late ? given_up(s) : NULL;
}

/* All members of the group meet: the last to come lets the others go. */
static col_status meet(seat *s, const col_group *group)
{
    places all = {0, group->size};
    pthread_mutex_lock(&s->local->lock);
    s->phase++;
    if (!find_late(s->local, group, all, s->phase)) wake(s, group, all);
    col_status status = s->local->failure ? given_up(s) : wait_for(s, group, all);
    pthread_mutex_unlock(&s->local->lock);
    return status;
}

/* Waits for some members to come as far as this rank, and lets those go that wait for this one. */
static col_status meet_partners(seat *s, const col_group *group, places awaited, places waiting)
{
    pthread_mutex_lock(&s->local->lock);
    s->phase++;
    wake(s, group, waiting);
    col_status status = s->local->failure ? given_up(s) : wait_for(s, group, awaited);
    pthread_mutex_unlock(&s->local->lock);
    return status;
}

/* Collectives. */

static seat *member_of(const seat *s, const col_group *group, int64_t i)
{
    return &s->local->seats[col_group_member(group, i)];
}

static col_status all_reduce(seat *s, const col_group *group)
{
    const col_plan_view *view = s->in->reads[0];
    int64_t count = col_plan_numel(view->n_dims, view->dims), n = group->size, self = group->self;
    int64_t element = (int64_t)col_plan_dtype_size(view->dtype);
    int64_t start = col_chunk_start(count, n, self), end = col_chunk_start(count, n, self + 1);
    for (int64_t i = 0; i < n; i++)
        s->sources[i] = (const char *)member_of(s, group, i)->from + start * element;
    col_reduce(s->in->collective->reduce, view->dtype, n, s->sources, end - start,
               (char *)s->to + start * element);
    COL_TRY(meet(s, group));
    for (int64_t k = 1; k < n; k++) { /* from the next member on, so that not all read from the same one */
        int64_t i = (self + k) % n, at = col_chunk_start(count, n, i),
                next = col_chunk_start(count, n, i + 1);
        col_piece chunk = {.element = (size_t)element, .run = next - at};
        col_piece_copy(&chunk, (const char *)member_of(s, group, i)->to + at * element,
                       (char *)s->to + at * element);
    }
    return NULL;
}

static void reduce_pieces(seat *s, const col_group *group, const col_piece *piece)
{
    int64_t index[COL_PLAN_MAX_RANK] = {0}, from = group->self * piece->from_step, to = 0;
    int64_t element = (int64_t)piece->element;
    do {
        for (int64_t i = 0; i < group->size; i++)
            s->sources[i] = (const char *)member_of(s, group, i)->from + from * element;
        col_reduce(s->in->collective->reduce, s->in->reads[0]->dtype, group->size, s->sources, piece->run,
                   (char *)s->to + to * element);
    } while (col_piece_next(piece, index, &from, &to));
}

static void exchange_pieces(seat *s, const col_group *group)
{
    const Col__Plan__Collective *how = s->in->collective;
    col_piece piece = col_piece_of(s->in, group->size);
    int64_t element = (int64_t)piece.element, n = group->size;
    if (how->kind == COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER) {
        reduce_pieces(s, group, &piece);
    } else if (how->kind == COL__PLAN__COLLECTIVE_KIND__BROADCAST) {
        col_piece_copy(&piece, member_of(s, group, how->root)->from, s->to);
    } else {
        for (int64_t k = 0; k < n; k++) {
            int64_t i = (group->self + k) % n;
            const char *from = member_of(s, group, i)->from;
            col_piece_copy(&piece, from + group->self * piece.from_step * element,
                           (char *)s->to + i * piece.to_step * element);
        }
    }
}

static col_status send_receive(seat *s, const col_group *group)
{
    const col_plan_view *view = s->in->reads[0];
    size_t bytes = (size_t)col_plan_numel(view->n_dims, view->dims) * col_plan_dtype_size(view->dtype);
    int64_t sender = col_group_partner(group, -s->in->collective->shift),
            receiver = col_group_partner(group, s->in->collective->shift);
    places from = {sender, sender + 1}, to = {receiver, receiver + 1}, none = {0, 0};
    if (sender < 0) from = none;
    if (receiver < 0) to = none;
    COL_TRY(meet_partners(s, group, from, to));
    if (sender < 0)
        memset(s->to, 0, bytes);
    else
        memcpy(s->to, member_of(s, group, sender)->from, bytes);
    return meet_partners(s, group, to, from);
}

static col_status local_run(col_comm *comm, const col_plan_instruction *in, const void *from, void *to)
{
    seat *s = (seat *)comm;
    col_group group = col_group_of(&comm->mesh, comm->rank, in->collective->n_axes, in->collective->axes);
    pthread_mutex_lock(&s->local->lock);
    s->in = in;
    s->from = from;
    s->to = to;
    pthread_mutex_unlock(&s->local->lock);
    comm->sent[in->collective->kind] += col_group_sent(&group, in);
    if (in->collective->kind == COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE) return send_receive(s, &group);
    COL_TRY(meet(s, &group));
    if (in->collective->kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE)
        COL_TRY(all_reduce(s, &group));
    else
        exchange_pieces(s, &group);
    return meet(s, &group);
}

static void local_fail(col_comm *comm, col_status status)
{
    seat *s = (seat *)comm;
    pthread_mutex_lock(&s->local->lock);
    if (!s->local->failure) {
        s->local->failure = col_error_make(col_error_code(status), "rank %lld failed: %s",
                                           (long long)comm->rank, col_error_message(status));
        wake_all(s->local);
    }
    pthread_mutex_unlock(&s->local->lock);
}

/* Communicators are the group's. */
static void local_close(col_comm *comm)
{
    (void)comm;
}

static const col_comm_type local_type = {
    .name = "local",
    .run = local_run,
    .fail = local_fail,
    .close = local_close,
};

col_local *col_local_create(const col_mesh *mesh, double timeout)
{
    col_local *local = calloc(1, sizeof *local);
    if (!local) col_out_of_memory(0);
    local->count = col_mesh_size(mesh);
    local->seats = calloc((size_t)local->count, sizeof *local->seats);
    if (!local->seats) col_out_of_memory(0);
    pthread_mutex_init(&local->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    for (int64_t i = 0; i < local->count; i++) {
        seat *s = &local->seats[i];
        s->comm = (col_comm){.type = &local_type, .mesh = *mesh, .rank = i, .timeout = timeout};
        s->local = local;
        s->sources = calloc((size_t)local->count, sizeof *s->sources);
        if (!s->sources) col_out_of_memory(0);
        pthread_cond_init(&s->wake, &monotonic);
    }
    pthread_condattr_destroy(&monotonic);
    return local;
}

void col_local_destroy(col_local *local)
{
    if (!local) return;
    for (int64_t i = 0; i < local->count; i++) {
        pthread_cond_destroy(&local->seats[i].wake);
        free(local->seats[i].sources);
    }
    pthread_mutex_destroy(&local->lock);
    col_error_free(local->failure);
    free(local->seats);
    free(local);
}

col_comm *col_local_comm(col_local *local, int64_t rank)
{
    COL_ASSERT(rank >= 0 && rank < local->count);
    return &local->seats[rank].comm;
}

col_status col_local_failure(col_local *local)
{
    pthread_mutex_lock(&local->lock);
    col_status failure = NULL;
    if (local->failure)
        failure = col_error_make(col_error_code(local->failure), "%s", col_error_message(local->failure));
    pthread_mutex_unlock(&local->lock);
    return failure;
}
