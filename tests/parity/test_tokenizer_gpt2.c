/* GPT-2's tokenizer against the reference: 1 MB of prose, code, the world's scripts, emoji, control
 * characters, ill-formed UTF-8 and long runs (tokenizer_golden.h, made by make_tokenizer_golden.py), and
 * published ids.
 *
 * Needs gpt2/vocab.json and gpt2/merges.txt under $COL_TEST_DATA, or under ../shared/data; skipped without.
  */
#include "tests/unit/unit.h"
#include "runtime/data/sampler.h"
#include "runtime/text/tokenizer.h"
#include "ir/base/file.h"
#include "tests/parity/tokenizer_golden.h"

static void make_text(size_t which, col_str *out)
{
    size_t pool[256], pool_size = 0;
    uint64_t drawn = 0, key = col_mix64(texts[which].seed);
    for (size_t g = 0; g < GROUPS; g++) {
        for (int k = 0; k < texts[which].weights[g]; k++) pool[pool_size++] = g;
    }
    while (out->len < texts[which].size) {
        size_t group = pool[col_mix64(key ^ ++drawn) % pool_size];
        const fragment *f = &groups[group].fragments[col_mix64(key ^ ++drawn) % groups[group].count];
        size_t times = group == RUN_GROUP ? 1 + col_mix64(key ^ ++drawn) % texts[which].longest_run : 1;
        for (size_t i = 0; i < times; i++) col_str_append_bytes(out, f->bytes, f->size);
    }
}

static void check_texts(const col_tokenizer *tokenizer)
{
    col_encoder *encoder = col_encoder_create(tokenizer);
    for (size_t k = 0; k < COL_COUNT(texts); k++) {
        col_arena *arena = col_arena_create();
        col_str text = {0};
        int32_t *ids = NULL;
        size_t count = 0;
        make_text(k, &text);
        assert_int_equal(text.len, texts[k].bytes);
        assert_ok(
            col_encoder_encode(encoder, COL_SPECIALS_AS_TEXT, text.data, text.len, arena, &ids, &count));
        print_message("%s: %zu bytes, %zu ids\n", texts[k].name, text.len, count);
        for (int i = 0; i < FIRST_IDS; i++) assert_int_equal(ids[i], texts[k].first[i]);
        assert_int_equal(count, texts[k].count);
        uint64_t hash = 0;
        for (size_t i = 0; i < count; i++) hash = col_mix64(hash ^ (uint64_t)ids[i]);
        assert_true(hash == texts[k].hash);
        col_str_fini(&text);
        col_arena_destroy(arena);
    }
    col_encoder_destroy(encoder);
}

/* The examples of GPT-2's documentation and of Hugging Face's. */
static void check_published(const col_tokenizer *tokenizer)
{
    static const struct {
        const char *text;
        int32_t ids[8];
        size_t count;
    } cases[] = {
        {"Hello world", {15496, 995}, 2},
        {" Hello world", {18435, 995}, 2},
        {"Hello, my dog is cute", {15496, 11, 616, 3290, 318, 13779}, 6},
        {"<|endoftext|>", {50256}, 1},
    };
    col_arena *arena = col_arena_create();
    col_encoder *encoder = col_encoder_create(tokenizer);
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        int32_t *ids = NULL;
        size_t count = 0;
        assert_ok(col_encoder_encode(encoder, COL_SPECIALS_PARSED, cases[i].text, strlen(cases[i].text),
                                     arena, &ids, &count));
        assert_int_equal(count, cases[i].count);
        assert_memory_equal(ids, cases[i].ids, count * sizeof *ids);
        col_str back = {0};
        assert_ok(col_tokenizer_decode(tokenizer, ids, count, &back));
        assert_string_equal(back.data, cases[i].text);
        col_str_fini(&back);
    }
    assert_int_equal(col_tokenizer_size(tokenizer), 50257);
    assert_int_equal(col_tokenizer_end_of_text(tokenizer), 50256);
    col_encoder_destroy(encoder);
    col_arena_destroy(arena);
}

static const char *folder;

static void test_vocab_and_merges(void **state)
{
    (void)state;
    col_tokenizer *t = NULL;
    assert_ok(col_tokenizer_load(folder, &t));
    check_published(t);
    check_texts(t);
    col_tokenizer_destroy(t);
}

/* nanoGPT's README: of its Shakespeare the first nine tenths of the characters are 301,966 tokens, the rest
 * 36,059. */
static void test_shakespeare(void **state)
{
    (void)state;
    char path[4096], *text = NULL;
    size_t size = 0, count = 0;
    snprintf(path, sizeof path, "%s/../shakespeare/input.txt", folder);
    if (!col_file_exists(path)) skip();
    col_arena *arena = col_arena_create();
    assert_ok(col_file_read(arena, path, 0, &text, &size));
    col_tokenizer *t = NULL;
    assert_ok(col_tokenizer_load(folder, &t));
    col_encoder *encoder = col_encoder_create(t);
    size_t cut = size * 9 / 10;
    int32_t *ids = NULL;
    assert_ok(col_encoder_encode(encoder, COL_SPECIALS_AS_TEXT, text, cut, arena, &ids, &count));
    assert_int_equal(count, 301966);
    assert_ok(col_encoder_encode(encoder, COL_SPECIALS_AS_TEXT, text + cut, size - cut, arena, &ids, &count));
    assert_int_equal(count, 36059);
    col_encoder_destroy(encoder);
    col_tokenizer_destroy(t);
    col_arena_destroy(arena);
}

/* The same vocabulary, written as a tokenizer.json here. */
static void test_tokenizer_json(void **state)
{
    (void)state;
    char path[4096], *vocab = NULL, *merges = NULL;
    size_t vocab_size = 0, merges_size = 0;
    col_arena *arena = col_arena_create();
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    assert_ok(col_file_read(arena, path, 0, &vocab, &vocab_size));
    snprintf(path, sizeof path, "%s/merges.txt", folder);
    assert_ok(col_file_read(arena, path, 0, &merges, &merges_size));
    col_str json = {0};
    col_str_append(
        &json,
        "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [{\"id\": 50256, "
        "\"special\": true, \"content\": \"<|endoftext|>\", \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": true}], \"normalizer\": null, \"pre_tokenizer\": {\"type\": "
        "\"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true}, \"post_processor\": "
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": false}, \"decoder\": "
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true}, \"model\": "
        "{\"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": \"\", "
        "\"end_of_word_suffix\": \"\", \"fuse_unk\": false, \"vocab\": ");
    col_str_append_bytes(&json, vocab, vocab_size);
    col_str_append(&json, ", \"merges\": [");
    bool first = true;
    for (char *line = strtok(merges, "\n"); line; line = strtok(NULL, "\n")) {
        if (!strncmp(line, "#version", 8)) continue;
        col_str_append(&json, first ? "\"" : ",\"");
        first = false;
        for (; *line; line++) col_str_printf(&json, strchr("\"\\", *line) ? "\\%c" : "%c", *line);
        col_str_append(&json, "\"");
    }
    col_str_append(&json, "]}}");
    col_tokenizer *t = NULL;
    assert_ok(col_tokenizer_parse_json("tokenizer.json", json.data, json.len, &t));
    check_published(t);
    check_texts(t);
    col_tokenizer_destroy(t);
    col_str_fini(&json);
    col_arena_destroy(arena);
}

int main(void)
{
    static char path[4096];
    const char *data = getenv("COL_TEST_DATA");
    snprintf(path, sizeof path, "%s/gpt2", data ? data : "../shared/data");
    folder = path;
    if (!col_file_exists(path)) {
        printf("skipped: no GPT-2 vocabulary in '%s'; set COL_TEST_DATA\n", path);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocab_and_merges),
        cmocka_unit_test(test_shakespeare),
        cmocka_unit_test(test_tokenizer_json),
    };
    return cmocka_run_group_tests_name("tokenizer_gpt2", tests, NULL, NULL);
}
