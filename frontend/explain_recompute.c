#include "frontend/explain_recompute.h"

#include <string.h>

#include "frontend/explain.h"
#include "frontend/explain_html.h"
#include "frontend/report.h"
#include "ir/units.h"

enum { COLUMNS = 72, ROWS = 10, LINES = 24 };

/* ---- finding ---- */

/* The op of a name without what was added to make it unique: "h.0.mlp.add" of "h.0.mlp.add_2.again_1". */
static size_t stem(const char *name)
{
    static const char again[] = ".again";
    const char *tail = NULL;
    for (const char *at = name; (at = strstr(at, again)); at++) tail = at;
    size_t size = tail ? (size_t)(tail - name) : strlen(name), digits = size;
    while (digits && name[digits - 1] >= '0' && name[digits - 1] <= '9') digits--;
    return digits < size && digits && name[digits - 1] == '_' ? digits - 1 : size;
}

static bool same_op(const char *a, const char *b)
{
    size_t size = stem(a);
    return size == stem(b) && !strncmp(a, b, size);
}

static bool lies_in(const col_plan_view *view, const Col__Plan__LiveBuffer *b)
{
    return view->offset >= b->offset && view->offset < b->offset + b->bytes;
}

/* Whether the backward phase itself reads the buffer, not only what is computed again. */
static bool is_asked(const col_plan_program *program, const Col__Plan__LiveBuffer *b)
{
    size_t last = COL_MIN((size_t)b->last + 1, program->n_instructions);
    for (size_t i = (size_t)b->first + 1; i < last; i++) {
        const col_plan_instruction *in = program->instructions[i];
        for (size_t k = 0; !in->turn && k < in->n_reads; k++) {
            if (lies_in(in->reads[k], b)) return true;
        }
    }
    return false;
}

/* The instruction up to which the forward phase holds what the buffer has again: the last use of the first
 * buffer of that op and size to go, else the run of its op, else the end of the phase. */
static size_t forward_end(const col_plan_program *program, const Col__Plan__MemoryReport *m,
                          const Col__Plan__LiveBuffer *copy)
{
    size_t end = SIZE_MAX, phase_end = 0;
    for (size_t i = 0; i < m->n_buffers; i++) {
        const Col__Plan__LiveBuffer *b = m->buffers[i];
        bool is_forward = b->last < copy->first && b->first < program->n_instructions &&
                          program->instructions[b->first]->phase == 0;
        if (is_forward && b->bytes == copy->bytes && same_op(b->name, copy->name))
            end = COL_MIN(end, (size_t)b->last + 1);
    }
    for (size_t i = 0; i < program->n_instructions && program->instructions[i]->phase == 0; i++) {
        phase_end = i + 1;
        if (end == SIZE_MAX && same_op(program->instructions[i]->name, copy->name)) end = i + 1;
    }
    return COL_MIN(end == SIZE_MAX ? phase_end : end, (size_t)copy->first);
}

static void find_turns(col_explain_recompute *r, col_arena *arena)
{
    for (size_t i = 0; i < r->count; i++) {
        const col_plan_instruction *in = r->program->instructions[i];
        if (!in->turn) {
            r->other_seconds += in->seconds;
            continue;
        }
        size_t k = 0;
        while (k < r->turns.len && r->turns.data[k].turn != in->turn) k++;
        if (k == r->turns.len)
            col_vec_push(arena, &r->turns, ((col_explain_turn){.turn = in->turn, .first = i}));
        col_explain_turn *turn = &r->turns.data[k];
        turn->count++;
        turn->last = i;
        turn->seconds += in->seconds;
        r->seconds += in->seconds;
    }
}

static void add_over(int64_t *change, size_t from, size_t to, int64_t bytes)
{
    change[from] += bytes;
    change[to] -= bytes;
}

/* An instruction that makes several values has one entry for all. */
static void add_value(col_explain_recompute *r, const Col__Plan__LiveBuffer *b, size_t from, col_arena *arena)
{
    size_t k = 0;
    while (k < r->values.len && r->values.data[k].instruction != b->first) k++;
    if (k == r->values.len) col_vec_push(arena, &r->values, ((col_explain_again){b->first, 0, from}));
    col_explain_again *value = &r->values.data[k];
    value->bytes += (double)b->bytes;
    value->from = COL_MIN(value->from, from);
}

static void find_values(col_explain_recompute *r, const Col__Plan__MemoryReport *m, col_arena *arena)
{
    int64_t *change = COL_NEW_ARRAY(arena, int64_t, r->count + 2), sum = 0;
    for (size_t i = 0; i < m->n_buffers; i++) {
        const Col__Plan__LiveBuffer *b = m->buffers[i];
        uint32_t turn = b->first < r->count ? r->program->instructions[b->first]->turn : 0;
        int64_t placed = col_plan_padded((int64_t)b->bytes);
        if (!turn) continue;
        if (!is_asked(r->program, b)) {
            add_over(change, b->first, COL_MIN((size_t)b->last + 1, r->count), -placed);
            continue;
        }
        size_t from = forward_end(r->program, m, b);
        add_over(change, from, b->first, placed);
        add_value(r, b, from, arena);
        for (size_t k = 0; k < r->turns.len; k++) {
            if (r->turns.data[k].turn == turn) r->turns.data[k].bytes += (double)b->bytes;
        }
    }
    r->live = col_explain_live_bytes(m, r->count, arena);
    r->kept = COL_NEW_ARRAY(arena, uint64_t, r->count + 1);
    for (size_t i = 0; i < r->count; i++) {
        sum += change[i];
        r->kept[i] = (uint64_t)COL_MAX((int64_t)r->live[i] + sum, 0);
        r->peak = COL_MAX(r->peak, r->live[i]);
        r->kept_peak = COL_MAX(r->kept_peak, r->kept[i]);
    }
}

bool col_explain_recompute_find(const col_plan *plan, const Col__Plan__MemoryReport *memory, col_arena *arena,
                                col_explain_recompute *out)
{
    *out = (col_explain_recompute){.program = col_plan_find_program(plan, memory->program)};
    if (!out->program) return false;
    out->count = out->program->n_instructions;
    find_turns(out, arena);
    if (!out->turns.len) return false;
    find_values(out, memory, arena);
    return true;
}

/* How it was chosen: "auto: 118 values kept, 13 computed again; optimal, gap 0.42 % by the model". */
static void print_choice(const col_plan *plan, col_str *out)
{
    const Col__Plan__Recompute *c = plan->recompute;
    col_str_printf(out, "%s: %d forward values kept, %d computed again", c->kind, (int)c->kept,
                   (int)c->again);
    if (c->bound > 0) col_str_printf(out, "; %s, gap %.2f %% by the model", c->status, 100 * c->gap);
}

/* ---- text ---- */

static uint64_t column_peak(const uint64_t *live, size_t count, size_t column)
{
    uint64_t most = 0;
    size_t columns = COL_MIN(count, (size_t)COLUMNS);
    for (size_t i = column * count / columns; i < (column + 1) * count / columns; i++)
        most = COL_MAX(most, live[i]);
    return most;
}

/* Where a column passes the middle of a row: `#` as planned, `.` if the values were held. */
static void print_chart(const col_explain_recompute *r, col_str *out)
{
    size_t columns = COL_MIN(r->count, (size_t)COLUMNS);
    double most = (double)COL_MAX(COL_MAX(r->peak, r->kept_peak), 1);
    for (int row = ROWS; row >= 1; row--) {
        char label[COL_HUMAN_SIZE] = "";
        if (row == ROWS || row == ROWS / 2) col_format_bytes(label, most * row / ROWS);
        col_str_printf(out, "  %10s |", label);
        double middle = (row - 0.5) * most / ROWS;
        for (size_t c = 0; c < columns; c++) {
            bool now = (double)column_peak(r->live, r->count, c) > middle;
            bool kept = (double)column_peak(r->kept, r->count, c) > middle;
            col_str_append(out, now ? "#" : kept ? "." : " ");
        }
        while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
        col_str_append(out, "\n");
    }
    col_str_printf(out, "  %10s |", "again");
    for (size_t c = 0; c < columns; c++) {
        bool any = false;
        for (size_t i = c * r->count / columns; i < (c + 1) * r->count / columns; i++)
            any = any || r->program->instructions[i]->turn;
        col_str_append(out, any ? "^" : " ");
    }
    while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
    col_str_append(out, "\n");
}

static const col_explain_again *value_of(const col_explain_recompute *r, size_t instruction)
{
    for (size_t k = 0; k < r->values.len; k++) {
        if (r->values.data[k].instruction == instruction) return &r->values.data[k];
    }
    return NULL;
}

static void print_turn(const col_explain_recompute *r, const col_explain_turn *turn, col_str *out)
{
    char seconds[COL_HUMAN_SIZE], bytes[COL_HUMAN_SIZE];
    col_str_printf(out, "\n  turn %u: %zu instruction%s, %s, for %s that are not held\n", turn->turn,
                   turn->count, turn->count == 1 ? "" : "s", col_format_seconds(seconds, turn->seconds),
                   col_format_bytes(bytes, turn->bytes));
    size_t shown = 0;
    for (size_t i = turn->first; i <= turn->last; i++) {
        const col_plan_instruction *in = r->program->instructions[i];
        if (in->turn != turn->turn) continue;
        if (shown++ == LINES) {
            col_str_printf(out, "    and %zu more\n", turn->count - LINES);
            break;
        }
        const col_explain_again *value = value_of(r, i);
        col_str_printf(out, "    %-40s %10s", in->name, col_format_seconds(seconds, in->seconds));
        if (value)
            col_str_printf(out, "  %10s not held from %zu to %zu", col_format_bytes(bytes, value->bytes),
                           value->from, i);
        col_str_append(out, "\n");
    }
}

void col_explain_recompute_text(const col_plan *plan, const Col__Plan__MemoryReport *memory, col_str *out)
{
    char seconds[COL_HUMAN_SIZE], peak[COL_HUMAN_SIZE], kept[COL_HUMAN_SIZE];
    col_arena *arena = col_arena_create();
    col_explain_recompute r;
    if (col_explain_recompute_find(plan, memory, arena, &r)) {
        col_str_printf(out, "\nrecomputation in %s: %s, %.1f %% on top of the rest, in %zu turn%s\n",
                       r.program->name, col_format_seconds(seconds, r.seconds),
                       r.other_seconds > 0 ? 100 * r.seconds / r.other_seconds : 0.0, r.turns.len,
                       r.turns.len == 1 ? "" : "s");
        col_str_printf(out,
                       "at most %s of temporaries live (#); about %s or more if the values were held (.)\n\n",
                       col_format_bytes(peak, (double)r.peak), col_format_bytes(kept, (double)r.kept_peak));
        print_chart(&r, out);
        if (plan->recompute) {
            col_str_append(out, "\n  ");
            print_choice(plan, out);
            col_str_append(out, "\n");
        }
        for (size_t k = 0; k < r.turns.len; k++) print_turn(&r, &r.turns.data[k], out);
    }
    col_arena_destroy(arena);
}

/* ---- JSON ---- */

static void set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value)) col_out_of_memory(0);
}

static json_t *line_json(const uint64_t *line, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, json_integer((json_int_t)line[i]));
    return list;
}

static json_t *turn_json(const col_explain_recompute *r, const col_explain_turn *turn)
{
    json_t *out = json_object(), *list = json_array();
    set(out, "turn", json_integer(turn->turn));
    set(out, "seconds", json_real(turn->seconds));
    set(out, "bytes", json_real(turn->bytes));
    for (size_t i = turn->first; i <= turn->last; i++) {
        const col_plan_instruction *in = r->program->instructions[i];
        if (in->turn != turn->turn) continue;
        const col_explain_again *value = value_of(r, i);
        json_t *entry = json_object();
        set(entry, "index", json_integer((json_int_t)i));
        set(entry, "name", col_report_text(in->name));
        set(entry, "seconds", json_real(in->seconds));
        if (value) {
            set(entry, "bytes", json_real(value->bytes));
            set(entry, "not_held_from", json_integer((json_int_t)value->from));
            set(entry, "not_held_to", json_integer((json_int_t)i));
        }
        json_array_append_new(list, entry);
    }
    set(out, "instructions", list);
    return out;
}

json_t *col_explain_recompute_choice(const Col__Plan__Recompute *c)
{
    json_t *out = json_object();
    set(out, "kind", col_report_text(c->kind));
    set(out, "status", col_report_text(c->status));
    set(out, "objective", json_real(c->objective));
    set(out, "bound", json_real(c->bound));
    set(out, "gap", json_real(c->gap));
    set(out, "seconds", json_real(c->seconds));
    set(out, "variables", json_integer(c->variables));
    set(out, "rows", json_integer(c->rows));
    set(out, "kept", json_integer(c->kept));
    set(out, "again", json_integer(c->again));
    return out;
}

json_t *col_explain_recompute_json(const col_plan *plan, const Col__Plan__MemoryReport *memory)
{
    col_arena *arena = col_arena_create();
    col_explain_recompute r;
    json_t *out = NULL;
    if (col_explain_recompute_find(plan, memory, arena, &r)) {
        json_t *turns = json_array();
        out = json_object();
        set(out, "program", col_report_text(r.program->name));
        set(out, "seconds", json_real(r.seconds));
        set(out, "overhead", json_real(r.other_seconds > 0 ? r.seconds / r.other_seconds : 0));
        set(out, "peak_bytes", json_integer((json_int_t)r.peak));
        set(out, "kept_peak_bytes", json_integer((json_int_t)r.kept_peak));
        for (size_t k = 0; k < r.turns.len; k++)
            json_array_append_new(turns, turn_json(&r, &r.turns.data[k]));
        if (plan->recompute) set(out, "choice", col_explain_recompute_choice(plan->recompute));
        set(out, "turns", turns);
        set(out, "live_bytes", line_json(r.live, r.count));
        set(out, "kept_bytes", line_json(r.kept, r.count));
    }
    col_arena_destroy(arena);
    return out;
}

/* ---- HTML ---- */

enum { WIDTH = 1000, HEIGHT = 220, LEFT = 84, TOP = 14, BOTTOM = 18, POINTS = 900 };

static void print_line(const col_explain_recompute *r, const uint64_t *line, double most, bool closed,
                       col_str *out)
{
    size_t points = COL_MIN(r->count, (size_t)POINTS);
    double width = WIDTH - LEFT, height = HEIGHT - TOP - BOTTOM, base = HEIGHT - BOTTOM;
    col_str_printf(out, "M%d %.1f", LEFT, base);
    for (size_t k = 0; k < points; k++) {
        uint64_t largest = 0;
        size_t from = k * r->count / points, to = (k + 1) * r->count / points;
        for (size_t i = from; i < to; i++) largest = COL_MAX(largest, line[i]);
        col_str_printf(out, "L%.1f %.1fH%.1f", LEFT + width * (double)from / (double)r->count,
                       base - height * (double)largest / most, LEFT + width * (double)to / (double)r->count);
    }
    col_str_printf(out, "L%d %.1f%s", WIDTH, base, closed ? "Z" : "");
}

static void print_chart_html(const col_explain_recompute *r, col_str *out)
{
    double most = (double)COL_MAX(COL_MAX(r->peak, r->kept_peak), 1);
    col_str_printf(out,
                   "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"memory with and without "
                   "recomputation\">\n",
                   WIDTH, HEIGHT);
    for (int i = 0; i <= 4; i++) {
        double y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * i / 4.0;
        col_str_printf(out,
                       "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" "
                       "y=\"%.1f\" text-anchor=\"end\">",
                       LEFT, WIDTH, y, y, LEFT - 8, y + 4);
        html_bytes(out, most * i / 4);
        col_str_append(out, "</text>\n");
    }
    col_str_append(out, "<path class=\"live\" d=\"");
    print_line(r, r->live, most, true, out);
    col_str_append(out, "\"/>\n<path class=\"peak\" fill=\"none\" d=\"");
    print_line(r, r->kept, most, false, out);
    col_str_append(out, "\"/>\n</svg>\n");
}

static void print_turn_html(const col_explain_recompute *r, const col_explain_turn *turn, col_str *out)
{
    col_str_printf(
        out, "<details><summary><span class=\"name\">turn %u</span><span class=\"times\">%zu instruction%s, ",
        turn->turn, turn->count, turn->count == 1 ? "" : "s");
    html_seconds(out, turn->seconds);
    col_str_append(out, ", for ");
    html_bytes(out, turn->bytes);
    col_str_append(out,
                   "</span></summary><div class=\"wide\"><table>\n<tr><th>computed again</th><th class=\"n\">"
                   "seconds</th><th class=\"n\">bytes not held</th><th>over instructions</th></tr>\n");
    for (size_t i = turn->first; i <= turn->last; i++) {
        const col_plan_instruction *in = r->program->instructions[i];
        if (in->turn != turn->turn) continue;
        const col_explain_again *value = value_of(r, i);
        col_str_append(out, "<tr><td class=\"name\">");
        html_text(out, in->name);
        col_str_append(out, "</td><td class=\"n\">");
        html_seconds(out, in->seconds);
        col_str_append(out, "</td><td class=\"n\">");
        if (value) html_bytes(out, value->bytes);
        col_str_append(out, "</td><td>");
        if (value) col_str_printf(out, "%zu to %zu", value->from, i);
        col_str_append(out, "</td></tr>\n");
    }
    col_str_append(out, "</table></div></details>\n");
}

void col_explain_recompute_html(const col_plan *plan, const Col__Plan__MemoryReport *memory, col_arena *arena,
                                col_str *out)
{
    col_explain_recompute r;
    if (!col_explain_recompute_find(plan, memory, arena, &r)) return;
    col_str_append(out, "<h2>Recomputation</h2>\n<p class=\"soft\">");
    html_seconds(out, r.seconds);
    col_str_printf(out,
                   " of computing again, %.1f %% on top of the rest, in %zu turn%s: temporaries of at most ",
                   r.other_seconds > 0 ? 100 * r.seconds / r.other_seconds : 0.0, r.turns.len,
                   r.turns.len == 1 ? "" : "s");
    html_bytes(out, (double)r.peak);
    col_str_append(out, " instead of about ");
    html_bytes(out, (double)r.kept_peak);
    col_str_append(
        out, " or more.</p>\n<p class=\"legend\"><i></i>temporaries as planned; dashed: if the values were "
             "held</p>\n");
    print_chart_html(&r, out);
    if (plan->recompute) {
        col_str choice = {0};
        print_choice(plan, &choice);
        col_str_append(out, "<p class=\"soft\">");
        html_text(out, col_str_text(&choice));
        col_str_append(out, "</p>\n");
        col_str_fini(&choice);
    }
    for (size_t k = 0; k < r.turns.len; k++) print_turn_html(&r, &r.turns.data[k], out);
}
