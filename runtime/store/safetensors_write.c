/* Writing safetensors: the header is written first with zeros for checksums, the data follows piece by piece,
 * and the same header is written over it with the checksums that the data turned out to have. All digits have
 * fixed places, so both headers have the same length, and no tensor is read twice or copied. */
#include "runtime/store/safetensors_parse.h"
#include "ir/base/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { PIECE = 1 << 20 }; /* bytes hashed and written at a time: stays in the cache between the two */

typedef struct item {
    const col_tensor_source *source;
    size_t index; /* in the caller's array: keeps the sort stable */
    uint64_t bytes, checksum;
} item;

/* A file being written. */
typedef struct shard {
    char *path;
    item *items; /* a run of the sorted items */
    size_t count;
    col_writer *writer;
} shard;

typedef struct job {
    col_arena *arena;
    const col_metadata *metadata;
    size_t metadata_count;
} job;

static int compare_alignment(const void *a, const void *b)
{
    const item *x = a, *y = b;
    uint32_t x_bits = col_store_dtype_bits(x->source->dtype), y_bits = col_store_dtype_bits(y->source->dtype);
    if (x_bits != y_bits) return x_bits > y_bits ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* Takes `value` and sets a new member; false for a key that is there, or for a key or a value (then NULL)
 * that is not UTF-8. */
static bool add(json_t *object, const char *key, json_t *value)
{
    if (!json_object_get(object, key)) return !json_object_set_new(object, key, value);
    json_decref(value);
    return false;
}

static json_t *entry_of(const item *it, uint64_t begin)
{
    json_t *shape = json_array();
    for (uint32_t i = 0; i < it->source->rank; i++)
        json_array_append_new(shape, json_integer(it->source->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", col_store_dtype_name(it->source->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + it->bytes));
}

static col_status fill_header(const job *j, const shard *s, json_t *root)
{
    char hex[COL_HEX64_SIZE];
    json_t *metadata = json_object();
    json_object_set_new(root, "__metadata__", metadata);
    json_object_set_new(metadata, "xxh3", json_string("0000000000000000"));
    for (size_t i = 0; i < j->metadata_count; i++) {
        const col_metadata *m = &j->metadata[i];
        COL_ASSERT(strncmp(m->key, "xxh3", 4));
        if (!add(metadata, m->key, json_string(m->value))) {
            return col_error_make(COL_BAD_INPUT,
                                  "cannot write '%s': metadata '%s' is not UTF-8 or occurs twice", s->path,
                                  m->key);
        }
    }
    if (!json_object_get(metadata, "format")) json_object_set_new(metadata, "format", json_string("pt"));
    uint64_t begin = 0;
    col_str key = {0};
    for (size_t i = 0; i < s->count; i++) {
        const item *it = &s->items[i];
        const char *name = it->source->name;
        col_str_clear(&key);
        col_str_printf(&key, "xxh3.%s", name);
        col_hex64_print(hex, it->checksum);
        if (!strcmp(name, "__metadata__") || !add(root, name, entry_of(it, begin)) ||
            !add(metadata, col_str_text(&key), json_string(hex))) {
            col_str_fini(&key);
            return col_error_make(
                COL_BAD_INPUT,
                "cannot write '%s': tensor name '%.200s' is reserved, not UTF-8 or occurs twice; "
                "rename the parameter",
                s->path, name);
        }
        begin += it->bytes;
    }
    col_str_fini(&key);
    return NULL;
}

/* The 8 + N bytes before the data, with the checksums known so far; `out` is cleared first. */
static col_status make_header(const job *j, const shard *s, col_str *out)
{
    json_t *root = json_object();
    col_status status = fill_header(j, s, root);
    char *text = status ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (status) return status;
    if (!text) col_out_of_memory(0);
    size_t size = strlen(text);
    size_t length =
        (8 + size + COL_SAFETENSORS_ALIGN - 1) / COL_SAFETENSORS_ALIGN * COL_SAFETENSORS_ALIGN - 8;
    col_str_clear(out);
    for (int i = 0; i < 8; i++) col_str_append_bytes(out, &(char){(char)(length >> (8 * i))}, 1);
    col_str_append(out, text);
    free(text);
    while (out->len < 8 + length) col_str_append(out, " ");
    char hex[COL_HEX64_SIZE];
    col_hex64_print(hex, col_safetensors_header_checksum((unsigned char *)out->data, out->len));
    memcpy(out->data + 8 + strlen(COL_SAFETENSORS_OPENING), hex, 16);
    if (length <= COL_SAFETENSORS_HEADER_LIMIT) return NULL;
    return col_error_make(COL_BAD_INPUT, "cannot write '%s': a header of %zu bytes is over the format's %d",
                          s->path, length, COL_SAFETENSORS_HEADER_LIMIT);
}

static col_status write_data(shard *s, item *it, XXH3_state_t *state)
{
    const col_tensor_source *source = it->source;
    XXH3_64bits_reset(state);
    for (uint64_t done = 0; done < it->bytes;) {
        size_t size = (size_t)COL_MIN(it->bytes - done, (uint64_t)PIECE);
        const void *bytes = source->data ? (const char *)source->data + done : NULL;
        if (!bytes) COL_TRY(source->fetch(source->user, done, size, &bytes));
        XXH3_64bits_update(state, bytes, size);
        COL_TRY(col_writer_write(s->writer, bytes, size));
        done += size;
    }
    it->checksum = XXH3_64bits_digest(state);
    return NULL;
}

/* Leaves the file complete in its temporary, not yet renamed. */
static col_status write_shard(const job *j, shard *s, col_str *header, XXH3_state_t *state)
{
    COL_TRY(make_header(j, s, header));
    COL_TRY(col_writer_open(s->path, &s->writer));
    COL_TRY(col_writer_write(s->writer, header->data, header->len));
    for (size_t i = 0; i < s->count; i++) COL_TRY(write_data(s, &s->items[i], state));
    size_t length = header->len;
    COL_TRY(make_header(j, s, header));
    COL_ASSERT(header->len == length);
    return col_writer_overwrite(s->writer, 0, header->data, header->len);
}

/* Writes all shards, then renames them; after a failure none is left half-made. */
static col_status write_shards(const job *j, shard *shards, size_t count)
{
    col_str header = {0};
    XXH3_state_t *state = XXH3_createState();
    if (!state) col_out_of_memory(0);
    col_status status = NULL;
    for (size_t i = 0; !status && i < count; i++) status = write_shard(j, &shards[i], &header, state);
    for (size_t i = 0; !status && i < count; i++) status = col_writer_sync(shards[i].writer);
    for (size_t i = 0; !status && i < count; i++) {
        status = col_writer_commit(shards[i].writer);
        shards[i].writer = NULL;
    }
    for (size_t i = 0; i < count; i++) col_writer_discard(shards[i].writer);
    XXH3_freeState(state);
    col_str_fini(&header);
    return status;
}

static col_status sort_items(const char *path, col_arena *arena, const col_tensor_source *tensors,
                             size_t count, item **out_items, uint64_t *out_total)
{
    item *items = COL_NEW_ARRAY(arena, item, count);
    *out_total = 0;
    for (size_t i = 0; i < count; i++) {
        const col_tensor_source *t = &tensors[i];
        items[i] = (item){.source = t, .index = i};
        if (!col_store_tensor_bytes(t->dtype, t->rank, t->shape, &items[i].bytes) ||
            items[i].bytes > (uint64_t)INT64_MAX - *out_total) {
            return col_error_make(COL_BAD_INPUT, "cannot write '%s': the shape of tensor '%.200s' overflows",
                                  path, t->name);
        }
        *out_total += items[i].bytes;
    }
    if (count) qsort(items, count, sizeof *items, compare_alignment);
    *out_items = items;
    return NULL;
}

col_status col_safetensors_write(const char *path, const col_tensor_source *tensors, size_t count,
                                 const col_metadata *metadata, size_t metadata_count)
{
    col_arena *arena = col_arena_create();
    job j = {arena, metadata, metadata_count};
    shard s = {.path = col_arena_strdup(arena, path), .count = count};
    uint64_t total = 0;
    col_status status = sort_items(path, arena, tensors, count, &s.items, &total);
    if (!status) status = write_shards(&j, &s, 1);
    col_arena_destroy(arena);
    return status;
}

static col_status write_index(const char *path, const shard *shards, size_t count, uint64_t total)
{
    json_t *weight_map = json_object();
    for (size_t i = 0; i < count; i++) {
        const char *file = strrchr(shards[i].path, '/') + 1;
        for (size_t k = 0; k < shards[i].count; k++) {
            json_object_set_new(weight_map, shards[i].items[k].source->name, json_string(file));
        }
    }
    json_t *index =
        json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)total, "weight_map", weight_map);
    char *text = json_dumps(index, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(index);
    if (!text) col_out_of_memory(0);
    col_status status = col_file_write(path, text, strlen(text));
    free(text);
    return status;
}

/* Fills shards one after another; a tensor larger than the limit gets one of its own. */
static size_t cut(col_arena *arena, item *items, size_t count, uint64_t limit, shard **out_shards)
{
    COL_VEC(shard) shards = {0};
    uint64_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (!shards.len ||
            (shards.data[shards.len - 1].count && items[i].bytes > limit - COL_MIN(used, limit))) {
            col_vec_push(arena, &shards, (shard){.items = &items[i]});
            used = 0;
        }
        shards.data[shards.len - 1].count++;
        used += items[i].bytes;
    }
    *out_shards = shards.data;
    return shards.len;
}

static col_status check_unique(const char *path, const item *items, size_t count, col_arena *arena)
{
    col_map *names = col_map_create(arena);
    for (size_t i = 0; i < count; i++) {
        if (col_map_set(names, items[i].source->name, &names)) {
            return col_error_make(COL_BAD_INPUT, "cannot write '%s': tensor name '%.200s' occurs twice", path,
                                  items[i].source->name);
        }
    }
    return NULL;
}

static col_status write_base(job *j, const char *folder, const char *base, const col_tensor_source *tensors,
                             size_t count, uint64_t limit)
{
    char *single = col_arena_printf(j->arena, "%s/%s.safetensors", folder, base);
    char *index = col_arena_printf(j->arena, "%s/%s.safetensors.index.json", folder, base);
    item *items = NULL;
    uint64_t total = 0;
    COL_TRY(sort_items(single, j->arena, tensors, count, &items, &total));
    shard *shards = &(shard){.path = single, .items = items, .count = count};
    size_t n = limit && total > limit ? cut(j->arena, items, count, limit, &shards) : 1;
    if (n == 1) {
        shards[0].path = single;
        COL_TRY(write_shards(j, shards, 1));
        unlink(index); /* readers prefer the single file; an older index would only mislead */
        return NULL;
    }
    COL_TRY(check_unique(index, items, count, j->arena));
    for (size_t i = 0; i < n; i++) {
        shards[i].path =
            col_arena_printf(j->arena, "%s/%s-%05zu-of-%05zu.safetensors", folder, base, i + 1, n);
    }
    COL_TRY(write_shards(j, shards, n));
    COL_TRY(write_index(index, shards, n, total));
    unlink(single); /* readers would take it instead of the index */
    return NULL;
}

col_status col_safetensors_write_base(const char *folder, const char *base, const col_tensor_source *tensors,
                                      size_t count, const col_metadata *metadata, size_t metadata_count,
                                      uint64_t limit)
{
    job j = {col_arena_create(), metadata, metadata_count};
    col_status status = write_base(&j, folder, base, tensors, count, limit);
    col_arena_destroy(j.arena);
    return status;
}
