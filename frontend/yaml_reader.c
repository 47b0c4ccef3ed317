#include "frontend/yaml_reader.h"

#include <string.h>

#include "ir/base/file.h"

enum { LARGEST_FILE = 1 << 20 };

static col_loc place(const col_yaml *y, yaml_mark_t mark)
{
    return (col_loc){&y->source, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

col_loc col_yaml_here(const col_yaml *y)
{
    return place(y, y->event.start_mark);
}

bool col_yaml_next(col_yaml *y)
{
    yaml_event_delete(&y->event);
    if (y->broken) return false;
    if (yaml_parser_parse(&y->parser, &y->event)) return true;
    y->broken = true;
    col_diag_add(&y->diags, place(y, y->parser.problem_mark), "this is not YAML: %s%s%s",
                 y->parser.problem ? y->parser.problem : "unreadable", y->parser.context ? " " : "",
                 y->parser.context ? y->parser.context : "");
    return false;
}

void col_yaml_skip(col_yaml *y)
{
    int depth = 0;
    do {
        yaml_event_type_t type = y->event.type;
        depth += type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
        depth -= type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
    } while (depth > 0 && col_yaml_next(y));
}

const char *col_yaml_scalar(col_yaml *y, const char *name)
{
    const char *fault = NULL;
    if (y->event.type != YAML_SCALAR_EVENT) {
        fault = y->event.type == YAML_ALIAS_EVENT ? "aliases are not read" : "a single value is wanted";
    } else if (!y->event.data.scalar.length ||
               memchr(y->event.data.scalar.value, 0, y->event.data.scalar.length)) {
        fault = "a value is missing";
    }
    if (!fault) {
        return col_arena_strndup(y->arena, (const char *)y->event.data.scalar.value,
                                 y->event.data.scalar.length);
    }
    col_diag_add(&y->diags, col_yaml_here(y), "%s: %s", name, fault);
    return NULL;
}

static const char *read_key(col_yaml *y, col_map *seen)
{
    const char *key = col_yaml_scalar(y, "a key");
    if (!key) return NULL;
    if (!col_map_set(seen, key, y)) return key;
    col_diag_add(&y->diags, col_yaml_here(y), "'%s' is given twice", key);
    return NULL;
}

bool col_yaml_entry(col_yaml *y, col_map *seen, const char **out_key, col_loc *out_loc)
{
    while (col_yaml_next(y) && y->event.type != YAML_MAPPING_END_EVENT && y->diags.total < COL_DIAG_LIMIT) {
        *out_loc = col_yaml_here(y);
        *out_key = read_key(y, seen);
        col_yaml_skip(y);
        if (!col_yaml_next(y)) return false;
        if (*out_key) return true;
        col_yaml_skip(y);
    }
    return false;
}

static bool begin(col_yaml *y)
{
    if (!col_yaml_next(y) || !col_yaml_next(y)) return false; /* the stream begins */
    if (y->event.type == YAML_STREAM_END_EVENT) {
        col_diag_add(&y->diags, col_yaml_here(y), "%s is empty; write 'key: value' lines", y->what);
        return false;
    }
    if (!col_yaml_next(y)) return false; /* the document begins */
    if (y->event.type == YAML_MAPPING_START_EVENT) return true;
    col_diag_add(&y->diags, col_yaml_here(y), "%s is a list of 'key: value' lines", y->what);
    return false;
}

col_status col_yaml_open(col_yaml *y, const char *what, const char *path, col_arena *arena, bool *out_begun)
{
    *y = (col_yaml){.what = what, .source = {.name = path}, .arena = arena, .diags = {.arena = arena}};
    char *text;
    COL_TRY(col_file_read(arena, path, LARGEST_FILE, &text, &y->source.size));
    y->source.text = text;
    if (!yaml_parser_initialize(&y->parser)) col_out_of_memory(sizeof y->parser);
    yaml_parser_set_input_string(&y->parser, (const unsigned char *)text, y->source.size);
    *out_begun = begin(y);
    return NULL;
}

col_status col_yaml_close(col_yaml *y)
{
    bool ended = !y->broken && y->event.type == YAML_MAPPING_END_EVENT;
    if (ended && col_yaml_next(y) && col_yaml_next(y) && y->event.type != YAML_STREAM_END_EVENT)
        col_diag_add(&y->diags, col_yaml_here(y), "%s is one document; a second begins here", y->what);
    yaml_event_delete(&y->event);
    yaml_parser_delete(&y->parser);
    return col_diags_status(&y->diags);
}
