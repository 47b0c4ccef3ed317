/* A small byte-level vocabulary made in the test: ids 0..255 are the bytes, then one token per merge, then
 * <|endoftext|>. Merges are spelled in the byte-level alphabet; the tests keep to bytes that spell
 * themselves, and to the space (\u0120). */
#ifndef COL_UNIT_SMALL_VOCABULARY_H
#define COL_UNIT_SMALL_VOCABULARY_H

#include "tests/unit/unit.h"
#include "ir/base/str.h"
#include "runtime/text/tokenizer.h"

/* `{"\u0100": 0, ...}`: the bytes, the merged tokens ("a b" -> "ab"), and <|endoftext|> last. */
static inline void small_vocabulary(col_str *out, const char *const *merges, size_t count)
{
    col_str_append(out, "{");
    /* After GPT-2's bytes_to_unicode: bytes that are not printable in Latin-1 get U+0100 and up in their
     * order. */
    unsigned next = 0x100;
    for (unsigned b = 0; b < 256; b++) {
        bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        col_str_printf(out, "\"\\u%04x\": %u, ", itself ? b : next++, b);
    }
    for (size_t i = 0; i < count; i++) {
        col_str_append(out, "\"");
        for (const char *at = merges[i]; *at; at++) {
            if (*at != ' ') col_str_append_bytes(out, at, 1);
        }
        col_str_printf(out, "\": %zu, ", 256 + i);
    }
    col_str_printf(out, "\"<|endoftext|>\": %zu}", 256 + count);
}

static inline void small_merges(col_str *out, const char *const *merges, size_t count)
{
    col_str_append(out, "#version: 0.2\n");
    for (size_t i = 0; i < count; i++) col_str_printf(out, "%s\n", merges[i]);
}

/* The same as a tokenizer.json; `options` is put into the root object ("" or "\"key\": value, "). */
static inline void small_tokenizer_json(col_str *out, const char *const *merges, size_t count,
                                        const char *options, const char *model_options)
{
    col_str_printf(out, "{\"version\": \"1.0\", %s\"model\": {\"type\": \"BPE\", %s\"vocab\": ", options,
                   model_options);
    small_vocabulary(out, merges, count);
    col_str_append(out, ", \"merges\": [");
    for (size_t i = 0; i < count; i++) col_str_printf(out, "%s\"%s\"", i ? ", " : "", merges[i]);
    col_str_append(out, "]}}");
}

static const char *const small_pairs[] = {"h e",        "l l", "he ll",       "hell o",
                                          "\xC4\xA0 w", "o r", "\xC4\xA0w or"};
enum {
    SMALL_HE = 256,
    SMALL_LL,
    SMALL_HELL,
    SMALL_HELLO,
    SMALL_W, /* " w" */
    SMALL_OR,
    SMALL_WOR, /* " wor" */
    SMALL_END,
    SMALL_SIZE
};

static inline col_tokenizer *small_tokenizer(void)
{
    col_str vocab = {0}, merges = {0};
    small_vocabulary(&vocab, small_pairs, COL_COUNT(small_pairs));
    small_merges(&merges, small_pairs, COL_COUNT(small_pairs));
    col_tokenizer *tokenizer = NULL;
    col_status status = col_tokenizer_parse_bpe("vocab.json", vocab.data, vocab.len, "merges.txt",
                                                merges.data, merges.len, &tokenizer);
    COL_ASSERT(!status);
    col_str_fini(&vocab);
    col_str_fini(&merges);
    return tokenizer;
}

#endif
