/* Rows of a table by index: embedding reads them, scatter_add adds to them in order of position, update_slice
 * overwrites a run of one axis.
 *
 * An index outside the table is a fault of the data, which the executor refuses before the step. Here, where
 * nothing can be refused, an embedding of it is NaN and an update of it goes nowhere. update_slice moves a
 * start that would leave the base to the nearest one that does not. */
#include "ir/ops/family.h"

#include <math.h>

/* ids' shape with the row length at the end. */
static bool rows_shape(const col_node *node, col_diags *diags, col_shape ids, int64_t length, col_shape *out)
{
    if (ids.rank == COL_MAX_RANK) {
        return col_op_fault(node, diags, "the result would have more than %d dimensions", COL_MAX_RANK);
    }
    *out = ids;
    out->dims[out->rank++] = length;
    return true;
}

bool col_infer_embedding(col_node *node, col_diags *diags)
{
    col_shape shape;
    if (!col_op_want_rank(node, diags, 0, "the table", 2) ||
        !col_op_want_index(node, diags, 1, "the indices"))
        return false;
    col_type table = operand_type(node, 0);
    return rows_shape(node, diags, operand_type(node, 1).shape, table.shape.dims[1], &shape) &&
           col_op_result(node, 0, table.dtype, shape);
}

bool col_infer_scatter_add(col_node *node, col_diags *diags)
{
    col_shape shape;
    if (!col_op_want_rank(node, diags, 0, "the base", 2) || !col_op_want_float(node, diags, 0, "the base") ||
        !col_op_want_index(node, diags, 1, "the indices") || !col_op_want_same(node, diags, 0, 2))
        return false;
    col_type base = operand_type(node, 0), updates = operand_type(node, 2);
    if (!rows_shape(node, diags, operand_type(node, 1).shape, base.shape.dims[1], &shape)) return false;
    if (!col_shape_equal(shape, updates.shape)) {
        return col_op_fault(node, diags, "the updates are %s; with these indices and base they should be %s",
                            col_op_type_text(diags, updates),
                            col_op_type_text(diags, col_type_make(base.dtype, shape)));
    }
    return col_op_result(node, 0, base.dtype, base.shape);
}

bool col_infer_update_slice(col_node *node, col_diags *diags)
{
    col_type base = operand_type(node, 0), update = operand_type(node, 1);
    int axis;
    if (!col_op_axis(node, diags, base.shape, &axis) || !col_op_want_same(node, diags, 0, 1) ||
        !col_op_want_dtype(node, diags, 2, "the start", COL_I32) ||
        !col_op_want_rank(node, diags, 2, "the start", 0))
        return false;
    col_shape like = update.shape;
    if (like.rank == base.shape.rank) like.dims[axis] = base.shape.dims[axis];
    if (!col_shape_equal(like, base.shape) || update.shape.dims[axis] > base.shape.dims[axis]) {
        return col_op_fault(node, diags, "the update %s does not fit into %s along axis %d",
                            col_op_type_text(diags, update), col_op_type_text(diags, base), axis);
    }
    return col_op_result(node, 0, base.dtype, base.shape);
}
