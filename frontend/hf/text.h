/* The text of a family's model with settings in its header. */
#ifndef COL_HF_TEXT_H
#define COL_HF_TEXT_H

#include "frontend/hf/family.h"
#include "ir/graph.h"

/* The family's text, with the values of the settings in place of its header's defaults, in `arena`. Defaults that
 * are not set stay expressions of the others. NULL when the header lacks one of the settings. */
const char *col_hf_text(const col_hf_family *family, const col_setting *settings, size_t count,
                        col_arena *arena);

#endif
