/* What was chosen by measuring, kept in a file, so that every run of a plan computes in the same way.
 *
 * A choice is a text under a key that says all that it depends on: the library and its version, the problem. The file is
 * of one kind of GPU, in $COLC_CACHE, or colc/ in $XDG_CACHE_HOME or ~/.cache. It holds a checksum: a damaged one is
 * refused, and never half-used. Where it cannot be kept nothing should be measured: two runs could choose differently.
 *
 * Of several ranks, rank 0 reads, chooses and writes; the others are told (comm.h). */
#ifndef COL_RUNTIME_CUDA_CHOICES_H
#define COL_RUNTIME_CUDA_CHOICES_H

#include "ir/base/map.h"
#include "runtime/comm.h"

enum { CUDA_CHOICE_BYTES = 256 }; /* of a choice's text with its end */

typedef struct cuda_choices {
    col_arena *arena;
    col_comm *comm;     /* of several ranks; NULL: there is one */
    const char *device; /* "NVIDIA H200" */
    const char *path;   /* of the file; NULL: nothing is kept */
    col_map *choices;   /* by key */
    bool is_changed;
} cuda_choices;

/* Reads the file if there is one. COL_DEVICE for a damaged one. Where the folder cannot be made, or $COLC_CACHE is
 * empty, nothing is kept. */
COL_MUST_USE col_status cuda_choices_open(col_arena *arena, const char *device, col_comm *comm,
                                          cuda_choices *out);

/* The text under the key; where there is none, what `choose` makes of it, which may give an empty text: no choice, and
 * none is kept. All ranks ask for the same keys in the same order. The text lives in the arena. */
typedef col_status (*cuda_choose)(void *context, char out[CUDA_CHOICE_BYTES]);
COL_MUST_USE col_status cuda_choices_find(cuda_choices *c, const char *key, cuda_choose choose, void *context,
                                          const char **out_text);

/* Whether there is a file to keep choices in; of rank 0. */
bool cuda_choices_are_kept(const cuda_choices *c);

/* Writes the file if a choice was added. A file that cannot be written is a warning. */
void cuda_choices_save(cuda_choices *c);

#endif
