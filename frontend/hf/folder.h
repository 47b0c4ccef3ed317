/* Files that go from one folder to another as they are. */
#ifndef COL_HF_FOLDER_H
#define COL_HF_FOLDER_H

#include "ir/base/arena.h"

bool col_hf_same_folder(const char *a, const char *b);

/* Makes `to` a second name of the file `from` (links followed), replacing what was there. Where the file system
 * cannot, `to` becomes a copy, and `*out_copied` true. */
COL_MUST_USE col_status col_hf_link(const char *from, const char *to, bool *out_copied);

/* Copies what stands beside a model's weights into another folder (tokenizer, settings of generation and of image
 * preparation), as far as it is there; links out of the folder are refused. */
COL_MUST_USE col_status col_hf_copy_companions(const char *from, const char *to, col_arena *arena);

/* What of this can be known to fail, before anything is written. */
COL_MUST_USE col_status col_hf_check_companions(const char *from, col_arena *arena);

/* Copies one small file, if it is there. */
COL_MUST_USE col_status col_hf_copy(const char *from, const char *to, const char *name, col_arena *arena);

#endif
