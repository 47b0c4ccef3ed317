/* Reading YAML by events (libyaml), with places: what recipes and machine files share. A reader stands at one
 * event; faults are collected and reported at the end. */
#ifndef COL_FRONTEND_YAML_READER_H
#define COL_FRONTEND_YAML_READER_H

#include <yaml.h>

#include "ir/base/diag.h"
#include "ir/base/map.h"

typedef struct col_yaml {
    const char *what; /* "a recipe" */
    col_source source;
    col_arena *arena;
    col_diags diags;
    yaml_parser_t parser;
    yaml_event_t event; /* the present one */
    bool broken;        /* the file is no YAML: reported, nothing more can be read */
} col_yaml;

/* Reads the file and goes to its only document, which is to be a mapping: false when it is none, which is
 * then among the faults. `what` names such files, with an article. */
COL_MUST_USE col_status col_yaml_open(col_yaml *yaml, const char *what, const char *path, col_arena *arena,
                                      bool *out_begun);
/* After the mapping: nothing else may follow. Frees the parser; the faults, or NULL. */
COL_MUST_USE col_status col_yaml_close(col_yaml *yaml);

/* Takes the next event; false when there is none because the file is broken. */
bool col_yaml_next(col_yaml *yaml);
/* Passes over the value that begins with the present event. */
void col_yaml_skip(col_yaml *yaml);
col_loc col_yaml_here(const col_yaml *yaml);
/* The present scalar as text; NULL and a fault for anything else. `name` is what the value is of. */
const char *col_yaml_scalar(col_yaml *yaml, const char *name);
/* Takes the next key of the present mapping and goes to its value, which the caller takes or skips: false at
 * the end. Keys that are none or that are in `seen` are faults and passed over with their values. */
bool col_yaml_entry(col_yaml *yaml, col_map *seen, const char **out_key, col_loc *out_loc);

#endif
