#include "frontend/unnamed.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ir/base/file.h"

col_status col_unnamed_begin(col_arena *arena, char **out_path)
{
    char *folder;
    COL_TRY(col_file_temporary_folder(arena, &folder));
    *out_path = col_arena_printf(arena, "%s/file", folder);
    return NULL;
}

col_status col_unnamed_end(col_status written, char *path, col_arena *arena, const char **out_path)
{
    col_status status = written;
    int file = status ? -1 : open(path, O_RDONLY);
    if (!status && file < 0) status = col_error_from_errno(errno, "cannot open '%s'", path);
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    *out_path = col_arena_printf(arena, "/proc/self/fd/%d", file);
    return status;
}
