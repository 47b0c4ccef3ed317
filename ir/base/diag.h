/* Diagnostics with place and caret. A reader of text collects them all, then reports once:
 *
 *     gpt2.ir:12:9: error: unknown op 'matmull'; did you mean 'matmul'?
 *         y = matmull(x, w)
 *             ^ */
#ifndef COL_BASE_DIAG_H
#define COL_BASE_DIAG_H

#include "ir/base/vec.h"
#include "ir/base/str.h"

typedef struct col_source {
    const char *name; /* as the user gave it */
    const char *text; /* not necessarily NUL-terminated */
    size_t size;
} col_source;

/* A place in a source; `source` is NULL for nodes that no text made. Lines and columns count from 1,
 * columns in bytes. */
typedef struct col_loc {
    const col_source *source;
    uint32_t line, column;
} col_loc;

typedef struct col_diag {
    col_loc loc;
    const char *message;
} col_diag;

/* Errors found so far; at most `COL_DIAG_LIMIT` are kept, the rest are counted. */
typedef struct col_diags {
    col_arena *arena;
    COL_VEC(col_diag) list;
    size_t total;
} col_diags;

enum { COL_DIAG_LIMIT = 20 };

/* Notes an error at a place; the message is copied into the arena of `diags`. */
void col_diag_add(col_diags *diags, col_loc loc, const char *format, ...) COL_PRINTF(3, 4);
/* NULL when there are none; otherwise one COL_BAD_INPUT error whose message holds them all, each with its
 * source line and caret. The message starts with "file:line:col: error: ". */
COL_MUST_USE col_status col_diags_status(const col_diags *diags);

#endif
