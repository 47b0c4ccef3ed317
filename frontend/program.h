/* Where this program is, and so the files that belong to it. */
#ifndef COL_FRONTEND_PROGRAM_H
#define COL_FRONTEND_PROGRAM_H

#include "ir/base/arena.h"

/* The path of the running program and the folder that holds it; either pointer may be NULL. Texts live in
 * `arena`. */
COL_MUST_USE col_status col_program_place(col_arena *arena, const char **out_folder,
                                          const char **out_program);

#endif
