/* Files: read whole, map, and replace atomically. */
#ifndef COL_BASE_FILE_H
#define COL_BASE_FILE_H

#include "ir/base/arena.h"

/* Reads a regular file whole into the arena, NUL-terminated after `*out_size` bytes. Refuses files over
 * `limit` bytes (0: no limit) and anything that is not a regular file. */
COL_MUST_USE col_status col_file_read(col_arena *arena, const char *path, size_t limit, char **out_data,
                                      size_t *out_size);

/* A read-only mapping of a regular file; `data` is NULL for an empty one. */
typedef struct col_mapping {
    const unsigned char *data;
    size_t size;
} col_mapping;

/* Maps the file until col_file_unmap, which takes a mapping that is zero, too. COL_BAD_INPUT for what is no
 * regular file. */
COL_MUST_USE col_status col_file_map(const char *path, col_mapping *out_mapping);
void col_file_unmap(col_mapping *mapping);

/* A file being replaced: bytes go to a sibling temporary; commit syncs it, renames it over `path` and syncs
 * the folder; discard removes it. Whatever was at `path` stays whole until the rename. A symbolic link keeps
 * pointing where it did (its target is replaced), the mode of an older file is kept, and what is no regular
 * file (a pipe, /dev/null) is written in place. */
typedef struct col_writer col_writer;

/* Opens the sibling temporary. Commit or discard the writer; also after a write that failed. */
COL_MUST_USE col_status col_writer_open(const char *path, col_writer **out_writer);
COL_MUST_USE col_status col_writer_write(col_writer *writer, const void *data, size_t size);
/* Replaces bytes that were written before, at `offset` from the start; the end of the file stays the end. */
COL_MUST_USE col_status col_writer_overwrite(col_writer *writer, uint64_t offset, const void *data,
                                             size_t size);
/* Brings what was written to the disk, so that of several files all are safe before the first is renamed. */
COL_MUST_USE col_status col_writer_sync(col_writer *writer);
COL_MUST_USE col_status col_writer_commit(col_writer *writer); /* frees the writer in any case */
void col_writer_discard(col_writer *writer);                   /* NULL is fine */

/* Opens, writes and commits in one call. */
COL_MUST_USE col_status col_file_write(const char *path, const void *data, size_t size);

/* The same to `path`, or to stdout where that is NULL. */
COL_MUST_USE col_status col_file_write_or_print(const char *path, const void *data, size_t size);

/* Writes out what was printed to stdout. COL_DEVICE when any of it was lost. */
COL_MUST_USE col_status col_file_flush_stdout(void);

/* Makes the folder and its missing parents. */
COL_MUST_USE col_status col_make_folder(const char *path);
bool col_file_exists(const char *path);
/* Whether the path, all links followed, is of something that exists below the folder. */
bool col_file_is_below(const char *folder, const char *path);

/* A new folder of this process alone, in $TMPDIR or /tmp: a path of less than 256 bytes. The caller removes it. */
COL_MUST_USE col_status col_file_temporary_folder(col_arena *arena, char **out_path);

#endif
