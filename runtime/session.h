/* A plan opened on its ranks: variables by name, programs by name. What trainer, generator and `colrun run`
 * share. They see no mesh: variables go in and come out whole, outputs are those of rank 0. */
#ifndef COL_RUNTIME_SESSION_H
#define COL_RUNTIME_SESSION_H

#include "ir/base/options.h"
#include "runtime/hal.h"

typedef struct col_session col_session;

typedef struct col_session_options {
    const char *target;    /* the device's name; NULL: the plan's */
    int64_t ranks;         /* that the plan must be for; 0: any number */
    double timeout;        /* seconds that a collective may wait for a rank; 0: 300 */
    const char *transport; /* between ranks: "local", "mpi", "tcp"; NULL: what started this process says */
    const col_session *
        beside; /* a session of another plan for the same mesh, which outlives this one and whose processes it
                                  shares; NULL: none */
    uint64_t command;          /* hash of what else this process was told to do; all must be told the same */
    col_device_options device; /* threads and observer */
} col_session_options;

/* From --threads, --ranks, --comm and --timeout, and the hash of all options but --threads; the rest is zero. */
COL_MUST_USE col_status col_session_options_read(const col_options *options, col_session_options *out);

/* Reads and verifies the plan, opens a device for every rank of its mesh and sets every variable to zero. */
COL_MUST_USE col_status col_session_open(const char *plan_path, const col_session_options *options,
                                         col_session **out_session);
/* Closes it (NULL is fine) and returns `status`, of what was done with it: other processes are told of an
 * error. */
COL_MUST_USE col_status col_session_end(col_session *session, col_status status);
void col_session_close(col_session *session); /* the same, when all went well */
const col_plan *col_session_plan(const col_session *session);

/* With ranks in several processes, each of them runs the same commands; rank 0 alone writes files and prints.
 */
bool col_session_leads(const col_session *session);
/* Runs `body` on rank 0, while the other processes answer what it reads; all of them return its success. */
COL_MUST_USE col_status col_session_lead(col_session *session, col_status (*body)(void *context),
                                         void *context);
/* The largest value of all processes, on every one. */
COL_MUST_USE col_status col_session_agree(col_session *session, int64_t *value);

/* Gives every parameter and state its initial value: a function of the seed, the variable's name and the
 * element's index alone, so that it does not depend on how the variable is split. */
COL_MUST_USE col_status col_session_initialize(col_session *session, int64_t seed);

/* Whole variables, row-major. `bytes` must be the variable's size; indices (token ids) are checked against
 * the table that they index. COL_BAD_INPUT for a name that the plan does not have. All processes write and
 * read the same; only in col_session_lead rank 0 reads alone. */
COL_MUST_USE col_status col_session_write(col_session *session, const char *name, const void *data,
                                          uint64_t bytes);
COL_MUST_USE col_status col_session_read(col_session *session, const char *name, void *data, uint64_t bytes);
/* A part of a variable of the plan, `bytes` from `offset` on. */
COL_MUST_USE col_status col_session_read_part(col_session *session, const col_plan_variable *variable,
                                              uint64_t offset, void *data, uint64_t bytes);
/* Zeroed host memory from which writing is fast, until the session is closed; NULL: there is no such. */
void *col_session_host_memory(const col_session *session, uint64_t bytes);
/* Begins to bring bytes to the device that a write from there will want (runtime/hal.h). They do not change until then, or
 * until `data` is NULL, which takes it back. */
COL_MUST_USE col_status col_session_stage(const col_session *session, const void *data, uint64_t bytes);

/* Where the variable lies, if the host can read the device's memory and it is in one piece; NULL otherwise.
 */
const void *col_session_host(const col_session *session, const col_plan_variable *variable);
/* Scalar inputs; a plan without the variable ignores them, since not every program uses every hyperparameter.
 */
COL_MUST_USE col_status col_session_set_f32(col_session *session, const char *name, float value);
COL_MUST_USE col_status col_session_set_i32(col_session *session, const char *name, int32_t value);

/* Runs a program of the plan. */
COL_MUST_USE col_status col_session_run(col_session *session, const char *program);
/* Runs it again with a look at every result; `*out_name` is the first op that wrote a NaN or an infinity
 * (owned by the plan), or NULL. */
COL_MUST_USE col_status col_session_find_non_finite(col_session *session, const char *program,
                                                    const char **out_name);
/* An output of a program that has run; row-major, any dtype. `bytes` must be its size. */
COL_MUST_USE col_status col_session_output(col_session *session, const char *program, const char *name,
                                           void *data, uint64_t bytes);
COL_MUST_USE col_status col_session_output_f32(col_session *session, const char *program, const char *name,
                                               float *out_value);

/* Bytes that all ranks together have sent so far, by kind of collective. */
COL_MUST_USE col_status col_session_sent(col_session *session, uint64_t out_bytes[COL_COMM_KINDS]);

#endif
