#include "frontend/recipe.h"

#include "frontend/yaml_reader.h"

#include <string.h>

typedef COL_VEC(const char *) name_list;

/* The recipe being read. */
typedef struct reader {
    const char *path;
    col_yaml yaml;
    col_arena *arena;
    const col_option *const *elsewhere; /* tables of other commands' options */
    const size_t *elsewhere_sizes;
    size_t elsewhere_count;
    col_options *options;
    COL_VEC(col_option_value) added;
    COL_VEC(col_option_value) settings; /* of `set` */
    const char *model;
} reader;

static void read_flag(reader *r, const col_option *option)
{
    const char *value = col_yaml_scalar(&r->yaml, option->name);
    if (!value) return;
    if (!strcmp(value, "true")) {
        col_option_value entry = {option, ""};
        col_vec_push(r->arena, &r->added, entry);
    } else if (strcmp(value, "false")) {
        col_diag_add(&r->yaml.diags, col_yaml_here(&r->yaml), "%s: true or false is wanted, not '%s'",
                     option->name, value);
    }
}

static void read_option(reader *r, const col_option *option)
{
    if (!option->argument) {
        read_flag(r, option);
        col_yaml_skip(&r->yaml);
        return;
    }
    bool list = option->repeats && r->yaml.event.type == YAML_SEQUENCE_START_EVENT;
    if (list && !col_yaml_next(&r->yaml)) return;
    while (!r->yaml.broken && !(list && r->yaml.event.type == YAML_SEQUENCE_END_EVENT)) {
        const char *value = col_yaml_scalar(&r->yaml, option->name);
        col_yaml_skip(&r->yaml);
        col_option_value entry = {option, value};
        if (value) col_vec_push(r->arena, &r->added, entry);
        if (!list || !col_yaml_next(&r->yaml)) break;
    }
}

/* "set: { layers: 48 }" */
static void read_settings(reader *r)
{
    const col_option *option = col_options_known(r->options, "set");
    if (r->yaml.event.type != YAML_MAPPING_START_EVENT) {
        col_diag_add(&r->yaml.diags, col_yaml_here(&r->yaml),
                     "set: hyperparameters are wanted, as in 'set: { layers: 48 }'");
        col_yaml_skip(&r->yaml);
        return;
    }
    col_map *seen = col_map_create(r->arena);
    const char *key;
    col_loc loc;
    while (col_yaml_entry(&r->yaml, seen, &key, &loc)) {
        const char *value = col_yaml_scalar(&r->yaml, key);
        col_yaml_skip(&r->yaml);
        if (!value || !option) continue;
        col_option_value entry = {option, col_arena_printf(r->arena, "%s=%s", key, value)};
        col_vec_push(r->arena, &r->settings, entry);
    }
}

static void read_model(reader *r)
{
    const char *value = col_yaml_scalar(&r->yaml, "model"), *slash = strrchr(r->path, '/');
    col_yaml_skip(&r->yaml);
    if (!value) return;
    bool as_it_is = value[0] == '/' || !slash;
    r->model =
        as_it_is ? value : col_arena_printf(r->arena, "%.*s/%s", (int)(slash - r->path), r->path, value);
}

static void add_names(reader *r, const col_option *const *tables, const size_t *sizes, size_t count,
                      name_list *names)
{
    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i < sizes[t]; i++) col_vec_push(r->arena, names, tables[t][i].name);
    }
}

static void report_unknown(reader *r, col_loc loc, const char *key)
{
    name_list names = {0};
    col_vec_push(r->arena, &names, "model");
    col_vec_push(r->arena, &names, "set");
    add_names(r, r->options->tables, r->options->sizes, r->options->table_count, &names);
    add_names(r, r->elsewhere, r->elsewhere_sizes, r->elsewhere_count, &names);
    const char *near = col_suggest(key, names.data, names.len);
    col_diag_add(&r->yaml.diags, loc, "unknown key '%s'%s%s%s", key, near ? "; did you mean '" : "",
                 near ? near : "; keys are the options of the command line, without '--'", near ? "'?" : "");
}

static void read_entry(reader *r, const char *key, col_loc loc)
{
    const col_option *option = col_options_known(r->options, key);
    if (!strcmp(key, "model")) {
        read_model(r);
    } else if (!strcmp(key, "set")) {
        read_settings(r);
    } else if (!strcmp(key, "recipe")) {
        col_diag_add(&r->yaml.diags, loc, "a recipe cannot name another recipe");
        col_yaml_skip(&r->yaml);
    } else if (option) {
        read_option(r, option);
    } else {
        if (!col_option_find(r->elsewhere, r->elsewhere_sizes, r->elsewhere_count, key))
            report_unknown(r, loc, key);
        col_yaml_skip(&r->yaml);
    }
}

/* What the recipe says where the command line is silent; its hyperparameters before the command line's. */
static void merge(const reader *r)
{
    col_options given = *r->options;
    col_options *out = r->options;
    if (r->model && !out->positionals.len) col_vec_push(r->arena, &out->positionals, r->model);
    memset(&out->values, 0, sizeof out->values);
    for (size_t i = 0; i < r->settings.len; i++) col_vec_push(r->arena, &out->values, r->settings.data[i]);
    for (size_t i = 0; i < given.values.len; i++) col_vec_push(r->arena, &out->values, given.values.data[i]);
    for (size_t i = 0; i < r->added.len; i++) {
        if (col_options_has(&given, r->added.data[i].option->name)) continue;
        col_vec_push(r->arena, &out->values, r->added.data[i]);
    }
}

col_status col_recipe_apply(const char *path, const col_option *const *elsewhere,
                            const size_t *elsewhere_sizes, size_t elsewhere_count, col_options *options,
                            col_arena *arena)
{
    reader r = {.path = path,
                .arena = arena,
                .elsewhere = elsewhere,
                .elsewhere_sizes = elsewhere_sizes,
                .elsewhere_count = elsewhere_count,
                .options = options};
    bool begun;
    const char *key;
    col_loc loc;
    COL_TRY(col_yaml_open(&r.yaml, "a recipe", path, arena, &begun));
    col_map *seen = col_map_create(arena);
    while (begun && col_yaml_entry(&r.yaml, seen, &key, &loc)) read_entry(&r, key, loc);
    COL_TRY(col_yaml_close(&r.yaml));
    merge(&r);
    return NULL;
}
