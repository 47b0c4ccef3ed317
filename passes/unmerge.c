/* Gives a dimension that is split into parts later on a dimension for the parts: the query, key and value
 * that one product makes together, [b, t, 3c] and then split, become [b, t, 3, c]. Only so can a mesh split
 * the heads of all three: a block of 3c is not a block of each.
 *
 * needs     nothing; runs before autodiff, so that the backward pass follows
 * provides  the split is along a dimension of the value that the product makes with one more; parameters that
 *           end in such a dimension have that shape, and keep the outside's as `stored`
 * breaks    nothing
 *
 * The way back from a split goes through elementwise ops and products, while each value has one user, to
 * parameters. A parameter that is met twice must be cut the same way. */
#include "passes/pass.h"

#include <string.h>

#include "ir/einsum.h"
#include "ir/ops/equation.h"

/* Which dimension of a value becomes [parts, size / parts]. */
typedef struct cut {
    int dim;
    int64_t parts;
} cut;

/* A parameter on the way. */
typedef struct target {
    col_var *var;
    int dim;
    const col_value *as_before; /* once it is cut: in the shape that its other users see */
} target;

/* The way back from one split. */
typedef struct walk {
    col_graph *graph;
    col_arena *scratch;
    COL_VEC(target) targets;
} walk;

static target *find_target(walk *w, const col_value *value)
{
    for (size_t i = 0; i < w->targets.len; i++) {
        target *t = &w->targets.data[i];
        if (t->var->value == value || t->as_before == value) return t;
    }
    return NULL;
}

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

static bool can_cut_parameter(walk *w, const col_value *value, cut c)
{
    target *known = find_target(w, value);
    if (known) return known->dim == c.dim;
    if (value->var->kind != COL_VAR_PARAM || !col_shape_equal(value->var->stored, value->type.shape))
        return false;
    col_vec_push(w->scratch, &w->targets, ((target){value->var, c.dim, NULL}));
    return true;
}

static bool can_cut(walk *w, const col_value *value, cut c)
{
    col_shape shape = value->type.shape;
    if (shape.rank == COL_MAX_RANK || shape.dims[c.dim] % c.parts) return false;
    if (value->var) return can_cut_parameter(w, value, c);
    if (!has_one_user(w->graph, value)) return false;
    const col_node *node = value->producer;
    if (node->op == COL_OP_EINSUM) {
        col_einsum e = col_einsum_of(node);
        bool found = false;
        for (uint32_t i = 0; i < 2; i++) {
            int dim = letter_at(e.operands[i], e.result[c.dim]);
            if (dim < 0) continue;
            found = true;
            if (!can_cut(w, col_node_operand(node, i), (cut){dim, c.parts})) return false;
        }
        return found && strlen(e.batch) + strlen(e.rows) + strlen(e.columns) + strlen(e.inner) < 20;
    }
    if (col_op_info_of(node->op)->op_class != COL_CLASS_ELEMENTWISE) return false;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *operand = col_node_operand(node, i);
        int dim = aligned(node, i, c.dim);
        if (dim < 0 || operand->type.shape.dims[dim] == 1) continue;
        if (!can_cut(w, operand, (cut){dim, c.parts})) return false;
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
static col_value *cut_parameter(col_builder *b, target *t, cut c)
{
    col_var *var = t->var;
    if (t->as_before) return var->value;
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
    t->as_before = as_before;
    return var->value;
}

static col_value *cut_value(walk *w, col_builder *b, col_value *value, cut c);

static col_value *cut_einsum(walk *w, col_builder *b, const col_node *node, cut c)
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
        if (dim >= 0) operands[i] = cut_value(w, b, operands[i], (cut){dim, c.parts});
    }
    return col_build_einsum(b, col_equation_print(equation, letters[0], letters[1], letters[2]), operands[0],
                            operands[1]);
}

static col_value *cut_value(walk *w, col_builder *b, col_value *value, cut c)
{
    target *t = find_target(w, value);
    if (t) return cut_parameter(b, t, c);
    col_node *node = value->producer;
    col_builder own = *b;
    col_builder_at(&own, node);
    if (node->op == COL_OP_EINSUM) return cut_einsum(w, &own, node, c);
    col_value *operands[3];
    for (uint32_t i = 0; i < node->operand_count; i++) {
        col_value *operand = operands[i] = col_node_operand(node, i);
        int dim = aligned(node, i, c.dim);
        if (dim < 0) continue;
        if (operand->type.shape.dims[dim] == 1)
            operands[i] =
                col_build_reshape(&own, operand, cut_shape(operand->type.shape, (cut){dim, c.parts}));
        else
            operands[i] = cut_value(w, &own, operand, (cut){dim, c.parts});
    }
    col_node *made = col_build(&own, node->op, node->operand_count, operands, node->attr_count, node->attrs);
    return &made->results[0];
}

static void replace_split(walk *w, col_node *node, cut c)
{
    col_graph *graph = w->graph;
    col_builder b = {.graph = graph};
    col_builder_at(&b, node);
    col_value *parts = cut_value(w, &b, col_node_operand(node, 0), c);
    col_builder_at(&b, node);
    col_attr attrs[] = {col_attr_int(COL_ATTR_PARTS, c.parts), col_attr_int(COL_ATTR_AXIS, c.dim)};
    const col_node *split = col_build(&b, COL_OP_SPLIT, 1, &parts, COL_COUNT(attrs), attrs);
    for (uint32_t i = 0; i < node->result_count; i++) {
        col_value *part = &split->results[i];
        col_value_replace(graph, &node->results[i], col_build_reshape(&b, part, node->results[i].type.shape));
    }
    col_graph_remove(node);
}

col_status col_pass_unmerge(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    col_arena *scratch = col_arena_create();
    COL_FOR_EACH_NODE_SAFE (node, graph) {
        if (node->op != COL_OP_SPLIT) continue;
        col_shape shape = col_node_operand(node, 0)->type.shape;
        cut c = {.parts = col_node_int(node, COL_ATTR_PARTS)};
        bool has_axis = col_shape_axis(shape, col_node_int(node, COL_ATTR_AXIS), &c.dim);
        COL_ASSERT(has_axis);
        walk w = {.graph = graph, .scratch = scratch};
        bool is_cut = shape.dims[c.dim] == c.parts;
        if (c.parts > 1 && !is_cut && can_cut(&w, col_node_operand(node, 0), c)) replace_split(&w, node, c);
    }
    col_arena_destroy(scratch);
    return NULL;
}
