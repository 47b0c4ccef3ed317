/* A part of the pass `legalize`: reductions of rows too long for the registers of those that share one become
 * reductions of pieces, and of what the pieces give.
 *
 * The sum of a softmax, sum exp(x - max x), needs the maximum first, so it would read its row from memory again. Cut, each
 * piece is summed against its own maximum m_c while it is at hand (Milakov and Gimelshein, "Online normalizer calculation
 * for softmax", 2018):
 *
 *     m_c = max of the piece     s_c = sum over the piece of exp(x - m_c)
 *     m = max over c of m_c      s   = sum over c of s_c exp(m_c - m)
 *
 * A piece that is -inf throughout counts as nothing. */
#include "passes/legalize.h"

enum { ACCESS = 16, LEAST_PIECES = 4, LEAST_PIECE = 8 /* of the most a piece may have */ };
static const double LOWEST = -3e38; /* finite in fp32 */

/* Bytes of the smallest element that the value is computed from at each place, as far as it is looked for: what a row is
 * read as. */
static int64_t stored_element(const col_value *value, int depth)
{
    enum { DEPTH = 6 };
    int64_t least = (int64_t)col_dtype_size(value->type.dtype);
    const col_node *node = value->producer;
    if (!node || depth == DEPTH || col_op_info_of(node->op)->op_class != COL_CLASS_ELEMENTWISE) return least;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *operand = col_node_operand(node, i);
        bool floats = operand->type.dtype == COL_BF16 || operand->type.dtype == COL_F16 ||
                      operand->type.dtype == COL_F32;
        if (floats && col_shape_equal(operand->type.shape, value->type.shape))
            least = COL_MIN(least, stored_element(operand, depth + 1));
    }
    return least;
}

/* Elements of a piece: the most that fit in `bytes` and begin where accesses may; 0: none are worth it. */
static int64_t piece_of(const col_value *x, int64_t bytes)
{
    int64_t size = x->type.shape.dims[x->type.shape.rank - 1], element = stored_element(x, 0);
    int64_t most = bytes / element, step = COL_MAX(ACCESS / element, 1);
    if (size < LEAST_PIECES * most) return 0;
    for (int64_t n = most / step * step; n >= most / LEAST_PIECE; n -= step) {
        if (size % n == 0) return n;
    }
    return 0;
}

static col_value *cut(col_builder *b, col_value *x, int64_t piece)
{
    col_shape shape = x->type.shape;
    shape.dims[shape.rank] = piece;
    shape.dims[shape.rank - 1] /= piece;
    shape.rank++;
    return col_build_reshape(b, x, shape);
}

/* What the value is a reduction of, by `op` and over its last dim but `skip`; NULL: it is none. */
static col_value *reduced_of(const col_value *value, col_op op, int skip)
{
    while (value->producer && value->producer->op == COL_OP_RESHAPE)
        value = col_node_operand(value->producer, 0);
    if (!value->producer || value->producer->op != op) return NULL;
    col_value *from = col_node_operand(value->producer, 0);
    int count;
    const int64_t *axes = col_node_ints(value->producer, COL_ATTR_AXES, &count);
    return count == 1 && axes[0] == from->type.shape.rank - 1 - skip ? from : NULL;
}

/* Of exp(x - m), where m is x's maximum, cut: x, and the maxima of its pieces. */
static bool is_softmax(const col_value *value, int64_t piece, col_value **out_x, col_value **out_maxima)
{
    if (!value->producer || value->producer->op != COL_OP_EXP) return false;
    const col_node *sub = col_node_operand(value->producer, 0)->producer;
    if (!sub || sub->op != COL_OP_SUB) return false;
    col_value *x = col_node_operand(sub, 0), *maxima = reduced_of(col_node_operand(sub, 1), COL_OP_MAX, 1);
    col_value *pieces = maxima ? reduced_of(maxima, COL_OP_MAX, 0) : NULL;
    if (!pieces || pieces->type.shape.dims[pieces->type.shape.rank - 1] != piece) return false;
    while (pieces != x && pieces->producer && pieces->producer->op == COL_OP_RESHAPE)
        pieces = col_node_operand(pieces->producer, 0);
    *out_x = x;
    *out_maxima = maxima;
    return pieces == x;
}

static col_value *sum_softmax(col_builder *b, col_value *x, col_value *maxima, int64_t piece, int64_t axis)
{
    int64_t inner = axis + 1;
    col_value *lowest = col_build_scalar(b, LOWEST, maxima->type.dtype);
    col_value *own = col_build_binary(b, COL_OP_MAXIMUM, maxima, lowest);
    col_value *terms = col_build_unary(b, COL_OP_EXP, col_build_binary(b, COL_OP_SUB, cut(b, x, piece), own));
    col_value *sums = col_build_reduce(b, COL_OP_SUM, terms, 1, &inner, true);
    col_value *all = col_build_reduce(b, COL_OP_MAX, maxima, 1, &axis, true);
    col_value *weights = col_build_unary(b, COL_OP_EXP, col_build_binary(b, COL_OP_SUB, own, all));
    return col_build_reduce(b, COL_OP_SUM, col_build_binary(b, COL_OP_MUL, sums, weights), 1, &axis, true);
}

bool col_legalize_long_row(col_builder *b, col_node *node, const col_pass_options *options)
{
    col_value *x = col_node_operand(node, 0), *result = &node->results[0], *maxima;
    col_shape shape = x->type.shape;
    col_dtype dtype = result->type.dtype;
    int count;
    const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
    int64_t axis = shape.rank - 1, inner = axis + 1;
    if (!options->row_bytes || count != 1 || axes[0] != axis || shape.rank >= COL_MAX_RANK) return false;
    int64_t piece = piece_of(x, options->row_bytes);
    if (!piece) return false;
    col_value *of, *out;
    if (node->op == COL_OP_SUM && is_softmax(x, piece, &of, &maxima)) {
        out = sum_softmax(b, of, maxima, piece, axis);
    } else {
        if (dtype == COL_BF16 || dtype == COL_F16)
            x = col_build_cast(b, x, COL_F32); /* for the sums between */
        out = col_build_reduce(b, node->op, cut(b, x, piece), 1, &inner, true);
        out = col_build_reduce(b, node->op, out, 1, &axis, true);
    }
    out = col_build_cast(b, out, dtype);
    col_value_replace(b->graph, result, col_build_reshape(b, out, result->type.shape));
    col_graph_remove(node);
    return true;
}
