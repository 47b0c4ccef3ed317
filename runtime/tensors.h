/* A plan's variables and the tensors of files: which goes where, and what does not fit. */
#ifndef COL_RUNTIME_TENSORS_H
#define COL_RUNTIME_TENSORS_H

#include "runtime/session.h"
#include "runtime/store/safetensors.h"

/* The files' name of a plan's dtype. */
col_store_dtype col_tensors_dtype(Col__Plan__Dtype dtype);

typedef enum col_tensors_match {
    COL_TENSORS_OURS,    /* saved by us: the same names, no more and no less */
    COL_TENSORS_FOREIGN, /* weights from anywhere, under other names and in smaller types (store/weights.h) */
} col_tensors_match;

/* Which of the plan's variables. */
typedef enum col_tensors_part {
    COL_TENSORS_WEIGHTS, /* parameters, and the model's own states (a batch norm's running statistics) */
    COL_TENSORS_STATES,  /* the other states: the optimizer's */
} col_tensors_part;

/* Sets every variable of the part from the tensor of its name, straight from the file's mapping. Looks at
 * all of them first: what is missing, of another shape or type, or superfluous is one COL_BAD_INPUT error
 * that lists it, and nothing is written. `path` is for messages. */
COL_MUST_USE col_status col_tensors_load(col_session *session, col_tensors_part part,
                                         const col_safetensors *set, col_tensors_match match,
                                         const char *path);

/* Opens whatever a user may call weights (col_weights_open) and loads them. What is worth knowing
 * (a damaged checkpoint that was passed over) is printed to stderr. */
COL_MUST_USE col_status col_tensors_load_weights(col_session *session, const char *path);

/* The variables of the part as sources for a file, in the arena. They read the session when the file is
 * written. */
const col_tensor_source *col_tensors_sources(col_session *session, col_tensors_part part, col_arena *arena,
                                             size_t *out_count);

#endif
