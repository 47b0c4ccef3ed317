/* The strategy log as one page of HTML that needs nothing else: style and script are in it (explain_page.css,
 * explain_page.js), drawings are inline SVG, and without the script all but pointing at the chart works. */
#include "frontend/explain_html.h"

#include <string.h>

#include "frontend/explain_recompute.h"
#include "frontend/predict.h"
#include "frontend/report.h"
#include "ir/plan/plan_clocks.h"

static const char style[] =
#include "frontend/explain_page.css.inc"
    ;
static const char script[] =
#include "frontend/explain_page.js.inc"
    ;

/* Pieces. */

static bool is_ascii(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text >= 0x80 || (unsigned char)*text < 0x20) return false;
    }
    return true;
}

static void append_escaped(col_str *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': col_str_append(out, "&amp;"); break;
        case '<': col_str_append(out, "&lt;"); break;
        case '>': col_str_append(out, "&gt;"); break;
        case '"': col_str_append(out, "&quot;"); break;
        default: col_str_append_bytes(out, (unsigned char)*text < 0x20 ? " " : text, 1);
        }
    }
}

void html_text(col_str *out, const char *text)
{
    if (is_ascii(text)) {
        append_escaped(out, text);
        return;
    }
    json_t *checked = col_report_text(text);
    append_escaped(out, json_string_value(checked));
    json_decref(checked);
}

void html_bytes(col_str *out, double bytes)
{
    char text[COL_HUMAN_SIZE];
    col_str_append(out, col_format_bytes(text, bytes));
}

void html_seconds(col_str *out, double seconds)
{
    char text[COL_HUMAN_SIZE];
    col_str_append(out, seconds > 0 ? col_format_seconds(text, seconds) : "0");
}

const col_plan_program *html_program(const col_plan *plan)
{
    return plan->sharding ? col_plan_find_program(plan, plan->sharding->program) : plan->programs[0];
}

/* Head. */

static const char *name_of(const col_plan *plan)
{
    return plan->source && *plan->source->name ? plan->source->name : "plan";
}

static void print_title(const col_plan *plan, const col_report_figures *f, col_str *out)
{
    char count[COL_HUMAN_SIZE];
    col_str_append(out, "<header>\n<h1>");
    html_text(out, name_of(plan));
    col_str_printf(out, "</h1>\n<p class=\"soft\">%s parameters · ",
                   col_format_count(count, (double)f->parameters));
    html_text(out, plan->precision);
    if (*plan->optimizer) {
        col_str_append(out, ", ");
        html_text(out, plan->optimizer);
    }
    col_str_append(out, " · on ");
    html_text(out, *plan->machine ? plan->machine : "an unnamed machine");
    if (plan->n_mesh) {
        col_mesh mesh = col_plan_mesh(plan);
        col_str_append(out, ", mesh ");
        col_mesh_print(&mesh, out);
    } else {
        col_str_append(out, ", one device");
    }
    if (plan->sharding) {
        col_str_append(out, ", plan ");
        html_text(out, plan->sharding->plan);
    }
    col_str_append(out, "</p>\n<p class=\"soft\">");
    for (size_t i = 0; plan->source && i < plan->source->n_settings; i++) {
        const Col__Plan__Setting *s = plan->source->settings[i];
        col_str_append(out, i ? ", " : "");
        html_text(out, s->name);
        if (s->value_case == COL__PLAN__SETTING__VALUE_FLOAT_VALUE)
            col_str_printf(out, " %g", s->float_value);
        else
            col_str_printf(out, " %lld", (long long)s->int_value);
    }
    col_str_append(out, "</p>\n</header>\n");
}

static void print_tile(const char *what, void (*print)(col_str *, double), double value, col_str *out)
{
    col_str_printf(out, "<div><dt>%s</dt><dd>", what);
    print(out, value);
    col_str_append(out, "</dd></div>\n");
}

static void print_tiles(const col_plan *plan, const col_report_figures *f, col_str *out)
{
    double seconds = col_predict_step(plan);
    col_predicted_communication c;
    col_predict_communication(plan, &c);
    col_str_append(out, "<dl class=\"tiles\">\n");
    print_tile("step, predicted", html_seconds, seconds, out);
    if (plan->n_mesh) {
        print_tile("of it compute", html_seconds, seconds - c.exposed, out);
        print_tile("exposed communication", html_seconds, c.exposed, out);
        print_tile("all communication", html_seconds, c.seconds, out);
        print_tile("a rank sends", html_bytes, c.bytes, out);
    }
    print_tile("peak memory", html_bytes, (double)plan->arena_bytes, out);
    print_tile("of it state", html_bytes, (double)(f->parameter_bytes + f->optimizer_bytes + f->cache_bytes),
               out);
    col_str_append(out, "</dl>\n");
}

/* Plans. */

static void print_bar(const Col__Plan__Alternative *a, double longest, col_str *out)
{
    double scale = longest > 0 ? 100 / longest : 0;
    col_str_printf(out,
                   "<div class=\"bar\"><i style=\"width:%.2f%%\"></i><i style=\"width:%.2f%%\"></i></div>",
                   scale * a->compute_seconds, scale * a->communication_seconds);
}

static void print_alternative(const Col__Plan__Alternative *a, bool own, double longest, col_str *out)
{
    col_str_printf(out, "<tr%s><td>", own ? " class=\"own\"" : "");
    html_text(out, a->plan);
    col_str_append(out, "</td><td class=\"");
    html_text(out, a->status);
    col_str_append(out, "\">");
    html_text(out, a->status);
    col_str_append(out, "</td>");
    if (*a->reason || a->seconds <= 0) {
        col_str_append(out, "<td colspan=\"5\" class=\"soft\">");
        html_text(out, *a->reason ? a->reason : "no answer was found");
        col_str_append(out, "</td></tr>\n");
        return;
    }
    col_str_append(out, "<td>");
    print_bar(a, longest, out);
    col_str_append(out, "</td><td class=\"n\">");
    html_seconds(out, a->seconds);
    col_str_append(out, "</td><td class=\"n\">");
    html_seconds(out, a->compute_seconds);
    col_str_append(out, "</td><td class=\"n\">");
    html_seconds(out, a->communication_seconds);
    col_str_append(out, "</td><td class=\"n\">");
    html_bytes(out, (double)a->peak_bytes);
    col_str_append(out, "</td></tr>\n");
}

static void print_alternatives(const Col__Plan__Sharding *s, col_str *out)
{
    double longest = 0;
    if (!s->n_alternatives) return;
    for (size_t i = 0; i < s->n_alternatives; i++) longest = COL_MAX(longest, s->alternatives[i]->seconds);
    col_str_append(
        out,
        "<h2>Beside the forced plans</h2>\n<p class=\"soft\">A step as predicted of plans that were laid "
        "out, by the sharding model of the others, and the largest memory of one device by that "
        "model.</p>\n<p class=\"legend\"><i></i>compute<i class=\"comm\">"
        "</i>communication</p>\n<div class=\"wide\"><table>\n<tr><th>plan</th><th>status</th><th>"
        "</th><th class=\"n\">step</th><th class=\"n\">compute</th><th class=\"n\">communication"
        "</th><th class=\"n\">peak</th></tr>\n");
    for (size_t i = 0; i < s->n_alternatives; i++)
        print_alternative(s->alternatives[i], i == 0, longest, out);
    col_str_append(out, "</table></div>\n");
}

static void print_solver(const Col__Plan__Sharding *s, col_str *out)
{
    col_str_append(out, "<h2>Solver</h2>\n<p><strong class=\"");
    html_text(out, s->status);
    col_str_append(out, "\">");
    html_text(out, s->status);
    col_str_append(out, "</strong>: ");
    html_seconds(out, s->objective);
    col_str_append(out, " a step, and it is proved that none of its plans takes less than ");
    html_seconds(out, s->bound);
    col_str_printf(out, ", a gap of %.2f %%. Found in ", 100 * s->gap);
    html_seconds(out, s->seconds);
    col_str_printf(
        out,
        ".</p>\n<p class=\"soft\">The model has %d nodes, %d edges and %d strategies; %d variables "
        "and %d rows were left to solve after exact reductions.</p>\n",
        s->nodes, s->edge_count, s->strategies, s->variables, s->rows);
}

/* Communication of a run of the program, by kind of collective. */

typedef struct kind_row {
    size_t count, overlapped;
    double seconds, exposed, sent;
} kind_row;

static void print_kind(const char *name, const kind_row *r, col_str *out)
{
    col_str_printf(out, "<tr><td>%s</td><td class=\"n\">%zu</td><td class=\"n\">%zu</td><td class=\"n\">",
                   name, r->count, r->overlapped);
    html_seconds(out, r->seconds);
    col_str_append(out, "</td><td class=\"n\">");
    html_seconds(out, r->exposed);
    col_str_append(out, "</td><td class=\"n\">");
    html_bytes(out, r->sent);
    col_str_append(out, "</td></tr>\n");
}

static void print_communication(const col_plan *plan, const col_plan_program *program, col_arena *arena,
                                col_str *out)
{
    kind_row rows[COL_PLAN_COLLECTIVE_KINDS] = {0};
    double *exposed = COL_NEW_ARRAY(arena, double, program->n_instructions);
    if (!(col_plan_run_clocks(plan, program, exposed).communication > 0)) return;
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        if (!col_predict_communicates(in)) continue;
        kind_row *r = &rows[in->collective->kind];
        r->count++;
        r->overlapped += col_predict_overlaps(in);
        r->seconds += in->seconds;
        r->exposed += exposed[i];
        r->sent += col_plan_sent_bytes(plan, in->collective);
    }
    col_str_append(out, "<h2>Communication</h2>\n<p class=\"soft\">Of one run of ");
    html_text(out, program->name);
    col_str_append(
        out, ". What is overlapped goes on while the rank computes; exposed is the time in which it waits."
             "</p>\n<div class=\"wide\"><table>\n<tr><th>collective</th><th class=\"n\">count</th>"
             "<th class=\"n\">overlapped</th><th class=\"n\">time</th><th class=\"n\">exposed</th>"
             "<th class=\"n\">a rank sends</th></tr>\n");
    for (size_t k = 0; k < COL_COUNT(rows); k++) {
        if (rows[k].count) print_kind(col_plan_collective_name((Col__Plan__CollectiveKind)k), &rows[k], out);
    }
    col_str_append(out, "</table></div>\n");
}

void col_explain_html(const col_plan *plan, col_str *out)
{
    col_arena *arena = col_arena_create();
    col_report_figures f;
    col_report_figure(plan, &f);
    col_str_append(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    html_text(out, name_of(plan));
    col_str_printf(out, " – strategy log</title>\n<style>\n%s</style>\n</head>\n<body>\n", style);
    print_title(plan, &f, out);
    print_tiles(plan, &f, out);
    if (plan->sharding) {
        print_alternatives(plan->sharding, out);
        print_solver(plan->sharding, out);
    }
    print_communication(plan, html_program(plan), arena, out);
    for (size_t i = 0; i < plan->n_memory; i++) {
        if (strcmp(plan->memory[i]->program, html_program(plan)->name)) continue;
        html_memory(plan, plan->memory[i], arena, out);
        col_explain_recompute_html(plan, plan->memory[i], arena, out);
    }
    html_graph(plan, arena, out);
    col_str_printf(out, "<script>\n%s</script>\n</body>\n</html>\n", script);
    col_arena_destroy(arena);
}
