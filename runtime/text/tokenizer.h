/* Tokenizers: text to token ids and back.
 *
 * Two kinds behind one interface:
 *   - byte-level BPE as GPT-2 defines it, from `vocab.json` + `merges.txt` or from Hugging Face's
 *     `tokenizer.json`. Ids equal the reference's on data.decode('utf-8', errors='replace') for any bytes
 *     (utf8.h has that rule);
 *   - bytes: ids 0..255 are the bytes themselves, 256 is end-of-text. Needs no files and loses nothing.
 *
 * A tokenizer does not change once loaded and may be shared by threads; what encoding needs to write to (word
 * cache, scratch) lives in an encoder, one per thread. */
#ifndef COL_TEXT_TOKENIZER_H
#define COL_TEXT_TOKENIZER_H

#include "ir/base/str.h"

typedef struct col_tokenizer col_tokenizer;

/* The tokenizer of bytes. */
col_tokenizer *col_tokenizer_bytes(void);
/* Loads a `tokenizer.json`, or a folder that holds one, or a folder that holds `vocab.json` and `merges.txt`.
 * COL_BAD_INPUT names the file, the line or key, and what to mend; parts of the format that are not supported
 * are refused by name. */
COL_MUST_USE col_status col_tokenizer_load(const char *path, col_tokenizer **out_tokenizer);
/* The same from bytes in memory; the names stand in error messages. */
COL_MUST_USE col_status col_tokenizer_parse_json(const char *name, const char *data, size_t size,
                                                 col_tokenizer **out_tokenizer);
COL_MUST_USE col_status col_tokenizer_parse_bpe(const char *vocab_name, const char *vocab, size_t vocab_size,
                                                const char *merges_name, const char *merges,
                                                size_t merges_size, col_tokenizer **out_tokenizer);
void col_tokenizer_destroy(col_tokenizer *tokenizer); /* NULL is fine */

/* One more than the largest id; a model needs at least as many rows. */
int32_t col_tokenizer_size(const col_tokenizer *tokenizer);
/* The id of `</s>` (OPT's), else of `<|endoftext|>` (GPT-2's); -1 where the vocabulary has neither. */
int32_t col_tokenizer_end_of_text(const col_tokenizer *tokenizer);
/* Equal for tokenizers that give equal ids (also depends on the Unicode version of the regex library). */
uint64_t col_tokenizer_fingerprint(const col_tokenizer *tokenizer);

/* The bytes of one token, owned by the tokenizer; NULL for an id that no token has. A token may be a part of
 * a character: print through col_utf8_stream. */
const unsigned char *col_tokenizer_token(const col_tokenizer *tokenizer, int32_t id, size_t *out_size);
/* Appends the bytes of the tokens. COL_BAD_INPUT at the first id that no token has. */
COL_MUST_USE col_status col_tokenizer_decode(const col_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                             col_str *out);

/* Takes ids in order; an error stops the encoder and is handed on. */
typedef col_status (*col_token_sink)(void *context, const int32_t *ids, size_t count);

typedef enum col_specials {
    COL_SPECIALS_AS_TEXT, /* "<|endoftext|>" in the text is thirteen characters */
    COL_SPECIALS_PARSED,  /* ... is one token, as Hugging Face's tokenizers read it */
} col_specials;

typedef struct col_encoder col_encoder;

col_encoder *col_encoder_create(const col_tokenizer *tokenizer); /* the tokenizer must outlive it */
void col_encoder_destroy(col_encoder *encoder);                  /* NULL is fine */

/* One text, fed in pieces that may be cut anywhere: start, feed..., finish. Ids reach the sink in blocks; all
 * of them have by the time finish returns. Memory stays bounded as long as the text has white space in it
 * (a vocabulary without pre-tokenizer, or with white space in its added tokens, needs the text whole). After
 * an error, start again. */
void col_encoder_start(col_encoder *encoder, col_specials specials, col_token_sink sink, void *context);
COL_MUST_USE col_status col_encoder_feed(col_encoder *encoder, const void *bytes, size_t size);
COL_MUST_USE col_status col_encoder_finish(col_encoder *encoder);

/* One text at once; the ids are owned by the arena. */
COL_MUST_USE col_status col_encoder_encode(col_encoder *encoder, col_specials specials, const void *bytes,
                                           size_t size, col_arena *arena, int32_t **out_ids,
                                           size_t *out_count);

#endif
