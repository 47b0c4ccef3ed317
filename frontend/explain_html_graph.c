/* The graph by block: a block is what a name has up to its first number ("h.3" of "h.3.attn.c_attn"), or up
 * to its first dot. Blocks of one phase that stand in a row, have the same ops with the same strategies and
 * costs, and whose labels differ in the number alone, are folded into one that opens. */
#include <ctype.h>
#include <string.h>

#include "frontend/explain_html.h"
#include "frontend/predict.h"
#include "ir/base/map.h"
#include "ir/base/vec.h"

enum { SHOWN_FLOWS = 5 };
static const char TOP_LEVEL[] = "top level";

/* A line of a block: an op, or a value that comes to one in another layout. */
typedef struct row {
    const Col__Plan__EdgeLog *edge; /* NULL: an op */
    const char *name, *op, *notation, *steps;
    double compute, communication, sent, memory;
} row;

typedef struct block {
    const char *label;
    uint32_t phase;
    COL_VEC(row) rows;
    COL_VEC(const Col__Plan__EdgeLog *) flows; /* from other blocks */
    size_t ops;
    double compute, communication, sent;
    uint64_t signature;
} block;

typedef COL_VEC(const Col__Plan__EdgeLog *) edge_list;

typedef struct page {
    const col_plan *plan;
    col_arena *arena;
    COL_VEC(block) blocks;
    col_map *by_label; /* index + 1, by phase and label */
    size_t current;    /* index + 1 of the block of the op before */
    double longest;    /* seconds of one row */
} page;

/* Blocks. */

static bool is_number(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)text[i])) return false;
    }
    return size > 0;
}

/* Without the last part where that names a phase ("grad_3"). */
static size_t length_of_path(const char *name)
{
    const char *dot = strrchr(name, '.');
    bool is_phase = dot && (!strncmp(dot, ".grad", 5) || !strncmp(dot, ".update", 7));
    return is_phase ? (size_t)(dot - name) : strlen(name);
}

static const char *label_of(const page *p, const char *name)
{
    size_t size = length_of_path(name), first = 0;
    for (size_t from = 0, at = 0; at <= size; at++) {
        if (at < size && name[at] != '.') continue;
        if (is_number(name + from, at - from)) return col_arena_strndup(p->arena, name, at);
        if (!first && at < size) first = at;
        from = at + 1;
    }
    return first ? col_arena_strndup(p->arena, name, first) : TOP_LEVEL;
}

/* What has no block stands where it is used: a new one, unless the op before was of that kind, too. */
static block *find_block(page *p, const char *label, uint32_t phase)
{
    const char *key = col_arena_printf(p->arena, "%u %s", phase, label);
    uintptr_t known = (uintptr_t)col_map_get(p->by_label, key);
    if (!known || (known != p->current && !strcmp(label, TOP_LEVEL))) {
        col_vec_push(p->arena, &p->blocks, ((block){.label = label, .phase = phase}));
        known = p->blocks.len;
        col_map_set(p->by_label, key, (void *)known);
    }
    p->current = known;
    return &p->blocks.data[known - 1];
}

/* The name as the block has it. */
static const char *relative(const block *b, const char *name)
{
    size_t size = strlen(b->label);
    return strncmp(name, b->label, size) ? name : name + size;
}

static uint64_t hash_text(const char *text, uint64_t seed)
{
    return col_hash_bytes(text, strlen(text) + 1, seed);
}

static void add_row(page *p, block *b, const row *r)
{
    double figures[] = {r->compute, r->communication, r->sent, r->memory};
    b->signature = hash_text(relative(b, r->name), b->signature + 1);
    b->signature = hash_text(r->notation, b->signature);
    b->signature = hash_text(r->steps, b->signature);
    b->signature = col_hash_bytes(figures, sizeof figures, b->signature);
    b->compute += r->compute;
    b->communication += r->communication;
    b->sent += r->sent;
    b->ops += !r->edge;
    p->longest = COL_MAX(p->longest, r->compute + r->communication);
    col_vec_push(p->arena, &b->rows, *r);
}

static void add_edge(page *p, block *b, const Col__Plan__EdgeLog *edge)
{
    bool from_variable = col_plan_find_variable(p->plan, edge->from) != NULL;
    if (!from_variable && strcmp(label_of(p, edge->from), b->label)) col_vec_push(p->arena, &b->flows, edge);
    if (!col_explain_edge_moves(edge)) return;
    row r = {.edge = edge, .name = edge->to, .steps = edge->steps};
    r.notation = col_arena_printf(p->arena, "%s → %s", edge->from_layout, edge->to_layout);
    r.communication = edge->seconds;
    r.sent = edge->bytes;
    add_row(p, b, &r);
}

static col_map *edges_by_target(const page *p, const Col__Plan__Sharding *s)
{
    col_map *map = col_map_create(p->arena);
    for (size_t i = 0; i < s->n_edges; i++) {
        edge_list *list = col_map_get(map, s->edges[i]->to);
        if (!list) {
            list = COL_NEW(p->arena, edge_list);
            col_map_set(map, s->edges[i]->to, list);
        }
        col_vec_push(p->arena, list, s->edges[i]);
    }
    return map;
}

static void collect_strategies(page *p, const Col__Plan__Sharding *s)
{
    static const char done[] = "";
    col_map *edges = edges_by_target(p, s), *seen = col_map_create(p->arena);
    for (size_t i = 0; i < s->n_ops; i++) {
        const Col__Plan__OpStrategy *op = s->ops[i];
        block *b = find_block(p, label_of(p, op->name), op->phase);
        const edge_list *list = col_map_get(edges, op->name);
        if (!col_map_set(seen, op->name, (void *)(uintptr_t)done)) {
            for (size_t e = 0; list && e < list->len; e++) add_edge(p, b, list->data[e]);
        }
        row r = {NULL,
                 op->name,
                 op->op,
                 op->notation,
                 op->steps,
                 op->compute_seconds,
                 op->communication_seconds,
                 op->communication_bytes,
                 (double)op->memory_bytes};
        if (!op->is_view) add_row(p, b, &r);
    }
    for (size_t i = 0; i < s->n_edges; i++) { /* to variables and outputs */
        const Col__Plan__EdgeLog *edge = s->edges[i];
        if (!col_map_get(seen, edge->to) && col_explain_edge_moves(edge))
            add_edge(p, find_block(p, label_of(p, edge->to), edge->phase), edge);
    }
}

static void collect_instructions(page *p, const col_plan_program *program)
{
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        bool communicates = col_predict_communicates(in);
        if (col_predict_waits(in)) continue;
        col_str notation = {0};
        col_explain_notation(in, &notation);
        row r = {.name = in->name,
                 .op = col_explain_kind(in),
                 .notation = col_arena_strdup(p->arena, col_str_text(&notation)),
                 .steps = col_predict_overlaps(in) ? "overlapped" : "",
                 .compute = communicates ? 0 : in->seconds,
                 .communication = communicates ? in->seconds : 0,
                 .sent = communicates ? col_plan_sent_bytes(p->plan, in->collective) : 0,
                 .memory = col_explain_written_bytes(in)};
        add_row(p, find_block(p, label_of(p, in->name), in->phase), &r);
        col_str_fini(&notation);
    }
}

/* Printing. */

static void print_cells(const page *p, const row *r, col_str *out)
{
    double scale = p->longest > 0 ? 100 / p->longest : 0;
    col_str_append(out, "<td class=\"note\">");
    html_text(out, r->notation);
    if (*r->steps) {
        col_str_append(out, "<br>");
        html_text(out, r->steps);
    }
    col_str_printf(out,
                   "</td><td><div class=\"bar\"><i style=\"width:%.1f%%\"></i><i style=\"width:%.1f%%\"></i>"
                   "</div></td><td class=\"n\">",
                   scale * r->compute, scale * r->communication);
    html_seconds(out, r->compute);
    col_str_append(out, "</td><td class=\"n\">");
    html_seconds(out, r->communication);
    col_str_append(out, "</td><td class=\"n\">");
    html_bytes(out, r->sent);
    col_str_append(out, "</td><td class=\"n\">");
    if (!r->edge) html_bytes(out, r->memory);
    col_str_append(out, "</td></tr>\n");
}

static void print_row(const page *p, const row *r, col_str *out)
{
    if (r->edge) {
        col_str_append(out, "<tr class=\"edge\"><td class=\"name\">from ");
        html_text(out, r->edge->from);
        col_str_append(out, "<br>to ");
        html_text(out, r->edge->to);
    } else {
        col_str_append(out, "<tr><td class=\"name\" title=\"");
        html_text(out, r->op);
        col_str_append(out, "\">");
        html_text(out, r->name);
    }
    col_str_append(out, "</td>");
    print_cells(p, r, out);
}

static void print_times(const block *b, double times, col_str *out)
{
    col_str_append(out, "<span class=\"times\">");
    html_seconds(out, times * b->compute);
    if (b->communication > 0) {
        col_str_append(out, " + ");
        html_seconds(out, times * b->communication);
        col_str_append(out, ", sends ");
        html_bytes(out, times * b->sent);
    }
    col_str_append(out, "</span>");
}

static void print_block(const page *p, const block *b, col_str *out)
{
    col_str_append(out, "<details><summary><span class=\"name\">");
    html_text(out, b->label);
    col_str_printf(out, "</span><span class=\"times\">%zu op%s</span>", b->ops, b->ops == 1 ? "" : "s");
    print_times(b, 1, out);
    col_str_append(out,
                   "</summary>\n<div class=\"wide\"><table>\n<tr><th>op</th><th>result = operands</th><th>"
                   "</th><th class=\"n\">compute</th><th class=\"n\">comm</th><th class=\"n\">sends</th>"
                   "<th class=\"n\">memory</th></tr>\n");
    for (size_t i = 0; i < b->rows.len; i++) print_row(p, &b->rows.data[i], out);
    col_str_append(out, "</table></div></details>\n");
}

static bool same_flow(const page *p, const Col__Plan__EdgeLog *a, const Col__Plan__EdgeLog *b)
{
    return !strcmp(a->from_layout, b->from_layout) && !strcmp(a->to_layout, b->to_layout) &&
           !strcmp(a->steps, b->steps) && !strcmp(label_of(p, a->from), label_of(p, b->from));
}

/* What comes from other blocks, each way once: those that communicate first. */
static void print_flows(const page *p, const block *b, col_str *out)
{
    edge_list list = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < b->flows.len; i++) {
            const Col__Plan__EdgeLog *edge = b->flows.data[i];
            if ((*edge->steps == '\0') != (pass == 1)) continue;
            bool known = false;
            for (size_t j = 0; j < list.len && !known; j++) known = same_flow(p, list.data[j], edge);
            if (!known) col_vec_push(p->arena, &list, edge);
        }
    }
    if (!list.len) return;
    col_str_append(out, "<div class=\"flow\">");
    for (size_t i = 0; i < COL_MIN(list.len, (size_t)SHOWN_FLOWS); i++) {
        const Col__Plan__EdgeLog *edge = list.data[i];
        bool moves = col_explain_edge_moves(edge);
        col_str_append(out, "<div>↓ from <span class=\"name\">");
        html_text(out, label_of(p, edge->from));
        col_str_append(out, "</span> <span class=\"note\">");
        html_text(out, edge->from_layout);
        if (moves) {
            col_str_append(out, " → ");
            html_text(out, edge->to_layout);
        }
        col_str_append(out, "</span>");
        if (*edge->steps) {
            col_str_append(out, " <b>");
            html_text(out, edge->steps);
            col_str_append(out, "</b>, ");
            html_bytes(out, edge->bytes);
            col_str_append(out, ", ");
            html_seconds(out, edge->seconds);
        }
        col_str_append(out, "</div>");
    }
    if (list.len > SHOWN_FLOWS) col_str_printf(out, "<div>and %zu more</div>", list.len - SHOWN_FLOWS);
    col_str_append(out, "</div>\n");
}

/* The label up to its number. */
static size_t family(const char *label)
{
    size_t size = strlen(label);
    while (size && isdigit((unsigned char)label[size - 1])) size--;
    return size;
}

static bool folds(const block *a, const block *b)
{
    size_t size = family(a->label);
    return a->phase == b->phase && a->signature == b->signature && a->label[size] && b->label[size] &&
           size == family(b->label) && !strncmp(a->label, b->label, size);
}

/* Blocks [from, to) are the same. */
static void print_group(const page *p, size_t from, size_t to, col_str *out)
{
    const block *first = &p->blocks.data[from], *last = &p->blocks.data[to - 1];
    print_flows(p, first, out);
    if (to - from == 1) {
        print_block(p, first, out);
        return;
    }
    col_str_append(out, "<details><summary><span class=\"name\">");
    html_text(out, first->label);
    col_str_append(out, " … ");
    html_text(out, last->label);
    col_str_printf(out, " (%zu×)</span><span class=\"times\">%zu op%s each</span>", to - from, first->ops,
                   first->ops == 1 ? "" : "s");
    print_times(first, (double)(to - from), out);
    col_str_append(out, "</summary>\n");
    for (size_t i = from; i < to; i++) print_block(p, &p->blocks.data[i], out);
    col_str_append(out, "</details>\n");
}

static void print_phase(const page *p, uint32_t phase, col_str *out)
{
    static const char *const names[] = {"Forward", "Backward", "Update"};
    bool any = false;
    for (size_t from = 0, to; from < p->blocks.len; from = to) {
        to = from + 1;
        if (p->blocks.data[from].phase != phase || !p->blocks.data[from].rows.len) continue;
        if (!any) col_str_printf(out, "<h3>%s</h3>\n", names[phase]);
        any = true;
        while (to < p->blocks.len && folds(&p->blocks.data[from], &p->blocks.data[to])) to++;
        print_group(p, from, to, out);
    }
}

void html_graph(const col_plan *plan, col_arena *arena, col_str *out)
{
    page p = {.plan = plan, .arena = arena, .by_label = col_map_create(arena)};
    const col_plan_program *program = html_program(plan);
    if (plan->sharding)
        collect_strategies(&p, plan->sharding);
    else
        collect_instructions(&p, program);
    col_str_append(out, "<h2>Graph</h2>\n<p class=\"soft\">Program <code>");
    html_text(out, program->name);
    col_str_append(out, "</code> by block; ");
    col_str_append(out,
                   plan->sharding
                       ? "S1 is split over mesh axis 1, R whole, +P0 a partial sum over axis 0. Lines in "
                         "the colour of communication are values that come in another layout than they "
                         "are wanted in. Times are of one run on one rank."
                       : "shapes are those of what each instruction writes and reads.");
    col_str_append(out, "</p>\n<p class=\"legend\"><i></i>compute<i class=\"comm\"></i>communication &#160; "
                        "<button type=\"button\" data-open=\"1\">open all</button> <button type=\"button\" "
                        "data-open=\"0\">close all</button></p>\n<section id=\"graph\">\n");
    for (uint32_t phase = 0; phase < 3; phase++) print_phase(&p, phase, out);
    col_str_append(out, "</section>\n");
}
