/* Gives products what follows them: a bias, GELU, or GELU's slope, which a GPU's library applies to a tile of the
 * result before it is stored.
 *
 * needs     legalize; before fuse
 * provides  product_bias, product_gelu and product_gelu_grad in the place of 16-bit products and the nodes after them
 * breaks    nothing
 *
 * An op with an epilogue is found by what it lowers to: its own lowering, folded as the program was, is the pattern.
 * A pattern's result is looked for among the graph's nodes and compared back to the product, operand by operand. What it
 * ends at is then free: the product's operands, the bias, what GELU was taken of.
 *
 * A product takes
 *   a bias       that it alone is added to, where a library call reads the sum; elsewhere the kernel that reads the
 *                product adds it in passing
 *   GELU         after such a bias. Both results are written where others read what GELU was taken of
 *   GELU's slope where nothing else reads the product
 * Wider products keep their kernels, which compute tanh to the last bits; the library's is good for 16. */
#include "passes/pass.h"

#include <string.h>

#include "ir/einsum.h"
#include "ir/view.h"

enum { OPERANDS = 3, MAX_DEPTH = 24 };

typedef struct pattern {
    col_op op;
    const col_graph *graph;
    const col_value *result, *before; /* before: what GELU was taken of, where the op gives it */
} pattern;

/* What a pattern's ends are in the graph. */
typedef struct match {
    col_node *product;
    col_value *third;  /* the bias, or what GELU was taken of */
    col_value *before; /* where the pattern has it */
} match;

typedef struct finder {
    col_graph *graph;
    col_arena *arena;
} finder;

/* Patterns. */

static pattern make_pattern(const finder *f, col_op op, col_dtype dtype, const col_pass_options *options)
{
    col_graph *graph = col_graph_create(f->arena, "pattern");
    col_builder b = {.graph = graph, .scope = ""};
    col_type matrix = {dtype, {.rank = 2, .dims = {2, 2}}}, bias = {dtype, {.rank = 1, .dims = {2}}};
    static const char *const names[OPERANDS] = {"x", "y", "z"};
    col_value *operands[OPERANDS];
    for (int i = 0; i < OPERANDS; i++) {
        col_type type = i == 2 && op != COL_OP_PRODUCT_GELU_GRAD ? bias : matrix;
        operands[i] =
            col_graph_add_var(graph, COL_VAR_INPUT, names[i], type, (col_init){0}, (col_loc){0})->value;
    }
    col_attr equation = col_attr_text(COL_ATTR_EQUATION, "ab,bc->ac");
    col_node *node = col_build(&b, op, OPERANDS, operands, 1, &equation);
    for (uint32_t i = 0; i < node->result_count; i++)
        col_graph_add_output(graph, i ? "before" : "result", &node->results[i], (col_loc){0});
    static const col_pass_fn passes[] = {col_pass_lower, col_pass_fold, col_pass_cse, col_pass_dce};
    for (size_t i = 0; i < COL_COUNT(passes); i++) {
        col_status status = passes[i](graph, options);
        COL_ASSERT(!status);
    }
    return (pattern){op, graph, col_graph_find_output(graph, "result"),
                     col_graph_find_output(graph, "before")};
}

/* Matching. */

static bool is_product(const col_node *node)
{
    if (node->op != COL_OP_EINSUM) return false;
    col_einsum e = col_einsum_of(node);
    return !*e.batch && *e.rows && *e.columns;
}

static bool same_attrs(const col_node *a, const col_node *b)
{
    if (a->op == COL_OP_CONSTANT)
        return col_node_float(a, COL_ATTR_VALUE) == col_node_float(b, COL_ATTR_VALUE) &&
               a->results[0].type.dtype == b->results[0].type.dtype;
    const char *x = col_node_text(a, COL_ATTR_DTYPE), *y = col_node_text(b, COL_ATTR_DTYPE);
    return a->attr_count == b->attr_count && (!x || (y && !strcmp(x, y)));
}

static bool commutes(col_op op)
{
    return op == COL_OP_ADD || op == COL_OP_MUL;
}

/* Compares a value with one of a pattern; `m` is filled in, and worthless when they differ. */
static bool fits(const pattern *p, col_value *value, const col_value *wanted, match *m, int depth)
{
    if (depth > MAX_DEPTH || value->type.dtype != wanted->type.dtype) return false;
    if (p->before == wanted) {
        if (m->before && m->before != value) return false;
        m->before = value;
    }
    if (wanted->var) {
        if (m->third && m->third != value) return false;
        m->third = value;
        return true;
    }
    col_node *node = value->producer;
    const col_node *like = wanted->producer;
    if (!node || node->op != like->op) return false;
    if (like->op == COL_OP_EINSUM) {
        if (!is_product(node) || (m->product && m->product != node)) return false;
        m->product = node;
        return true;
    }
    if (node->operand_count != like->operand_count || !same_attrs(node, like)) return false;
    match saved = *m;
    for (uint32_t turned = 0; turned < (commutes(node->op) ? 2u : 1u); turned++) {
        bool good = true;
        *m = saved;
        for (uint32_t i = 0; i < node->operand_count && good; i++)
            good = fits(p, col_node_operand(node, i ^ turned), col_node_operand(like, i), m, depth + 1);
        if (good) return true;
    }
    return false;
}

/* Conditions. */

static bool used_once(const col_value *value)
{
    return value->first_use && !value->first_use->next_use;
}

/* Whether all uses of the value end in `result`, and nowhere else. */
static bool leads_to(const finder *f, const col_value *value, const col_value *result, int depth)
{
    if (value == result) return true;
    if (depth > MAX_DEPTH || !value->first_use || col_value_is_output(f->graph, value)) return false;
    COL_FOR_EACH_USE (use, value) {
        if (use->user->result_count != 1 || !leads_to(f, &use->user->results[0], result, depth + 1))
            return false;
    }
    return true;
}

/* Whether a call of the executor's libraries reads the value's bytes, be it through views. */
static bool is_read_by_library(const col_value *value)
{
    COL_FOR_EACH_USE (use, value) {
        const col_node *user = use->user;
        col_op_class class = col_op_info_of(user->op)->op_class;
        if (class == COL_CLASS_CONTRACTION || class == COL_CLASS_OPAQUE) return true;
        for (uint32_t i = 0; class == COL_CLASS_VIEW && i < user->result_count; i++) {
            if (is_read_by_library(&user->results[i])) return true;
        }
    }
    return false;
}

/* The bias is a vector in memory, along the product's columns. */
static bool is_bias_of(const col_value *bias, const col_node *product)
{
    col_einsum e = col_einsum_of(product);
    col_shape shape = product->results[0].type.shape, own = bias->type.shape;
    col_view view = col_view_of(bias);
    int64_t size, stride;
    if (own.rank != (int)strlen(e.columns)) return false;
    for (int d = 0; d < own.rank; d++) {
        if (own.dims[d] != shape.dims[shape.rank - own.rank + d]) return false;
    }
    return col_strides_merge(own, view.strides, 0, own.rank, &size, &stride) && (stride == 1 || size == 1);
}

static bool is_allowed(const finder *f, const pattern *p, const match *m, const col_value *result)
{
    const col_node *product = m->product, *last = result->producer;
    const col_value *bare = &product->results[0];
    if (product->phase != last->phase || product->turn != last->turn ||
        !col_shape_equal(bare->type.shape, result->type.shape))
        return false;
    if (p->op == COL_OP_PRODUCT_GELU_GRAD)
        return leads_to(f, bare, result, 0) && !col_value_is_virtual(m->third) &&
               col_shape_equal(m->third->type.shape, result->type.shape);
    bool alone = used_once(bare) && !col_value_is_output(f->graph, bare) && is_bias_of(m->third, product);
    return alone && (p->op == COL_OP_PRODUCT_GELU || is_read_by_library(result));
}

/* Rewriting. */

static void rewrite(const finder *f, const pattern *p, const match *m, col_value *result)
{
    col_builder b = {.graph = f->graph};
    col_builder_at(&b, m->product);
    /* Behind the third operand, before whatever reads a result. */
    b.before = m->before ? m->before->producer : result->producer;
    col_value *operands[OPERANDS] = {col_node_operand(m->product, 0), col_node_operand(m->product, 1),
                                     m->third};
    col_attr equation = col_attr_text(COL_ATTR_EQUATION, col_node_text(m->product, COL_ATTR_EQUATION));
    col_node *node = col_build(&b, p->op, OPERANDS, operands, 1, &equation);
    node->turn = m->product->turn;
    col_value_replace(f->graph, result, &node->results[0]);
    if (m->before) col_value_replace(f->graph, m->before, &node->results[1]);
}

static void try_pattern(const finder *f, const pattern *p, col_value *result)
{
    match m = {0};
    if (fits(p, result, p->result, &m, 0) && m.product && m.third && is_allowed(f, p, &m, result))
        rewrite(f, p, &m, result);
}

col_status col_pass_epilogue(col_graph *graph, const col_pass_options *options)
{
    /* The largest first: a GELU takes its bias along. */
    static const col_op ops[] = {COL_OP_PRODUCT_GELU_GRAD, COL_OP_PRODUCT_GELU, COL_OP_PRODUCT_BIAS};
    finder f = {.graph = graph, .arena = col_arena_create()};
    for (size_t i = 0; i < COL_COUNT(ops); i++) {
        for (int narrow = 0; narrow < 2; narrow++) {
            pattern p = make_pattern(&f, ops[i], narrow ? COL_F16 : COL_BF16, options);
            COL_FOR_EACH_NODE_SAFE (node, graph) {
                if (node->result_count == 1) try_pattern(&f, &p, &node->results[0]);
            }
        }
    }
    col_arena_destroy(f.arena);
    return col_pass_dce(graph, options);
}
