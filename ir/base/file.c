#define _GNU_SOURCE
#include "ir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static col_status open_regular(const char *path, int *out_fd, size_t *out_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return col_error_from_errno(errno, "cannot open '%s'", path);
    struct stat info;
    if (fstat(fd, &info)) {
        int saved = errno;
        close(fd);
        return col_error_from_errno(saved, "cannot read '%s'", path);
    }
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return col_error_make(COL_BAD_INPUT, "'%s' is not a regular file", path);
    }
    *out_fd = fd;
    *out_size = (size_t)info.st_size;
    return NULL;
}

col_status col_file_read(col_arena *arena, const char *path, size_t limit, char **out_data, size_t *out_size)
{
    int fd = -1;
    size_t size = 0, done = 0;
    COL_TRY(open_regular(path, &fd, &size));
    if (limit && size > limit) {
        close(fd);
        return col_error_make(COL_BAD_INPUT, "'%s' has %zu bytes; at most %zu are accepted here", path, size,
                              limit);
    }
    char *data = size < SIZE_MAX ? col_arena_try_alloc(arena, size + 1) : NULL;
    if (!data) {
        close(fd);
        return col_error_make(COL_BAD_INPUT, "'%s' has %zu bytes; this machine has not the memory to read it",
                              path, size);
    }
    while (done < size) {
        ssize_t got = read(fd, data + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            int saved = errno;
            close(fd);
            if (got == 0) return col_error_make(COL_BAD_INPUT, "'%s' became shorter while being read", path);
            return col_error_from_errno(saved, "cannot read '%s'", path);
        }
        done += (size_t)got;
    }
    close(fd);
    *out_data = data;
    *out_size = size;
    return NULL;
}

col_status col_file_map(const char *path, col_mapping *out_mapping)
{
    int fd = -1;
    size_t size = 0;
    COL_TRY(open_regular(path, &fd, &size));
    *out_mapping = (col_mapping){NULL, size};
    if (size) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        int saved = errno;
        close(fd);
        if (data == MAP_FAILED) return col_error_from_errno(saved, "cannot map '%s'", path);
        out_mapping->data = data;
    } else {
        close(fd);
    }
    return NULL;
}

void col_file_unmap(col_mapping *mapping)
{
    if (mapping->data) munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (col_mapping){0};
}

struct col_writer {
    char *path;      /* as the user gave it, for messages */
    char *target;    /* what is replaced: the path with its links followed */
    char *temporary; /* NULL when the target is written in place */
    int fd;
};

static void writer_free(col_writer *writer)
{
    if (writer->fd >= 0) close(writer->fd);
    free(writer->path);
    free(writer->target);
    free(writer->temporary);
    free(writer);
}

col_status col_writer_open(const char *path, col_writer **out_writer)
{
    col_writer *writer = calloc(1, sizeof *writer);
    if (!writer) col_out_of_memory(0);
    struct stat old;
    bool exists = stat(path, &old) == 0;
    bool regular = !exists || S_ISREG(old.st_mode);
    writer->fd = -1;
    writer->path = strdup(path);
    writer->target = exists && regular ? realpath(path, NULL) : strdup(path);
    if (!writer->path) col_out_of_memory(0);
    if (!regular) {
        writer->fd = open(path, O_WRONLY | O_CLOEXEC); /* a folder is refused here, before any work is done */
    } else if (writer->target) {
        if (asprintf(&writer->temporary, "%s.tmp.%ld", writer->target, (long)getpid()) < 0) {
            col_out_of_memory(0);
        }
        unlink(writer->temporary); /* left by a process of the same number that died */
        writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (writer->fd >= 0 && exists && fchmod(writer->fd, old.st_mode & 07777)) errno = 0; /* best effort */
    }
    if (writer->fd < 0) {
        col_status status = col_error_from_errno(errno, "cannot write '%s'", path);
        writer_free(writer);
        return status;
    }
    *out_writer = writer;
    return NULL;
}

col_status col_writer_write(col_writer *writer, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t put = write(writer->fd, at, COL_MIN(size, (size_t)1 << 30));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return col_error_from_errno(errno, "cannot write '%s'", writer->path);
        at += put;
        size -= (size_t)put;
    }
    return NULL;
}

col_status col_writer_overwrite(col_writer *writer, uint64_t offset, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t put = pwrite(writer->fd, at, COL_MIN(size, (size_t)1 << 30), (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return col_error_from_errno(errno, "cannot write '%s'", writer->path);
        at += put;
        offset += (uint64_t)put;
        size -= (size_t)put;
    }
    return NULL;
}

/* 0, or why the bytes are not safe on the disk. */
static int sync_errno(const col_writer *writer)
{
    int failure = fsync(writer->fd) ? errno : 0;
    bool in_place = !writer->temporary;
    if (in_place && (failure == EINVAL || failure == EROFS || failure == ENOTSUP)) return 0; /* pipes, ttys */
    return failure;
}

col_status col_writer_sync(col_writer *writer)
{
    int failure = sync_errno(writer);
    return failure ? col_error_from_errno(failure, "cannot write '%s'", writer->path) : NULL;
}

static void sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        /* Some file systems cannot sync a folder; the rename itself has happened either way. */
        if (fsync(fd)) errno = 0;
        close(fd);
    }
    free(folder);
}

col_status col_writer_commit(col_writer *writer)
{
    bool in_place = !writer->temporary;
    int failure = sync_errno(writer);
    if (close(writer->fd) && !failure) failure = errno;
    writer->fd = -1;
    if (!failure && !in_place && rename(writer->temporary, writer->target)) failure = errno;
    if (failure) {
        col_status status = col_error_from_errno(failure, "cannot write '%s'", writer->path);
        col_writer_discard(writer);
        return status;
    }
    if (!in_place) sync_folder_of(writer->target);
    writer_free(writer);
    return NULL;
}

void col_writer_discard(col_writer *writer)
{
    if (!writer) return;
    if (writer->temporary) unlink(writer->temporary);
    writer_free(writer);
}

col_status col_file_write(const char *path, const void *data, size_t size)
{
    col_writer *writer = NULL;
    COL_TRY(col_writer_open(path, &writer));
    col_status status = col_writer_write(writer, data, size);
    if (status) {
        col_writer_discard(writer);
        return status;
    }
    return col_writer_commit(writer);
}

col_status col_file_write_or_print(const char *path, const void *data, size_t size)
{
    if (path) return col_file_write(path, data, size);
    fwrite(data, 1, size, stdout);
    return NULL; /* a failure shows when stdout is flushed */
}

col_status col_file_flush_stdout(void)
{
    if (!fflush(stdout) && !ferror(stdout)) return NULL;
    return col_error_make(COL_DEVICE, "cannot write to standard output");
}

col_status col_make_folder(const char *path)
{
    char *copy = strdup(path);
    if (!copy) col_out_of_memory(0);
    col_status status = NULL;
    for (char *at = copy + 1; !status && *copy; at++) {
        if (*at != '/' && *at) continue;
        char saved = *at;
        *at = '\0';
        if (mkdir(copy, 0777) && errno != EEXIST) {
            status = col_error_from_errno(errno, "cannot make the folder '%s'", path);
        }
        *at = saved;
        if (!saved) break;
    }
    struct stat info;
    if (!status && (stat(path, &info) || !S_ISDIR(info.st_mode))) {
        status = col_error_make(COL_BAD_INPUT, "'%s' is not a folder", path);
    }
    free(copy);
    return status;
}

bool col_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool col_file_is_below(const char *folder, const char *path)
{
    char *inside = realpath(folder, NULL), *file = realpath(path, NULL);
    size_t size = inside ? strlen(inside) : 0;
    if (size == 1) size = 0; /* the root */
    bool is_below = inside && file && !strncmp(file, inside, size) && file[size] == '/';
    free(inside);
    free(file);
    return is_below;
}

col_status col_file_temporary_folder(col_arena *arena, char **out_path)
{
    const char *temporary = getenv("TMPDIR");
    if (!temporary || !*temporary) temporary = "/tmp";
    *out_path = col_arena_printf(arena, "%s/colc-XXXXXX", temporary);
    if (strlen(*out_path) >= 256) return col_error_make(COL_BAD_INPUT, "TMPDIR is too long");
    if (mkdtemp(*out_path)) return NULL;
    return col_error_from_errno(errno, "cannot make a temporary folder in '%s' (TMPDIR)", temporary);
}
