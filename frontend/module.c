/* Modules: calls that declare parameters of their own under the present scope, or that complete an op. One
 * row of the table is one module; the binding of arguments, the signature in messages and the entry that
 * docs/ir.md must have all come from the row. To add a module: a build function and a row. */
#include "frontend/elaborate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_ARGUMENTS = 10 };

/* INTS: a list, or one number that stands for all of it. */
typedef enum kind { TENSOR, INT, NUMBER, INIT, INTS } kind;

typedef struct formal {
    const char *name; /* NULL ends the list */
    kind kind;
    enum { REQUIRED, OPTIONAL, DEFAULTED } presence;
    col_datum fallback; /* DEFAULTED; an OPTIONAL one that is not given is COL_DATUM_NONE */
} formal;

/* A call being run: arguments in the order of the row. */
typedef struct instance {
    col_elab *e;
    col_loc loc;
    const col_datum *arguments;
    col_value *tensors[MOST_ARGUMENTS]; /* of the TENSOR arguments; NULL where not given */
} instance;

struct col_module {
    const char *name;
    bool (*build)(const instance *m, col_datum *out);
    formal formals[MOST_ARGUMENTS + 1];
};

#define INT_VALUE(v)                                                                                         \
    {                                                                                                        \
        .kind = COL_DATUM_INT, .int_value = (v)                                                              \
    }
#define FLOAT_VALUE(v)                                                                                       \
    {                                                                                                        \
        .kind = COL_DATUM_FLOAT, .float_value = (v)                                                          \
    }
#define INIT_VALUE(k, x, y)                                                                                  \
    {                                                                                                        \
        .kind = COL_DATUM_INIT, .init = {.kind = COL_INIT_##k, .a = (x), .b = (y) }                          \
    }

/* --- parts of modules --- */

static col_value *variable(const instance *m, col_var_kind kind, const char *name, col_dtype dtype, int rank,
                           const int64_t *dims, col_init init)
{
    const char *full = col_elab_join(m->e, m->loc, name);
    if (!full) return NULL;
    for (int i = 0; i < rank; i++) {
        if (dims[i] >= 1) continue;
        col_elab_fault(m->e, m->loc, "variable '%s' would have a dimension of %lld", full,
                       (long long)dims[i]);
        return NULL;
    }
    return col_elab_declare(m->e, m->loc, kind, full, col_type_make(dtype, col_shape_make(rank, dims)), init,
                            false);
}

static col_value *parameter(const instance *m, const char *name, col_dtype dtype, int rank,
                            const int64_t *dims, col_init init)
{
    return variable(m, COL_VAR_PARAM, name, dtype, rank, dims, init);
}

static bool give(const instance *m, col_node *node, col_datum *out)
{
    if (node) *out = col_datum_of_tensor(m->e, &node->results[0]);
    return node != NULL;
}

static col_node *unary(const instance *m, col_op op, col_value *x, col_attr attr)
{
    return col_elab_node(m->e, m->loc, op, 1, &x, 1, &attr);
}

static col_node *einsum(const instance *m, const char *equation, col_value *x, col_value *y)
{
    col_attr attr = col_attr_text(COL_ATTR_EQUATION, equation);
    return col_elab_node(m->e, m->loc, COL_OP_EINSUM, 2, (col_value *[]){x, y}, 1, &attr);
}

/* Subscripts of leading axes, then one each: "btc". */
static const char *leading = "btuvwxyz";

/* x must be floating-point with an axis to work along. */
static bool want_float(const instance *m, const col_value *x)
{
    if (col_dtype_is_float(x->type.dtype) && x->type.shape.rank >= 1) return true;
    col_str text = {0};
    col_type_print(x->type, &text);
    col_elab_fault(m->e, m->loc, "a floating-point tensor of rank 1 or more is wanted; this is %s",
                   col_str_text(&text));
    col_str_fini(&text);
    return false;
}

/* y = x W (+ b) over the last axis; W is [in, out], or [out, in] when transposed. */
static bool build_affine(const instance *m, bool transposed, const col_init inits[2], col_datum *out)
{
    col_value *x = m->tensors[0];
    if (!want_float(m, x)) return false;
    int rank = x->type.shape.rank;
    int64_t in = x->type.shape.dims[rank - 1], n = m->arguments[1].int_value;
    const int64_t dims[2] = {transposed ? n : in, transposed ? in : n};
    col_value *weight = parameter(m, "weight", x->type.dtype, 2, dims, inits[0]);
    if (!weight) return false;
    char equation[40];
    snprintf(equation, sizeof equation, "%.*sc,%s->%.*sn", rank - 1, leading, transposed ? "nc" : "cn",
             rank - 1, leading);
    col_node *node = einsum(m, equation, x, weight);
    if (!node || !m->arguments[2].int_value) return give(m, node, out);
    col_value *bias = parameter(m, "bias", x->type.dtype, 1, &n, inits[1]);
    if (!bias) return false;
    return give(m,
                col_elab_node(m->e, m->loc, COL_OP_ADD, 2, (col_value *[]){&node->results[0], bias}, 0, NULL),
                out);
}

/* --- modules --- */

static bool build_linear(const instance *m, col_datum *out)
{
    return build_affine(m, false, (col_init[]){m->arguments[3].init, m->arguments[4].init}, out);
}

/* torch.nn.Linear's initialisation: weight and bias uniform in +-1/sqrt(in). */
static bool build_dense(const instance *m, col_datum *out)
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

static bool build_layer_norm(const instance *m, col_datum *out)
{
    col_value *x = m->tensors[0];
    if (!want_float(m, x)) return false;
    const int64_t *width = &x->type.shape.dims[x->type.shape.rank - 1];
    col_value *weight =
        parameter(m, "weight", x->type.dtype, 1, width, (col_init){.kind = COL_INIT_CONSTANT, .a = 1});
    col_value *bias = parameter(m, "bias", x->type.dtype, 1, width, (col_init){.kind = COL_INIT_ZEROS});
    if (!weight || !bias) return false;
    col_attr eps = col_attr_float(COL_ATTR_EPS, col_datum_number(&m->arguments[1]));
    return give(
        m, col_elab_node(m->e, m->loc, COL_OP_LAYER_NORM, 3, (col_value *[]){x, weight, bias}, 1, &eps), out);
}

static bool build_embedding(const instance *m, col_datum *out)
{
    const int64_t dims[2] = {m->arguments[1].int_value, m->arguments[2].int_value};
    col_value *table = parameter(m, "weight", COL_F32, 2, dims, m->arguments[3].init);
    if (!table) return false;
    return give(
        m, col_elab_node(m->e, m->loc, COL_OP_EMBEDDING, 2, (col_value *[]){table, m->tensors[0]}, 0, NULL),
        out);
}

/* False and reported when the rate is not a probability below 1. */
static bool check_rate(const instance *m, double rate)
{
    if (rate >= 0 && rate < 1) return true;
    col_elab_fault(m->e, m->loc, "the dropout rate must be at least 0 and below 1; this is %g", rate);
    return false;
}

static bool build_dropout(const instance *m, col_datum *out)
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
    return give(
        m, col_elab_node(m->e, m->loc, COL_OP_DROPOUT, 2, (col_value *[]){m->tensors[0], state}, 2, attrs),
        out);
}

/* [b, t, c] to [b, t, heads, c / heads] */
static col_value *split_heads(const instance *m, col_value *x, int64_t heads, const char *what)
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
    col_node *node = unary(m, COL_OP_RESHAPE, x, col_attr_ints(COL_ATTR_SHAPE, 4, dims));
    return node ? &node->results[0] : NULL;
}

static bool build_attention(const instance *m, col_datum *out)
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
    return give(m, unary(m, COL_OP_RESHAPE, &node->results[0], shape), out);
}

/* The last axis of x with the last but one of y. A matrix y serves every leading index of x; otherwise the
 * leading axes are the same. */
static bool build_matmul(const instance *m, col_datum *out)
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
    return give(m, einsum(m, equation, x, y), out);
}

static bool build_transpose(const instance *m, col_datum *out)
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
    return give(m, unary(m, COL_OP_TRANSPOSE, m->tensors[0], col_attr_ints(COL_ATTR_PERM, rank, perm)), out);
}

static bool build_positions(const instance *m, col_datum *out)
{
    col_attr shape = col_attr_ints(COL_ATTR_SHAPE, 1, &m->arguments[0].int_value);
    return give(m, col_elab_node(m->e, m->loc, COL_OP_POSITION_IDS, 0, NULL, 1, &shape), out);
}

/* --- windows --- */

/* The argument as an attribute with a number per spatial axis, or one for all. */
static col_attr window_attr(const instance *m, col_attr_key key, int argument)
{
    const col_datum *datum = &m->arguments[argument];
    if (datum->kind == COL_DATUM_LIST) return col_attr_ints(key, (int)datum->count, datum->ints);
    return col_attr_ints(key, 1, &datum->int_value);
}

/* The same, where it is not the op's default. */
static void window_attr_unless(const instance *m, col_attr_key key, int argument, int64_t fallback,
                               col_attr *attrs, uint32_t *count)
{
    const col_datum *datum = &m->arguments[argument];
    if (datum->kind != COL_DATUM_INT || datum->int_value != fallback)
        attrs[(*count)++] = window_attr(m, key, argument);
}

/* x must be [batch, channels, spatial...]; `*out_rank` is the number of spatial axes. */
static bool want_spatial(const instance *m, int *out_rank)
{
    const col_value *x = m->tensors[0];
    *out_rank = x->type.shape.rank - 2;
    if (*out_rank >= 1 && col_dtype_is_float(x->type.dtype)) return true;
    col_str text = {0};
    col_type_print(x->type, &text);
    col_elab_fault(m->e, m->loc,
                   "a floating-point tensor [batch, channels, spatial...] is wanted; this is %s",
                   col_str_text(&text));
    col_str_fini(&text);
    return false;
}

/* torch.nn.Conv2d's initialisation: weight and bias uniform in +-1/sqrt(what one output sums over). */
static bool build_conv(const instance *m, col_datum *out)
{
    enum { CHANNELS = 1, KERNEL, STRIDE, PADDING, DILATION, GROUPS, BIAS, WEIGHT_INIT, BIAS_INIT };
    const col_datum *a = m->arguments;
    col_value *x = m->tensors[0];
    int rank;
    if (!want_spatial(m, &rank)) return false;
    int64_t groups = a[GROUPS].int_value, channels = x->type.shape.dims[1];
    if (groups < 1 || channels % groups) {
        col_elab_fault(m->e, m->loc, "conv: %lld channels do not form %lld groups", (long long)channels,
                       (long long)groups);
        return false;
    }
    col_attr kernel = window_attr(m, COL_ATTR_KERNEL, KERNEL);
    if (kernel.count != 1 && kernel.count != rank) {
        col_elab_fault(m->e, m->loc, "conv: 'kernel' has %d numbers for %d spatial axes", kernel.count, rank);
        return false;
    }
    int64_t dims[COL_MAX_RANK] = {a[CHANNELS].int_value, channels / groups};
    double summed = (double)dims[1];
    for (int i = 0; i < rank; i++) {
        dims[2 + i] = kernel.ints[kernel.count == 1 ? 0 : i];
        summed *= (double)dims[2 + i];
    }
    double bound = 1 / sqrt(COL_MAX(summed, 1));
    col_init inits[2];
    for (int i = 0; i < 2; i++) {
        bool given = a[WEIGHT_INIT + i].kind != COL_DATUM_NONE;
        inits[i] = given ? a[WEIGHT_INIT + i].init : (col_init){COL_INIT_UNIFORM, -bound, bound};
    }
    col_value *weight = parameter(m, "weight", x->type.dtype, rank + 2, dims, inits[0]);
    if (!weight) return false;
    col_attr attrs[5];
    uint32_t count = 0;
    window_attr_unless(m, COL_ATTR_STRIDES, STRIDE, 1, attrs, &count);
    window_attr_unless(m, COL_ATTR_LOW, PADDING, 0, attrs, &count);
    window_attr_unless(m, COL_ATTR_HIGH, PADDING, 0, attrs, &count);
    window_attr_unless(m, COL_ATTR_DILATIONS, DILATION, 1, attrs, &count);
    if (groups != 1) attrs[count++] = col_attr_int(COL_ATTR_GROUPS, groups);
    col_node *node = col_elab_node(m->e, m->loc, COL_OP_CONV, 2, (col_value *[]){x, weight}, count, attrs);
    if (!node || !a[BIAS].int_value) return give(m, node, out);
    col_value *bias = parameter(m, "bias", x->type.dtype, 1, dims, inits[1]);
    if (!bias) return false;
    for (int i = 1; i <= rank; i++) dims[i] = 1;
    col_node *column = unary(m, COL_OP_RESHAPE, bias, col_attr_ints(COL_ATTR_SHAPE, rank + 1, dims));
    if (!column) return false;
    col_value *terms[] = {&node->results[0], &column->results[0]};
    return give(m, col_elab_node(m->e, m->loc, COL_OP_ADD, 2, terms, 0, NULL), out);
}

static bool build_pool(const instance *m, col_op op, col_datum *out)
{
    enum { KERNEL = 1, STRIDE, PADDING, LAST };
    bool own_stride = m->arguments[STRIDE].kind != COL_DATUM_NONE;
    int rank;
    if (!want_spatial(m, &rank)) return false;
    col_attr attrs[5] = {window_attr(m, COL_ATTR_KERNEL, KERNEL),
                         window_attr(m, COL_ATTR_STRIDES, own_stride ? STRIDE : KERNEL)};
    uint32_t count = 2;
    window_attr_unless(m, COL_ATTR_LOW, PADDING, 0, attrs, &count);
    window_attr_unless(m, COL_ATTR_HIGH, PADDING, 0, attrs, &count);
    if (op == COL_OP_MAX_POOL)
        window_attr_unless(m, COL_ATTR_DILATIONS, LAST, 1, attrs, &count);
    else if (m->arguments[LAST].int_value)
        attrs[count++] = col_attr_int(COL_ATTR_COUNT_INCLUDE_PAD, 1);
    return give(m, col_elab_node(m->e, m->loc, op, 1, m->tensors, count, attrs), out);
}

static bool build_max_pool(const instance *m, col_datum *out)
{
    return build_pool(m, COL_OP_MAX_POOL, out);
}

static bool build_avg_pool(const instance *m, col_datum *out)
{
    return build_pool(m, COL_OP_AVG_POOL, out);
}

/* The op with its parameters, and the running values as states that it moves on. */
static bool build_batch_norm(const instance *m, col_datum *out)
{
    static const char *const names[] = {"weight", "bias", "running_mean", "running_var"};
    col_value *x = m->tensors[0], *operands[5] = {x};
    if (!want_float(m, x)) return false;
    if (x->type.shape.rank < 2) {
        col_elab_fault(m->e, m->loc, "batch_norm: x must be [batch, channels, ...]");
        return false;
    }
    for (int i = 0; i < 4; i++) {
        bool wide = i >= 2 && x->type.dtype != COL_F64;
        col_init init = {.kind = i == 0 || i == 3 ? COL_INIT_CONSTANT : COL_INIT_ZEROS,
                         .a = i == 0 || i == 3};
        operands[1 + i] = variable(m, i < 2 ? COL_VAR_PARAM : COL_VAR_STATE, names[i],
                                   wide ? COL_F32 : x->type.dtype, 1, &x->type.shape.dims[1], init);
        if (!operands[1 + i]) return false;
    }
    col_attr attrs[] = {col_attr_float(COL_ATTR_EPS, col_datum_number(&m->arguments[1])),
                        col_attr_float(COL_ATTR_MOMENTUM, col_datum_number(&m->arguments[2]))};
    col_node *node = col_elab_node(m->e, m->loc, COL_OP_BATCH_NORM, 5, operands, 2, attrs);
    for (uint32_t i = 3; node && i < 5; i++) {
        const char *name = operands[i]->var->name;
        col_attr target = col_attr_text(COL_ATTR_VARIABLE, name);
        col_value *next = &node->results[i];
        col_map_set(m->e->assigned, name, m->e);
        if (!col_elab_node(m->e, m->loc, COL_OP_ASSIGN, 1, &next, 1, &target)) return false;
    }
    return give(m, node, out);
}

static const col_module modules[] = {
    {"linear",
     build_linear,
     {{"x", TENSOR, REQUIRED, {0}},
      {"n", INT, REQUIRED, {0}},
      {"bias", INT, DEFAULTED, INT_VALUE(1)},
      {"init", INIT, DEFAULTED, INIT_VALUE(NORMAL, 0, 0.02)},
      {"bias_init", INIT, DEFAULTED, INIT_VALUE(ZEROS, 0, 0)}}},
    {"dense",
     build_dense,
     {{"x", TENSOR, REQUIRED, {0}},
      {"n", INT, REQUIRED, {0}},
      {"bias", INT, DEFAULTED, INT_VALUE(1)},
      {"init", INIT, OPTIONAL, {0}},
      {"bias_init", INIT, OPTIONAL, {0}}}},
    {"layer_norm",
     build_layer_norm,
     {{"x", TENSOR, REQUIRED, {0}}, {"eps", NUMBER, DEFAULTED, FLOAT_VALUE(1e-5)}}},
    {"embedding",
     build_embedding,
     {{"ids", TENSOR, REQUIRED, {0}},
      {"rows", INT, REQUIRED, {0}},
      {"width", INT, REQUIRED, {0}},
      {"init", INIT, DEFAULTED, INIT_VALUE(NORMAL, 0, 0.02)}}},
    {"dropout", build_dropout, {{"x", TENSOR, REQUIRED, {0}}, {"rate", NUMBER, REQUIRED, {0}}}},
    {"attention",
     build_attention,
     {{"q", TENSOR, REQUIRED, {0}},
      {"k", TENSOR, REQUIRED, {0}},
      {"v", TENSOR, REQUIRED, {0}},
      {"heads", INT, REQUIRED, {0}},
      {"causal", INT, DEFAULTED, INT_VALUE(0)},
      {"rate", NUMBER, DEFAULTED, FLOAT_VALUE(0)},
      {"scale", NUMBER, OPTIONAL, {0}},
      {"mask", TENSOR, OPTIONAL, {0}}}},
    {"conv",
     build_conv,
     {{"x", TENSOR, REQUIRED, {0}},
      {"n", INT, REQUIRED, {0}},
      {"kernel", INTS, REQUIRED, {0}},
      {"stride", INTS, DEFAULTED, INT_VALUE(1)},
      {"padding", INTS, DEFAULTED, INT_VALUE(0)},
      {"dilation", INTS, DEFAULTED, INT_VALUE(1)},
      {"groups", INT, DEFAULTED, INT_VALUE(1)},
      {"bias", INT, DEFAULTED, INT_VALUE(1)},
      {"init", INIT, OPTIONAL, {0}},
      {"bias_init", INIT, OPTIONAL, {0}}}},
    {"max_pool",
     build_max_pool,
     {{"x", TENSOR, REQUIRED, {0}},
      {"kernel", INTS, REQUIRED, {0}},
      {"stride", INTS, OPTIONAL, {0}},
      {"padding", INTS, DEFAULTED, INT_VALUE(0)},
      {"dilation", INTS, DEFAULTED, INT_VALUE(1)}}},
    {"avg_pool",
     build_avg_pool,
     {{"x", TENSOR, REQUIRED, {0}},
      {"kernel", INTS, REQUIRED, {0}},
      {"stride", INTS, OPTIONAL, {0}},
      {"padding", INTS, DEFAULTED, INT_VALUE(0)},
      {"count_include_pad", INT, DEFAULTED, INT_VALUE(1)}}},
    {"batch_norm",
     build_batch_norm,
     {{"x", TENSOR, REQUIRED, {0}},
      {"eps", NUMBER, DEFAULTED, FLOAT_VALUE(1e-5)},
      {"momentum", NUMBER, DEFAULTED, FLOAT_VALUE(0.1)}}},
    {"matmul", build_matmul, {{"x", TENSOR, REQUIRED, {0}}, {"y", TENSOR, REQUIRED, {0}}}},
    {"transpose", build_transpose, {{"x", TENSOR, REQUIRED, {0}}}},
    {"positions", build_positions, {{"n", INT, REQUIRED, {0}}}},
};

/* --- calling --- */

const col_module *col_module_find(const char *name)
{
    for (size_t i = 0; i < COL_COUNT(modules); i++) {
        if (!strcmp(modules[i].name, name)) return &modules[i];
    }
    return NULL;
}

const char *col_module_name(size_t index)
{
    return index < COL_COUNT(modules) ? modules[index].name : NULL;
}

static void print_fallback(const col_datum *fallback, col_str *out)
{
    const col_init *init = &fallback->init;
    switch (fallback->kind) {
    case COL_DATUM_INT: col_str_printf(out, " = %lld", (long long)fallback->int_value); break;
    case COL_DATUM_FLOAT: col_str_printf(out, " = %g", fallback->float_value); break;
    case COL_DATUM_INIT:
        if (init->kind == COL_INIT_NORMAL)
            col_str_printf(out, " = normal(%g, %g)", init->a, init->b);
        else
            col_str_append(out, " = zeros");
        break;
    default: break;
    }
}

const char *col_module_signature(const col_module *module, col_arena *arena)
{
    col_str out = {0};
    col_str_printf(&out, "%s(", module->name);
    for (const formal *f = module->formals; f->name; f++) {
        col_str_printf(&out, "%s%s", f == module->formals ? "" : ", ", f->name);
        if (f->presence == DEFAULTED) print_fallback(&f->fallback, &out);
        if (f->presence == OPTIONAL) col_str_append(&out, " = …");
    }
    col_str_append(&out, ")");
    const char *text = col_arena_strdup(arena, col_str_text(&out));
    col_str_fini(&out);
    return text;
}

static bool kind_fits(kind wanted, const col_datum *datum)
{
    switch (wanted) {
    case TENSOR: return datum->kind == COL_DATUM_TENSORS;
    case INT: return datum->kind == COL_DATUM_INT;
    case NUMBER: return col_datum_is_number(datum);
    case INTS: return datum->kind == COL_DATUM_INT || (datum->kind == COL_DATUM_LIST && datum->count > 0);
    default: return datum->kind == COL_DATUM_INIT;
    }
}

static bool fault_with_signature(const instance *m, const col_module *module, col_loc loc, const char *what)
{
    col_elab_fault(m->e, loc, "%s; the module is %s", what, col_module_signature(module, m->e->scratch));
    return false;
}

/* The arguments in the order of the row, checked. */
static bool bind_arguments(instance *m, const col_module *module, const col_call *call, const col_datum *data,
                           col_datum *bound)
{
    static const char *const wanted[] = {"a tensor", "a whole number", "a number", "an initialiser",
                                         "a whole number or a list of them"};
    col_arena *scratch = m->e->scratch;
    for (uint32_t i = 0; i < call->argument_count; i++) {
        const col_argument *argument = &call->arguments[i];
        uint32_t at = 0;
        while (module->formals[at].name &&
               (argument->keyword ? strcmp(module->formals[at].name, argument->keyword) != 0 : at < i))
            at++;
        const formal *f = &module->formals[at];
        if (!f->name) {
            const char *what =
                argument->keyword
                    ? col_arena_printf(scratch, "'%s' has no argument '%s'", module->name, argument->keyword)
                    : col_arena_printf(scratch, "'%s' is given too much", module->name);
            return fault_with_signature(m, module, argument->loc, what);
        }
        if (bound[at].kind != COL_DATUM_NONE) {
            col_elab_fault(m->e, argument->loc, "'%s' is given twice", f->name);
            return false;
        }
        if (!kind_fits(f->kind, &data[i])) {
            const char *what = col_arena_printf(scratch, "'%s' must be %s; this is %s", f->name,
                                                wanted[f->kind], col_datum_describe(&data[i]));
            return fault_with_signature(m, module, argument->loc, what);
        }
        if (f->kind == TENSOR && !col_datum_tensor(m->e, argument->loc, &data[i], &m->tensors[at]))
            return false;
        bound[at] = data[i];
    }
    for (uint32_t at = 0; module->formals[at].name; at++) {
        const formal *f = &module->formals[at];
        if (bound[at].kind != COL_DATUM_NONE) continue;
        if (f->presence == REQUIRED) {
            return fault_with_signature(m, module, m->loc,
                                        col_arena_printf(scratch, "'%s' needs '%s'", module->name, f->name));
        }
        bound[at] = f->fallback;
    }
    return true;
}

bool col_module_run(col_elab *e, const col_module *module, const col_expr *expr, const col_datum *arguments,
                    col_datum *out)
{
    col_datum bound[MOST_ARGUMENTS] = {{0}};
    instance m = {.e = e, .loc = expr->loc, .arguments = bound};
    return bind_arguments(&m, module, expr->call, arguments, bound) && module->build(&m, out);
}
