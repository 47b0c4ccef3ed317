/* Puts an exact zero where a sum is zero in exact arithmetic: the gradient of attention's keys, over their
 * positions. The biases of keys have such gradients.
 *
 * needs     autodiff; before sharding and recomputation
 * provides  a sum that vanishes is a constant 0; of one that vanishes in part, the rest between zeros
 * breaks    nothing; leaves dead nodes for dce
 *
 * A vector that is added to all keys adds one number to all scores of a row, which softmax does not see. In the
 * terms of ir/ops/attention.c: delta_i = sum_j keep p dout_i v_j and sum_j p = 1 give sum_j ds_ij = 0, so
 * sum_j dk_j = scale sum_i q_i sum_j ds_ij = 0. What floating point leaves of it is noise; Adam divides by the
 * gradient's size and makes of the noise a step that depends on the order of summation, so on the mesh.
 *
 * The walk goes from a sum back to attention, through what splitting queries, keys and values leaves there. It
 * says of each value in which ranges of one of its dims the sum may differ from zero. */
#include "passes/pass.h"

/* Between a sum and attention: four from the split, one for each cast and reshape beside it. Also bounds the
 * walk, which meets shared values again. */
enum { MAX_DEPTH = 12, MAX_RANGES = 8 };

/* Where a sum may differ from zero: in [begin, end) of dim `axis`, ascending, apart from each other. */
typedef struct ranges {
    int axis;
    uint32_t count;
    struct range {
        int64_t begin, end;
    } of[MAX_RANGES];
} ranges;

static ranges whole(col_shape shape, int axis)
{
    return (ranges){axis, 1, {{0, shape.rank ? shape.dims[axis] : 1}}};
}

static bool is_whole(const ranges *r, col_shape shape)
{
    return r->count == 1 && r->of[0].begin == 0 && (!shape.rank || r->of[0].end == shape.dims[r->axis]);
}

/* The dims of a reshape's operand that a sum over the dims `axes` (a bit for each) of its result sums whole. In
 * row-major numbers a dim of stride a and size n is the digit (x / a) % n, and a run of summed dims is all
 * digits from its last stride to its end. */
static uint32_t summed_before(col_shape before, col_shape after, uint32_t axes)
{
    uint32_t out = 0;
    int64_t end = 1;
    if (!col_shape_numel(after)) return 0;
    for (int d = after.rank - 1; d >= 0;) {
        int64_t begin = end;
        bool summed = axes >> d & 1;
        while (d >= 0 && (bool)(axes >> d & 1) == summed) end *= after.dims[d--];
        int64_t stride = 1;
        for (int i = before.rank - 1; summed && i >= 0; i--) {
            int64_t past = stride * before.dims[i];
            if (stride % begin == 0 && end % past == 0) out |= UINT32_C(1) << i;
            stride = past;
        }
    }
    return out;
}

/* The dim of a reshape's result that is the operand's dim `axis`; below 0: none. */
static int axis_after(col_shape before, col_shape after, int axis)
{
    int64_t outer = 1, reached = 1;
    for (int d = 0; d < axis; d++) outer *= before.dims[d];
    for (int d = 0; d < after.rank; reached *= after.dims[d++]) {
        if (reached == outer && after.dims[d] == before.dims[axis]) return d;
    }
    return -1;
}

/* Adds `from`, moved up by `offset`, to the ranges; false: they do not line up. */
static bool join(ranges *to, const ranges *from, int64_t offset)
{
    if (!from->count) return true;
    if (!to->count) to->axis = from->axis;
    if (to->axis != from->axis) return false;
    for (uint32_t i = 0; i < from->count; i++) {
        struct range r = {from->of[i].begin + offset, from->of[i].end + offset};
        uint32_t kept = 0, at = 0;
        for (uint32_t k = 0; k < to->count; k++) {
            struct range other = to->of[k];
            if (other.begin <= r.end && r.begin <= other.end) {
                r = (struct range){COL_MIN(r.begin, other.begin), COL_MAX(r.end, other.end)};
                continue;
            }
            to->of[kept++] = other;
            at += other.end < r.begin;
        }
        if (kept == MAX_RANGES) return false;
        for (uint32_t k = kept; k > at; k--) to->of[k] = to->of[k - 1];
        to->of[at] = r;
        to->count = kept + 1;
    }
    return true;
}

static ranges where_not_zero(const col_value *value, uint32_t axes, int depth);

static ranges in_pad(const col_node *node, uint32_t axes, int depth)
{
    const col_value *operand = col_node_operand(node, 0);
    ranges in = where_not_zero(operand, axes, depth), out = {0};
    int count, padded = 0, axis = in.axis;
    const int64_t *low = col_node_ints(node, COL_ATTR_LOW, &count),
                  *high = col_node_ints(node, COL_ATTR_HIGH, &count);
    for (int d = 0; d < count; d++) {
        if (!low[d] && !high[d]) continue;
        padded++;
        axis = d;
    }
    col_shape shape = node->results[0].type.shape;
    if (!in.count) return in;
    if (padded > 1 || col_node_float(node, COL_ATTR_VALUE) != 0) return whole(shape, 0);
    if (is_whole(&in, operand->type.shape)) in = whole(operand->type.shape, axis);
    return axis == in.axis && join(&out, &in, low[axis]) ? out : whole(shape, 0);
}

static ranges in_concat(const col_node *node, uint32_t axes, int depth)
{
    col_shape shape = node->results[0].type.shape;
    ranges out = {0};
    int axis = 0;
    bool is_axis = col_shape_axis(shape, col_node_int(node, COL_ATTR_AXIS), &axis);
    COL_ASSERT(is_axis);
    int64_t offset = 0;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *part = col_node_operand(node, i);
        ranges in = where_not_zero(part, axes, depth);
        if (is_whole(&in, part->type.shape)) in = whole(part->type.shape, axis);
        if ((in.axis != axis && in.count) || !join(&out, &in, offset)) return whole(shape, 0);
        offset += part->type.shape.dims[axis];
    }
    return out;
}

static ranges in_reshape(const col_node *node, uint32_t axes, int depth)
{
    const col_value *operand = col_node_operand(node, 0);
    col_shape before = operand->type.shape, after = node->results[0].type.shape;
    ranges in = where_not_zero(operand, summed_before(before, after, axes), depth);
    if (!in.count) return in;
    int axis = is_whole(&in, before) ? -1 : axis_after(before, after, in.axis);
    if (axis < 0) return whole(after, 0);
    in.axis = axis;
    return in;
}

static ranges in_add(const col_node *node, uint32_t axes, int depth)
{
    const col_value *x = col_node_operand(node, 0), *y = col_node_operand(node, 1);
    ranges all = whole(node->results[0].type.shape, 0);
    if (!col_shape_equal(x->type.shape, y->type.shape)) return all;
    ranges out = where_not_zero(x, axes, depth), right = where_not_zero(y, axes, depth);
    return join(&out, &right, 0) ? out : all;
}

/* Of the value's sum over the dims `axes`, a bit for each. The ranges are those of another dim. */
static ranges where_not_zero(const col_value *value, uint32_t axes, int depth)
{
    const col_node *node = value->producer;
    ranges all = whole(value->type.shape, 0), out = all;
    if (!node || ++depth > MAX_DEPTH) return all;
    if (node->op == COL_OP_ATTENTION_GRAD && value->index == 1 && axes >> 1 & 1) out.count = 0;
    if (node->op == COL_OP_CAST) out = where_not_zero(col_node_operand(node, 0), axes, depth);
    if (node->op == COL_OP_RESHAPE) out = in_reshape(node, axes, depth);
    if (node->op == COL_OP_CONCAT) out = in_concat(node, axes, depth);
    if (node->op == COL_OP_PAD) out = in_pad(node, axes, depth);
    if (node->op == COL_OP_ADD) out = in_add(node, axes, depth);
    return out.count && axes >> out.axis & 1 ? all : out;
}

/* The value in the ranges, and zero elsewhere: an elementwise end of the reduction that makes it. */
static col_value *between_zeros(col_builder *b, col_value *value, const ranges *kept)
{
    col_value *zero = col_build_full(b, 0, value->type), *inside = NULL;
    if (!kept->count) return zero;
    col_shape shape = value->type.shape;
    for (int d = 0; d < shape.rank; d++) shape.dims[d] = d == kept->axis ? shape.dims[d] : 1;
    col_value *at = col_build_iota(b, col_type_make(COL_I32, shape), kept->axis);
    for (uint32_t i = 0; i < kept->count; i++) {
        col_value *begin = col_build_scalar(b, (double)kept->of[i].begin, COL_I32);
        col_value *end = col_build_scalar(b, (double)kept->of[i].end, COL_I32);
        col_value *in = col_build_binary(b, COL_OP_AND, col_build_binary(b, COL_OP_GE, at, begin),
                                         col_build_binary(b, COL_OP_LT, at, end));
        inside = inside ? col_build_binary(b, COL_OP_OR, inside, in) : in;
    }
    return col_build_where(b, inside, value, zero);
}

col_status col_pass_vanish(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    col_builder b = {.graph = graph};
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op != COL_OP_SUM) continue;
        int count;
        const int64_t *given = col_node_ints(node, COL_ATTR_AXES, &count);
        uint32_t axes = 0;
        for (int i = 0; i < count; i++) axes |= UINT32_C(1) << given[i];
        const col_value *operand = col_node_operand(node, 0);
        ranges kept = where_not_zero(operand, axes, 0);
        if (is_whole(&kept, operand->type.shape)) continue;
        if (!col_node_int(node, COL_ATTR_KEEPDIMS)) {
            for (int d = kept.axis; d-- > 0;) kept.axis -= axes >> d & 1;
        }
        col_builder_at(&b, node);
        col_value *x = col_node_operand(node, 0);
        col_value *sum = &col_build(&b, COL_OP_SUM, 1, &x, node->attr_count, node->attrs)->results[0];
        col_value_replace(graph, &node->results[0], between_zeros(&b, sum, &kept));
    }
    return NULL;
}
