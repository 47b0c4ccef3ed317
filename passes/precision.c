/* Mixed precision: products, convolutions and attention compute on operands of 16 bits, everything that sums
 * or normalises stays fp32, and the rest follows its operands. Parameters, their gradients and the
 * optimizer's state stay fp32: a cast stands between a parameter and its use, so that differentiation brings
 * gradients back to it.
 *
 * needs     composites not yet lowered, no gradients yet (inference and kv_cache may have run)
 * provides  operands of contractions, `conv` and `attention` are of the narrow type
 * breaks    nothing; outputs and assigned values keep their types
 *
 * Node by node, in the order of the graph:
 *   narrow   einsum, attention, conv      f32 operands are cast down; where the device has only f32 products, up
 *                                         again, and results down: the same numbers, to rounding
 *   wide     sums, normalisations, losses, exponentials and their like: narrow operands are cast up
 *   batch    normalisations of a batch compute wide and give what they normalise in the type that it had
 *   follow   the others: where narrow and f32 meet, what is made of parameters and constants alone is cast
 * down, and where something else is f32, or a constant leaves the range of f16, the narrow ones are cast up.
 * The types of results are inferred anew.
 * Equal casts are merged by `cse`. */
#include "passes/pass.h"

#include <math.h>

static bool is_narrow_op(const col_node *node)
{
    return col_op_info_of(node->op)->op_class == COL_CLASS_CONTRACTION || node->op == COL_OP_ATTENTION ||
           node->op == COL_OP_ATTENTION_CACHED || node->op == COL_OP_CONV;
}

static bool is_wide_op(const col_node *node)
{
    static const col_op wide[] = {
        COL_OP_EXP,         COL_OP_LOG,        COL_OP_SQRT,       COL_OP_RSQRT,         COL_OP_RECIPROCAL,
        COL_OP_POW,         COL_OP_DIV,        COL_OP_SUM,        COL_OP_MEAN,          COL_OP_SOFTMAX,
        COL_OP_LOG_SOFTMAX, COL_OP_LAYER_NORM, COL_OP_BATCH_NORM, COL_OP_CROSS_ENTROPY, COL_OP_ASSIGN,
        COL_OP_EMBEDDING,   COL_OP_SCATTER_ADD};
    for (size_t i = 0; i < COL_COUNT(wide); i++) {
        if (wide[i] == node->op) return true;
    }
    return false;
}

/* Made of parameters and constants alone, as far as views and casts show it. */
static bool is_weight(const col_value *value)
{
    while (value->producer) {
        const col_op_info *info = col_op_info_of(value->producer->op);
        if (value->producer->op == COL_OP_CONSTANT) return true;
        if (info->op_class != COL_CLASS_VIEW && value->producer->op != COL_OP_CAST) return false;
        value = col_node_operand(value->producer, 0);
    }
    return value->var->kind == COL_VAR_PARAM;
}

/* Casts the operands of type `from`. */
static void cast_operands(col_builder *b, col_node *node, col_dtype from, col_dtype to)
{
    for (uint32_t i = 0; i < node->operand_count; i++) {
        col_value *value = col_node_operand(node, i);
        if (value->type.dtype == from) col_node_set_operand(node, i, col_build_cast(b, value, to));
    }
}

/* A constant that f16 would make infinite, or zero or nearly so. */
static bool is_beyond(const col_value *value, col_dtype narrow)
{
    static const double largest = 65504, least = 0x1p-14;
    if (narrow != COL_F16) return false;
    while (value->producer && col_op_info_of(value->producer->op)->op_class == COL_CLASS_VIEW)
        value = col_node_operand(value->producer, 0);
    if (!value->producer || value->producer->op != COL_OP_CONSTANT) return false;
    double size = fabs(col_node_float(value->producer, COL_ATTR_VALUE));
    return isfinite(size) && size != 0 && (size > largest || size < least);
}

/* The type in which operands of both types meet. */
static col_dtype meeting_type(const col_node *node, col_dtype narrow)
{
    bool has_narrow = false, has_wide = false;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *value = col_node_operand(node, i);
        has_narrow |= value->type.dtype == narrow;
        has_wide |= value->type.dtype == COL_F32 && (!is_weight(value) || is_beyond(value, narrow));
    }
    return has_narrow && !has_wide ? narrow : COL_F32;
}

static void settle(col_builder *b, col_node *node, const col_pass_options *options)
{
    col_dtype narrow = options->precision, type = COL_F32;
    if (node->op == COL_OP_CAST) return;
    if (is_narrow_op(node))
        type = narrow;
    else if (!is_wide_op(node))
        type = meeting_type(node, narrow);
    cast_operands(b, node, type == narrow ? COL_F32 : narrow, type);
    if (is_narrow_op(node) && options->wide_products) cast_operands(b, node, narrow, COL_F32);
}

/* The result in the narrow type, for all that reads it. */
static void narrow_result(col_builder *b, col_node *node, col_dtype narrow)
{
    col_value *result = &node->results[0];
    b->before = node->next;
    col_value *cast = col_build_cast(b, result, narrow);
    for (col_operand *use = result->first_use, *next; use; use = next) {
        next = use->next_use;
        if (use->user != cast->producer) col_node_set_operand(use->user, use->index, cast);
    }
    for (size_t i = 0; i < b->graph->outputs.len; i++) {
        col_output *output = &b->graph->outputs.data[i];
        if (output->value == result) output->value = cast;
    }
}

col_status col_pass_precision(col_graph *graph, const col_pass_options *options)
{
    col_dtype narrow = options->precision;
    col_builder b = {.graph = graph};
    col_diags diags = {.arena = graph->arena};
    if (narrow == COL_F32) return NULL;
    COL_ASSERT(narrow == COL_BF16 || narrow == COL_F16);
    COL_FOR_EACH_NODE (node, graph) {
        col_builder_at(&b, node);
        bool narrows = node->op == COL_OP_BATCH_NORM && col_node_operand(node, 0)->type.dtype == narrow;
        narrows |= is_narrow_op(node) && options->wide_products;
        settle(&b, node, options);
        if (!col_op_info_of(node->op)->infer(node, &diags))
            COL_PANIC("mixed precision does not fit %s", col_op_info_of(node->op)->name);
        if (narrows) narrow_result(&b, node, narrow);
    }
    b.before = NULL;
    b.scope = "";
    for (size_t i = 0; i < graph->outputs.len; i++) {
        col_output *output = &graph->outputs.data[i];
        if (output->value->type.dtype == narrow) output->value = col_build_cast(&b, output->value, COL_F32);
    }
    return NULL;
}
