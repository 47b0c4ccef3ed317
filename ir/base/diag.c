#include "ir/base/diag.h"

#include <string.h>

enum { LONGEST_LINE = 200 }; /* bytes of the source line that are shown */

/* Bytes of the well-formed UTF-8 character at `at`, or 0: a terminal is sent nothing else of a broken file.
 */
static size_t character_size(const char *at, size_t left)
{
    const unsigned char *c = (const unsigned char *)at;
    size_t size = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0;
    if (!size || size > left) return 0;
    for (size_t i = 1; i < size; i++) {
        if ((c[i] & 0xc0) != 0x80) return 0;
    }
    bool control = size == 2 && c[0] == 0xc2 && c[1] < 0xa0;
    bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool outside = (c[0] == 0xed && c[1] >= 0xa0) || (c[0] == 0xf4 && c[1] >= 0x90);
    return control || overlong || outside ? 0 : size;
}

/* Appends the character at `at` as a terminal may be sent it and returns its bytes: a control byte becomes a
 * space, a byte that is not UTF-8 a question mark. */
static size_t append_character(col_str *out, const char *at, size_t left)
{
    size_t size = character_size(at, left);
    unsigned char c = (unsigned char)*at;
    if (!size)
        col_str_append(out, "?");
    else
        col_str_append_bytes(out, c < 32 || c == 127 ? " " : at, size);
    return size ? size : 1;
}

void col_diag_add(col_diags *diags, col_loc loc, const char *format, ...)
{
    diags->total++;
    if (diags->list.len >= COL_DIAG_LIMIT) return;
    va_list args;
    va_start(args, format);
    col_str text = {0};
    col_str_vprintf(&text, format, args);
    va_end(args);
    /* Messages quote the source. */
    col_str shown = {0};
    for (size_t i = 0; i < text.len;) i += append_character(&shown, text.data + i, text.len - i);
    col_diag diag = {loc, col_arena_strdup(diags->arena, col_str_text(&shown))};
    col_str_fini(&shown);
    col_str_fini(&text);
    col_vec_push(diags->arena, &diags->list, diag);
}

/* The source line with the caret under the column; a long line is cut around the column. */
static void append_excerpt(col_str *out, col_loc loc)
{
    if (!loc.source->size || !loc.line) return;
    const char *at = loc.source->text, *end = at + loc.source->size;
    for (uint32_t line = 1; line < loc.line; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline) return;
        at = newline + 1;
    }
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    size_t size = (size_t)((stop ? stop : end) - at);
    size_t column = loc.column ? loc.column - 1 : 0;
    size_t first = column > LONGEST_LINE / 2 ? column - LONGEST_LINE / 2 : 0;
    if (first >= size) first = 0;
    while (first && ((unsigned char)at[first] & 0xc0) == 0x80) first--;
    size_t last = first + COL_MIN(size - first, (size_t)LONGEST_LINE), indent = 0;
    col_str_append(out, "\n    ");
    for (size_t i = first, step; i < last; i += step) {
        step = append_character(out, at + i, size - i);
        if (i + step <= column) indent++; /* one column per character */
    }
    col_str_append(out, "\n    ");
    while (indent--) col_str_append_bytes(out, " ", 1);
    col_str_append(out, "^");
}

col_status col_diags_status(const col_diags *diags)
{
    if (!diags->total) return NULL;
    col_str out = {0};
    for (size_t i = 0; i < diags->list.len; i++) {
        col_diag d = diags->list.data[i];
        if (i) col_str_append(&out, "\n");
        if (d.loc.source) {
            col_str_printf(&out, "%s:%u:%u: error: %s", d.loc.source->name, d.loc.line, d.loc.column,
                           d.message);
            append_excerpt(&out, d.loc);
        } else {
            col_str_printf(&out, "error: %s", d.message);
        }
    }
    if (diags->total > diags->list.len) {
        col_str_printf(&out, "\n... and %zu more", diags->total - diags->list.len);
    }
    col_status status = col_error_make(COL_BAD_INPUT, "%s", col_str_text(&out));
    col_str_fini(&out);
    return status;
}
