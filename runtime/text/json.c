#include "runtime/text/json.h"

col_status col_json_parse(const char *name, int64_t first_line, const char *data, size_t size,
                          json_t **out_json)
{
    json_error_t error = {0};
    *out_json = json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (*out_json) return NULL;
    /* The message quotes the file, so it may hold anything. */
    for (char *at = error.text; *at; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7F) *at = '?';
    }
    return col_error_make(COL_BAD_INPUT, "%s:%lld:%d: error: not JSON: %s; mend it or copy the file again",
                          name, (long long)(first_line + COL_MAX(error.line, 1) - 1),
                          COL_MAX(error.column, 1), error.text);
}

const char *col_json_kind(const json_t *json)
{
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a truth value";
    case JSON_NULL: break;
    }
    return "null";
}
