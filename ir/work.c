#include "ir/work.h"

col_work col_node_work(const col_node *node)
{
    const col_op_info *info = col_op_info_of(node->op);
    return info->work ? info->work(node) : (col_work){COL_WORK_KERNEL, 0};
}

col_work col_work_element(const col_node *node)
{
    double elements = (double)col_shape_numel(node->results[0].type.shape);
    return (col_work){COL_WORK_KERNEL, elements * col_op_info_of(node->op)->cost};
}

col_work col_work_reduce(const col_node *node)
{
    return (col_work){COL_WORK_KERNEL, (double)col_shape_numel(col_node_operand(node, 0)->type.shape)};
}

col_work col_work_move(const col_node *node)
{
    (void)node;
    return (col_work){COL_WORK_MOVE, 0};
}
