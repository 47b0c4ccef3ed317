#include "runtime/data/corpus.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "runtime/data/sampler.h"
#include "runtime/data/source.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "token files are little-endian and mapped as they are");

struct col_corpus {
    id_array *arrays;
    uint64_t *starts; /* [count + 1]: the first token of each array */
    size_t count;
    uint64_t held_out; /* tokens of folders' validation files, which come last */
    uint64_t seed;
    uint32_t vocab_size; /* of synthetic tokens */
};

void id_array_fini(id_array *array)
{
    col_file_unmap(&array->mapping);
    col_str_fini(&array->owned);
}

unsigned id_width(int64_t vocab_size)
{
    return vocab_size <= 1 << 16 ? 2 : 4;
}

uint64_t id_array_scan(id_array *array, int64_t vocab_size)
{
    enum { BLOCK = 1 << 16 };
    const unsigned char *bytes = array->ids;
    uint32_t limit = (uint32_t)COL_MIN(vocab_size, (int64_t)INT32_MAX);
    uint64_t bad = array->count;
    XXH3_state_t *state = XXH3_createState();
    if (!state) col_out_of_memory(0);
    XXH3_64bits_reset(state);
    for (uint64_t from = 0; from < array->count; from += BLOCK) {
        size_t n = COL_MIN((uint64_t)BLOCK, array->count - from);
        XXH3_64bits_update(state, bytes + from * array->width, n * array->width);
        uint32_t largest = 0;
        if (array->width == 2) {
            const uint16_t *ids = (const uint16_t *)array->ids + from;
            for (size_t i = 0; i < n; i++) largest = COL_MAX(largest, ids[i]);
        } else {
            const uint32_t *ids = (const uint32_t *)array->ids + from;
            for (size_t i = 0; i < n; i++) largest = COL_MAX(largest, ids[i]);
        }
        for (size_t i = 0; largest >= limit && bad == array->count && i < n; i++) {
            uint32_t id = 0;
            memcpy(&id, bytes + (from + i) * array->width, array->width);
            if (id >= limit) bad = from + i;
        }
    }
    array->hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return bad;
}

static bool has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && !strcasecmp(path + n - m, suffix);
}

/* The first bytes, to tell what a file is. */
static col_status peek(const char *path, unsigned char head[4], size_t *out_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return col_error_from_errno(errno, "cannot open the corpus '%s'", path);
    struct stat info;
    col_status status = NULL;
    ssize_t got = 0;
    if (fstat(fd, &info)) {
        status = col_error_from_errno(errno, "cannot read '%s'", path);
    } else if (S_ISDIR(info.st_mode)) {
        status = col_error_make(COL_BAD_INPUT, "'%s' is a folder; name the files in it", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = col_error_make(COL_BAD_INPUT, "'%s' is not a regular file; copy its text into one", path);
    } else if (!info.st_size) {
        status = col_error_make(COL_BAD_INPUT, "the corpus '%s' is empty; give one with text in it", path);
    } else if ((got = read(fd, head, 4)) < 0) {
        status = col_error_from_errno(errno, "cannot read '%s'", path);
    }
    close(fd);
    *out_size = status ? 0 : (size_t)got;
    return status;
}

static col_status refuse_compressed(const char *path, const unsigned char *head, size_t size)
{
    static const struct {
        const char *magic, *what;
    } kinds[] = {{"\x1F\x8B", "gzip"},  {"\x28\xB5\x2F\xFD", "Zstandard"},
                 {"PK\x03\x04", "zip"}, {"\xFD\x37zX", "xz"},
                 {"BZh", "bzip2"},      {"PAR1", "Parquet"}};
    for (size_t i = 0; i < COL_COUNT(kinds); i++) {
        size_t length = strlen(kinds[i].magic);
        if (size >= length && !memcmp(head, kinds[i].magic, length)) {
            return col_error_make(COL_BAD_INPUT,
                                  "'%s' is a %s file; unpack it to plain text or JSON lines first", path,
                                  kinds[i].what);
        }
    }
    return NULL;
}

static col_status open_file(const char *path, const col_corpus_options *options, id_array *out_array)
{
    unsigned char head[4] = {0};
    size_t size = 0;
    COL_TRY(peek(path, head, &size));
    COL_TRY(refuse_compressed(path, head, size));
    if (has_suffix(path, ".bin") || llmc_is_magic(head, size)) {
        col_mapping mapping;
        COL_TRY(col_file_map(path, &mapping));
        col_status status = llmc_open(path, mapping, options->vocab_size, out_array);
        if (status) col_file_unmap(&mapping);
        return status;
    }
    if (!options->tokenizer) {
        return col_error_make(COL_BAD_INPUT, "'%s' is text, and there is no tokenizer for it; name one",
                              path);
    }
    bool lines = has_suffix(path, ".jsonl") || has_suffix(path, ".ndjson") || has_suffix(path, ".json");
    return cache_open(path, lines ? TEXT_JSON_LINES : TEXT_PLAIN, options, out_array);
}

typedef struct file_list {
    const char **paths; /* those to hold out come last */
    size_t count, held_out;
} file_list;

/* The files of all sources: those named, and those of folders. */
static col_status list_files(const char *const *sources, size_t count, col_arena *arena, file_list *out)
{
    const char **held = COL_NEW_ARRAY(arena, const char *, count);
    *out = (file_list){.paths = COL_NEW_ARRAY(arena, const char *, 2 * count)};
    for (size_t i = 0; i < count; i++) {
        const char *path = sources[i];
        if (wikitext_is_folder(path)) {
            path = wikitext_file(arena, sources[i], WIKITEXT_TRAIN);
            const char *valid = wikitext_file(arena, sources[i], WIKITEXT_VALID);
            if (!path)
                return col_error_make(COL_BAD_INPUT,
                                      "'%s' is a folder; name the files in it, or one with wiki.train.raw or "
                                      "wiki.train.tokens",
                                      sources[i]);
            if (valid) held[out->held_out++] = valid;
        }
        out->paths[out->count++] = path;
    }
    for (size_t i = 0; i < out->held_out; i++) out->paths[out->count++] = held[i];
    return NULL;
}

static col_status check_sources(const char *const *paths, size_t count, col_corpus_options *options)
{
    if (!count) return col_error_make(COL_BAD_INPUT, "no corpus; name a file, or 'synthetic'");
    for (size_t i = 0; i < count && count > 1; i++) {
        if (strcmp(paths[i], COL_CORPUS_SYNTHETIC)) continue;
        return col_error_make(COL_BAD_INPUT,
                              "'synthetic' tokens cannot be mixed with other data: name either "
                              "'synthetic' alone, or files (./synthetic for a file of that name)");
    }
    int32_t size = options->tokenizer ? col_tokenizer_size(options->tokenizer) : 0;
    if (!options->vocab_size) options->vocab_size = size;
    if (options->vocab_size >= size) return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "the tokenizer has %d tokens, but the model a vocabulary of %lld; compile it "
                          "with --set vocab=%d, or use the tokenizer that belongs to it",
                          size, (long long)options->vocab_size, size);
}

static col_status open_synthetic(const col_corpus_options *options, id_array *out_array)
{
    *out_array = (id_array){.count = COL_CORPUS_SYNTHETIC_TOKENS,
                            .hash = col_mix64(options->seed ^ col_mix64((uint32_t)options->vocab_size))};
    if (options->vocab_size) return NULL;
    return col_error_make(COL_BAD_INPUT, "synthetic tokens need the size of a vocabulary; name a "
                                         "tokenizer or a model that has one");
}

static col_status open_files(const file_list *files, const col_corpus_options *options, col_corpus *c)
{
    c->arrays = calloc(files->count, sizeof *c->arrays);
    c->starts = calloc(files->count + 1, sizeof *c->starts);
    if (!c->arrays || !c->starts) col_out_of_memory(0);
    for (size_t i = 0; i < files->count; i++) {
        if (!strcmp(files->paths[i], COL_CORPUS_SYNTHETIC))
            COL_TRY(open_synthetic(options, &c->arrays[i]));
        else
            COL_TRY(open_file(files->paths[i], options, &c->arrays[i]));
        c->count = i + 1;
        c->starts[i + 1] = c->starts[i] + c->arrays[i].count;
    }
    c->held_out = c->starts[c->count] - c->starts[c->count - files->held_out];
    return NULL;
}

col_status col_corpus_open(const char *const *paths, size_t count, const col_corpus_options *given,
                           col_corpus **out_corpus)
{
    col_corpus_options options = *given;
    COL_TRY(check_sources(paths, count, &options));
    col_corpus *c = calloc(1, sizeof *c);
    if (!c) col_out_of_memory(0);
    options.vocab_size = COL_MIN(options.vocab_size, (int64_t)INT32_MAX);
    c->seed = options.seed;
    c->vocab_size = (uint32_t)options.vocab_size;
    col_arena *scratch = col_arena_create();
    file_list files;
    col_status status = list_files(paths, count, scratch, &files);
    if (!status) status = open_files(&files, &options, c);
    col_arena_destroy(scratch);
    if (status)
        col_corpus_close(c);
    else
        *out_corpus = c;
    return status;
}

void col_corpus_close(col_corpus *corpus)
{
    if (!corpus) return;
    for (size_t i = 0; i < corpus->count; i++) id_array_fini(&corpus->arrays[i]);
    free(corpus->arrays);
    free(corpus->starts);
    free(corpus);
}

uint64_t col_corpus_tokens(const col_corpus *corpus)
{
    return corpus->starts[corpus->count];
}

uint64_t col_corpus_fingerprint(const col_corpus *corpus)
{
    uint64_t hash = corpus->count;
    for (size_t i = 0; i < corpus->count; i++) {
        hash = col_mix64(hash ^ corpus->arrays[i].hash) + corpus->arrays[i].count;
    }
    return hash;
}

/* Token `index` of a synthetic source: uniform in [0, vocab_size). */
static int32_t synthetic_token(const col_corpus *c, uint64_t index)
{
    uint64_t random = col_mix64(col_mix64(c->seed) ^ index) >> 32;
    return (int32_t)(random * c->vocab_size >> 32);
}

static void read_array(const col_corpus *c, const id_array *array, uint64_t first, size_t count, int32_t *out)
{
    switch (array->width) {
    case 2: {
        const uint16_t *ids = (const uint16_t *)array->ids + first;
        for (size_t i = 0; i < count; i++) out[i] = ids[i];
        return;
    }
    case 4: memcpy(out, (const uint32_t *)array->ids + first, count * sizeof *out); return;
    default:
        for (size_t i = 0; i < count; i++) out[i] = synthetic_token(c, first + i);
    }
}

void col_corpus_read(const col_corpus *c, uint64_t first, size_t count, int32_t *out_ids)
{
    if (!count) return;
    COL_ASSERT(count <= col_corpus_tokens(c) && first <= col_corpus_tokens(c) - count);
    size_t low = 0, high = c->count; /* the array that holds `first` is in [low, high) */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (c->starts[middle] <= first) {
            low = middle;
        } else {
            high = middle;
        }
    }
    for (size_t i = low; count; i++) {
        uint64_t at = first - c->starts[i];
        size_t n = COL_MIN((uint64_t)count, c->arrays[i].count - at);
        read_array(c, &c->arrays[i], at, n, out_ids);
        out_ids += n;
        first += n;
        count -= n;
    }
}

col_status col_corpus_split(const col_corpus *corpus, double fraction, col_range *out_train,
                            col_range *out_validation)
{
    if (!(fraction >= 0 && fraction < 1)) {
        return col_error_make(COL_BAD_INPUT, "--val-fraction is %g; it must be at least 0 and below 1",
                              fraction);
    }
    uint64_t tokens = col_corpus_tokens(corpus), held_out = corpus->held_out;
    if (!held_out) held_out = COL_MIN((uint64_t)((double)tokens * fraction), tokens);
    *out_train = (col_range){0, tokens - held_out};
    *out_validation = (col_range){tokens - held_out, fraction > 0 ? held_out : 0};
    return NULL;
}
