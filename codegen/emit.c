#include "codegen/emit.h"

#include <string.h>

#include "ir/einsum.h"
#include "ir/ops/collective.h"
#include "ir/work.h"
#include "ir/view.h"
#include "ir/window.h"

typedef struct program {
    col_emitter *emitter;
    col_arena *arena;
    const col_graph *graph;
    const col_placement *placements;
    const char **names;
    uint32_t *started; /* by node id: the instruction that starts a collective */
    COL_VEC(col_plan_instruction *) instructions;
} program;

Col__Plan__Dtype col_emit_dtype(col_dtype dtype)
{
    static const Col__Plan__Dtype dtypes[COL_DTYPE_COUNT] = {
        [COL_F32] = COL__PLAN__DTYPE__F32, [COL_F64] = COL__PLAN__DTYPE__F64,
        [COL_F16] = COL__PLAN__DTYPE__F16, [COL_BF16] = COL__PLAN__DTYPE__BF16,
        [COL_I32] = COL__PLAN__DTYPE__I32, [COL_I64] = COL__PLAN__DTYPE__I64,
        [COL_U8] = COL__PLAN__DTYPE__U8,   [COL_BOOL] = COL__PLAN__DTYPE__BOOL,
        [COL_I8] = COL__PLAN__DTYPE__I8,   [COL_I16] = COL__PLAN__DTYPE__I16,
        [COL_U16] = COL__PLAN__DTYPE__U16, [COL_U32] = COL__PLAN__DTYPE__U32,
        [COL_U64] = COL__PLAN__DTYPE__U64,
    };
    return dtypes[dtype];
}

/* Kernels. */

static void strides_of(void *context, const col_value *value, int64_t strides[COL_MAX_RANK])
{
    const col_placement *placements = context;
    memcpy(strides, placements[value->id].strides, sizeof placements->strides);
}

static bool is_concat_of_parts(const col_node *node, const col_placement *placements)
{
    return node->op == COL_OP_CONCAT && placements[col_view_of(col_node_operand(node, 0)).base->id].is_part;
}

/* Everything but library calls, assignments, concats already in place and views that cost nothing. */
static bool is_kernel(const col_unit *unit, const col_placement *placements)
{
    const col_node *node = unit->nodes[0];
    switch (col_op_info_of(node->op)->op_class) {
    case COL_CLASS_CONTRACTION:
    case COL_CLASS_OPAQUE:
    case COL_CLASS_STATE: return false;
    default: return unit->write_count > 0 && !(unit->node_count == 1 && is_concat_of_parts(node, placements));
    }
}

static uint32_t intern(col_emitter *emitter, const col_kernel *kernel)
{
    uint64_t hash = col_kernel_hash(kernel);
    for (uint32_t i = 0; i < emitter->kernels.len; i++) {
        const col_kernel *known = emitter->kernels.data[i];
        if (col_kernel_hash(known) == hash && col_kernel_equal(known, kernel)) return i;
    }
    col_vec_push(emitter->arena, &emitter->kernels, kernel);
    return (uint32_t)emitter->kernels.len - 1;
}

const col_kernel **col_emit_kernels(col_emitter *emitter, const col_units *units,
                                    const col_placement *placements)
{
    const col_kernel **kernels = COL_NEW_ARRAY(emitter->arena, const col_kernel *, units->count);
    col_kernel_layout layout = {(void *)(uintptr_t)placements, strides_of};
    for (uint32_t u = 0; u < units->count; u++) {
        const col_unit *unit = &units->units[u];
        if (!is_kernel(unit, placements)) continue;
        kernels[u] =
            col_kernel_build((const col_node *const *)unit->nodes, unit->node_count, &layout, emitter->arena);
    }
    return kernels;
}

bool col_emit_in_place(const col_kernel *kernel, const col_value *input, const col_value *output)
{
    if (!kernel) return output->producer->op == COL_OP_ALL_REDUCE;
    int in = -1, out = -1;
    for (int i = 0; i < kernel->input_count; i++) {
        if (kernel->inputs[i].value != input) continue;
        if (in >= 0 || kernel->inputs[i].offset) return false; /* read through several windows */
        in = i;
    }
    for (int i = 0; i < kernel->output_count; i++) {
        if (kernel->outputs[i].value == output && !kernel->outputs[i].offset) out = i;
    }
    return in >= 0 && out >= 0 && col_kernel_in_place(kernel, in, out);
}

/* Messages. */

static col_plan_view *make_view(program *p, uint64_t offset, col_dtype dtype, int rank, const int64_t *dims,
                                const int64_t *strides)
{
    col_plan_view *view = COL_NEW(p->arena, col_plan_view);
    col__plan__view__init(view);
    view->offset = offset;
    view->dtype = col_emit_dtype(dtype);
    view->n_dims = view->n_strides = (size_t)rank;
    view->dims = col_arena_copy(p->arena, dims, sizeof *dims * (size_t)rank);
    view->strides = col_arena_copy(p->arena, strides, sizeof *strides * (size_t)rank);
    return view;
}

/* A value as an operand: a window on its base. Bases are row-major, but for parts of a concat, which are only
 * written. */
static col_plan_view *value_view(program *p, const col_value *value)
{
    col_view view = col_view_of(value);
    const col_placement *place = &p->placements[view.base->id];
    COL_ASSERT(place->placed);
    const int64_t *strides = view.base == value ? place->strides : view.strides;
    uint64_t offset = place->offset + (uint64_t)view.offset * col_dtype_size(value->type.dtype);
    return make_view(p, offset, value->type.dtype, value->type.shape.rank, value->type.shape.dims, strides);
}

static col_plan_view *kernel_arg_view(program *p, const col_kernel_arg *arg)
{
    if (!arg->offset) return value_view(p, arg->value);
    const col_placement *place = &p->placements[arg->value->id];
    COL_ASSERT(place->placed && !place->is_part);
    int64_t rest = col_shape_numel(arg->value->type.shape) - arg->offset, one = 1;
    uint64_t offset = place->offset + (uint64_t)arg->offset * col_dtype_size(arg->value->type.dtype);
    return make_view(p, offset, arg->value->type.dtype, 1, &rest, &one);
}

static col_plan_instruction *add_instruction(program *p, const col_node *node, size_t reads, size_t writes)
{
    col_plan_instruction *in = COL_NEW(p->arena, col_plan_instruction);
    col__plan__instruction__init(in);
    in->name = (char *)(uintptr_t)p->names[node->id];
    in->phase = node->phase;
    in->turn = (uint32_t)node->turn;
    in->n_reads = reads;
    in->n_writes = writes;
    in->reads = COL_NEW_ARRAY(p->arena, col_plan_view *, reads);
    in->writes = COL_NEW_ARRAY(p->arena, col_plan_view *, writes);
    col_vec_push(p->arena, &p->instructions, in);
    return in;
}

static double view_bytes(const col_plan_view *view)
{
    return (double)col_plan_numel(view->n_dims, view->dims) * (double)col_plan_dtype_size(view->dtype);
}

static double bytes_moved(const col_plan_instruction *in)
{
    double bytes = 0;
    for (size_t i = 0; i < in->n_reads; i++) bytes += view_bytes(in->reads[i]);
    for (size_t i = 0; i < in->n_writes; i++) bytes += view_bytes(in->writes[i]);
    return bytes;
}

/* Instructions. */

static uint64_t view_end(const col_plan_view *view)
{
    int64_t last = 0;
    for (size_t d = 0; d < view->n_dims; d++) last += (view->dims[d] - 1) * view->strides[d];
    return view->offset + (uint64_t)(last + 1) * col_plan_dtype_size(view->dtype);
}

static bool overlap(const col_plan_view *a, const col_plan_view *b)
{
    return a->offset < view_end(b) && b->offset < view_end(a);
}

static bool outputs_are_apart(const col_plan_instruction *in)
{
    for (size_t i = 0; i < in->n_writes; i++) {
        for (size_t j = 0; j < in->n_reads; j++) {
            if (overlap(in->writes[i], in->reads[j])) return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (overlap(in->writes[i], in->writes[j])) return false;
        }
    }
    return true;
}

/* Fills in the grid. The kernel is a copy that says what its code may rely on: where arguments start, and
 * that they share no bytes. */
static const col_kernel *lay_over_gpu(program *p, col_plan_instruction *in, const col_kernel *shape)
{
    enum { ACCESS = 16 }; /* bytes */
    col_kernel *kernel = col_arena_copy(p->arena, shape, sizeof *shape);
    kernel->apart = outputs_are_apart(in);
    for (int i = 0; i < kernel->input_count + kernel->output_count; i++) {
        const col_plan_view *view =
            i < kernel->input_count ? in->reads[i] : in->writes[i - kernel->input_count];
        kernel->unaligned |= view->offset % ACCESS != 0 && col_ptx_wants_aligned(kernel, i);
    }
    col_ptx_launch launch = col_ptx_launch_of(kernel);
    in->kernel->blocks = launch.blocks;
    in->kernel->threads = launch.threads;
    return kernel;
}

static void emit_kernel(program *p, const col_unit *unit, const col_kernel *kernel)
{
    col_plan_instruction *in = add_instruction(p, unit->writes[unit->write_count - 1]->producer,
                                               (size_t)kernel->input_count, (size_t)kernel->output_count);
    for (int i = 0; i < kernel->input_count; i++) in->reads[i] = kernel_arg_view(p, &kernel->inputs[i]);
    for (int i = 0; i < kernel->output_count; i++) in->writes[i] = kernel_arg_view(p, &kernel->outputs[i]);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_KERNEL;
    in->kernel = COL_NEW(p->arena, Col__Plan__Kernel);
    col__plan__kernel__init(in->kernel);
    if (p->emitter->is_gpu) kernel = lay_over_gpu(p, in, kernel);
    in->kernel->symbol = col_arena_printf(p->arena, "k%u", intern(p->emitter, kernel));
    in->kernel->range = kernel->range;
    in->turn = (uint32_t)col_unit_turn(unit);
    in->flops = kernel->flops;
    in->bytes = kernel->bytes;
}

/* [batch..., rows, columns] of one side of a product; `groups` are the letters of its last two dimensions. */
static col_plan_view *matrix_view(program *p, const col_einsum *e, const char *subscripts,
                                  const col_value *value, const char *rows, const char *columns)
{
    col_view view = col_view_of(value);
    const col_placement *place = &p->placements[view.base->id];
    COL_ASSERT(place->placed);
    const int64_t *from = view.base == value ? place->strides : view.strides;
    int rank = (int)strlen(e->batch);
    int64_t dims[COL_MAX_RANK + 2], strides[COL_MAX_RANK + 2];
    for (int i = 0; i < rank; i++) dims[i] = e->size[e->batch[i] - 'a'];
    col_einsum_strides(subscripts, from, e->batch, strides);
    bool merged = col_einsum_merge(e, subscripts, from, rows, &dims[rank], &strides[rank]) &&
                  col_einsum_merge(e, subscripts, from, columns, &dims[rank + 1], &strides[rank + 1]);
    if (!merged) COL_PANIC("an einsum operand cannot be read as a matrix; legalize should have copied it");
    uint64_t offset = place->offset + (uint64_t)view.offset * col_dtype_size(value->type.dtype);
    return make_view(p, offset, value->type.dtype, rank + 2, dims, strides);
}

static void emit_einsum(program *p, const col_node *node)
{
    col_einsum e = col_einsum_of(node);
    col_plan_instruction *in = add_instruction(p, node, 2, 1);
    in->reads[0] = matrix_view(p, &e, e.operands[0], col_node_operand(node, 0), e.rows, e.inner);
    in->reads[1] = matrix_view(p, &e, e.operands[1], col_node_operand(node, 1), e.inner, e.columns);
    in->writes[0] = matrix_view(p, &e, e.result, &node->results[0], e.rows, e.columns);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_MATMUL;
    in->matmul = COL_NEW(p->arena, Col__Plan__Matmul);
    col__plan__matmul__init(in->matmul);
    in->flops = col_node_work(node).flops;
    in->bytes = bytes_moved(in);
}

/* All operands, then all results, as views. */
static col_plan_instruction *emit_plainly(program *p, const col_node *node, uint32_t first_operand)
{
    col_plan_instruction *in =
        add_instruction(p, node, node->operand_count - first_operand, node->result_count);
    for (uint32_t i = first_operand; i < node->operand_count; i++) {
        in->reads[i - first_operand] = value_view(p, col_node_operand(node, i));
    }
    for (uint32_t i = 0; i < node->result_count; i++) in->writes[i] = value_view(p, &node->results[i]);
    in->bytes = bytes_moved(in);
    return in;
}

static void emit_attention(program *p, const col_node *node)
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
        in->reads[at] = make_view(p, in->reads[at]->offset, mask->type.dtype, 4, dims, strides);
    }
    in->flops = col_node_work(node).flops;
}

static void emit_attention_cached(program *p, const col_node *node)
{
    col_plan_instruction *in = emit_plainly(p, node, 0);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED;
    in->attention_cached = COL_NEW(p->arena, Col__Plan__AttentionCached);
    col__plan__attention_cached__init(in->attention_cached);
    in->attention_cached->scale = col_node_float(node, COL_ATTR_SCALE);
    in->flops = col_node_work(node).flops;
}

/* The base, operand 0, is overwritten: it and the result are one place. */
static void emit_scatter_add(program *p, const col_node *node)
{
    col_plan_instruction *in = emit_plainly(p, node, 1);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_SCATTER_ADD;
    in->scatter_add = COL_NEW(p->arena, Col__Plan__ScatterAdd);
    col__plan__scatter_add__init(in->scatter_add);
    in->flops = col_node_work(node).flops;
    in->bytes = 3 * view_bytes(in->reads[1]);
}

static void emit_update_slice(program *p, const col_node *node)
{
    col_plan_instruction *in = emit_plainly(p, node, 1);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_UPDATE_SLICE;
    in->update_slice = COL_NEW(p->arena, Col__Plan__UpdateSlice);
    col__plan__update_slice__init(in->update_slice);
    int axis = 0;
    COL_ASSERT(col_shape_axis(node->results[0].type.shape, col_node_int(node, COL_ATTR_AXIS), &axis));
    in->update_slice->axis = axis;
    in->bytes = 2 * view_bytes(in->reads[0]);
}

static int64_t *copy_list(program *p, const int64_t *list, int count)
{
    return col_arena_copy(p->arena, list, sizeof *list * (size_t)count);
}

static Col__Plan__Window *make_window(program *p, const col_window *w)
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

static void emit_convolution(program *p, const col_node *node)
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

static void emit_pool(program *p, const col_node *node)
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
static uint32_t *mesh_axes(program *p, const col_node *node, size_t *out_count, int64_t *out_ranks)
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

static void emit_collective(program *p, const col_node *node)
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
    COL_ASSERT(col_plan_collective_bytes(how, ranks, (uint64_t)view_bytes(in->reads[0]), &how->bytes));
}

/* The wait has the name of what it waits for. */
static void emit_wait(program *p, const col_node *node)
{
    const col_value *pending = col_node_operand(node, 0);
    COL_ASSERT(pending->producer && col_collective_wait(pending->producer) == node);
    col_plan_instruction *in = add_instruction(p, pending->producer, 1, 1);
    in->phase = node->phase;
    in->reads[0] = value_view(p, pending);
    in->writes[0] = value_view(p, &node->results[0]);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_WAIT;
    in->wait = COL_NEW(p->arena, Col__Plan__Wait);
    col__plan__wait__init(in->wait);
    in->wait->start = p->started[pending->producer->id];
}

static void emit_shard(program *p, const col_node *node)
{
    int64_t ranks;
    col_plan_instruction *in = emit_plainly(p, node, 0);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_SHARD;
    in->shard = COL_NEW(p->arena, Col__Plan__Shard);
    col__plan__shard__init(in->shard);
    in->shard->axes = mesh_axes(p, node, &in->shard->n_axes, &ranks);
    in->shard->dim = axis_of(node, COL_ATTR_AXIS);
    in->bytes = 2 * view_bytes(in->writes[0]);
}

static void emit_assign(program *p, const col_node *node)
{
    const col_var *var = col_graph_find_var(p->graph, col_node_text(node, COL_ATTR_VARIABLE));
    const col_value *value = col_node_operand(node, 0);
    if (p->placements[value->id].offset == p->placements[var->value->id].offset)
        return; /* written in place */
    col_plan_instruction *in = add_instruction(p, node, 1, 1);
    in->reads[0] = value_view(p, value);
    in->writes[0] = value_view(p, var->value);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_COPY;
    in->copy = COL_NEW(p->arena, Col__Plan__Copy);
    col__plan__copy__init(in->copy);
    in->bytes = bytes_moved(in);
}

/* How each op that is no kernel becomes an instruction. */
static const struct {
    col_op op;
    void (*emit)(program *p, const col_node *node);
} library[] = {
    {COL_OP_EINSUM, emit_einsum},
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

static void emit_library_call(program *p, const col_node *node)
{
    for (size_t i = 0; i < COL_COUNT(library); i++) {
        if (library[i].op != node->op) continue;
        library[i].emit(p, node);
        return;
    }
    COL_ASSERT(col_op_info_of(node->op)->op_class == COL_CLASS_VIEW ||
               is_concat_of_parts(node, p->placements));
}

static void emit_outputs(program *p, col_plan_program *out)
{
    out->n_outputs = p->graph->outputs.len;
    out->outputs = COL_NEW_ARRAY(p->arena, col_plan_output *, out->n_outputs);
    for (size_t i = 0; i < out->n_outputs; i++) {
        const col_output *output = &p->graph->outputs.data[i];
        out->outputs[i] = COL_NEW(p->arena, col_plan_output);
        col__plan__output__init(out->outputs[i]);
        out->outputs[i]->name = (char *)(uintptr_t)output->name;
        out->outputs[i]->view = value_view(p, output->value);
    }
}

col_plan_program *col_emit_program(col_emitter *emitter, const char *name, const col_graph *graph,
                                   const col_units *units, const col_kernel *const *kernels,
                                   const col_placement *placements, uint32_t *out_starts)
{
    program p = {.emitter = emitter, .arena = emitter->arena, .graph = graph, .placements = placements};
    p.names = col_graph_node_names(graph, emitter->arena);
    p.started = COL_NEW_ARRAY(emitter->arena, uint32_t, graph->next_node_id);
    for (uint32_t u = 0; u < units->count; u++) {
        out_starts[u] = (uint32_t)p.instructions.len;
        if (kernels[u])
            emit_kernel(&p, &units->units[u], kernels[u]);
        else
            emit_library_call(&p, units->units[u].nodes[0]);
    }
    out_starts[units->count] = (uint32_t)p.instructions.len;
    col_plan_program *out = COL_NEW(p.arena, col_plan_program);
    col__plan__program__init(out);
    out->name = col_arena_strdup(p.arena, name);
    out->n_instructions = p.instructions.len;
    out->instructions = p.instructions.data;
    emit_outputs(&p, out);
    return out;
}

static void add_object(col_emitter *emitter, Col__Plan__CodeObject *object, col_plan *plan)
{
    plan->n_objects = 1;
    plan->objects = COL_NEW(emitter->arena, Col__Plan__CodeObject *);
    plan->objects[0] = object;
}

col_status col_emit_ptx(col_emitter *emitter, const col_ptx_options *options, col_plan *plan)
{
    const char *text;
    if (!emitter->kernels.len) return NULL;
    COL_TRY(col_ptx_compile(emitter->kernels.data, emitter->kernels.len, options, emitter->arena, &text));
    Col__Plan__CodeObject *object = COL_NEW(emitter->arena, Col__Plan__CodeObject);
    col__plan__code_object__init(object);
    object->target = "ptx";
    const char *processor = options->processor ? options->processor : COL_PTX_DEFAULT;
    object->n_features = 1;
    object->features = (char **)col_arena_copy(emitter->arena, &processor, sizeof processor);
    object->image = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
    add_object(emitter, object, plan);
    return NULL;
}

col_status col_emit_code(col_emitter *emitter, const col_x86_options *options, col_plan *plan)
{
    if (!emitter->kernels.len) return NULL;
    col_x86_code code;
    COL_TRY(col_x86_compile(emitter->kernels.data, emitter->kernels.len, options, emitter->arena, &code));
    Col__Plan__CodeObject *object = COL_NEW(emitter->arena, Col__Plan__CodeObject);
    col__plan__code_object__init(object);
    object->target = "x86_64-elf-so";
    object->n_features = code.feature_count;
    object->features = (char **)(uintptr_t)code.features;
    object->image = (ProtobufCBinaryData){code.elf_size, code.elf};
    add_object(emitter, object, plan);
    return NULL;
}
