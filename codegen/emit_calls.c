/* Ops that are calls of the executor, not kernels, as instructions: the table at the end names them all. */
#include "codegen/emit_program.h"

#include <string.h>

#include "ir/ops/collective.h"
#include "ir/window.h"
#include "ir/work.h"

static void emit_attention(emit_program *p, const col_node *node)
{
    bool backward = node->op == COL_OP_ATTENTION_GRAD;
    col_plan_instruction *in = emit_plainly(p, node, 0);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_ATTENTION;
    Col__Plan__Attention *how = in->attention = COL_NEW(p->arena, Col__Plan__Attention);
    col__plan__attention__init(how);
    how->backward = backward;
    how->causal = col_node_int(node, COL_ATTR_CAUSAL) != 0;
    how->scale = col_node_float(node, COL_ATTR_SCALE);
    how->rate = col_node_float(node, COL_ATTR_RATE);
    how->salt = col_node_int(node, COL_ATTR_SALT);
    const col_attr *whole = col_node_attr(node, COL_ATTR_WHOLE);
    if (whole) how->heads = whole->ints[1];
    uint32_t drops = whole ? 2 : how->rate > 0 ? 1 : 0;
    how->masked = node->operand_count - (backward ? 6 : 3) - drops == 1;
    if (how->masked) { /* broadcast to [b, h, t, s] by strides */
        size_t at = backward ? 6 : 3;
        const col_value *mask = col_node_operand(node, (uint32_t)at);
        col_shape q = col_node_operand(node, 0)->type.shape, k = col_node_operand(node, 1)->type.shape;
        int64_t dims[4] = {q.dims[0], q.dims[2], q.dims[1], k.dims[1]}, strides[4] = {0};
        for (int i = 1; i <= mask->type.shape.rank; i++) {
            int64_t own = mask->type.shape.dims[mask->type.shape.rank - i];
            strides[4 - i] = own == 1 ? 0 : in->reads[at]->strides[mask->type.shape.rank - i];
        }
        in->reads[at] = emit_make_view(p, in->reads[at]->offset, mask->type.dtype, 4, dims, strides);
    }
    in->flops = col_node_work(node).flops;
}

static void emit_attention_cached(emit_program *p, const col_node *node)
{
    col_plan_instruction *in = emit_plainly(p, node, 0);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED;
    in->attention_cached = COL_NEW(p->arena, Col__Plan__AttentionCached);
    col__plan__attention_cached__init(in->attention_cached);
    in->attention_cached->scale = col_node_float(node, COL_ATTR_SCALE);
    in->flops = col_node_work(node).flops;
}

/* The base, operand 0, is overwritten: it and the result are one place. */
static void emit_scatter_add(emit_program *p, const col_node *node)
{
    col_plan_instruction *in = emit_plainly(p, node, 1);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_SCATTER_ADD;
    in->scatter_add = COL_NEW(p->arena, Col__Plan__ScatterAdd);
    col__plan__scatter_add__init(in->scatter_add);
    in->flops = col_node_work(node).flops;
    in->bytes = 3 * emit_view_bytes(in->reads[1]);
}

static void emit_update_slice(emit_program *p, const col_node *node)
{
    col_plan_instruction *in = emit_plainly(p, node, 1);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_UPDATE_SLICE;
    in->update_slice = COL_NEW(p->arena, Col__Plan__UpdateSlice);
    col__plan__update_slice__init(in->update_slice);
    int axis = 0;
    COL_ASSERT(col_shape_axis(node->results[0].type.shape, col_node_int(node, COL_ATTR_AXIS), &axis));
    in->update_slice->axis = axis;
    in->bytes = 2 * emit_view_bytes(in->reads[0]);
}

static int64_t *copy_list(emit_program *p, const int64_t *list, int count)
{
    return col_arena_copy(p->arena, list, sizeof *list * (size_t)count);
}

static Col__Plan__Window *make_window(emit_program *p, const col_window *w)
{
    Col__Plan__Window *out = COL_NEW(p->arena, Col__Plan__Window);
    col__plan__window__init(out);
    out->n_strides = out->n_low = out->n_high = out->n_dilations = (size_t)w->rank;
    out->strides = copy_list(p, w->stride, w->rank);
    out->low = copy_list(p, w->low, w->rank);
    out->high = copy_list(p, w->high, w->rank);
    out->dilations = copy_list(p, w->dilation, w->rank);
    return out;
}

static void emit_convolution(emit_program *p, const col_node *node)
{
    static const Col__Plan__ConvolutionKind kinds[] = {
        [COL_OP_CONV] = COL__PLAN__CONVOLUTION_KIND__CONV_FORWARD,
        [COL_OP_CONV_GRAD_INPUT] = COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_INPUT,
        [COL_OP_CONV_GRAD_WEIGHT] = COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_WEIGHT,
    };
    col_window w = col_window_of(node);
    col_plan_instruction *in = emit_plainly(p, node, 0);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_CONVOLUTION;
    in->convolution = COL_NEW(p->arena, Col__Plan__Convolution);
    col__plan__convolution__init(in->convolution);
    in->convolution->kind = kinds[node->op];
    in->convolution->window = make_window(p, &w);
    in->convolution->groups = w.groups;
    in->flops = col_node_work(node).flops;
}

static void emit_pool(emit_program *p, const col_node *node)
{
    col_window w = col_window_of(node);
    col_plan_instruction *in = emit_plainly(p, node, 0);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_POOL;
    Col__Plan__Pool *how = in->pool = COL_NEW(p->arena, Col__Plan__Pool);
    col__plan__pool__init(how);
    bool is_max = node->op == COL_OP_MAX_POOL || node->op == COL_OP_MAX_POOL_GRAD;
    how->kind = is_max ? COL__PLAN__POOL_KIND__POOL_MAX : COL__PLAN__POOL_KIND__POOL_AVERAGE;
    how->backward = node->op == COL_OP_MAX_POOL_GRAD || node->op == COL_OP_AVG_POOL_GRAD;
    how->window = make_window(p, &w);
    how->n_kernel = (size_t)w.rank;
    how->kernel = copy_list(p, w.kernel, w.rank);
    how->count_include_pad = w.count_includes_pad;
    in->flops = col_node_work(node).flops;
}

/* Mesh axes as the plan's messages have them. */
static uint32_t *mesh_axes(emit_program *p, const col_node *node, size_t *out_count, int64_t *out_ranks)
{
    int count;
    const int64_t *axes = col_node_ints(node, COL_ATTR_MESH_AXES, &count);
    uint32_t *out = COL_NEW_ARRAY(p->arena, uint32_t, (size_t)count);
    for (int i = 0; i < count; i++) out[i] = (uint32_t)axes[i];
    *out_count = (size_t)count;
    *out_ranks = col_mesh_group(&p->graph->mesh, count, axes);
    return out;
}

static int32_t axis_of(const col_node *node, col_attr_key key)
{
    int axis = 0;
    COL_ASSERT(col_shape_axis(node->results[0].type.shape, col_node_int(node, key), &axis));
    return axis;
}

static void emit_collective(emit_program *p, const col_node *node)
{
    static const struct {
        col_op op;
        Col__Plan__CollectiveKind kind;
    } kinds[] = {
        {COL_OP_ALL_REDUCE, COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE},
        {COL_OP_ALL_GATHER, COL__PLAN__COLLECTIVE_KIND__ALL_GATHER},
        {COL_OP_REDUCE_SCATTER, COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER},
        {COL_OP_ALL_TO_ALL, COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL},
        {COL_OP_BROADCAST_FROM, COL__PLAN__COLLECTIVE_KIND__BROADCAST},
        {COL_OP_SEND_RECEIVE, COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE},
    };
    int64_t ranks;
    p->started[node->id] = (uint32_t)p->instructions.len;
    col_plan_instruction *in = emit_plainly(p, node, 0);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_COLLECTIVE;
    Col__Plan__Collective *how = in->collective = COL_NEW(p->arena, Col__Plan__Collective);
    col__plan__collective__init(how);
    for (size_t i = 0; i < COL_COUNT(kinds); i++) {
        if (kinds[i].op == node->op) how->kind = kinds[i].kind;
    }
    how->axes = mesh_axes(p, node, &how->n_axes, &ranks);
    if (col_node_attr(node, COL_ATTR_AXIS)) how->dim = axis_of(node, COL_ATTR_AXIS);
    if (node->op == COL_OP_ALL_TO_ALL) how->from_dim = axis_of(node, COL_ATTR_FROM_AXIS);
    how->root = (uint32_t)col_node_int(node, COL_ATTR_ROOT);
    how->shift = node->op == COL_OP_SEND_RECEIVE ? col_node_int(node, COL_ATTR_SHIFT) : 0;
    how->started = col_collective_wait(node) != NULL;
    const char *reduce = col_node_text(node, COL_ATTR_REDUCE);
    if (reduce && !strcmp(reduce, "max")) how->reduce = COL__PLAN__REDUCE_KIND__MAX;
    if (reduce && !strcmp(reduce, "min")) how->reduce = COL__PLAN__REDUCE_KIND__MIN;
    COL_ASSERT(col_plan_collective_bytes(how, ranks, (uint64_t)emit_view_bytes(in->reads[0]), &how->bytes));
}

/* The wait has the name of what it waits for. */
static void emit_wait(emit_program *p, const col_node *node)
{
    const col_value *pending = col_node_operand(node, 0);
    COL_ASSERT(pending->producer && col_collective_wait(pending->producer) == node);
    col_plan_instruction *in = emit_add_instruction(p, pending->producer, 1, 1);
    in->phase = node->phase;
    in->reads[0] = emit_value_view(p, pending);
    in->writes[0] = emit_value_view(p, &node->results[0]);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_WAIT;
    in->wait = COL_NEW(p->arena, Col__Plan__Wait);
    col__plan__wait__init(in->wait);
    in->wait->start = p->started[pending->producer->id];
}

static void emit_shard(emit_program *p, const col_node *node)
{
    int64_t ranks;
    col_plan_instruction *in = emit_plainly(p, node, 0);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_SHARD;
    in->shard = COL_NEW(p->arena, Col__Plan__Shard);
    col__plan__shard__init(in->shard);
    in->shard->axes = mesh_axes(p, node, &in->shard->n_axes, &ranks);
    in->shard->dim = axis_of(node, COL_ATTR_AXIS);
    in->bytes = 2 * emit_view_bytes(in->writes[0]);
}

static void emit_assign(emit_program *p, const col_node *node)
{
    const col_var *var = col_graph_find_var(p->graph, col_node_text(node, COL_ATTR_VARIABLE));
    const col_value *value = col_node_operand(node, 0);
    if (p->placements[value->id].offset == p->placements[var->value->id].offset)
        return; /* written in place */
    col_plan_instruction *in = emit_add_instruction(p, node, 1, 1);
    in->reads[0] = emit_value_view(p, value);
    in->writes[0] = emit_value_view(p, var->value);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_COPY;
    in->copy = COL_NEW(p->arena, Col__Plan__Copy);
    col__plan__copy__init(in->copy);
    in->bytes = emit_bytes_moved(in);
}

/* How each op that is no kernel becomes an instruction. */
static const struct {
    col_op op;
    void (*emit)(emit_program *p, const col_node *node);
} library[] = {
    {COL_OP_EINSUM, emit_product},
    {COL_OP_EINSUM_ADD, emit_product},
    {COL_OP_PRODUCT_BIAS, emit_product},
    {COL_OP_PRODUCT_GELU, emit_product},
    {COL_OP_PRODUCT_GELU_GRAD, emit_product},
    {COL_OP_ATTENTION, emit_attention},
    {COL_OP_ATTENTION_GRAD, emit_attention},
    {COL_OP_ATTENTION_CACHED, emit_attention_cached},
    {COL_OP_SCATTER_ADD, emit_scatter_add},
    {COL_OP_UPDATE_SLICE, emit_update_slice},
    {COL_OP_CONV, emit_convolution},
    {COL_OP_CONV_GRAD_INPUT, emit_convolution},
    {COL_OP_CONV_GRAD_WEIGHT, emit_convolution},
    {COL_OP_MAX_POOL, emit_pool},
    {COL_OP_MAX_POOL_GRAD, emit_pool},
    {COL_OP_AVG_POOL, emit_pool},
    {COL_OP_AVG_POOL_GRAD, emit_pool},
    {COL_OP_ALL_REDUCE, emit_collective},
    {COL_OP_ALL_GATHER, emit_collective},
    {COL_OP_REDUCE_SCATTER, emit_collective},
    {COL_OP_ALL_TO_ALL, emit_collective},
    {COL_OP_BROADCAST_FROM, emit_collective},
    {COL_OP_SEND_RECEIVE, emit_collective},
    {COL_OP_WAIT, emit_wait},
    {COL_OP_SHARD, emit_shard},
    {COL_OP_ASSIGN, emit_assign},
};

void emit_library_call(emit_program *p, const col_node *node)
{
    for (size_t i = 0; i < COL_COUNT(library); i++) {
        if (library[i].op != node->op) continue;
        library[i].emit(p, node);
        return;
    }
    COL_ASSERT(col_op_info_of(node->op)->op_class == COL_CLASS_VIEW ||
               emit_is_concat_of_parts(node, p->placements));
}
