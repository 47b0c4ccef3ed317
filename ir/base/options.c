#include "ir/base/options.h"

#include <string.h>

const col_option *col_option_find(const col_option *const *tables, const size_t *sizes, size_t table_count,
                                  const char *name)
{
    for (size_t t = 0; t < table_count; t++) {
        for (size_t i = 0; i < sizes[t]; i++) {
            if (!strcmp(tables[t][i].name, name)) return &tables[t][i];
        }
    }
    return NULL;
}

static col_status unknown(const col_option *const *tables, const size_t *sizes, size_t table_count,
                          const char *name, col_arena *arena)
{
    size_t total = 0, n = 0;
    for (size_t t = 0; t < table_count; t++) total += sizes[t];
    const char **names = COL_NEW_ARRAY(arena, const char *, total);
    for (size_t t = 0; t < table_count; t++) {
        for (size_t i = 0; i < sizes[t]; i++) names[n++] = tables[t][i].name;
    }
    const char *near = col_suggest(name, names, total);
    if (near) return col_error_make(COL_BAD_INPUT, "unknown option '--%s'; did you mean '--%s'?", name, near);
    return col_error_make(COL_BAD_INPUT, "unknown option '--%s'; see --help", name);
}

static bool looks_like_option(const char *text)
{
    return text[0] == '-' && text[1] == '-';
}

/* Ends the values of an option that repeats: "--set a=1 -o FILE". */
static bool ends_list(const char *text)
{
    return looks_like_option(text) || !strcmp(text, "-o") || !strcmp(text, "-h");
}

static col_status take(col_options *options, const col_option *option, const char *value, col_arena *arena)
{
    if (!option->repeats && col_options_has(options, option->name)) {
        return col_error_make(COL_BAD_INPUT, "option '--%s' is given twice", option->name);
    }
    col_option_value entry = {option, value};
    col_vec_push(arena, &options->values, entry);
    return NULL;
}

/* `argv[*at]` is "--name" or "--name=value"; leaves `*at` on the last argument that it took. */
static col_status parse_one(const col_option *const *tables, const size_t *sizes, size_t table_count,
                            int argc, char *const *argv, int *at, col_arena *arena, col_options *out)
{
    const char *text = argv[*at] + 2, *equals = strchr(text, '=');
    const char *name = equals ? col_arena_strndup(arena, text, (size_t)(equals - text)) : text;
    const col_option *option = col_option_find(tables, sizes, table_count, name);
    if (!option) return unknown(tables, sizes, table_count, name, arena);
    if (!option->argument) {
        if (equals) return col_error_make(COL_BAD_INPUT, "option '--%s' takes no value", name);
        return take(out, option, "", arena);
    }
    if (equals) return take(out, option, equals + 1, arena);
    if (*at + 1 >= argc || looks_like_option(argv[*at + 1])) {
        return col_error_make(COL_BAD_INPUT, "option '--%s' needs a value: --%s %s", name, name,
                              option->argument);
    }
    COL_TRY(take(out, option, argv[++*at], arena));
    while (option->repeats && *at + 1 < argc && !ends_list(argv[*at + 1]))
        COL_TRY(take(out, option, argv[++*at], arena));
    return NULL;
}

col_status col_options_parse(const col_option *const *tables, const size_t *sizes, size_t table_count,
                             int argc, char *const *argv, col_arena *arena, col_options *out_options)
{
    *out_options = (col_options){.tables = tables, .sizes = sizes, .table_count = table_count};
    for (int i = 0; i < argc && strcmp(argv[i], "--"); i++) {
        if (strcmp(argv[i], "--help") && strcmp(argv[i], "-h")) continue;
        out_options->help = true;
        return NULL;
    }
    bool ended = false;
    for (int i = 0; i < argc; i++) {
        if (!ended && !strcmp(argv[i], "--")) {
            ended = true;
        } else if (!ended && looks_like_option(argv[i])) {
            COL_TRY(parse_one(tables, sizes, table_count, argc, argv, &i, arena, out_options));
        } else if (!ended && !strcmp(argv[i], "-o") &&
                   col_option_find(tables, sizes, table_count, "output")) {
            char *spelled[] = {"--output", i + 1 < argc ? argv[i + 1] : NULL};
            int at = 0;
            COL_TRY(parse_one(tables, sizes, table_count, i + 1 < argc ? 2 : 1, spelled, &at, arena,
                              out_options));
            i++;
        } else if (!ended && argv[i][0] == '-' && argv[i][1]) {
            return col_error_make(COL_BAD_INPUT, "unknown option '%s'; see --help", argv[i]);
        } else {
            col_vec_push(arena, &out_options->positionals, argv[i]);
        }
    }
    return NULL;
}

void col_options_default(col_options *options, const col_option *option, const char *value, col_arena *arena)
{
    if (!option->repeats && col_options_has(options, option->name)) return;
    col_option_value entry = {option, value};
    col_vec_push(arena, &options->values, entry);
}

const col_option *col_options_known(const col_options *options, const char *name)
{
    return col_option_find(options->tables, options->sizes, options->table_count, name);
}

const char *col_options_get(const col_options *options, const char *name)
{
    for (size_t i = 0; i < options->values.len; i++) {
        if (!strcmp(options->values.data[i].option->name, name)) return options->values.data[i].value;
    }
    return NULL;
}

bool col_options_has(const col_options *options, const char *name)
{
    return col_options_get(options, name) != NULL;
}

col_status col_options_int(const col_options *options, const char *name, int64_t low, int64_t high,
                           int64_t *value)
{
    const char *text = col_options_get(options, name);
    if (!text) return NULL;
    char what[64] = "--";
    strncat(what, name, sizeof what - 3);
    return col_parse_int(what, text, low, high, value);
}

col_status col_options_double(const col_options *options, const char *name, double low, double high,
                              double *value)
{
    const char *text = col_options_get(options, name);
    if (!text) return NULL;
    char what[64] = "--";
    strncat(what, name, sizeof what - 3);
    return col_parse_double(what, text, low, high, value);
}

col_status col_options_choice(const col_options *options, const char *name, const char *const *choices,
                              size_t count, int *value)
{
    const char *text = col_options_get(options, name);
    if (!text) return NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(choices[i], text)) continue;
        *value = (int)i;
        return NULL;
    }
    col_str list = {0};
    for (size_t i = 0; i < count; i++) col_str_printf(&list, "%s%s", i ? ", " : "", choices[i]);
    col_status status =
        col_error_make(COL_BAD_INPUT, "--%s: '%s' is none of: %s", name, text, col_str_text(&list));
    col_str_fini(&list);
    return status;
}

void col_options_help(const col_option *table, size_t count, col_str *out)
{
    for (size_t i = 0; i < count; i++) {
        if (!table[i].help) continue;
        size_t start = out->len;
        col_str_printf(out, "  --%s%s%s%s", table[i].name, table[i].argument ? " " : "",
                       table[i].argument ? table[i].argument : "", table[i].repeats ? "..." : "");
        size_t width = out->len - start;
        if (width > 30) col_str_append(out, "\n"), width = 0;
        col_str_printf(out, "%*s%s\n", (int)(32 - width), "", table[i].help);
    }
}
