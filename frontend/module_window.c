/* Modules over spatial axes: convolution, pooling, batch normalisation. */
#include "frontend/module.h"

#include <math.h>

/* The argument as an attribute with a number per spatial axis, or one for all. */
static col_attr window_attr(const col_instance *m, col_attr_key key, int argument)
{
    const col_datum *datum = &m->arguments[argument];
    if (datum->kind == COL_DATUM_LIST) return col_attr_ints(key, (int)datum->count, datum->ints);
    return col_attr_ints(key, 1, &datum->int_value);
}

/* The same, where it is not the op's default. */
static void window_attr_unless(const col_instance *m, col_attr_key key, int argument, int64_t fallback,
                               col_attr *attrs, uint32_t *count)
{
    const col_datum *datum = &m->arguments[argument];
    if (datum->kind != COL_DATUM_INT || datum->int_value != fallback)
        attrs[(*count)++] = window_attr(m, key, argument);
}

/* x must be [batch, channels, spatial...]; `*out_rank` is the number of spatial axes. */
static bool want_spatial(const col_instance *m, int *out_rank)
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
bool col_module_build_conv(const col_instance *m, col_datum *out)
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
    col_value *weight = col_instance_param(m, "weight", x->type.dtype, rank + 2, dims, inits[0]);
    if (!weight) return false;
    col_attr attrs[5];
    uint32_t count = 0;
    window_attr_unless(m, COL_ATTR_STRIDES, STRIDE, 1, attrs, &count);
    window_attr_unless(m, COL_ATTR_LOW, PADDING, 0, attrs, &count);
    window_attr_unless(m, COL_ATTR_HIGH, PADDING, 0, attrs, &count);
    window_attr_unless(m, COL_ATTR_DILATIONS, DILATION, 1, attrs, &count);
    if (groups != 1) attrs[count++] = col_attr_int(COL_ATTR_GROUPS, groups);
    col_node *node = col_elab_node(m->e, m->loc, COL_OP_CONV, 2, (col_value *[]){x, weight}, count, attrs);
    if (!node || !a[BIAS].int_value) return col_instance_give(m, node, out);
    col_value *bias = col_instance_param(m, "bias", x->type.dtype, 1, dims, inits[1]);
    if (!bias) return false;
    for (int i = 1; i <= rank; i++) dims[i] = 1;
    col_node *column =
        col_instance_unary(m, COL_OP_RESHAPE, bias, col_attr_ints(COL_ATTR_SHAPE, rank + 1, dims));
    if (!column) return false;
    col_value *terms[] = {&node->results[0], &column->results[0]};
    return col_instance_give(m, col_elab_node(m->e, m->loc, COL_OP_ADD, 2, terms, 0, NULL), out);
}

static bool build_pool(const col_instance *m, col_op op, col_datum *out)
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
    return col_instance_give(m, col_elab_node(m->e, m->loc, op, 1, m->tensors, count, attrs), out);
}

bool col_module_build_max_pool(const col_instance *m, col_datum *out)
{
    return build_pool(m, COL_OP_MAX_POOL, out);
}

bool col_module_build_avg_pool(const col_instance *m, col_datum *out)
{
    return build_pool(m, COL_OP_AVG_POOL, out);
}

/* The op with its parameters, and the running values as states that it moves on. */
bool col_module_build_batch_norm(const col_instance *m, col_datum *out)
{
    static const char *const names[] = {"weight", "bias", "running_mean", "running_var"};
    col_value *x = m->tensors[0], *operands[5] = {x};
    if (!col_instance_want_float(m, x)) return false;
    if (x->type.shape.rank < 2) {
        col_elab_fault(m->e, m->loc, "batch_norm: x must be [batch, channels, ...]");
        return false;
    }
    for (int i = 0; i < 4; i++) {
        bool wide = i >= 2 && x->type.dtype != COL_F64;
        col_init init = {.kind = i == 0 || i == 3 ? COL_INIT_CONSTANT : COL_INIT_ZEROS,
                         .a = i == 0 || i == 3};
        operands[1 + i] = col_instance_var(m, i < 2 ? COL_VAR_PARAM : COL_VAR_STATE, names[i],
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
    return col_instance_give(m, node, out);
}
