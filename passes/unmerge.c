/* Gives a dimension that is split into parts later on a dimension for the parts: the query, key and value
 * that one product makes together, [b, t, 3c] and then split, become [b, t, 3, c]. Only so can a mesh split
 * the heads of all three: a block of 3c is not a block of each.
 *
 * needs     nothing; runs before autodiff, so that the backward pass follows
 * provides  split -> slices of a value that the product makes with one dimension more; parameters that end in
 * such a dimension have that shape, and keep the outside's as `stored` breaks    nothing
 *
 * The way back from a split goes through elementwise ops and products, while each value has one user, to
 * parameters. */
#include "passes/pass.h"

#include <string.h>

#include "ir/einsum.h"
#include "ir/ops/equation.h"

/* Which dimension of a value becomes [parts, size / parts]. */
typedef struct cut {
    int dim;
    int64_t parts;
} cut;

static bool has_one_user(const col_graph *graph, const col_value *value)
{
    return value->first_use && !value->first_use->next_use && !col_value_is_output(graph, value);
}

/* The dimension of an elementwise operand that broadcasts to dimension `dim` of the result; below 0: none. */
static int aligned(const col_node *node, uint32_t operand, int dim)
{
    return dim - (node->results[0].type.shape.rank - col_node_operand(node, operand)->type.shape.rank);
}

static int letter_at(const char *letters, char letter)
{
    const char *at = strchr(letters, letter);
    return at ? (int)(at - letters) : -1;
}

static bool can_cut(const col_graph *graph, const col_value *value, cut c)
{
    col_shape shape = value->type.shape;
    if (shape.rank == COL_MAX_RANK || shape.dims[c.dim] % c.parts) return false;
    if (value->var) return value->var->kind == COL_VAR_PARAM && col_shape_equal(value->var->stored, shape);
    if (!has_one_user(graph, value)) return false;
    const col_node *node = value->producer;
    if (node->op == COL_OP_EINSUM) {
        col_einsum e = col_einsum_of(node);
        bool found = false;
        for (uint32_t i = 0; i < 2; i++) {
            int dim = letter_at(e.operands[i], e.result[c.dim]);
            if (dim < 0) continue;
            found = true;
            if (!can_cut(graph, col_node_operand(node, i), (cut){dim, c.parts})) return false;
        }
        return found && strlen(e.batch) + strlen(e.rows) + strlen(e.columns) + strlen(e.inner) < 20;
    }
    if (col_op_info_of(node->op)->op_class != COL_CLASS_ELEMENTWISE) return false;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *operand = col_node_operand(node, i);
        int dim = aligned(node, i, c.dim);
        if (dim < 0 || operand->type.shape.dims[dim] == 1) continue;
        if (!can_cut(graph, operand, (cut){dim, c.parts})) return false;
    }
    return true;
}

static col_shape cut_shape(col_shape shape, cut c)
{
    bool whole = shape.dims[c.dim] == 1;
    int64_t size = shape.dims[c.dim];
    for (int d = shape.rank; d > c.dim + 1; d--) shape.dims[d] = shape.dims[d - 1];
    shape.dims[c.dim] = whole ? 1 : c.parts;
    shape.dims[c.dim + 1] = whole ? 1 : size / c.parts;
    shape.rank++;
    return shape;
}

/* Everyone but the caller goes on seeing the parameter in the shape that it had. */
static col_value *cut_parameter(col_builder *b, col_var *var, cut c)
{
    col_builder first = *b;
    first.before = b->graph->first;
    first.phase = COL_PHASE_FORWARD;
    col_type before = var->type;
    var->type.shape = var->whole = var->value->type.shape = cut_shape(before.shape, c);
    col_value *as_before = col_build_reshape(&first, var->value, before.shape);
    var->value->type = before; /* types must be equal while users change over */
    col_operand *keep = &as_before->producer->operands[0];
    for (col_operand *use = var->value->first_use, *next; use; use = next) {
        next = use->next_use;
        if (use != keep) col_node_set_operand(use->user, use->index, as_before);
    }
    var->value->type = var->type;
    return var->value;
}

static col_value *cut_value(col_builder *b, col_value *value, cut c);

static col_value *cut_einsum(col_builder *b, const col_node *node, cut c)
{
    col_einsum e = col_einsum_of(node);
    char fresh = 'a', letter = e.result[c.dim], letters[3][COL_MAX_RANK + 2], equation[COL_EQUATION_SIZE];
    while (strchr(e.operands[0], fresh) || strchr(e.operands[1], fresh)) fresh++;
    col_value *operands[2];
    for (uint32_t i = 0; i < 3; i++) {
        const char *from = i < 2 ? e.operands[i] : e.result;
        int dim = letter_at(from, letter), n = 0;
        for (int d = 0; from[d]; d++) {
            if (d == dim) letters[i][n++] = fresh;
            letters[i][n++] = from[d];
        }
        letters[i][n] = 0;
        if (i == 2) continue;
        operands[i] = col_node_operand(node, i);
        if (dim >= 0) operands[i] = cut_value(b, operands[i], (cut){dim, c.parts});
    }
    return col_build_einsum(b, col_equation_print(equation, letters[0], letters[1], letters[2]), operands[0],
                            operands[1]);
}

static col_value *cut_value(col_builder *b, col_value *value, cut c)
{
    if (value->var) return cut_parameter(b, value->var, c);
    col_node *node = value->producer;
    col_builder own = *b;
    col_builder_at(&own, node);
    if (node->op == COL_OP_EINSUM) return cut_einsum(&own, node, c);
    col_value *operands[3];
    for (uint32_t i = 0; i < node->operand_count; i++) {
        col_value *operand = operands[i] = col_node_operand(node, i);
        int dim = aligned(node, i, c.dim);
        if (dim < 0) continue;
        if (operand->type.shape.dims[dim] == 1)
            operands[i] =
                col_build_reshape(&own, operand, cut_shape(operand->type.shape, (cut){dim, c.parts}));
        else
            operands[i] = cut_value(&own, operand, (cut){dim, c.parts});
    }
    col_node *made = col_build(&own, node->op, node->operand_count, operands, node->attr_count, node->attrs);
    return &made->results[0];
}

static void replace_split(col_graph *graph, col_node *node, cut c)
{
    col_builder b = {.graph = graph};
    col_builder_at(&b, node);
    col_value *parts = cut_value(&b, col_node_operand(node, 0), c);
    col_builder_at(&b, node);
    int64_t starts[COL_MAX_RANK] = {0}, stops[COL_MAX_RANK];
    memcpy(stops, parts->type.shape.dims, sizeof stops);
    for (uint32_t i = 0; i < node->result_count; i++) {
        starts[c.dim] = i;
        stops[c.dim] = i + 1;
        col_value *part = col_build_slice(&b, parts, starts, stops);
        col_value_replace(graph, &node->results[i], col_build_reshape(&b, part, node->results[i].type.shape));
    }
    col_graph_remove(node);
}

col_status col_pass_unmerge(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    COL_FOR_EACH_NODE_SAFE (node, graph) {
        if (node->op != COL_OP_SPLIT) continue;
        col_shape shape = col_node_operand(node, 0)->type.shape;
        cut c = {.parts = col_node_int(node, COL_ATTR_PARTS)};
        COL_ASSERT(col_shape_axis(shape, col_node_int(node, COL_ATTR_AXIS), &c.dim));
        if (c.parts > 1 && can_cut(graph, col_node_operand(node, 0), c)) replace_split(graph, node, c);
    }
    return NULL;
}
