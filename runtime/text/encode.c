/* Text to ids:  bytes -> (windows) -> well-formed UTF-8 -> added tokens cut out -> words -> merged ids.
 *
 * Windows. The pre-tokenizer's pattern looks ahead but never behind, and no word runs from a character that
 * is not white space into one that is. So a text may be cut before any white space that follows something
 * else, and its parts encoded one by one, with the same ids.
 *
 * Words repeat, so a direct-mapped cache keeps what short ones became. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/utf8.h"

enum {
    WINDOW = 1 << 20,
    LARGEST_WINDOW = 64 << 20,
    CACHE_SLOTS = 1 << 15,
    CACHE_WORD = 22,
    CACHE_IDS = 10,
    BLOCK = 4096,
};

typedef struct cache_slot {
    uint8_t size, count; /* size 0: empty */
    unsigned char word[CACHE_WORD];
    int32_t ids[CACHE_IDS];
} cache_slot;

struct col_encoder {
    const col_tokenizer *tokenizer;
    pcre2_match_data *match;
    cache_slot *cache;
    bpe_scratch scratch;
    col_str clean;    /* a window with its ill-formed bytes replaced */
    col_str prefixed; /* a piece with a space put before it */

    col_specials specials;
    col_token_sink sink;
    void *context;
    col_str pending;   /* fed, not yet encoded */
    size_t enough;     /* bytes pending that make trying a cut worth it */
    bool inside_piece; /* the last window ended inside text, not after an added token */
    int32_t block[BLOCK];
    size_t block_len;
};

col_encoder *col_encoder_create(const col_tokenizer *tokenizer)
{
    col_encoder *e = calloc(1, sizeof *e);
    if (!e) COL_PANIC("out of memory");
    e->tokenizer = tokenizer;
    if (tokenizer->bytes_only) return e;
    e->cache = calloc(CACHE_SLOTS, sizeof *e->cache);
    e->match = pcre2_match_data_create(1, NULL);
    if (!e->cache || !e->match) COL_PANIC("out of memory");
    return e;
}

void col_encoder_destroy(col_encoder *e)
{
    if (!e) return;
    pcre2_match_data_free(e->match);
    bpe_scratch_fini(&e->scratch);
    free(e->cache);
    col_str_fini(&e->clean);
    col_str_fini(&e->prefixed);
    col_str_fini(&e->pending);
    free(e);
}

static col_status flush(col_encoder *e)
{
    size_t count = e->block_len;
    e->block_len = 0;
    return count ? e->sink(e->context, e->block, count) : NULL;
}

static col_status emit(col_encoder *e, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (e->block_len == BLOCK) COL_TRY(flush(e));
        e->block[e->block_len++] = ids[i];
    }
    return NULL;
}

static col_status encode_word(col_encoder *e, const unsigned char *word, size_t size)
{
    const col_tokenizer *t = e->tokenizer;
    if (t->whole_words) {
        uintptr_t whole = (uintptr_t)col_map_get_bytes(t->whole_words, word, size);
        int32_t id = (int32_t)(whole - 1);
        if (whole) return emit(e, &id, 1);
    }
    cache_slot *slot = NULL;
    if (size <= CACHE_WORD) {
        slot = &e->cache[XXH3_64bits(word, size) & (CACHE_SLOTS - 1)];
        if (slot->size == size && !memcmp(slot->word, word, size)) return emit(e, slot->ids, slot->count);
    }
    size_t count = 0;
    COL_TRY(bpe_merge_word(t, &e->scratch, word, size, &count));
    if (slot && count <= CACHE_IDS) {
        slot->size = (uint8_t)size;
        slot->count = (uint8_t)count;
        memcpy(slot->word, word, size);
        memcpy(slot->ids, e->scratch.ids, count * sizeof *slot->ids);
    }
    return emit(e, e->scratch.ids, count);
}

/* A piece of text without added tokens in it. */
static col_status encode_piece(col_encoder *e, const unsigned char *text, size_t size)
{
    const col_tokenizer *t = e->tokenizer;
    if (!size) return NULL;
    if (t->add_prefix_space && !e->inside_piece && text[0] != ' ') {
        col_str_clear(&e->prefixed);
        col_str_append_bytes(&e->prefixed, " ", 1);
        col_str_append_bytes(&e->prefixed, text, size);
        text = (const unsigned char *)e->prefixed.data;
        size = e->prefixed.len;
    }
    e->inside_piece = true;
    if (!t->use_regex) return encode_word(e, text, size);
    PCRE2_SIZE *span = pcre2_get_ovector_pointer(e->match);
    for (size_t at = 0; at < size; at = span[1]) {
        int rc = t->pattern_is_jit
                     ? pcre2_jit_match(t->pattern, text, size, at, 0, e->match, NULL)
                     : pcre2_match(t->pattern, text, size, at, PCRE2_NO_UTF_CHECK, e->match, NULL);
        /* The alternatives cover every character, so a match begins at each place and is not empty. */
        if (rc < 0 || span[0] != at || span[1] <= at) {
            char message[160] = "";
            pcre2_get_error_message(rc, (PCRE2_UCHAR *)message, sizeof message);
            return col_error_make(COL_INTERNAL, "the pre-tokenizer stopped at byte %zu of a text of %zu: %s",
                                  at, size, message);
        }
        COL_TRY(encode_word(e, text + at, span[1] - at));
    }
    return NULL;
}

/* The added token of this pass that begins here, the longest one; NULL if none does. */
static const special *special_at(const col_tokenizer *t, int pass, const unsigned char *text, size_t size)
{
    const special_index *index = &t->special_index[pass];
    for (uint32_t i = index->first[*text]; i < index->first[*text + 1]; i++) {
        const special *s = &t->specials[i];
        if (s->size <= size && !memcmp(s->bytes, text, s->size)) return s;
    }
    return NULL;
}

static col_status encode_pass(col_encoder *e, int pass, const unsigned char *text, size_t size)
{
    if (pass == SPECIAL_PASSES) return encode_piece(e, text, size);
    const col_tokenizer *t = e->tokenizer;
    const special_index *index = &t->special_index[pass];
    size_t from = 0;
    if (index->first[0] == index->first[256]) return encode_pass(e, pass + 1, text, size);
    for (size_t at = 0; at < size;) {
        const special *s = special_at(t, pass, text + at, size - at);
        if (!s) {
            at++;
            continue;
        }
        COL_TRY(encode_pass(e, pass + 1, text + from, at - from));
        COL_TRY(emit(e, &s->id, 1));
        e->inside_piece = false;
        at += s->size;
        from = at;
    }
    return encode_pass(e, pass + 1, text + from, size - from);
}

static col_status encode_window(col_encoder *e, const unsigned char *text, size_t size)
{
    if (col_utf8_valid_prefix(text, size) != size) {
        col_str_clear(&e->clean);
        col_utf8_replace(&e->clean, text, size);
        text = (const unsigned char *)e->clean.data;
        size = e->clean.len;
    }
    return encode_pass(e, e->specials == COL_SPECIALS_PARSED ? 0 : SPECIAL_PASSES, text, size);
}

/* Whether the bytes end in a white-space character (the class of pattern.c). */
static bool ends_in_space(const unsigned char *end, size_t size)
{
    unsigned char last = end[-1];
    if (last < 0x80) return last == ' ' || (last >= 0x09 && last <= 0x0D);
    if (size >= 2 && end[-2] == 0xC2) return last == 0x85 || last == 0xA0;
    if (size < 3) return false;
    unsigned three = (unsigned)end[-3] << 16 | (unsigned)end[-2] << 8 | last;
    return three == 0xE19A80 || (three >= 0xE28080 && three <= 0xE2808A) || three == 0xE280A8 ||
           three == 0xE280A9 || three == 0xE280AF || three == 0xE2819F || three == 0xE38080;
}

/* The largest cut (see the head of this file); 0 when there is none. */
static size_t find_cut(const unsigned char *text, size_t size)
{
    for (size_t at = size; at-- > 1;) {
        bool space = text[at] == ' ' || (text[at] >= 0x09 && text[at] <= 0x0D);
        if (space && !ends_in_space(text + at, at)) return at;
    }
    return 0;
}

static col_status encode_bytes(col_encoder *e, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        int32_t id = bytes[i];
        COL_TRY(emit(e, &id, 1));
    }
    return NULL;
}

void col_encoder_start(col_encoder *e, col_specials specials, col_token_sink sink, void *context)
{
    e->specials = specials;
    e->sink = sink;
    e->context = context;
    e->enough = WINDOW;
    e->inside_piece = false;
    e->block_len = 0;
    col_str_clear(&e->pending);
}

col_status col_encoder_feed(col_encoder *e, const void *bytes, size_t size)
{
    if (e->tokenizer->bytes_only) return encode_bytes(e, bytes, size);
    const unsigned char *from = bytes;
    while (size) {
        size_t take = COL_MIN(size, (size_t)WINDOW);
        if (e->pending.len + take > LARGEST_WINDOW) {
            return col_error_make(
                COL_BAD_INPUT,
                "a text has more than %d MiB without a place where it can be cut (white space "
                "after another character); break it into lines",
                LARGEST_WINDOW >> 20);
        }
        col_str_append_bytes(&e->pending, from, take);
        from += take;
        size -= take;
        if (e->pending.len < e->enough) continue;
        const unsigned char *text = (const unsigned char *)e->pending.data;
        size_t cut = e->tokenizer->needs_whole_text ? 0 : find_cut(text, e->pending.len);
        if (!cut) {
            /* Doubling keeps the searches for a cut linear in all. */
            e->enough = 2 * e->pending.len;
            continue;
        }
        COL_TRY(encode_window(e, text, cut));
        e->pending.len -= cut;
        memmove(e->pending.data, e->pending.data + cut, e->pending.len);
        e->enough = WINDOW;
    }
    return NULL;
}

col_status col_encoder_finish(col_encoder *e)
{
    if (e->pending.len) {
        COL_TRY(encode_window(e, (const unsigned char *)e->pending.data, e->pending.len));
        col_str_clear(&e->pending);
    }
    return flush(e);
}

typedef struct collected {
    col_arena *arena;
    COL_VEC(int32_t) ids;
} collected;

static col_status collect(void *context, const int32_t *ids, size_t count)
{
    collected *c = context;
    for (size_t i = 0; i < count; i++) col_vec_push(c->arena, &c->ids, ids[i]);
    return NULL;
}

col_status col_encoder_encode(col_encoder *e, col_specials specials, const void *bytes, size_t size,
                              col_arena *arena, int32_t **out_ids, size_t *out_count)
{
    collected c = {.arena = arena};
    col_encoder_start(e, specials, collect, &c);
    COL_TRY(col_encoder_feed(e, bytes, size));
    COL_TRY(col_encoder_finish(e));
    *out_ids = c.ids.data;
    *out_count = c.ids.len;
    return NULL;
}
