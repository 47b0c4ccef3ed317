#include "frontend/program.h"

#include <errno.h>
#include <libgen.h>
#include <unistd.h>

col_status col_program_place(col_arena *arena, const char **out_folder, const char **out_program)
{
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0) return col_error_from_errno(errno, "cannot find the folder of this program");
    path[size] = '\0';
    if (out_program) *out_program = col_arena_strdup(arena, path);
    if (out_folder) *out_folder = col_arena_strdup(arena, dirname(path));
    return NULL;
}
