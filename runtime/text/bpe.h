/* Inside of a byte-level BPE tokenizer: what the two file formats build and the encoder walks. Private to
 * runtime/text. */
#ifndef COL_TEXT_BPE_H
#define COL_TEXT_BPE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "ir/base/map.h"
#include "ir/base/vec.h"
#include "runtime/text/tokenizer.h"

typedef struct token {
    const unsigned char *bytes; /* NULL: no token has this id */
    uint32_t size;
} token;

/* One row of the merge table: an open-addressing hash table from a pair of ids. */
typedef struct merge {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank; /* lower is merged first; NO_RANK: the row is empty */
    int32_t id;    /* of the token that the pair becomes */
} merge;

#define NO_RANK UINT32_MAX

/* Added tokens are cut out of the text before anything else, those with `normalized` false first; within a
 * pass the leftmost wins, then the longest. Sorted by pass, first byte, falling length. */
typedef struct special {
    const unsigned char *bytes;
    uint32_t size;
    int32_t id;
    int pass; /* 0 or 1 */
} special;

enum { SPECIAL_PASSES = 2 };

typedef struct special_index {
    uint32_t first[257]; /* specials that start with byte b are [first[b], first[b + 1]) */
} special_index;

struct col_tokenizer {
    col_arena *arena;
    bool bytes_only; /* the tokenizer of bytes: nothing below `fingerprint` is used */
    int32_t size, end_of_text;
    token *tokens; /* [size] */
    uint64_t fingerprint;

    int32_t byte_ids[256]; /* the token of each single byte */
    merge *merges;         /* [merge_mask + 1] */
    size_t merge_mask;
    special *specials;
    size_t special_count;
    special_index special_index[SPECIAL_PASSES];
    col_map *whole_words; /* bytes -> id + 1 as a pointer; NULL unless the model has `ignore_merges` */
    bool use_regex, add_prefix_space;
    bool needs_whole_text; /* no place in a text is known to be a token boundary */
    pcre2_code *pattern;   /* NULL unless use_regex */
    bool pattern_is_jit;
};

/* Collects a vocabulary in any order, then its merges in order of rank, then added tokens. Messages begin
 * with `place`, a file with its line or key. */
typedef struct bpe_builder {
    col_arena *scratch;   /* freed by bpe_builder_fini */
    col_map *ids;         /* vocabulary as spelled in the file -> vocab_entry */
    col_map *special_ids; /* content -> id + 1 as a pointer */
    COL_VEC(special) specials;
    COL_VEC(merge) merges;
    bool ignore_merges, use_regex, add_prefix_space;
} bpe_builder;

void bpe_builder_init(bpe_builder *builder);
void bpe_builder_fini(bpe_builder *builder);
COL_MUST_USE col_status bpe_builder_add_token(bpe_builder *builder, const char *place, const char *text,
                                              size_t size, int64_t id);
COL_MUST_USE col_status bpe_builder_add_merge(bpe_builder *builder, const char *place, const char *left,
                                              size_t left_size, const char *right, size_t right_size);
COL_MUST_USE col_status bpe_builder_add_special(bpe_builder *builder, const char *place, const char *text,
                                                size_t size, int64_t id, bool normalized);
/* What a damaged or foreign pair of files does not pass: the ids run from 0 without a gap, and every token of
 * more than one byte comes out of a merge. Tokens written <like this> or madeupwordNNNN, which vocabularies
 * use as marks and as padding, need no merge. */
COL_MUST_USE col_status bpe_builder_check_complete(const bpe_builder *builder, const char *vocab_name,
                                                   const char *merges_name);
/* Adds the end-of-text token of the vocabulary, if it has one, to the special ones. */
COL_MUST_USE col_status bpe_builder_add_end_of_text(bpe_builder *builder, const char *place);
/* Checks the whole and makes the tokenizer; `vocab_place` names the vocabulary in messages. */
COL_MUST_USE col_status bpe_builder_finish(bpe_builder *builder, const char *vocab_place,
                                           col_tokenizer **out_tokenizer);

/* Rank and result of merging two neighbours; NULL when they do not merge. */
static inline const merge *bpe_find_merge(const col_tokenizer *tokenizer, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t slot = (pair * 0x9E3779B97F4A7C15u) >> 32 & tokenizer->merge_mask;
    for (;; slot = (slot + 1) & tokenizer->merge_mask) {
        const merge *m = &tokenizer->merges[slot];
        if (m->rank == NO_RANK) return NULL;
        if (m->pair == pair) return m;
    }
}

/* Room for one word; grows and is used again. */
typedef struct bpe_scratch {
    int32_t *ids; /* [capacity], the result stands at its start */
    uint32_t *next, *previous, *ranks;
    uint64_t *heap;
    size_t capacity;
} bpe_scratch;

void bpe_scratch_fini(bpe_scratch *scratch);
/* Merges one pre-token of 1 to INT32_MAX bytes into ids, left in scratch->ids. Fails only when a word of many
 * megabytes finds no memory. */
COL_MUST_USE col_status bpe_merge_word(const col_tokenizer *tokenizer, bpe_scratch *scratch,
                                       const unsigned char *word, size_t size, size_t *out_count);

/* The pre-tokenizer's regex, compiled into tokenizer->pattern. */
COL_MUST_USE col_status bpe_compile_pattern(col_tokenizer *tokenizer);

/* Byte-level alphabet: each byte is written as one printable character. Reads the bytes that `text` spells
 * into `out` (size bytes of room); false when a character is not of the alphabet. */
bool bpe_spelling_read(const char *text, size_t size, unsigned char *out, size_t *out_size);
/* Writes the character of a byte, NUL-terminated. */
void bpe_spelling_of_byte(unsigned char byte, char out[4]);

#endif
