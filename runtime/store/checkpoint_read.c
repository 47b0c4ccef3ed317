/* Reading checkpoints. Nothing is trusted: not `latest`, not state.json, not the tensor files. Candidates are
 * tried in this order: the step that `latest` names, the steps before it from new to old, then steps beyond
 * it (which another run, or a crash before `latest` was replaced, left there). The first one that is whole
 * wins. */
#include "runtime/store/checkpoint.h"
#include "runtime/store/checkpoint_folder.h"
#include "runtime/store/checkpoint_state.h"
#include "ir/base/file.h"

#include <string.h>
#include <sys/stat.h>

enum { STATE_LIMIT = 64 << 20 }; /* bytes of state.json that are read */

typedef struct newest {
    col_checkpoint *checkpoint;
    const char *notice;
} newest;

static char *join(col_arena *arena, const char *folder, const char *name)
{
    return col_arena_printf(arena, "%s/%s", folder, name);
}

/* Whether the set's files are those that state.json lists for them. */
static col_status check_files(const char *path, const col_checkpoint_state *state, const col_safetensors *set)
{
    for (size_t i = 0; i < col_safetensors_file_count(set); i++) {
        const col_stored_file *file = col_safetensors_file(set, i);
        const char *name = strrchr(file->path, '/') + 1;
        bool found = false;
        for (size_t k = 0; !found && k < state->file_count; k++) {
            const col_state_file *want = &state->files[k];
            found = !strcmp(want->name, name) && want->bytes == file->bytes &&
                    want->header_hash == file->header_hash;
        }
        if (found) continue;
        return col_error_make(COL_BAD_INPUT, "%s: %s is not the file that state.json was saved with", path,
                              name);
    }
    return NULL;
}

static col_status open_set(const char *path, const char *base, const col_checkpoint_state *state,
                           col_safetensors **out_set)
{
    COL_TRY(col_safetensors_open_base(path, base, out_set));
    COL_TRY(check_files(path, state, *out_set));
    return col_safetensors_verify(*out_set, NULL);
}

static col_status fill(col_checkpoint *checkpoint, const char *path, bool weights_only)
{
    col_arena *arena = checkpoint->arena;
    char *file = join(arena, path, "state.json"), *text = NULL;
    size_t size = 0;
    checkpoint->path = col_arena_strdup(arena, path);
    if (!col_file_exists(file)) {
        return col_error_make(COL_BAD_INPUT, "%s: no state.json, so it was never completed", path);
    }
    COL_TRY(col_file_read(arena, file, STATE_LIMIT, &text, &size));
    col_checkpoint_state state;
    COL_TRY(col_checkpoint_state_parse(arena, file, text, size, &state));
    checkpoint->step = state.step;
    checkpoint->library_version = state.library_version;
    checkpoint->scalars = state.scalars;
    checkpoint->scalar_count = state.scalar_count;
    COL_TRY(open_set(path, "model", &state, &checkpoint->weights));
    if (weights_only) return NULL;
    COL_TRY(open_set(path, "optimizer", &state, &checkpoint->states));
    size_t files =
        col_safetensors_file_count(checkpoint->weights) + col_safetensors_file_count(checkpoint->states);
    if (files == state.file_count) return NULL;
    return col_error_make(COL_BAD_INPUT, "%s: %zu of %zu files that state.json lists are in use", path, files,
                          state.file_count);
}

static col_status open_step(const char *path, bool weights_only, col_checkpoint **out_checkpoint)
{
    col_arena *arena = col_arena_create();
    col_checkpoint *checkpoint = COL_NEW(arena, col_checkpoint);
    checkpoint->arena = arena;
    col_status status = fill(checkpoint, path, weights_only);
    if (status) {
        col_checkpoint_close(checkpoint);
    } else {
        *out_checkpoint = checkpoint;
    }
    return status;
}

void col_checkpoint_close(col_checkpoint *checkpoint)
{
    if (!checkpoint) return;
    col_safetensors_close(checkpoint->weights);
    col_safetensors_close(checkpoint->states);
    col_arena_destroy(checkpoint->arena);
}

/* The order of trial. */
static col_status list_candidates(col_arena *arena, const char *dir, col_steps *out)
{
    col_steps steps = {0};
    COL_TRY(col_steps_list(arena, dir, &steps));
    int64_t latest = col_steps_latest(arena, dir);
    if (latest < 0) latest = INT64_MAX;
    for (size_t i = 0; i < steps.len; i++) {
        if (steps.data[i] <= latest) col_vec_push(arena, out, steps.data[i]);
    }
    for (size_t i = 0; i < steps.len; i++) {
        if (steps.data[i] > latest) col_vec_push(arena, out, steps.data[i]);
    }
    return NULL;
}

static col_status open_newest(col_arena *arena, const char *dir, bool weights_only, newest *out)
{
    *out = (newest){0};
    if (col_file_exists(join(arena, dir, "state.json")))
        return open_step(dir, weights_only, &out->checkpoint);
    col_steps steps = {0};
    COL_TRY(list_candidates(arena, dir, &steps));
    if (!steps.len) {
        return col_error_make(COL_BAD_INPUT,
                              "'%s' holds no checkpoint (no folder step_N); save one with --save", dir);
    }
    const char *faults = NULL;
    for (size_t i = 0; i < steps.len; i++) {
        const char *path = col_step_path(arena, dir, steps.data[i]);
        col_status status = open_step(path, weights_only, &out->checkpoint);
        if (!status) {
            if (faults) out->notice = col_arena_printf(arena, "%s; using '%s'", faults, path);
            return NULL;
        }
        faults = faults ? col_arena_printf(arena, "%s; %s", faults, col_error_message(status))
                        : col_arena_strdup(arena, col_error_message(status));
        col_error_free(status);
    }
    return col_error_make(COL_BAD_INPUT, "no checkpoint in '%s' is whole: %s", dir, faults);
}

col_status col_checkpoint_open(const char *dir, col_checkpoint **out_checkpoint, const char **out_notice)
{
    col_arena *arena = col_arena_create();
    newest found;
    col_status status = open_newest(arena, dir, false, &found);
    if (!status) {
        *out_checkpoint = found.checkpoint;
        *out_notice = found.notice ? col_arena_strdup(found.checkpoint->arena, found.notice) : NULL;
    }
    col_arena_destroy(arena);
    return status;
}

col_status col_checkpoint_find(col_arena *arena, const char *dir, const char **out_path,
                               const char **out_notice)
{
    newest found;
    COL_TRY(open_newest(arena, dir, false, &found));
    *out_path = col_arena_strdup(arena, found.checkpoint->path);
    *out_notice = found.notice;
    col_checkpoint_close(found.checkpoint);
    return NULL;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

col_status col_weights_open(col_arena *arena, const char *path, col_safetensors **out_weights,
                            const char **out_notice)
{
    *out_notice = NULL;
    col_steps steps = {0};
    bool saved = false;
    if (is_folder(path)) {
        COL_TRY(col_steps_list(arena, path, &steps));
        saved = steps.len || col_file_exists(join(arena, path, "state.json"));
    }
    if (saved) {
        newest found;
        COL_TRY(open_newest(arena, path, true, &found));
        *out_weights = found.checkpoint->weights;
        *out_notice = found.notice;
        if (steps.len && col_file_exists(join(arena, path, "model.safetensors"))) {
            *out_notice = col_arena_printf(arena, "using '%s' rather than '%s/model.safetensors'%s%s",
                                           found.checkpoint->path, path, found.notice ? "; " : "",
                                           found.notice ? found.notice : "");
        }
        found.checkpoint->weights = NULL;
        col_checkpoint_close(found.checkpoint);
        return NULL;
    }
    COL_TRY(col_safetensors_open(path, out_weights));
    col_status status = col_safetensors_verify(*out_weights, NULL);
    if (status) {
        col_safetensors_close(*out_weights);
        *out_weights = NULL;
    }
    return status;
}

static col_status find_scalar(const col_checkpoint *checkpoint, const char *key, col_scalar_kind kind,
                              const col_scalar **out)
{
    for (size_t i = 0; i < checkpoint->scalar_count; i++) {
        const col_scalar *s = &checkpoint->scalars[i];
        if (strcmp(s->key, key) || s->kind != kind) continue;
        *out = s;
        return NULL;
    }
    return col_error_make(COL_BAD_INPUT,
                          "%s/state.json: no %s '%s'; was it written by this version (%s there)?",
                          checkpoint->path,
                          kind == COL_SCALAR_INT    ? "integer"
                          : kind == COL_SCALAR_REAL ? "real number"
                                                    : "text",
                          key, checkpoint->library_version);
}

col_status col_checkpoint_int(const col_checkpoint *checkpoint, const char *key, int64_t *out)
{
    const col_scalar *scalar = NULL;
    COL_TRY(find_scalar(checkpoint, key, COL_SCALAR_INT, &scalar));
    *out = scalar->integer;
    return NULL;
}

col_status col_checkpoint_real(const col_checkpoint *checkpoint, const char *key, double *out)
{
    const col_scalar *scalar = NULL;
    COL_TRY(find_scalar(checkpoint, key, COL_SCALAR_REAL, &scalar));
    *out = scalar->real;
    return NULL;
}

col_status col_checkpoint_text(const col_checkpoint *checkpoint, const char *key, const char **out)
{
    const col_scalar *scalar = NULL;
    COL_TRY(find_scalar(checkpoint, key, COL_SCALAR_TEXT, &scalar));
    *out = scalar->text;
    return NULL;
}
