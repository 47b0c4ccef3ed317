#include <string.h>

#include "frontend/describe.h"

enum { LISTED = 3 }; /* layouts of a list before "+N" */

typedef struct describer {
    const col_shard_log *log;
    const char **names; /* by node id */
    col_arena *arena;
} describer;

static char *text_of(col_arena *arena, col_str *text)
{
    char *copy = col_arena_strndup(arena, col_str_text(text), text->len);
    col_str_clear(text);
    return copy;
}

static char *layout_text(const describer *d, const col_layout *layout, const col_value *value)
{
    col_str text = {0};
    col_layout_print(layout, value->type.shape.rank, &text);
    char *copy = text_of(d->arena, &text);
    col_str_fini(&text);
    return copy;
}

static void print_layouts(const col_layout *layouts, const col_value *const *values, size_t count,
                          const char *separator, col_str *out)
{
    size_t listed = count > LISTED + 1 ? LISTED : count;
    for (size_t i = 0; i < listed; i++) {
        if (i) col_str_append(out, separator);
        col_layout_print(&layouts[i], values[i]->type.shape.rank, out);
    }
    if (count > listed) col_str_printf(out, " +%zu", count - listed);
}

static void print_steps(const col_reshard_steps *steps, col_str *out)
{
    for (size_t i = 0; i < steps->len; i++) {
        const col_reshard_step *step = &steps->data[i];
        col_str_printf(out, "%s%s %s ", i ? " + " : "", col_collective_name(step->kind),
                       step->axes.count > 1 ? "axes" : "axis");
        for (int a = 0; a < step->axes.count; a++)
            col_str_printf(out, "%s%d", a ? "," : "", step->axes.axis[a]);
    }
}

static const char *unit_name(const describer *d, uint32_t unit)
{
    const col_unit *u = &d->log->sharding->units->units[unit];
    const col_node *node = col_shard_log_node(u);
    return col_shard_log_is_assign(u) ? col_node_text(node, COL_ATTR_VARIABLE) : d->names[node->id];
}

static Col__Plan__OpStrategy *describe_op(const describer *d, uint32_t unit)
{
    col_shard_op op;
    col_str text = {0};
    col_shard_log_op(d->log, unit, &op);
    Col__Plan__OpStrategy *out = COL_NEW(d->arena, Col__Plan__OpStrategy);
    col__plan__op_strategy__init(out);
    out->name = (char *)(uintptr_t)unit_name(d, unit);
    out->op = (char *)(uintptr_t)(op.is_fused ? "kernel" : col_op_info_of(op.node->op)->name);
    print_layouts(op.result_layouts.data, op.results.data, op.results.len, ", ", &text);
    col_str_append(&text, op.operands.len ? " = " : "");
    print_layouts(op.operand_layouts.data, op.operands.data, op.operands.len, op.is_product ? " x " : ", ",
                  &text);
    out->notation = text_of(d->arena, &text);
    print_steps(&d->log->inner[unit], &text);
    out->steps = text_of(d->arena, &text);
    out->compute_seconds = op.compute;
    out->communication_seconds = op.communication;
    out->communication_bytes = op.communication_bytes;
    out->memory_bytes = (uint64_t)op.memory;
    out->phase = op.node->phase;
    out->is_view = op.is_view;
    col_str_fini(&text);
    return out;
}

static Col__Plan__EdgeLog *describe_edge(const describer *d, const col_shard_edge *edge)
{
    const col_units *units = d->log->sharding->units;
    const col_value *value = edge->value;
    col_str text = {0};
    Col__Plan__EdgeLog *out = COL_NEW(d->arena, Col__Plan__EdgeLog);
    col__plan__edge_log__init(out);
    const col_node *maker = value->producer;
    out->from = (char *)(uintptr_t)(maker ? unit_name(d, units->by_node[maker->id]) : value->var->name);
    out->to = (char *)(uintptr_t)(edge->output ? edge->output->name : unit_name(d, edge->unit));
    out->from_layout = layout_text(d, &edge->from, value);
    out->to_layout = layout_text(d, &edge->to, value);
    print_steps(&edge->steps, &text);
    out->steps = text_of(d->arena, &text);
    for (size_t i = 0; i < edge->steps.len; i++) {
        out->bytes += edge->steps.data[i].bytes;
        out->seconds += edge->steps.data[i].seconds;
    }
    out->phase = !edge->output ? units->units[edge->unit].nodes[0]->phase
                 : maker       ? maker->phase
                               : COL_PHASE_FORWARD;
    col_str_fini(&text);
    return out;
}

static Col__Plan__Alternative *describe_row(const col_shard_row *row, col_arena *arena)
{
    Col__Plan__Alternative *out = COL_NEW(arena, Col__Plan__Alternative);
    col__plan__alternative__init(out);
    out->plan = (char *)(uintptr_t)col_plan_kind_name(row->plan);
    out->status = (char *)(uintptr_t)(row->reason ? "impossible" : col_solve_status_name(row->status));
    out->reason = (char *)(uintptr_t)(row->reason ? row->reason : "");
    out->seconds = row->seconds;
    out->compute_seconds = row->compute;
    out->communication_seconds = row->communication;
    out->peak_bytes = (uint64_t)row->peak;
    return out;
}

Col__Plan__Sharding *col_describe_sharding(const char *program, col_plan_kind kind, const col_shard_log *log,
                                           const col_shard_report *report, col_arena *arena)
{
    describer d = {log, col_graph_node_names(log->graph, arena), arena};
    const col_units *units = log->sharding->units;
    Col__Plan__Sharding *out = COL_NEW(arena, Col__Plan__Sharding);
    col__plan__sharding__init(out);
    out->program = (char *)(uintptr_t)program;
    out->plan = (char *)(uintptr_t)col_plan_kind_name(kind);
    out->status = (char *)(uintptr_t)col_solve_status_name(report->status);
    out->objective = report->objective;
    out->bound = report->bound;
    out->gap = report->gap;
    out->seconds = report->seconds;
    out->variables = report->variables;
    out->rows = report->rows;
    out->nodes = report->nodes;
    out->edge_count = report->edges;
    out->strategies = report->strategies;
    out->peak_bytes = (uint64_t)report->peak;
    out->ops = COL_NEW_ARRAY(arena, Col__Plan__OpStrategy *, units->count + 1);
    for (uint32_t i = 0; i < units->count; i++) {
        if (!col_shard_log_is_assign(&units->units[i])) out->ops[out->n_ops++] = describe_op(&d, i);
    }
    out->n_edges = log->edges.len;
    out->edges = COL_NEW_ARRAY(arena, Col__Plan__EdgeLog *, log->edges.len + 1);
    for (size_t i = 0; i < log->edges.len; i++) out->edges[i] = describe_edge(&d, &log->edges.data[i]);
    out->n_alternatives = (size_t)report->plan_count;
    out->alternatives = COL_NEW_ARRAY(arena, Col__Plan__Alternative *, report->plan_count + 1);
    for (int i = 0; i < report->plan_count; i++)
        out->alternatives[i] = describe_row(&report->plans[i], arena);
    return out;
}
