/* Tokenizers on vocabularies made here: both formats, encoding against a direct transcription of the
 * definition, added tokens, cuts, and every kind of bad file. tests/parity compares with the reference. */
#include "tests/unit/unit.h"
#include "tests/unit/small_vocabulary.h"
#include "tests/unit/temporary_folder.h"
#include "runtime/text/bpe.h"

static void expect_ids(const col_tokenizer *tokenizer, col_specials specials, const char *text,
                       const int32_t *expected, size_t count)
{
    col_arena *arena = col_arena_create();
    col_encoder *encoder = col_encoder_create(tokenizer);
    for (int again = 0; again < 2; again++) { /* the second time from the cache */
        int32_t *ids = NULL;
        size_t got = 0;
        assert_ok(col_encoder_encode(encoder, specials, text, strlen(text), arena, &ids, &got));
        assert_int_equal(got, count);
        assert_memory_equal(ids, expected, count * sizeof *ids);
    }
    col_encoder_destroy(encoder);
    col_arena_destroy(arena);
}

#define EXPECT(tokenizer, specials, text, ...)                                                               \
    expect_ids(tokenizer, specials, text, (const int32_t[]){__VA_ARGS__},                                    \
               sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void test_bytes(void **state)
{
    (void)state;
    col_tokenizer *t = col_tokenizer_bytes();
    assert_int_equal(col_tokenizer_size(t), 257);
    assert_int_equal(col_tokenizer_end_of_text(t), 256);
    EXPECT(t, COL_SPECIALS_PARSED, "\xFF<|\xC3\xA9", 0xFF, '<', '|', 0xC3, 0xA9);
    col_str out = {0};
    assert_ok(col_tokenizer_decode(t, (const int32_t[]){0xFF, 256, 'a', 0}, 4, &out));
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.data, "\xFF\x61\x00", 3);
    assert_fails(col_tokenizer_decode(t, (const int32_t[]){'a', 257}, 2, &out), COL_BAD_INPUT,
                 "token 1 is 257");
    assert_fails(col_tokenizer_decode(t, (const int32_t[]){-1}, 1, &out), COL_BAD_INPUT, "token 0 is -1");
    col_str_fini(&out);
    col_tokenizer_destroy(t);
}

static void test_merges(void **state)
{
    (void)state;
    col_tokenizer *t = small_tokenizer();
    assert_int_equal(col_tokenizer_size(t), SMALL_SIZE);
    assert_int_equal(col_tokenizer_end_of_text(t), SMALL_END);
    EXPECT(t, COL_SPECIALS_AS_TEXT, "hello world", SMALL_HELLO, SMALL_WOR, 'l', 'd');
    EXPECT(t, COL_SPECIALS_AS_TEXT, "hellhe  worll", SMALL_HELL, SMALL_HE, ' ', SMALL_WOR, SMALL_LL);
    /* Letters, digits and the rest are words of their own; a contraction too. */
    EXPECT(t, COL_SPECIALS_AS_TEXT, "he1ll", SMALL_HE, '1', SMALL_LL);
    EXPECT(t, COL_SPECIALS_AS_TEXT, "he'llll", SMALL_HE, '\'', SMALL_LL, SMALL_LL);
    EXPECT(t, COL_SPECIALS_AS_TEXT,
           "h\xFF"
           "e",
           'h', 0xEF, 0xBF, 0xBD, 'e');
    EXPECT(t, COL_SPECIALS_PARSED, "he<|endoftext|>llo", SMALL_HE, SMALL_END, SMALL_LL, 'o');
    EXPECT(t, COL_SPECIALS_AS_TEXT, "<|e", '<', '|', 'e');
    col_arena *arena = col_arena_create();
    col_encoder *encoder = col_encoder_create(t);
    int32_t *ids = NULL;
    size_t count = 99;
    assert_ok(col_encoder_encode(encoder, COL_SPECIALS_PARSED, NULL, 0, arena, &ids, &count));
    assert_int_equal(count, 0);
    assert_ok(col_encoder_encode(encoder, COL_SPECIALS_AS_TEXT, "<|endoftext|>", 13, arena, &ids, &count));
    assert_int_equal(count, 13);
    col_encoder_destroy(encoder);
    col_arena_destroy(arena);
    col_tokenizer_destroy(t);
}

/* The definition, read literally: the lowest rank wins, then the leftmost. */
static size_t merge_directly(int32_t *ids, size_t count, const int32_t (*pairs)[2], size_t pair_count)
{
    for (;;) {
        size_t best = pair_count, where = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            for (size_t p = 0; p < best; p++) {
                if (ids[i] == pairs[p][0] && ids[i + 1] == pairs[p][1]) {
                    best = p;
                    where = i;
                }
            }
        }
        if (best == pair_count) return count;
        ids[where] = 256 + (int32_t)best;
        memmove(ids + where + 1, ids + where + 2, (count - where - 2) * sizeof *ids);
        count--;
    }
}

/* Random merge tables over three letters, in random order of rank, so that pairs of low rank may need tokens
 * of higher rank; random words. */
static void test_merging_against_definition(void **state)
{
    (void)state;
    enum { PAIRS = 40, WORD = 60, TABLES = 60 };
    srand(7);
    for (int table = 0; table < TABLES; table++) {
        char spelled[PAIRS][96], merged[PAIRS][64];
        const char *merges[PAIRS];
        int32_t pairs[PAIRS][2];
        size_t count = 0;
        for (int tries = 0; count < PAIRS && tries < 1000; tries++) {
            /* Pieces are letters or tokens already there; the merged spelling must be new. */
            char joined[200];
            const char *parts[2];
            int32_t ids[2];
            static const char *const letters[] = {"a", "b", "c"};
            for (int k = 0; k < 2; k++) {
                size_t pick = (size_t)rand() % (3 + count);
                parts[k] = pick < 3 ? letters[pick] : merged[pick - 3];
                ids[k] = pick < 3 ? letters[pick][0] : 256 + (int32_t)(pick - 3);
            }
            snprintf(joined, sizeof joined, "%s%s", parts[0], parts[1]);
            bool fresh = strlen(joined) <= 12;
            for (size_t i = 0; i < count; i++) fresh &= strcmp(joined, merged[i]) != 0;
            if (!fresh) continue;
            snprintf(merged[count], sizeof merged[count], "%.60s", joined);
            snprintf(spelled[count], sizeof spelled[count], "%.40s %.40s", parts[0], parts[1]);
            pairs[count][0] = ids[0];
            pairs[count][1] = ids[1];
            merges[count] = spelled[count];
            count++;
        }
        /* The vocabulary keeps the ids; the ranks are shuffled. */
        size_t order[PAIRS];
        for (size_t i = 0; i < count; i++) order[i] = i;
        for (size_t i = count; table % 2 && i > 1; i--) {
            size_t j = (size_t)rand() % i, swap = order[i - 1];
            order[i - 1] = order[j];
            order[j] = swap;
        }
        col_str vocab = {0}, text = {0};
        small_vocabulary(&vocab, merges, count);
        for (size_t i = 0; i < count; i++) col_str_printf(&text, "%s\n", merges[order[i]]);
        col_tokenizer *t = NULL;
        assert_ok(col_tokenizer_parse_bpe("v", vocab.data, vocab.len, "m", text.data, text.len, &t));
        col_encoder *encoder = col_encoder_create(t);
        col_arena *arena = col_arena_create();
        for (int round = 0; round < 50; round++) {
            char word[WORD];
            int32_t expected[WORD], *ids = NULL;
            size_t size = 1 + (size_t)rand() % WORD, got = 0;
            for (size_t i = 0; i < size; i++) expected[i] = word[i] = "abc"[rand() % 3];
            int32_t ranked[PAIRS][2];
            for (size_t i = 0; i < count; i++) memcpy(ranked[i], pairs[order[i]], sizeof ranked[i]);
            /* merge_directly numbers results by rank: translate on the way in and out. */
            int32_t id_of_rank[PAIRS], rank_of_id[PAIRS];
            for (size_t i = 0; i < count; i++) {
                id_of_rank[i] = 256 + (int32_t)order[i];
                rank_of_id[order[i]] = 256 + (int32_t)i;
            }
            for (size_t i = 0; i < count; i++) {
                for (int k = 0; k < 2; k++) {
                    if (ranked[i][k] >= 256) ranked[i][k] = rank_of_id[ranked[i][k] - 256];
                }
            }
            size_t n = merge_directly(expected, size, (const int32_t(*)[2])ranked, count);
            for (size_t i = 0; i < n; i++) {
                if (expected[i] >= 256) expected[i] = id_of_rank[expected[i] - 256];
            }
            assert_ok(col_encoder_encode(encoder, COL_SPECIALS_AS_TEXT, word, size, arena, &ids, &got));
            assert_int_equal(got, n);
            assert_memory_equal(ids, expected, n * sizeof *ids);
        }
        col_arena_destroy(arena);
        col_encoder_destroy(encoder);
        col_tokenizer_destroy(t);
        col_str_fini(&vocab);
        col_str_fini(&text);
    }
}

#define BYTE_LEVEL(options)                                                                                  \
    "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"trim_offsets\": true" options "}, "
#define NO_PREFIX ", \"add_prefix_space\": false"

static col_status parse_json(const char *options, const char *model_options, col_tokenizer **out)
{
    col_str json = {0};
    small_tokenizer_json(&json, small_pairs, COL_COUNT(small_pairs), options, model_options);
    col_status status = col_tokenizer_parse_json("tokenizer.json", json.data, json.len, out);
    col_str_fini(&json);
    return status;
}

static void test_tokenizer_json(void **state)
{
    (void)state;
    col_tokenizer *t = NULL;
    assert_ok(parse_json(BYTE_LEVEL(NO_PREFIX), "\"unk_token\": null, \"dropout\": null, ", &t));
    EXPECT(t, COL_SPECIALS_AS_TEXT, "hello world", SMALL_HELLO, SMALL_WOR, 'l', 'd');
    uint64_t plain = col_tokenizer_fingerprint(t);
    col_tokenizer_destroy(t);

    assert_ok(parse_json(BYTE_LEVEL(", \"add_prefix_space\": true"), "", &t));
    EXPECT(t, COL_SPECIALS_AS_TEXT, "world", SMALL_WOR, 'l', 'd');
    EXPECT(t, COL_SPECIALS_AS_TEXT, " world", SMALL_WOR, 'l', 'd');
    assert_int_not_equal(col_tokenizer_fingerprint(t), plain);
    col_tokenizer_destroy(t);

    assert_ok(parse_json(BYTE_LEVEL(NO_PREFIX ", \"use_regex\": false"), "", &t));
    EXPECT(t, COL_SPECIALS_AS_TEXT, "a  world", 'a', ' ', SMALL_WOR, 'l', 'd');
    col_tokenizer_destroy(t);

    assert_ok(parse_json(BYTE_LEVEL(NO_PREFIX), "\"ignore_merges\": true, ", &t));
    EXPECT(t, COL_SPECIALS_AS_TEXT, "or", SMALL_OR);
    col_tokenizer_destroy(t);

    /* Added tokens: those not normalized are cut out first, then the leftmost and longest. */
    assert_ok(parse_json("\"added_tokens\": [{\"id\": 300, \"content\": \"eo\", \"normalized\": true},"
                         "{\"id\": 301, \"content\": \"ell\", \"normalized\": false},"
                         "{\"id\": 302, \"content\": \"hel\", \"normalized\": true},"
                         "{\"id\": 303, \"content\": \"a b\", \"special\": true}], " BYTE_LEVEL(NO_PREFIX),
                         "", &t));
    assert_int_equal(col_tokenizer_size(t), 304);
    EXPECT(t, COL_SPECIALS_PARSED, "hello", 'h', 301, 'o');
    EXPECT(t, COL_SPECIALS_PARSED, "helo heo", 302, 'o', ' ', 'h', 300);
    EXPECT(t, COL_SPECIALS_PARSED, "xa bx", 'x', 303, 'x');
    size_t size = 0;
    assert_null(col_tokenizer_token(t, 270, &size)); /* a hole */
    assert_memory_equal(col_tokenizer_token(t, 303, &size), "a b", 3);
    col_tokenizer_destroy(t);
}

static void test_tokenizer_json_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *options, *model_options, *message;
    } cases[] = {
        {"", "", "pre_tokenizer: 'null' is not supported; only ByteLevel is"},
        {"\"pre_tokenizer\": {\"type\": \"Metaspace\"}, ", "", "pre_tokenizer: 'Metaspace' is not supported"},
        {BYTE_LEVEL(", \"use_regex\": 1"), "", "pre_tokenizer.use_regex: true or false"},
        {BYTE_LEVEL("") "\"normalizer\": {\"type\": \"NFC\"}, ", "", "normalizer: 'NFC' is not supported"},
        {BYTE_LEVEL("") "\"post_processor\": {\"type\": \"TemplateProcessing\"}, ", "",
         "post_processor: 'TemplateProcessing'"},
        {BYTE_LEVEL("") "\"decoder\": {\"type\": \"WordPiece\"}, ", "", "decoder: 'WordPiece'"},
        {BYTE_LEVEL("") "\"truncation\": {\"max_length\": 3}, ", "", "truncation: 'an object'"},
        {BYTE_LEVEL(""), "\"unk_token\": \"<unk>\", ", "model.unk_token: this option"},
        {BYTE_LEVEL(""), "\"byte_fallback\": true, ", "model.byte_fallback: this option"},
        {BYTE_LEVEL(""), "\"surprise\": null, ", "model.surprise: this option"},
        {BYTE_LEVEL("") "\"added_tokens\": [{\"id\": 1, \"content\": \"zz\"}], ", "",
         "the added token \"zz\" takes the id 1, which another token has"},
        {BYTE_LEVEL("") "\"added_tokens\": [{\"id\": 1, \"content\": \"he\"}], ", "",
         "added_tokens[0]: token \"he\" has the id 1 here but 256 in the vocabulary"},
        {BYTE_LEVEL("") "\"added_tokens\": [{\"id\": 300, \"content\": \"\"}], ", "", "the token is empty"},
        {BYTE_LEVEL("") "\"added_tokens\": [{\"id\": 300, \"content\": \"x\", \"lstrip\": true}], ", "",
         "added_tokens[0].lstrip: true is not supported"},
        {BYTE_LEVEL("") "\"added_tokens\": [{\"id\": 1e3, \"content\": \"x\"}], ", "", "an integer `id`"},
        {BYTE_LEVEL("") "\"added_tokens\": [{\"id\": 4194304, \"content\": \"x\"}], ", "", "ids run from 0"},
        {BYTE_LEVEL("") BYTE_LEVEL(""), "", "error: not JSON: duplicate object key"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_tokenizer *t = NULL;
        assert_fails(parse_json(cases[i].options, cases[i].model_options, &t), COL_BAD_INPUT,
                     cases[i].message);
    }
    static const struct {
        const char *text, *message;
    } texts[] = {
        {"", "tokenizer.json:1:1: error: not JSON"},
        {"{\"a\":\n 1,}", "tokenizer.json:2:4: error: not JSON"},
        {"[1]", "no object `model`"},
        {"{\"a\": 1}", "no object `model`"},
        {"{\"model\": {\"type\": \"WordPiece\"}}", "model: 'WordPiece' is not supported; only BPE is"},
    };
    for (size_t i = 0; i < COL_COUNT(texts); i++) {
        col_tokenizer *t = NULL;
        assert_fails(col_tokenizer_parse_json("tokenizer.json", texts[i].text, strlen(texts[i].text), &t),
                     COL_BAD_INPUT, texts[i].message);
    }
}

static void expect_bad_bpe(const char *vocab, const char *merges, const char *message)
{
    col_tokenizer *t = NULL;
    assert_fails(
        col_tokenizer_parse_bpe("vocab.json", vocab, strlen(vocab), "merges.txt", merges, strlen(merges), &t),
        COL_BAD_INPUT, message);
}

static void test_bad_vocabulary(void **state)
{
    (void)state;
    col_str vocab = {0}, merges = {0};
    small_vocabulary(&vocab, small_pairs, COL_COUNT(small_pairs));
    small_merges(&merges, small_pairs, COL_COUNT(small_pairs));
    expect_bad_bpe("", merges.data, "vocab.json:1:1: error: not JSON");
    expect_bad_bpe("[]", merges.data, "but this is an array");
    expect_bad_bpe("{}", merges.data, "but this is an empty one");
    expect_bad_bpe("{\"a\": \"0\"}", "", "vocab.json: the id of token \"a\" is a string");
    expect_bad_bpe("{\"a\": -1}", "", "vocab.json: token \"a\" has the id -1");
    expect_bad_bpe("{\"a\": 0, \"b\": 0}", "", "tokens \"a\" and \"b\" share the id 0");
    expect_bad_bpe("{\"a\": 0, \"a\": 1}", "", "duplicate object key");
    expect_bad_bpe("{\"a\": 0}", "", "no token \"\xC4\x80\" for the byte 0x00");
    expect_bad_bpe("{\"a\": 0, \"b\": 2}", "",
                   "vocab.json: token \"b\" has the id 2, but there are only 2 tokens");
    expect_bad_bpe(vocab.data, "", "merges.txt: no merge makes the token \"he\" (id 256)");
    expect_bad_bpe(vocab.data, "h e\nll\n", "merges.txt:2: a merge is two tokens");
    expect_bad_bpe(vocab.data, "h e\n\nl l\n", "merges.txt:2: a merge is two tokens");
    expect_bad_bpe(vocab.data, "h e l\n", "merges.txt:1: a merge is two tokens");
    expect_bad_bpe(vocab.data, "h e\nhe z\n",
                   "merges.txt:2: the merged token \"hez\" is not in the vocabulary");
    expect_bad_bpe(vocab.data, "q\x01 e\n",
                   "merges.txt:1: the left part \"q\\x01\" is not in the vocabulary");
    /* Cut short anywhere: never accepted, except before the last newline. */
    for (size_t size = 0; size + 1 < merges.len; size++) {
        col_tokenizer *t = NULL;
        assert_fails(
            col_tokenizer_parse_bpe("vocab.json", vocab.data, vocab.len, "merges.txt", merges.data, size, &t),
            COL_BAD_INPUT, "merges.txt");
    }
    for (size_t size = 0; size < vocab.len; size += 7) {
        col_tokenizer *t = NULL;
        assert_fails(col_tokenizer_parse_bpe("vocab.json", vocab.data, size, "merges.txt", merges.data,
                                             merges.len, &t),
                     COL_BAD_INPUT, "vocab.json");
    }
    col_str_fini(&vocab);
    col_str_fini(&merges);
}

typedef struct gathered {
    int32_t *ids;
    size_t count;
} gathered;

static col_status gather(void *context, const int32_t *ids, size_t count)
{
    gathered *g = context;
    memcpy(g->ids + g->count, ids, count * sizeof *ids);
    g->count += count;
    return NULL;
}

/* A text of several windows gives the same ids whole, in pieces, and by its lines: nothing depends on where
 * the encoder cuts. */
static void test_windows(void **state)
{
    (void)state;
    static const char *const words[] = {"hello",         " world",       "  ",  "\n",       "\xE3\x80\x80",
                                        "\xFF",          "he'll",        " 12", "\xC2\xA0", " \n",
                                        "<|endoftext|>", "\xE4\xB8\xAD", "\t",  "llllll"};
    enum { TEXT = 3 << 20 };
    col_tokenizer *tokenizers[] = {small_tokenizer(), NULL};
    assert_ok(parse_json(BYTE_LEVEL(", \"add_prefix_space\": true"), "", &tokenizers[1]));
    col_str text = {0};
    srand(3);
    while (text.len < TEXT) col_str_append(&text, words[(size_t)rand() % COL_COUNT(words)]);
    for (size_t k = 0; k < COL_COUNT(tokenizers); k++) {
        col_encoder *encoder = col_encoder_create(tokenizers[k]);
        gathered whole = {.ids = malloc(4 * sizeof(int32_t) * text.len)};
        gathered pieces = {.ids = malloc(4 * sizeof(int32_t) * text.len)};
        col_encoder_start(encoder, COL_SPECIALS_PARSED, gather, &whole);
        assert_ok(col_encoder_feed(encoder, text.data, text.len));
        assert_ok(col_encoder_finish(encoder));
        col_encoder_start(encoder, COL_SPECIALS_PARSED, gather, &pieces);
        for (size_t at = 0; at < text.len;) {
            size_t size = 1 + (size_t)rand() % 100000;
            size = COL_MIN(size, text.len - at);
            assert_ok(col_encoder_feed(encoder, text.data + at, size));
            at += size;
        }
        assert_ok(col_encoder_finish(encoder));
        assert_int_equal(whole.count, pieces.count);
        assert_memory_equal(whole.ids, pieces.ids, whole.count * sizeof(int32_t));
        if (k == 0) { /* and it decodes to the text, its ill-formed bytes replaced */
            col_str decoded = {0}, clean = {0};
            assert_ok(col_tokenizer_decode(tokenizers[k], whole.ids, whole.count, &decoded));
            for (size_t i = 0; i < text.len; i++) {
                bool bad = text.data[i] == '\xFF';
                col_str_append_bytes(&clean, bad ? "\xEF\xBF\xBD" : &text.data[i], bad ? 3 : 1);
            }
            assert_int_equal(decoded.len, clean.len);
            assert_memory_equal(decoded.data, clean.data, clean.len);
            col_str_fini(&decoded);
            col_str_fini(&clean);
        }
        free(whole.ids);
        free(pieces.ids);
        col_encoder_destroy(encoder);
        col_tokenizer_destroy(tokenizers[k]);
    }
    col_str_fini(&text);
}

/* A megabyte of one kind of character is one word: no stack, no quadratic time; with the regex compiled and,
 * as where no machine code may be made, interpreted. */
static void test_long_runs(void **state)
{
    (void)state;
    static const char *const units[] = {"h", "l", " ", "\n", "7", "-", "\xFF", "\xE4\xB8\xAD", "\xC2\xA0"};
    col_tokenizer *t = small_tokenizer();
    col_encoder *encoder = col_encoder_create(t);
    bool has_jit = t->pattern_is_jit;
    for (size_t u = 0; u < 2 * COL_COUNT(units); u++) {
        const char *unit = units[u / 2];
        t->pattern_is_jit = has_jit && u % 2 == 0;
        col_arena *arena = col_arena_create();
        col_str text = {0};
        for (size_t i = 0; i < 1 << 20; i++) col_str_append(&text, unit);
        col_str_append(&text, "q");
        int32_t *ids = NULL;
        size_t count = 0;
        assert_ok(col_encoder_encode(encoder, COL_SPECIALS_PARSED, text.data, text.len, arena, &ids, &count));
        size_t per_unit = unit[0] == '\xFF' ? 3 : strlen(unit);
        assert_int_equal(count, 1 + (unit[0] == 'l' ? 1 << 19 : per_unit << 20));
        col_str_fini(&text);
        col_arena_destroy(arena);
    }
    col_encoder_destroy(encoder);
    col_tokenizer_destroy(t);
}

static col_status failing_sink(void *context, const int32_t *ids, size_t count)
{
    (void)context, (void)ids, (void)count;
    return col_error_make(COL_DEVICE, "the sink is full");
}

static void test_sink_error(void **state)
{
    (void)state;
    col_tokenizer *t = col_tokenizer_bytes();
    col_encoder *encoder = col_encoder_create(t);
    col_encoder_start(encoder, COL_SPECIALS_PARSED, failing_sink, NULL);
    assert_ok(col_encoder_feed(encoder, "abc", 3));
    assert_fails(col_encoder_finish(encoder), COL_DEVICE, "the sink is full");
    col_encoder_destroy(encoder);
    col_tokenizer_destroy(t);
}

static void test_load(void **state)
{
    folder *f = *state;
    col_tokenizer *t = NULL;
    assert_fails(col_tokenizer_load(folder_file(f, "absent"), &t), COL_BAD_INPUT,
                 "cannot open the tokenizer");
    assert_fails(col_tokenizer_load(f->path, &t), COL_BAD_INPUT, "holds no tokenizer");
    col_str vocab = {0}, merges = {0}, json = {0};
    small_vocabulary(&vocab, small_pairs, COL_COUNT(small_pairs));
    small_merges(&merges, small_pairs, COL_COUNT(small_pairs));
    assert_ok(col_file_write(folder_file(f, "vocab.json"), vocab.data, vocab.len));
    assert_fails(col_tokenizer_load(f->path, &t), COL_BAD_INPUT, "needs both vocab.json and merges.txt");
    assert_ok(col_file_write(folder_file(f, "merges.txt"), merges.data, merges.len));
    assert_ok(col_tokenizer_load(f->path, &t));
    uint64_t fingerprint = col_tokenizer_fingerprint(t);
    col_tokenizer_destroy(t);
    t = small_tokenizer();
    assert_int_equal(col_tokenizer_fingerprint(t), fingerprint);
    col_tokenizer_destroy(t);
    assert_fails(col_tokenizer_load(folder_file(f, "vocab.json"), &t), COL_BAD_INPUT, "give the folder");
    small_tokenizer_json(&json, small_pairs, COL_COUNT(small_pairs),
                         BYTE_LEVEL(NO_PREFIX) "\"added_tokens\": [{\"id\": 300, \"content\": \"xyz\"}], ",
                         "");
    assert_ok(col_file_write(folder_file(f, "tokenizer.json"), json.data, json.len));
    assert_ok(col_tokenizer_load(f->path, &t)); /* tokenizer.json says more, so it comes first */
    assert_int_equal(col_tokenizer_size(t), 301);
    col_tokenizer_destroy(t);
    col_str_fini(&vocab);
    col_str_fini(&merges);
    col_str_fini(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_merges),
        cmocka_unit_test(test_merging_against_definition),
        cmocka_unit_test(test_tokenizer_json),
        cmocka_unit_test(test_tokenizer_json_refusals),
        cmocka_unit_test(test_bad_vocabulary),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_sink_error),
        FOLDER_TEST(test_load),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
