#include "runtime/text/tokenizer.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ir/base/file.h"
#include "runtime/text/bpe.h"

enum { END_OF_TEXT_BYTES = 256, LARGEST_FILE = 256 << 20 };

col_tokenizer *col_tokenizer_bytes(void)
{
    col_arena *arena = col_arena_create();
    col_tokenizer *t = COL_NEW(arena, col_tokenizer);
    unsigned char *bytes = col_arena_alloc(arena, 256);
    t->arena = arena;
    t->bytes_only = true;
    t->size = END_OF_TEXT_BYTES + 1;
    t->end_of_text = END_OF_TEXT_BYTES;
    t->tokens = COL_NEW_ARRAY(arena, token, t->size);
    for (int i = 0; i < 256; i++) {
        bytes[i] = (unsigned char)i;
        t->tokens[i] = (token){&bytes[i], 1};
    }
    t->tokens[END_OF_TEXT_BYTES] = (token){(const unsigned char *)"", 0};
    t->fingerprint = col_hash_bytes("bytes 1", 7, 0);
    return t;
}

static col_status load_json(const char *path, col_tokenizer **out_tokenizer)
{
    col_arena *scratch = col_arena_create();
    char *data = NULL;
    size_t size = 0;
    col_status status = col_file_read(scratch, path, LARGEST_FILE, &data, &size);
    if (!status) status = col_tokenizer_parse_json(path, data, size, out_tokenizer);
    col_arena_destroy(scratch);
    return status;
}

static col_status load_folder(const char *path, col_tokenizer **out_tokenizer)
{
    col_arena *scratch = col_arena_create();
    const char *json = col_arena_printf(scratch, "%s/tokenizer.json", path);
    const char *vocab = col_arena_printf(scratch, "%s/vocab.json", path);
    const char *merges = col_arena_printf(scratch, "%s/merges.txt", path);
    col_status status = NULL;
    if (col_file_exists(json)) {
        status = load_json(json, out_tokenizer);
    } else if (!col_file_exists(vocab) && !col_file_exists(merges)) {
        status =
            col_error_make(COL_BAD_INPUT,
                           "'%s' holds no tokenizer; put a tokenizer.json there, or a vocab.json and its "
                           "merges.txt",
                           path);
    } else {
        char *vocab_data = NULL, *merges_data = NULL;
        size_t vocab_size = 0, merges_size = 0;
        status = col_file_read(scratch, vocab, LARGEST_FILE, &vocab_data, &vocab_size);
        if (!status) status = col_file_read(scratch, merges, LARGEST_FILE, &merges_data, &merges_size);
        if (status) {
            status = col_error_annotate(status, "a tokenizer needs both vocab.json and merges.txt");
        } else {
            status = col_tokenizer_parse_bpe(vocab, vocab_data, vocab_size, merges, merges_data, merges_size,
                                             out_tokenizer);
        }
    }
    col_arena_destroy(scratch);
    return status;
}

col_status col_tokenizer_load(const char *path, col_tokenizer **out_tokenizer)
{
    struct stat info;
    if (stat(path, &info)) return col_error_from_errno(errno, "cannot open the tokenizer '%s'", path);
    return S_ISDIR(info.st_mode) ? load_folder(path, out_tokenizer) : load_json(path, out_tokenizer);
}

void col_tokenizer_destroy(col_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    pcre2_code_free(tokenizer->pattern);
    col_arena_destroy(tokenizer->arena);
}

int32_t col_tokenizer_size(const col_tokenizer *tokenizer)
{
    return tokenizer->size;
}

int32_t col_tokenizer_end_of_text(const col_tokenizer *tokenizer)
{
    return tokenizer->end_of_text;
}

uint64_t col_tokenizer_fingerprint(const col_tokenizer *tokenizer)
{
    return tokenizer->fingerprint;
}

const unsigned char *col_tokenizer_token(const col_tokenizer *tokenizer, int32_t id, size_t *out_size)
{
    if (id < 0 || id >= tokenizer->size) return NULL;
    *out_size = tokenizer->tokens[id].size;
    return tokenizer->tokens[id].bytes;
}

col_status col_tokenizer_decode(const col_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                col_str *out)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        const unsigned char *bytes = col_tokenizer_token(tokenizer, ids[i], &size);
        if (!bytes) {
            return col_error_make(
                COL_BAD_INPUT,
                "token %zu is %d, an id that the tokenizer does not have (it has %d); use the "
                "tokenizer that the model was trained with",
                i, ids[i], tokenizer->size);
        }
        col_str_append_bytes(out, bytes, size);
    }
    return NULL;
}
