/* The strategy log of a plan that was split over a mesh, as text and as JSON. */
#include "frontend/explain.h"

#include <string.h>

#include "frontend/report.h"

enum { NAME_WIDTH = 38, NOTATION_WIDTH = 46 };

bool col_explain_edge_moves(const Col__Plan__EdgeLog *edge)
{
    return strcmp(edge->from_layout, edge->to_layout) != 0;
}

/* Text. */

/* Nothing is "0". */
static const char *format_seconds(char out[COL_HUMAN_SIZE], double seconds)
{
    return seconds > 0 ? col_format_seconds(out, seconds) : "0";
}

static void print_op(const Col__Plan__OpStrategy *op, col_str *out)
{
    char compute[COL_HUMAN_SIZE], comm[COL_HUMAN_SIZE], bytes[COL_HUMAN_SIZE];
    col_str_printf(out, "%-*s %-*s compute %8s  comm %-8s mem %9s", NAME_WIDTH, op->name, NOTATION_WIDTH,
                   op->notation, format_seconds(compute, op->compute_seconds),
                   format_seconds(comm, op->communication_seconds),
                   col_format_bytes(bytes, (double)op->memory_bytes));
    if (*op->steps)
        col_str_printf(out, "  (%s, %s)", op->steps, col_format_bytes(bytes, op->communication_bytes));
    col_str_append(out, "\n");
}

static void print_edge(const Col__Plan__EdgeLog *edge, col_str *out)
{
    char bytes[COL_HUMAN_SIZE], seconds[COL_HUMAN_SIZE];
    col_str_printf(out, "edge %s -> %s   %s -> %s    ", edge->from, edge->to, edge->from_layout,
                   edge->to_layout);
    if (*edge->steps && edge->bytes > 0)
        col_str_printf(out, "%s, %s, %s\n", edge->steps, col_format_bytes(bytes, edge->bytes),
                       format_seconds(seconds, edge->seconds));
    else if (*edge->steps)
        col_str_printf(out, "%s, 0\n", edge->steps);
    else
        col_str_append(out, col_explain_edge_moves(edge) ? "0, done for an earlier user\n" : "0\n");
}

static void print_alternatives(const Col__Plan__Sharding *s, col_str *out)
{
    if (!s->n_alternatives) return;
    col_str_printf(out, "\n%-8s %-11s %10s %10s %10s %10s\n", "plan", "status", "step", "compute", "comm",
                   "peak");
    for (size_t i = 0; i < s->n_alternatives; i++) {
        const Col__Plan__Alternative *a = s->alternatives[i];
        char step[COL_HUMAN_SIZE], compute[COL_HUMAN_SIZE], comm[COL_HUMAN_SIZE], peak[COL_HUMAN_SIZE];
        if (*a->reason) {
            col_str_printf(out, "%-8s %-11s %s\n", a->plan, a->status, a->reason);
            continue;
        }
        col_str_printf(out, "%-8s %-11s %10s %10s %10s %10s\n", a->plan, a->status,
                       format_seconds(step, a->seconds), format_seconds(compute, a->compute_seconds),
                       format_seconds(comm, a->communication_seconds),
                       col_format_bytes(peak, (double)a->peak_bytes));
    }
}

static void print_solver(const Col__Plan__Sharding *s, col_str *out)
{
    char objective[COL_HUMAN_SIZE], bound[COL_HUMAN_SIZE], seconds[COL_HUMAN_SIZE];
    col_str_printf(out,
                   "\nsolver     %s: %s a step, no plan below %s (gap %.2f %%), in %s\n"
                   "           %d nodes, %d edges, %d strategies; left to solve: %d variables, %d rows\n",
                   s->status, col_format_seconds(objective, s->objective),
                   col_format_seconds(bound, s->bound), 100 * s->gap, col_format_seconds(seconds, s->seconds),
                   s->nodes, s->edge_count, s->strategies, s->variables, s->rows);
}

void col_explain_sharding(const col_plan *plan, bool all_edges, col_str *out)
{
    static const char *const phases[] = {"forward", "backward", "update"};
    const Col__Plan__Sharding *s = plan->sharding;
    col_mesh mesh = col_plan_mesh(plan);
    col_str_printf(out, "\nsharding of %s over mesh ", s->program);
    col_mesh_print(&mesh, out);
    col_str_printf(out, ", plan %s\n", s->plan);
    uint32_t phase = UINT32_MAX;
    for (size_t i = 0; i < s->n_ops; i++) {
        if (s->ops[i]->is_view && !all_edges) continue;
        if (s->ops[i]->phase != phase) col_str_printf(out, "\n# %s\n", phases[s->ops[i]->phase]);
        phase = s->ops[i]->phase;
        print_op(s->ops[i], out);
    }
    col_str_append(out, "\n");
    for (size_t i = 0; i < s->n_edges; i++) {
        if (all_edges || col_explain_edge_moves(s->edges[i])) print_edge(s->edges[i], out);
    }
    print_alternatives(s, out);
    print_solver(s, out);
}

/* JSON. */

static void set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value)) col_out_of_memory(0);
}

static json_t *op_json(const Col__Plan__OpStrategy *op)
{
    json_t *out = json_object();
    set(out, "name", col_report_text(op->name));
    set(out, "op", col_report_text(op->op));
    set(out, "notation", col_report_text(op->notation));
    set(out, "phase", json_integer(op->phase));
    set(out, "compute_seconds", json_real(op->compute_seconds));
    set(out, "communication_seconds", json_real(op->communication_seconds));
    set(out, "communication_bytes", json_real(op->communication_bytes));
    set(out, "memory_bytes", json_integer((json_int_t)op->memory_bytes));
    set(out, "steps", col_report_text(op->steps));
    set(out, "is_view", json_boolean(op->is_view));
    return out;
}

static json_t *edge_json(const Col__Plan__EdgeLog *edge)
{
    json_t *out = json_object();
    set(out, "from", col_report_text(edge->from));
    set(out, "to", col_report_text(edge->to));
    set(out, "from_layout", col_report_text(edge->from_layout));
    set(out, "to_layout", col_report_text(edge->to_layout));
    set(out, "phase", json_integer(edge->phase));
    set(out, "steps", col_report_text(edge->steps));
    set(out, "bytes", json_real(edge->bytes));
    set(out, "seconds", json_real(edge->seconds));
    return out;
}

json_t *col_explain_sharding_json(const Col__Plan__Sharding *s)
{
    json_t *out = json_object(), *ops = json_array(), *edges = json_array();
    set(out, "program", col_report_text(s->program));
    set(out, "plan", col_report_text(s->plan));
    for (size_t i = 0; i < s->n_ops; i++) json_array_append_new(ops, op_json(s->ops[i]));
    for (size_t i = 0; i < s->n_edges; i++) json_array_append_new(edges, edge_json(s->edges[i]));
    set(out, "ops", ops);
    set(out, "edges", edges);
    return out;
}
