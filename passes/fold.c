/* Algebraic identities and constants.
 *
 * needs     a sound graph
 * provides  fewer nodes: x + 0, x * 1, x / 1, x - 0, where of a constant condition, casts to the same type,
 *           views of views of the same kind, and ops whose operands are all constants of one value (splats)
 * breaks    nothing; leaves dead nodes for dce
 *
 * Constants in this IR are splats (one value repeated), so folding an elementwise op gives a splat again and
 * costs one evaluation of a single element by the op's reference `eval`. */
#include "passes/pass.h"

#include <math.h>

static bool splat_of(const col_value *value, double *out)
{
    while (value->producer && col_op_info_of(value->producer->op)->op_class == COL_CLASS_VIEW) {
        value = col_node_operand(value->producer, 0);
    }
    if (!value->producer || value->producer->op != COL_OP_CONSTANT) return false;
    *out = col_node_float(value->producer, COL_ATTR_VALUE);
    return true;
}

static bool is_splat(const col_value *value, double wanted)
{
    double v;
    return splat_of(value, &v) && v == wanted && !signbit(v) == !signbit(wanted);
}

/* op(x, neutral) = x, the neutral element standing at `operand`. */
static const struct {
    col_op op;
    uint32_t operand;
    double neutral;
} neutrals[] = {
    {COL_OP_ADD, 0, 0}, {COL_OP_ADD, 1, 0}, {COL_OP_SUB, 1, 0},
    {COL_OP_MUL, 0, 1}, {COL_OP_MUL, 1, 1}, {COL_OP_DIV, 1, 1},
};

/* The operand that the node's result equals up to broadcasting; NULL when no identity applies. */
static col_value *identity(const col_node *node)
{
    double condition;
    if (node->op == COL_OP_WHERE && splat_of(col_node_operand(node, 0), &condition)) {
        return col_node_operand(node, condition ? 1 : 2);
    }
    for (size_t i = 0; i < COL_COUNT(neutrals); i++) {
        if (node->op != neutrals[i].op) continue;
        uint32_t operand = neutrals[i].operand;
        if (is_splat(col_node_operand(node, operand), neutrals[i].neutral))
            return col_node_operand(node, 1 - operand);
    }
    return NULL;
}

/* The value of an elementwise op on splats, rounded to the result's dtype where that is narrower than fp64. Whole
 * numbers that leave their type, or the range in which fp64 is exact, are left to the run, which keeps the lower
 * bits. */
static bool evaluate_splat(const col_node *node, double *out)
{
    const col_op_info *info = col_op_info_of(node->op);
    if (info->op_class != COL_CLASS_ELEMENTWISE || node->operand_count > 3) return false;
    double in[3];
    col_tensor operands[3];
    for (uint32_t i = 0; i < node->operand_count; i++) {
        if (!splat_of(col_node_operand(node, i), &in[i])) return false;
        operands[i] = (col_tensor){{.dtype = col_node_operand(node, i)->type.dtype}, &in[i]};
    }
    col_tensor result = {{.dtype = node->results[0].type.dtype}, out};
    info->eval(node, operands, &result);
    if (result.type.dtype == COL_F32) *out = (float)*out;
    if (!col_dtype_is_float(result.type.dtype))
        return col_dtype_holds(result.type.dtype, *out) && fabs(*out) < 0x1p53;
    return result.type.dtype != COL_F16 && result.type.dtype != COL_BF16;
}

col_status col_pass_fold(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    col_builder b = {.graph = graph};
    COL_FOR_EACH_NODE (node, graph) {
        if (node->result_count != 1) continue;
        col_value *result = &node->results[0], *replacement = identity(node);
        double value;
        col_builder_at(&b, node);
        if (replacement && replacement->type.dtype != result->type.dtype) replacement = NULL;
        if (replacement)
            replacement = col_build_broadcast(&b, replacement, result->type.shape);
        else if (evaluate_splat(node, &value))
            replacement = col_build_full(&b, value, result->type);
        if (replacement) col_value_replace(graph, result, replacement);
    }
    return NULL;
}
