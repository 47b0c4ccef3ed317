/* Inside of frontend/solve_checkpoint*.c: reading the JSON of a recomputation problem. */
#ifndef COL_FRONTEND_SOLVE_CHECKPOINT_H
#define COL_FRONTEND_SOLVE_CHECKPOINT_H

#include <jansson.h>

#include "ir/base/options.h"
#include "solver/checkpoint.h"

typedef struct checkpoint_reader {
    const char *path;
    col_arena *arena;
} checkpoint_reader;

/* What the command line says of every problem. */
typedef struct checkpoint_request {
    checkpoint_reader reader;
    uint64_t memory; /* --memory; 0: as the file says */
    int method;      /* of checkpoint_method */
    col_checkpoint_limits limits;
    const char *output; /* NULL: standard output */
} checkpoint_request;

typedef enum checkpoint_method {
    CHECKPOINT_OPTIMAL,
    CHECKPOINT_GREEDY,
    CHECKPOINT_SQRT,
    CHECKPOINT_KEEP,
} checkpoint_method;

const char *checkpoint_method_name(int method);

/* "PATH: WHEREKEY: what", as bad input. */
COL_MUST_USE col_status checkpoint_fault(const checkpoint_reader *r, const char *where, const char *key,
                                         const char *what);
/* Values of an object's keys. A key that is missing takes the fallback, if there is one. */
COL_MUST_USE col_status checkpoint_bytes(const checkpoint_reader *r, const json_t *object, const char *where,
                                         const char *key, const uint64_t *fallback, uint64_t *out);
COL_MUST_USE col_status checkpoint_seconds(const checkpoint_reader *r, const json_t *object,
                                           const char *where, const char *key, const double *fallback,
                                           double *out);
/* The memory: --memory, or what the file says; 0: neither. */
COL_MUST_USE col_status checkpoint_memory(const checkpoint_request *request, const json_t *root,
                                          uint64_t *out);
/* Refuses keys that are not known, with the nearest that is. */
COL_MUST_USE col_status checkpoint_keys(const checkpoint_reader *r, const json_t *object, const char *where,
                                        const char *const *known, size_t count);
/* Writes the answer, which it frees, to the output asked for. */
COL_MUST_USE col_status checkpoint_write(const checkpoint_request *request, json_t *answer);

/* A graph problem, whose root is `root`: reads, solves, writes (solve_checkpoint_graph.c). */
COL_MUST_USE col_status checkpoint_solve_graph_json(const checkpoint_request *request, const json_t *root);

#endif
