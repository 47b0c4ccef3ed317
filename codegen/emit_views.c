/* Views and instructions as messages of the plan. */
#include "codegen/emit_program.h"

#include <string.h>

#include "ir/view.h"

col_plan_view *emit_make_view(emit_program *p, uint64_t offset, col_dtype dtype, int rank,
                              const int64_t *dims, const int64_t *strides)
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

static void strides_of(void *context, const col_value *value, int64_t strides[COL_MAX_RANK])
{
    const col_placement *placements = context;
    memcpy(strides, placements[value->id].strides, sizeof placements->strides);
}

col_plan_view *emit_value_view(emit_program *p, const col_value *value)
{
    col_view view = col_view_over(value, strides_of, (void *)(uintptr_t)p->placements);
    const col_placement *place = &p->placements[view.base->id];
    COL_ASSERT(place->placed);
    uint64_t offset = place->offset + (uint64_t)view.offset * col_dtype_size(value->type.dtype);
    return emit_make_view(p, offset, value->type.dtype, value->type.shape.rank, value->type.shape.dims,
                          view.strides);
}

col_plan_instruction *emit_add_instruction(emit_program *p, const col_node *node, size_t reads, size_t writes)
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

double emit_view_bytes(const col_plan_view *view)
{
    return (double)col_plan_numel(view->n_dims, view->dims) * (double)col_plan_dtype_size(view->dtype);
}

double emit_bytes_moved(const col_plan_instruction *in)
{
    double bytes = 0;
    for (size_t i = 0; i < in->n_reads; i++) bytes += emit_view_bytes(in->reads[i]);
    for (size_t i = 0; i < in->n_writes; i++) bytes += emit_view_bytes(in->writes[i]);
    return bytes;
}

col_plan_instruction *emit_plainly(emit_program *p, const col_node *node, uint32_t first_operand)
{
    col_plan_instruction *in =
        emit_add_instruction(p, node, node->operand_count - first_operand, node->result_count);
    for (uint32_t i = first_operand; i < node->operand_count; i++) {
        in->reads[i - first_operand] = emit_value_view(p, col_node_operand(node, i));
    }
    for (uint32_t i = 0; i < node->result_count; i++) in->writes[i] = emit_value_view(p, &node->results[i]);
    in->bytes = emit_bytes_moved(in);
    return in;
}
