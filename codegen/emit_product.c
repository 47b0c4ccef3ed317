/* Matrix products as instructions. */
#include "codegen/emit_program.h"

#include <string.h>

#include "ir/einsum.h"
#include "ir/view.h"
#include "ir/work.h"

/* [batch..., rows, columns] of one side of a product; `groups` are the letters of its last two dimensions. */
static col_plan_view *matrix_view(emit_program *p, const col_einsum *e, const char *subscripts,
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
    return emit_make_view(p, offset, value->type.dtype, rank + 2, dims, strides);
}

/* The third operand: a bias, along the columns, or a matrix as the result. */
static col_plan_view *third_view(emit_program *p, const col_einsum *e, const col_node *node)
{
    const col_value *value = col_node_operand(node, 2);
    if (node->op == COL_OP_PRODUCT_GELU_GRAD) return matrix_view(p, e, e->result, value, e->rows, e->columns);
    int64_t count = col_shape_numel(value->type.shape), one = 1;
    return emit_make_view(p, emit_value_view(p, value)->offset, value->type.dtype, 1, &count, &one);
}

/* Of two results the second may be read by nobody, and has no place then. */
static size_t count_writes(const emit_program *p, const col_node *node)
{
    size_t count = node->result_count;
    return count - (count > 1 && !p->placements[node->results[1].id].placed);
}

void emit_product(emit_program *p, const col_node *node)
{
    static const Col__Plan__Epilogue epilogues[COL_OP_COUNT] = {
        [COL_OP_PRODUCT_BIAS] = COL__PLAN__EPILOGUE__BIAS,
        [COL_OP_PRODUCT_GELU] = COL__PLAN__EPILOGUE__BIAS_GELU,
        [COL_OP_PRODUCT_GELU_GRAD] = COL__PLAN__EPILOGUE__GELU_SLOPE,
    };
    col_einsum e = col_einsum_of(node);
    bool adds = node->op == COL_OP_EINSUM_ADD; /* the base, operand 0, and the result are one place */
    col_plan_instruction *in =
        emit_add_instruction(p, node, node->operand_count - adds, count_writes(p, node));
    in->reads[0] = matrix_view(p, &e, e.operands[0], col_node_operand(node, adds), e.rows, e.inner);
    in->reads[1] = matrix_view(p, &e, e.operands[1], col_node_operand(node, adds + 1), e.inner, e.columns);
    if (in->n_reads > 2) in->reads[2] = third_view(p, &e, node);
    for (size_t i = 0; i < in->n_writes; i++)
        in->writes[i] = matrix_view(p, &e, e.result, &node->results[i], e.rows, e.columns);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_MATMUL;
    in->matmul = COL_NEW(p->arena, Col__Plan__Matmul);
    col__plan__matmul__init(in->matmul);
    in->matmul->accumulate = adds;
    in->matmul->epilogue = epilogues[node->op];
    in->flops = col_node_work(node).flops;
    in->bytes = emit_bytes_moved(in) + (adds ? emit_view_bytes(in->writes[0]) : 0);
}
