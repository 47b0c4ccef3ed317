#include "runtime/ranks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cut.h"
#include "runtime/local/local.h"

typedef struct member {
    col_ranks *ranks;
    col_comm *comm; /* NULL: the plan has no mesh */
    col_device *device;
    col_status status; /* of the last job */
    int64_t bad;
    pthread_t thread;
    bool started;
} member;

/* What every rank does next. A device is opened, used and closed by one thread: libraries keep scratch memory
 * by thread. */
typedef col_status (*job)(member *m, const col_plan_program *program, bool look);

struct col_ranks {
    const col_plan *plan;
    const col_device_type *type;
    col_device_options options;
    col_mesh mesh;
    col_local *local; /* NULL: one rank, on the caller's thread */
    int64_t first, count;
    member *members;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t start, done;
    uint64_t round; /* jobs given out */
    int64_t busy;
    job job; /* NULL: end */
    const col_plan_program *program;
    bool look;
};

/* Jobs. */

static col_status open_device(member *m, const col_plan_program *program, bool look)
{
    (void)program;
    (void)look;
    col_device_options options = m->ranks->options;
    options.comm = m->comm;
    options.place += (int)(m - m->ranks->members);
    if (m->comm && m->comm->rank) options.observe = NULL;
    return m->ranks->type->open(m->ranks->plan, &options, &m->device);
}

static col_status close_device(member *m, const col_plan_program *program, bool look)
{
    (void)program;
    (void)look;
    if (m->device) m->ranks->type->close(m->device);
    m->device = NULL;
    return NULL;
}

static col_status run_program(member *m, const col_plan_program *program, bool look)
{
    return m->ranks->type->run(m->device, program, look ? &m->bad : NULL);
}

static void do_job(member *m, job job, const col_plan_program *program, bool look)
{
    m->status = job(m, program, look);
    if (m->status && m->comm) m->comm->type->fail(m->comm, m->status);
}

static void *work(void *context)
{
    member *m = context;
    col_ranks *ranks = m->ranks;
    pthread_mutex_lock(&ranks->lock);
    for (uint64_t seen = 0;;) {
        while (ranks->round == seen) pthread_cond_wait(&ranks->start, &ranks->lock);
        seen = ranks->round;
        job next = ranks->job;
        if (!next) break;
        pthread_mutex_unlock(&ranks->lock);
        do_job(m, next, ranks->program, ranks->look);
        pthread_mutex_lock(&ranks->lock);
        if (--ranks->busy == 0) pthread_cond_signal(&ranks->done);
    }
    pthread_mutex_unlock(&ranks->lock);
    return NULL;
}

/* Among threads it is the first failure that counts: the others' only tell that they gave up. */
static col_status first_failure(col_ranks *ranks)
{
    bool failed = false;
    if (!ranks->local) return ranks->members[0].status;
    for (int64_t i = 0; i < ranks->count; i++) failed |= col_error_ignore(ranks->members[i].status);
    return failed ? col_local_failure(ranks->local) : NULL;
}

static col_status on_all(col_ranks *ranks, job next, const col_plan_program *program, bool look)
{
    if (!ranks->local) {
        do_job(ranks->members, next, program, look);
        return first_failure(ranks);
    }
    for (int64_t i = 0; i < ranks->count; i++) ranks->members[i].status = NULL;
    pthread_mutex_lock(&ranks->lock);
    ranks->job = next;
    ranks->program = program;
    ranks->look = look;
    ranks->round++;
    ranks->busy = 0;
    for (int64_t i = 0; i < ranks->count; i++) ranks->busy += ranks->members[i].started;
    pthread_cond_broadcast(&ranks->start);
    while (next && ranks->busy) pthread_cond_wait(&ranks->done, &ranks->lock);
    pthread_mutex_unlock(&ranks->lock);
    return first_failure(ranks);
}

/* Opening and closing. */

static col_status start_threads(col_ranks *ranks)
{
    for (int64_t i = 0; i < ranks->count; i++) {
        member *m = &ranks->members[i];
        int error = pthread_create(&m->thread, NULL, work, m);
        if (error) {
            return col_error_make(COL_DEVICE, "cannot start a thread for rank %lld: %s", (long long)i,
                                  strerror(error));
        }
        m->started = true;
    }
    return NULL;
}

static col_status write_coordinates(col_ranks *ranks)
{
    const col_plan_variable *v = col_plan_find_variable(ranks->plan, COL_PLAN_COORDINATE);
    for (int64_t i = 0; v && i < ranks->count; i++) {
        int32_t at[COL_MESH_RANK] = {0};
        for (int a = 0; a < ranks->mesh.rank; a++)
            at[a] = (int32_t)col_mesh_coordinate(&ranks->mesh, ranks->first + i, a);
        COL_TRY(ranks->type->write(ranks->members[i].device, v->offset, at,
                                   (uint64_t)COL_MAX(ranks->mesh.rank, 1) * sizeof *at));
    }
    return NULL;
}

static col_status open_ranks(col_ranks *ranks, const col_ranks_options *options)
{
    bool threads = !options->comm && ranks->mesh.rank;
    int64_t size = col_mesh_size(&ranks->mesh);
    if (threads && size > COL_RANKS_MOST_LOCAL) {
        return col_error_make(COL_BAD_INPUT,
                              "the plan is for %lld ranks, and one process takes at most %d: start it with "
                              "mpirun",
                              (long long)size, COL_RANKS_MOST_LOCAL);
    }
    ranks->first = options->comm ? options->comm->rank : 0;
    ranks->count = threads ? size : 1;
    ranks->options.sharing = threads ? (int)size : options->sharing;
    ranks->members = calloc((size_t)ranks->count, sizeof *ranks->members);
    if (!ranks->members) col_out_of_memory(0);
    if (threads) ranks->local = col_local_create(&ranks->mesh, options->timeout);
    for (int64_t i = 0; i < ranks->count; i++) {
        ranks->members[i].ranks = ranks;
        ranks->members[i].comm = threads ? col_local_comm(ranks->local, i) : options->comm;
    }
    if (threads) COL_TRY(start_threads(ranks));
    COL_TRY(on_all(ranks, open_device, NULL, false));
    return write_coordinates(ranks);
}

col_status col_ranks_open(const col_plan *plan, const col_device_type *type, const col_ranks_options *options,
                          col_ranks **out_ranks)
{
    col_ranks *ranks = calloc(1, sizeof *ranks);
    if (!ranks) col_out_of_memory(0);
    ranks->plan = plan;
    ranks->type = type;
    ranks->options = options->device;
    ranks->mesh = col_plan_mesh(plan);
    pthread_mutex_init(&ranks->lock, NULL);
    pthread_cond_init(&ranks->start, NULL);
    pthread_cond_init(&ranks->done, NULL);
    col_status status = open_ranks(ranks, options);
    if (status)
        col_ranks_close(ranks);
    else
        *out_ranks = ranks;
    return status;
}

void col_ranks_close(col_ranks *ranks)
{
    if (!ranks) return;
    if (ranks->members) {
        col_error_free(on_all(ranks, close_device, NULL, false));
        if (ranks->local) col_error_free(on_all(ranks, NULL, NULL, false));
    }
    for (int64_t i = 0; i < ranks->count; i++) {
        if (ranks->members && ranks->members[i].started) pthread_join(ranks->members[i].thread, NULL);
    }
    col_local_destroy(ranks->local);
    pthread_cond_destroy(&ranks->start);
    pthread_cond_destroy(&ranks->done);
    pthread_mutex_destroy(&ranks->lock);
    free(ranks->members);
    free(ranks);
}

col_status col_ranks_run(col_ranks *ranks, const col_plan_program *program, int64_t *out_bad)
{
    COL_TRY(on_all(ranks, run_program, program, out_bad != NULL));
    if (!out_bad) return NULL;
    *out_bad = -1;
    for (int64_t i = 0; i < ranks->count; i++) {
        int64_t bad = ranks->members[i].bad;
        if (bad >= 0 && (*out_bad < 0 || bad < *out_bad)) *out_bad = bad;
    }
    return NULL;
}

/* Variables. */

/* Ranges are of whole elements, in multiples of their size. */
static void range_of(const col_cut *c, uint64_t offset, uint64_t bytes, int64_t *out_begin, int64_t *out_end)
{
    COL_ASSERT(offset % c->element == 0 && bytes % c->element == 0);
    COL_ASSERT(offset + bytes <= col_plan_variable_bytes(c->variable));
    *out_begin = (int64_t)(offset / c->element);
    *out_end = (int64_t)((offset + bytes) / c->element);
}

col_status col_ranks_write(col_ranks *ranks, const col_plan_variable *variable, uint64_t offset,
                           const void *data, uint64_t bytes)
{
    col_cut c = col_cut_of(ranks->plan, variable);
    int64_t begin, end;
    range_of(&c, offset, bytes, &begin, &end);
    const char *from = data;
    for (int64_t at = begin; at < end;) {
        col_stretch s = col_cut_find(&c, at);
        s.count = COL_MIN(s.count, end - at);
        uint64_t size = (uint64_t)s.count * c.element;
        for (int64_t i = 0; i < ranks->count; i++) {
            if (!col_cut_holds(&c, ranks->first + i, s.owner)) continue;
            COL_TRY(ranks->type->write(ranks->members[i].device,
                                       variable->offset + (uint64_t)s.local * c.element, from, size));
        }
        from += size;
        at += s.count;
    }
    return NULL;
}

/* Reads what the rank `owner` owns of a range: to the places where it belongs in `data`, or packed. */
static col_status read_owned(col_ranks *ranks, const col_cut *c, int64_t owner, int64_t begin, int64_t end,
                             char *data, char *packed, uint64_t *out_packed)
{
    *out_packed = 0;
    for (int64_t at = begin; at < end;) {
        col_stretch s = col_cut_find(c, at);
        s.count = COL_MIN(s.count, end - at);
        uint64_t size = (uint64_t)s.count * c->element;
        char *to = data + (uint64_t)(at - begin) * c->element;
        at += s.count;
        if (s.owner != owner) continue;
        if (packed) to = packed + *out_packed;
        *out_packed += size;
        if (owner < ranks->first || owner >= ranks->first + ranks->count) continue;
        COL_TRY(ranks->type->read(ranks->members[owner - ranks->first].device,
                                  c->variable->offset + (uint64_t)s.local * c->element, to, size));
    }
    return NULL;
}

static void unpack_owned(const col_cut *c, int64_t owner, int64_t begin, int64_t end, char *data,
                         const char *packed)
{
    for (int64_t at = begin; at < end;) {
        col_stretch s = col_cut_find(c, at);
        s.count = COL_MIN(s.count, end - at);
        uint64_t size = (uint64_t)s.count * c->element;
        if (s.owner == owner) {
            memcpy(data + (uint64_t)(at - begin) * c->element, packed, size);
            packed += size;
        }
        at += s.count;
    }
}

/* Every owner sends its blocks to all. */
static col_status read_from_all(col_ranks *ranks, const col_cut *c, int64_t begin, int64_t end, char *data)
{
    col_comm *comm = ranks->members[0].comm;
    char *packed = malloc((size_t)(end - begin) * c->element + 1);
    if (!packed) col_out_of_memory((size_t)(end - begin) * c->element + 1);
    col_status status = NULL;
    for (int64_t owner = 0; owner < col_mesh_size(&c->mesh) && !status; owner++) {
        uint64_t bytes;
        if (!col_cut_owns(c, owner)) continue;
        status = read_owned(ranks, c, owner, begin, end, data, packed, &bytes);
        if (!status) status = comm->type->broadcast(comm, owner, packed, bytes);
        if (!status) unpack_owned(c, owner, begin, end, data, packed);
    }
    free(packed);
    return status;
}

col_status col_ranks_read(col_ranks *ranks, const col_plan_variable *variable, uint64_t offset, void *data,
                          uint64_t bytes)
{
    col_cut c = col_cut_of(ranks->plan, variable);
    int64_t begin, end;
    range_of(&c, offset, bytes, &begin, &end);
    if (c.innermost < 0) return col_ranks_read_arena(ranks, variable->offset + offset, data, bytes);
    if (!ranks->local) return read_from_all(ranks, &c, begin, end, data);
    char *to = data;
    for (int64_t at = begin; at < end;) {
        col_stretch s = col_cut_find(&c, at);
        s.count = COL_MIN(s.count, end - at);
        uint64_t size = (uint64_t)s.count * c.element;
        COL_TRY(ranks->type->read(ranks->members[s.owner].device,
                                  variable->offset + (uint64_t)s.local * c.element, to, size));
        to += size;
        at += s.count;
    }
    return NULL;
}

col_status col_ranks_read_arena(col_ranks *ranks, uint64_t offset, void *data, uint64_t bytes)
{
    return ranks->type->read(ranks->members[0].device, offset, data, bytes);
}

void *col_ranks_host_memory(const col_ranks *ranks, uint64_t bytes)
{
    if (ranks->count != 1 || !ranks->type->host_memory) return NULL;
    return ranks->type->host_memory(ranks->members[0].device, bytes);
}

col_status col_ranks_stage(const col_ranks *ranks, const void *data, uint64_t bytes)
{
    if (ranks->count != 1 || !ranks->type->stage) return NULL;
    return ranks->type->stage(ranks->members[0].device, data, bytes);
}

const void *col_ranks_host(const col_ranks *ranks, const col_plan_variable *variable)
{
    col_cut c = col_cut_of(ranks->plan, variable);
    const unsigned char *arena = ranks->type->host_arena(ranks->members[0].device);
    return arena && c.innermost < 0 ? arena + variable->offset : NULL;
}

void col_ranks_sent(const col_ranks *ranks, uint64_t out_bytes[COL_COMM_KINDS])
{
    for (int k = 0; k < COL_COMM_KINDS; k++) {
        out_bytes[k] = 0;
        for (int64_t i = 0; i < ranks->count; i++) {
            if (ranks->members[i].comm) out_bytes[k] += ranks->members[i].comm->sent[k];
        }
    }
}
