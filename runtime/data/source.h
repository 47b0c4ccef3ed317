/* Inside of a corpus: where the ids of one file come from. Private to runtime/data. */
#ifndef COL_DATA_SOURCE_H
#define COL_DATA_SOURCE_H

#include <sys/stat.h>
#include <xxhash.h>

#include "ir/base/file.h"
#include "runtime/data/corpus.h"

/* Ids of one file, as they lie in memory. */
typedef struct id_array {
    const void *ids; /* little-endian, `width` bytes each */
    unsigned width;  /* 2 or 4; 0: synthetic, computed when read */
    uint64_t count;
    uint64_t hash;       /* XXH3 of the ids as they lie */
    col_mapping mapping; /* what `ids` points into, ... */
    col_str owned;       /* ... or this */
} id_array;

void id_array_fini(id_array *array);
/* 2 where every id below `vocab_size` fits, else 4. */
unsigned id_width(int64_t vocab_size);
/* Hashes the ids; returns the place of the first that is not below `vocab_size`, or `count`. */
uint64_t id_array_scan(id_array *array, int64_t vocab_size);

/* llmc.c. Takes the mapping over when it succeeds. `vocab_size` 0: any id will do. */
bool llmc_is_magic(const unsigned char *bytes, size_t size);
COL_MUST_USE col_status llmc_open(const char *name, col_mapping mapping, int64_t vocab_size,
                                  id_array *out_array);

typedef enum text_format { TEXT_PLAIN, TEXT_JSON_LINES } text_format;

/* ingest.c: a text source, fed in blocks, to ids. */
typedef struct ingest {
    const char *name;
    text_format format;
    const col_tokenizer *tokenizer;
    col_encoder *encoder;
    col_token_sink sink;
    void *context;
    col_str line; /* the end of the last block: a line that is not whole yet */
    int64_t line_number;
    uint64_t documents;
} ingest;

COL_MUST_USE col_status ingest_init(ingest *in, const char *name, text_format format,
                                    const col_tokenizer *tokenizer, col_token_sink sink, void *context);
void ingest_fini(ingest *in);
COL_MUST_USE col_status ingest_feed(ingest *in, const char *bytes, size_t size);
COL_MUST_USE col_status ingest_finish(ingest *in);

/* wikitext.c: the file of a folder with that part of a corpus, in the arena; NULL where there is none. */
typedef enum wikitext_part { WIKITEXT_TRAIN, WIKITEXT_VALID } wikitext_part;
bool wikitext_is_folder(const char *path);
const char *wikitext_file(col_arena *arena, const char *folder, wikitext_part part);

/* What a cache file says of itself; it stands at the end of the file, after the ids. */
typedef struct cache_record {
    char magic[8];
    uint32_t version, width;
    uint64_t tokens, documents;
    uint64_t format, tokenizer;
    /* The source when it was read. Times in nanoseconds; all zero when it was too fresh to be told apart, by
     * its times, from what may be written to it a moment later. */
    uint64_t source_size, source_modified, source_changed, source_inode;
    uint64_t source_hash; /* XXH3 of the bytes */
    uint64_t ids_hash;
    uint64_t own_hash; /* XXH3 of the record up to here */
} cache_record;

/* Opens SOURCE through its cache, encoding first when that is needed. */
COL_MUST_USE col_status cache_open(const char *source, text_format format, const col_corpus_options *options,
                                   id_array *out_array);
/* Whether the bytes are the ids of a source encoded by that tokenizer; NULL, or what is wrong with them ("is
 * damaged"). Fills the array, except its mapping. */
const char *cache_parse(const unsigned char *data, size_t size, text_format format,
                        const col_tokenizer *tokenizer, cache_record *out_record, id_array *out_array);

#endif
