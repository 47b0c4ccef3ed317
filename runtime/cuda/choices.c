#include "runtime/cuda/choices.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/file.h"

enum { LARGEST_FILE = 16 << 20, CHECKSUM_DIGITS = 16, VERSION = 1 };

typedef struct choice {
    const char *text; /* NULL: to be chosen */
    bool is_shared;   /* all ranks have it */
} choice;

/* Where the file is; NULL: nowhere. */
static const char *file_path(col_arena *arena, const char *device)
{
    const char *own = getenv("COLC_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *folder = own;
    if (!own && cache && *cache) folder = col_arena_printf(arena, "%s/colc", cache);
    if (!folder && home && *home) folder = col_arena_printf(arena, "%s/.cache/colc", home);
    if (!folder || !*folder) return NULL;
    char *name = col_arena_printf(arena, "%s/%s.json", folder, device);
    for (char *c = name + strlen(folder) + 1; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '.') *c = '-';
    }
    col_status status = col_make_folder(folder);
    if (!status) return name;
    fprintf(stderr, "colrun: warning: algorithms are not measured, since the choice cannot be kept: %s\n",
            col_error_message(status));
    col_error_free(status);
    return NULL;
}

/* Of the choices as their one text. */
static void print_checksum(const json_t *choices, char out[CHECKSUM_DIGITS + 1])
{
    char *text = json_dumps(choices, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text) col_out_of_memory(0);
    snprintf(out, CHECKSUM_DIGITS + 1, "%016llx",
             (unsigned long long)col_hash_bytes(text, strlen(text), VERSION));
    free(text);
}

static const char *take_choices(cuda_choices *c, const json_t *root)
{
    const json_t *choices = json_object_get(root, "choices");
    const char *checksum = json_string_value(json_object_get(root, "checksum")),
               *device = json_string_value(json_object_get(root, "device"));
    char wanted[CHECKSUM_DIGITS + 1];
    if (!json_is_object(choices) || !checksum || !device) return "it has no choices, checksum or device";
    print_checksum(choices, wanted);
    if (strcmp(checksum, wanted)) return "its checksum does not fit";
    if (strcmp(device, c->device)) return "it is of another GPU";
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)choices, key, value)
    {
        const char *text = json_string_value(value);
        if (!text || strlen(text) >= CUDA_CHOICE_BYTES) return "a choice is no text, or too long a one";
        choice *read = COL_NEW(c->arena, choice);
        read->text = col_arena_strdup(c->arena, text);
        col_map_set(c->choices, key, read);
    }
    return NULL;
}

static col_status read_file(cuda_choices *c)
{
    char *text;
    size_t size;
    json_error_t error;
    if (!c->path || !col_file_exists(c->path)) return NULL;
    COL_TRY(col_file_read(c->arena, c->path, LARGEST_FILE, &text, &size));
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    const char *fault = root ? take_choices(c, root) : error.text;
    col_status status = NULL;
    if (fault)
        status = col_error_make(
            COL_DEVICE,
            "%s: the cache of measured algorithms is damaged: %s; remove the file, and they are "
            "measured again",
            c->path, fault);
    json_decref(root);
    return status;
}

static bool leads(const cuda_choices *c)
{
    return !c->comm || c->comm->rank == 0;
}

col_status cuda_choices_open(col_arena *arena, const char *device, col_comm *comm, cuda_choices *out)
{
    *out = (cuda_choices){.arena = arena, .comm = comm, .device = col_arena_strdup(arena, device)};
    out->choices = col_map_create(arena);
    if (!leads(out)) return NULL;
    out->path = file_path(arena, device);
    return read_file(out);
}

bool cuda_choices_are_kept(const cuda_choices *c)
{
    return c->path != NULL;
}

col_status cuda_choices_find(cuda_choices *c, const char *key, cuda_choose choose, void *context,
                             const char **out_text)
{
    char text[CUDA_CHOICE_BYTES] = "";
    choice *known = col_map_get(c->choices, key);
    if (!known) {
        known = COL_NEW(c->arena, choice);
        col_map_set(c->choices, key, known);
    }
    if (!known->is_shared) {
        if (!known->text && leads(c)) {
            COL_TRY(choose(context, text));
            c->is_changed |= *text != '\0';
        } else if (known->text) {
            snprintf(text, sizeof text, "%s", known->text);
        }
        if (c->comm) COL_TRY(c->comm->type->broadcast(c->comm, 0, text, sizeof text));
        *known = (choice){col_arena_strdup(c->arena, text), true};
    }
    *out_text = known->text;
    return NULL;
}

static json_t *make_root(const cuda_choices *c)
{
    char checksum[CHECKSUM_DIGITS + 1];
    json_t *choices = json_object();
    for (size_t i = 0; i < c->choices->len; i++) {
        const col_map_entry *entry = &c->choices->entries[i];
        const choice *known = entry->value;
        if (*known->text) json_object_set_new(choices, entry->key, json_string(known->text));
    }
    print_checksum(choices, checksum);
    return json_pack("{s:s, s:s, s:o}", "device", c->device, "checksum", checksum, "choices", choices);
}

void cuda_choices_save(cuda_choices *c)
{
    if (!c->path || !c->is_changed) return;
    json_t *root = make_root(c);
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    if (!text) col_out_of_memory(0);
    col_status status = col_file_write(c->path, text, strlen(text));
    if (status)
        fprintf(stderr,
                "colrun: warning: measured algorithms are not kept, and the next run may choose others: %s\n",
                col_error_message(status));
    col_error_free(status);
    c->is_changed = false;
    free(text);
    json_decref(root);
}
