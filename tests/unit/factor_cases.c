#include "tests/unit/factor_cases.h"

#include <stdio.h>
#include <string.h>

factor_case factor_case_start(col_arena *arena, unit_random *random)
{
    return (factor_case){.b = {.graph = col_graph_create(arena, "case")}, .random = random};
}

col_value *factor_input(factor_case *c, col_dtype dtype, col_shape shape)
{
    col_graph *graph = c->b.graph;
    const char *name = col_arena_printf(graph->arena, "x%zu", graph->vars.len);
    return col_graph_add_var(graph, COL_VAR_INPUT, name, col_type_make(dtype, shape), (col_init){0},
                             (col_loc){0})
        ->value;
}

static int64_t pick(unit_random *random, size_t count, const int64_t *from)
{
    return from[random_int(random, 0, (int64_t)count - 1)];
}

static int64_t pick_size(unit_random *random)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 4, 6, 8};
    return pick(random, COL_COUNT(sizes), sizes);
}

col_shape factor_shape(unit_random *random, int rank)
{
    col_shape shape = {.rank = rank};
    int64_t count = 1;
    for (int d = 0; d < rank; d++) {
        shape.dims[d] = pick_size(random);
        if (count * shape.dims[d] > 300) shape.dims[d] = 2;
        count *= shape.dims[d];
    }
    return shape;
}

col_shape factor_regrouped(unit_random *random, col_shape shape)
{
    int64_t left = col_shape_numel(shape);
    col_shape out = {.rank = 0};
    while (out.rank < 5) {
        int64_t size = random_int(random, 1, left);
        while (left % size) size--;
        if (size == 1 && random_chance(random, 0.7)) continue;
        out.dims[out.rank++] = size;
        left /= size;
        if (left == 1 && random_chance(random, 0.7)) return out;
    }
    out.dims[out.rank++] = left;
    return out;
}

/* The shape as an operand that broadcasts to it. */
static col_shape narrowed(unit_random *random, col_shape shape)
{
    while (shape.rank > 0 && random_chance(random, 0.2)) {
        memmove(shape.dims, shape.dims + 1, sizeof *shape.dims * (size_t)(--shape.rank));
        shape.dims[shape.rank] = 0;
    }
    for (int d = 0; d < shape.rank; d++) {
        if (random_chance(random, 0.2)) shape.dims[d] = 1;
    }
    return shape;
}

static int64_t axis_of(unit_random *random, col_shape shape)
{
    return random_int(random, 0, shape.rank - 1);
}

static col_node *build(factor_case *c, col_op op, uint32_t count, col_value *const *operands,
                       uint32_t attr_count, const col_attr *attrs)
{
    return col_build(&c->b, op, count, operands, attr_count, attrs);
}

static col_node *make_elementwise(factor_case *c, col_op op)
{
    const col_op_info *info = col_op_info_of(op);
    bool logical = op == COL_OP_NOT || op == COL_OP_AND || op == COL_OP_OR;
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 3));
    col_value *x[3];
    for (int i = 0; i < info->operands_max; i++) {
        col_shape own = info->operands_max > 1 ? narrowed(c->random, shape) : shape;
        x[i] = factor_input(c, logical || (op == COL_OP_WHERE && !i) ? COL_BOOL : COL_F32, own);
    }
    col_attr dtype = col_attr_text(COL_ATTR_DTYPE, "f64");
    return build(c, op, (uint32_t)info->operands_max, x, op == COL_OP_CAST, &dtype);
}

static col_node *make_source(factor_case *c, col_op op)
{
    static const char *const dtypes[] = {"f32", "i32", "i64", "bf16"};
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 3));
    col_attr attrs[3] = {col_attr_ints(COL_ATTR_SHAPE, shape.rank, shape.dims)};
    attrs[1] = col_attr_text(COL_ATTR_DTYPE, dtypes[random_int(c->random, 0, 3)]);
    attrs[2] = op == COL_OP_CONSTANT ? col_attr_float(COL_ATTR_VALUE, 3)
                                     : col_attr_int(COL_ATTR_AXIS, axis_of(c->random, shape));
    if (op != COL_OP_RANDOM_UNIFORM) return build(c, op, 0, NULL, 3, attrs);
    col_value *generator = factor_input(c, COL_I64, col_shape_make(1, (int64_t[]){2}));
    attrs[1] = col_attr_int(COL_ATTR_SALT, 9);
    return build(c, op, 1, &generator, 2, attrs);
}

static col_node *make_reduction(factor_case *c, col_op op)
{
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 4));
    col_value *x = factor_input(c, COL_F32, shape);
    int64_t axes[COL_MAX_RANK];
    int count = 0;
    for (int d = 0; d < shape.rank; d++) {
        if (random_chance(c->random, 0.5)) axes[count++] = d;
    }
    if (!count) axes[count++] = axis_of(c->random, shape);
    col_attr attrs[] = {col_attr_ints(COL_ATTR_AXES, count, axes),
                        col_attr_int(COL_ATTR_KEEPDIMS, random_int(c->random, 0, 1))};
    return build(c, op, 1, &x, 2, attrs);
}

static col_node *make_reshape(factor_case *c, col_op op)
{
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 4));
    col_value *x = factor_input(c, COL_F32, shape);
    col_shape to = factor_regrouped(c->random, shape);
    col_attr attr = col_attr_ints(COL_ATTR_SHAPE, to.rank, to.dims);
    return build(c, op, 1, &x, 1, &attr);
}

static col_node *make_transpose(factor_case *c, col_op op)
{
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 4));
    col_value *x = factor_input(c, COL_F32, shape);
    int64_t perm[COL_MAX_RANK];
    for (int d = 0; d < shape.rank; d++) {
        int64_t at = random_int(c->random, 0, d);
        perm[d] = perm[at];
        perm[at] = d;
    }
    col_attr attr = col_attr_ints(COL_ATTR_PERM, shape.rank, perm);
    return build(c, op, 1, &x, 1, &attr);
}

static col_node *make_broadcast(factor_case *c, col_op op)
{
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 4));
    col_value *x = factor_input(c, COL_F32, narrowed(c->random, shape));
    col_attr attr = col_attr_ints(COL_ATTR_SHAPE, shape.rank, shape.dims);
    return build(c, op, 1, &x, 1, &attr);
}

/* slice and pad: some axes change. */
static col_node *make_resize(factor_case *c, col_op op)
{
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 3));
    col_value *x = factor_input(c, COL_F32, shape);
    int64_t first[COL_MAX_RANK], second[COL_MAX_RANK];
    for (int d = 0; d < shape.rank; d++) {
        bool kept = random_chance(c->random, 0.5);
        if (op == COL_OP_SLICE) {
            first[d] = kept ? 0 : random_int(c->random, 0, shape.dims[d]);
            second[d] = kept ? shape.dims[d] : random_int(c->random, first[d], shape.dims[d]);
        } else {
            first[d] = kept ? 0 : random_int(c->random, 0, 3);
            second[d] = kept ? 0 : random_int(c->random, 0, 3);
        }
    }
    bool slices = op == COL_OP_SLICE;
    col_attr attrs[] = {col_attr_ints(slices ? COL_ATTR_STARTS : COL_ATTR_LOW, shape.rank, first),
                        col_attr_ints(slices ? COL_ATTR_STOPS : COL_ATTR_HIGH, shape.rank, second)};
    return build(c, op, 1, &x, 2, attrs);
}

static col_node *make_split(factor_case *c, col_op op)
{
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 3));
    int64_t axis = axis_of(c->random, shape), parts = random_int(c->random, 1, 3);
    shape.dims[axis] *= parts;
    col_value *x = factor_input(c, COL_F32, shape);
    col_attr attrs[] = {col_attr_int(COL_ATTR_PARTS, parts), col_attr_int(COL_ATTR_AXIS, axis)};
    return build(c, op, 1, &x, 2, attrs);
}

static col_node *make_concat(factor_case *c, col_op op)
{
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 3));
    int64_t axis = axis_of(c->random, shape);
    uint32_t count = (uint32_t)random_int(c->random, 1, 3);
    col_value *x[3];
    for (uint32_t i = 0; i < count; i++) {
        shape.dims[axis] = random_int(c->random, 0, 4);
        x[i] = factor_input(c, COL_F32, shape);
    }
    col_attr attr = col_attr_int(COL_ATTR_AXIS, axis);
    return build(c, op, count, x, 1, &attr);
}

/* embedding, and scatter_add onto something or onto zeros. */
static col_node *make_rows(factor_case *c, col_op op)
{
    col_shape table = factor_shape(c->random, 2);
    col_shape ids = factor_shape(c->random, (int)random_int(c->random, 0, 2)), rows = ids;
    rows.dims[rows.rank++] = table.dims[1];
    col_dtype dtype = random_chance(c->random, 0.5) ? COL_I32 : COL_I64;
    bool zero = op == COL_OP_SCATTER_ADD && random_chance(c->random, 0.5);
    col_value *x[3];
    x[0] = zero ? col_build_full(&c->b, 0, col_type_make(COL_F32, table)) : factor_input(c, COL_F32, table);
    c->limit[c->b.graph->vars.len] = table.dims[0];
    x[1] = factor_input(c, dtype, ids);
    if (op == COL_OP_EMBEDDING) return build(c, op, 2, x, 0, NULL);
    x[2] = factor_input(c, COL_F32, rows);
    return build(c, op, 3, x, 0, NULL);
}

static col_node *make_update_slice(factor_case *c, col_op op)
{
    col_shape shape = factor_shape(c->random, (int)random_int(c->random, 1, 3)), update = shape;
    int64_t axis = axis_of(c->random, shape);
    update.dims[axis] = random_int(c->random, 1, shape.dims[axis]);
    col_value *x[] = {factor_input(c, COL_F32, shape), factor_input(c, COL_F32, update),
                      factor_input(c, COL_I32, (col_shape){0})};
    c->limit[2] = shape.dims[axis] - update.dims[axis] + 1;
    col_attr attr = col_attr_int(COL_ATTR_AXIS, axis);
    return build(c, op, 3, x, 1, &attr);
}

/* Each letter is in some of the operands, and in the result or summed. */
static col_node *make_einsum(factor_case *c, col_op op)
{
    char text[3][8] = {{0}}, equation[32];
    col_shape shapes[3] = {{0}};
    for (int letter = 0; letter < (int)random_int(c->random, 1, 4); letter++) {
        int64_t size = pick_size(c->random), where = random_int(c->random, 1, 3);
        for (int t = 0; t < 3; t++) {
            if (t < 2 ? !(where >> t & 1) : random_chance(c->random, 0.4)) continue;
            int at = (int)random_int(c->random, 0, shapes[t].rank);
            memmove(text[t] + at + 1, text[t] + at, (size_t)(shapes[t].rank - at));
            memmove(shapes[t].dims + at + 1, shapes[t].dims + at,
                    sizeof *shapes[t].dims * (size_t)(shapes[t].rank - at));
            text[t][at] = (char)('a' + letter);
            shapes[t].dims[at] = size;
            shapes[t].rank++;
        }
    }
    snprintf(equation, sizeof equation, "%s,%s->%s", text[0], text[1], text[2]);
    uint32_t count = 0;
    col_value *x[3];
    if (op == COL_OP_EINSUM_ADD) x[count++] = factor_input(c, COL_F32, shapes[2]);
    for (int i = 0; i < 2; i++) x[count++] = factor_input(c, COL_F32, shapes[i]);
    col_attr attr = col_attr_text(COL_ATTR_EQUATION, equation);
    return build(c, op, count, x, 1, &attr);
}

static col_node *make_attention(factor_case *c, col_op op)
{
    unit_random *r = c->random;
    bool cached = op == COL_OP_ATTENTION_CACHED, causal = !cached && random_chance(r, 0.5);
    int64_t b = pick_size(r), h = pick_size(r), t = random_int(r, 1, 3), d = 2;
    int64_t s = causal ? t : random_int(r, t, 4);
    col_shape q = col_shape_make(4, (int64_t[]){b, t, h, d}), k = q, scores = q;
    k.dims[1] = s;
    scores = col_shape_make(4, (int64_t[]){b, h, t, s});
    col_value *x[8] = {factor_input(c, COL_F32, q), factor_input(c, COL_F32, k), factor_input(c, COL_F32, k)};
    uint32_t count = 3;
    if (cached) {
        c->limit[3] = s - t + 1;
        x[count++] = factor_input(c, COL_I32, (col_shape){0});
        return build(c, op, count, x, 0, NULL);
    }
    if (op == COL_OP_ATTENTION_GRAD) {
        x[count++] = factor_input(c, COL_F32, q);
        x[count++] = factor_input(c, COL_F32, col_shape_make(3, scores.dims));
        x[count++] = factor_input(c, COL_F32, q);
    }
    if (random_chance(r, 0.5)) x[count++] = factor_input(c, COL_F32, narrowed(r, scores));
    col_attr attrs[] = {col_attr_int(COL_ATTR_CAUSAL, causal), col_attr_float(COL_ATTR_SCALE, 0.7),
                        col_attr_float(COL_ATTR_RATE, random_chance(r, 0.5) ? 0.4 : 0),
                        col_attr_int(COL_ATTR_SALT, 3)};
    if (attrs[2].float_value > 0) x[count++] = factor_input(c, COL_I64, col_shape_make(1, (int64_t[]){2}));
    return build(c, op, count, x, 4, attrs);
}

/* conv and its gradients, one spatial axis, kernel 2, stride 1. */
static col_node *make_conv(factor_case *c, col_op op)
{
    int64_t groups = random_chance(c->random, 0.5) ? 1 : pick_size(c->random), two = 2, size = 3;
    int64_t each = random_int(c->random, 1, 4);
    int64_t n = pick_size(c->random), in = groups * each, out = groups * random_int(c->random, 1, 4);
    col_shape x = col_shape_make(3, (int64_t[]){n, in, size}), y = col_shape_make(3, (int64_t[]){n, out, 2});
    col_shape weight = col_shape_make(3, (int64_t[]){out, each, two});
    col_shape first = op == COL_OP_CONV_GRAD_INPUT ? y : x,
              second = op == COL_OP_CONV_GRAD_WEIGHT ? y : weight;
    col_value *operands[] = {factor_input(c, COL_F32, first), factor_input(c, COL_F32, second)};
    col_attr attrs[] = {col_attr_int(COL_ATTR_GROUPS, groups), op == COL_OP_CONV_GRAD_INPUT
                                                                   ? col_attr_ints(COL_ATTR_SIZES, 1, &size)
                                                                   : col_attr_ints(COL_ATTR_KERNEL, 1, &two)};
    return build(c, op, 2, operands, op == COL_OP_CONV ? 1 : 2, attrs);
}

col_node *factor_case_of(factor_case *c, col_op op)
{
    static col_node *(*const makers[COL_OP_COUNT])(factor_case *, col_op) = {
        [COL_OP_CONSTANT] = make_source,
        [COL_OP_IOTA] = make_source,
        [COL_OP_RANDOM_UNIFORM] = make_source,
        [COL_OP_SUM] = make_reduction,
        [COL_OP_MAX] = make_reduction,
        [COL_OP_MIN] = make_reduction,
        [COL_OP_RESHAPE] = make_reshape,
        [COL_OP_TRANSPOSE] = make_transpose,
        [COL_OP_BROADCAST] = make_broadcast,
        [COL_OP_SLICE] = make_resize,
        [COL_OP_PAD] = make_resize,
        [COL_OP_SPLIT] = make_split,
        [COL_OP_CONCAT] = make_concat,
        [COL_OP_EMBEDDING] = make_rows,
        [COL_OP_SCATTER_ADD] = make_rows,
        [COL_OP_UPDATE_SLICE] = make_update_slice,
        [COL_OP_EINSUM] = make_einsum,
        [COL_OP_EINSUM_ADD] = make_einsum,
        [COL_OP_ATTENTION] = make_attention,
        [COL_OP_ATTENTION_GRAD] = make_attention,
        [COL_OP_ATTENTION_CACHED] = make_attention,
        [COL_OP_CONV] = make_conv,
        [COL_OP_CONV_GRAD_INPUT] = make_conv,
        [COL_OP_CONV_GRAD_WEIGHT] = make_conv,
    };
    if (makers[op]) return makers[op](c, op);
    if (col_op_info_of(op)->op_class == COL_CLASS_ELEMENTWISE) return make_elementwise(c, op);
    return NULL;
}

col_tensor *factor_case_fill(const factor_case *c, col_arena *arena)
{
    const col_graph *graph = c->b.graph;
    col_tensor *vars = COL_NEW_ARRAY(arena, col_tensor, graph->vars.len);
    for (size_t i = 0; i < graph->vars.len; i++) {
        col_type type = graph->vars.data[i]->type;
        int64_t count = col_shape_numel(type.shape);
        int64_t limit = i < COL_COUNT(c->limit) && c->limit[i] ? c->limit[i] : 2;
        vars[i] = (col_tensor){type, COL_NEW_ARRAY(arena, double, COL_MAX(count, 1))};
        for (int64_t j = 0; j < count; j++) {
            vars[i].data[j] = col_dtype_is_float(type.dtype)
                                  ? (double)random_int(c->random, -4000, 4000) / 1e3
                                  : (double)random_int(c->random, 0, limit - 1);
        }
    }
    return vars;
}
