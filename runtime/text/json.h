/* JSON texts with errors in our form; the parser is jansson. */
#ifndef COL_TEXT_JSON_H
#define COL_TEXT_JSON_H

#include <jansson.h>

#include "ir/base/status.h"

/* Parses one JSON value. Duplicate keys are refused; strings may hold NUL. Errors read
 * "NAME:LINE:COLUMN: error: ...", counting lines from `first_line`. Release with json_decref. */
COL_MUST_USE col_status col_json_parse(const char *name, int64_t first_line, const char *data, size_t size,
                                       json_t **out_json);
/* "an object", "a string", ... */
const char *col_json_kind(const json_t *json);

#endif
