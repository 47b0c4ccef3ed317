#include "ir/op.h"
void col_grad_abs(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_add(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_attention(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_broadcast(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_cast(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_concat(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_copy(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_cos(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_cross_entropy(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_div(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_dropout(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_einsum(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_embedding(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_erf(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_exp(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_gelu(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_gelu_tanh(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_layer_norm(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_log(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_log_softmax(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_max(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_maximum(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_mean(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_min(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_minimum(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_mul(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_neg(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_pad(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_pow(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_reciprocal(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_relu(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_reshape(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_rsqrt(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_sigmoid(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_silu(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_sin(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_slice(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_softmax(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_split(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_sqrt(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_sub(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_sum(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_tanh(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_transpose(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_where(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_grad_zero(col_builder *b, col_node *n, col_value *const *r, const bool *w, col_value **o)
{
    (void)b;
    (void)n;
    (void)r;
    (void)w;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_cross_entropy(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_dropout(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_gelu(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_gelu_tanh(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_layer_norm(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_log_softmax(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_mean(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_position_ids(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_relu(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_sigmoid(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_silu(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_lower_softmax(col_builder *b, col_node *n, col_value **o)
{
    (void)b;
    (void)n;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_abs(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_add(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_and(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_attention(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_attention_cached(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_attention_grad(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_broadcast(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_cast(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_concat(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_constant(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_copy(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_cos(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_cross_entropy(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_div(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_dropout(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_einsum(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_embedding(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_eq(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_erf(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_exp(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_floor(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_ge(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_gelu(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_gelu_tanh(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_gt(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_iota(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_layer_norm(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_le(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_log(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_log_softmax(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_lt(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_max(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_maximum(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_mean(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_min(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_minimum(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_mul(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_ne(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_neg(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_not(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_or(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_pad(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_position_ids(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_pow(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_random_uniform(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_reciprocal(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_relu(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_reshape(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_rsqrt(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_scatter_add(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_sigmoid(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_sign(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_silu(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_sin(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_slice(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_softmax(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_split(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_sqrt(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_sub(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_sum(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_tanh(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_transpose(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_update_slice(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
void col_eval_where(const col_node *n, const col_tensor *i, col_tensor *o)
{
    (void)n;
    (void)i;
    (void)o;
    COL_PANIC("pending");
}
