/* The index of a sharded model: {"metadata": ..., "weight_map": {tensor: file}}, files below the index's folder. */
#include "runtime/store/safetensors_parse.h"

#include <jansson.h>
#include <string.h>

/* Whether the name stays inside the folder of the index. */
static bool is_confined(const char *name)
{
    if (!*name || *name == '/') return false;
    for (const char *at = name; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (!strncmp(at, "..", 2) && (at[2] == '/' || !at[2])) return false;
    }
    return true;
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && !strcmp(text + n - m, suffix);
}

static col_status check_name(const char *path, const char *tensor, const char *name)
{
    if (!name || !is_confined(name)) {
        return col_error_make(
            COL_BAD_INPUT,
            "%s: tensor '%.200s' is in '%.200s', which is not a file below the folder of the "
            "index; use an index whose files lie beside it",
            path, tensor, name ? name : "(not a string)");
    }
    if (has_suffix(name, ".safetensors")) return NULL;
    if (has_suffix(name, ".bin") || has_suffix(name, ".pt")) return col_safetensors_refuse_pickle(name);
    return col_error_make(COL_BAD_INPUT,
                          "%s: '%.200s' is not a .safetensors file; download or save the model again", path,
                          name);
}

static col_status read_weight_map(col_arena *arena, const char *path, json_t *weight_map,
                                  col_safetensors_index *out)
{
    col_map *seen = col_map_create(arena);
    const char *tensor;
    json_t *value;
    json_object_foreach(weight_map, tensor, value)
    {
        const char *name = json_string_value(value);
        COL_TRY(check_name(path, tensor, name));
        char *file = col_map_get(seen, name);
        if (!file) {
            file = col_arena_strdup(arena, name);
            col_map_set(seen, name, file);
            col_vec_push(arena, &out->files, file);
        }
        col_map_set(out->owners, tensor, file);
    }
    return NULL;
}

col_status col_safetensors_index_parse(col_arena *arena, const char *path, const char *text, size_t size,
                                       col_safetensors_index *out)
{
    json_error_t error;
    *out = (col_safetensors_index){.owners = col_map_create(arena)};
    json_t *index = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!index) {
        return col_error_make(COL_BAD_INPUT, "%s:%d:%d: %s; download or save the index again", path,
                              error.line, error.column, error.text);
    }
    json_t *weight_map = json_object_get(index, "weight_map");
    col_status status =
        json_is_object(weight_map)
            ? read_weight_map(arena, path, weight_map, out)
            : col_error_make(COL_BAD_INPUT, "%s: no object 'weight_map'; this is not an index of safetensors",
                             path);
    json_decref(index);
    return status;
}
