/* Modules of products, norms, embeddings and attention. */
#include "frontend/module.h"

#include <math.h>
#include <stdio.h>

static col_node *einsum(const col_instance *m, const char *equation, col_value *x, col_value *y)
{
    col_attr attr = col_attr_text(COL_ATTR_EQUATION, equation);
    return col_elab_node(m->e, m->loc, COL_OP_EINSUM, 2, (col_value *[]){x, y}, 1, &attr);
}

/* Subscripts of leading axes, then one each: "btc". */
static const char *leading = "btuvwxyz";

/* y = x W (+ b) over the last axis; W is [in, out], or [out, in] when transposed. */
static bool build_affine(const col_instance *m, bool transposed, const col_init inits[2], col_datum *out)
{
    col_value *x = m->tensors[0];
    if (!col_instance_want_float(m, x)) return false;
    int rank = x->type.shape.rank;
    int64_t in = x->type.shape.dims[rank - 1], n = m->arguments[1].int_value;
    const int64_t dims[2] = {transposed ? n : in, transposed ? in : n};
    col_value *weight = col_instance_param(m, "weight", x->type.dtype, 2, dims, inits[0]);
    if (!weight) return false;
    char equation[40];
    snprintf(equation, sizeof equation, "%.*sc,%s->%.*sn", rank - 1, leading, transposed ? "nc" : "cn",
             rank - 1, leading);
    col_node *node = einsum(m, equation, x, weight);
    if (!node || !m->arguments[2].int_value) return col_instance_give(m, node, out);
    col_value *bias = col_instance_param(m, "bias", x->type.dtype, 1, &n, inits[1]);
    if (!bias) return false;
    return col_instance_give(
        m, col_elab_node(m->e, m->loc, COL_OP_ADD, 2, (col_value *[]){&node->results[0], bias}, 0, NULL),
        out);
}

bool col_module_build_linear(const col_instance *m, col_datum *out)
{
    return build_affine(m, false, (col_init[]){m->arguments[3].init, m->arguments[4].init}, out);
}

/* torch.nn.Linear's initialisation: weight and bias uniform in +-1/sqrt(in). */
bool col_module_build_dense(const col_instance *m, col_datum *out)
{
    const col_shape *shape = &m->tensors[0]->type.shape;
    int64_t in = shape->rank ? shape->dims[shape->rank - 1] : 1;
    double bound = 1 / sqrt((double)COL_MAX(in, 1));
    col_init inits[2];
    for (int i = 0; i < 2; i++) {
        bool given = m->arguments[3 + i].kind != COL_DATUM_NONE;
        inits[i] = given ? m->arguments[3 + i].init : (col_init){COL_INIT_UNIFORM, -bound, bound};
    }
    return build_affine(m, true, inits, out);
}

bool col_module_build_layer_norm(const col_instance *m, col_datum *out)
{
    col_value *x = m->tensors[0];
    if (!col_instance_want_float(m, x)) return false;
    const int64_t *width = &x->type.shape.dims[x->type.shape.rank - 1];
    col_value *weight = col_instance_param(m, "weight", x->type.dtype, 1, width,
                                           (col_init){.kind = COL_INIT_CONSTANT, .a = 1});
    col_value *bias =
        col_instance_param(m, "bias", x->type.dtype, 1, width, (col_init){.kind = COL_INIT_ZEROS});
    if (!weight || !bias) return false;
    col_attr eps = col_attr_float(COL_ATTR_EPS, col_datum_number(&m->arguments[1]));
    return col_instance_give(
        m, col_elab_node(m->e, m->loc, COL_OP_LAYER_NORM, 3, (col_value *[]){x, weight, bias}, 1, &eps), out);
}

bool col_module_build_embedding(const col_instance *m, col_datum *out)
{
    const int64_t dims[2] = {m->arguments[1].int_value, m->arguments[2].int_value};
    col_value *table = col_instance_param(m, "weight", COL_F32, 2, dims, m->arguments[3].init);
    if (!table) return false;
    return col_instance_give(
        m, col_elab_node(m->e, m->loc, COL_OP_EMBEDDING, 2, (col_value *[]){table, m->tensors[0]}, 0, NULL),
        out);
}

/* False and reported when the rate is not a probability below 1. */
static bool check_rate(const col_instance *m, double rate)
{
    if (rate >= 0 && rate < 1) return true;
    col_elab_fault(m->e, m->loc, "the dropout rate must be at least 0 and below 1; this is %g", rate);
    return false;
}

bool col_module_build_dropout(const col_instance *m, col_datum *out)
{
    double rate = col_datum_number(&m->arguments[1]);
    if (!check_rate(m, rate)) return false;
    if (rate == 0) {
        *out = col_datum_of_tensor(m->e, m->tensors[0]);
        return true;
    }
    col_value *state = col_elab_generator(m->e, m->loc);
    if (!state) return false;
    col_attr attrs[] = {
        col_attr_float(COL_ATTR_RATE, rate),
        col_attr_int(COL_ATTR_SALT, col_elab_salt(m->e)),
    };
    return col_instance_give(
        m, col_elab_node(m->e, m->loc, COL_OP_DROPOUT, 2, (col_value *[]){m->tensors[0], state}, 2, attrs),
        out);
}

/* [b, t, c] to [b, t, heads, c / heads] */
static col_value *split_heads(const col_instance *m, col_value *x, int64_t heads, const char *what)
{
    const col_shape *shape = &x->type.shape;
    if (shape->rank != 3 || heads < 1 || shape->dims[2] % heads) {
        col_str text = {0};
        col_type_print(x->type, &text);
        col_elab_fault(m->e, m->loc,
                       "%s must be [batch, time, width] with a width that %lld heads share; this is %s", what,
                       (long long)heads, col_str_text(&text));
        col_str_fini(&text);
        return NULL;
    }
    const int64_t dims[4] = {shape->dims[0], shape->dims[1], heads, shape->dims[2] / heads};
    col_node *node = col_instance_unary(m, COL_OP_RESHAPE, x, col_attr_ints(COL_ATTR_SHAPE, 4, dims));
    return node ? &node->results[0] : NULL;
}

bool col_module_build_attention(const col_instance *m, col_datum *out)
{
    enum { Q, K, V, HEADS, CAUSAL, RATE, SCALE, MASK };
    const col_datum *a = m->arguments;
    double rate = col_datum_number(&a[RATE]);
    if (!check_rate(m, rate)) return false;
    col_value *operands[5];
    uint32_t count = 0, attr_count = 0;
    static const char *const names[] = {"the query", "the key", "the value"};
    for (int i = Q; i <= V; i++) {
        operands[count] = split_heads(m, m->tensors[i], a[HEADS].int_value, names[i]);
        if (!operands[count++]) return false;
    }
    if (m->tensors[MASK]) operands[count++] = m->tensors[MASK];
    col_attr attrs[4];
    if (a[CAUSAL].int_value) attrs[attr_count++] = col_attr_int(COL_ATTR_CAUSAL, 1);
    double width = (double)operands[0]->type.shape.dims[3];
    double scale = a[SCALE].kind == COL_DATUM_NONE ? 1 / sqrt(width) : col_datum_number(&a[SCALE]);
    attrs[attr_count++] = col_attr_float(COL_ATTR_SCALE, scale);
    if (rate > 0) {
        operands[count] = col_elab_generator(m->e, m->loc);
        if (!operands[count++]) return false;
        attrs[attr_count++] = col_attr_float(COL_ATTR_RATE, rate);
        attrs[attr_count++] = col_attr_int(COL_ATTR_SALT, col_elab_salt(m->e));
    }
    col_node *node = col_elab_node(m->e, m->loc, COL_OP_ATTENTION, count, operands, attr_count, attrs);
    if (!node) return false;
    col_attr shape = col_attr_ints(COL_ATTR_SHAPE, 3, m->tensors[Q]->type.shape.dims);
    return col_instance_give(m, col_instance_unary(m, COL_OP_RESHAPE, &node->results[0], shape), out);
}

/* The last axis of x with the last but one of y. A matrix y serves every leading index of x; otherwise the
 * leading axes are the same. */
bool col_module_build_matmul(const col_instance *m, col_datum *out)
{
    col_value *x = m->tensors[0], *y = m->tensors[1];
    const col_shape *xs = &x->type.shape, *ys = &y->type.shape;
    bool fits = xs->rank >= 1 && (ys->rank == 2 || (ys->rank > 2 && ys->rank == xs->rank));
    fits = fits && xs->dims[xs->rank - 1] == ys->dims[ys->rank - 2];
    for (int i = 0; fits && ys->rank > 2 && i < ys->rank - 2; i++) fits = xs->dims[i] == ys->dims[i];
    if (!fits) {
        col_str text = {0};
        col_type_print(x->type, &text);
        col_str_append(&text, " and ");
        col_type_print(y->type, &text);
        col_elab_fault(m->e, m->loc,
                       "matmul: %s do not fit: [..., m, k] with [k, n] or [..., k, n] is wanted",
                       col_str_text(&text));
        col_str_fini(&text);
        return false;
    }
    char equation[64];
    int batch = ys->rank - 2;
    snprintf(equation, sizeof equation, "%.*sc,%.*scn->%.*sn", xs->rank - 1, leading, batch, leading,
             xs->rank - 1, leading);
    return col_instance_give(m, einsum(m, equation, x, y), out);
}

bool col_module_build_transpose(const col_instance *m, col_datum *out)
{
    int rank = m->tensors[0]->type.shape.rank;
    if (rank < 2) {
        col_elab_fault(m->e, m->loc, "transpose swaps the last two axes; this tensor has %d", rank);
        return false;
    }
    int64_t perm[COL_MAX_RANK];
    for (int i = 0; i < rank; i++) perm[i] = i;
    perm[rank - 2] = rank - 1;
    perm[rank - 1] = rank - 2;
    return col_instance_give(
        m, col_instance_unary(m, COL_OP_TRANSPOSE, m->tensors[0], col_attr_ints(COL_ATTR_PERM, rank, perm)),
        out);
}

bool col_module_build_positions(const col_instance *m, col_datum *out)
{
    col_attr shape = col_attr_ints(COL_ATTR_SHAPE, 1, &m->arguments[0].int_value);
    return col_instance_give(m, col_elab_node(m->e, m->loc, COL_OP_POSITION_IDS, 0, NULL, 1, &shape), out);
}
