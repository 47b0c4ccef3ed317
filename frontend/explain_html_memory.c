#include "frontend/explain_html.h"

#include <stdlib.h>

#include "frontend/report.h"

enum { WIDTH = 1000, HEIGHT = 280, LEFT = 84, TOP = 22, BOTTOM = 26, COLUMNS = 900, LISTED = 20 };

typedef struct chart {
    const uint64_t *live; /* by instruction */
    size_t count;
    double state, most; /* bytes below the temporaries, and at the top */
} chart;

static double x_of(const chart *c, double instruction)
{
    return LEFT + (WIDTH - LEFT) * instruction / (double)c->count;
}

static double y_of(const chart *c, double bytes)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * bytes / c->most;
}

static void print_grid(const chart *c, col_str *out)
{
    for (int i = 0; i <= 4; i++) {
        double bytes = c->most * i / 4, y = y_of(c, bytes);
        col_str_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH,
                       y, y);
        col_str_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, y + 4);
        html_bytes(out, bytes);
        col_str_append(out, "</text>\n");
    }
}

/* Steps; of instructions that share a column of pixels, the largest. */
static void print_area(const chart *c, col_str *out)
{
    size_t columns = COL_MIN(c->count, (size_t)COLUMNS);
    col_str_printf(out, "<rect class=\"state\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"/>\n", LEFT,
                   y_of(c, c->state), WIDTH - LEFT, y_of(c, 0) - y_of(c, c->state));
    col_str_printf(out, "<path class=\"live\" d=\"M%d %.1f", LEFT, y_of(c, c->state));
    for (size_t k = 0; k < columns; k++) {
        uint64_t most = 0;
        size_t from = k * c->count / columns, to = (k + 1) * c->count / columns;
        for (size_t i = from; i < to; i++) most = COL_MAX(most, c->live[i]);
        col_str_printf(out, "L%.1f %.1fH%.1f", x_of(c, (double)from), y_of(c, c->state + (double)most),
                       x_of(c, (double)to));
    }
    col_str_printf(out, "L%d %.1fZ\"/>\n", WIDTH, y_of(c, c->state));
}

static void print_phases(const chart *c, const col_plan_program *program, col_str *out)
{
    static const char *const names[] = {"forward", "backward", "update"};
    for (size_t i = 0; i < c->count; i++) {
        uint32_t phase = program->instructions[i]->phase;
        if (phase >= COL_COUNT(names) || (i && program->instructions[i - 1]->phase == phase)) continue;
        double x = x_of(c, (double)i);
        col_str_printf(out,
                       "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text x=\"%.1f\" "
                       "y=\"%d\">%s</text>\n",
                       x, x, TOP, HEIGHT - BOTTOM + 8, x + 4, HEIGHT - 8, names[phase]);
    }
}

static void print_peak(const chart *c, size_t peak, col_str *out)
{
    double bytes = c->state + (double)c->live[peak], x = x_of(c, (double)peak + 0.5);
    bool right = x > WIDTH * 0.6;
    col_str_printf(
        out,
        "<line class=\"peak\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text class=\"peak-text\" "
        "x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">peak ",
        x, x, TOP - 6, HEIGHT - BOTTOM, right ? x - 6 : x + 6, TOP - 8, right ? "end" : "start");
    html_bytes(out, bytes);
    col_str_append(out, "</text>\n");
}

static int by_size(const void *a, const void *b)
{
    const Col__Plan__LiveBuffer *x = *(Col__Plan__LiveBuffer *const *)a,
                                *y = *(Col__Plan__LiveBuffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void print_live(const Col__Plan__MemoryReport *m, size_t peak, const col_plan_program *program,
                       col_arena *arena, col_str *out)
{
    Col__Plan__LiveBuffer **here = COL_NEW_ARRAY(arena, Col__Plan__LiveBuffer *, m->n_buffers + 1);
    size_t n = 0;
    for (size_t i = 0; i < m->n_buffers; i++) {
        if (m->buffers[i]->first <= peak && peak <= m->buffers[i]->last) here[n++] = m->buffers[i];
    }
    qsort(here, n, sizeof *here, by_size);
    col_str_append(out, "<div class=\"wide\"><table>\n<tr><th>live at the peak</th><th class=\"n\">bytes</th>"
                        "<th>until</th></tr>\n");
    for (size_t i = 0; i < COL_MIN(n, (size_t)LISTED); i++) {
        const char *last = here[i]->last < program->n_instructions
                               ? program->instructions[here[i]->last]->name
                               : "the end (output)";
        col_str_append(out, "<tr><td class=\"name\">");
        html_text(out, here[i]->name);
        col_str_append(out, "</td><td class=\"n\">");
        html_bytes(out, (double)here[i]->bytes);
        col_str_append(out, "</td><td class=\"name\">");
        html_text(out, last);
        col_str_append(out, "</td></tr>\n");
    }
    double rest = 0;
    for (size_t i = LISTED; i < n; i++) rest += (double)here[i]->bytes;
    if (n > LISTED) {
        col_str_printf(out, "<tr><td class=\"soft\">and %zu smaller</td><td class=\"n\">", n - LISTED);
        html_bytes(out, rest);
        col_str_append(out, "</td><td></td></tr>\n");
    }
    col_str_append(out, "</table></div>\n");
}

/* What the script shows under the pointer. */
static void print_data(const chart *c, const col_plan_program *program, col_str *out)
{
    json_t *json = json_object(), *bytes = json_array(), *names = json_array();
    for (size_t i = 0; i < c->count; i++) {
        json_array_append_new(bytes, json_integer((json_int_t)c->live[i]));
        json_array_append_new(names, col_report_text(program->instructions[i]->name));
    }
    json_object_set_new(json, "state", json_real(c->state));
    json_object_set_new(json, "bytes", bytes);
    json_object_set_new(json, "names", names);
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (!text) col_out_of_memory(0);
    col_str_append(out, "<script type=\"application/json\" id=\"live\">");
    for (const char *at = text; *at; at++) { /* a name must not end the element */
        if (*at == '<')
            col_str_append(out, "\\u003c");
        else
            col_str_append_bytes(out, at, 1);
    }
    col_str_append(out, "</script>\n");
    free(text);
    json_decref(json);
}

void html_memory(const col_plan *plan, const Col__Plan__MemoryReport *m, col_arena *arena, col_str *out)
{
    const col_plan_program *program = html_program(plan);
    chart c = {.live = col_explain_live_bytes(m, program->n_instructions, arena),
               .count = program->n_instructions,
               .state = (double)m->state_bytes};
    if (!c.count) return;
    size_t peak = COL_MIN((size_t)m->peak_instruction, c.count - 1);
    for (size_t i = 0; i < c.count; i++) c.most = COL_MAX(c.most, c.state + (double)c.live[i]);
    c.most = COL_MAX(c.most, 1);
    col_str_append(out, "<h2>Memory of one device</h2>\n<p class=\"soft\">Over the instructions of <code>");
    html_text(out, program->name);
    col_str_append(out,
                   "</code>. State is what outlives them: parameters, optimizer state, inputs.</p>\n"
                   "<p class=\"legend\"><i></i>temporaries<i class=\"state\"></i>state and inputs</p>\n");
    col_str_printf(out,
                   "<svg id=\"memory\" viewBox=\"0 0 %d %d\" data-left=\"%d\" data-width=\"%d\" role=\"img\" "
                   "aria-label=\"memory over time\">\n",
                   WIDTH, HEIGHT, LEFT, WIDTH - LEFT);
    print_grid(&c, out);
    print_area(&c, out);
    print_phases(&c, program, out);
    print_peak(&c, peak, out);
    col_str_printf(out, "<line id=\"cursor\" x1=\"0\" x2=\"0\" y1=\"%d\" y2=\"%d\"/>\n</svg>\n", TOP,
                   HEIGHT - BOTTOM);
    col_str_append(out, "<p id=\"reading\" class=\"soft\"></p>\n");
    print_live(m, peak, program, arena, out);
    print_data(&c, program, out);
}
