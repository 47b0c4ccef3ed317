#include "ir/work.h"

#include "ir/einsum.h"
#include "ir/window.h"

static double einsum_flops(const col_node *node)
{
    col_einsum e = col_einsum_of(node);
    return 2.0 * (double)col_shape_numel(node->results[0].type.shape) * (double)col_einsum_size(&e, e.inner);
}

/* Two products forward and five backward, of b h t s d multiply-adds each; half of them under the causal
 * limit. */
static double attention_flops(const col_node *node)
{
    col_shape q = col_node_operand(node, 0)->type.shape, k = col_node_operand(node, 1)->type.shape;
    double product = 2.0 * (double)col_shape_numel(q) * (double)k.dims[1];
    bool causal = node->op != COL_OP_ATTENTION_CACHED && col_node_int(node, COL_ATTR_CAUSAL);
    return product * (node->op == COL_OP_ATTENTION_GRAD ? 5 : 2) * (causal ? 0.5 : 1);
}

static double update_flops(const col_node *node)
{
    return (double)col_shape_numel(col_node_operand(node, 2)->type.shape);
}

static double pool_flops(const col_node *node)
{
    col_window w = col_window_of(node);
    const int64_t *dims = col_node_operand(node, 0)->type.shape.dims;
    return (double)(dims[0] * dims[1]) * (double)col_window_outputs(&w) * (double)col_window_taps(&w);
}

/* Ops that are no kernel. */
static const struct {
    col_op op;
    col_work work;
    double (*flops)(const col_node *node);
} library[] = {
    {COL_OP_EINSUM, COL_WORK_PRODUCT, einsum_flops},
    {COL_OP_CONV, COL_WORK_PRODUCT, col_window_flops},
    {COL_OP_CONV_GRAD_INPUT, COL_WORK_PRODUCT, col_window_flops},
    {COL_OP_CONV_GRAD_WEIGHT, COL_WORK_PRODUCT, col_window_flops},
    {COL_OP_ATTENTION, COL_WORK_ATTENTION, attention_flops},
    {COL_OP_ATTENTION_GRAD, COL_WORK_ATTENTION, attention_flops},
    {COL_OP_ATTENTION_CACHED, COL_WORK_ATTENTION, attention_flops},
    {COL_OP_SCATTER_ADD, COL_WORK_MOVE, update_flops},
    {COL_OP_MAX_POOL, COL_WORK_MOVE, pool_flops},
    {COL_OP_MAX_POOL_GRAD, COL_WORK_MOVE, pool_flops},
    {COL_OP_AVG_POOL, COL_WORK_MOVE, pool_flops},
    {COL_OP_AVG_POOL_GRAD, COL_WORK_MOVE, pool_flops},
};

col_work col_node_work(const col_node *node)
{
    for (size_t i = 0; i < COL_COUNT(library); i++) {
        if (library[i].op == node->op) return library[i].work;
    }
    return col_op_info_of(node->op)->op_class == COL_CLASS_OPAQUE ? COL_WORK_MOVE : COL_WORK_KERNEL;
}

double col_node_flops(const col_node *node)
{
    switch (col_op_info_of(node->op)->op_class) {
    case COL_CLASS_ELEMENTWISE:
    case COL_CLASS_SOURCE:
        return (double)col_shape_numel(node->results[0].type.shape) * col_op_info_of(node->op)->cost;
    case COL_CLASS_REDUCTION: return (double)col_shape_numel(col_node_operand(node, 0)->type.shape);
    default: break;
    }
    for (size_t i = 0; i < COL_COUNT(library); i++) {
        if (library[i].op == node->op) return library[i].flops(node);
    }
    return 0;
}
