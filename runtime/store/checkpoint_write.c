#define _GNU_SOURCE
#include "runtime/store/checkpoint.h"
#include "runtime/store/checkpoint_folder.h"
#include "runtime/store/checkpoint_state.h"
#include "ir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef COL_VEC(col_state_file) state_files;

/* Writes one base and notes its files, read back from the disk's point of view. */
static col_status write_tensors(col_arena *arena, const char *folder, const char *base,
                                const col_tensor_source *tensors, size_t count, uint64_t limit,
                                state_files *out)
{
    COL_TRY(col_safetensors_write_base(folder, base, tensors, count, NULL, 0, limit));
    col_safetensors *set = NULL;
    COL_TRY(col_safetensors_open_base(folder, base, &set));
    for (size_t i = 0; i < col_safetensors_file_count(set); i++) {
        const col_stored_file *file = col_safetensors_file(set, i);
        col_state_file entry = {col_arena_strdup(arena, strrchr(file->path, '/') + 1), file->bytes,
                                file->header_hash};
        col_vec_push(arena, out, entry);
    }
    col_safetensors_close(set);
    return NULL;
}

static col_status write_contents(col_arena *arena, const char *folder, const col_checkpoint_contents *c)
{
    uint64_t limit = c->shard_bytes ? c->shard_bytes : COL_SAFETENSORS_SHARD_BYTES;
    state_files files = {0};
    COL_TRY(write_tensors(arena, folder, "model", c->weights, c->weight_count, limit, &files));
    COL_TRY(write_tensors(arena, folder, "optimizer", c->states, c->state_count, limit, &files));
    col_checkpoint_state state = {.step = c->step,
                                  .library_version = COL_VERSION,
                                  .files = files.data,
                                  .file_count = files.len,
                                  .scalars = c->scalars,
                                  .scalar_count = c->scalar_count};
    col_str text = {0};
    col_status status = col_checkpoint_state_print(&state, &text);
    char *path = col_arena_printf(arena, "%s/state.json", folder);
    if (!status) status = col_file_write(path, text.data, text.len);
    col_str_fini(&text);
    return status;
}

/* Puts the finished folder where it belongs. One that is there already changes places with it, in one step
 * where the file system can, and is left at `temporary` for removal. */
static col_status put_in_place(col_arena *arena, const char *temporary, const char *final)
{
    if (!rename(temporary, final)) return NULL;
    if (errno != ENOTEMPTY && errno != EEXIST) return col_error_from_errno(errno, "cannot make '%s'", final);
    if (!renameat2(AT_FDCWD, temporary, AT_FDCWD, final, RENAME_EXCHANGE)) return NULL;
    if (errno != EINVAL && errno != ENOSYS) return col_error_from_errno(errno, "cannot replace '%s'", final);
    char *aside = col_arena_printf(arena, "%s.old", temporary);
    if (rename(final, aside)) return col_error_from_errno(errno, "cannot replace '%s'", final);
    if (rename(temporary, final)) {
        int saved = errno;
        if (rename(aside, final)) saved = errno;
        return col_error_from_errno(saved, "cannot make '%s'", final);
    }
    if (rename(aside, temporary)) return col_error_from_errno(errno, "cannot remove '%s'", aside);
    return NULL;
}

static col_status write_step(col_arena *arena, const char *dir, const char *final,
                             const col_checkpoint_contents *c)
{
    COL_TRY(col_make_folder(dir));
    col_steps_remove_stale(dir);
    char *temporary = col_arena_printf(arena, "%s.tmp.%ld", final, (long)getpid());
    if (mkdir(temporary, 0777)) return col_error_from_errno(errno, "cannot make the folder '%s'", temporary);
    col_status status = write_contents(arena, temporary, c);
    if (!status) status = put_in_place(arena, temporary, final);
    col_folder_remove(temporary); /* what was half-made, or the checkpoint that was replaced */
    if (status) return status;
    char *latest = col_arena_printf(arena, "%s/latest", dir);
    char *line = col_arena_printf(arena, "%s\n", strrchr(final, '/') + 1);
    return col_file_write(latest, line, strlen(line));
}

col_status col_checkpoint_write(const char *dir, const col_checkpoint_contents *contents)
{
    COL_ASSERT(contents->step >= 0);
    col_arena *arena = col_arena_create();
    const char *final = col_step_path(arena, dir, contents->step);
    col_status status = col_error_annotate(write_step(arena, dir, final, contents),
                                           "checkpoint '%s' was not saved (earlier ones are whole)", final);
    if (col_error_code(status) == COL_DEVICE) {
        col_status failure = status;
        status = col_error_make(COL_DEVICE, "%s; make room, or give --save another folder",
                                col_error_message(failure));
        col_error_free(failure);
    }
    col_arena_destroy(arena);
    return status;
}

col_status col_checkpoint_prepare(const char *dir)
{
    COL_TRY(
        col_error_annotate(col_make_folder(dir), "checkpoints cannot be saved; give --save another folder"));
    col_str path = {0};
    col_writer *writer = NULL;
    col_str_printf(&path, "%s/latest", dir);
    col_status status = col_writer_open(col_str_text(&path), &writer);
    if (!status) col_writer_discard(writer);
    col_str_fini(&path);
    return col_error_annotate(status, "checkpoints cannot be saved; give --save another folder");
}

static col_status prune(col_arena *arena, const char *dir, size_t keep)
{
    col_steps steps = {0};
    COL_TRY(col_steps_list(arena, dir, &steps));
    int64_t latest = col_steps_latest(arena, dir);
    size_t first = 0;
    while (first < steps.len && steps.data[first] != latest) first++;
    if (first + keep >= steps.len)
        return NULL; /* nothing older, or `latest` names none: then nothing is sure */
    col_checkpoint *newest = NULL;
    const char *notice = NULL;
    COL_TRY(col_error_annotate(col_checkpoint_open(col_step_path(arena, dir, latest), &newest, &notice),
                               "no old checkpoint was removed, because the newest is damaged"));
    col_checkpoint_close(newest);
    for (size_t i = first + keep; i < steps.len; i++) {
        COL_TRY(col_step_remove(col_step_path(arena, dir, steps.data[i])));
    }
    return NULL;
}

col_status col_checkpoint_prune(const char *dir, size_t keep)
{
    COL_ASSERT(keep >= 1);
    col_arena *arena = col_arena_create();
    col_status status = prune(arena, dir, keep);
    col_arena_destroy(arena);
    return status;
}
