#include "passes/shard_log.h"

#include <math.h>

#include "ir/view.h"

void col_shard_log_init(col_shard_log *log, const col_graph *graph, const col_sharding *sharding,
                        col_arena *arena)
{
    *log = (col_shard_log){.arena = arena, .graph = graph, .sharding = sharding};
    log->inner = COL_NEW_ARRAY(arena, col_reshard_steps, sharding->units->count + 1);
}

/* Writing. */

void col_shard_log_edge(col_shard_log *log, const col_shard_edge *edge)
{
    for (size_t i = log->edges.len; i-- > 0;) {
        col_shard_edge *known = &log->edges.data[i];
        if (known->unit != edge->unit || known->output != edge->output) break;
        if (known->value == edge->value && col_layout_equal(&known->to, &edge->to)) return;
    }
    col_vec_push(log->arena, &log->edges, *edge);
}

void col_shard_log_inner(col_shard_log *log, uint32_t unit, const col_axes *axes, double bytes)
{
    const col_sharding *s = log->sharding;
    int64_t n = 1;
    for (int i = 0; i < axes->count; i++) n *= s->mesh.dims[axes->axis[i]];
    col_reshard_step step = {
        .kind = COL_ALL_REDUCE, .axes = *axes, .bytes = col_cost_collective_bytes(COL_ALL_REDUCE, n, bytes)};
    step.seconds = col_cost_collective(s->machine, &s->mesh, COL_ALL_REDUCE, axes, bytes);
    col_vec_push(log->arena, &log->inner[unit], step);
}

/* Reading. */

const col_node *col_shard_log_node(const col_unit *unit)
{
    return unit->write_count ? unit->writes[unit->write_count - 1]->producer : unit->nodes[0];
}

bool col_shard_log_is_assign(const col_unit *unit)
{
    return unit->nodes[0]->op == COL_OP_ASSIGN;
}

static uint32_t unit_of(const col_shard_log *log, const col_node *node)
{
    return log->sharding->units->by_node[node->id];
}

static bool crosses_border(const col_shard_log *log, const col_value *value, uint32_t unit)
{
    COL_FOR_EACH_USE (use, value) {
        if (unit_of(log, use->user) != unit) return true;
    }
    return col_value_is_output(log->graph, value);
}

static bool is_read_inside(const col_shard_log *log, const col_value *value, uint32_t unit)
{
    COL_FOR_EACH_USE (use, value) {
        if (unit_of(log, use->user) == unit) return true;
    }
    return false;
}

static void add_operand(const col_shard_log *log, uint32_t unit, const col_node *node, uint32_t operand,
                        col_shard_op *out)
{
    const col_value *value = col_node_operand(node, operand);
    if (value->producer && unit_of(log, value->producer) == unit) return;
    for (size_t i = 0; out->is_fused && i < out->operands.len; i++) {
        if (out->operands.data[i] == value) return;
    }
    const col_sharding *s = log->sharding;
    col_layout layout = col_factors_operand_layout(s->factors[unit], &s->strategies[unit], node, operand);
    col_vec_push(log->arena, &out->operands, value);
    col_vec_push(log->arena, &out->operand_layouts, layout);
}

static void add_result(const col_shard_log *log, uint32_t unit, const col_value *value, col_shard_op *out)
{
    if (!crosses_border(log, value, unit)) return;
    const col_sharding *s = log->sharding;
    col_layout layout = col_factors_result_layout(s->factors[unit], &s->strategies[unit], value);
    if (is_read_inside(log, value, unit)) layout.partial = 0;
    col_vec_push(log->arena, &out->results, value);
    col_vec_push(log->arena, &out->result_layouts, layout);
    if (col_value_is_virtual(value)) return;
    int64_t dims[COL_MAX_RANK], bytes = (int64_t)col_dtype_size(value->type.dtype);
    col_layout_local(&layout, &s->mesh, value->type.shape.rank, value->type.shape.dims, dims);
    for (int d = 0; d < value->type.shape.rank; d++) bytes *= dims[d];
    out->memory += bytes;
}

static bool is_product(col_op op)
{
    return op == COL_OP_EINSUM || op == COL_OP_CONV || op == COL_OP_CONV_GRAD_INPUT ||
           op == COL_OP_CONV_GRAD_WEIGHT;
}

void col_shard_log_op(const col_shard_log *log, uint32_t unit, col_shard_op *out)
{
    const col_unit *u = &log->sharding->units->units[unit];
    *out = (col_shard_op){.node = col_shard_log_node(u), .is_fused = u->node_count > 1};
    out->is_view = !u->write_count;
    out->is_product = !out->is_fused && is_product(out->node->op);
    for (uint32_t n = 0; n < u->node_count; n++) {
        const col_node *node = u->nodes[n];
        for (uint32_t i = 0; i < node->operand_count; i++) add_operand(log, unit, node, i, out);
        for (uint32_t i = 0; i < node->result_count; i++) add_result(log, unit, &node->results[i], out);
    }
    for (size_t i = 0; i < log->inner[unit].len; i++) {
        out->communication += log->inner[unit].data[i].seconds;
        out->communication_bytes += log->inner[unit].data[i].bytes;
    }
    double seconds = log->sharding->seconds ? log->sharding->seconds[unit] : 0;
    out->compute = fmax(0, seconds - out->communication);
}
