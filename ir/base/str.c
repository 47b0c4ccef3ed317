#include "ir/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(col_str *s, size_t extra)
{
    if (s->cap - s->len > extra) return;
    size_t cap = COL_MAX(s->cap * 2, s->len + extra + 1);
    cap = COL_MAX(cap, (size_t)64);
    s->data = realloc(s->data, cap);
    if (!s->data) col_out_of_memory(cap);
    s->cap = cap;
}

void col_str_append_bytes(col_str *s, const void *bytes, size_t size)
{
    reserve(s, size);
    if (size) memcpy(s->data + s->len, bytes, size);
    s->len += size;
    s->data[s->len] = '\0';
}

void col_str_append(col_str *s, const char *text)
{
    col_str_append_bytes(s, text, strlen(text));
}

void col_str_vprintf(col_str *s, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    COL_ASSERT(size >= 0);
    reserve(s, (size_t)size);
    vsnprintf(s->data + s->len, (size_t)size + 1, format, args);
    s->len += (size_t)size;
}

void col_str_printf(col_str *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    col_str_vprintf(s, format, args);
    va_end(args);
}

const char *col_str_text(const col_str *s)
{
    return s->data ? s->data : "";
}

void col_str_clear(col_str *s)
{
    s->len = 0;
    if (s->data) s->data[0] = '\0';
}

void col_str_fini(col_str *s)
{
    free(s->data);
    *s = (col_str){0};
}

const char *col_format_bytes(char out[COL_HUMAN_SIZE], double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    while (fabs(bytes) >= (unit ? 1023.95 : 1023.5) && unit + 1 < COL_COUNT(units)) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, COL_HUMAN_SIZE, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

const char *col_format_seconds(char out[COL_HUMAN_SIZE], double seconds)
{
    static const struct {
        double scale;
        const char *unit;
    } units[] = {{1e9, "ns"}, {1e6, "us"}, {1e3, "ms"}, {1, "s"}};
    size_t unit = 0;
    while (unit + 1 < COL_COUNT(units) && fabs(seconds) * units[unit].scale >= 999.95) unit++;
    double value = seconds * units[unit].scale;
    int digits = value == 0 ? 0 : fabs(value) < 9.995 ? 2 : fabs(value) < 99.95 ? 1 : 0;
    if (unit + 1 == COL_COUNT(units) && fabs(value) >= 99.95) digits = 1;
    snprintf(out, COL_HUMAN_SIZE, "%.*f %s", digits, value, units[unit].unit);
    return out;
}

const char *col_format_count(char out[COL_HUMAN_SIZE], double count)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    size_t unit = 0;
    while (fabs(count) >= (unit ? 999.95 : 99999.5) && unit + 1 < COL_COUNT(units)) {
        count /= 1000;
        unit++;
    }
    snprintf(out, COL_HUMAN_SIZE, unit ? "%.1f%s" : "%.0f%s", count, units[unit]);
    return out;
}

/* Reads a decimal number: strtod without its leading space, hexadecimal, "inf" and "nan". Returns where it
 * ends, or NULL if none stands there. */
static const char *decimal_double(const char *text, double *out_value)
{
    const char *at = text + (*text == '-' || *text == '+');
    size_t digits = strspn(at, "0123456789");
    bool starts = digits || (at[0] == '.' && isdigit((unsigned char)at[1]));
    if (!starts || (digits == 1 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X'))) return NULL;
    char *end = NULL;
    *out_value = strtod(text, &end);
    return end;
}

col_status col_parse_bytes(const char *text, uint64_t *out_bytes)
{
    static const struct {
        const char *suffix;
        double factor;
    } units[] = {{"", 1},         {"b", 1},    {"k", 1e3},         {"kb", 1e3},    {"kib", 1024.0},
                 {"m", 1e6},      {"mb", 1e6}, {"mib", 1048576.0}, {"g", 1e9},     {"gb", 1e9},
                 {"gib", 0x1p30}, {"t", 1e12}, {"tb", 1e12},       {"tib", 0x1p40}};
    double value = 0;
    const char *end = decimal_double(text, &value);
    while (end && *end == ' ' && end[1]) end++;
    for (size_t i = 0; end && i < COL_COUNT(units); i++) {
        const char *a = end, *b = units[i].suffix;
        while (*a && *b && tolower((unsigned char)*a) == *b) a++, b++;
        if (*a || *b) continue;
        double bytes = value * units[i].factor;
        if (!(bytes >= 1) || bytes >= 0x1p63) break;
        *out_bytes = (uint64_t)bytes;
        return NULL;
    }
    return col_error_make(
        COL_BAD_INPUT, "'%s' is not a size: write a positive number with a unit, as 512MiB or 40GiB", text);
}

col_status col_parse_int(const char *what, const char *text, int64_t low, int64_t high, int64_t *out_value)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || isspace((unsigned char)text[0])) {
        return col_error_make(COL_BAD_INPUT, "%s: '%s' is not a whole number", what, text);
    }
    if (errno == ERANGE || value < low || value > high) {
        return col_error_make(COL_BAD_INPUT, "%s: %s is outside %lld..%lld", what, text, (long long)low,
                              (long long)high);
    }
    *out_value = value;
    return NULL;
}

col_status col_parse_double(const char *what, const char *text, double low, double high, double *out_value)
{
    double value = 0;
    const char *end = decimal_double(text, &value);
    if (!end || *end) return col_error_make(COL_BAD_INPUT, "%s: '%s' is not a number", what, text);
    if (!(value >= low && value <= high) || isinf(value)) {
        return col_error_make(COL_BAD_INPUT, "%s: %s is outside %.9g..%.9g", what, text, low, high);
    }
    *out_value = value;
    return NULL;
}

enum { LONGEST_SUGGESTION = 40 };

static size_t edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[LONGEST_SUGGESTION + 1];
    if (n > LONGEST_SUGGESTION || m > LONGEST_SUGGESTION) return SIZE_MAX;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j];
            size_t best = COL_MIN(above, row[j - 1]) + 1;
            row[j] = COL_MIN(best, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[m];
}

const char *col_suggest(const char *name, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    /* One slip in short names, one more for every four letters; a single letter is never a slip. */
    size_t length = strlen(name), best_distance = length < 2 ? 0 : length / 4 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(name, candidates[i]);
        if (distance > best_distance || (best && distance == best_distance)) continue;
        best = candidates[i];
        best_distance = distance;
    }
    return best;
}
