/* Corpora: one or more files seen as one long row of token ids.
 *
 * A file is, by its name and first bytes,
 *   - an llm.c token file (`.bin`, magic 20240520): used as it is, memory-mapped;
 *   - JSON lines (`.jsonl`, `.ndjson`, `.json`): an object with a string `text` a line, each a document;
 *   - plain text otherwise: one document.
 * A folder is one in WikiText's layout: wiki.train.raw (or .tokens), plain text, and for validation wiki.valid.raw.
 * Documents end with the end-of-text token (plain text where the tokenizer has one, JSON lines always).
 * The word `synthetic` instead of a file stands for random tokens, the same for the same seed.
 *
 * Text is encoded once. The ids are kept beside the source in SOURCE.colc-FINGERPRINT.tokens (cache.c), are
 * memory-mapped from there, and encoded again when the source or the tokenizer is another or the file is
 * damaged. Where they cannot be kept they stay in memory, with a notice.
 *
 * Files of a running training must not be cut short: a mapped file that shrinks ends the process. */
#ifndef COL_DATA_CORPUS_H
#define COL_DATA_CORPUS_H

#include "runtime/text/tokenizer.h"

#define COL_CORPUS_SYNTHETIC "synthetic"
enum { COL_CORPUS_SYNTHETIC_TOKENS = 1 << 20 };

typedef struct col_corpus col_corpus;

typedef struct col_corpus_options {
    const col_tokenizer *tokenizer; /* NULL: only llm.c files and `synthetic` can be opened */
    int64_t vocab_size;             /* of the model: ids are below it. 0: that of the tokenizer */
    uint64_t seed;                  /* of `synthetic` */
    void (*notice)(void *context, const char *message); /* what a user may want to know; may be NULL */
    void *context;
} col_corpus_options;

/* Opens `count` files as one corpus, in the order given, then folders' validation files. Open it once per process and share it: it does not
 * change and may be read by many threads. COL_BAD_INPUT names the file, the place in it and the remedy. */
COL_MUST_USE col_status col_corpus_open(const char *const *paths, size_t count,
                                        const col_corpus_options *options, col_corpus **out_corpus);
void col_corpus_close(col_corpus *corpus); /* NULL is fine */

/* Number of tokens of all files. */
uint64_t col_corpus_tokens(const col_corpus *corpus);
/* Changes when any token does: a resumed run compares it with the one that was saved. */
uint64_t col_corpus_fingerprint(const col_corpus *corpus);
/* Copies the tokens [first, first + count), which must exist. */
void col_corpus_read(const col_corpus *corpus, uint64_t first, size_t count, int32_t *out_ids);

/* A part of a corpus, in tokens. */
typedef struct col_range {
    uint64_t first, count;
} col_range;

/* For validation are folders' own files, or where there are none the last `fraction` (0 <= fraction < 1) of the
 * tokens; with the fraction 0 none are. The rest is for training. The customary fraction is
 * COL_CORPUS_VALIDATION. */
#define COL_CORPUS_VALIDATION 0.1
COL_MUST_USE col_status col_corpus_split(const col_corpus *corpus, double fraction, col_range *out_train,
                                         col_range *out_validation);

#endif
