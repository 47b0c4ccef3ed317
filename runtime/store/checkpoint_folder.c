#include "runtime/store/checkpoint_folder.h"
#include "ir/base/file.h"
#include "ir/base/str.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *col_step_path(col_arena *arena, const char *dir, int64_t step)
{
    return col_arena_printf(arena, "%s/step_%08" PRId64, dir, step);
}

int64_t col_step_parse(const char *name)
{
    int64_t step = 0;
    if (strncmp(name, "step_", 5) || strlen(name) < 13 || strlen(name) > 23) return -1;
    for (const char *at = name + 5; *at; at++) {
        if (!isdigit((unsigned char)*at)) return -1;
        step = step * 10 + (*at - '0'); /* at most 18 digits: no overflow */
    }
    return step;
}

static int compare_newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

col_status col_steps_list(col_arena *arena, const char *dir, col_steps *out_steps)
{
    DIR *folder = opendir(dir);
    if (!folder) return col_error_from_errno(errno, "cannot open the folder '%s'", dir);
    for (struct dirent *entry; (entry = readdir(folder));) {
        int64_t step = col_step_parse(entry->d_name);
        if (step >= 0) col_vec_push(arena, out_steps, step);
    }
    closedir(folder);
    if (out_steps->len) qsort(out_steps->data, out_steps->len, sizeof(int64_t), compare_newest_first);
    return NULL;
}

int64_t col_steps_latest(col_arena *arena, const char *dir)
{
    char *path = col_arena_printf(arena, "%s/latest", dir), *text = NULL;
    size_t size = 0;
    if (col_error_ignore(col_file_read(arena, path, 64, &text, &size))) return -1;
    if (!size || text[size - 1] != '\n') return -1;
    text[size - 1] = '\0';
    return strlen(text) == size - 1 ? col_step_parse(text) : -1;
}

/* Whether the name is NAME.tmp.PID of this process or of one that is gone. */
static bool is_stale(const char *name)
{
    const char *mark = strstr(name, ".tmp.");
    if (!mark || (strncmp(name, "step_", 5) && strncmp(name, "latest", 6))) return false;
    char *end = NULL;
    errno = 0;
    long pid = strtol(mark + 5, &end, 10);
    if (errno || *end || pid <= 0 || pid > INT32_MAX) return false;
    return pid == (long)getpid() || (kill((pid_t)pid, 0) && errno == ESRCH);
}

/* Calls the function for the path of each entry that `wanted` accepts. */
static void for_each_entry(const char *path, bool (*wanted)(const char *name), void (*act)(const char *path))
{
    DIR *folder = opendir(path);
    if (!folder) return;
    col_str full = {0};
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || !wanted(entry->d_name)) continue;
        col_str_clear(&full);
        col_str_printf(&full, "%s/%s", path, entry->d_name);
        act(col_str_text(&full));
    }
    col_str_fini(&full);
    closedir(folder);
}

/* A failure to remove leaves a file too many, which nothing reads; so failures are passed over here. */
static void remove_file(const char *path)
{
    if (unlink(path)) errno = 0;
}

static bool any_name(const char *name)
{
    (void)name;
    return true;
}

void col_folder_remove(const char *path)
{
    for_each_entry(path, any_name, remove_file);
    if (rmdir(path)) errno = 0;
}

static void remove_either(const char *path)
{
    struct stat info;
    if (lstat(path, &info)) return;
    if (S_ISDIR(info.st_mode)) {
        col_folder_remove(path);
    } else {
        remove_file(path);
    }
}

void col_steps_remove_stale(const char *dir)
{
    for_each_entry(dir, is_stale, remove_either);
}

/* BASE.safetensors, BASE-00001-of-00002.safetensors, BASE.safetensors.index.json for our two bases. */
static bool is_checkpoint_file(const char *name)
{
    static const char *const bases[] = {"model", "optimizer"};
    for (size_t i = 0; i < COL_COUNT(bases); i++) {
        size_t size = strlen(bases[i]);
        if (strncmp(name, bases[i], size)) continue;
        const char *rest = name + size;
        unsigned n = 0, of = 0;
        int used = 0;
        if (sscanf(rest, "-%5u-of-%5u%n", &n, &of, &used) == 2 && used == 15) rest += used;
        if (!strcmp(rest, ".safetensors") || !strcmp(rest, ".safetensors.index.json")) return true;
    }
    return false;
}

col_status col_step_remove(const char *path)
{
    col_str state = {0};
    col_str_printf(&state, "%s/state.json", path);
    int failed = unlink(col_str_text(&state));
    col_str_fini(&state);
    if (failed && errno != ENOENT) return col_error_from_errno(errno, "cannot remove '%s'", path);
    for_each_entry(path, is_checkpoint_file, remove_file);
    if (rmdir(path) && errno != ENOTEMPTY && errno != EEXIST) {
        return col_error_from_errno(errno, "cannot remove '%s'", path);
    }
    return NULL;
}
