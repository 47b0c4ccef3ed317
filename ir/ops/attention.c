/* Softmax attention as one op, so that no back end has to store the t x s matrix.
 *
 *   score[b,h,i,j] = scale * sum_d q[b,i,h,d] k[b,j,h,d] + mask[b,h,i,j]     causal: -inf where j > i
 *   lse[b,h,i]     = log sum_j exp(score[b,h,i,j])
 *   out[b,i,h,d]   = sum_j keep[b,h,i,j] exp(score[b,h,i,j] - lse[b,h,i]) v[b,j,h,d]
 *
 * keep is 1 without dropout; with rate r it is 1/(1-r) where the uniform number of element ((b h + h) t + i)
 * s
 * + j of the stream is >= r (rounded to f32), and 0 elsewhere. A row whose scores are all -inf has lse -inf,
 * output 0 and gradient 0. Causal attention has t = s, so that which key a row sees is never in doubt.
 *
 * Backward, with p = exp(score - lse) recomputed (Dao et al., "FlashAttention", 2022, section B.4):
 *
 *   delta[b,h,i] = sum_d dout out
 *   dv[b,j,h,d]  = sum_i keep p dout[b,i,h,d]
 *   ds[b,h,i,j]  = p (keep sum_d dout[b,i,h,d] v[b,j,h,d] - delta)
 *   dq = scale * sum_j ds k,  dk = scale * sum_i ds q
 *
 * There is no gradient with respect to the mask and through lse. */
#include "ir/factors.h"
#include "ir/ops/family.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How many operands dropout takes, the last ones: the generator state, and the first element's number. */
static uint32_t dropout_operands(const col_node *node)
{
    if (!(col_node_float(node, COL_ATTR_RATE) > 0)) return 0;
    return col_node_attr(node, COL_ATTR_WHOLE) ? 2 : 1;
}

/* A block of the scores is of some batches and heads. */
static bool check_block(const col_node *node, col_diags *diags, col_shape scores)
{
    int count;
    const int64_t *whole = col_node_ints(node, COL_ATTR_WHOLE, &count);
    if (!dropout_operands(node)) return col_op_fault(node, diags, "'whole' has no meaning without 'rate'");
    if (!col_op_block(node, diags, node->operand_count - 1, scores)) return false;
    if (whole[2] == scores.dims[2] && whole[3] == scores.dims[3]) return true;
    return col_op_fault(node, diags, "'whole' may have other batches and heads, not other times");
}

/* The optional operands begin at `first`: mask, then those of dropout. */
static bool check_options(const col_node *node, col_diags *diags, uint32_t first, col_shape scores)
{
    uint32_t given = node->operand_count - first, drops = dropout_operands(node);
    if (!col_op_rate(node, diags) || !col_op_salt(node, diags)) return false;
    if (given < drops) {
        return col_op_fault(node, diags, "with 'rate' the last operand must be the generator state, i64[2]%s",
                            drops > 1 ? ", then with 'whole' the number of the first element" : "");
    }
    if (col_node_attr(node, COL_ATTR_WHOLE) && !check_block(node, diags, scores)) return false;
    if (drops && !col_op_want_generator(node, diags, node->operand_count - drops)) return false;
    if (given > drops + 1) {
        return col_op_fault(node, diags,
                            "operand %u has no meaning; a generator state goes with a 'rate' above 0",
                            node->operand_count);
    }
    if (given == drops) return true;
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

void col_grad_attention(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted,
                        col_value **dx)
{
    if (dy[1] || !dy[0]) return; /* not differentiable through lse */
    col_value *operands[8] = {col_node_operand(node, 0), col_node_operand(node, 1), col_node_operand(node, 2),
                              &node->results[0],         &node->results[1],         dy[0]};
    uint32_t count = 6;
    for (uint32_t i = 3; i < node->operand_count; i++) operands[count++] = col_node_operand(node, i);
    col_node *gradient = col_build(b, COL_OP_ATTENTION_GRAD, count, operands, node->attr_count, node->attrs);
    for (uint32_t i = 0; i < 3; i++) {
        if (wanted[i]) dx[i] = &gradient->results[i];
    }
}

/* --- splitting over a mesh ---------------------------------------------------------------------------- */

/* Batch and heads are independent. Time and width stay whole, as what is not mentioned does in operands. */
static void relate_heads(col_factors *f, col_slot x, int batch, int head)
{
    col_slot q = col_operand_slot(x.node, 0);
    col_factors_same(f, q, 0, x, batch);
    col_factors_same(f, q, 2, x, head);
    for (int d = 0; x.is_result && d < x.node->results[x.index].type.shape.rank; d++) {
        if (d != batch && d != head) col_factors_whole(f, x, d);
    }
}

/* A mask broadcasts to [b, h, t, s]. */
static void relate_mask(col_factors *f, const col_node *node, uint32_t options)
{
    if (node->operand_count == options + dropout_operands(node)) return;
    int rank = operand_type(node, options).shape.rank;
    col_slot q = col_operand_slot(node, 0), mask = col_operand_slot(node, options);
    if (rank == 4) col_factors_same(f, q, 0, mask, 0);
    if (rank >= 3) col_factors_same(f, q, 2, mask, rank - 3);
}

void col_relate_attention(col_factors *f, const col_node *node)
{
    for (uint32_t i = 0; i < 3; i++) relate_heads(f, col_operand_slot(node, i), 0, 2);
    relate_heads(f, col_result_slot(node, 0), 0, 2);
    relate_heads(f, col_result_slot(node, 1), 0, 1);
    relate_mask(f, node, 3);
}

void col_relate_attention_grad(col_factors *f, const col_node *node)
{
    for (uint32_t i = 0; i < 6; i++) relate_heads(f, col_operand_slot(node, i), 0, i == 4 ? 1 : 2);
    for (uint32_t i = 0; i < 3; i++) relate_heads(f, col_result_slot(node, i), 0, 2);
    relate_mask(f, node, 6);
}

void col_relate_attention_cached(col_factors *f, const col_node *node)
{
    for (uint32_t i = 0; i < 3; i++) relate_heads(f, col_operand_slot(node, i), 0, 2);
    relate_heads(f, col_result_slot(node, 0), 0, 2);
}

/* Dropout is that of the whole scores. */
void col_local_attention(col_local *l, const col_node *node, col_value *const *operands, col_value **out)
{
    if (!dropout_operands(node)) {
        col_local_plain(l, node, operands, out);
        return;
    }
    col_shape q = operand_type(node, 0).shape, k = operand_type(node, 1).shape;
    col_layout own = col_factors_operand_layout(l->f, l->strategy, node, 0), scores = col_layout_whole();
    scores.split[0] = own.split[0];
    scores.split[1] = own.split[2];
    col_local_block(l, node, operands, &scores,
                    col_shape_make(4, (int64_t[]){q.dims[0], q.dims[2], q.dims[1], k.dims[1]}), out);
}

/* --- reference evaluation ----------------------------------------------------------------------------- */

/* One attention, forward or backward, with its options resolved. Tensors are in the node's order. */
typedef struct attention {
    const col_node *node;
    int64_t b, t, s, h, d;
    const double *q, *k, *v, *mask; /* mask NULL: none */
    int64_t mask_strides[COL_MAX_RANK];
    col_tensor generator;                 /* data NULL: no dropout */
    int64_t first, strides[COL_MAX_RANK]; /* numbers of the scores' elements in the stream */
    double scale, rate;
    int64_t first_hidden; /* query i sees keys below first_hidden + i */
} attention;

static attention attention_of(const col_node *node, const col_tensor *operands, uint32_t options)
{
    col_shape q = operands[0].type.shape, k = operands[1].type.shape;
    attention a = {.node = node,
                   .b = q.dims[0],
                   .t = q.dims[1],
                   .s = k.dims[1],
                   .h = q.dims[2],
                   .d = q.dims[3],
                   .q = operands[0].data,
                   .k = operands[1].data,
                   .v = operands[2].data,
                   .scale = col_node_float(node, COL_ATTR_SCALE),
                   .rate = col_node_float(node, COL_ATTR_RATE)};
    a.first_hidden = col_node_int(node, COL_ATTR_CAUSAL) ? 1 : a.s;
    col_shape scores = col_shape_make(4, (int64_t[]){a.b, a.h, a.t, a.s});
    uint32_t drops = dropout_operands(node);
    if (drops) a.generator = operands[node->operand_count - drops];
    if (drops) a.first = col_eval_block(node, operands, scores, a.strides);
    if (node->operand_count > options + drops) {
        a.mask = operands[options].data;
        col_broadcast_strides(operands[options].type.shape, scores, a.mask_strides);
    }
    return a;
}

/* Offsets of the row of width d at (batch, time, head) of a tensor with `times` times. */
static int64_t row_at(const attention *a, int64_t times, int64_t b, int64_t time, int64_t h)
{
    return ((b * times + time) * a->h + h) * a->d;
}

static double dot(int64_t n, const double *x, const double *y)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* out += factor * x */
static void add_row(int64_t n, double *out, double factor, const double *x)
{
    for (int64_t i = 0; i < n; i++) out[i] += factor * x[i];
}

/* score[b,h,i,.] into `scores`; returns its log-sum-exp. */
static double score_row(const attention *a, int64_t b, int64_t h, int64_t i, double *scores)
{
    const double *q = a->q + row_at(a, a->t, b, i, h);
    double largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < a->s; j++) {
        scores[j] = -INFINITY;
        if (j >= a->first_hidden + i) continue;
        scores[j] = a->scale * dot(a->d, q, a->k + row_at(a, a->s, b, j, h));
        if (a->mask) {
            const int64_t *m = a->mask_strides;
            scores[j] += a->mask[b * m[0] + h * m[1] + i * m[2] + j * m[3]];
        }
        if (scores[j] > largest || isnan(scores[j])) largest = scores[j];
    }
    if (largest == -INFINITY) return largest;
    for (int64_t j = 0; j < a->s; j++) sum += exp(scores[j] - largest);
    return largest + log(sum);
}

/* exp(score - lse), which is 0 in a row without keys. */
static double probability(double score, double lse)
{
    return lse == -INFINITY ? 0 : exp(score - lse);
}

static double keep_factor(const attention *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    if (!a->generator.data) return 1;
    const int64_t *s = a->strides;
    int64_t index = a->first + b * s[0] + h * s[1] + i * s[2] + j * s[3];
    return col_eval_uniform(a->node, a->generator, index) >= (float)a->rate ? 1 / (1 - a->rate) : 0;
}

/* out and, unless NULL, lse. */
static void attend(const attention *a, double *out, double *lse)
{
    double *scores = col_eval_alloc(a->s);
    memset(out, 0, sizeof *out * (size_t)(a->b * a->t * a->h * a->d));
    for (int64_t b = 0; b < a->b; b++) {
        for (int64_t h = 0; h < a->h; h++) {
            for (int64_t i = 0; i < a->t; i++) {
                double sum = score_row(a, b, h, i, scores), *row = out + row_at(a, a->t, b, i, h);
                for (int64_t j = 0; j < a->s; j++) {
                    double p = probability(scores[j], sum) * keep_factor(a, b, h, i, j);
                    if (p != 0) add_row(a->d, row, p, a->v + row_at(a, a->s, b, j, h));
                }
                if (lse) lse[(b * a->h + h) * a->t + i] = sum;
            }
        }
    }
    free(scores);
}

void col_eval_attention(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    attention a = attention_of(node, operands, 3);
    attend(&a, results[0].data, results[1].data);
}

void col_eval_attention_cached(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    attention a = attention_of(node, operands, 4);
    a.first_hidden = (int64_t)operands[3].data[0] + 1;
    attend(&a, results[0].data, NULL);
}

void col_eval_attention_grad(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    attention a = attention_of(node, operands, 6);
    const double *out = operands[3].data, *lse = operands[4].data, *dout = operands[5].data;
    double *dq = results[0].data, *dk = results[1].data, *dv = results[2].data;
    double *scores = col_eval_alloc(a.s);
    for (uint32_t i = 0; i < 3; i++) col_fill(results[i], 0);
    for (int64_t b = 0; b < a.b; b++) {
        for (int64_t h = 0; h < a.h; h++) {
            for (int64_t i = 0; i < a.t; i++) {
                int64_t query = row_at(&a, a.t, b, i, h);
                double delta = dot(a.d, dout + query, out + query);
                score_row(&a, b, h, i, scores);
                for (int64_t j = 0; j < a.s; j++) {
                    int64_t key = row_at(&a, a.s, b, j, h);
                    double p = probability(scores[j], lse[(b * a.h + h) * a.t + i]);
                    if (p == 0) continue;
                    double keep = keep_factor(&a, b, h, i, j);
                    double ds = p * (keep * dot(a.d, dout + query, a.v + key) - delta);
                    add_row(a.d, dv + key, keep * p, dout + query);
                    add_row(a.d, dq + query, a.scale * ds, a.k + key);
                    add_row(a.d, dk + key, a.scale * ds, a.q + query);
                }
            }
        }
    }
    free(scores);
}

/* Of `products` matrix products of b h t s d multiply-adds each; half of them under the causal limit. */
static col_work products_of(const col_node *node, int products, bool causal)
{
    col_shape q = col_node_operand(node, 0)->type.shape, k = col_node_operand(node, 1)->type.shape;
    double flops = 2.0 * (double)col_shape_numel(q) * (double)k.dims[1];
    return (col_work){COL_WORK_ATTENTION, flops * products * (causal ? 0.5 : 1)};
}

col_work col_work_attention(const col_node *node)
{
    return products_of(node, 2, col_node_int(node, COL_ATTR_CAUSAL));
}

col_work col_work_attention_grad(const col_node *node)
{
    return products_of(node, 5, col_node_int(node, COL_ATTR_CAUSAL));
}

col_work col_work_attention_cached(const col_node *node)
{
    return products_of(node, 2, false);
}
