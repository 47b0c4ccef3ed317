#include "frontend/recipe.h"

#include "ir/base/diag.h"
#include "ir/base/file.h"
#include "ir/base/map.h"

#include <string.h>
#include <yaml.h>

enum { LARGEST_RECIPE = 1 << 20 };

typedef COL_VEC(const char *) name_list;

/* The recipe being read. Events come one at a time; `event` is the present one. */
typedef struct reader {
    const char *path;
    col_source source;
    col_arena *arena;
    col_diags diags;
    yaml_parser_t parser;
    yaml_event_t event;
    bool broken;                        /* the file is no YAML: reported, nothing more can be read */
    const col_option *const *elsewhere; /* tables of other commands' options */
    const size_t *elsewhere_sizes;
    size_t elsewhere_count;
    col_options *options;
    COL_VEC(col_option_value) added;
    COL_VEC(col_option_value) settings; /* of `set` */
    const char *model;
} reader;

static col_loc place(const reader *r, yaml_mark_t mark)
{
    return (col_loc){&r->source, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

static col_loc here(const reader *r)
{
    return place(r, r->event.start_mark);
}

/* Takes the next event; false when there is none because the file is broken. */
static bool next(reader *r)
{
    yaml_event_delete(&r->event);
    if (r->broken) return false;
    if (yaml_parser_parse(&r->parser, &r->event)) return true;
    r->broken = true;
    yaml_mark_t mark = r->parser.problem_mark;
    col_diag_add(&r->diags, place(r, mark), "this is not YAML: %s%s%s",
                 r->parser.problem ? r->parser.problem : "unreadable", r->parser.context ? " " : "",
                 r->parser.context ? r->parser.context : "");
    return false;
}

/* Passes over the value that begins with the present event. */
static void skip_value(reader *r)
{
    int depth = 0;
    do {
        yaml_event_type_t type = r->event.type;
        depth += type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
        depth -= type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
    } while (depth > 0 && next(r));
}

/* The present scalar as text; NULL and a fault for anything else. */
static const char *scalar(reader *r, const char *what)
{
    const char *fault = NULL;
    if (r->event.type != YAML_SCALAR_EVENT) {
        fault =
            r->event.type == YAML_ALIAS_EVENT ? "aliases are not for recipes" : "a single value is wanted";
    } else if (!r->event.data.scalar.length ||
               memchr(r->event.data.scalar.value, 0, r->event.data.scalar.length)) {
        fault = "a value is missing";
    }
    if (!fault) {
        return col_arena_strndup(r->arena, (const char *)r->event.data.scalar.value,
                                 r->event.data.scalar.length);
    }
    col_diag_add(&r->diags, here(r), "%s: %s", what, fault);
    return NULL;
}

static void read_flag(reader *r, const col_option *option)
{
    const char *value = scalar(r, option->name);
    if (!value) return;
    if (!strcmp(value, "true")) {
        col_option_value entry = {option, ""};
        col_vec_push(r->arena, &r->added, entry);
    } else if (strcmp(value, "false")) {
        col_diag_add(&r->diags, here(r), "%s: true or false is wanted, not '%s'", option->name, value);
    }
}

static void read_option(reader *r, const col_option *option)
{
    if (!option->argument) {
        read_flag(r, option);
        skip_value(r);
        return;
    }
    bool list = option->repeats && r->event.type == YAML_SEQUENCE_START_EVENT;
    if (list && !next(r)) return;
    while (!r->broken && !(list && r->event.type == YAML_SEQUENCE_END_EVENT)) {
        const char *value = scalar(r, option->name);
        skip_value(r);
        col_option_value entry = {option, value};
        if (value) col_vec_push(r->arena, &r->added, entry);
        if (!list || !next(r)) break;
    }
}

static const char *key_of(reader *r, col_map *seen)
{
    const char *key = scalar(r, "a key");
    if (!key) return NULL;
    if (!col_map_set(seen, key, r)) return key;
    col_diag_add(&r->diags, here(r), "'%s' is given twice", key);
    return NULL;
}

/* "set: { layers: 48 }" */
static void read_settings(reader *r)
{
    const col_option *option = col_options_known(r->options, "set");
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        col_diag_add(&r->diags, here(r), "set: hyperparameters are wanted, as in 'set: { layers: 48 }'");
        skip_value(r);
        return;
    }
    col_map *seen = col_map_create(r->arena);
    while (next(r) && r->event.type != YAML_MAPPING_END_EVENT) {
        const char *key = key_of(r, seen);
        skip_value(r);
        if (!next(r)) return;
        const char *value = scalar(r, key ? key : "set");
        skip_value(r);
        if (!key || !value || !option) continue;
        col_option_value entry = {option, col_arena_printf(r->arena, "%s=%s", key, value)};
        col_vec_push(r->arena, &r->settings, entry);
    }
}

static void read_model(reader *r)
{
    const char *value = scalar(r, "model"), *slash = strrchr(r->path, '/');
    skip_value(r);
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
    col_diag_add(&r->diags, loc, "unknown key '%s'%s%s%s", key, near ? "; did you mean '" : "",
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
        col_diag_add(&r->diags, loc, "a recipe cannot name another recipe");
        skip_value(r);
    } else if (option) {
        read_option(r, option);
    } else {
        if (!col_option_find(r->elsewhere, r->elsewhere_sizes, r->elsewhere_count, key))
            report_unknown(r, loc, key);
        skip_value(r);
    }
}

static void read_document(reader *r)
{
    if (!next(r) || !next(r)) return; /* the stream begins */
    if (r->event.type == YAML_STREAM_END_EVENT) {
        col_diag_add(&r->diags, here(r), "the recipe is empty; write 'key: value' lines");
        return;
    }
    if (!next(r)) return; /* the document begins */
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        col_diag_add(&r->diags, here(r), "a recipe is a list of 'key: value' lines");
        return;
    }
    col_map *seen = col_map_create(r->arena);
    while (next(r) && r->event.type != YAML_MAPPING_END_EVENT && r->diags.total < COL_DIAG_LIMIT) {
        col_loc loc = here(r);
        const char *key = key_of(r, seen);
        skip_value(r);
        if (!next(r)) return;
        if (key)
            read_entry(r, key, loc);
        else
            skip_value(r);
    }
    if (r->broken || !next(r) || !next(r)) return;
    if (r->event.type != YAML_STREAM_END_EVENT)
        col_diag_add(&r->diags, here(r), "a recipe is one document; a second begins here");
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
                .source = {.name = path},
                .arena = arena,
                .diags = {.arena = arena},
                .elsewhere = elsewhere,
                .elsewhere_sizes = elsewhere_sizes,
                .elsewhere_count = elsewhere_count,
                .options = options};
    char *text;
    COL_TRY(col_file_read(arena, path, LARGEST_RECIPE, &text, &r.source.size));
    r.source.text = text;
    if (!yaml_parser_initialize(&r.parser)) col_out_of_memory(0);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, r.source.size);
    read_document(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    col_status status = col_diags_status(&r.diags);
    if (!status) merge(&r);
    return status;
}
