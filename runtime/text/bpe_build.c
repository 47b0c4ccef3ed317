/* From the parts of a vocabulary, whichever file they came from, to a checked tokenizer. */
#include "runtime/text/bpe.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/text/utf8.h"

/* No vocabulary in use has a tenth of this; a table by id stays small even if a file names a wild id. */
enum { MOST_IDS = 1 << 22 };

typedef struct vocab_entry {
    int32_t id;
    bool merged;   /* some merge makes it */
    bool is_bytes; /* spelled in the byte-level alphabet */
    size_t size;   /* bytes that it stands for */
    const unsigned char *bytes;
} vocab_entry;

void bpe_builder_init(bpe_builder *builder)
{
    *builder = (bpe_builder){.scratch = col_arena_create(), .use_regex = true};
    builder->ids = col_map_create(builder->scratch);
    builder->special_ids = col_map_create(builder->scratch);
}

void bpe_builder_fini(bpe_builder *builder)
{
    col_arena_destroy(builder->scratch);
}

static col_status check_id(const char *place, const char *text, size_t size, int64_t id)
{
    if (id >= 0 && id < MOST_IDS) return NULL;
    char quoted[COL_QUOTE_SIZE];
    return col_error_make(COL_BAD_INPUT, "%s: token \"%s\" has the id %lld; ids run from 0 to %d", place,
                          col_text_quote(quoted, text, size), (long long)id, MOST_IDS - 1);
}

col_status bpe_builder_add_token(bpe_builder *builder, const char *place, const char *text, size_t size,
                                 int64_t id)
{
    COL_TRY(check_id(place, text, size, id));
    vocab_entry *e = COL_NEW(builder->scratch, vocab_entry);
    unsigned char *bytes = col_arena_alloc(builder->scratch, size);
    e->id = (int32_t)id;
    e->is_bytes = bpe_spelling_read(text, size, bytes, &e->size);
    if (!e->is_bytes) {
        /* Only an added token can be spelled outside the alphabet; it stands for itself. */
        if (size) memcpy(bytes, text, size);
        e->size = size;
    }
    e->bytes = bytes;
    if (col_map_set_bytes(builder->ids, text, size, e)) {
        char quoted[COL_QUOTE_SIZE];
        return col_error_make(COL_BAD_INPUT, "%s: token \"%s\" is listed twice; remove one", place,
                              col_text_quote(quoted, text, size));
    }
    return NULL;
}

static col_status find_token(const bpe_builder *builder, const char *place, const char *what,
                             const char *text, size_t size, vocab_entry **out_entry)
{
    *out_entry = col_map_get_bytes(builder->ids, text, size);
    if (*out_entry) return NULL;
    char quoted[COL_QUOTE_SIZE];
    return col_error_make(COL_BAD_INPUT,
                          "%s: %s \"%s\" is not in the vocabulary; the merges and the vocabulary must come "
                          "from the same tokenizer, undamaged",
                          place, what, col_text_quote(quoted, text, size));
}

col_status bpe_builder_add_merge(bpe_builder *builder, const char *place, const char *left, size_t left_size,
                                 const char *right, size_t right_size)
{
    vocab_entry *a, *b, *ab;
    COL_TRY(find_token(builder, place, "the left part", left, left_size, &a));
    COL_TRY(find_token(builder, place, "the right part", right, right_size, &b));
    char short_text[256], *joined = short_text;
    size_t size = left_size + right_size;
    if (size > sizeof short_text) joined = col_arena_alloc(builder->scratch, size);
    if (left_size) memcpy(joined, left, left_size);
    if (right_size) memcpy(joined + left_size, right, right_size);
    COL_TRY(find_token(builder, place, "the merged token", joined, size, &ab));
    ab->merged = true;
    merge m = {(uint64_t)(uint32_t)a->id << 32 | (uint32_t)b->id, (uint32_t)builder->merges.len, ab->id};
    col_vec_push(builder->scratch, &builder->merges, m);
    return NULL;
}

col_status bpe_builder_add_special(bpe_builder *builder, const char *place, const char *text, size_t size,
                                   int64_t id, bool normalized)
{
    char quoted[COL_QUOTE_SIZE];
    COL_TRY(check_id(place, text, size, id));
    if (!size) return col_error_make(COL_BAD_INPUT, "%s: the token is empty; remove it", place);
    const vocab_entry *e = col_map_get_bytes(builder->ids, text, size);
    if (e && e->id != id) {
        return col_error_make(
            COL_BAD_INPUT, "%s: token \"%s\" has the id %lld here but %d in the vocabulary; make them equal",
            place, col_text_quote(quoted, text, size), (long long)id, e->id);
    }
    if (col_map_set_bytes(builder->special_ids, text, size, (void *)((uintptr_t)id + 1))) {
        return col_error_make(COL_BAD_INPUT, "%s: token \"%s\" is listed twice; remove one", place,
                              col_text_quote(quoted, text, size));
    }
    special s = {col_arena_copy(builder->scratch, text, size), (uint32_t)size, (int32_t)id, normalized};
    col_vec_push(builder->scratch, &builder->specials, s);
    return NULL;
}

/* "</s>" first: the vocabularies that have it, such as OPT's, were made from GPT-2's and may have kept the
 * other, unused. */
static const char *const end_of_text_names[] = {"</s>", "<|endoftext|>"};

static int32_t find_end_of_text(const bpe_builder *builder)
{
    for (size_t n = 0; n < COL_COUNT(end_of_text_names); n++) {
        const vocab_entry *e = col_map_get(builder->ids, end_of_text_names[n]);
        if (e) return e->id;
        uintptr_t added = (uintptr_t)col_map_get(builder->special_ids, end_of_text_names[n]);
        if (added) return (int32_t)(added - 1);
    }
    return -1;
}

col_status bpe_builder_add_end_of_text(bpe_builder *builder, const char *place)
{
    for (size_t n = 0; n < COL_COUNT(end_of_text_names); n++) {
        const char *text = end_of_text_names[n];
        const vocab_entry *e = col_map_get(builder->ids, text);
        if (e) return bpe_builder_add_special(builder, place, text, strlen(text), e->id, false);
    }
    return NULL;
}

static bool is_mark(const char *text, size_t size)
{
    static const char padding[] = "madeupword";
    if (size >= 2 && text[0] == '<' && text[size - 1] == '>') return true;
    return size > sizeof padding - 1 && !memcmp(text, padding, sizeof padding - 1);
}

col_status bpe_builder_check_complete(const bpe_builder *builder, const char *vocab_name,
                                      const char *merges_name)
{
    char quoted[COL_QUOTE_SIZE];
    const col_map_entry *last = NULL;
    for (size_t i = 0; i < builder->ids->len; i++) {
        const col_map_entry *at = &builder->ids->entries[i];
        const vocab_entry *e = at->value;
        if (!last || e->id > ((const vocab_entry *)last->value)->id) last = at;
        if (e->merged || (e->is_bytes && e->size == 1) || is_mark(at->key, at->key_size)) continue;
        return col_error_make(COL_BAD_INPUT,
                              "%s: no merge makes the token \"%s\" (id %d) of %s; the file is cut short or "
                              "belongs to another vocabulary: copy both files again",
                              merges_name, col_text_quote(quoted, at->key, at->key_size), e->id, vocab_name);
    }
    int32_t largest = last ? ((const vocab_entry *)last->value)->id : -1;
    if (largest < (int64_t)builder->ids->len) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "%s: token \"%s\" has the id %d, but there are only %zu tokens, which have the ids from 0 "
        "on; the file is damaged: copy it again",
        vocab_name, col_text_quote(quoted, last->key, last->key_size), largest, builder->ids->len);
}

/* tokens[] by id, and byte_ids[]. */
static col_status place_tokens(const bpe_builder *builder, const char *vocab_place, col_tokenizer *t)
{
    char quoted[COL_QUOTE_SIZE];
    const col_map *ids = builder->ids;
    for (size_t i = 0; i < ids->len; i++) {
        t->size = COL_MAX(t->size, ((const vocab_entry *)ids->entries[i].value)->id + 1);
    }
    for (size_t i = 0; i < builder->specials.len; i++) {
        t->size = COL_MAX(t->size, builder->specials.data[i].id + 1);
    }
    t->tokens = COL_NEW_ARRAY(t->arena, token, t->size);
    const char **owners = COL_NEW_ARRAY(builder->scratch, const char *, t->size);
    for (size_t i = 0; i < ids->len; i++) {
        const col_map_entry *at = &ids->entries[i];
        const vocab_entry *e = at->value;
        if (owners[e->id]) {
            char other[COL_QUOTE_SIZE];
            return col_error_make(COL_BAD_INPUT,
                                  "%s: tokens \"%s\" and \"%s\" share the id %d; each needs its own",
                                  vocab_place, col_text_quote(other, owners[e->id], strlen(owners[e->id])),
                                  col_text_quote(quoted, at->key, at->key_size), e->id);
        }
        owners[e->id] = at->key;
        t->tokens[e->id] = (token){col_arena_copy(t->arena, e->bytes, e->size), (uint32_t)e->size};
    }
    for (size_t i = 0; i < builder->specials.len; i++) {
        const special *s = &builder->specials.data[i];
        /* One that the vocabulary has too keeps the bytes of that spelling, since merges may make it. */
        if (col_map_get_bytes(ids, s->bytes, s->size)) continue;
        if (t->tokens[s->id].bytes) {
            return col_error_make(COL_BAD_INPUT,
                                  "%s: the added token \"%s\" takes the id %d, which another token has; give "
                                  "it a free one",
                                  vocab_place, col_text_quote(quoted, s->bytes, s->size), s->id);
        }
        t->tokens[s->id] = (token){col_arena_copy(t->arena, s->bytes, s->size), s->size};
    }
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        bpe_spelling_of_byte((unsigned char)byte, text);
        const vocab_entry *e = col_map_get(ids, text);
        if (!e) {
            return col_error_make(
                COL_BAD_INPUT,
                "%s: no token \"%s\" for the byte 0x%02X; a byte-level vocabulary has one for "
                "each of the 256, or some texts would be lost",
                vocab_place, text, byte);
        }
        t->byte_ids[byte] = e->id;
    }
    return NULL;
}

static void place_merges(const bpe_builder *builder, col_tokenizer *t)
{
    size_t slots = 16;
    while (slots < 2 * builder->merges.len) slots *= 2;
    t->merge_mask = slots - 1;
    t->merges = COL_NEW_ARRAY(t->arena, merge, slots);
    for (size_t i = 0; i < slots; i++) t->merges[i].rank = NO_RANK;
    for (size_t i = 0; i < builder->merges.len; i++) {
        merge m = builder->merges.data[i];
        size_t slot = (m.pair * 0x9E3779B97F4A7C15u) >> 32 & t->merge_mask;
        while (t->merges[slot].rank != NO_RANK && t->merges[slot].pair != m.pair) {
            slot = (slot + 1) & t->merge_mask;
        }
        t->merges[slot] = m; /* of a pair listed twice the last rank counts, as in the reference */
    }
}

static int compare_specials(const void *left, const void *right)
{
    const special *a = left, *b = right;
    if (a->pass != b->pass) return a->pass - b->pass;
    if (a->bytes[0] != b->bytes[0]) return a->bytes[0] - b->bytes[0];
    if (a->size != b->size) return a->size > b->size ? -1 : 1;
    return memcmp(a->bytes, b->bytes, a->size);
}

static void place_specials(const bpe_builder *builder, col_tokenizer *t)
{
    t->special_count = builder->specials.len;
    t->specials = COL_NEW_ARRAY(t->arena, special, t->special_count);
    for (size_t i = 0; i < t->special_count; i++) {
        t->specials[i] = builder->specials.data[i];
        t->specials[i].bytes = col_arena_copy(t->arena, t->specials[i].bytes, t->specials[i].size);
        for (uint32_t k = 0; k < t->specials[i].size; k++) {
            if (strchr(" \t\n\v\f\r", t->specials[i].bytes[k])) t->needs_whole_text = true;
        }
    }
    if (t->special_count) qsort(t->specials, t->special_count, sizeof *t->specials, compare_specials);
    uint32_t at = 0;
    for (int pass = 0; pass < SPECIAL_PASSES; pass++) {
        for (int byte = 0; byte <= 256; byte++) {
            while (at < t->special_count && t->specials[at].pass == pass && t->specials[at].bytes[0] < byte) {
                at++;
            }
            t->special_index[pass].first[byte] = at;
        }
    }
}

static void hash_bytes(XXH3_state_t *state, const void *bytes, uint32_t size)
{
    XXH3_64bits_update(state, &size, sizeof size);
    if (size) XXH3_64bits_update(state, bytes, size);
}

static uint64_t fingerprint(const bpe_builder *builder, const col_tokenizer *t)
{
    char unicode[64] = "";
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, unicode);
    XXH3_state_t *state = XXH3_createState();
    if (!state) COL_PANIC("out of memory");
    XXH3_64bits_reset(state);
    hash_bytes(state, "bpe 1", 5);
    hash_bytes(state, unicode, (uint32_t)strlen(unicode));
    int32_t head[] = {t->use_regex, t->add_prefix_space, t->whole_words != NULL, t->size, t->end_of_text};
    hash_bytes(state, head, sizeof head);
    for (int32_t id = 0; id < t->size; id++) hash_bytes(state, t->tokens[id].bytes, t->tokens[id].size);
    for (size_t i = 0; i < builder->merges.len; i++) {
        const merge *m = &builder->merges.data[i];
        XXH3_64bits_update(state, &m->pair, sizeof m->pair);
        XXH3_64bits_update(state, &m->id, sizeof m->id);
    }
    for (size_t i = 0; i < t->special_count; i++) {
        int32_t row[] = {t->specials[i].id, t->specials[i].pass};
        hash_bytes(state, row, sizeof row);
        hash_bytes(state, t->specials[i].bytes, t->specials[i].size);
    }
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

col_status bpe_builder_finish(bpe_builder *builder, const char *vocab_place, col_tokenizer **out_tokenizer)
{
    col_arena *arena = col_arena_create();
    col_tokenizer *t = COL_NEW(arena, col_tokenizer);
    t->arena = arena;
    t->use_regex = builder->use_regex;
    t->add_prefix_space = builder->add_prefix_space;
    t->needs_whole_text = !t->use_regex;
    col_status status = place_tokens(builder, vocab_place, t);
    if (!status && t->use_regex) status = bpe_compile_pattern(t);
    if (status) {
        col_tokenizer_destroy(t);
        return status;
    }
    place_merges(builder, t);
    place_specials(builder, t);
    if (builder->ignore_merges) {
        t->whole_words = col_map_create(arena);
        for (size_t i = 0; i < builder->ids->len; i++) {
            const vocab_entry *e = builder->ids->entries[i].value;
            if (e->is_bytes) {
                col_map_set_bytes(t->whole_words, e->bytes, e->size, (void *)((uintptr_t)e->id + 1));
            }
        }
    }
    t->end_of_text = find_end_of_text(builder);
    t->fingerprint = fingerprint(builder, t);
    *out_tokenizer = t;
    return NULL;
}
