/* Attention: softmax(softcap(scale q k') + bias) v per head. The bias is the mask and, for causal attention with p
 * keys kept from before, -inf where key j > query i + p; rows without a key give zeros. What the fused op
 * (ir/ops/attention.c) covers becomes one; the rest is built of products and a softmax. Source: ONNX's reference of
 * the op, opset 23. */
#include <math.h>

#include "frontend/onnx/node.h"

enum { RAW = 0, CAPPED = 1, BIASED = 2, SOFTMAX = 3 }; /* qk_matmul_output_mode */

typedef struct attention {
    col_value *q, *k, *v, *mask; /* [b, t, h, d], [b, s, h, d], [b, s, h, e]; bool or f32, NULL: none */
    double scale, softcap;
    int64_t past;
    bool is_causal;
} attention;

/* [b, t, heads * d] or [b, heads, t, d] to [b, t, heads, d] */
static col_value *time_first(col_onnx_node *n, col_value *x, int64_t heads)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    if (!x) return NULL;
    const int64_t *d = x->type.shape.dims;
    if (x->type.shape.rank == 4) return col_onnx_transpose(n, x, perm);
    if (x->type.shape.rank == 3 && heads > 0 && d[2] % heads == 0)
        return col_onnx_reshape(n, x, col_shape_make(4, (int64_t[]){d[0], d[1], heads, d[2] / heads}));
    col_onnx_fault(n, "its operands must be [b, heads, t, d], or [b, t, heads * d] with the heads stated");
    return NULL;
}

/* Puts kept keys or values [b, heads, t, d] before new ones [b, t, heads, d]. */
static col_value *append(col_onnx_node *n, col_value *past, col_value *x)
{
    if (!past || !x) return past ? NULL : x;
    if (past->type.shape.rank != 4) {
        col_onnx_fault(n, "past keys and values must be [b, heads, t, d]");
        return NULL;
    }
    return col_onnx_concat(n, 2, (col_value *[]){time_first(n, col_onnx_single(n, past), 0), x}, 1);
}

/* Grouped queries: each head of keys and values stands for `times` heads. */
static col_value *repeat_heads(col_onnx_node *n, col_value *x, int64_t times)
{
    if (!x || times == 1) return x;
    col_shape shape = x->type.shape, parts = col_onnx_with_axis(shape, 3, 1);
    col_value *repeated =
        col_onnx_broadcast(n, col_onnx_reshape(n, x, parts), col_onnx_set_axis(parts, 3, times));
    return col_onnx_reshape(n, repeated, col_onnx_set_axis(shape, 2, shape.dims[2] * times));
}

/* What is added to the scores, f32; NULL: nothing. */
static col_value *bias_of(col_onnx_node *n, const attention *a)
{
    col_value *zero = col_onnx_number(n, 0, COL_F32), *never = col_onnx_number(n, -INFINITY, COL_F32);
    col_value *bias = a->mask;
    if (bias && bias->type.dtype == COL_BOOL) bias = col_onnx_where(n, bias, zero, never);
    if (!a->is_causal) return bias;
    int64_t sizes[] = {a->q->type.shape.dims[1], a->k->type.shape.dims[1]};
    col_type query = col_type_make(COL_I64, col_shape_make(2, (int64_t[]){sizes[0], 1}));
    col_type key = col_type_make(COL_I64, col_shape_make(2, (int64_t[]){1, sizes[1]}));
    col_value *last = col_onnx_binary_number(n, COL_OP_ADD, col_onnx_iota(n, query, 0), (double)a->past);
    col_value *causal =
        col_onnx_where(n, col_onnx_binary(n, COL_OP_LE, col_onnx_iota(n, key, 1), last), zero, never);
    return bias ? col_onnx_binary(n, COL_OP_ADD, bias, causal) : causal;
}

/* softmax along the last axis; zeros in rows of which the bias leaves nothing. */
static col_value *probabilities(col_onnx_node *n, col_value *scores, col_value *bias)
{
    col_attr axis = col_attr_int(COL_ATTR_AXIS, -1);
    int64_t last = -1;
    if (!scores || !bias) return col_onnx_build_one(n, COL_OP_SOFTMAX, 1, &scores, 1, &axis);
    last += bias->type.shape.rank;
    col_value *zero = col_onnx_number(n, 0, COL_F32);
    col_value *most = last < 0 ? bias : col_onnx_reduce(n, COL_OP_MAX, bias, 1, &last, true);
    col_value *is_empty = col_onnx_binary_number(n, COL_OP_EQ, most, -INFINITY);
    col_value *safe =
        col_onnx_where(n, is_empty, zero, scores); /* an empty row would be NaN, its gradient too */
    return col_onnx_where(n, is_empty, zero, col_onnx_build_one(n, COL_OP_SOFTMAX, 1, &safe, 1, &axis));
}

/* [b, t, h, e]; the scores that the mode wants, [b, h, t, s], if the model asks for them. */
static col_value *compose(col_onnx_node *n, const attention *a, int64_t mode, col_value **out_scores)
{
    col_value *raw =
        col_onnx_binary_number(n, COL_OP_MUL, col_onnx_einsum(n, "bthd,bshd->bhts", a->q, a->k), a->scale);
    col_value *capped = raw, *bias = bias_of(n, a);
    if (a->softcap > 0) {
        capped = col_onnx_unary(n, COL_OP_TANH, col_onnx_binary_number(n, COL_OP_MUL, raw, 1 / a->softcap));
        capped = col_onnx_binary_number(n, COL_OP_MUL, capped, a->softcap);
    }
    col_value *biased = bias ? col_onnx_binary(n, COL_OP_ADD, capped, bias) : capped;
    if (raw && biased && !col_shape_equal(raw->type.shape, biased->type.shape))
        col_onnx_fault(n, "the mask does not broadcast to the scores");
    col_value *chosen = probabilities(n, biased, bias);
    *out_scores = mode == RAW ? raw : mode == CAPPED ? capped : mode == BIASED ? biased : chosen;
    return col_onnx_einsum(n, "bhts,bshe->bthe", chosen, a->v);
}

/* The fused op gives zeros for empty rows, too. Its own causal mask is square, and it keeps no scores. */
static bool is_fused(const col_onnx_node *n, const attention *a)
{
    return !col_onnx_wants(n, 3) && a->softcap == 0 && a->k->type.shape.dims[3] == a->v->type.shape.dims[3];
}

static col_value *fuse(col_onnx_node *n, const attention *a)
{
    bool is_square = a->is_causal && !a->past && a->q->type.shape.dims[1] == a->k->type.shape.dims[1];
    attention rest = *a;
    rest.is_causal = a->is_causal && !is_square;
    col_value *bias = bias_of(n, &rest);
    col_attr attrs[] = {col_attr_int(COL_ATTR_CAUSAL, is_square), col_attr_float(COL_ATTR_SCALE, a->scale)};
    return col_onnx_build_one(n, COL_OP_ATTENTION, bias ? 4 : 3, (col_value *[]){a->q, a->k, a->v, bias}, 2,
                              attrs);
}

/* The mask's last axis may be shorter than the keys: those behind it are masked. */
static col_value *read_mask(col_onnx_node *n, col_value *mask, int64_t keys)
{
    if (!mask || !mask->type.shape.rank) return mask;
    bool is_choice = mask->type.dtype == COL_BOOL;
    int last = mask->type.shape.rank - 1;
    int64_t missing = keys - mask->type.shape.dims[last];
    if (!is_choice) mask = col_onnx_single(n, mask);
    if (!mask || missing <= 0 || mask->type.shape.dims[last] == 1) return mask;
    col_type rest = col_type_make(mask->type.dtype, col_onnx_set_axis(mask->type.shape, last, missing));
    col_value *never = col_onnx_full(n, is_choice ? 0 : -INFINITY, rest);
    return col_onnx_concat(n, 2, (col_value *[]){mask, never}, last);
}

void col_onnx_op_attention(col_onnx_node *n, int detail)
{
    (void)detail;
    static const int64_t back[] = {0, 2, 1, 3};
    col_value *q = col_onnx_input(n, 0), *k = col_onnx_input(n, 1), *v = col_onnx_input(n, 2);
    col_value *mask = col_onnx_maybe(n, 3), *past_k = col_onnx_maybe(n, 4), *past_v = col_onnx_maybe(n, 5);
    int64_t heads = col_onnx_int(n, "q_num_heads", 0), kv_heads = col_onnx_int(n, "kv_num_heads", 0);
    int64_t mode = col_onnx_int(n, "qk_matmul_output_mode", RAW);
    col_onnx_ignore(n, "softmax_precision"); /* it is 32 bits */
    if (!past_k != !past_v) col_onnx_fault(n, "past keys and values go together");
    if (mode < RAW || mode > SOFTMAX)
        col_onnx_fault(n, "qk_matmul_output_mode %lld is unknown", (long long)mode);
    if (!q || !k || !v || n->failed) return;
    bool is_flat = q->type.shape.rank == 3;
    col_dtype dtype = q->type.dtype;
    attention a = {.softcap = col_onnx_float(n, "softcap", 0),
                   .is_causal = col_onnx_int(n, "is_causal", 0) != 0,
                   .past = past_k && past_k->type.shape.rank == 4 ? past_k->type.shape.dims[2] : 0};
    a.q = time_first(n, col_onnx_single(n, q), heads);
    a.k = append(n, past_k, time_first(n, col_onnx_single(n, k), kv_heads));
    a.v = append(n, past_v, time_first(n, col_onnx_single(n, v), kv_heads));
    if (!a.q || !a.k || !a.v) return;
    const int64_t *ks = a.k->type.shape.dims, *vs = a.v->type.shape.dims, *qs = a.q->type.shape.dims;
    if (qs[0] != ks[0] || ks[0] != vs[0] || ks[1] != vs[1] || ks[2] != vs[2] || qs[3] != ks[3] || !ks[2] ||
        qs[2] % ks[2]) {
        col_onnx_fault(n, "its queries, keys and values do not fit each other");
        return;
    }
    if (col_onnx_wants(n, 1)) n->outputs[1] = col_onnx_cast(n, col_onnx_transpose(n, a.k, back), dtype);
    if (col_onnx_wants(n, 2)) n->outputs[2] = col_onnx_cast(n, col_onnx_transpose(n, a.v, back), dtype);
    a.scale = col_onnx_float(n, "scale", 1 / sqrt((double)COL_MAX(qs[3], 1)));
    a.mask = read_mask(n, mask, ks[1]);
    a.k = repeat_heads(n, a.k, qs[2] / ks[2]);
    a.v = repeat_heads(n, a.v, qs[2] / ks[2]);
    if (!a.k || !a.v || (mask && !a.mask)) return;
    col_value *scores = NULL, *y = is_fused(n, &a) ? fuse(n, &a) : compose(n, &a, mode, &scores);
    if (col_onnx_wants(n, 3)) n->outputs[3] = col_onnx_cast(n, scores, dtype);
    y = col_onnx_cast(n, y, dtype);
    if (!y) return;
    const int64_t *d = y->type.shape.dims;
    n->outputs[0] = is_flat ? col_onnx_reshape(n, y, col_shape_make(3, (int64_t[]){d[0], d[1], d[2] * d[3]}))
                            : col_onnx_transpose(n, y, back);
}

/* Pairs (a, b) of a head's elements, its halves or neighbours, turned by an angle for each position: (a cos - b sin,
 * b cos + a sin). What is behind rotary_embedding_dim stays. */
void col_onnx_op_rotary_embedding(col_onnx_node *n, int detail)
{
    (void)detail;
    static const int64_t back[] = {0, 2, 1, 3};
    col_value *given = col_onnx_input(n, 0), *angles[2] = {col_onnx_input(n, 1), col_onnx_input(n, 2)};
    col_value *positions = col_onnx_maybe(n, 3);
    int64_t stated = col_onnx_int(n, "rotary_embedding_dim", 0), heads = col_onnx_int(n, "num_heads", 0);
    bool is_interleaved = col_onnx_int(n, "interleaved", 0) != 0;
    if (!given || !angles[0] || !angles[1]) return;
    col_value *x = time_first(n, given, heads); /* [b, t, h, d] */
    if (!x) return;
    const int64_t *d = x->type.shape.dims, width = stated > 0 ? stated : d[3], half = width / 2;
    for (int i = 0; i < 2; i++) { /* [b, t, 1, half] */
        if (positions) angles[i] = col_onnx_take(n, angles[i], 0, positions);
        if (!angles[i]) return;
        const int64_t *a = angles[i]->type.shape.dims;
        bool fits =
            angles[i]->type.shape.rank == 3 && (a[0] == d[0] || a[0] == 1) && a[1] == d[1] && a[2] == half;
        if (!fits || width > d[3] || width % 2) {
            col_onnx_fault(n, "its tables of angles do not fit the operand");
            return;
        }
        angles[i] = col_onnx_reshape(n, angles[i], col_onnx_with_axis(angles[i]->type.shape, 2, 1));
    }
    col_value *turning = col_onnx_cut(n, x, 3, 0, width),
              *rest = width < d[3] ? col_onnx_cut(n, x, 3, width, d[3]) : NULL;
    /* Neighbours: [b, t, h, half, 2]; halves: [b, t, h, 2, half]. */
    int axis = is_interleaved ? 4 : 3;
    col_shape pairs = {.rank = 5,
                       .dims = {d[0], d[1], d[2], is_interleaved ? half : 2, is_interleaved ? 2 : half}};
    col_shape part = {.rank = 4, .dims = {d[0], d[1], d[2], half}};
    col_value *split = col_onnx_reshape(n, turning, pairs), *ab[2];
    for (int i = 0; i < 2; i++) ab[i] = col_onnx_reshape(n, col_onnx_cut(n, split, axis, i, i + 1), part);
    col_value *turned[2] = {col_onnx_binary(n, COL_OP_SUB, col_onnx_binary(n, COL_OP_MUL, ab[0], angles[0]),
                                            col_onnx_binary(n, COL_OP_MUL, ab[1], angles[1])),
                            col_onnx_binary(n, COL_OP_ADD, col_onnx_binary(n, COL_OP_MUL, ab[1], angles[0]),
                                            col_onnx_binary(n, COL_OP_MUL, ab[0], angles[1]))};
    for (int i = 0; i < 2; i++) turned[i] = col_onnx_reshape(n, turned[i], col_onnx_set_axis(pairs, axis, 1));
    col_shape whole = {.rank = 4, .dims = {d[0], d[1], d[2], width}};
    col_value *y = col_onnx_reshape(n, col_onnx_concat(n, 2, turned, axis), whole);
    if (rest) y = col_onnx_concat(n, 2, (col_value *[]){y, rest}, 3);
    n->outputs[0] = given->type.shape.rank == 3 ? col_onnx_reshape(n, y, given->type.shape)
                                                : col_onnx_transpose(n, y, back);
}
