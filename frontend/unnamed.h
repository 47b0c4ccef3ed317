/* Files without a name, for a program that this one becomes: nobody else can reach them, and they go with the
 * last process that has them open. */
#ifndef COL_FRONTEND_UNNAMED_H
#define COL_FRONTEND_UNNAMED_H

#include "ir/base/arena.h"

/* A path in a new folder of this process alone, where the file is to be written. */
COL_MUST_USE col_status col_unnamed_begin(col_arena *arena, char **out_path);
/* Takes the status of the writing; opens the file, then removes its name and folder in any case. `*out_path`
 * leads to it from here and from what this process becomes. */
COL_MUST_USE col_status col_unnamed_end(col_status written, char *path, col_arena *arena,
                                        const char **out_path);

#endif
