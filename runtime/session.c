#include "runtime/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "ir/plan/plan_io.h"
#include "runtime/init.h"
#include "runtime/ranks.h"
#include "runtime/transport.h"

enum { TIMEOUT = 300, MOST_THREADS = 4096 };

struct col_session {
    col_plan *plan;
    col_ranks *ranks;
    col_comm *comm; /* to other processes; NULL: all ranks are here */
    bool shares;    /* it is another session's */
    bool leads;     /* in col_session_lead, on rank 0 */
};

static uint64_t hash_options(const col_options *options)
{
    XXH64_hash_t hash = 0;
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        if (!strcmp(v->option->name, "threads")) continue;
        hash = XXH3_64bits_withSeed(v->option->name, strlen(v->option->name), hash);
        hash = XXH3_64bits_withSeed(v->value, strlen(v->value), hash);
    }
    return hash;
}

col_status col_session_options_read(const col_options *options, col_session_options *out)
{
    int64_t threads = 0;
    *out = (col_session_options){.timeout = TIMEOUT, .command = hash_options(options)};
    COL_TRY(col_options_int(options, "threads", 1, MOST_THREADS, &threads));
    COL_TRY(col_options_int(options, "ranks", 1, COL_PLAN_MOST_RANKS, &out->ranks));
    COL_TRY(col_options_double(options, "timeout", 1e-3, 1e9, &out->timeout));
    out->device.threads = (int)threads;
    if (!col_options_has(options, "comm")) return NULL;
    static const char *const transports[] = {"local", "mpi", "tcp"};
    int transport = 0;
    COL_TRY(col_options_choice(options, "comm", transports, COL_COUNT(transports), &transport));
    out->transport = transports[transport];
    return NULL;
}

col_status col_session_end(col_session *session, col_status status)
{
    if (!session) return status;
    if (session->comm && status) session->comm->type->fail(session->comm, status);
    col_ranks_close(session->ranks);
    if (session->comm && !session->shares) session->comm->type->close(session->comm);
    col_plan_free(session->plan);
    free(session);
    return status;
}

void col_session_close(col_session *session)
{
    col_error_free(col_session_end(session, NULL));
}

static col_status check_ranks(const col_plan *plan, int64_t asked)
{
    col_mesh mesh = col_plan_mesh(plan);
    int64_t size = col_mesh_size(&mesh);
    if (!asked || asked == size) return NULL;
    col_str text = {0};
    col_mesh_print(&mesh, &text);
    col_status status = col_error_make(
        COL_BAD_INPUT,
        "--ranks %lld, but the plan is for %lld rank%s (mesh %s): compile it with "
        "--mesh %lld, or leave --ranks out",
        (long long)asked, (long long)size, size > 1 ? "s" : "", col_str_text(&text), (long long)asked);
    col_str_fini(&text);
    return status;
}

/* The number of every process, in the order of ranks; the caller frees them. After an error they stay: what is under
 * way still uses them. */
static col_status exchange(const col_session *session, uint64_t mine, uint64_t **out_all, int64_t *out_count)
{
    col_mesh mesh = col_plan_mesh(session->plan);
    *out_count = col_mesh_size(&mesh);
    *out_all = calloc((size_t)*out_count, sizeof **out_all);
    if (!*out_all) col_out_of_memory((size_t)*out_count * sizeof **out_all);
    return session->comm->type->exchange(session->comm, &mine, *out_all, sizeof mine);
}

/* Processes that were told different things would go on with mixed numbers, or wait for each other. */
static col_status check_commands(const col_session *session, uint64_t command)
{
    int64_t count, differs = 0;
    uint64_t *commands;
    if (!session->comm) return NULL;
    COL_TRY(exchange(session, command, &commands, &count));
    for (int64_t r = 1; r < count && !differs; r++) {
        if (commands[r] != commands[0]) differs = r;
    }
    free(commands);
    if (!differs) return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "rank %lld was started with other options than rank 0: give all ranks the same",
                          (long long)differs);
}

static col_status open_ranks(col_session *session, const col_session_options *options)
{
    const char *name = options->target ? options->target : session->plan->target;
    const col_device_type *type;
    COL_TRY(col_device_type_find(name, &type));
    COL_TRY(check_ranks(session->plan, options->ranks));
    col_ranks_options ranks = {.device = options->device,
                               .timeout = options->timeout > 0 ? options->timeout : TIMEOUT};
    session->shares = options->beside != NULL;
    if (session->shares)
        session->comm = options->beside->comm;
    else
        COL_TRY(col_transport_open(options->transport, session->plan, ranks.timeout, &session->comm));
    COL_TRY(check_commands(session, options->command));
    ranks.comm = session->comm;
    ranks.sharing = session->comm ? session->comm->sharing : 0;
    ranks.device.place = session->comm ? session->comm->place : 0;
    /* Rank 0 prints; errors go to standard error from wherever they are. */
    if (!col_session_leads(session) && !freopen("/dev/null", "w", stdout))
        return col_error_from_errno(errno, "cannot open /dev/null");
    return col_ranks_open(session->plan, type, &ranks, &session->ranks);
}

col_status col_session_open(const char *plan_path, const col_session_options *options,
                            col_session **out_session)
{
    col_session *session = calloc(1, sizeof *session);
    if (!session) col_out_of_memory(0);
    col_status status = col_plan_read(plan_path, &session->plan);
    if (!status) status = col_error_annotate(open_ranks(session, options), "'%s'", plan_path);
    if (status) return col_session_end(session, status);
    *out_session = session;
    return NULL;
}

const col_plan *col_session_plan(const col_session *session)
{
    return session->plan;
}

/* Several processes. */

/* What rank 0 asks the others for in col_session_lead. */
typedef struct request {
    int64_t variable; /* its index; -1: it is done */
    uint64_t offset, bytes;
    int64_t code; /* of how it ended */
} request;

bool col_session_leads(const col_session *session)
{
    return !session->comm || session->comm->rank == 0;
}

static col_status broadcast(col_session *session, void *data, uint64_t bytes)
{
    return session->comm->type->broadcast(session->comm, 0, data, bytes);
}

static col_status lead(col_session *session, col_status (*body)(void *), void *context)
{
    session->leads = true;
    col_status status = body(context);
    session->leads = false;
    request end = {.variable = -1, .code = (int64_t)col_error_code(status)};
    return col_error_join(status, broadcast(session, &end, sizeof end));
}

static col_status follow(col_session *session)
{
    void *data = NULL;
    uint64_t capacity = 0;
    request r = {0};
    col_status status = broadcast(session, &r, sizeof r);
    while (!status && r.variable >= 0) {
        if (r.bytes > capacity) {
            free(data);
            capacity = r.bytes;
            data = malloc(capacity);
            if (!data) col_out_of_memory(capacity);
        }
        status =
            col_ranks_read(session->ranks, session->plan->variables[r.variable], r.offset, data, r.bytes);
        if (!status) status = broadcast(session, &r, sizeof r);
    }
    free(data);
    if (!status && r.code) status = col_error_make((col_code)r.code, "rank 0 failed, and says why");
    return status;
}

col_status col_session_lead(col_session *session, col_status (*body)(void *context), void *context)
{
    if (!session->comm) return body(context);
    return col_session_leads(session) ? lead(session, body, context) : follow(session);
}

col_status col_session_agree(col_session *session, int64_t *value)
{
    int64_t count;
    uint64_t *values;
    if (!session->comm) return NULL;
    COL_TRY(exchange(session, (uint64_t)*value, &values, &count));
    for (int64_t r = 0; r < count; r++) *value = COL_MAX(*value, (int64_t)values[r]);
    free(values);
    return NULL;
}

static col_status read_part(col_session *session, const col_plan_variable *v, uint64_t offset, void *data,
                            uint64_t bytes)
{
    for (size_t i = 0; session->comm && session->leads && i < session->plan->n_variables; i++) {
        request r = {.variable = (int64_t)i, .offset = offset, .bytes = bytes};
        if (session->plan->variables[i] == v) COL_TRY(broadcast(session, &r, sizeof r));
    }
    return col_ranks_read(session->ranks, v, offset, data, bytes);
}

/* Variables. */

col_status col_session_initialize(col_session *session, int64_t seed)
{
    for (size_t i = 0; i < session->plan->n_variables; i++) {
        const col_plan_variable *v = session->plan->variables[i];
        if (v->kind == COL__PLAN__VARIABLE_KIND__INPUT) continue;
        COL_TRY(col_initialize(session->ranks, v, seed));
    }
    return NULL;
}

static col_status find(const col_session *session, const char *name, uint64_t bytes,
                       const col_plan_variable **out)
{
    *out = col_plan_find_variable(session->plan, name);
    if (!*out) return col_error_make(COL_BAD_INPUT, "the model has no variable '%s'", name);
    uint64_t expected = col_plan_variable_bytes(*out);
    if (bytes == expected) return NULL;
    return col_error_make(COL_BAD_INPUT, "'%s' has %llu bytes; %llu were given", name,
                          (unsigned long long)expected, (unsigned long long)bytes);
}

static col_status check_indices(const col_plan_variable *v, const void *data)
{
    if (!v->index_bound) return NULL;
    int64_t count = col_plan_numel(v->n_dims, v->dims);
    for (int64_t i = 0; i < count; i++) {
        int64_t id;
        if (v->dtype == COL__PLAN__DTYPE__I32)
            id = ((const int32_t *)data)[i];
        else
            id = ((const int64_t *)data)[i];
        if (id >= 0 && id < v->index_bound) continue;
        if (v->may_ignore && id == v->ignored_index) continue;
        if (v->may_ignore) {
            return col_error_make(
                COL_BAD_INPUT,
                "'%s': element %lld is %lld, but labels go from 0 to %lld, or are %lld where "
                "there is none",
                v->name, (long long)i, (long long)id, (long long)(v->index_bound - 1),
                (long long)v->ignored_index);
        }
        return col_error_make(COL_BAD_INPUT,
                              "'%s': element %lld is %lld, but the table it indexes has %lld rows", v->name,
                              (long long)i, (long long)id, (long long)v->index_bound);
    }
    return NULL;
}

col_status col_session_write(col_session *session, const char *name, const void *data, uint64_t bytes)
{
    const col_plan_variable *v;
    COL_TRY(find(session, name, bytes, &v));
    COL_TRY(check_indices(v, data));
    return col_ranks_write(session->ranks, v, 0, data, bytes);
}

col_status col_session_read(col_session *session, const char *name, void *data, uint64_t bytes)
{
    const col_plan_variable *v;
    COL_TRY(find(session, name, bytes, &v));
    return read_part(session, v, 0, data, bytes);
}

col_status col_session_read_part(col_session *session, const col_plan_variable *variable, uint64_t offset,
                                 void *data, uint64_t bytes)
{
    uint64_t size = col_plan_variable_bytes(variable);
    COL_ASSERT(offset <= size && bytes <= size - offset);
    return read_part(session, variable, offset, data, bytes);
}

void *col_session_host_memory(const col_session *session, uint64_t bytes)
{
    return col_ranks_host_memory(session->ranks, bytes);
}

col_status col_session_stage(const col_session *session, const void *data, uint64_t bytes)
{
    return col_ranks_stage(session->ranks, data, bytes);
}

const void *col_session_host(const col_session *session, const col_plan_variable *variable)
{
    return col_ranks_host(session->ranks, variable);
}

static col_status set_scalar(col_session *session, const char *name, Col__Plan__Dtype dtype,
                             const void *value, size_t bytes)
{
    const col_plan_variable *v = col_plan_find_variable(session->plan, name);
    if (!v) return NULL;
    if (v->dtype != dtype || v->n_dims) {
        return col_error_make(COL_BAD_INPUT, "'%s' is not a scalar of type %s", name,
                              col_plan_dtype_name(dtype));
    }
    return col_ranks_write(session->ranks, v, 0, value, bytes);
}

col_status col_session_set_f32(col_session *session, const char *name, float value)
{
    return set_scalar(session, name, COL__PLAN__DTYPE__F32, &value, sizeof value);
}

col_status col_session_set_i32(col_session *session, const char *name, int32_t value)
{
    return set_scalar(session, name, COL__PLAN__DTYPE__I32, &value, sizeof value);
}

static col_status find_program(const col_session *session, const char *name, const col_plan_program **out)
{
    *out = col_plan_find_program(session->plan, name);
    if (*out) return NULL;
    return col_error_make(COL_BAD_INPUT, "the plan has no program '%s': compile the model for this use",
                          name);
}

col_status col_session_run(col_session *session, const char *name)
{
    const col_plan_program *program;
    COL_TRY(find_program(session, name, &program));
    return col_ranks_run(session->ranks, program, NULL);
}

/* The least value of any process that is not negative. */
static col_status least_of_all(col_session *session, int64_t *value)
{
    if (!session->comm) return NULL;
    int64_t size = col_mesh_size(&session->comm->mesh), mine = *value;
    int64_t *all = calloc((size_t)size, sizeof *all);
    if (!all) col_out_of_memory(0);
    col_status status = session->comm->type->exchange(session->comm, &mine, all, sizeof mine);
    for (int64_t r = 0; r < size && !status; r++) {
        if (all[r] >= 0 && (*value < 0 || all[r] < *value)) *value = all[r];
    }
    free(all);
    return status;
}

col_status col_session_find_non_finite(col_session *session, const char *name, const char **out_name)
{
    const col_plan_program *program;
    int64_t bad = -1;
    COL_TRY(find_program(session, name, &program));
    COL_TRY(col_ranks_run(session->ranks, program, &bad));
    COL_TRY(least_of_all(session, &bad));
    *out_name = bad < 0 ? NULL : program->instructions[bad]->name;
    return NULL;
}

col_status col_session_output(col_session *session, const char *program_name, const char *name, void *data,
                              uint64_t bytes)
{
    const col_plan_program *program;
    COL_TRY(find_program(session, program_name, &program));
    const col_plan_output *output = col_plan_find_output(program, name);
    if (!output)
        return col_error_make(COL_BAD_INPUT, "the program '%s' has no output '%s'", program_name, name);
    uint64_t size = (uint64_t)col_plan_numel(output->view->n_dims, output->view->dims) *
                    col_plan_dtype_size(output->view->dtype);
    if (size != bytes) {
        return col_error_make(COL_BAD_INPUT, "output '%s' has %llu bytes; %llu were asked for", name,
                              (unsigned long long)size, (unsigned long long)bytes);
    }
    return col_ranks_read_arena(session->ranks, output->view->offset, data, bytes);
}

col_status col_session_output_f32(col_session *session, const char *program, const char *name,
                                  float *out_value)
{
    return col_session_output(session, program, name, out_value, sizeof *out_value);
}

col_status col_session_sent(col_session *session, uint64_t out_bytes[COL_COMM_KINDS])
{
    uint64_t mine[COL_COMM_KINDS];
    col_mesh mesh = col_plan_mesh(session->plan);
    int64_t size = col_mesh_size(&mesh);
    col_ranks_sent(session->ranks, out_bytes);
    if (!session->comm) return NULL;
    memcpy(mine, out_bytes, sizeof mine);
    uint64_t(*all)[COL_COMM_KINDS] = calloc((size_t)size, sizeof *all);
    if (!all) col_out_of_memory(0);
    col_status status = session->comm->type->exchange(session->comm, mine, all, sizeof mine);
    for (int64_t r = 0; r < size; r++) {
        for (int k = 0; k < COL_COMM_KINDS; k++) out_bytes[k] += r == session->comm->rank ? 0 : all[r][k];
    }
    free(all);
    return status;
}
