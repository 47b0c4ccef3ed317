#include "runtime/store/checkpoint_state.h"
#include "runtime/store/safetensors_parse.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define OPENING                                                                                              \
    "{\n  \"xxh3\": \"" /* the checksum's digits follow: a fixed place, as in safetensors headers */
#define FORMAT "colc-checkpoint"
#define REMEDY "the checkpoint is damaged; use an earlier one"

enum { VERSION = 1 };

static uint64_t checksum_of(const char *text, size_t size)
{
    size_t before = strlen(OPENING), after = before + 16;
    XXH3_state_t *state = XXH3_createState();
    if (!state) col_out_of_memory(0);
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, text, before);
    XXH3_64bits_update(state, "0000000000000000", 16);
    XXH3_64bits_update(state, text + after, size - after);
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

/* JSON has no NaN and no infinities. */
static json_t *real_to_json(double value)
{
    if (isfinite(value)) return json_real(value);
    return json_pack("{s:s}", "real", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
}

static bool real_from_json(const json_t *value, double *out)
{
    const char *word = json_string_value(json_object_get(value, "real"));
    if (json_is_real(value)) {
        *out = json_real_value(value);
    } else if (word && !strcmp(word, "nan")) {
        *out = NAN;
    } else if (word && !strcmp(word, "inf")) {
        *out = INFINITY;
    } else if (word && !strcmp(word, "-inf")) {
        *out = -INFINITY;
    } else {
        return false;
    }
    return true;
}

static json_t *scalar_to_json(const col_scalar *scalar)
{
    switch (scalar->kind) {
    case COL_SCALAR_INT: return json_integer(scalar->integer);
    case COL_SCALAR_REAL: return real_to_json(scalar->real);
    case COL_SCALAR_TEXT: return json_string(scalar->text);
    }
    COL_PANIC("scalar of kind %d", (int)scalar->kind);
}

static col_status scalars_to_json(const col_checkpoint_state *state, json_t *out)
{
    for (size_t i = 0; i < state->scalar_count; i++) {
        const char *key = state->scalars[i].key;
        if (!json_object_get(out, key) &&
            !json_object_set_new(out, key, scalar_to_json(&state->scalars[i]))) {
            continue;
        }
        return col_error_make(COL_BAD_INPUT, "checkpoint value '%.200s' is not UTF-8 or occurs twice", key);
    }
    return NULL;
}

col_status col_checkpoint_state_print(const col_checkpoint_state *state, col_str *out)
{
    json_t *files = json_array(), *scalars = json_object();
    for (size_t i = 0; i < state->file_count; i++) {
        char hex[COL_HEX64_SIZE];
        col_hex64_print(hex, state->files[i].header_hash);
        json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "name", state->files[i].name, "bytes",
                                               (json_int_t)state->files[i].bytes, "header_xxh3", hex));
    }
    col_status status = scalars_to_json(state, scalars);
    json_t *root = json_pack("{s:s, s:s, s:i, s:s, s:I, s:o, s:o}", "xxh3", "0000000000000000", "format",
                             FORMAT, "version", VERSION, "library_version", state->library_version, "step",
                             (json_int_t)state->step, "files", files, "scalars", scalars);
    char *text = status ? NULL : json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (status) return status;
    if (!text) col_out_of_memory(0);
    size_t size = strlen(text);
    char hex[COL_HEX64_SIZE];
    COL_ASSERT(!strncmp(text, OPENING, strlen(OPENING)));
    col_hex64_print(hex, checksum_of(text, size));
    memcpy(text + strlen(OPENING), hex, 16);
    col_str_append_bytes(out, text, size);
    free(text);
    return NULL;
}

static col_status bad(const char *path, const char *what)
{
    return col_error_make(COL_BAD_INPUT, "%s: %s; " REMEDY, path, what);
}

static col_status parse_file(col_arena *arena, const char *path, const json_t *entry, col_state_file *out)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const json_t *bytes = json_object_get(entry, "bytes");
    const char *hex = json_string_value(json_object_get(entry, "header_xxh3"));
    if (!name || !*name || *name == '.' || strchr(name, '/') || !json_is_integer(bytes) ||
        json_integer_value(bytes) < 0 || !hex || !col_hex64_parse(hex, &out->header_hash)) {
        return bad(path, "an entry of 'files' lacks a plain name, bytes or header_xxh3");
    }
    out->name = col_arena_strdup(arena, name);
    out->bytes = (uint64_t)json_integer_value(bytes);
    return NULL;
}

static col_status parse_scalar(col_arena *arena, const char *path, const char *key, const json_t *value,
                               col_scalar *out)
{
    *out = (col_scalar){.key = col_arena_strdup(arena, key)};
    if (json_is_integer(value)) {
        out->kind = COL_SCALAR_INT;
        out->integer = json_integer_value(value);
    } else if (json_is_string(value)) {
        out->kind = COL_SCALAR_TEXT;
        out->text = col_arena_strdup(arena, json_string_value(value));
    } else if (real_from_json(value, &out->real)) {
        out->kind = COL_SCALAR_REAL;
    } else {
        return col_error_make(COL_BAD_INPUT, "%s: scalar '%.200s' is neither a number nor a text; " REMEDY,
                              path, key);
    }
    return NULL;
}

static col_status parse_root(col_arena *arena, const char *path, json_t *root, col_checkpoint_state *out)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const char *library = json_string_value(json_object_get(root, "library_version"));
    const json_t *step = json_object_get(root, "step");
    const json_t *files = json_object_get(root, "files");
    json_t *scalars = json_object_get(root, "scalars");
    if (!format || strcmp(format, FORMAT)) return bad(path, "'format' is not \"" FORMAT "\"");
    json_int_t version = json_integer_value(json_object_get(root, "version"));
    if (version != VERSION) {
        return col_error_make(COL_BAD_INPUT,
                              "%s: checkpoint version %" JSON_INTEGER_FORMAT
                              ", but this colc reads version %d; use the colc that wrote it (%.40s)",
                              path, version, VERSION, library ? library : "unknown");
    }
    if (!library || !json_is_integer(step) || json_integer_value(step) < 0 || !json_is_array(files) ||
        !json_is_object(scalars)) {
        return bad(path, "one of library_version, step, files and scalars is missing");
    }
    out->step = json_integer_value(step);
    out->library_version = col_arena_strdup(arena, library);
    out->file_count = json_array_size(files);
    col_state_file *parsed_files = COL_NEW_ARRAY(arena, col_state_file, out->file_count);
    for (size_t i = 0; i < out->file_count; i++) {
        COL_TRY(parse_file(arena, path, json_array_get(files, i), &parsed_files[i]));
    }
    out->files = parsed_files;
    col_scalar *parsed_scalars = COL_NEW_ARRAY(arena, col_scalar, json_object_size(scalars));
    const char *key;
    json_t *value;
    json_object_foreach(scalars, key, value)
    {
        COL_TRY(parse_scalar(arena, path, key, value, &parsed_scalars[out->scalar_count]));
        out->scalar_count++;
    }
    out->scalars = parsed_scalars;
    return NULL;
}

col_status col_checkpoint_state_parse(col_arena *arena, const char *path, const char *text, size_t size,
                                      col_checkpoint_state *out_state)
{
    size_t opening = strlen(OPENING);
    char hex[COL_HEX64_SIZE] = "";
    uint64_t want = 0;
    *out_state = (col_checkpoint_state){0};
    if (size < opening + 16 || memcmp(text, OPENING, opening)) {
        return bad(path, "it does not start with its checksum, as a checkpoint's state does");
    }
    memcpy(hex, text + opening, 16);
    if (!col_hex64_parse(hex, &want) || want != checksum_of(text, size)) {
        return bad(path, "it does not match its checksum");
    }
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        return col_error_make(COL_BAD_INPUT, "%s:%d:%d: %s; " REMEDY, path, error.line, error.column,
                              error.text);
    }
    col_status status = parse_root(arena, path, root, out_state);
    json_decref(root);
    return status;
}
