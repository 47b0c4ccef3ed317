/* Channels last: tensors of convolutional networks lie in memory as [n, spatial..., c], filters as [o, spatial..., c],
 * while the graph goes on to say [n, c, spatial...]. Tensor cores multiply along channels, so a library that gets them
 * side by side reads its operands as they are; and sums over a batch's positions, as normalisations need them, read
 * whole rows of channels.
 *
 * needs     schedule; row-major strides
 * provides  strides of the values that convolutions of 16 bits read and write, and of what is made of them
 * breaks    nothing: an op means the same whatever its operands' strides
 *
 *   1. A value may lie channels-last if all that makes or reads it takes any strides.
 *   2. A convolution computes so if its operands and its result may. The values of one that does not are row-major,
 *      which may keep others from it: until nothing changes.
 *   3. What those convolutions touch lies channels-last; so does, in the order of the program, what a kernel or a
 *      pooling makes of a value that does and whose batch and channels it has. */
#include "passes/channels_last.h"

#include "ir/view.h"

typedef struct layout {
    const col_graph *graph;
    const col_units *units;
    col_placement *placements;
    bool *allows, *is_last; /* by value id */
} layout;

static bool is_conv(const col_node *node)
{
    return node->op == COL_OP_CONV || node->op == COL_OP_CONV_GRAD_INPUT ||
           node->op == COL_OP_CONV_GRAD_WEIGHT;
}

static bool is_pool(const col_node *node)
{
    return node->op == COL_OP_MAX_POOL || node->op == COL_OP_MAX_POOL_GRAD || node->op == COL_OP_AVG_POOL ||
           node->op == COL_OP_AVG_POOL_GRAD;
}

bool col_conv_wants_channels_last(const col_node *node)
{
    return is_conv(node) && col_dtype_size(node->results[0].type.dtype) == 2;
}

void col_channels_last_strides(col_shape shape, int64_t strides[COL_MAX_RANK])
{
    int64_t stride = shape.dims[1];
    strides[1] = 1;
    for (int k = shape.rank - 1; k >= 0; k--) {
        if (k == 1) continue;
        strides[k] = stride;
        stride *= shape.dims[k];
    }
}

/* 1 */

typedef struct candidate {
    const col_value *base;
} candidate;

static void candidate_strides(void *context, const col_value *value, int64_t strides[COL_MAX_RANK])
{
    const candidate *c = context;
    if (value == c->base)
        col_channels_last_strides(value->type.shape, strides);
    else
        col_shape_strides(value->type.shape, strides);
}

/* `value` is the base or a view of it. */
static bool uses_allow(const col_value *base, const col_value *value)
{
    candidate c = {base};
    if (col_view_over(value, candidate_strides, &c).base != base ||
        col_value_is_output(base->producer->graph, value))
        return false;
    COL_FOR_EACH_USE (use, value) {
        const col_node *user = use->user;
        const col_op_info *info = col_op_info_of(user->op);
        if (info->op_class == COL_CLASS_VIEW && col_value_is_virtual(&user->results[0])) {
            for (uint32_t i = 0; i < user->result_count; i++) {
                if (!uses_allow(base, &user->results[i])) return false;
            }
        } else if (is_conv(user) || is_pool(user)) {
            if (value != base) return false;
        } else if (user->op == COL_OP_CONCAT ||
                   (info->op_class != COL_CLASS_ELEMENTWISE && info->op_class != COL_CLASS_REDUCTION &&
                    info->op_class != COL_CLASS_VIEW && info->op_class != COL_CLASS_MOVE)) {
            return false;
        }
    }
    return true;
}

bool col_value_allows_channels_last(const col_value *value)
{
    const col_node *producer = value->producer;
    if (!producer || value->type.shape.rank < 3 || producer->op == COL_OP_CONCAT) return false;
    switch (col_op_info_of(producer->op)->op_class) {
    case COL_CLASS_ELEMENTWISE:
    case COL_CLASS_SOURCE:
    case COL_CLASS_REDUCTION:
    case COL_CLASS_MOVE: break;
    case COL_CLASS_VIEW:
        if (col_value_is_virtual(value)) return false;
        break;
    default:
        if (!is_conv(producer) && !is_pool(producer)) return false;
    }
    return uses_allow(value, value);
}

/* 2 */

/* The values of a convolution are channels-last together. True when that took something from one. */
static bool settle(layout *l, const col_node *node)
{
    const col_value *values[] = {col_node_operand(node, 0), col_node_operand(node, 1), &node->results[0]};
    bool all = col_conv_wants_channels_last(node), changed = false;
    for (int i = 0; i < 3; i++) all &= l->allows[values[i]->id];
    for (int i = 0; i < 3 && !all; i++) {
        changed |= l->allows[values[i]->id];
        l->allows[values[i]->id] = false;
    }
    return changed;
}

/* 3 */

static void follow(layout *l, const col_value *from, const col_value *to)
{
    col_shape a = from->type.shape, b = to->type.shape;
    if (l->is_last[from->id] && l->allows[to->id] && a.dims[0] == b.dims[0] && a.dims[1] == b.dims[1])
        l->is_last[to->id] = true;
}

void col_channels_last(const col_graph *graph, const col_units *units, col_placement *placements,
                       col_arena *arena)
{
    layout l = {.graph = graph, .units = units, .placements = placements};
    l.allows = COL_NEW_ARRAY(arena, bool, graph->next_value_id);
    l.is_last = COL_NEW_ARRAY(arena, bool, graph->next_value_id);
    bool any = false, changed = true;
    for (uint32_t u = 0; u < units->count; u++) {
        for (uint32_t i = 0; i < units->units[u].write_count; i++) {
            const col_value *value = units->units[u].writes[i];
            l.allows[value->id] = !placements[value->id].is_part && col_value_allows_channels_last(value);
        }
    }
    while (changed) {
        changed = false;
        COL_FOR_EACH_NODE (node, graph) {
            if (is_conv(node)) changed |= settle(&l, node);
        }
    }
    COL_FOR_EACH_NODE (node, graph) {
        if (!is_conv(node) || !l.allows[node->results[0].id]) continue;
        any = true;
        for (uint32_t i = 0; i < 2; i++) l.is_last[col_node_operand(node, i)->id] = true;
        l.is_last[node->results[0].id] = true;
    }
    for (uint32_t u = 0; any && u < units->count; u++) {
        const col_unit *unit = &units->units[u];
        for (uint32_t i = 0; i < unit->write_count; i++) {
            for (uint32_t j = 0; j < unit->read_count; j++) follow(&l, unit->reads[j], unit->writes[i]);
            if (l.is_last[unit->writes[i]->id])
                col_channels_last_strides(unit->writes[i]->type.shape,
                                          placements[unit->writes[i]->id].strides);
        }
    }
}
