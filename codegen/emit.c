/* The plan: kernels of a program, its instructions in order, and the code of all. Views are in emit_views.c, library
 * calls in emit_calls.c. */
#include "codegen/emit_program.h"

#include <string.h>

#include "ir/view.h"

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

bool emit_is_concat_of_parts(const col_node *node, const col_placement *placements)
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
    default:
        return unit->write_count > 0 && !(unit->node_count == 1 && emit_is_concat_of_parts(node, placements));
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

/* Instructions. */

static col_plan_view *kernel_arg_view(emit_program *p, const col_kernel_arg *arg)
{
    if (!arg->offset) return emit_value_view(p, arg->value);
    const col_placement *place = &p->placements[arg->value->id];
    COL_ASSERT(place->placed && !place->is_part);
    int64_t rest = col_shape_numel(arg->value->type.shape) - arg->offset, one = 1;
    uint64_t offset = place->offset + (uint64_t)arg->offset * col_dtype_size(arg->value->type.dtype);
    return emit_make_view(p, offset, arg->value->type.dtype, 1, &rest, &one);
}

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
static const col_kernel *lay_over_gpu(emit_program *p, col_plan_instruction *in, const col_kernel *shape)
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

static void emit_kernel(emit_program *p, const col_unit *unit, const col_kernel *kernel)
{
    col_plan_instruction *in =
        emit_add_instruction(p, unit->writes[unit->write_count - 1]->producer, (size_t)kernel->input_count,
                             (size_t)kernel->output_count);
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

static void emit_outputs(emit_program *p, col_plan_program *out)
{
    out->n_outputs = p->graph->outputs.len;
    out->outputs = COL_NEW_ARRAY(p->arena, col_plan_output *, out->n_outputs);
    for (size_t i = 0; i < out->n_outputs; i++) {
        const col_output *output = &p->graph->outputs.data[i];
        out->outputs[i] = COL_NEW(p->arena, col_plan_output);
        col__plan__output__init(out->outputs[i]);
        out->outputs[i]->name = (char *)(uintptr_t)output->name;
        out->outputs[i]->view = emit_value_view(p, output->value);
    }
}

col_plan_program *col_emit_program(col_emitter *emitter, const char *name, const col_graph *graph,
                                   const col_units *units, const col_kernel *const *kernels,
                                   const col_placement *placements, uint32_t *out_starts)
{
    emit_program p = {.emitter = emitter, .arena = emitter->arena, .graph = graph, .placements = placements};
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
