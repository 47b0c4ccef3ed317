/* Internal to runtime/store: the folders in which checkpoints lie. */
#ifndef COL_STORE_CHECKPOINT_FOLDER_H
#define COL_STORE_CHECKPOINT_FOLDER_H

#include "ir/base/vec.h"

typedef COL_VEC(int64_t) col_steps;

char *col_step_path(col_arena *arena, const char *dir, int64_t step); /* DIR/step_00000100 */
/* The step of a name like step_00000100, or -1. */
int64_t col_step_parse(const char *name);
/* The steps that DIR has folders for, newest first. */
COL_MUST_USE col_status col_steps_list(col_arena *arena, const char *dir, col_steps *out_steps);
/* The step that DIR/latest names; -1 when there is no such file or it says something else. */
int64_t col_steps_latest(col_arena *arena, const char *dir);

/* Removes temporary folders and files of this process and of processes that are gone. */
void col_steps_remove_stale(const char *dir);
/* Removes a folder that only ever held our files, with all of them. */
void col_folder_remove(const char *path);
/* Removes a checkpoint's own files, state.json first, and its folder if nothing else is in there. */
COL_MUST_USE col_status col_step_remove(const char *path);

#endif
