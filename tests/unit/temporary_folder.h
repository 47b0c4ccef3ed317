/* A temporary folder per test: cmocka's set-up and tear-down, and what tests of files do with it. */
#ifndef COL_UNIT_TEMPORARY_FOLDER_H
#define COL_UNIT_TEMPORARY_FOLDER_H

#include "tests/unit/unit.h"
#include "ir/base/file.h"
#include "ir/base/str.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct folder {
    col_arena *arena;
    char *path;
} folder;

static inline int folder_set_up(void **state)
{
    folder *f = calloc(1, sizeof *f);
    const char *base = getenv("TMPDIR");
    f->arena = col_arena_create();
    f->path = col_arena_printf(f->arena, "%s/col_test_XXXXXX", base ? base : "/tmp");
    *state = f;
    return mkdtemp(f->path) ? 0 : -1;
}

static inline void folder_remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        col_str child = {0};
        col_str_printf(&child, "%s/%s", path, e->d_name);
        if (unlink(child.data)) folder_remove_tree(child.data);
        col_str_fini(&child);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

static inline int folder_tear_down(void **state)
{
    folder *f = *state;
    folder_remove_tree(f->path);
    col_arena_destroy(f->arena);
    free(f);
    return 0;
}

static inline char *folder_file(folder *f, const char *name)
{
    return col_arena_printf(f->arena, "%s/%s", f->path, name);
}

static inline size_t folder_entries(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static inline char *folder_read(folder *f, const char *path, size_t *out_size)
{
    char *data = NULL;
    size_t size = 0;
    assert_ok(col_file_read(f->arena, path, 0, &data, &size));
    if (out_size) *out_size = size;
    return data;
}

/* Runs the call with files limited to `bytes`, as on a disk that fills up, and gives its status. */
#define WITH_FILE_LIMIT(bytes, out_status, call)                                                             \
    do {                                                                                                     \
        struct rlimit old_limit, new_limit;                                                                  \
        signal(SIGXFSZ, SIG_IGN);                                                                            \
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old_limit), 0);                                            \
        new_limit = (struct rlimit){(rlim_t)(bytes), old_limit.rlim_max};                                    \
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &new_limit), 0);                                            \
        (out_status) = (call);                                                                               \
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old_limit), 0);                                            \
    } while (0)

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)

#endif
