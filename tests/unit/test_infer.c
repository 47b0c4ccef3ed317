/* Type inference: results of sound nodes, and one clear fault for each way of getting an op wrong. */
#include "tests/unit/unit.h"

#include "ir/op.h"
#include "tests/unit/samples.h"

/* Inference of one node; returns the types of the results as text, or the faults. Owned by the arena. */
static const char *infer(const sample *s, col_arena *arena)
{
    col_graph *graph = col_graph_create(arena, "test");
    col_diags diags = {.arena = arena};
    col_builder b = {.graph = graph, .diags = &diags};
    col_type types[64];
    col_value *operands[64];
    uint32_t count = sample_types(s->types, types);
    for (uint32_t i = 0; i < count; i++) {
        operands[i] = col_graph_add_var(graph, COL_VAR_INPUT, col_arena_printf(arena, "x%u", i), types[i],
                                        (col_init){0}, (col_loc){0})
                          ->value;
    }
    col_node *node = col_build(&b, s->op, count, operands, s->attr_count, s->attrs);
    col_str text = {0};
    if (node) {
        assert_int_equal(diags.total, 0);
        for (uint32_t i = 0; i < node->result_count; i++) {
            if (i) col_str_append(&text, " ");
            col_type_print(node->results[i].type, &text);
        }
    } else {
        assert_int_equal(diags.total, 1);
        assert_int_equal(graph->node_count, 0);
        col_str_append(&text, diags.list.data[0].message);
    }
    const char *copy = col_arena_strdup(arena, col_str_text(&text));
    col_str_fini(&text);
    return copy;
}

typedef struct expectation {
    sample s;
    const char *text; /* the result types, or a part of the fault */
} expectation;

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
#define ATTRS(n, ...) .attrs = {__VA_ARGS__}, .attr_count = (n)
#define NODE(OP, operands, ...)                                                                              \
    {                                                                                                        \
        .op = COL_OP_##OP, .types = (operands), __VA_ARGS__                                                  \
    }
#define EXPECT(expected, ...)                                                                                \
    {                                                                                                        \
        .text = (expected), .s = NODE(__VA_ARGS__)                                                           \
    }

static const expectation sound[] = {
    EXPECT("f32[2, 3]", ADD, "f32[2, 1] f32[3]", .attr_count = 0),
    EXPECT("i64[4]", MUL, "i64[4] i64[]", .attr_count = 0),
    EXPECT("bool[2, 3]", LT, "i32[2, 1] i32[3]", .attr_count = 0),
    EXPECT("f64[0, 3]", EXP, "f64[0, 3]", .attr_count = 0),
    EXPECT("bf16[2, 3]", WHERE, "bool[] bf16[2, 1] bf16[3]", .attr_count = 0),
    EXPECT("u8[2]", CAST, "f32[2]", ATTRS(1, TEXT(DTYPE, "u8"))),
    EXPECT("u64[2]", CAST, "i8[2]", ATTRS(1, TEXT(DTYPE, "u64"))),
    EXPECT("bool[2]", LT, "u16[2] u16[1]", .attr_count = 0),
    EXPECT("f32[2, 4]", SUM, "f32[2, 3, 4]", ATTRS(1, INTS(AXES, -2))),
    EXPECT("i32[1, 3, 1]", MAX, "i32[2, 3, 4]", ATTRS(2, INTS(AXES, 2, 0), INT(KEEPDIMS, 1))),
    EXPECT("f32[]", SUM, "f32[0]", ATTRS(1, INTS(AXES, 0))),
    EXPECT("f32[3, 4]", RESHAPE, "f32[2, 6]", ATTRS(1, INTS(SHAPE, 3, 4))),
    EXPECT("f32[4, 2, 3]", TRANSPOSE, "f32[2, 3, 4]", ATTRS(1, INTS(PERM, -1, 0, 1))),
    EXPECT("f32[2, 3, 4]", BROADCAST, "f32[3, 1]", ATTRS(1, INTS(SHAPE, 2, 3, 4))),
    EXPECT("f32[2, 0]", SLICE, "f32[4, 5]", ATTRS(2, INTS(STARTS, 1, 5), INTS(STOPS, 3, 5))),
    EXPECT("f32[2, 2] f32[2, 2] f32[2, 2]", SPLIT, "f32[2, 6]", ATTRS(2, INT(PARTS, 3), INT(AXIS, -1))),
    EXPECT("f32[2, 6]", CONCAT, "f32[2, 3] f32[2, 1] f32[2, 2]", ATTRS(1, INT(AXIS, 1))),
    EXPECT("f32[3, 5]", PAD, "f32[2, 3]", ATTRS(2, INTS(LOW, 1, 0), INTS(HIGH, 0, 2))),
    EXPECT("f16[2, 4, 6]", EMBEDDING, "f16[5, 6] i64[2, 4]", .attr_count = 0),
    EXPECT("f32[2, 3, 5]", EINSUM, "f32[2, 3, 4] f32[4, 5]", ATTRS(1, TEXT(EQUATION, "btc,cn->btn"))),
    EXPECT("bf16[2, 3, 4, 8] f32[2, 4, 3]", ATTENTION, "bf16[2, 3, 4, 8] bf16[2, 5, 4, 8] bf16[2, 5, 4, 8]",
           .attr_count = 0),
    EXPECT("bf16[2, 5] f32[2, 1] f32[2, 1]", LAYER_NORM, "bf16[2, 5] bf16[5] bf16[5]", .attr_count = 0),
    EXPECT("f32[] f32[3, 4]", CROSS_ENTROPY, "f16[3, 4, 6] i32[3, 4]", .attr_count = 0),
    EXPECT("i32[3, 4]", POSITION_IDS, "i32[]", ATTRS(1, INTS(SHAPE, 3, 4))),
    EXPECT("f32[2, 64, 112, 112]", CONV, "f32[2, 3, 224, 224] f32[64, 3, 7, 7]",
           ATTRS(3, INTS(STRIDES, 2), INTS(LOW, 3), INTS(HIGH, 3))),
    EXPECT("bf16[2, 6, 4]", CONV, "bf16[2, 4, 5] bf16[6, 2, 2]", ATTRS(1, INT(GROUPS, 2))),
    EXPECT("f32[0, 3, 4]", CONV, "f32[0, 2, 6] f32[3, 2, 3]", .attr_count = 0),
    EXPECT("f32[2, 3, 224, 224]", CONV_GRAD_INPUT, "f32[2, 64, 112, 112] f32[64, 3, 7, 7]",
           ATTRS(4, INTS(SIZES, 224), INTS(STRIDES, 2), INTS(LOW, 3), INTS(HIGH, 3))),
    EXPECT("f32[6, 2, 2, 3]", CONV_GRAD_WEIGHT, "f32[2, 4, 5, 5] f32[2, 6, 4, 3]",
           ATTRS(2, INTS(KERNEL, 2, 3), INT(GROUPS, 2))),
    EXPECT("f32[2, 4, 3, 2]", MAX_POOL, "f32[2, 4, 6, 6]",
           ATTRS(3, INTS(KERNEL, 3), INTS(STRIDES, 2, 3), INTS(LOW, 1, 0))),
    EXPECT("f32[2, 4, 7]", AVG_POOL_GRAD, "f32[2, 4, 3]",
           ATTRS(3, INTS(KERNEL, 3), INTS(STRIDES, 2), INTS(SIZES, 7))),
    EXPECT("bf16[2, 3, 4] f32[3] f32[3] f32[3] f32[3]", BATCH_NORM,
           "bf16[2, 3, 4] bf16[3] bf16[3] f32[3] f32[3]", .attr_count = 0),
    EXPECT("f32[7]", RANDOM_UNIFORM, "i64[2]", ATTRS(2, INTS(SHAPE, 7), INT(SALT, 1))),
};

static const expectation faulty[] = {
    EXPECT("'add' takes 2 operands; 1 given", ADD, "f32[2]", .attr_count = 0),
    EXPECT("'cast' needs the attribute 'dtype'", CAST, "f32[2]", .attr_count = 0),
    EXPECT("'add' has no attribute 'axis'", ADD, "f32[2] f32[2]", ATTRS(1, INT(AXIS, 0))),
    EXPECT("different element types, f32[2] and i32[2]; 'cast'", ADD, "f32[2] i32[2]", .attr_count = 0),
    EXPECT("f32[2, 3] and f32[2] do not broadcast", ADD, "f32[2, 3] f32[2]", .attr_count = 0),
    EXPECT("no arithmetic on bool[2]", ADD, "bool[2] bool[2]", .attr_count = 0),
    EXPECT("must be floating point, not i32[2]; convert it with 'cast'", DIV, "i32[2] i32[2]",
           .attr_count = 0),
    EXPECT("must be floating point, not i32[2]", EXP, "i32[2]", .attr_count = 0),
    EXPECT("the condition must be bool, not f32[2]", WHERE, "f32[2] f32[2] f32[2]", .attr_count = 0),
    EXPECT("unknown element type 'f31'", CAST, "f32[2]", ATTRS(1, TEXT(DTYPE, "f31"))),
    EXPECT("2.5 is not a value of i32", CONSTANT, "",
           ATTRS(3, FLOAT(VALUE, 2.5), INTS(SHAPE, 2), TEXT(DTYPE, "i32"))),
    EXPECT("nan is not a value of i32", CONSTANT, "",
           ATTRS(3, FLOAT(VALUE, __builtin_nan("")), INTS(SHAPE, 2), TEXT(DTYPE, "i32"))),
    EXPECT("dimension 1 of the shape is negative: -2", CONSTANT, "",
           ATTRS(3, FLOAT(VALUE, 0), INTS(SHAPE, 2, -2), TEXT(DTYPE, "f32"))),
    EXPECT("too large to count", CONSTANT, "",
           ATTRS(3, FLOAT(VALUE, 0), INTS(SHAPE, INT64_MAX, 2), TEXT(DTYPE, "f32"))),
    EXPECT("at most 8 dimensions; 9 given", RESHAPE, "f32[1]",
           ATTRS(1, INTS(SHAPE, 1, 1, 1, 1, 1, 1, 1, 1, 1))),
    EXPECT("a scalar has no axis 0", IOTA, "",
           ATTRS(3, INT(AXIS, 0), {.key = COL_ATTR_SHAPE}, TEXT(DTYPE, "f32"))),
    EXPECT("generator state, i64[2]", RANDOM_UNIFORM, "i32[2]", ATTRS(2, INTS(SHAPE, 7), INT(SALT, 1))),
    EXPECT("operand 2 has no meaning", RANDOM_UNIFORM, "i64[2] i64[]",
           ATTRS(2, INTS(SHAPE, 7), INT(SALT, 1))),
    EXPECT("the last operand must be the number", RANDOM_UNIFORM, "i64[2]",
           ATTRS(3, INTS(SHAPE, 7), INT(SALT, 1), INTS(WHOLE, 14))),
    EXPECT("'whole' is not the shape", RANDOM_UNIFORM, "i64[2] i64[]",
           ATTRS(3, INTS(SHAPE, 7), INT(SALT, 1), INTS(WHOLE, 6))),
    EXPECT("salt -1 is not in", RANDOM_UNIFORM, "i64[2]", ATTRS(2, INTS(SHAPE, 7), INT(SALT, -1))),
    EXPECT("axis 3 is not in -2..1", SUM, "f32[2, 3]", ATTRS(1, INTS(AXES, 3))),
    EXPECT("axis 1 is listed twice", SUM, "f32[2, 3]", ATTRS(1, INTS(AXES, 1, -1))),
    EXPECT("lists 3 axes", SUM, "f32[2, 3]", ATTRS(1, INTS(AXES, 0, 1, 2))),
    EXPECT("'axes' is empty", SUM, "f32[2, 3]", ATTRS(1, {.key = COL_ATTR_AXES})),
    EXPECT("no elements to reduce", MAX, "f32[0, 3]", ATTRS(1, INTS(AXES, 0))),
    EXPECT("has 12 elements, the new shape f32[5, 2] has 10", RESHAPE, "f32[2, 6]",
           ATTRS(1, INTS(SHAPE, 5, 2))),
    EXPECT("'perm' lists 2 axes; f32[2, 3, 4] has 3", TRANSPOSE, "f32[2, 3, 4]", ATTRS(1, INTS(PERM, 1, 0))),
    EXPECT("does not broadcast to f32[3, 2]", BROADCAST, "f32[3]", ATTRS(1, INTS(SHAPE, 3, 2))),
    EXPECT("does not broadcast to f32[3]", BROADCAST, "f32[2, 3]", ATTRS(1, INTS(SHAPE, 3))),
    EXPECT("2..6 is not a range of axis 1 of f32[4, 5]", SLICE, "f32[4, 5]",
           ATTRS(2, INTS(STARTS, 0, 2), INTS(STOPS, 4, 6))),
    EXPECT("'starts' has 1 numbers", SLICE, "f32[4, 5]", ATTRS(2, INTS(STARTS, 0), INTS(STOPS, 4, 5))),
    EXPECT("axis 1 of f32[2, 6] does not divide into 4 equal parts", SPLIT, "f32[2, 6]",
           ATTRS(2, INT(PARTS, 4), INT(AXIS, 1))),
    EXPECT("between 1 and 1024 parts", SPLIT, "f32[2, 6]", ATTRS(2, INT(PARTS, 0), INT(AXIS, 1))),
    EXPECT("operand 2 is f32[3, 1]; like operand 1 but for axis 1", CONCAT, "f32[2, 3] f32[3, 1]",
           ATTRS(1, INT(AXIS, 1))),
    EXPECT("to cut, use 'slice'", PAD, "f32[3]", ATTRS(2, INTS(LOW, -1), INTS(HIGH, 0))),
    EXPECT("too large to count", PAD, "f32[3]", ATTRS(2, INTS(LOW, INT64_MAX), INTS(HIGH, 1))),
    EXPECT("the indices must be i32 or i64, not f32[2]", EMBEDDING, "f32[5, 6] f32[2]", .attr_count = 0),
    EXPECT("the table must have 2 dimensions", EMBEDDING, "f32[5] i32[2]", .attr_count = 0),
    EXPECT("more than 8 dimensions", EMBEDDING, "f32[5, 2] i32[1, 1, 1, 1, 1, 1, 1, 1]", .attr_count = 0),
    EXPECT("the updates are f32[6, 3]; with these indices and base they should be f32[6, 4]", SCATTER_ADD,
           "f32[4, 4] i32[6] f32[6, 3]", .attr_count = 0),
    EXPECT("does not fit into f32[3, 4] along axis 1", UPDATE_SLICE, "f32[3, 4] f32[3, 5] i32[]",
           ATTRS(1, INT(AXIS, 1))),
    EXPECT("should read like", EINSUM, "f32[2] f32[2]", ATTRS(1, TEXT(EQUATION, "a,a"))),
    EXPECT("should read like", EINSUM, "f32[2] f32[2]", ATTRS(1, TEXT(EQUATION, "a,B->a"))),
    EXPECT("repeats within one tensor", EINSUM, "f32[2, 2] f32[2]", ATTRS(1, TEXT(EQUATION, "aa,a->a"))),
    EXPECT("in no operand", EINSUM, "f32[2] f32[2]", ATTRS(1, TEXT(EQUATION, "a,a->b"))),
    EXPECT("the product, f32[2, 5], cannot be added to f32[5, 2]", EINSUM_ADD,
           "f32[5, 2] f32[2, 3] f32[3, 5]", ATTRS(1, TEXT(EQUATION, "ab,bc->ac"))),
    EXPECT("operand 3, f32[2], has 1 dimensions", EINSUM_ADD, "f32[2] f32[2, 3] f32[2]",
           ATTRS(1, TEXT(EQUATION, "ab,bc->ac"))),
    EXPECT("at most 8 dimensions", EINSUM, "f32[2] f32[2]", ATTRS(1, TEXT(EQUATION, "abcdefghi,a->a"))),
    EXPECT("operand 2, f32[2], has 1 dimensions", EINSUM, "f32[2] f32[2]",
           ATTRS(1, TEXT(EQUATION, "a,ab->b"))),
    EXPECT("the dimension 'k' is 3 in f32[2, 3] and 4 in f32[4, 5]", EINSUM, "f32[2, 3] f32[4, 5]",
           ATTRS(1, TEXT(EQUATION, "mk,kn->mn"))),
    EXPECT("must be [batch, time, heads, width]", ATTENTION,
           "f32[2, 3, 4, 8] f32[2, 5, 4, 8] f32[2, 6, 4, 8]", .attr_count = 0),
    EXPECT("'attention_cached'", ATTENTION, "f32[2, 3, 4, 8] f32[2, 5, 4, 8] f32[2, 5, 4, 8]",
           ATTRS(1, INT(CAUSAL, 1))),
    EXPECT("generator state", ATTENTION, "f32[2, 3, 4, 8] f32[2, 3, 4, 8] f32[2, 3, 4, 8]",
           ATTRS(2, FLOAT(RATE, 0.5), INT(SALT, 1))),
    EXPECT("rate 1 is not in [0, 1)", DROPOUT, "f32[2] i64[2]", ATTRS(2, FLOAT(RATE, 1), INT(SALT, 1))),
    EXPECT("rate nan is not in [0, 1)", DROPOUT, "f32[2] i64[2]",
           ATTRS(2, FLOAT(RATE, __builtin_nan("")), INT(SALT, 1))),
    EXPECT("the mask f32[2, 2] does not broadcast to the scores f32[2, 4, 3, 3]", ATTENTION,
           "f32[2, 3, 4, 8] f32[2, 3, 4, 8] f32[2, 3, 4, 8] f32[2, 2]", .attr_count = 0),
    EXPECT("the weight is f32[4]; the last dimension of f32[2, 5] needs size 5", LAYER_NORM,
           "f32[2, 5] f32[4] f32[5]", .attr_count = 0),
    EXPECT("the labels are i32[4]; for logits f32[3, 6] they should be i32[3]", CROSS_ENTROPY,
           "f32[3, 6] i32[4]", .attr_count = 0),
    EXPECT("label_smoothing 1.5", CROSS_ENTROPY, "f32[3, 6] i32[3]", ATTRS(1, FLOAT(LABEL_SMOOTHING, 1.5))),
    EXPECT("must be [batch, channels, spatial...], not f32[2, 3]", CONV, "f32[2, 3] f32[4, 3]",
           .attr_count = 0),
    EXPECT("the weight must have 4 dimensions", CONV, "f32[2, 3, 4, 4] f32[4, 3, 3]", .attr_count = 0),
    EXPECT("3 channels in and 4 out do not form 1 groups with a weight for 2 channels each", CONV,
           "f32[2, 3, 4] f32[4, 2, 1]", .attr_count = 0),
    EXPECT("do not form 2 groups", CONV, "f32[2, 4, 4] f32[3, 2, 1]", ATTRS(1, INT(GROUPS, 2))),
    EXPECT("do not form 0 groups", CONV, "f32[2, 4, 4] f32[3, 2, 1]", ATTRS(1, INT(GROUPS, 0))),
    EXPECT("a window of 5 along spatial axis 0 does not fit 4 elements and the padding 0 + 0", CONV,
           "f32[2, 3, 4] f32[4, 3, 3]", ATTRS(1, INTS(DILATIONS, 2))),
    EXPECT("'strides' has 3 numbers for 2 spatial axes", CONV, "f32[2, 3, 4, 4] f32[4, 3, 3, 3]",
           ATTRS(1, INTS(STRIDES, 1, 2, 3))),
    EXPECT("'strides' holds 0; it must be from 1", CONV, "f32[2, 3, 4] f32[4, 3, 3]",
           ATTRS(1, INTS(STRIDES, 0))),
    EXPECT("'low' holds -1", CONV, "f32[2, 3, 4] f32[4, 3, 3]", ATTRS(1, INTS(LOW, -1))),
    EXPECT("a kernel of 0 taps", CONV, "f32[2, 3, 4] f32[4, 3, 0]", .attr_count = 0),
    EXPECT("the gradient is f32[2, 4, 3]; with these windows it should be f32[2, 4, 2]", CONV_GRAD_INPUT,
           "f32[2, 4, 3] f32[4, 3, 3]", ATTRS(1, INTS(SIZES, 4))),
    EXPECT("the gradient has 5 channels, the weight makes 4", CONV_GRAD_INPUT, "f32[2, 5, 2] f32[4, 3, 3]",
           ATTRS(1, INTS(SIZES, 4))),
    EXPECT("the operand has a batch of 2, the gradient of 3", CONV_GRAD_WEIGHT, "f32[2, 3, 4] f32[3, 4, 2]",
           ATTRS(1, INTS(KERNEL, 3))),
    EXPECT("pad by at most 1", MAX_POOL, "f32[2, 3, 4]",
           ATTRS(3, INTS(KERNEL, 2), INTS(STRIDES, 1), INTS(LOW, 2))),
    EXPECT("pad by at most 0", AVG_POOL, "f32[2, 3, 4]",
           ATTRS(3, INTS(KERNEL, 1), INTS(STRIDES, 1), INTS(HIGH, 1))),
    EXPECT("the gradient is f32[2, 3, 4]; with these windows it should be f32[2, 3, 2]", MAX_POOL_GRAD,
           "f32[2, 3, 4] f32[2, 3, 4]", ATTRS(2, INTS(KERNEL, 2), INTS(STRIDES, 2))),
    EXPECT("must be floating point, not i32[2, 3, 4]", MAX_POOL, "i32[2, 3, 4]",
           ATTRS(2, INTS(KERNEL, 2), INTS(STRIDES, 2))),
    EXPECT("the running mean is f32[4]; for f32[2, 3] it should be f32[3]", BATCH_NORM,
           "f32[2, 3] f32[3] f32[3] f32[4] f32[3]", .attr_count = 0),
    EXPECT("momentum 1.5 is not in [0, 1]", BATCH_NORM, "f32[2, 3] f32[3] f32[3] f32[3] f32[3]",
           ATTRS(1, FLOAT(MOMENTUM, 1.5))),
    EXPECT("must be [batch, channels, ...], not f32[2]", BATCH_NORM, "f32[2] f32[2] f32[2] f32[2] f32[2]",
           .attr_count = 0),
    EXPECT("there is no variable 'y'", ASSIGN, "f32[2]", ATTRS(1, TEXT(VARIABLE, "y"))),
    EXPECT("'x0' is an input", ASSIGN, "f32[2]", ATTRS(1, TEXT(VARIABLE, "x0"))),
};

static void test_sound_nodes(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COL_COUNT(sound); i++) {
        col_arena *arena = col_arena_create();
        assert_string_equal(infer(&sound[i].s, arena), sound[i].text);
        col_arena_destroy(arena);
    }
}

static void test_faulty_nodes(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COL_COUNT(faulty); i++) {
        col_arena *arena = col_arena_create();
        const char *text = infer(&faulty[i].s, arena);
        if (!strstr(text, faulty[i].text))
            fail_msg("case %zu: expected '%s', got '%s'", i, faulty[i].text, text);
        col_arena_destroy(arena);
    }
}

static const sample unordered_axes = NODE(SUM, "f32[2, 3, 4]", ATTRS(1, INTS(AXES, -1, 0)));

/* Lists of axes have one form, whatever the author wrote. */
static void test_axes_are_canonical(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_node *node = sample_build(&unordered_axes, arena);
    int count;
    const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
    assert_int_equal(count, 2);
    assert_int_equal(axes[0], 0);
    assert_int_equal(axes[1], 2);
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_nodes),
        cmocka_unit_test(test_faulty_nodes),
        cmocka_unit_test(test_axes_are_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
