/* A sweep as a table on the terminal and as CSV. */
#include "frontend/sweep.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { COLUMNS = 10 };

/* ---- the table ---- */

/* Texts of a row; NULL ends it early, and the last text then takes the rest of the line. */
typedef struct cells {
    const char *text[COLUMNS];
    int count;
} cells;

static void add(cells *c, const char *text)
{
    COL_ASSERT(c->count < COLUMNS);
    c->text[c->count++] = text;
}

static const char *bytes_text(double bytes, col_arena *arena)
{
    char text[COL_HUMAN_SIZE];
    return bytes > 0 ? col_arena_strdup(arena, col_format_bytes(text, bytes)) : "-";
}

static const char *seconds_text(double seconds, col_arena *arena)
{
    char text[COL_HUMAN_SIZE];
    return seconds > 0 ? col_arena_strdup(arena, col_format_seconds(text, seconds)) : "-";
}

static const char *percent_text(double fraction, const char *sign, col_arena *arena)
{
    if (isnan(fraction)) return "-";
    double percent = fabs(fraction) < 0.0005 ? 0 : 100 * fraction;
    return col_arena_printf(arena, *sign ? "%+.1f %%" : "%.1f %%", percent);
}

static cells header(const col_sweep *sweep)
{
    cells c = {0};
    add(&c, sweep->over_batches ? "batch" : "limit");
    add(&c, "recompute");
    add(&c, "peak");
    add(&c, "of none");
    add(&c, "step");
    add(&c, "overhead");
    add(&c, "samples/s");
    if (!sweep->measured) return c;
    add(&c, "measured step");
    add(&c, "overhead");
    add(&c, "peak");
    return c;
}

static const char *point_text(const col_sweep *sweep, const col_sweep_row *row, col_arena *arena)
{
    if (sweep->over_batches) return col_arena_printf(arena, "%" PRId64, row->batch);
    if (!row->limit) return "-";
    const char *bytes = bytes_text((double)row->limit, arena);
    return strchr(row->label, '%') ? col_arena_printf(arena, "%s  %s", row->label, bytes) : bytes;
}

static const char *trouble_text(const col_sweep_row *row, col_arena *arena)
{
    if (row->status == COL_SWEEP_UNSUPPORTED) return col_arena_printf(arena, "unsupported: %s", row->reason);
    if (!row->least) return col_arena_printf(arena, "infeasible: %s", row->reason);
    return col_arena_printf(arena, "infeasible; %s (%" PRIu64 ") would do",
                            bytes_text((double)row->least, arena), row->least);
}

static cells row_cells(const col_sweep *sweep, const col_sweep_row *row, col_arena *arena)
{
    const col_sweep_row *none = col_sweep_baseline(sweep, row);
    cells c = {0};
    add(&c, point_text(sweep, row, arena));
    add(&c, row->checkpoint);
    if (row->status == COL_SWEEP_INFEASIBLE || row->status == COL_SWEEP_UNSUPPORTED) {
        add(&c, trouble_text(row, arena));
        return c;
    }
    bool over = row->status == COL_SWEEP_OVER;
    add(&c, col_arena_printf(arena, "%s%s", bytes_text((double)row->peak, arena), over ? " (over)" : ""));
    add(&c, none && none->peak ? percent_text((double)row->peak / (double)none->peak, "", arena) : "-");
    add(&c, seconds_text(row->seconds, arena));
    add(&c, row == none ? "-" : percent_text(col_sweep_overhead(sweep, row), "+", arena));
    add(&c, row->samples > 0 ? col_arena_printf(arena, "%.4g", row->samples) : "-");
    if (!sweep->measured) return c;
    add(&c, seconds_text(row->measured_seconds, arena));
    add(&c, row == none ? "-" : percent_text(col_sweep_measured_overhead(sweep, row), "+", arena));
    add(&c, bytes_text((double)row->measured_peak, arena));
    return c;
}

static void print_cells(const cells *c, const size_t *widths, col_str *out)
{
    for (int k = 0; k < c->count; k++) {
        size_t pad = widths[k] > strlen(c->text[k]) ? widths[k] - strlen(c->text[k]) : 0;
        bool is_name = k == 1, is_rest = k == 2 && c->count == 3;
        if (k) col_str_append(out, "  ");
        if (!is_name && !is_rest) col_str_printf(out, "%*s", (int)pad, "");
        col_str_append(out, c->text[k]);
        if (is_name) col_str_printf(out, "%*s", (int)pad, "");
    }
    col_str_append(out, "\n");
}

static void print_best(const col_sweep *sweep, col_arena *arena, col_str *out)
{
    const col_sweep_row *best = col_sweep_best(sweep);
    if (!sweep->over_batches) return;
    if (!best || best->samples <= 0) {
        col_str_append(out, "no batch of these fits\n");
        return;
    }
    col_str_printf(out, "best: batch %" PRId64 ", %.4g samples/s at %s\n", best->batch, best->samples,
                   bytes_text((double)best->peak, arena));
}

void col_sweep_print_table(const col_sweep *sweep, col_str *out)
{
    col_arena *arena = col_arena_create();
    size_t widths[COLUMNS] = {0}, count = sweep->rows.len + 1;
    cells *lines = COL_NEW_ARRAY(arena, cells, count);
    lines[0] = header(sweep);
    for (size_t i = 1; i < count; i++) lines[i] = row_cells(sweep, &sweep->rows.data[i - 1], arena);
    for (size_t i = 0; i < count; i++) {
        bool has_rest = lines[i].count == 3;
        for (int k = 0; k < lines[i].count - has_rest; k++)
            widths[k] = COL_MAX(widths[k], strlen(lines[i].text[k]));
    }
    for (size_t i = 0; i < count; i++) print_cells(&lines[i], widths, out);
    print_best(sweep, arena, out);
    col_arena_destroy(arena);
}

/* ---- CSV ---- */

/* RFC 4180: texts that hold a comma, a quote or a line's end stand in quotes. */
static void print_field(const char *text, col_str *out)
{
    if (!strpbrk(text, ",\"\r\n")) {
        col_str_append(out, text);
        return;
    }
    col_str_append(out, "\"");
    for (const char *at = text; *at; at++) {
        if (*at == '"') col_str_append(out, "\"");
        col_str_append_bytes(out, at, 1);
    }
    col_str_append(out, "\"");
}

static void print_bytes(uint64_t bytes, col_str *out)
{
    if (bytes) col_str_printf(out, "%" PRIu64, bytes);
    col_str_append(out, ",");
}

static void print_number(double value, col_str *out)
{
    if (!isnan(value)) col_str_printf(out, "%.9g", value);
    col_str_append(out, ",");
}

static double positive_or_nan(double value)
{
    return value > 0 ? value : NAN;
}

void col_sweep_print_csv(const col_sweep *sweep, col_str *out)
{
    col_str_append(out, "checkpoint,limit,limit_bytes,batch,status,least_bytes,peak_bytes,state_bytes,"
                        "step_seconds,overhead,samples_per_second,compile_seconds,measured_step_seconds,"
                        "measured_overhead,measured_peak_bytes,reason\n");
    for (size_t i = 0; i < sweep->rows.len; i++) {
        const col_sweep_row *row = &sweep->rows.data[i];
        col_str_printf(out, "%s,", row->checkpoint);
        print_field(row->label, out);
        col_str_append(out, ",");
        print_bytes(row->limit, out);
        print_bytes((uint64_t)row->batch, out);
        col_str_printf(out, "%s,", col_sweep_status_name(row->status));
        print_bytes(row->least, out);
        print_bytes(row->peak, out);
        print_bytes(row->state, out);
        print_number(positive_or_nan(row->seconds), out);
        print_number(col_sweep_overhead(sweep, row), out);
        print_number(positive_or_nan(row->samples), out);
        print_number(positive_or_nan(row->compile_seconds), out);
        print_number(positive_or_nan(row->measured_seconds), out);
        print_number(col_sweep_measured_overhead(sweep, row), out);
        print_bytes(row->measured_peak, out);
        print_field(row->reason ? row->reason : "", out);
        col_str_append(out, "\n");
    }
}
