/* Which tokenizer a model's text goes through. */
#ifndef COL_RUNTIME_TOKENS_H
#define COL_RUNTIME_TOKENS_H

#include "runtime/text/tokenizer.h"

#define COL_TOKENIZER_BYTES "bytes"
#define COL_TOKENIZER_NONE  "none" /* what a run saves that needed none: tokens, images */

/* Opens "bytes" or a tokenizer's files. A vocabulary larger than `bound`, the rows of the model's table (0:
 * not known), is COL_BAD_INPUT if the user asked for this tokenizer; otherwise there is none (NULL), and what
 * needs one says so. */
COL_MUST_USE col_status col_tokens_open(const char *name, int64_t bound, bool asked,
                                        col_tokenizer **out_tokenizer);

/* The tokenizer that goes with weights: the one in their folder (tokenizer.json, or vocab.json and
 * merges.txt), or the one that the checkpoint says it was trained with; "bytes" where neither is. In the
 * arena. */
const char *col_tokens_of_weights(col_arena *arena, const char *weights);

#endif
