/* Corpora of files: the formats, the life of the cache, and bad files. */
#include "tests/unit/unit.h"
#include "tests/unit/small_vocabulary.h"
#include "tests/unit/temporary_folder.h"
#include "runtime/data/source.h"

#include <fcntl.h>

/* Notices of one opening, each with a newline. */
typedef struct heard {
    col_str text;
} heard;

static void hear(void *context, const char *message)
{
    col_str_printf(&((heard *)context)->text, "%s\n", message);
}

/* Plain writing: col_file_write's sync costs more than all else here. */
static void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

static col_corpus *open_one(const char *path, const col_tokenizer *tokenizer, heard *notices)
{
    col_corpus_options options = {.tokenizer = tokenizer, .notice = hear, .context = notices};
    col_corpus *corpus = NULL;
    col_str_clear(&notices->text);
    assert_ok(col_corpus_open(&path, 1, &options, &corpus));
    return corpus;
}

static void expect_tokens(const col_corpus *corpus, const int32_t *expected, size_t count)
{
    int32_t got[256];
    assert_int_equal(col_corpus_tokens(corpus), count);
    col_corpus_read(corpus, 0, count, got);
    assert_memory_equal(got, expected, count * sizeof *got);
}

#define EXPECT(corpus, ...)                                                                                  \
    expect_tokens(corpus, (const int32_t[]){__VA_ARGS__},                                                    \
                  sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

/* Opens, compares, closes. */
#define EXPECT_FILE(path, tokenizer, notices, ...)                                                           \
    do {                                                                                                     \
        col_corpus *opened = open_one(path, tokenizer, notices);                                             \
        EXPECT(opened, __VA_ARGS__);                                                                         \
        col_corpus_close(opened);                                                                            \
    } while (0)

static char *cache_of(folder *f, const char *path, const col_tokenizer *tokenizer)
{
    return col_arena_printf(f->arena, "%s.colc-%016llx.tokens", path,
                            (unsigned long long)col_tokenizer_fingerprint(tokenizer));
}

static void test_plain_text(void **state)
{
    folder *f = *state;
    heard notices = {0};
    col_tokenizer *small = small_tokenizer(), *bytes = col_tokenizer_bytes();
    const char *path = folder_file(f, "a.txt");
    write_text(path, "hello<|endoftext|>\n");
    EXPECT_FILE(path, small, &notices, SMALL_HELLO, SMALL_END, '\n', SMALL_END);
    assert_non_null(strstr(notices.text.data, "4 tokens, kept in"));
    EXPECT_FILE(path, bytes, &notices, 'h', 'e', 'l', 'l', 'o', '<', '|', 'e', 'n', 'd', 'o', 'f', 't', 'e',
                'x', 't', '|', '>', '\n', 256);
    /* A cache for each tokenizer; both are used now, in silence. */
    assert_int_equal(folder_entries(f->path), 3);
    EXPECT_FILE(path, small, &notices, SMALL_HELLO, SMALL_END, '\n', SMALL_END);
    assert_string_equal(col_str_text(&notices.text), "");
    col_str_fini(&notices.text);
    col_tokenizer_destroy(small);
    col_tokenizer_destroy(bytes);
}

static void test_json_lines(void **state)
{
    folder *f = *state;
    heard notices = {0};
    col_tokenizer *small = small_tokenizer();
    const char *path = folder_file(f, "a.jsonl");
    write_text(path, "\xEF\xBB\xBF{\"text\": \"he\\u0000\", \"meta\": [1, {}]}\r\n\n  \t\n"
                     "{\"text\": \"\"}\n{\"text\": \"<|e\"}");
    EXPECT_FILE(path, small, &notices, SMALL_HE, 0, SMALL_END, SMALL_END, '<', '|', 'e', SMALL_END);
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"text\": \"a\"}\n{\"text\": \"b\"\n", "a.jsonl:2:"},
        {"{\"text\": \"a\"}\n\n[]\n", "a.jsonl:3:1: error: this line is an array"},
        {"{\"text\": 1}\n", "a.jsonl:1:1: error: `text` is an integer"},
        {"{\"txt\": \"a\"}\n", "a.jsonl:1:1: error: `text` is missing"},
        {"{\"text\": \"\xFF\"}\n", "a.jsonl:1:"},
        {"{\"text\": \"a\"} {\"text\": \"b\"}\n", "a.jsonl:1:"},
        {"{\n\"text\": \"a\"\n}\n", "a.jsonl:1:"},
        {"\n\n", "no document in it"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_corpus *corpus = NULL;
        col_corpus_options options = {.tokenizer = small};
        write_text(path, cases[i].text);
        assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, cases[i].message);
    }
    assert_int_equal(folder_entries(f->path), 2); /* no temporary is left; the cache of the good text stays */
    col_str_fini(&notices.text);
    col_tokenizer_destroy(small);
}

/* Lines and texts longer than a block of reading. */
static void test_large_files(void **state)
{
    folder *f = *state;
    heard notices = {0};
    enum { SIZE = 3 << 20 };
    col_tokenizer *bytes = col_tokenizer_bytes(), *small = small_tokenizer();
    const char *path = folder_file(f, "a.txt"), *lines = folder_file(f, "a.json");
    col_str text = {0}, json = {0};
    for (size_t i = 0; text.len < SIZE; i++) col_str_printf(&text, "%zu hello world\n", i);
    col_str_append(&json, "{\"text\": \"");
    for (size_t i = 0; i < SIZE; i++) col_str_append(&json, "x");
    col_str_append(&json, "\"}\n{\"text\": \"y\"}\n");
    write_text(path, text.data);
    write_text(lines, json.data);
    col_corpus *corpus = open_one(path, bytes, &notices);
    assert_int_equal(col_corpus_tokens(corpus), text.len + 1);
    int32_t *ids = malloc((text.len + 1) * sizeof *ids);
    col_corpus_read(corpus, 0, text.len + 1, ids);
    for (size_t i = 0; i < text.len; i++) assert_int_equal(ids[i], (unsigned char)text.data[i]);
    assert_int_equal(ids[text.len], 256);
    col_corpus_close(corpus);

    corpus = open_one(path, small, &notices);
    size_t count = col_corpus_tokens(corpus);
    col_corpus_read(corpus, 0, count, ids);
    col_str back = {0};
    assert_ok(col_tokenizer_decode(small, ids, count - 1, &back));
    assert_string_equal(back.data, text.data);
    col_corpus_close(corpus);

    corpus = open_one(lines, bytes, &notices);
    assert_int_equal(col_corpus_tokens(corpus), SIZE + 3);
    col_corpus_read(corpus, SIZE - 1, 4, ids);
    assert_memory_equal(ids, ((int32_t[]){'x', 256, 'y', 256}), 4 * sizeof *ids);
    col_corpus_close(corpus);
    free(ids);
    col_str_fini(&text);
    col_str_fini(&json);
    col_str_fini(&back);
    col_str_fini(&notices.text);
    col_tokenizer_destroy(bytes);
    col_tokenizer_destroy(small);
}

static void backdate(const char *path, time_t seconds)
{
    struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_cache_follows_source(void **state)
{
    folder *f = *state;
    heard notices = {0};
    col_tokenizer *bytes = col_tokenizer_bytes();
    const char *path = folder_file(f, "a.txt");
    write_text(path, "one");
    EXPECT_FILE(path, bytes, &notices, 'o', 'n', 'e', 256);
    /* The same size and, to the second and the tick, the same times: only the content tells. */
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    write_text(path, "two");
    backdate(path, info.st_mtim.tv_sec);
    EXPECT_FILE(path, bytes, &notices, 't', 'w', 'o', 256);
    assert_non_null(strstr(notices.text.data, "is of another state of the source; encoding"));
    /* Touched or copied, but the same: used. */
    backdate(path, 1000000000);
    EXPECT_FILE(path, bytes, &notices, 't', 'w', 'o', 256);
    assert_string_equal(col_str_text(&notices.text), "");
    write_text(path, "three");
    EXPECT_FILE(path, bytes, &notices, 't', 'h', 'r', 'e', 'e', 256);
    assert_non_null(strstr(notices.text.data, "is of another state of the source; encoding"));
    assert_int_equal(folder_entries(f->path), 2);
    col_str_fini(&notices.text);
    col_tokenizer_destroy(bytes);
}

/* Every byte of the cache, changed, and every cut of it, is found out; the file is made again. */
static void test_damaged_cache(void **state)
{
    folder *f = *state;
    heard notices = {0};
    col_tokenizer *bytes = col_tokenizer_bytes();
    const char *path = folder_file(f, "a.txt"), *cache = cache_of(f, path, bytes);
    write_text(path, "data");
    EXPECT_FILE(path, bytes, &notices, 'd', 'a', 't', 'a', 256);
    size_t size = 0;
    char *data = folder_read(f, cache, &size);
    assert_int_equal(size, 5 * 2 + sizeof(cache_record));
    cache_record record;
    id_array array;
    const unsigned char *given = (const unsigned char *)data;
    assert_null(cache_parse(given, size, TEXT_PLAIN, bytes, &record, &array));
    assert_non_null(cache_parse(given, size, TEXT_JSON_LINES, bytes, &record, &array));
    for (size_t i = 0; i < size; i++) {
        assert_non_null(cache_parse(given, i, TEXT_PLAIN, bytes, &record, &array));
        data[i] ^= 0x10;
        assert_non_null(cache_parse(given, size, TEXT_PLAIN, bytes, &record, &array));
        data[i] ^= 0x10;
    }
    data[2] ^= 0x10;
    write_bytes(cache, data, size);
    EXPECT_FILE(path, bytes, &notices, 'd', 'a', 't', 'a', 256);
    assert_non_null(strstr(notices.text.data, "tokens' is damaged; encoding"));
    write_bytes(cache, data, size - 1);
    EXPECT_FILE(path, bytes, &notices, 'd', 'a', 't', 'a', 256);
    assert_non_null(strstr(notices.text.data, "is not an encoded corpus, or is cut short; encoding"));
    EXPECT_FILE(path, bytes, &notices, 'd', 'a', 't', 'a', 256);
    assert_string_equal(col_str_text(&notices.text), "");
    col_str_fini(&notices.text);
    col_tokenizer_destroy(bytes);
}

/* Another tokenizer's cache under this one's name. */
static void test_foreign_cache(void **state)
{
    folder *f = *state;
    heard notices = {0};
    col_tokenizer *bytes = col_tokenizer_bytes(), *small = small_tokenizer();
    const char *path = folder_file(f, "a.txt");
    write_text(path, "he");
    EXPECT_FILE(path, bytes, &notices, 'h', 'e', 256);
    assert_int_equal(rename(cache_of(f, path, bytes), cache_of(f, path, small)), 0);
    EXPECT_FILE(path, small, &notices, SMALL_HE, SMALL_END);
    assert_non_null(strstr(notices.text.data, "was made by another tokenizer"));
    write_text(cache_of(f, path, small),
               "a text of the user's own, that happens to have the name of a cache file; it "
               "is longer than a record, and so its end is looked at");
    EXPECT_FILE(path, small, &notices, SMALL_HE, SMALL_END);
    assert_non_null(strstr(notices.text.data, "is not an encoded corpus"));
    col_str_fini(&notices.text);
    col_tokenizer_destroy(bytes);
    col_tokenizer_destroy(small);
}

static void test_cache_cannot_be_kept(void **state)
{
    folder *f = *state;
    heard notices = {0};
    col_tokenizer *bytes = col_tokenizer_bytes();
    const char *path = folder_file(f, "a.txt"), *cache = cache_of(f, path, bytes);
    write_text(path, "he");
    assert_int_equal(mkdir(cache, 0777), 0); /* as good as a folder that may not be written, also for root */
    EXPECT_FILE(path, bytes, &notices, 'h', 'e', 256);
    assert_non_null(strstr(notices.text.data, "stays in memory"));
    assert_int_equal(rmdir(cache), 0);

    col_corpus_options options = {.tokenizer = bytes, .notice = hear, .context = &notices};
    col_corpus *corpus = NULL;
    col_status status = NULL;
    col_str text = {0};
    for (int i = 0; i < 10000; i++) col_str_append(&text, "0123456789");
    write_text(path, text.data);
    WITH_FILE_LIMIT(4096, status, col_corpus_open(&path, 1, &options, &corpus)); /* a full disk */
    assert_ok(status);
    assert_int_equal(col_corpus_tokens(corpus), 100001);
    int32_t ids[3];
    col_corpus_read(corpus, 99998, 3, ids);
    assert_memory_equal(ids, ((int32_t[]){'8', '9', 256}), sizeof ids);
    col_corpus_close(corpus);
    assert_int_equal(folder_entries(f->path), 1);
    col_str_fini(&text);
    col_str_fini(&notices.text);
    col_tokenizer_destroy(bytes);
}

static char *write_llmc(folder *f, const char *name, int32_t magic, int32_t version, int32_t count,
                        const uint16_t *ids, size_t id_count)
{
    unsigned char data[1024 + 64] = {0};
    int32_t header[3] = {magic, version, count};
    memcpy(data, header, sizeof header);
    memcpy(data + 1024, ids, id_count * 2);
    char *path = folder_file(f, name);
    write_bytes(path, data, 1024 + id_count * 2);
    return path;
}

static void test_llmc(void **state)
{
    folder *f = *state;
    static const uint16_t ids[] = {50256, 1, 2, 65535};
    const char *path = write_llmc(f, "good.bin", 20240520, 1, 4, ids, 4);
    col_corpus_options options = {0};
    col_corpus *corpus = NULL;
    assert_ok(col_corpus_open(&path, 1, &options, &corpus)); /* no tokenizer needed, no cache made */
    EXPECT(corpus, 50256, 1, 2, 65535);
    col_corpus_close(corpus);
    assert_int_equal(folder_entries(f->path), 1);
    options.vocab_size = 50257;
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT,
                 "good.bin: token 3 is 65535, but the vocabulary has 50257");
    struct {
        int32_t magic, version, count;
        size_t ids;
        const char *message;
    } cases[] = {
        {20240520, 1, 4, 3, "its header says 4 tokens, but 6 bytes follow it"},
        {20240520, 1, 3, 4, "its header says 3 tokens, but 8 bytes follow it"},
        {20240520, 1, -1, 0, "its header says -1 tokens"},
        {20240520, 1, 0, 0, "no token in it"},
        {20240520, 2, 4, 4, "version 2"},
        {20240326, 1, 4, 4, "(it is a model)"},
        {7, 1, 4, 4, "not an llm.c token file"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        path = write_llmc(f, "bad.bin", cases[i].magic, cases[i].version, cases[i].count, ids, cases[i].ids);
        assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, cases[i].message);
    }
    size_t size = 0;
    char *data = folder_read(f, folder_file(f, "good.bin"), &size);
    for (size_t cut = 1; cut < size; cut++) {
        path = folder_file(f, "cut.bin");
        write_bytes(path, data, cut);
        assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, "cut.bin: ");
    }
}

static void test_several_files(void **state)
{
    folder *f = *state;
    col_tokenizer *bytes = col_tokenizer_bytes();
    static const uint16_t ids[] = {7, 8, 9};
    write_text(folder_file(f, "a.txt"), "ab");
    write_text(folder_file(f, "b.jsonl"), "{\"text\": \"c\"}");
    const char *paths[] = {folder_file(f, "a.txt"), write_llmc(f, "c.bin", 20240520, 1, 3, ids, 3),
                           folder_file(f, "b.jsonl"), folder_file(f, "a.txt")};
    col_corpus_options options = {.tokenizer = bytes};
    col_corpus *corpus = NULL;
    assert_ok(col_corpus_open(paths, 4, &options, &corpus));
    static const int32_t expected[] = {'a', 'b', 256, 7, 8, 9, 'c', 256, 'a', 'b', 256};
    enum { N = sizeof expected / sizeof *expected };
    expect_tokens(corpus, expected, N);
    for (size_t first = 0; first < N; first++) {
        for (size_t count = 0; first + count <= N; count++) {
            int32_t got[N];
            col_corpus_read(corpus, first, count, got);
            assert_memory_equal(got, expected + first, count * sizeof *got);
        }
    }
    uint64_t fingerprint = col_corpus_fingerprint(corpus);
    col_corpus_close(corpus);
    const char *swap = paths[0];
    paths[0] = paths[1];
    paths[1] = swap;
    assert_ok(col_corpus_open(paths, 4, &options, &corpus));
    assert_true(col_corpus_fingerprint(corpus) != fingerprint);
    col_corpus_close(corpus);
    col_tokenizer_destroy(bytes);
}

/* A folder as WikiText's: the bytes as they are, and a part for validation of its own. */
static void test_wikitext(void **state)
{
    folder *f = *state;
    col_tokenizer *bytes = col_tokenizer_bytes();
    col_corpus_options options = {.tokenizer = bytes};
    const char *paths[] = {folder_file(f, "wiki"), folder_file(f, "more.txt")};
    col_corpus *corpus = NULL;
    col_range train, validation;
    assert_ok(col_make_folder(paths[0]));
    write_text(paths[1], "z");
    assert_fails(col_corpus_open(paths, 2, &options, &corpus), COL_BAD_INPUT, "wiki.train.raw");
    write_text(folder_file(f, "wiki/wiki.train.tokens"), " \n = A = \n \n");
    write_text(folder_file(f, "wiki/wiki.test.tokens"), "never");
    assert_ok(col_corpus_open(paths, 2, &options, &corpus));
    EXPECT(corpus, ' ', '\n', ' ', '=', ' ', 'A', ' ', '=', ' ', '\n', ' ', '\n', 256, 'z', 256);
    assert_ok(col_corpus_split(corpus, 0.2, &train, &validation));
    assert_true(train.count == 12 && validation.first == 12 && validation.count == 3);
    col_corpus_close(corpus);
    write_text(folder_file(f, "wiki/wiki.train.raw"), "b");
    write_text(folder_file(f, "wiki/wiki.valid.raw"), "cd");
    assert_ok(col_corpus_open(paths, 2, &options, &corpus));
    EXPECT(corpus, 'b', 256, 'z', 256, 'c', 'd', 256);
    for (int validates = 0; validates < 2; validates++) {
        assert_ok(col_corpus_split(corpus, 0.9 * validates, &train, &validation));
        assert_true(train.first == 0 && train.count == 4 && validation.first == 4);
        assert_int_equal(validation.count, validates ? 3 : 0);
    }
    col_corpus_close(corpus);
    col_tokenizer_destroy(bytes);
}

static void test_refusals(void **state)
{
    folder *f = *state;
    col_tokenizer *bytes = col_tokenizer_bytes();
    col_corpus_options options = {.tokenizer = bytes};
    col_corpus *corpus = NULL;
    const char *path = folder_file(f, "absent.txt");
    assert_fails(col_corpus_open(&path, 0, &options, &corpus), COL_BAD_INPUT, "no corpus");
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, "cannot open the corpus");
    path = f->path;
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT,
                 "is a folder; name the files in it");
    path = "/dev/null";
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, "is not a regular file");
    path = folder_file(f, "empty.txt");
    write_text(path, "");
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, "is empty");
    path = folder_file(f, "a.txt.gz");
    write_text(path, "\x1F\x8B\x08");
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, "is a gzip file; unpack it");
    path = folder_file(f, "a.txt");
    write_text(path, "a");
    options.vocab_size = 256;
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, "--set vocab=257");
    options = (col_corpus_options){0};
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, "there is no tokenizer for it");
    path = "synthetic";
    assert_fails(col_corpus_open(&path, 1, &options, &corpus), COL_BAD_INPUT, "the size of a vocabulary");
    options.vocab_size = 257;
    assert_fails(col_corpus_open((const char *[]){folder_file(f, "a.txt"), path}, 2, &options, &corpus),
                 COL_BAD_INPUT, "cannot be mixed");
    col_tokenizer_destroy(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_plain_text),
        FOLDER_TEST(test_json_lines),
        FOLDER_TEST(test_large_files),
        FOLDER_TEST(test_cache_follows_source),
        FOLDER_TEST(test_damaged_cache),
        FOLDER_TEST(test_foreign_cache),
        FOLDER_TEST(test_cache_cannot_be_kept),
        FOLDER_TEST(test_llmc),
        FOLDER_TEST(test_several_files),
        FOLDER_TEST(test_wikitext),
        FOLDER_TEST(test_refusals),
    };
    return cmocka_run_group_tests_name("corpus", tests, NULL, NULL);
}
