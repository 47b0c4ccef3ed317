/* Safetensors files: weights and training state.
 *
 * A file is u64 N (little-endian), N bytes of JSON, data. The JSON maps a tensor's name to
 * {"dtype", "shape", "data_offsets": [begin, end]} with offsets into the data, and "__metadata__" to strings.
 * A set of such files (a sharded model) has a JSON index beside it that maps each name to its file.
 *
 * Files written here carry, in `__metadata__`, "xxh3.NAME" (XXH3-64 of the tensor's bytes, 16 hex digits) for
 * every tensor, and "xxh3" (over names, types, shapes, places, these checksums and all other metadata), so
 * that no byte of a file can change its meaning unnoticed. Files by others carry none and are read all the
 * same.
 *
 * Source of the format: the safetensors README; an index is as Hugging Face's `save_pretrained` writes it. */
#ifndef COL_STORE_SAFETENSORS_H
#define COL_STORE_SAFETENSORS_H

#include "ir/base/arena.h"
#include "runtime/store/dtype.h"

/* A tensor of an open file. Everything points into the handle and lives until it is closed. */
typedef struct col_stored_tensor {
    const char *name;
    col_store_dtype dtype;
    uint32_t rank;
    const int64_t *shape; /* row-major, outermost first */
    const void *data;     /* `bytes` bytes of a read-only mapping; in foreign files perhaps unaligned */
    uint64_t bytes;
    bool has_checksum;
    uint64_t checksum; /* XXH3-64 of the data, where has_checksum */
    uint32_t file;     /* index of its file, as in col_safetensors_file */
} col_stored_tensor;

typedef struct col_safetensors col_safetensors;

/* Opens a .safetensors file, an .index.json, or a folder with `model.safetensors` or
 * `model.safetensors.index.json`, maps the files and validates every header. Nothing of the data is read.
 * COL_BAD_INPUT, naming file and tensor, for anything that breaks the format, for a shard that lies outside
 * the index's folder, and for PyTorch pickles. Close with col_safetensors_close. */
COL_MUST_USE col_status col_safetensors_open(const char *path, col_safetensors **out_set);
/* As above for `BASE.safetensors` or `BASE.safetensors.index.json` in the folder. */
COL_MUST_USE col_status col_safetensors_open_base(const char *folder, const char *base,
                                                  col_safetensors **out_set);
/* The same checks on one file's bytes in memory, which must outlive the handle. `name` is for messages. */
COL_MUST_USE col_status col_safetensors_open_bytes(const char *name, const void *bytes, size_t size,
                                                   col_safetensors **out_set);
void col_safetensors_close(col_safetensors *set); /* NULL is fine */

/* Tensors in the order of files and of data within a file. */
size_t col_safetensors_count(const col_safetensors *set);
const col_stored_tensor *col_safetensors_at(const col_safetensors *set, size_t index);
/* NULL when there is none of that name. */
const col_stored_tensor *col_safetensors_find(const col_safetensors *set, const char *name);
/* Tries the name; then, for each prefix, prefix + name, and the name without the prefix if it starts with it.
 */
const col_stored_tensor *col_safetensors_find_prefixed(const col_safetensors *set, const char *name,
                                                       const char *const *prefixes, size_t prefix_count);
/* The tensor, or COL_BAD_INPUT when it is absent (with the nearest name) or has another type or shape. */
COL_MUST_USE col_status col_safetensors_require(const col_safetensors *set, const char *name,
                                                col_store_dtype dtype, uint32_t rank, const int64_t *shape,
                                                const col_stored_tensor **out_tensor);
/* A string of `__metadata__` of the first file that has the key, or NULL. */
const char *col_safetensors_metadata(const col_safetensors *set, const char *key);

/* The files of the set, in its order. */
size_t col_safetensors_file_count(const col_safetensors *set);
typedef struct col_stored_file {
    const char *path;
    uint64_t bytes;       /* of the whole file */
    uint64_t header_hash; /* XXH3-64 of the 8 + N bytes before the data */
} col_stored_file;
const col_stored_file *col_safetensors_file(const col_safetensors *set, size_t index);

/* Reads the data once and compares it with the checksums; the error names the damaged tensor. Tensors without
 * a checksum pass; `*out_unchecked` (may be NULL) gets their number. */
COL_MUST_USE col_status col_safetensors_verify(const col_safetensors *set, size_t *out_unchecked);
COL_MUST_USE col_status col_safetensors_verify_tensor(const col_safetensors *set,
                                                      const col_stored_tensor *tensor);

/* A tensor to be written. `data` holds it whole, or is NULL and `fetch` gives it piece by piece, in order:
 * `*out_bytes` must hold `size` bytes from `offset` on, until the next call. */
typedef struct col_tensor_source {
    const char *name;
    col_store_dtype dtype;
    uint32_t rank;
    const int64_t *shape;
    const void *data;
    col_status (*fetch)(void *user, uint64_t offset, size_t size, const void **out_bytes);
    void *user;
} col_tensor_source;

/* A string for `__metadata__`. Keys that start with "xxh3" are taken. */
typedef struct col_metadata {
    const char *key, *value;
} col_metadata;

/* Writes one file, replacing `path` atomically; the data goes straight from the sources to the file, larger
 * types first so that every tensor is aligned to its type. "format": "pt", which Hugging Face's loaders want,
 * is added unless given. COL_BAD_INPUT for names that are not UTF-8 or occur twice; COL_DEVICE for a full
 * disk. */
COL_MUST_USE col_status col_safetensors_write(const char *path, const col_tensor_source *tensors,
                                              size_t count, const col_metadata *metadata,
                                              size_t metadata_count);

/* Writes `BASE.safetensors` into the folder if the tensors fit into `limit` bytes (0: no limit), otherwise
 * `BASE-00001-of-0000N.safetensors` and an index. All files are complete on the disk before the first is
 * renamed; what an earlier, differently cut model of that base left in the folder is removed afterwards. */
COL_MUST_USE col_status col_safetensors_write_base(const char *folder, const char *base,
                                                   const col_tensor_source *tensors, size_t count,
                                                   const col_metadata *metadata, size_t metadata_count,
                                                   uint64_t limit);

#define COL_SAFETENSORS_SHARD_BYTES UINT64_C(5000000000) /* Hugging Face's default */

#endif
