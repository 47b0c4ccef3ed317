#include "frontend/hf/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ir/base/file.h"
#include "ir/base/str.h"
#include "runtime/store/weights.h"

enum { SMALL_FILE = 256 << 20, PIECE = 8 << 20 };

static const char *const companions[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "generation_config.json",
    "preprocessor_config.json",
};

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool col_hf_same_folder(const char *a, const char *b)
{
    return same_file(a, b);
}

static col_status copy(const char *from, const char *to)
{
    col_mapping mapping;
    col_writer *writer;
    COL_TRY(col_file_map(from, &mapping));
    col_status status = col_writer_open(to, &writer);
    if (!status) {
        for (size_t at = 0; !status && at < mapping.size; at += PIECE)
            status = col_writer_write(writer, mapping.data + at, COL_MIN(mapping.size - at, (size_t)PIECE));
        if (status)
            col_writer_discard(writer);
        else
            status = col_writer_commit(writer);
    }
    col_file_unmap(&mapping);
    return status;
}

col_status col_hf_link(const char *from, const char *to, bool *out_copied)
{
    if (same_file(from, to)) return NULL;
    col_str temporary = {0};
    col_str_printf(&temporary, "%s.tmp.%ld", to, (long)getpid());
    const char *name = col_str_text(&temporary);
    col_status status = NULL;
    unlink(name); /* of a process that was killed and had this number */
    if (linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW)) {
        *out_copied = true;
        status = copy(from, to);
    } else if (rename(name, to)) {
        status = col_error_from_errno(errno, "cannot make '%s'", to);
        unlink(name);
    }
    col_str_fini(&temporary);
    return status;
}

col_status col_hf_copy(const char *from, const char *to, const char *name, col_arena *arena)
{
    const char *source = col_arena_printf(arena, "%s/%s", from, name);
    char *data;
    size_t size;
    if (!col_file_exists(source)) return NULL;
    COL_TRY(col_weights_confine(from, source));
    COL_TRY(col_file_read(arena, source, SMALL_FILE, &data, &size));
    return col_file_write(col_arena_printf(arena, "%s/%s", to, name), data, size);
}

col_status col_hf_copy_companions(const char *from, const char *to, col_arena *arena)
{
    for (size_t i = 0; i < COL_COUNT(companions); i++) COL_TRY(col_hf_copy(from, to, companions[i], arena));
    return NULL;
}

col_status col_hf_check_companions(const char *from, col_arena *arena)
{
    for (size_t i = 0; i < COL_COUNT(companions); i++) {
        const char *path = col_arena_printf(arena, "%s/%s", from, companions[i]);
        struct stat info;
        if (!col_file_exists(path)) continue;
        COL_TRY(col_weights_confine(from, path));
        if (stat(path, &info) || !S_ISREG(info.st_mode) || info.st_size > SMALL_FILE)
            return col_error_make(COL_BAD_INPUT, "'%s' is no file of at most %d MiB: remove it", path,
                                  SMALL_FILE >> 20);
    }
    return NULL;
}
