/* String builder on the heap, and number formats that people read. */
#ifndef COL_BASE_STR_H
#define COL_BASE_STR_H

#include "ir/base/arena.h"

/* Zero-initialise; `data` is NUL-terminated once anything was appended. Free with col_str_fini. */
typedef struct col_str {
    char *data;
    size_t len, cap;
} col_str;

/* Append; the text stays NUL-terminated. Growth that cannot be had ends the process (col_out_of_memory). */
void col_str_append(col_str *s, const char *text);
void col_str_append_bytes(col_str *s, const void *bytes, size_t size);
void col_str_printf(col_str *s, const char *format, ...) COL_PRINTF(2, 3);
void col_str_vprintf(col_str *s, const char *format, va_list args);
const char *col_str_text(const col_str *s); /* "" when empty */
void col_str_clear(col_str *s);             /* keeps the storage */
void col_str_fini(col_str *s);

enum { COL_HUMAN_SIZE = 32 };
/* "25.7 MiB", "512 B". */
const char *col_format_bytes(char out[COL_HUMAN_SIZE], double bytes);
/* "41.2 us", "3.10 ms", "2.51 s". */
const char *col_format_seconds(char out[COL_HUMAN_SIZE], double seconds);
/* "124.4 M", "50257". */
const char *col_format_count(char out[COL_HUMAN_SIZE], double count);

/* Parses "40GiB", "512MB", "1024" (binary and decimal prefixes, optional B) into bytes.
 * COL_BAD_INPUT for anything else, for zero, negatives and overflow. */
COL_MUST_USE col_status col_parse_bytes(const char *text, uint64_t *out_bytes);
/* Whole-string decimal numbers within [low, high]; the message names `what`. */
COL_MUST_USE col_status col_parse_int(const char *what, const char *text, int64_t low, int64_t high,
                                      int64_t *out_value);
COL_MUST_USE col_status col_parse_double(const char *what, const char *text, double low, double high,
                                         double *out_value);

/* The candidate nearest to `name` in edit distance, if near enough to be a slip of the hand; else NULL. */
const char *col_suggest(const char *name, const char *const *candidates, size_t count);

#endif
