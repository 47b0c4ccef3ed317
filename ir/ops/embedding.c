/* Rows of a table by index: embedding reads them, scatter_add adds to them in order of position, update_slice
 * overwrites a run of one axis.
 *
 * An index outside the table is a fault of the data, which the executor refuses before the step. Here, where
 * nothing can be refused, an embedding of it is NaN and an update of it goes nowhere. update_slice moves a
 * start that would leave the base to the nearest one that does not. */
#include "ir/factors.h"
#include "ir/ops/family.h"

#include <math.h>
#include <string.h>

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

/* How far indices count that are known while the graph is built, positions from 0 or from a constant; or 0. */
static int64_t known_count(const col_value *ids)
{
    const col_node *counting = ids->producer;
    if (!counting) return 0;
    col_shape shape = ids->type.shape;
    if (counting->op == COL_OP_ADD) {
        const col_node *start = col_node_operand(counting, 1)->producer;
        int64_t count = known_count(col_node_operand(counting, 0));
        bool known = count && start && start->op == COL_OP_CONSTANT;
        return known ? count + (int64_t)col_node_float(start, COL_ATTR_VALUE) : 0;
    }
    if (counting->op == COL_OP_IOTA) return shape.dims[col_node_axis(counting, shape)];
    if (counting->op == COL_OP_POSITION_IDS && !counting->operand_count) return shape.dims[shape.rank - 1];
    return 0;
}

bool col_infer_embedding(col_node *node, col_diags *diags)
{
    col_shape shape;
    if (!col_op_want_rank(node, diags, 0, "the table", 2) ||
        !col_op_want_index(node, diags, 1, "the indices"))
        return false;
    col_type table = operand_type(node, 0);
    int64_t count = known_count(col_node_operand(node, 1));
    if (count > table.shape.dims[0]) {
        return col_op_fault(
            node, diags,
            "the positions count to %lld, but the table %s has %lld rows; make it longer or the "
            "sequence shorter",
            (long long)(count - 1), col_op_type_text(diags, table), (long long)table.shape.dims[0]);
    }
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

void col_grad_embedding(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                        col_value **dx)
{
    (void)wanted;
    col_value *zeros = col_build_full(b, 0, operand_type(node, 0));
    col_value *operands[] = {zeros, col_node_operand(node, 1), dy[0]};
    dx[0] = &col_build(b, COL_OP_SCATTER_ADD, 3, operands, 0, NULL)->results[0];
}

void col_grad_scatter_add(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                          col_value **dx)
{
    if (wanted[0]) dx[0] = dy[0];
    if (wanted[2]) dx[2] = col_build_binary(b, COL_OP_EMBEDDING, dy[0], col_node_operand(node, 1));
}

/* The row that an index names, or -1. */
static int64_t row_of(col_tensor table, double index)
{
    return index >= 0 && index < (double)table.type.shape.dims[0] ? (int64_t)index : -1;
}

void col_eval_embedding(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    (void)node;
    int64_t length = operands[0].type.shape.dims[1], count = col_shape_numel(operands[1].type.shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t row = row_of(operands[0], operands[1].data[i]);
        for (int64_t j = 0; j < length; j++) {
            results[0].data[i * length + j] = row < 0 ? NAN : operands[0].data[row * length + j];
        }
    }
}

void col_eval_scatter_add(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    (void)node;
    int64_t length = operands[0].type.shape.dims[1], count = col_shape_numel(operands[1].type.shape);
    memcpy(results[0].data, operands[0].data,
           sizeof(double) * (size_t)col_shape_numel(operands[0].type.shape));
    for (int64_t i = 0; i < count; i++) {
        int64_t row = row_of(operands[0], operands[1].data[i]);
        for (int64_t j = 0; row >= 0 && j < length; j++) {
            results[0].data[row * length + j] += operands[2].data[i * length + j];
        }
    }
}

void col_eval_update_slice(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_shape base = operands[0].type.shape, update = operands[1].type.shape;
    int axis = col_node_axis(node, base);
    int64_t room = base.dims[axis] - update.dims[axis], start = (int64_t)operands[2].data[0];
    int64_t from[COL_MAX_RANK], to[COL_MAX_RANK];
    start = COL_MIN(COL_MAX(start, 0), room);
    col_shape_strides(update, from);
    col_shape_strides(base, to);
    memcpy(results[0].data, operands[0].data, sizeof(double) * (size_t)col_shape_numel(base));
    col_walk(update, results[0].data + start * to[axis], to, operands[1].data, from, COL_WALK_SET);
}

/* Each rank has some rows, and zeros for the others: the result is summed over the table's rows. */
void col_relate_embedding(col_factors *f, const col_node *node)
{
    col_slot table = col_operand_slot(node, 0), ids = col_operand_slot(node, 1);
    col_slot rows = col_result_slot(node, 0);
    int rank = operand_type(node, 1).shape.rank;
    for (int d = 0; d < rank; d++) col_factors_same(f, ids, d, rows, d);
    col_factors_same(f, table, 1, rows, rank);
    col_factors_reduces(f, table, 0, rows, COL_OP_SUM);
    col_factors_looks_up(f, table, 0);
}

/* Split rows take the updates that are theirs; split updates leave partial sums. */
void col_relate_scatter_add(col_factors *f, const col_node *node)
{
    col_slot base = col_operand_slot(node, 0), ids = col_operand_slot(node, 1);
    col_slot updates = col_operand_slot(node, 2), sums = col_result_slot(node, 0);
    int rank = operand_type(node, 1).shape.rank;
    for (int d = 0; d < rank; d++) {
        col_factors_same(f, ids, d, updates, d);
        col_factors_reduces(f, updates, d, sums, COL_OP_SUM);
    }
    col_factors_same(f, updates, rank, sums, 1);
    for (int d = 0; d < 2; d++) col_factors_same(f, base, d, sums, d);
    col_factors_looks_up(f, base, 0);
    col_factors_looks_up(f, sums, 0);
}

/* Where the indices are in the rank's rows of a table, counted from its first; `*out_inside` tells where.
 * NULL: the rank has all rows. */
static col_value *own_rows(col_local *l, const col_node *node, col_value *ids, col_value **out_inside)
{
    col_layout layout = col_factors_operand_layout(l->f, l->strategy, node, 0);
    col_shape shape = operand_type(node, 0).shape;
    col_value *start = col_local_start(l, &layout, shape.dims[0], 0);
    if (!start) return NULL;
    int64_t count = shape.dims[0] / col_layout_parts(&layout, l->mesh, 0);
    col_value *zero = op_like(l->b, 0, ids);
    col_value *row = op_sub(l->b, ids, col_build_cast(l->b, start, ids->type.dtype));
    *out_inside = col_build_binary(l->b, COL_OP_AND, col_build_binary(l->b, COL_OP_GE, row, zero),
                                   col_build_binary(l->b, COL_OP_LT, row, op_like(l->b, (double)count, ids)));
    return col_build_where(l->b, *out_inside, row, zero);
}

/* x [..., c] where the condition [...] holds, elsewhere 0. */
static col_value *rows_where(col_builder *b, col_value *condition, col_value *x)
{
    condition = col_build_reshape(b, condition, col_shape_one_last(x->type.shape));
    return col_build_where(b, condition, x, op_like(b, 0, x));
}

void col_local_embedding(col_local *l, const col_node *node, col_value *const *operands, col_value **out)
{
    col_value *inside, *rows = own_rows(l, node, operands[1], &inside);
    col_local_plain(l, node, (col_value *[]){operands[0], rows ? rows : operands[1]}, out);
    if (rows) out[0] = rows_where(l->b, inside, out[0]);
}

static bool is_zero(const col_value *value)
{
    const col_node *made = value->producer;
    return made && made->op == COL_OP_CONSTANT && col_node_float(made, COL_ATTR_VALUE) == 0;
}

void col_local_scatter_add(col_local *l, const col_node *node, col_value *const *operands, col_value **out)
{
    col_value *base = operands[0], *inside, *rows = own_rows(l, node, operands[1], &inside);
    col_layout layout = col_factors_result_layout(l->f, l->strategy, &node->results[0]);
    if (layout.partial && !is_zero(col_node_operand(node, 0))) {
        /* One term of the sum has the base: that of coordinate 0 along every axis that is summed over. */
        col_value *first = col_local_is_first(l, layout.partial);
        base = col_build_where(l->b, first, base, op_like(l->b, 0, base));
    }
    col_value *updates = rows ? rows_where(l->b, inside, operands[2]) : operands[2];
    col_local_plain(l, node, (col_value *[]){base, rows ? rows : operands[1], updates}, out);
}

col_work col_work_scatter_add(const col_node *node)
{
    return (col_work){COL_WORK_MOVE, (double)col_shape_numel(col_node_operand(node, 2)->type.shape)};
}
