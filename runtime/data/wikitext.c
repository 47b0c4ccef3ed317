/* Folders laid out as WikiText: wiki.train.raw and wiki.valid.raw, or the same with .tokens. The files are plain
 * text; blank lines and headings between " = " stay as they are. wiki.test.* is nobody's to train on. */
#include <sys/stat.h>

#include "runtime/data/source.h"

bool wikitext_is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

const char *wikitext_file(col_arena *arena, const char *folder, wikitext_part part)
{
    static const char *const names[][2] = {[WIKITEXT_TRAIN] = {"wiki.train.raw", "wiki.train.tokens"},
                                           [WIKITEXT_VALID] = {"wiki.valid.raw", "wiki.valid.tokens"}};
    for (int i = 0; i < 2; i++) {
        const char *path = col_arena_printf(arena, "%s/%s", folder, names[part][i]);
        if (col_file_exists(path)) return path;
    }
    return NULL;
}
