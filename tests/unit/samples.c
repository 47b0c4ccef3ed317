#include "tests/unit/samples.h"

#include <stdlib.h>
#include <string.h>

#define INTS(KEY, ...)                                                                                       \
    {                                                                                                        \
        .key = COL_ATTR_##KEY, .count = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t),                  \
        .ints = (const int64_t[])                                                                            \
        {                                                                                                    \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }
#define INT(KEY, value)                                                                                      \
    {                                                                                                        \
        .key = COL_ATTR_##KEY, .int_value = (value)                                                          \
    }
#define FLOAT(KEY, value)                                                                                    \
    {                                                                                                        \
        .key = COL_ATTR_##KEY, .float_value = (value)                                                        \
    }
#define TEXT(KEY, value)                                                                                     \
    {                                                                                                        \
        .key = COL_ATTR_##KEY, .text = (value)                                                               \
    }

const sample samples[] = {
    {.op = COL_OP_NEG, .types = "f32[2, 3]"},
    {.op = COL_OP_ABS, .types = "f32[2, 3]"},
    {.op = COL_OP_SIGN, .types = "f32[2, 3]"},
    {.op = COL_OP_EXP, .types = "f32[2, 3]"},
    {.op = COL_OP_LOG, .types = "f32[2, 3]"},
    {.op = COL_OP_SQRT, .types = "f32[2, 3]"},
    {.op = COL_OP_RSQRT, .types = "f32[2, 3]"},
    {.op = COL_OP_RECIPROCAL, .types = "f32[2, 3]"},
    {.op = COL_OP_TANH, .types = "f32[2, 3]"},
    {.op = COL_OP_ERF, .types = "f32[2, 3]"},
    {.op = COL_OP_SIN, .types = "f32[2, 3]"},
    {.op = COL_OP_COS, .types = "f32[2, 3]"},
    {.op = COL_OP_FLOOR, .types = "f32[2, 3]"},
    {.op = COL_OP_NOT, .types = "bool[2, 3]"},
    {.op = COL_OP_COPY, .types = "f32[2, 3]"},
    {.op = COL_OP_CAST, .types = "f32[2, 3]", .attrs = {TEXT(DTYPE, "f64")}, .attr_count = 1},
    {.op = COL_OP_ADD, .types = "f32[2, 3] f32[3]"},
    {.op = COL_OP_ADD, .types = "f32[] f32[4]"},
    {.op = COL_OP_SUB, .types = "f32[2, 1] f32[2, 3]"},
    {.op = COL_OP_MUL, .types = "f32[2, 1, 3] f32[4, 1]"},
    {.op = COL_OP_DIV, .types = "f32[2, 3] f32[2, 1]"},
    {.op = COL_OP_DIV, .types = "f32[3] f32[2, 3]"},
    {.op = COL_OP_POW, .types = "f32[2, 3] f32[]"},
    {.op = COL_OP_MAXIMUM, .types = "f32[2, 3] f32[3]"},
    {.op = COL_OP_MINIMUM, .types = "f32[3] f32[2, 3]"},
    {.op = COL_OP_EQ, .types = "f32[2, 3] f32[3]"},
    {.op = COL_OP_NE, .types = "i32[2, 3] i32[3]"},
    {.op = COL_OP_LT, .types = "f32[2, 3] f32[3]"},
    {.op = COL_OP_LE, .types = "f32[2, 3] f32[3]"},
    {.op = COL_OP_GT, .types = "f32[2, 3] f32[3]"},
    {.op = COL_OP_GE, .types = "f32[2, 3] f32[3]"},
    {.op = COL_OP_AND, .types = "bool[2, 3] bool[3]"},
    {.op = COL_OP_OR, .types = "bool[2, 3] bool[3]"},
    {.op = COL_OP_WHERE, .types = "bool[2, 1] f32[2, 3] f32[]"},
    {.op = COL_OP_CONSTANT,
     .types = "",
     .attrs = {FLOAT(VALUE, 2.5), INTS(SHAPE, 2, 3), TEXT(DTYPE, "f32")},
     .attr_count = 3},
    {.op = COL_OP_IOTA,
     .types = "",
     .attrs = {INT(AXIS, 1), INTS(SHAPE, 2, 3), TEXT(DTYPE, "f32")},
     .attr_count = 3},
    {.op = COL_OP_RANDOM_UNIFORM,
     .types = "i64[2]",
     .attrs = {INTS(SHAPE, 3, 3), INT(SALT, 7)},
     .attr_count = 2},
    {.op = COL_OP_RANDOM_UNIFORM,
     .types = "i64[2] i64[]",
     .attrs = {INTS(SHAPE, 4, 2), INT(SALT, 7), INTS(WHOLE, 8, 6)},
     .attr_count = 3},
    {.op = COL_OP_SUM, .types = "f32[2, 3, 4]", .attrs = {INTS(AXES, 0, 2)}, .attr_count = 1},
    {.op = COL_OP_SUM, .types = "f32[2, 3, 4]", .attrs = {INTS(AXES, -2), INT(KEEPDIMS, 1)}, .attr_count = 2},
    {.op = COL_OP_MEAN, .types = "f32[2, 3, 4]", .attrs = {INTS(AXES, 2, 1)}, .attr_count = 1},
    {.op = COL_OP_MEAN, .types = "f32[2, 3]", .attrs = {INTS(AXES, 1), INT(KEEPDIMS, 1)}, .attr_count = 2},
    {.op = COL_OP_MAX, .types = "f32[2, 3, 4]", .attrs = {INTS(AXES, 1)}, .attr_count = 1},
    {.op = COL_OP_MIN,
     .types = "f32[2, 3, 4]",
     .attrs = {INTS(AXES, 0, 2), INT(KEEPDIMS, 1)},
     .attr_count = 2},
    {.op = COL_OP_RESHAPE, .types = "f32[2, 6]", .attrs = {INTS(SHAPE, 3, 4)}, .attr_count = 1},
    {.op = COL_OP_TRANSPOSE, .types = "f32[2, 3, 4]", .attrs = {INTS(PERM, 2, 0, 1)}, .attr_count = 1},
    {.op = COL_OP_BROADCAST, .types = "f32[3, 1]", .attrs = {INTS(SHAPE, 2, 3, 4)}, .attr_count = 1},
    {.op = COL_OP_SLICE,
     .types = "f32[4, 5]",
     .attrs = {INTS(STARTS, 1, 0), INTS(STOPS, 3, 4)},
     .attr_count = 2},
    {.op = COL_OP_SPLIT, .types = "f32[2, 6]", .attrs = {INT(PARTS, 3), INT(AXIS, 1)}, .attr_count = 2},
    {.op = COL_OP_SPLIT, .types = "f32[4, 2]", .attrs = {INT(PARTS, 1), INT(AXIS, 0)}, .attr_count = 2},
    {.op = COL_OP_CONCAT, .types = "f32[2, 3] f32[2, 1] f32[2, 2]", .attrs = {INT(AXIS, 1)}, .attr_count = 1},
    {.op = COL_OP_PAD,
     .types = "f32[2, 3]",
     .attrs = {INTS(LOW, 1, 0), INTS(HIGH, 0, 2), FLOAT(VALUE, 3)},
     .attr_count = 3},
    {.op = COL_OP_EMBEDDING, .types = "f32[5, 5] i32[2, 4]"},
    {.op = COL_OP_SCATTER_ADD, .types = "f32[4, 4] i64[6] f32[6, 4]"},
    {.op = COL_OP_UPDATE_SLICE,
     .types = "f32[3, 4] f32[3, 2] i32[]",
     .attrs = {INT(AXIS, 1)},
     .attr_count = 1,
     .plain_operands = 3},
    {.op = COL_OP_EINSUM,
     .types = "f32[2, 3, 4] f32[4, 5]",
     .attrs = {TEXT(EQUATION, "btc,cn->btn")},
     .attr_count = 1},
    {.op = COL_OP_EINSUM,
     .types = "f32[2, 3, 4] f32[5, 4]",
     .attrs = {TEXT(EQUATION, "btc,nc->btn")},
     .attr_count = 1},
    {.op = COL_OP_EINSUM,
     .types = "f32[2, 3, 2, 2] f32[2, 4, 2, 2]",
     .attrs = {TEXT(EQUATION, "bthd,bshd->bhts")},
     .attr_count = 1},
    {.op = COL_OP_EINSUM,
     .types = "f32[2, 3] f32[4, 2]",
     .attrs = {TEXT(EQUATION, "ab,ca->c")},
     .attr_count = 1},
    {.op = COL_OP_EINSUM, .types = "f32[3] f32[4]", .attrs = {TEXT(EQUATION, "a,b->ba")}, .attr_count = 1},
    {.op = COL_OP_EINSUM,
     .types = "f32[2, 3] f32[2, 3]",
     .attrs = {TEXT(EQUATION, "ab,ab->")},
     .attr_count = 1},
    {.op = COL_OP_EINSUM_ADD,
     .types = "f32[2, 3, 5] f32[2, 3, 4] f32[4, 5]",
     .attrs = {TEXT(EQUATION, "btc,cn->btn")},
     .attr_count = 1,
     .plain_operands = 7},
    {.op = COL_OP_PRODUCT_BIAS,
     .types = "f32[2, 3, 4] f32[4, 5] f32[5]",
     .attrs = {TEXT(EQUATION, "btc,cn->btn")},
     .attr_count = 1},
    {.op = COL_OP_PRODUCT_GELU,
     .types = "f32[2, 3, 4] f32[2, 5, 4] f32[2, 5]",
     .attrs = {TEXT(EQUATION, "btc,hnc->bthn")},
     .attr_count = 1},
    {.op = COL_OP_PRODUCT_GELU_GRAD,
     .types = "f32[2, 3, 4] f32[5, 4] f32[2, 3, 5]",
     .attrs = {TEXT(EQUATION, "btc,nc->btn")},
     .attr_count = 1},
    {.op = COL_OP_ATTENTION,
     .types = "f32[2, 3, 2, 4] f32[2, 5, 2, 4] f32[2, 5, 2, 4]",
     .attrs = {FLOAT(SCALE, 0.5)},
     .attr_count = 1,
     .plain_results = 2},
    {.op = COL_OP_ATTENTION,
     .types = "f32[2, 4, 2, 3] f32[2, 4, 2, 3] f32[2, 4, 2, 3]",
     .attrs = {INT(CAUSAL, 1), FLOAT(SCALE, 0.6)},
     .attr_count = 2,
     .plain_results = 2},
    {.op = COL_OP_ATTENTION,
     .types = "f32[2, 4, 2, 3] f32[2, 4, 2, 3] f32[2, 4, 2, 3] f32[2, 1, 1, 4] i64[2]",
     .attrs = {INT(CAUSAL, 1), FLOAT(SCALE, 0.6), FLOAT(RATE, 0.3), INT(SALT, 5)},
     .attr_count = 4,
     .plain_operands = 8,
     .plain_results = 2},
    {.op = COL_OP_ATTENTION,
     .types = "f32[2, 3, 2, 4] f32[2, 5, 2, 4] f32[2, 5, 2, 4] i64[2] i64[]",
     .attrs = {FLOAT(SCALE, 0.6), FLOAT(RATE, 0.3), INT(SALT, 5), INTS(WHOLE, 2, 6, 3, 5)},
     .attr_count = 4,
     .plain_results = 2},
    {.op = COL_OP_ATTENTION_GRAD,
     .types = "f32[2, 4, 2, 3] f32[2, 4, 2, 3] f32[2, 4, 2, 3] f32[2, 4, 2, 3] f32[2, 2, 4] f32[2, 4, 2, 3]",
     .attrs = {INT(CAUSAL, 1), FLOAT(SCALE, 0.6)},
     .attr_count = 2,
     .plain_operands = 63},
    {.op = COL_OP_ATTENTION_CACHED,
     .types = "f32[2, 2, 2, 3] f32[2, 5, 2, 3] f32[2, 5, 2, 3] i32[]",
     .attrs = {FLOAT(SCALE, 0.6)},
     .attr_count = 1,
     .plain_operands = 7},
    {.op = COL_OP_CONV, .types = "f32[2, 3, 5] f32[4, 3, 3]"},
    {.op = COL_OP_CONV,
     .types = "f32[2, 4, 5, 6] f32[6, 2, 3, 2]",
     .attrs = {INTS(STRIDES, 2, 1), INTS(LOW, 1, 0), INTS(HIGH, 1, 2), INTS(DILATIONS, 1, 2), INT(GROUPS, 2)},
     .attr_count = 5},
    {.op = COL_OP_CONV,
     .types = "f32[1, 2, 2, 3, 2] f32[2, 2, 1, 2, 2]",
     .attrs = {INTS(STRIDES, 1), INTS(LOW, 1)},
     .attr_count = 2},
    {.op = COL_OP_CONV_GRAD_INPUT,
     .types = "f32[2, 6, 3, 3] f32[6, 2, 3, 2]",
     .attrs = {INTS(SIZES, 5, 4), INTS(STRIDES, 2, 1), INTS(LOW, 1, 0), INTS(HIGH, 1, 0), INT(GROUPS, 2)},
     .attr_count = 5},
    {.op = COL_OP_CONV_GRAD_WEIGHT,
     .types = "f32[2, 4, 5] f32[2, 6, 3]",
     .attrs = {INTS(KERNEL, 3), INTS(STRIDES, 2), INTS(LOW, 1), INTS(HIGH, 1)},
     .attr_count = 4,
     .plain_operands = 3},
    {.op = COL_OP_MAX_POOL,
     .types = "f32[2, 2, 5, 5]",
     .attrs = {INTS(KERNEL, 3, 2), INTS(STRIDES, 2, 2), INTS(LOW, 1, 0), INTS(HIGH, 1, 1)},
     .attr_count = 4},
    {.op = COL_OP_MAX_POOL,
     .types = "f32[2, 2, 6]",
     .attrs = {INTS(KERNEL, 2), INTS(STRIDES, 1), INTS(DILATIONS, 2)},
     .attr_count = 3},
    {.op = COL_OP_MAX_POOL_GRAD,
     .types = "f32[2, 2, 5] f32[2, 2, 2]",
     .attrs = {INTS(KERNEL, 3), INTS(STRIDES, 2)},
     .attr_count = 2,
     .plain_operands = 3},
    {.op = COL_OP_AVG_POOL,
     .types = "f32[2, 2, 5, 5]",
     .attrs = {INTS(KERNEL, 3, 2), INTS(STRIDES, 2, 1), INTS(LOW, 1, 0), INTS(HIGH, 1, 1)},
     .attr_count = 4},
    {.op = COL_OP_AVG_POOL,
     .types = "f32[2, 2, 5]",
     .attrs = {INTS(KERNEL, 3), INTS(STRIDES, 2), INTS(LOW, 1), INTS(HIGH, 1), INT(COUNT_INCLUDE_PAD, 1)},
     .attr_count = 5},
    {.op = COL_OP_AVG_POOL_GRAD,
     .types = "f32[2, 2, 2]",
     .attrs = {INTS(KERNEL, 3), INTS(STRIDES, 2), INTS(SIZES, 5)},
     .attr_count = 3,
     .plain_operands = 1},
    {.op = COL_OP_RELU, .types = "f32[2, 3]"},
    {.op = COL_OP_SIGMOID, .types = "f32[2, 3]"},
    {.op = COL_OP_SILU, .types = "f32[2, 3]"},
    {.op = COL_OP_GELU, .types = "f32[2, 3]"},
    {.op = COL_OP_GELU_TANH, .types = "f32[2, 3]"},
    {.op = COL_OP_SOFTMAX, .types = "f32[2, 3, 4]", .attrs = {INT(AXIS, -1)}, .attr_count = 1},
    {.op = COL_OP_SOFTMAX, .types = "f32[2, 3, 4]", .attrs = {INT(AXIS, 1)}, .attr_count = 1},
    {.op = COL_OP_LOG_SOFTMAX, .types = "f32[2, 3, 4]", .attrs = {INT(AXIS, 2)}, .attr_count = 1},
    {.op = COL_OP_LOG_SOFTMAX, .types = "f32[2, 3, 4]", .attrs = {INT(AXIS, 0)}, .attr_count = 1},
    {.op = COL_OP_LAYER_NORM,
     .types = "f32[2, 3, 5] f32[5] f32[5]",
     .attrs = {FLOAT(EPS, 1e-3)},
     .attr_count = 1},
    {.op = COL_OP_LAYER_NORM, .types = "f32[5] f32[5] f32[5]"},
    {.op = COL_OP_BATCH_NORM,
     .types = "f32[3, 2, 4] f32[2] f32[2] f32[2] f32[2]",
     .attrs = {FLOAT(EPS, 1e-3), FLOAT(MOMENTUM, 0.2)},
     .attr_count = 2,
     .plain_operands = 24,
     .plain_results = 30},
    {.op = COL_OP_BATCH_NORM,
     .types = "f32[4, 3] f32[3] f32[3] f32[3] f32[3]",
     .plain_operands = 24,
     .plain_results = 30},
    {.op = COL_OP_DROPOUT,
     .types = "f32[4, 6] i64[2]",
     .attrs = {FLOAT(RATE, 0.4), INT(SALT, 3)},
     .attr_count = 2},
    {.op = COL_OP_DROPOUT,
     .types = "f32[4] i64[2]",
     .attrs = {FLOAT(RATE, 0), INT(SALT, 3)},
     .attr_count = 2},
    {.op = COL_OP_CROSS_ENTROPY, .types = "f32[3, 4, 6] i32[3, 4]"},
    {.op = COL_OP_CROSS_ENTROPY,
     .types = "f32[7, 6] i64[7]",
     .attrs = {INT(IGNORE_INDEX, 2), FLOAT(LABEL_SMOOTHING, 0.2)},
     .attr_count = 2},
    {.op = COL_OP_CROSS_ENTROPY,
     .types = "f32[1, 6] i64[1]",
     .attrs = {INT(IGNORE_INDEX, 0)},
     .attr_count = 1}, /* all labels ignored */
    {.op = COL_OP_POSITION_IDS, .types = "", .attrs = {INTS(SHAPE, 2, 3)}, .attr_count = 1},
    {.op = COL_OP_POSITION_IDS, .types = "i32[]", .attrs = {INTS(SHAPE, 2, 3)}, .attr_count = 1},
    {.op = COL_OP_ASSIGN, .types = "f32[2]", .attrs = {TEXT(VARIABLE, "x0")}, .attr_count = 1},
    {.op = COL_OP_ALL_REDUCE, .types = "f32[2, 3]", .attrs = {INTS(MESH_AXES, 0)}, .attr_count = 1},
    {.op = COL_OP_ALL_REDUCE,
     .types = "f32[2, 3]",
     .attrs = {INTS(MESH_AXES, 1, 0), TEXT(REDUCE, "max")},
     .attr_count = 2},
    {.op = COL_OP_ALL_GATHER,
     .types = "f32[2, 3]",
     .attrs = {INTS(MESH_AXES, 1), INT(AXIS, 0)},
     .attr_count = 2},
    {.op = COL_OP_REDUCE_SCATTER,
     .types = "f32[2, 6]",
     .attrs = {INTS(MESH_AXES, 0, 1), INT(AXIS, -1)},
     .attr_count = 2},
    {.op = COL_OP_ALL_TO_ALL,
     .types = "f32[2, 3]",
     .attrs = {INTS(MESH_AXES, 0), INT(AXIS, 0), INT(FROM_AXIS, 1)},
     .attr_count = 3},
    {.op = COL_OP_SHARD, .types = "f32[2, 3]", .attrs = {INTS(MESH_AXES, 1), INT(AXIS, 1)}, .attr_count = 2},
    {.op = COL_OP_BROADCAST_FROM,
     .types = "f32[2, 3]",
     .attrs = {INTS(MESH_AXES, 0), INT(ROOT, 1)},
     .attr_count = 2},
    {.op = COL_OP_SEND_RECEIVE,
     .types = "f32[2, 3]",
     .attrs = {INTS(MESH_AXES, 1), INT(SHIFT, -2)},
     .attr_count = 2},
    {.op = COL_OP_WAIT, .types = "f32[2, 3]"},
    {.op = COL_OP_WAIT, .types = "f32[6] f32[2, 3]"},
};
const size_t sample_count = COL_COUNT(samples);

uint32_t sample_types(const char *text, col_type out[64])
{
    uint32_t count = 0;
    while (*text) {
        char name[8] = {0};
        size_t length = strcspn(text, "[");
        col_type type = {0};
        memcpy(name, text, COL_MIN(length, sizeof name - 1));
        COL_ASSERT(col_dtype_parse(name, &type.dtype));
        for (text += length + 1; *text != ']'; text += strspn(text, ", ")) {
            char *end;
            type.shape.dims[type.shape.rank++] = strtoll(text, &end, 10);
            text = end;
        }
        out[count++] = type;
        text++;
        text += strspn(text, " ");
    }
    return count;
}

col_node *sample_build(const sample *s, col_arena *arena)
{
    col_graph *graph = col_graph_create(arena, "sample");
    if (col_op_info_of(s->op)->required_attrs >> COL_ATTR_MESH_AXES & 1) graph->mesh = (col_mesh){2, {2, 3}};
    col_builder b = {.graph = graph};
    col_type types[64];
    col_value *operands[64];
    uint32_t count = sample_types(s->types, types);
    for (uint32_t i = 0; i < count; i++) {
        bool differentiable = col_dtype_is_float(types[i].dtype) && !(s->plain_operands >> i & 1);
        operands[i] =
            col_graph_add_var(graph, differentiable ? COL_VAR_PARAM : COL_VAR_INPUT,
                              col_arena_printf(arena, "x%u", i), types[i], (col_init){0}, (col_loc){0})
                ->value;
    }
    return col_build(&b, s->op, count, operands, s->attr_count, s->attrs);
}
