/* colc solve offsets: buffers from CSV, offsets as one more column.
 *
 * The header names the columns in any order: id, lower, upper, size, and if wanted alignment. A row is one
 * buffer; its fields are plain (no quotes), numbers are decimal. What follows the last column in the answer
 * is the offset; the rest of the row is as it was read. */
#include "frontend/solve.h"

#include "ir/base/diag.h"
#include "ir/base/file.h"
#include "ir/base/map.h"
#include "solver/offsets.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef enum column { ID, LOWER, UPPER, SIZE, ALIGNMENT, COLUMNS } column;

static const char *const column_names[COLUMNS] = {"id", "lower", "upper", "size", "alignment"};

enum { MAX_FIELDS = 16, FILE_LIMIT = 1 << 30 };

/* The limits of `colc solve offsets`, and the arguments after "offsets". */
static const double DEFAULT_SECONDS = 20;

typedef struct field {
    const char *text;
    size_t size;
    col_loc loc;
} field;

typedef struct row {
    const char *text; /* without the end of line */
    size_t size;
} row;

typedef struct table {
    col_arena *arena;
    col_source source;
    col_diags diags;
    size_t at; /* bytes of the source read */
    uint32_t line;
    int position[COLUMNS]; /* of a column in a row, -1: absent */
    size_t width;
    row header;
    COL_VEC(row) rows;
    COL_VEC(col_offsets_buffer) buffers;
    col_map *ids; /* id -> its row's line */
} table;

/* The next line, NULL at the end of the source. */
static bool next_line(table *t, row *out)
{
    if (t->at >= t->source.size) return false;
    const char *begin = t->source.text + t->at, *end = memchr(begin, '\n', t->source.size - t->at);
    size_t size = end ? (size_t)(end - begin) : t->source.size - t->at;
    t->at += size + 1;
    t->line++;
    if (size > 0 && begin[size - 1] == '\r') size--;
    *out = (row){begin, size};
    return true;
}

static bool is_blank(row line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.text[i] != ' ' && line.text[i] != '\t') return false;
    }
    return true;
}

/* Splits at commas and trims blanks; counts all fields, keeps MAX_FIELDS. */
static size_t split_fields(const table *t, row line, field fields[MAX_FIELDS])
{
    size_t count = 0, begin = 0;
    for (size_t i = 0; i <= line.size; i++) {
        if (i < line.size && line.text[i] != ',') continue;
        size_t from = begin, to = i;
        while (from < to && (line.text[from] == ' ' || line.text[from] == '\t')) from++;
        while (to > from && (line.text[to - 1] == ' ' || line.text[to - 1] == '\t')) to--;
        if (count < MAX_FIELDS) {
            col_loc loc = {&t->source, t->line, (uint32_t)from + 1};
            fields[count] = (field){line.text + from, to - from, loc};
        }
        count++;
        begin = i + 1;
    }
    return count;
}

static void read_column_name(table *t, field f, size_t at)
{
    for (int c = 0; c < COLUMNS; c++) {
        if (f.size != strlen(column_names[c]) || memcmp(f.text, column_names[c], f.size)) continue;
        if (t->position[c] >= 0) col_diag_add(&t->diags, f.loc, "column '%s' appears twice", column_names[c]);
        t->position[c] = (int)at;
        return;
    }
    if (f.size == 6 && !memcmp(f.text, "offset", 6)) {
        col_diag_add(&t->diags, f.loc, "column 'offset' is the answer; leave it out of the problem");
        return;
    }
    col_diag_add(&t->diags, f.loc,
                 "unknown column '%.*s'; the columns are id, lower, upper, size and alignment",
                 (int)COL_MIN(f.size, (size_t)40), f.text);
}

static void read_header(table *t)
{
    field fields[MAX_FIELDS];
    col_loc top = {&t->source, 1, 1};
    for (int c = 0; c < COLUMNS; c++) t->position[c] = -1;
    if (t->source.size >= 3 && !memcmp(t->source.text, "\xef\xbb\xbf", 3)) t->at = 3; /* byte order mark */
    if (!next_line(t, &t->header)) {
        col_diag_add(&t->diags, top, "the file is empty; it starts with the line id,lower,upper,size");
        return;
    }
    t->width = split_fields(t, t->header, fields);
    for (size_t i = 0; i < COL_MIN(t->width, (size_t)MAX_FIELDS); i++) read_column_name(t, fields[i], i);
    for (int c = 0; c < ALIGNMENT; c++) {
        if (t->position[c] >= 0) continue;
        col_diag_add(&t->diags, top, "column '%s' is missing; the first line names the columns",
                     column_names[c]);
    }
}

static bool read_number(table *t, const field *fields, column c, uint64_t *out)
{
    field f = fields[t->position[c]];
    const char *name = column_names[c];
    int shown = (int)COL_MIN(f.size, (size_t)40);
    uint64_t value = 0;
    if (f.size > 1 && f.text[0] == '-' && f.text[1] >= '0' && f.text[1] <= '9') {
        col_diag_add(&t->diags, f.loc, "%s is negative: %.*s", name, shown, f.text);
        return false;
    }
    for (size_t i = 0; i < f.size; i++) {
        if (f.text[i] < '0' || f.text[i] > '9') {
            col_diag_add(&t->diags, f.loc, "%s must be a whole number, not '%.*s'", name, shown, f.text);
            return false;
        }
        uint64_t digit = (uint64_t)(f.text[i] - '0');
        if (value > (INT64_MAX - digit) / 10) {
            col_diag_add(&t->diags, f.loc, "%s is too large: %.*s; the most is 2^63 - 1", name, shown,
                         f.text);
            return false;
        }
        value = 10 * value + digit;
    }
    if (f.size == 0) col_diag_add(&t->diags, f.loc, "%s is missing", name);
    *out = value;
    return f.size > 0;
}

static void read_id(table *t, field f)
{
    if (f.size == 0) {
        col_diag_add(&t->diags, f.loc, "id is missing");
        return;
    }
    uint32_t *line = COL_NEW(t->arena, uint32_t), *before = col_map_get_bytes(t->ids, f.text, f.size);
    *line = t->line;
    if (before) {
        col_diag_add(&t->diags, f.loc, "id '%.*s' appears twice, first in line %" PRIu32,
                     (int)COL_MIN(f.size, (size_t)40), f.text, *before);
        return;
    }
    (void)col_map_set_bytes(t->ids, f.text, f.size, line);
}

static void read_buffer(table *t, row line)
{
    field fields[MAX_FIELDS];
    size_t count = split_fields(t, line, fields);
    if (count != t->width) {
        col_diag_add(&t->diags, (col_loc){&t->source, t->line, 1},
                     "%zu fields, but the first line names %zu columns", count, t->width);
        return;
    }
    col_offsets_buffer b = {.alignment = 1};
    read_id(t, fields[t->position[ID]]);
    bool lower = read_number(t, fields, LOWER, &b.lower), upper = read_number(t, fields, UPPER, &b.upper);
    if (lower && upper && b.lower >= b.upper) {
        col_diag_add(&t->diags, fields[t->position[UPPER]].loc,
                     "upper must be greater than lower: the buffer is live in [%" PRIu64 ", %" PRIu64 ")",
                     b.lower, b.upper);
    }
    (void)read_number(t, fields, SIZE, &b.size);
    if (t->position[ALIGNMENT] >= 0 && read_number(t, fields, ALIGNMENT, &b.alignment) && b.alignment == 0) {
        col_diag_add(&t->diags, fields[t->position[ALIGNMENT]].loc, "alignment must be at least 1");
    }
    col_vec_push(t->arena, &t->buffers, b);
    col_vec_push(t->arena, &t->rows, line);
}

static col_status read_table(table *t, const char *path)
{
    char *text;
    size_t size;
    row line;
    COL_TRY(col_file_read(t->arena, path, FILE_LIMIT, &text, &size));
    t->source = (col_source){path, text, size};
    t->diags = (col_diags){.arena = t->arena};
    t->ids = col_map_create(t->arena);
    read_header(t);
    COL_TRY(col_diags_status(&t->diags));
    while (next_line(t, &line)) {
        if (!is_blank(line)) read_buffer(t, line);
    }
    if (t->rows.len == 0 && t->diags.total == 0) {
        col_diag_add(&t->diags, (col_loc){&t->source, t->line, 1}, "there is no buffer below the first line");
    }
    return col_diags_status(&t->diags);
}

static col_status write_table(const table *t, const uint64_t *offsets, const char *path)
{
    col_str out = {0};
    col_str_append_bytes(&out, t->header.text, t->header.size);
    col_str_append(&out, ",offset\n");
    for (size_t i = 0; i < t->rows.len; i++) {
        col_str_append_bytes(&out, t->rows.data[i].text, t->rows.data[i].size);
        col_str_printf(&out, ",%" PRIu64 "\n", offsets[i]);
    }
    col_status status = col_file_write_or_print(path, out.data, out.len);
    col_str_fini(&out);
    return status;
}

static col_status solve_file(const col_options *options, col_arena *arena)
{
    uint64_t capacity = 0;
    double seconds = DEFAULT_SECONDS;
    const char *size = col_options_get(options, "capacity");
    if (size) COL_TRY(col_error_annotate(col_parse_bytes(size, &capacity), "--capacity"));
    COL_TRY(col_options_double(options, "time-limit", 0, 1e9, &seconds));
    table t = {.arena = arena};
    COL_TRY(read_table(&t, options->positionals.data[0]));
    col_offsets_problem problem = {.count = t.buffers.len, .buffers = t.buffers.data, .capacity = capacity};
    col_offsets_limits limits = {.seconds = seconds};
    col_offsets_solution s;
    COL_TRY(col_error_annotate(col_offsets_solve(&problem, &limits, arena, &s), "%s", t.source.name));
    if (capacity && s.peak > capacity) {
        const char *proof = s.status == COL_SOLVE_INFEASIBLE ? "proved" : "not found within the time limit";
        return col_error_make(COL_INFEASIBLE,
                              "%s: no offsets within a capacity of %" PRIu64 " bytes (%s); %" PRIu64
                              " bytes are enough, and no less than %" PRIu64 " can be",
                              t.source.name, capacity, proof, s.peak, s.bound);
    }
    COL_TRY(write_table(&t, s.offsets, col_options_get(options, "output")));
    fprintf(stderr, "%s: %s, peak %" PRIu64 ", bound %" PRIu64 ", gap %.4f %%, %zu buffers, %.3f s\n",
            t.source.name, col_solve_status_name(s.status), s.peak, s.bound,
            s.peak ? 100.0 * (double)(s.peak - s.bound) / (double)s.peak : 0.0, problem.count, s.seconds);
    return NULL;
}

static const col_option own_options[] = {
    {"capacity", "SIZE", "find offsets that end within SIZE (default: the least peak)", false},
    {"time-limit", "S", "seconds for the search (default 20)", false},
    {"output", "FILE", "write the answer to FILE (default: standard output); -o for short", false},
};

static const col_solve_command command = {
    .usage = "usage: colc solve offsets FILE.csv [--capacity SIZE] [--time-limit S] [-o FILE]",
    .summary = "Offsets of buffers in one arena.",
    .options = own_options,
    .option_count = COL_COUNT(own_options),
    .solve_file = solve_file,
};

col_status col_solve_offsets_command(int argc, char **argv)
{
    return col_solve_run(&command, argc, argv);
}
