/* Softmax attention as one op, so that no back end has to store the t x s matrix.
 *
 *   score[b,h,i,j] = scale * sum_d q[b,i,h,d] k[b,j,h,d] + mask[b,h,i,j]     causal: -inf where j > i
 *   lse[b,h,i]     = log sum_j exp(score[b,h,i,j])
 *   out[b,i,h,d]   = sum_j keep[b,h,i,j] exp(score[b,h,i,j] - lse[b,h,i]) v[b,j,h,d]
 *
 * keep is 1 without dropout; with rate r it is 1/(1-r) where the uniform number of element ((b h + h) t + i)
 * s
 * + j of the stream is >= r, and 0 elsewhere. A row whose scores are all -inf has lse -inf, output 0 and
 * gradient 0. Causal attention has t = s, so that which key a row sees is never in doubt.
 *
 * Backward, with p = exp(score - lse) recomputed (Dao et al., "FlashAttention", 2022, section B.4):
 *
 *   delta[b,h,i] = sum_d dout out
 *   dv[b,j,h,d]  = sum_i keep p dout[b,i,h,d]
 *   ds[b,h,i,j]  = p (keep sum_d dout[b,i,h,d] v[b,j,h,d] - delta)
 *   dq = scale * sum_j ds k,  dk = scale * sum_i ds q
 *
 * There is no gradient with respect to the mask and through lse. */
#include "ir/ops/family.h"

#include "ir/base/philox.h"

#include <math.h>
#include <stdlib.h>

/* The optional operands begin at `first`: mask, then generator state. */
static bool check_options(const col_node *node, col_diags *diags, uint32_t first, col_shape scores)
{
    bool drops = col_node_float(node, COL_ATTR_RATE) > 0;
    uint32_t given = node->operand_count - first;
    if (!col_op_rate(node, diags) || !col_op_salt(node, diags)) return false;
    if (drops && !given)
        return col_op_fault(node, diags, "with 'rate' the last operand must be the generator state, i64[2]");
    if (drops && !col_op_want_generator(node, diags, node->operand_count - 1)) return false;
    if (given > (drops ? 2u : 1u)) {
        return col_op_fault(node, diags,
                            "operand %u has no meaning; a generator state goes with a 'rate' above 0",
                            node->operand_count);
    }
    if (given == (drops ? 1u : 0u)) return true;
    col_type mask = operand_type(node, first);
    col_shape joint;
    if (!col_op_want_same(node, diags, 0, first)) return false;
    if (!col_shape_broadcast(mask.shape, scores, &joint) || !col_shape_equal(joint, scores)) {
        return col_op_fault(node, diags, "the mask %s does not broadcast to the scores %s",
                            col_op_type_text(diags, mask),
                            col_op_type_text(diags, col_type_make(mask.dtype, scores)));
    }
    return true;
}

static bool check_qkv(const col_node *node, col_diags *diags)
{
    static const char *const names[] = {"the queries", "the keys", "the values"};
    for (uint32_t i = 0; i < 3; i++) {
        if (!col_op_want_float(node, diags, i, names[i]) || !col_op_want_rank(node, diags, i, names[i], 4) ||
            !col_op_want_same(node, diags, 0, i))
            return false;
    }
    col_type q = operand_type(node, 0), k = operand_type(node, 1), v = operand_type(node, 2);
    col_shape like = q.shape;
    like.dims[1] = k.shape.dims[1];
    if (!col_shape_equal(k.shape, like) || !col_shape_equal(k.shape, v.shape)) {
        return col_op_fault(node, diags,
                            "queries %s, keys %s and values %s must be [batch, time, heads, width], equal "
                            "but for the time of the queries",
                            col_op_type_text(diags, q), col_op_type_text(diags, k),
                            col_op_type_text(diags, v));
    }
    return true;
}

static bool check_attention(const col_node *node, col_diags *diags, uint32_t options)
{
    if (!check_qkv(node, diags)) return false;
    col_shape q = operand_type(node, 0).shape, k = operand_type(node, 1).shape;
    if (col_node_int(node, COL_ATTR_CAUSAL) && q.dims[1] != k.dims[1]) {
        return col_op_fault(node, diags,
                            "causal attention needs as many queries as keys, not %lld and %lld; for keys "
                            "kept from earlier use 'attention_cached'",
                            (long long)q.dims[1], (long long)k.dims[1]);
    }
    return check_options(node, diags, options,
                         col_shape_make(4, (int64_t[]){q.dims[0], q.dims[2], q.dims[1], k.dims[1]}));
}

static col_type lse_type(const col_node *node)
{
    col_type q = operand_type(node, 0);
    return col_type_make(wide_dtype(q.dtype),
                         col_shape_make(3, (int64_t[]){q.shape.dims[0], q.shape.dims[2], q.shape.dims[1]}));
}

bool col_infer_attention(col_node *node, col_diags *diags)
{
    if (!check_attention(node, diags, 3)) return false;
    col_type q = operand_type(node, 0), lse = lse_type(node);
    return col_op_result(node, 0, q.dtype, q.shape) && col_op_result(node, 1, lse.dtype, lse.shape);
}

bool col_infer_attention_grad(col_node *node, col_diags *diags)
{
    if (!check_attention(node, diags, 6)) return false;
    col_type q = operand_type(node, 0), wanted[3] = {q, lse_type(node), q};
    for (uint32_t i = 0; i < 3; i++) {
        col_type given = operand_type(node, 3 + i);
        if (col_type_equal(given, wanted[i])) continue;
        return col_op_fault(node, diags, "operand %u is %s; for these queries it should be %s", 4 + i,
                            col_op_type_text(diags, given), col_op_type_text(diags, wanted[i]));
    }
    for (uint32_t i = 0; i < 3; i++) col_op_result(node, i, q.dtype, operand_type(node, i).shape);
    return true;
}

bool col_infer_attention_cached(col_node *node, col_diags *diags)
{
    if (!check_qkv(node, diags) || !col_op_want_dtype(node, diags, 3, "the position", COL_I32) ||
        !col_op_want_rank(node, diags, 3, "the position", 0))
        return false;
    col_type q = operand_type(node, 0);
    return col_op_result(node, 0, q.dtype, q.shape);
}
