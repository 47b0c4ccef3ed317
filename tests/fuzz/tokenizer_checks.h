/* What must hold of any tokenizer that a file, however odd, was accepted as; and of any refusal. */
#ifndef COL_FUZZ_TOKENIZER_CHECKS_H
#define COL_FUZZ_TOKENIZER_CHECKS_H

#include "runtime/text/bpe.h"
#include "runtime/text/utf8.h"

#include <string.h>

/* A refusal is bad input, in printable words; returns whether there was one. */
static inline bool check_error(col_status status)
{
    if (!status) return false;
    COL_ASSERT(col_error_code(status) == COL_BAD_INPUT && *col_error_message(status));
    for (const char *at = col_error_message(status); *at; at++) COL_ASSERT((unsigned char)*at >= 0x20);
    col_error_free(status);
    return true;
}

/* Every id is a token's, and text without added tokens comes back, its ill-formed bytes replaced. */
static inline void check_tokenizer(const col_tokenizer *tokenizer, const uint8_t *text, size_t size)
{
    col_arena *arena = col_arena_create();
    col_encoder *encoder = col_encoder_create(tokenizer);
    col_str decoded = {0}, clean = {0};
    int32_t *ids = NULL;
    size_t count = 0, token_size = 0;
    COL_ASSERT(col_tokenizer_end_of_text(tokenizer) < col_tokenizer_size(tokenizer));
    COL_ASSERT(!col_encoder_encode(encoder, COL_SPECIALS_PARSED, text, size, arena, &ids, &count));
    for (size_t i = 0; i < count; i++) COL_ASSERT(col_tokenizer_token(tokenizer, ids[i], &token_size));
    COL_ASSERT(!col_encoder_encode(encoder, COL_SPECIALS_AS_TEXT, text, size, arena, &ids, &count));
    COL_ASSERT(!col_tokenizer_decode(tokenizer, ids, count, &decoded));
    if (tokenizer->add_prefix_space && size && text[0] != ' ') col_str_append(&clean, " ");
    col_utf8_replace(&clean, text, size);
    COL_ASSERT(decoded.len == clean.len && (!clean.len || !memcmp(decoded.data, clean.data, clean.len)));
    col_str_fini(&decoded);
    col_str_fini(&clean);
    col_encoder_destroy(encoder);
    col_arena_destroy(arena);
}

#endif
