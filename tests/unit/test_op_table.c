/* Properties of every row of the op table, on the samples: gradients against finite differences, lowerings
 * against the ops' own evaluation. */
#include "tests/unit/unit.h"

#include "passes/autodiff.h"
#include "passes/gradcheck.h"
#include "passes/pass.h"
#include "tests/unit/samples.h"

#include <math.h>

static const char *name_of(col_op op)
{
    return col_op_info_of(op)->name;
}

static void test_every_op_has_a_sample(void **unused)
{
    (void)unused;
    bool covered[COL_OP_COUNT] = {false};
    for (size_t i = 0; i < sample_count; i++) covered[samples[i].op] = true;
    for (int op = 0; op < COL_OP_COUNT; op++) {
        if (!covered[op]) fail_msg("no sample of '%s'", name_of((col_op)op));
    }
}

/* What a row may lack, and why. */
static const struct {
    col_op op;
    const char *why;
} without_gradient[] = {
    {COL_OP_EINSUM_ADD, "is made of what is differentiated already"},
    {COL_OP_UPDATE_SLICE, "fills the cache of generation"},
    {COL_OP_ATTENTION_CACHED, "reads the cache of generation"},
    {COL_OP_ATTENTION_GRAD, "is a gradient: there are no second ones"},
    {COL_OP_CONV_GRAD_WEIGHT, "is a gradient: there are no second ones"},
    {COL_OP_MAX_POOL_GRAD, "is a gradient: there are no second ones"},
    {COL_OP_AVG_POOL_GRAD, "is a gradient: there are no second ones"},
    {COL_OP_PRODUCT_BIAS, "is made when gradients are there"},
    {COL_OP_PRODUCT_GELU, "is made when gradients are there"},
    {COL_OP_PRODUCT_GELU_GRAD, "is made when gradients are there"},
    {COL_OP_ASSIGN, "has no result"},
};

/* Made when a graph has been split: neither split nor differentiated again. */
static bool is_made_by_partitioning(const col_op_info *info)
{
    return info->eval == col_eval_collective || info->eval == col_eval_wait;
}

/* Every graph can be planned: each op is split over a mesh, costs something, and is differentiated, or becomes such
 * ops before. */
static void test_every_op_can_be_planned(void **unused)
{
    (void)unused;
    for (int op = 0; op < COL_OP_COUNT; op++) {
        const col_op_info *info = col_op_info_of((col_op)op);
        if (is_made_by_partitioning(info)) continue;
        const char *why = NULL;
        for (size_t i = 0; i < COL_COUNT(without_gradient); i++) {
            if (without_gradient[i].op == (col_op)op) why = without_gradient[i].why;
        }
        if (info->gradient ? why != NULL : why == NULL)
            fail_msg("'%s' %s", info->name, why ? "has a gradient after all" : "has no gradient");
        if (info->lower) continue;
        if (!info->factors || !info->local) fail_msg("'%s' cannot be split over a mesh", info->name);
        bool moves = info->op_class == COL_CLASS_VIEW || info->op_class == COL_CLASS_MOVE ||
                     info->op_class == COL_CLASS_STATE;
        if (!info->work && !moves) fail_msg("'%s' has no cost", info->name);
    }
}

static void test_gradients_match_differences(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sample_count; i++) {
        const col_op_info *info = col_op_info_of(samples[i].op);
        if (!info->gradient || info->gradient == col_grad_zero) continue;
        col_arena *arena = col_arena_create();
        col_node *node = sample_build(&samples[i], arena);
        bool wanted[64], used[64];
        for (uint32_t k = 0; k < node->operand_count; k++) {
            const col_value *x = col_node_operand(node, k);
            wanted[k] = x->var->kind == COL_VAR_PARAM;
        }
        for (uint32_t k = 0; k < node->result_count; k++) used[k] = !(samples[i].plain_results >> k & 1);
        for (uint64_t seed = 1; seed <= 3; seed++) {
            col_gradcheck check;
            assert_ok(col_gradcheck_node(node, wanted, used, 0, seed, &check));
            assert_true(check.checked > 0);
            if (!(check.worst < COL_GRADCHECK_TOLERANCE)) {
                fail_msg("sample %zu, '%s', seed %d: gradient of operand %u[%d] is %g, differences say %g", i,
                         info->name, (int)seed, check.worst_variable, (int)check.worst_element,
                         check.analytic, check.numeric);
            }
        }
        col_arena_destroy(arena);
    }
}

/* The largest difference of two graphs' outputs, relative to the largest magnitude. */
static double compare_outputs(const col_graph *a, const col_graph *b, const col_tensor *vars,
                              col_arena *arena)
{
    col_evaluation x, y;
    double difference = 0, scale = 1e-300;
    assert_ok(col_evaluate(a, NULL, vars, arena, &x));
    assert_ok(col_evaluate(b, NULL, vars, arena, &y));
    assert_int_equal(a->outputs.len, b->outputs.len);
    for (size_t i = 0; i < a->outputs.len; i++) {
        assert_true(col_type_equal(x.outputs[i].type, y.outputs[i].type));
        for (int64_t j = 0; j < col_shape_numel(x.outputs[i].type.shape); j++) {
            difference = fmax(difference, fabs(x.outputs[i].data[j] - y.outputs[i].data[j]));
            scale = fmax(scale, fabs(x.outputs[i].data[j]));
            assert_true(isfinite(y.outputs[i].data[j]));
        }
    }
    return difference / scale;
}

static void test_lowerings_match_evaluation(void **unused)
{
    (void)unused;
    col_pass_options options = col_pass_options_default();
    for (size_t i = 0; i < sample_count; i++) {
        if (!col_op_info_of(samples[i].op)->lower) continue;
        col_arena *arena = col_arena_create();
        col_node *node = sample_build(&samples[i], arena);
        for (uint32_t k = 0; k < node->result_count; k++) {
            col_graph_add_output(node->graph, col_arena_printf(arena, "y%u", k), &node->results[k],
                                 (col_loc){0});
        }
        col_graph *lowered = col_graph_clone(node->graph, arena);
        assert_ok(col_pass_lower(lowered, &options));
        assert_ok(col_graph_verify(lowered));
        COL_FOR_EACH_NODE (n, lowered) assert_null(col_op_info_of(n->op)->lower);
        for (uint64_t seed = 1; seed <= 3; seed++) {
            col_tensor *vars = col_evaluate_vars(node->graph, arena);
            col_gradcheck_fill(node->graph, seed, false, vars);
            double difference = compare_outputs(node->graph, lowered, vars, arena);
            if (!(difference < 1e-13))
                fail_msg("sample %zu, '%s': lowered off by %g", i, name_of(samples[i].op), difference);
        }
        col_arena_destroy(arena);
    }
}

/* Types of what gradients and lowerings build in narrow floating point: the builder checks them. */
static void test_narrow_types_differentiate_and_lower(void **unused)
{
    (void)unused;
    static const char *const names[] = {"bf16", "f64"};
    col_pass_options options = col_pass_options_default();
    for (size_t i = 0; i < sample_count * COL_COUNT(names); i++) {
        sample s = samples[i / COL_COUNT(names)];
        const col_op_info *info = col_op_info_of(s.op);
        const char *dtype = names[i % COL_COUNT(names)];
        if (!info->gradient || info->gradient == col_grad_zero) continue;
        col_arena *arena = col_arena_create();
        col_str types = {0};
        for (const char *p = s.types; *p; p++) {
            if (!strncmp(p, "f32", 3)) {
                col_str_append(&types, dtype);
                p += 2;
            } else {
                col_str_append_bytes(&types, p, 1);
            }
        }
        s.types = col_str_text(&types);
        col_node *node = sample_build(&s, arena);
        bool wanted[64], used[64];
        for (uint32_t k = 0; k < node->operand_count; k++)
            wanted[k] = col_node_operand(node, k)->var->kind == COL_VAR_PARAM;
        for (uint32_t k = 0; k < node->result_count; k++) used[k] = !(s.plain_results >> k & 1);
        col_graph *probe = col_gradcheck_probe(node, wanted, used, arena);
        assert_ok(col_pass_autodiff(probe, &options));
        assert_ok(col_pass_lower(probe, &options));
        assert_ok(col_graph_verify(probe));
        col_str_fini(&types);
        col_arena_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op_has_a_sample),
        cmocka_unit_test(test_every_op_can_be_planned),
        cmocka_unit_test(test_gradients_match_differences),
        cmocka_unit_test(test_lowerings_match_evaluation),
        cmocka_unit_test(test_narrow_types_differentiate_and_lower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
