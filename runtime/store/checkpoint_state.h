/* Internal to runtime/store: state.json of a checkpoint. */
#ifndef COL_STORE_CHECKPOINT_STATE_H
#define COL_STORE_CHECKPOINT_STATE_H

#include "ir/base/str.h"
#include "runtime/store/checkpoint.h"

typedef struct col_state_file {
    const char *name; /* inside the checkpoint's folder, without '/' */
    uint64_t bytes;
    uint64_t header_hash;
} col_state_file;

typedef struct col_checkpoint_state {
    int64_t step;
    const char *library_version;
    const col_state_file *files;
    size_t file_count;
    const col_scalar *scalars;
    size_t scalar_count;
} col_checkpoint_state;

/* The text of state.json, appended to `out`. COL_BAD_INPUT for keys or texts that are not UTF-8 or occur
 * twice. */
COL_MUST_USE col_status col_checkpoint_state_print(const col_checkpoint_state *state, col_str *out);

/* Checks the text, with its checksum, and parses it into the arena. `path` is for messages. */
COL_MUST_USE col_status col_checkpoint_state_parse(col_arena *arena, const char *path, const char *text,
                                                   size_t size, col_checkpoint_state *out_state);

#endif
