/* What a sweep's rows have to do with each other, and the lists on its command line. */
#include "frontend/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double MOST_PERCENT = 1000;

const char *col_sweep_status_name(col_sweep_status status)
{
    static const char *const names[] = {"ok", "over", "infeasible", "unsupported"};
    COL_ASSERT((size_t)status < COL_COUNT(names));
    return names[status];
}

static bool has_figures(const col_sweep_row *row)
{
    return row->status == COL_SWEEP_OK || row->status == COL_SWEEP_OVER;
}

const col_sweep_row *col_sweep_baseline(const col_sweep *sweep, const col_sweep_row *row)
{
    for (size_t i = 0; i < sweep->rows.len; i++) {
        const col_sweep_row *r = &sweep->rows.data[i];
        if (r->batch == row->batch && !strcmp(r->checkpoint, "none") && has_figures(r)) return r;
    }
    return NULL;
}

double col_sweep_overhead(const col_sweep *sweep, const col_sweep_row *row)
{
    const col_sweep_row *none = col_sweep_baseline(sweep, row);
    if (!none || !has_figures(row) || none->seconds <= 0) return NAN;
    return row->seconds / none->seconds - 1;
}

double col_sweep_measured_overhead(const col_sweep *sweep, const col_sweep_row *row)
{
    const col_sweep_row *none = col_sweep_baseline(sweep, row);
    if (!none || row->measured_seconds <= 0 || none->measured_seconds <= 0) return NAN;
    return row->measured_seconds / none->measured_seconds - 1;
}

const col_sweep_row *col_sweep_best(const col_sweep *sweep)
{
    const col_sweep_row *best = NULL;
    for (size_t i = 0; i < sweep->rows.len; i++) {
        const col_sweep_row *r = &sweep->rows.data[i];
        if (r->status != COL_SWEEP_OK || strcmp(r->checkpoint, "auto")) continue;
        if (!best || r->samples > best->samples) best = r;
    }
    return best;
}

/* ---- lists ---- */

/* The entries between commas, without blanks around them. */
static col_status split(const char *option, const char *text, const char *example, col_arena *arena,
                        const char ***out_entries, size_t *out_count)
{
    COL_VEC(const char *) list = {0};
    for (const char *at = text;; at++) {
        const char *end = at + strcspn(at, ",");
        const char *from = at + strspn(at, " \t"), *to = end;
        while (to > from && strchr(" \t", to[-1])) to--;
        if (to <= from) {
            return col_error_make(COL_BAD_INPUT, "--%s: entry %zu of '%s' is empty; write a list, as %s",
                                  option, list.len + 1, text, example);
        }
        const char *entry = col_arena_strndup(arena, from, (size_t)(to - from));
        col_vec_push(arena, &list, entry);
        at = end;
        if (!*at) break;
    }
    *out_entries = list.data;
    *out_count = list.len;
    return NULL;
}

static col_status read_limit(const char *entry, col_arena *arena, col_sweep_limit *out)
{
    size_t size = strlen(entry);
    *out = (col_sweep_limit){.label = entry};
    if (entry[size - 1] != '%') return col_error_annotate(col_parse_bytes(entry, &out->bytes), "--memory");
    const char *number = col_arena_strndup(arena, entry, size - 1);
    COL_TRY(col_error_annotate(col_parse_double("a percentage", number, 0, MOST_PERCENT, &out->percent),
                               "--memory: '%s'", entry));
    if (out->percent > 0) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "--memory: %s leaves no memory; give a part of the peak without recomputation above "
        "0 %%, as 60%%, or a size, as 4GiB",
        entry);
}

static col_status twice(const char *option, const char *entry)
{
    return col_error_make(COL_BAD_INPUT, "--%s: %s is given twice; leave one out", option, entry);
}

col_status col_sweep_limits(const char *text, col_arena *arena, col_sweep_limit **out_limits,
                            size_t *out_count)
{
    const char **entries;
    COL_TRY(split("memory", text, "100%,80%,60% or 2GiB,1GiB", arena, &entries, out_count));
    col_sweep_limit *limits = COL_NEW_ARRAY(arena, col_sweep_limit, *out_count);
    for (size_t i = 0; i < *out_count; i++) {
        COL_TRY(read_limit(entries[i], arena, &limits[i]));
        for (size_t j = 0; j < i; j++) {
            if (limits[j].percent == limits[i].percent && limits[j].bytes == limits[i].bytes)
                return twice("memory", entries[i]);
        }
    }
    *out_limits = limits;
    return NULL;
}

col_status col_sweep_batches(const char *text, col_arena *arena, int64_t **out_batches, size_t *out_count)
{
    const char **entries;
    COL_TRY(split("batch", text, "8,16,32, or write auto", arena, &entries, out_count));
    int64_t *batches = COL_NEW_ARRAY(arena, int64_t, *out_count);
    for (size_t i = 0; i < *out_count; i++) {
        COL_TRY(col_parse_int("--batch", entries[i], 1, INT32_MAX, &batches[i]));
        for (size_t j = 0; j < i; j++) {
            if (batches[j] == batches[i]) return twice("batch", entries[i]);
        }
    }
    *out_batches = batches;
    return NULL;
}
