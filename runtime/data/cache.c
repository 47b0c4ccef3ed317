/* The cache of an encoded source, SOURCE.colc-FINGERPRINT.tokens: the ids, u16 or u32 by the size of the
 * vocabulary, then one cache_record (source.h), both checksummed.
 *
 * A cache is used when it is whole, was made by this tokenizer, and the source is still what was read: the
 * same size, times and inode, or else the same size and hash. It is replaced otherwise, never changed; a
 * reader has either the old or the new one. */
#include "runtime/data/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 1, READ_BLOCK = 1 << 20 };
static const char magic[8] = "colctok\n";

_Static_assert(sizeof(cache_record) == 104, "the record is stored as it lies in memory");

static uint64_t record_hash(const cache_record *r)
{
    return XXH3_64bits(r, offsetof(cache_record, own_hash));
}

const char *cache_parse(const unsigned char *data, size_t size, text_format format,
                        const col_tokenizer *tokenizer, cache_record *out_record, id_array *out_array)
{
    cache_record r;
    if (size < sizeof r) return "is cut short";
    memcpy(&r, data + size - sizeof r, sizeof r);
    if (memcmp(r.magic, magic, sizeof magic) != 0) return "is not an encoded corpus, or is cut short";
    if (r.version != VERSION) return "has another version";
    if (r.own_hash != record_hash(&r)) return "is damaged";
    if (r.format != (uint64_t)format || r.tokenizer != col_tokenizer_fingerprint(tokenizer)) {
        return "was made by another tokenizer";
    }
    if (r.width != id_width(col_tokenizer_size(tokenizer)) || r.tokens != (size - sizeof r) / r.width ||
        (size - sizeof r) % r.width) {
        return "is damaged";
    }
    id_array array = {.ids = data, .width = r.width, .count = r.tokens};
    if (id_array_scan(&array, col_tokenizer_size(tokenizer)) != r.tokens || array.hash != r.ids_hash) {
        return "is damaged";
    }
    *out_record = r;
    *out_array = array;
    return NULL;
}

static uint64_t nanoseconds(struct timespec t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Size, times and inode of the source go into the record; false when `r` had others. */
static bool stamp(cache_record *r, const struct stat *info)
{
    cache_record old = *r;
    r->source_size = (uint64_t)info->st_size;
    r->source_modified = nanoseconds(info->st_mtim);
    r->source_changed = nanoseconds(info->st_ctim);
    r->source_inode = info->st_ino;
    return old.source_size == r->source_size && old.source_modified == r->source_modified &&
           old.source_changed == r->source_changed && old.source_inode == r->source_inode;
}

/* A file written within this time may be written again without its times changing (they move in ticks). */
static bool is_fresh(const struct stat *info)
{
    enum { TICK_SECONDS = 2 };
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return info->st_ctim.tv_sec + TICK_SECONDS >= now.tv_sec;
}

static col_status open_source(const char *path, int *out_fd, struct stat *out_info)
{
    *out_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*out_fd < 0) return col_error_from_errno(errno, "cannot open the corpus '%s'", path);
    if (!fstat(*out_fd, out_info)) return NULL;
    col_status status = col_error_from_errno(errno, "cannot read '%s'", path);
    close(*out_fd);
    return status;
}

/* Reads the source to its end: hashes it and, unless `in` is NULL, encodes it. */
static col_status read_source(const char *path, int fd, ingest *in, uint64_t *out_size, uint64_t *out_hash)
{
    char *block = malloc(READ_BLOCK);
    XXH3_state_t *state = XXH3_createState();
    if (!block || !state) col_out_of_memory(0);
    XXH3_64bits_reset(state);
    col_status status = NULL;
    *out_size = 0;
    while (!status) {
        ssize_t got = read(fd, block, READ_BLOCK);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = col_error_from_errno(errno, "cannot read '%s'", path);
        if (got <= 0) break;
        *out_size += (uint64_t)got;
        XXH3_64bits_update(state, block, (size_t)got);
        if (in) status = ingest_feed(in, block, (size_t)got);
    }
    if (!status && in) status = ingest_finish(in);
    *out_hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    free(block);
    return status;
}

/* Where encoded ids go: to the cache file, or to memory when `writer` is NULL. */
typedef struct id_output {
    col_writer *writer;
    bool writer_failed;
    col_str memory;
    unsigned width;
    uint64_t count;
} id_output;

static col_status output_bytes(id_output *out, const void *bytes, size_t size)
{
    if (!out->writer) {
        col_str_append_bytes(&out->memory, bytes, size);
        return NULL;
    }
    col_status status = col_writer_write(out->writer, bytes, size);
    out->writer_failed = status != NULL;
    return status;
}

typedef struct hashing_output {
    id_output *out;
    XXH3_state_t *hash;
} hashing_output;

static col_status put_ids(void *context, const int32_t *ids, size_t count)
{
    enum { BLOCK = 4096 };
    hashing_output *to = context;
    to->out->count += count;
    while (count) {
        uint16_t narrow[BLOCK];
        size_t n = COL_MIN(count, (size_t)BLOCK);
        const void *bytes = ids;
        if (to->out->width == 2) {
            for (size_t i = 0; i < n; i++) narrow[i] = (uint16_t)ids[i];
            bytes = narrow;
        }
        XXH3_64bits_update(to->hash, bytes, n * to->out->width);
        COL_TRY(output_bytes(to->out, bytes, n * to->out->width));
        ids += n;
        count -= n;
    }
    return NULL;
}

/* Encodes the whole source into `out` and describes it in the record. */
static col_status encode_source(const char *source, text_format format, const col_tokenizer *tokenizer,
                                id_output *out, cache_record *out_record)
{
    int fd = -1;
    struct stat before, after;
    COL_TRY(open_source(source, &fd, &before));
    cache_record r = {.version = VERSION,
                      .width = out->width,
                      .format = (uint64_t)format,
                      .tokenizer = col_tokenizer_fingerprint(tokenizer)};
    memcpy(r.magic, magic, sizeof magic);
    stamp(&r, &before);
    bool fresh = is_fresh(&before);

    hashing_output to = {out, XXH3_createState()};
    if (!to.hash) col_out_of_memory(0);
    XXH3_64bits_reset(to.hash);
    ingest in;
    uint64_t size = 0;
    col_status status = ingest_init(&in, source, format, tokenizer, put_ids, &to);
    if (!status) {
        status = read_source(source, fd, &in, &size, &r.source_hash);
        r.documents = in.documents;
        ingest_fini(&in);
    }
    if (!status && (fstat(fd, &after) || !stamp(&r, &after) || size != r.source_size)) {
        status = col_error_make(COL_BAD_INPUT,
                                "'%s' changed while it was read; try again when it is complete", source);
    }
    if (fresh) r.source_modified = r.source_changed = r.source_inode = 0;
    r.tokens = out->count;
    r.ids_hash = XXH3_64bits_digest(to.hash);
    r.own_hash = record_hash(&r);
    XXH3_freeState(to.hash);
    close(fd);
    *out_record = r;
    return status;
}

static void notify(const col_corpus_options *options, const char *format, ...) COL_PRINTF(2, 3);
static void notify(const col_corpus_options *options, const char *format, ...)
{
    if (!options->notice) return;
    col_str text = {0};
    va_list args;
    va_start(args, format);
    col_str_vprintf(&text, format, args);
    va_end(args);
    options->notice(options->context, col_str_text(&text));
    col_str_fini(&text);
}

/* Encodes into the cache file. Fails with out->writer_failed when only the file is at fault. */
static col_status fill_file(const char *path, const char *source, text_format format,
                            const col_tokenizer *tokenizer, id_output *out)
{
    cache_record r;
    col_status status = col_writer_open(path, &out->writer);
    out->writer_failed = status != NULL;
    if (status) return status;
    status = encode_source(source, format, tokenizer, out, &r);
    if (!status) status = output_bytes(out, &r, sizeof r);
    if (status) {
        col_writer_discard(out->writer);
    } else {
        status = col_writer_commit(out->writer);
        out->writer_failed = status != NULL;
    }
    out->writer = NULL;
    return status;
}

static col_status fill_memory(const char *source, text_format format, const col_tokenizer *tokenizer,
                              id_output *out, id_array *out_array)
{
    cache_record r;
    col_status status = encode_source(source, format, tokenizer, out, &r);
    if (status) {
        col_str_fini(&out->memory);
        return status;
    }
    *out_array = (id_array){.ids = out->memory.data,
                            .width = out->width,
                            .count = r.tokens,
                            .hash = r.ids_hash,
                            .owned = out->memory};
    return NULL;
}

/* Uses the cache if it is good; NULL, or why not. */
static col_status try_cache(const char *path, const char *source, text_format format,
                            const col_tokenizer *tokenizer, const char **out_reason, id_array *out_array)
{
    col_mapping mapping;
    cache_record r;
    id_array array;
    *out_reason = "cannot be read";
    if (col_error_ignore(col_file_map(path, &mapping))) return NULL;
    *out_reason = cache_parse(mapping.data, mapping.size, format, tokenizer, &r, &array);
    if (*out_reason) {
        col_file_unmap(&mapping);
        return NULL;
    }
    int fd = -1;
    struct stat info;
    col_status status = open_source(source, &fd, &info);
    if (!status) {
        cache_record was = r;
        if (!stamp(&r, &info)) {
            uint64_t size = 0, hash = 0;
            bool same_size = was.source_size == r.source_size;
            if (same_size) status = read_source(source, fd, NULL, &size, &hash);
            if (!status && (!same_size || hash != was.source_hash))
                *out_reason = "is of another state of the source";
        }
        close(fd);
    }
    if (status || *out_reason) {
        col_file_unmap(&mapping);
        return status;
    }
    array.mapping = mapping;
    *out_array = array;
    return NULL;
}

col_status cache_open(const char *source, text_format format, const col_corpus_options *options,
                      id_array *out_array)
{
    const col_tokenizer *tokenizer = options->tokenizer;
    const char *reason = NULL;
    col_str path = {0};
    col_str_printf(&path, "%s.colc-%016llx.tokens", source,
                   (unsigned long long)col_tokenizer_fingerprint(tokenizer));
    col_status status = NULL;
    if (col_file_exists(path.data)) {
        status = try_cache(path.data, source, format, tokenizer, &reason, out_array);
        if (status || !reason) goto done;
        notify(options, "'%s' %s; encoding '%s' again", path.data, reason, source);
    }
    id_output out = {.width = id_width(col_tokenizer_size(tokenizer))};
    status = fill_file(path.data, source, format, tokenizer, &out);
    if (!status) {
        status = try_cache(path.data, source, format, tokenizer, &reason, out_array);
        if (status || !reason) {
            if (!status) {
                notify(options, "'%s': %llu tokens, kept in '%s'", source, (unsigned long long)out.count,
                       path.data);
            }
            goto done;
        }
        out.writer_failed = true;
        status = col_error_make(COL_DEVICE, "'%s' %s right after it was written", path.data, reason);
    }
    if (out.writer_failed) {
        notify(options, "%s; the encoded corpus stays in memory and is encoded anew by the next run",
               col_error_message(status));
        col_error_free(status);
        out = (id_output){.width = out.width};
        status = fill_memory(source, format, tokenizer, &out, out_array);
    }
done:
    col_str_fini(&path);
    return status;
}
