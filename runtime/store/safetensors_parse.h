/* Internal to runtime/store: the header of one safetensors file, and the index of several. */
#ifndef COL_STORE_SAFETENSORS_PARSE_H
#define COL_STORE_SAFETENSORS_PARSE_H

#include "ir/base/map.h"
#include "ir/base/str.h"
#include "ir/base/vec.h"
#include "runtime/store/safetensors.h"

/* The checksum of the header stands at a fixed place, so that it covers the header's very bytes (the length
 * included) with its own digits as zeros. */
#define COL_SAFETENSORS_OPENING "{\"__metadata__\":{\"xxh3\":\""
#define COL_SAFETENSORS_REMEDY  "the file is damaged or was cut short; copy, download or save it again"

enum {
    COL_SAFETENSORS_HEADER_LIMIT = 100000000, /* bytes of JSON */
    COL_SAFETENSORS_ALIGN = 64,               /* where the data of our files starts */
    COL_HEX64_SIZE = 17,                      /* 16 digits and NUL */
};

typedef COL_VEC(col_stored_tensor) col_stored_tensors;

typedef struct col_safetensors_header {
    col_stored_tensors tensors; /* in the order of their data */
    col_map *metadata;          /* key -> char * */
    uint64_t hash;              /* XXH3-64 of the 8 + N bytes before the data */
} col_safetensors_header;

/* Validates a whole file. `path` is for messages; the result lives in the arena and points into `bytes`. */
COL_MUST_USE col_status col_safetensors_parse(col_arena *arena, const char *path, const unsigned char *bytes,
                                              size_t size, col_safetensors_header *out_header);

/* The index of a sharded model. */
typedef struct col_safetensors_index {
    COL_VEC(const char *) files; /* names below the index's folder, each once */
    col_map *owners;             /* tensor -> its file's name */
} col_safetensors_index;

/* Reads an index's text; `path` is for messages. Names that leave the folder, and files that are no safetensors, are
 * refused. Links are not followed here. */
COL_MUST_USE col_status col_safetensors_index_parse(col_arena *arena, const char *path, const char *text,
                                                    size_t size, col_safetensors_index *out);

/* XXH3-64 of 8 + N header bytes, the 16 digits of its own checksum counted as zeros. */
uint64_t col_safetensors_header_checksum(const unsigned char *bytes, size_t size);

/* The refusal of a PyTorch pickle, which can run code when it is loaded. */
COL_MUST_USE col_status col_safetensors_refuse_pickle(const char *path);

void col_hex64_print(char out[COL_HEX64_SIZE], uint64_t value); /* 16 lower-case digits */
bool col_hex64_parse(const char *text, uint64_t *out_value);    /* exactly that */

#endif
