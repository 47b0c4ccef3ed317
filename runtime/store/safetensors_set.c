/* A set of safetensors files behind one handle: a single file is a set of one. Of a sharded model each tensor is
 * taken from the file that the index names; tensors of a shard that the index does not name are left out. */
#include "runtime/store/safetensors_parse.h"
#include "runtime/store/weights.h"
#include "ir/base/file.h"

#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

typedef struct open_file {
    col_stored_file info;
    col_mapping mapping; /* empty for bytes that a caller lent */
    col_map *metadata;
} open_file;

struct col_safetensors {
    col_arena *arena;
    COL_VEC(open_file) files;
    col_stored_tensors tensors;
    col_map *by_name; /* name -> index into tensors, plus one */
};

static col_safetensors *create(void)
{
    col_arena *arena = col_arena_create();
    col_safetensors *set = COL_NEW(arena, col_safetensors);
    set->arena = arena;
    set->by_name = col_map_create(arena);
    return set;
}

void col_safetensors_close(col_safetensors *set)
{
    if (!set) return;
    for (size_t i = 0; i < set->files.len; i++) col_file_unmap(&set->files.data[i].mapping);
    col_arena_destroy(set->arena);
}

/* Adds the tensors of a file that `owners` (tensor -> name of its file; NULL: all) takes from it. */
static col_status add_bytes(col_safetensors *set, const char *path, const void *bytes, size_t size,
                            const char *name, const col_map *owners)
{
    col_safetensors_header header;
    COL_TRY(col_safetensors_parse(set->arena, path, bytes, size, &header));
    open_file *file = &set->files.data[set->files.len - 1];
    file->info = (col_stored_file){path, size, header.hash};
    file->metadata = header.metadata;
    for (size_t i = 0; i < header.tensors.len; i++) {
        col_stored_tensor *t = &header.tensors.data[i];
        const char *owner = owners ? col_map_get(owners, t->name) : name;
        if (!owner || strcmp(owner, name)) continue;
        t->file = (uint32_t)set->files.len - 1;
        col_vec_push(set->arena, &set->tensors, *t);
        col_map_set(set->by_name, t->name, (void *)(uintptr_t)set->tensors.len);
    }
    return NULL;
}

static col_status add_file(col_safetensors *set, const char *path, const char *name, const col_map *owners)
{
    path = col_arena_strdup(set->arena, path);
    open_file file = {0};
    COL_TRY(col_file_map(path, &file.mapping));
    col_vec_push(set->arena, &set->files, file);
    return add_bytes(set, path, file.mapping.data, file.mapping.size, name, owners);
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && !strcmp(text + n - m, suffix);
}

static col_status add_index(col_safetensors *set, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    col_safetensors_index index;
    COL_TRY(col_file_read(set->arena, path, COL_SAFETENSORS_HEADER_LIMIT, &text, &size));
    COL_TRY(col_safetensors_index_parse(set->arena, path, text, size, &index));
    const char *slash = strrchr(path, '/');
    const char *folder = slash ? col_arena_strndup(set->arena, path, (size_t)(slash - path) + 1) : "./";
    for (size_t i = 0; i < index.files.len; i++) {
        const char *name = index.files.data[i], *file = col_arena_printf(set->arena, "%s%s", folder, name);
        col_status status = col_weights_confine(folder, file);
        if (!status) status = add_file(set, slash ? file : name, name, index.owners);
        COL_TRY(col_error_annotate(status, "%s", path));
    }
    for (size_t i = 0; i < index.owners->len; i++) {
        const char *name = index.owners->entries[i].key;
        if (col_map_get(set->by_name, name)) continue;
        return col_error_make(COL_BAD_INPUT,
                              "%s: '%s' has no tensor '%.200s', though the index puts it there; "
                              "download or save the model again",
                              path, (const char *)index.owners->entries[i].value, name);
    }
    return NULL;
}

/* Finds what to open for BASE in the folder, and opens it. */
static col_status add_base(col_safetensors *set, const char *folder, const char *base)
{
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"};
    char *single = col_arena_printf(set->arena, "%s/%s.safetensors", folder, base);
    if (col_file_exists(single)) return add_file(set, single, single, NULL);
    char *index = col_arena_printf(set->arena, "%s/%s.safetensors.index.json", folder, base);
    if (col_file_exists(index)) return add_index(set, index);
    for (size_t i = 0; i < COL_COUNT(pickles); i++) {
        char *pickle = col_arena_printf(set->arena, "%s/%s", folder, pickles[i]);
        if (col_file_exists(pickle)) return col_safetensors_refuse_pickle(pickle);
    }
    return col_error_make(COL_BAD_INPUT,
                          "'%s' has neither %s.safetensors nor %s.safetensors.index.json; give a folder that "
                          "has, or a .safetensors "
                          "file",
                          folder, base, base);
}

static col_status add_path(col_safetensors *set, const char *path)
{
    struct stat info;
    if (!stat(path, &info) && S_ISDIR(info.st_mode)) return add_base(set, path, "model");
    return has_suffix(path, ".index.json") ? add_index(set, path) : add_file(set, path, path, NULL);
}

static col_status finish(col_safetensors *set, col_status status, col_safetensors **out_set)
{
    if (status) {
        col_safetensors_close(set);
    } else {
        *out_set = set;
    }
    return status;
}

col_status col_safetensors_open(const char *path, col_safetensors **out_set)
{
    col_safetensors *set = create();
    return finish(set, add_path(set, path), out_set);
}

col_status col_safetensors_open_base(const char *folder, const char *base, col_safetensors **out_set)
{
    col_safetensors *set = create();
    return finish(set, add_base(set, folder, base), out_set);
}

col_status col_safetensors_open_bytes(const char *name, const void *bytes, size_t size,
                                      col_safetensors **out_set)
{
    col_safetensors *set = create();
    col_vec_push(set->arena, &set->files, (open_file){0});
    return finish(set, add_bytes(set, col_arena_strdup(set->arena, name), bytes, size, name, NULL), out_set);
}

size_t col_safetensors_count(const col_safetensors *set)
{
    return set->tensors.len;
}

const col_stored_tensor *col_safetensors_at(const col_safetensors *set, size_t index)
{
    COL_ASSERT(index < set->tensors.len);
    return &set->tensors.data[index];
}

size_t col_safetensors_file_count(const col_safetensors *set)
{
    return set->files.len;
}

const col_stored_file *col_safetensors_file(const col_safetensors *set, size_t index)
{
    COL_ASSERT(index < set->files.len);
    return &set->files.data[index].info;
}

const col_stored_tensor *col_safetensors_find(const col_safetensors *set, const char *name)
{
    uintptr_t index = (uintptr_t)col_map_get(set->by_name, name);
    return index ? &set->tensors.data[index - 1] : NULL;
}

const col_stored_tensor *col_safetensors_find_prefixed(const col_safetensors *set, const char *name,
                                                       const char *const *prefixes, size_t prefix_count)
{
    const col_stored_tensor *found = col_safetensors_find(set, name);
    for (size_t i = 0; !found && i < prefix_count; i++) {
        size_t size = strlen(prefixes[i]);
        col_str longer = {0};
        col_str_printf(&longer, "%s%s", prefixes[i], name);
        found = col_safetensors_find(set, col_str_text(&longer));
        col_str_fini(&longer);
        if (!found && !strncmp(name, prefixes[i], size)) found = col_safetensors_find(set, name + size);
    }
    return found;
}

const char *col_safetensors_metadata(const col_safetensors *set, const char *key)
{
    const char *value = NULL;
    for (size_t i = 0; !value && i < set->files.len; i++)
        value = col_map_get(set->files.data[i].metadata, key);
    return value;
}

static void append_type(col_str *out, col_store_dtype dtype, uint32_t rank, const int64_t *shape)
{
    col_str_printf(out, "%s[", col_store_dtype_name(dtype));
    for (uint32_t i = 0; i < rank; i++) col_str_printf(out, i ? ", %lld" : "%lld", (long long)shape[i]);
    col_str_append(out, "]");
}

static col_status absent(const col_safetensors *set, const char *name)
{
    col_arena *arena = col_arena_create();
    const char **names = COL_NEW_ARRAY(arena, const char *, set->tensors.len);
    for (size_t i = 0; i < set->tensors.len; i++) names[i] = set->tensors.data[i].name;
    const char *near = col_suggest(name, names, set->tensors.len);
    const char *path = set->files.len ? set->files.data[0].info.path : "the index";
    col_status status =
        near ? col_error_make(COL_BAD_INPUT, "%s: no tensor '%s'; the nearest is '%.200s'", path, name, near)
             : col_error_make(COL_BAD_INPUT, "%s: no tensor '%s'; are these the weights of this model?", path,
                              name);
    col_arena_destroy(arena);
    return status;
}

col_status col_safetensors_require(const col_safetensors *set, const char *name, col_store_dtype dtype,
                                   uint32_t rank, const int64_t *shape, const col_stored_tensor **out_tensor)
{
    const col_stored_tensor *t = col_safetensors_find(set, name);
    if (!t) return absent(set, name);
    if (t->dtype == dtype && t->rank == rank && (!rank || !memcmp(t->shape, shape, rank * sizeof *shape))) {
        *out_tensor = t;
        return NULL;
    }
    col_str have = {0}, want = {0};
    append_type(&have, t->dtype, t->rank, t->shape);
    append_type(&want, dtype, rank, shape);
    col_status status =
        col_error_make(COL_BAD_INPUT,
                       "%s: tensor '%s' is %s, but the model needs %s; compile the model with the "
                       "settings that these weights were made with",
                       set->files.data[t->file].info.path, name, col_str_text(&have), col_str_text(&want));
    col_str_fini(&have);
    col_str_fini(&want);
    return status;
}

col_status col_safetensors_verify_tensor(const col_safetensors *set, const col_stored_tensor *tensor)
{
    if (!tensor->has_checksum || XXH3_64bits(tensor->data, tensor->bytes) == tensor->checksum) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "%s: tensor '%.200s' does not match its checksum: its data was damaged after it was saved; "
        "use another copy or an earlier checkpoint",
        set->files.data[tensor->file].info.path, tensor->name);
}

col_status col_safetensors_verify(const col_safetensors *set, size_t *out_unchecked)
{
    size_t unchecked = 0;
    for (size_t i = 0; i < set->tensors.len; i++) {
        COL_TRY(col_safetensors_verify_tensor(set, &set->tensors.data[i]));
        unchecked += !set->tensors.data[i].has_checksum;
    }
    if (out_unchecked) *out_unchecked = unchecked;
    return NULL;
}
