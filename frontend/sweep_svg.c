/* A sweep as a picture of two panels. Over limits: the peak against the limit, with the diagonal that no plan
 * may cross; and the time overhead against the peak. Over batches: the peak, and the samples per second,
 * against the batch. Predictions are filled marks, measurements hollow ones; the forced kinds of
 * recomputation carry their names. */
#include "frontend/sweep.h"

#include <math.h>
#include <string.h>

#include "frontend/explain_html.h"

enum { WIDTH = 1080, HEIGHT = 420, LEFT = 84, RIGHT = 24, TOP = 64, BOTTOM = 62, GAP = 56, MOST_TICKS = 6 };

typedef enum unit { BYTES, PERCENT, COUNT } unit;

/* What a row shows along an axis; NAN: nothing. */
typedef double measure(const col_sweep *sweep, const col_sweep_row *row);

typedef struct axis {
    const char *title;
    unit unit;
    double low, high, step; /* values at the ends and between ticks */
} axis;

typedef struct panel {
    const char *title;
    axis x, y;
    measure *x_of, *y_of, *measured_x, *measured_y; /* of rows; the last two may be NULL */
    double left, width;                             /* of the plot, in the picture */
} panel;

/* ---- measures ---- */

static double positive(double value)
{
    return value > 0 ? value : NAN;
}

static double limit_of(const col_sweep *sweep, const col_sweep_row *row)
{
    (void)sweep;
    return positive((double)row->limit);
}

static double batch_of(const col_sweep *sweep, const col_sweep_row *row)
{
    (void)sweep;
    return positive((double)row->batch);
}

static double peak_of(const col_sweep *sweep, const col_sweep_row *row)
{
    (void)sweep;
    return positive((double)row->peak);
}

static double measured_peak_of(const col_sweep *sweep, const col_sweep_row *row)
{
    (void)sweep;
    return positive((double)row->measured_peak);
}

static double overhead_of(const col_sweep *sweep, const col_sweep_row *row)
{
    return 100 * col_sweep_overhead(sweep, row);
}

static double measured_overhead_of(const col_sweep *sweep, const col_sweep_row *row)
{
    return 100 * col_sweep_measured_overhead(sweep, row);
}

static double samples_of(const col_sweep *sweep, const col_sweep_row *row)
{
    (void)sweep;
    return positive(row->samples);
}

static double measured_samples_of(const col_sweep *sweep, const col_sweep_row *row)
{
    (void)sweep;
    return row->measured_seconds > 0 ? positive(row->samples * row->seconds / row->measured_seconds) : NAN;
}

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten (of two for bytes) that gives at most MOST_TICKS ticks over `span`. */
static double nice_step(double span, unit unit)
{
    double rough = span / MOST_TICKS, base = 1;
    if (unit == BYTES) {
        while (base * 1024 <= rough) base *= 1024;
        if (rough / base > 500) return base * 1024;
    }
    double power = base * pow(10, floor(log10(fmax(rough, 1e-300) / base)));
    static const double factors[] = {1, 2, 5, 10};
    for (size_t i = 0; i < COL_COUNT(factors); i++) {
        if (power * factors[i] >= rough) return power * factors[i];
    }
    return 10 * power;
}

static void include(axis *a, double value)
{
    if (isnan(value)) return;
    a->low = fmin(a->low, value);
    a->high = fmax(a->high, value);
}

/* Rounds the ends to ticks, with some air; zero is where bytes and counts start. */
static void finish(axis *a)
{
    if (a->high <= a->low) a->high = a->low + (a->unit == PERCENT ? 1 : fmax(a->low, 1));
    a->high += 0.04 * (a->high - a->low);
    a->step = nice_step(a->high - a->low, a->unit);
    a->low = a->step * floor(a->low / a->step + 1e-9);
    a->high = a->step * ceil(a->high / a->step - 1e-9);
}

static double at_x(const panel *p, double value)
{
    return p->left + p->width * (value - p->x.low) / (p->x.high - p->x.low);
}

static double at_y(const panel *p, double value)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - p->y.low) / (p->y.high - p->y.low);
}

static void scale(panel *p, const col_sweep *sweep)
{
    for (size_t i = 0; i < sweep->rows.len; i++) {
        const col_sweep_row *row = &sweep->rows.data[i];
        include(&p->x, p->x_of(sweep, row));
        include(&p->y, p->y_of(sweep, row));
        if (p->measured_x) include(&p->x, p->measured_x(sweep, row));
        if (p->measured_y) include(&p->y, p->measured_y(sweep, row));
    }
    if (sweep->over_batches && p->y_of == peak_of && sweep->limit_bytes)
        include(&p->y, (double)sweep->limit_bytes);
    finish(&p->x);
    finish(&p->y);
}

/* ---- drawing ---- */

/* The value along the axis, bytes in the unit of its ticks. */
static void tick_text(const axis *a, double value, col_str *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double size = 1;
    size_t k = 0;
    for (; a->unit == BYTES && k + 1 < COL_COUNT(units) && a->step >= 1024 * size; k++) size *= 1024;
    col_str_printf(out, "%.5g", fabs(value) < 1e-9 ? 0 : value / size);
    if (a->unit == BYTES) col_str_printf(out, " %s", units[k]);
    if (a->unit == PERCENT) col_str_append(out, " %");
}

static void draw_axes(const panel *p, col_str *out)
{
    double right = p->left + p->width, bottom = HEIGHT - BOTTOM;
    col_str_printf(out, "<text class=\"title\" x=\"%.1f\" y=\"%d\">%s</text>\n", p->left, TOP - 22, p->title);
    for (double v = p->x.low; v <= p->x.high + p->x.step / 2; v += p->x.step) {
        double x = at_x(p, v);
        col_str_printf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%.1f\"/>", x, x, TOP,
                       bottom);
        col_str_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", x, bottom + 18);
        tick_text(&p->x, v, out);
        col_str_append(out, "</text>\n");
    }
    for (double v = p->y.low; v <= p->y.high + p->y.step / 2; v += p->y.step) {
        double y = at_y(p, v);
        col_str_printf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", p->left,
                       right, y, y);
        col_str_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", p->left - 8, y + 4);
        tick_text(&p->y, v, out);
        col_str_append(out, "</text>\n");
    }
    col_str_printf(out, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                   (p->left + right) / 2, HEIGHT - 18, p->x.title);
}

static void draw_mark(const panel *p, const char *class, double x, double y, const char *name, col_str *out)
{
    if (isnan(x) || isnan(y)) return;
    col_str_printf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"><title>", class, at_x(p, x),
                   at_y(p, y));
    html_text(out, name);
    col_str_append(out, ": ");
    tick_text(&p->x, x, out);
    col_str_append(out, ", ");
    tick_text(&p->y, y, out);
    col_str_append(out, "</title></circle>\n");
}

static bool is_swept(const col_sweep_row *row)
{
    return !strcmp(row->checkpoint, "auto");
}

/* A line through the swept rows in order of x. Rows are few, so the next is looked for each time. */
static void draw_line(const panel *p, const col_sweep *sweep, const char *kind, col_str *out)
{
    double last = -INFINITY;
    const char *class = strcmp(kind, "auto") ? "line forced" : "line";
    col_str points = {0};
    for (size_t drawn = 0;; drawn++) {
        double x = INFINITY, y = NAN;
        for (size_t i = 0; i < sweep->rows.len; i++) {
            const col_sweep_row *row = &sweep->rows.data[i];
            double at = p->x_of(sweep, row), to = p->y_of(sweep, row);
            if (strcmp(row->checkpoint, kind) || isnan(at) || isnan(to) || at <= last || at >= x) continue;
            x = at;
            y = to;
        }
        if (isnan(y)) break;
        col_str_printf(&points, "%s%.1f,%.1f", drawn ? " " : "", at_x(p, x), at_y(p, y));
        last = x;
    }
    if (points.len) col_str_printf(out, "<polyline class=\"%s\" points=\"%s\"/>\n", class, points.data);
    col_str_fini(&points);
}

static const char *mark_name(const col_sweep *sweep, const col_sweep_row *row, col_arena *arena)
{
    if (!is_swept(row)) return row->checkpoint;
    if (sweep->over_batches) return col_arena_printf(arena, "batch %lld", (long long)row->batch);
    return *row->label ? row->label : "auto";
}

/* Whether the name of the row's kind goes to it: over batches, to the largest. */
static bool is_last(const col_sweep *sweep, const col_sweep_row *row)
{
    for (size_t i = 0; i < sweep->rows.len; i++) {
        const col_sweep_row *other = &sweep->rows.data[i];
        if (other->peak && !strcmp(other->checkpoint, row->checkpoint) && other->batch > row->batch)
            return false;
    }
    return true;
}

static void draw_rows(const panel *p, const col_sweep *sweep, col_arena *arena, col_str *out)
{
    static const char *const kinds[] = {"none", "all", "sqrt", "auto"};
    for (size_t k = sweep->over_batches ? 0 : 3; k < COL_COUNT(kinds); k++)
        draw_line(p, sweep, kinds[k], out);
    for (size_t i = 0; i < sweep->rows.len; i++) {
        const col_sweep_row *row = &sweep->rows.data[i];
        const char *name = mark_name(sweep, row, arena);
        double x = p->x_of(sweep, row), y = p->y_of(sweep, row);
        draw_mark(p, is_swept(row) ? "mark" : "mark forced", x, y, name, out);
        if (p->measured_x || p->measured_y) {
            double mx = p->measured_x ? p->measured_x(sweep, row) : x;
            double my = p->measured_y ? p->measured_y(sweep, row) : y;
            draw_mark(p, is_swept(row) ? "seen" : "seen forced", mx, my,
                      col_arena_printf(arena, "%s, measured", name), out);
        }
        if (is_swept(row) || !is_last(sweep, row) || isnan(x) || isnan(y)) continue;
        bool right = at_x(p, x) > p->left + 0.8 * p->width;
        col_str_printf(out, "<text class=\"forced\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n",
                       at_x(p, x) + (right ? -9 : 9), at_y(p, y) - 7, right ? "end" : "start", name);
    }
}

/* A level across the panel with its name. */
static void draw_level(const panel *p, double value, const char *class, const char *name, col_str *out)
{
    double y = at_y(p, value);
    col_str_printf(out, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", class,
                   p->left, p->left + p->width, y, y);
    col_str_printf(out, "<text class=\"forced\" x=\"%.1f\" y=\"%.1f\">", p->left + 6, y - 5);
    html_text(out, name);
    col_str_append(out, "</text>\n");
}

/* Peaks of the forced kinds, which know no limit; the diagonal; and limits for which there is no plan. */
static void draw_limits(const panel *p, const col_sweep *sweep, col_str *out)
{
    double low = fmax(p->x.low, p->y.low), high = fmin(p->x.high, p->y.high);
    if (high > low) {
        col_str_printf(out, "<line class=\"diagonal\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
                       at_x(p, low), at_y(p, low), at_x(p, high), at_y(p, high));
    }
    for (size_t i = 0; i < sweep->rows.len; i++) {
        const col_sweep_row *row = &sweep->rows.data[i];
        double limit = (double)row->limit;
        if (!is_swept(row) && row->peak) {
            draw_level(p, (double)row->peak, "level", row->checkpoint, out);
        } else if (row->status == COL_SWEEP_INFEASIBLE && limit >= p->x.low && limit <= p->x.high) {
            col_str_printf(out,
                           "<text class=\"no\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">\u00d7<title>"
                           "infeasible</title></text>\n",
                           at_x(p, limit), at_y(p, fmax(limit, p->y.low)) + 5);
        }
    }
}

static const char style[] =
    "<style>svg{background:#fff;font:12px system-ui,\"DejaVu Sans\",Arial,sans-serif;fill:#1b2129}"
    ".title{font-weight:600;font-size:14px}.soft{fill:#5c6672}.grid{stroke:#dde1e7}"
    ".line{fill:none;stroke:#2f6fb3;stroke-width:1.5}.line.forced{stroke:#b9c2cd}"
    ".mark{fill:#2f6fb3}.mark.forced{fill:#8a95a1}text.forced{fill:#5c6672}"
    ".seen{fill:none;stroke:#d07a1d;stroke-width:2}.seen.forced{stroke:#e0a868}"
    ".diagonal{stroke:#1b2129;stroke-dasharray:5 4}.level{stroke:#b9c2cd;stroke-dasharray:2 3}"
    ".no{fill:#b3392f;font-size:16px}</style>\n";

static void draw_head(const col_sweep *sweep, col_str *out)
{
    col_str_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
        "role=\"img\">\n%s<title>",
        WIDTH, HEIGHT, WIDTH, HEIGHT, style);
    html_text(out, sweep->model);
    col_str_append(out, "</title>\n<text class=\"soft\" x=\"84\" y=\"20\">");
    html_text(out, sweep->model);
    col_str_append(out, ", predicted for ");
    html_text(out, sweep->machine);
    col_str_append(out, "</text>\n");
    if (sweep->measured)
        col_str_printf(
            out,
            "<circle class=\"mark\" cx=\"%d\" cy=\"16\" r=\"4.5\"/><text x=\"%d\" y=\"20\">predicted"
            "</text><circle class=\"seen\" cx=\"%d\" cy=\"16\" r=\"4.5\"/><text x=\"%d\" "
            "y=\"20\">measured</text>\n",
            WIDTH - 194, WIDTH - 184, WIDTH - 104, WIDTH - 94);
}

void col_sweep_print_svg(const col_sweep *sweep, col_str *out)
{
    col_arena *arena = col_arena_create();
    double width = (WIDTH - 2 * LEFT - RIGHT - GAP) / 2.0, second = LEFT + width + GAP + LEFT;
    bool m = sweep->measured;
    panel over_limits[2] = {
        {.title = "peak of a device against the limit",
         .x = {"limit", BYTES, INFINITY, 0, 0},
         .y = {"", BYTES, INFINITY, 0, 0},
         .x_of = limit_of,
         .y_of = peak_of,
         .measured_y = m ? measured_peak_of : NULL},
        {.title = "time overhead of a step against the peak",
         .x = {"peak", BYTES, INFINITY, 0, 0},
         .y = {"", PERCENT, 0, 0, 0},
         .x_of = peak_of,
         .y_of = overhead_of,
         .measured_x = m ? measured_peak_of : NULL,
         .measured_y = m ? measured_overhead_of : NULL},
    };
    panel over_batches[2] = {
        {.title = "peak of a device against the batch",
         .x = {"batch", COUNT, 0, 0, 0},
         .y = {"", BYTES, 0, 0, 0},
         .x_of = batch_of,
         .y_of = peak_of,
         .measured_y = m ? measured_peak_of : NULL},
        {.title = "samples per second against the batch",
         .x = {"batch", COUNT, 0, 0, 0},
         .y = {"", COUNT, 0, 0, 0},
         .x_of = batch_of,
         .y_of = samples_of,
         .measured_y = m ? measured_samples_of : NULL},
    };
    panel *panels = sweep->over_batches ? over_batches : over_limits;
    draw_head(sweep, out);
    for (int k = 0; k < 2; k++) {
        panel *p = &panels[k];
        p->left = k ? second : LEFT;
        p->width = width;
        scale(p, sweep);
        draw_axes(p, out);
        if (k == 0 && !sweep->over_batches) draw_limits(p, sweep, out);
        if (k == 0 && sweep->over_batches && sweep->limit_bytes)
            draw_level(p, (double)sweep->limit_bytes, "diagonal", sweep->limit, out);
        draw_rows(p, sweep, arena, out);
    }
    col_str_append(out, "</svg>\n");
    col_arena_destroy(arena);
}
