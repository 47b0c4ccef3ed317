/* Collectives: see ir/ops/collective.h. */
#include "ir/ops/collective.h"

#include <string.h>

#include "ir/ops/family.h"

enum { MOST_SHIFT = 1 << 20 };

bool col_node_is_collective(const col_node *node)
{
    return col_op_info_of(node->op)->required_attrs >> COL_ATTR_MESH_AXES & 1;
}

col_node *col_collective_wait(const col_node *node)
{
    if (!col_node_is_collective(node)) return NULL;
    COL_FOR_EACH_USE (use, &node->results[0]) {
        if (use->user->op == COL_OP_WAIT && !use->index) return use->user;
    }
    return NULL;
}

bool col_collective_is_in_place(const col_node *node)
{
    const col_node *wait = col_collective_wait(node);
    return wait && wait->operand_count == 1;
}

/* `mesh_axes` are axes of the graph's mesh, each once; sets the number of ranks in a group. */
static bool check_group(const col_node *node, col_diags *diags, int64_t *out_ranks)
{
    const col_mesh *mesh = &node->graph->mesh;
    int count;
    const int64_t *axes = col_node_ints(node, COL_ATTR_MESH_AXES, &count);
    if (!mesh->rank)
        return col_op_fault(node, diags, "this graph has no mesh; begin it with, say, 'mesh 2x2'");
    if (!count) return col_op_fault(node, diags, "'mesh_axes' is empty; list the axes of the mesh");
    uint32_t seen = 0;
    for (int i = 0; i < count; i++) {
        if (axes[i] < 0 || axes[i] >= mesh->rank) {
            return col_op_fault(node, diags, "mesh axis %lld is not in 0..%d, the axes of the mesh",
                                (long long)axes[i], mesh->rank - 1);
        }
        if (seen >> axes[i] & 1)
            return col_op_fault(node, diags, "mesh axis %lld is listed twice", (long long)axes[i]);
        seen |= UINT32_C(1) << axes[i];
    }
    *out_ranks = col_mesh_group(mesh, count, axes);
    return true;
}

static bool want_number(const col_node *node, col_diags *diags)
{
    col_type type = operand_type(node, 0);
    if (col_dtype_is_arithmetic(type.dtype)) return true;
    return col_op_fault(node, diags, "no reduction of %s; convert it with 'cast'",
                        col_op_type_text(diags, type));
}

/* Divides a dimension among the ranks. */
static bool cut(const col_node *node, col_diags *diags, int axis, int64_t ranks, col_shape *shape)
{
    if (shape->dims[axis] % ranks) {
        return col_op_fault(node, diags, "axis %d of %s cannot be cut into %lld equal blocks", axis,
                            col_op_type_text(diags, operand_type(node, 0)), (long long)ranks);
    }
    shape->dims[axis] /= ranks;
    return true;
}

static bool join(const col_node *node, col_diags *diags, int axis, int64_t ranks, col_shape *shape)
{
    if (__builtin_mul_overflow(shape->dims[axis], ranks, &shape->dims[axis]) || !col_shape_is_valid(*shape))
        return col_op_fault(node, diags, "the result is too large to count in bytes");
    return true;
}

/* sum, max or min; a fault and COL_WALK_SET for anything else. */
static col_walk_mode reduction_of(const col_node *node, col_diags *diags)
{
    const char *name = col_node_text(node, COL_ATTR_REDUCE);
    if (!name || !strcmp(name, "sum")) return COL_WALK_ADD;
    if (!strcmp(name, "max")) return COL_WALK_MAX;
    if (!strcmp(name, "min")) return COL_WALK_MIN;
    if (diags) col_op_fault(node, diags, "unknown reduction '%s'; there are sum, max and min", name);
    return COL_WALK_SET;
}

bool col_infer_all_reduce(col_node *node, col_diags *diags)
{
    col_type x = operand_type(node, 0);
    int64_t ranks;
    return check_group(node, diags, &ranks) && want_number(node, diags) &&
           reduction_of(node, diags) != COL_WALK_SET && col_op_result(node, 0, x.dtype, x.shape);
}

bool col_infer_all_gather(col_node *node, col_diags *diags)
{
    col_type x = operand_type(node, 0);
    int64_t ranks;
    int axis;
    return check_group(node, diags, &ranks) && col_op_axis(node, diags, x.shape, &axis) &&
           join(node, diags, axis, ranks, &x.shape) && col_op_result(node, 0, x.dtype, x.shape);
}

bool col_infer_reduce_scatter(col_node *node, col_diags *diags)
{
    return want_number(node, diags) && col_infer_shard(node, diags);
}

bool col_infer_all_to_all(col_node *node, col_diags *diags)
{
    col_type x = operand_type(node, 0);
    int64_t ranks, given = col_node_int(node, COL_ATTR_FROM_AXIS);
    int axis, from_axis;
    if (!check_group(node, diags, &ranks) || !col_op_axis(node, diags, x.shape, &axis)) return false;
    if (!col_shape_axis(x.shape, given, &from_axis) || from_axis == axis) {
        return col_op_fault(node, diags, "'from_axis' %lld must be an axis of %s other than 'axis'",
                            (long long)given, col_op_type_text(diags, x));
    }
    return cut(node, diags, axis, ranks, &x.shape) && join(node, diags, from_axis, ranks, &x.shape) &&
           col_op_result(node, 0, x.dtype, x.shape);
}

bool col_infer_shard(col_node *node, col_diags *diags)
{
    col_type x = operand_type(node, 0);
    int64_t ranks;
    int axis;
    return check_group(node, diags, &ranks) && col_op_axis(node, diags, x.shape, &axis) &&
           cut(node, diags, axis, ranks, &x.shape) && col_op_result(node, 0, x.dtype, x.shape);
}

bool col_infer_broadcast_from(col_node *node, col_diags *diags)
{
    col_type x = operand_type(node, 0);
    int64_t ranks, root = col_node_int(node, COL_ATTR_ROOT);
    if (!check_group(node, diags, &ranks)) return false;
    if (root < 0 || root >= ranks) {
        return col_op_fault(node, diags, "root %lld is not in 0..%lld, the places of a group",
                            (long long)root, (long long)ranks - 1);
    }
    return col_op_result(node, 0, x.dtype, x.shape);
}

bool col_infer_send_receive(col_node *node, col_diags *diags)
{
    col_type x = operand_type(node, 0);
    int64_t ranks;
    if (!check_group(node, diags, &ranks)) return false;
    int64_t shift = col_node_int(node, COL_ATTR_SHIFT);
    if (!shift || shift < -MOST_SHIFT || shift > MOST_SHIFT) {
        return col_op_fault(node, diags, "'shift' %lld is not one of -%d..-1 and 1..%d, places in the group",
                            (long long)shift, MOST_SHIFT, MOST_SHIFT);
    }
    return col_op_result(node, 0, x.dtype, x.shape);
}

bool col_infer_wait(col_node *node, col_diags *diags)
{
    (void)diags;
    col_type x = operand_type(node, 0);
    return col_op_result(node, 0, x.dtype, x.shape);
}

/* A rank's group during an evaluation. */
typedef struct group {
    const col_mesh *mesh;
    const int64_t *axes;
    int count;
    int64_t rank, size, place;
} group;

static group group_of(const col_node *node, int64_t rank)
{
    group g = {.mesh = &node->graph->mesh, .rank = rank};
    g.axes = col_node_ints(node, COL_ATTR_MESH_AXES, &g.count);
    g.size = col_mesh_group(g.mesh, g.count, g.axes);
    for (int i = 0; i < g.count; i++)
        g.place = g.place * g.mesh->dims[g.axes[i]] + col_mesh_coordinate(g.mesh, rank, (int)g.axes[i]);
    return g;
}

/* The rank at a place of the group. */
static int64_t member(const group *g, int64_t place)
{
    int64_t rank = g->rank;
    for (int i = g->count - 1; i >= 0; i--) {
        int axis = (int)g->axes[i];
        int64_t stride = 1, coordinate = place % g->mesh->dims[axis];
        for (int a = axis + 1; a < g->mesh->rank; a++) stride *= g->mesh->dims[a];
        rank += (coordinate - col_mesh_coordinate(g->mesh, g->rank, axis)) * stride;
        place /= g->mesh->dims[axis];
    }
    return rank;
}

/* Walks block `from_block` along an axis of `from`, or all of it where the axis is -1, over the same of `to`.
 */
static void move_block(const col_tensor *to, int to_axis, int64_t to_block, const col_tensor *from,
                       int from_axis, int64_t from_block, col_walk_mode mode)
{
    int64_t to_strides[COL_MAX_RANK], from_strides[COL_MAX_RANK];
    col_shape block = to->type.shape;
    for (int d = 0; d < block.rank; d++) block.dims[d] = COL_MIN(block.dims[d], from->type.shape.dims[d]);
    col_shape_strides(to->type.shape, to_strides);
    col_shape_strides(from->type.shape, from_strides);
    double *at = to->data;
    const double *source = from->data;
    if (to_axis >= 0) at += to_block * block.dims[to_axis] * to_strides[to_axis];
    if (from_axis >= 0) source += from_block * block.dims[from_axis] * from_strides[from_axis];
    col_walk(block, at, to_strides, source, from_strides, mode);
}

void col_collective_eval(const col_node *node, int64_t rank, const col_tensor *by_rank, col_tensor *result)
{
    group g = group_of(node, rank);
    col_shape shape = operand_type(node, 0).shape;
    int axis = -1, from_axis = -1;
    if (col_node_attr(node, COL_ATTR_AXIS)) axis = col_node_axis(node, shape);
    if (col_node_attr(node, COL_ATTR_FROM_AXIS))
        col_shape_axis(shape, col_node_int(node, COL_ATTR_FROM_AXIS), &from_axis);
    const col_tensor *own = &by_rank[rank];
    switch (node->op) {
    case COL_OP_SHARD: move_block(result, -1, 0, own, axis, g.place, COL_WALK_SET); return;
    case COL_OP_BROADCAST_FROM:
        move_block(result, -1, 0, &by_rank[member(&g, col_node_int(node, COL_ATTR_ROOT))], -1, 0,
                   COL_WALK_SET);
        return;
    case COL_OP_SEND_RECEIVE: {
        int64_t shift = col_node_int(node, COL_ATTR_SHIFT);
        if (shift <= g.place && shift > g.place - g.size)
            move_block(result, -1, 0, &by_rank[member(&g, g.place - shift)], -1, 0, COL_WALK_SET);
        else
            memset(result->data, 0, sizeof(double) * (size_t)col_shape_numel(result->type.shape));
        return;
    }
    case COL_OP_ALL_GATHER:
        for (int64_t j = 0; j < g.size; j++)
            move_block(result, axis, j, &by_rank[member(&g, j)], -1, 0, COL_WALK_SET);
        return;
    case COL_OP_ALL_TO_ALL:
        for (int64_t j = 0; j < g.size; j++)
            move_block(result, from_axis, j, &by_rank[member(&g, j)], axis, g.place, COL_WALK_SET);
        return;
    case COL_OP_ALL_REDUCE:
    case COL_OP_REDUCE_SCATTER:
        for (int64_t j = 0; j < g.size; j++) {
            col_walk_mode mode = j ? reduction_of(node, NULL) : COL_WALK_SET;
            move_block(result, -1, 0, &by_rank[member(&g, j)], axis, g.place, mode);
        }
        return;
    default: COL_PANIC("'%s' is no collective", col_op_info_of(node->op)->name);
    }
}

/* Alone, a node sees a mesh where every rank has this operand, from rank 0. */
void col_eval_collective(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    int64_t ranks = col_mesh_size(&node->graph->mesh);
    col_arena *scratch = col_arena_create();
    col_tensor *by_rank = COL_NEW_ARRAY(scratch, col_tensor, ranks);
    for (int64_t r = 0; r < ranks; r++) by_rank[r] = operands[0];
    col_collective_eval(node, 0, by_rank, results);
    col_arena_destroy(scratch);
}

void col_eval_wait(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    memcpy(results->data, operands->data,
           sizeof(double) * (size_t)col_shape_numel(operand_type(node, 0).shape));
}
