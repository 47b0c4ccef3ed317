/* Runs the loss in chunks of rows, one after another.
 *
 * needs     primitives only (lower); before legalize, which decides by shapes
 * provides  the region around the largest forward value, if it can be cut and that pays, as so many copies on
 *           a part of its rows each; the region in one phase, its last
 * breaks    the order in which products sum over rows
 *
 * In a language model the largest value are the logits, rows x vocabulary, of which a step needs a number for each
 * row, and two products with their gradient. So the head's product, the loss of each row, its gradient and its
 * two products run for some rows after another, and never are all logits there ("chunked" or "fused linear" cross
 * entropy: Hsu et al., "Liger Kernel", 2024).
 *
 * A chunk is what a rank of a mesh of chunks would run, by the op table's columns `factors` and `local`; its
 * coordinate is a constant. What is split is taken as a slice, and what comes out split is joined again; products
 * that sum over rows add to one place in the order of the chunks (einsum_add), other sums over rows
 * are combined at the end.
 *
 * Into how many chunks: the least power of two that makes the large value no larger than any other of the forward
 * phase, but no more than divide the rows and cost next to nothing. The model, its split and the machine alone say so,
 * and not what is computed again: plans for different memory sum in one order.
 *
 * The region runs where its last node stands, in the backward phase of a training step: forward nodes that
 * need it, such as the mean of the loss, follow it there. */
#include "passes/chunk_region.h"

typedef struct leaving {
    col_value *value, *sum;
    int dim; /* that is cut; -1: `kind` combines the chunks */
    col_op kind;
    col_value *parts[CHUNK_MOST];
} leaving;

typedef struct chunker {
    const chunk_region *r;
    col_graph *graph;
    col_arena *arena;
    col_mesh mesh; /* of chunks */
    col_builder b;
    col_local local;
    int64_t chunk;
    col_value **made, **taken; /* by value id: of this chunk, made in the region and from outside */
    COL_VEC(leaving) leaving;
    leaving **leaving_of; /* by value id */
} chunker;

static void list_leaving(chunker *c)
{
    c->leaving_of = COL_NEW_ARRAY(c->arena, leaving *, c->graph->next_value_id);
    for (size_t n = 0; n < c->r->count; n++) {
        for (uint32_t i = 0; i < c->r->nodes[n]->result_count; i++) {
            col_value *value = &c->r->nodes[n]->results[i];
            if (!chunk_region_leaves(c->r, value)) continue;
            leaving l = {.value = value};
            l.dim = chunk_region_dim(c->r, value, &l.kind);
            col_vec_push(c->arena, &c->leaving, l);
        }
    }
    for (size_t i = 0; i < c->leaving.len; i++)
        c->leaving_of[c->leaving.data[i].value->id] = &c->leaving.data[i];
}

/* --- a chunk --- */

/* An operand from outside: the chunk's part, or all of it. */
static col_value *take(chunker *c, const col_node *node, uint32_t index)
{
    col_value *value = col_node_operand(node, index);
    if (c->taken[value->id]) return c->taken[value->id];
    col_layout layout = col_factors_operand_layout(c->r->factors, &c->r->strategy, node, index);
    col_shape shape = value->type.shape;
    int64_t starts[COL_MAX_RANK] = {0}, stops[COL_MAX_RANK];
    for (int d = 0; d < shape.rank; d++) {
        int64_t size = shape.dims[d] / (layout.split[d].count ? c->mesh.dims[0] : 1);
        starts[d] = layout.split[d].count ? c->chunk * size : 0;
        stops[d] = starts[d] + size;
    }
    c->taken[value->id] = col_build_slice(&c->b, value, starts, stops);
    return c->taken[value->id];
}

static bool is_summed_product(const chunker *c, const col_node *node)
{
    const leaving *l = c->leaving_of[node->results[0].id];
    return node->op == COL_OP_EINSUM && l && l->dim < 0;
}

/* Sums of products of 16 bits are f32. */
static void add_product(chunker *c, const col_node *node, col_value *const *operands)
{
    leaving *l = c->leaving_of[node->results[0].id];
    const char *equation = col_node_text(node, COL_ATTR_EQUATION);
    col_type type = l->value->type;
    bool narrow = type.dtype != COL_F32 && type.dtype != COL_F64;
    if (!c->chunk && !narrow) {
        l->sum = col_build_einsum(&c->b, equation, operands[0], operands[1]);
        return;
    }
    if (!c->chunk) l->sum = col_build_full(&c->b, 0, (col_type){COL_F32, type.shape});
    col_attr attr = col_attr_text(COL_ATTR_EQUATION, equation);
    col_value *all[] = {l->sum, operands[0], operands[1]};
    l->sum = &col_build(&c->b, COL_OP_EINSUM_ADD, 3, all, 1, &attr)->results[0];
}

static void build_node(chunker *c, const col_node *node)
{
    col_value **operands = COL_NEW_ARRAY(c->arena, col_value *, node->operand_count);
    col_value **results = COL_NEW_ARRAY(c->arena, col_value *, node->result_count);
    c->b.scope = node->scope;
    c->b.loc = node->loc;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *value = col_node_operand(node, i);
        bool inside = value->producer && c->r->inside[value->producer->id];
        operands[i] = inside ? c->made[value->id] : take(c, node, i);
    }
    if (is_summed_product(c, node)) {
        add_product(c, node, operands);
        return;
    }
    col_op_info_of(node->op)->local(&c->local, node, operands, results);
    for (uint32_t i = 0; i < node->result_count; i++) {
        leaving *l = c->leaving_of[node->results[i].id];
        c->made[node->results[i].id] = results[i];
        if (l) l->parts[c->chunk] = results[i];
    }
}

static void build_chunk(chunker *c, int64_t chunk)
{
    int64_t one = 1;
    c->chunk = chunk;
    c->local.coordinate =
        col_build_full(&c->b, (double)chunk, col_type_make(COL_I32, col_shape_make(1, &one)));
    c->made = COL_NEW_ARRAY(c->arena, col_value *, c->graph->next_value_id);
    c->taken = COL_NEW_ARRAY(c->arena, col_value *, c->graph->next_value_id);
    for (size_t n = 0; n < c->r->count; n++) build_node(c, c->r->nodes[n]);
}

/* --- what comes out --- */

/* Readers that want a narrow sum wide get it so. */
static void replace_product(chunker *c, const leaving *l)
{
    for (col_operand *use = l->value->first_use, *next; use; use = next) {
        next = use->next_use;
        bool widens = use->user->op == COL_OP_CAST && !c->r->inside[use->user->id] &&
                      use->user->results[0].type.dtype == l->sum->type.dtype;
        if (widens) col_value_replace(c->graph, &use->user->results[0], l->sum);
    }
    col_value_replace(c->graph, l->value, col_build_cast(&c->b, l->sum, l->value->type.dtype));
}

static col_value *combine(chunker *c, leaving *l)
{
    col_type type = l->value->type;
    uint32_t count = (uint32_t)c->mesh.dims[0];
    int64_t axis = 0;
    bool narrow = l->kind == COL_OP_SUM && (type.dtype == COL_BF16 || type.dtype == COL_F16);
    if (l->dim >= 0) return col_build_concat(&c->b, count, l->parts, l->dim);
    for (uint32_t i = 0; i < count; i++) {
        col_shape shape = {.rank = type.shape.rank + 1, .dims = {1}};
        for (int d = 0; d < type.shape.rank; d++) shape.dims[d + 1] = type.shape.dims[d];
        if (narrow) l->parts[i] = col_build_cast(&c->b, l->parts[i], COL_F32);
        l->parts[i] = col_build_reshape(&c->b, l->parts[i], shape);
    }
    col_value *all = col_build_concat(&c->b, count, l->parts, 0);
    return col_build_cast(&c->b, col_build_reduce(&c->b, l->kind, all, 1, &axis, false), type.dtype);
}

static void replace_leaving(chunker *c)
{
    for (size_t i = 0; i < c->leaving.len; i++) {
        leaving *l = &c->leaving.data[i];
        c->b.scope = l->value->producer->scope;
        c->b.loc = l->value->producer->loc;
        if (l->sum)
            replace_product(c, l);
        else
            col_value_replace(c->graph, l->value, combine(c, l));
    }
}

/* --- the graph around them --- */

/* Nodes before the region's end that need it move behind that, into its phase. Returns where the region goes. */
static col_node *make_room(const chunker *c, col_phase phase)
{
    const chunk_region *r = c->r;
    const col_node *last = r->nodes[r->count - 1];
    col_node *behind = last->next, *place = NULL;
    for (col_node *node = c->graph->first, *next; node != last; node = next) {
        next = node->next;
        if (!r->depends[node->id]) continue;
        node->phase = COL_MAX(node->phase, phase);
        col_graph_move(node, behind);
        if (!place) place = node;
    }
    return place ? place : behind;
}

static void run_in_chunks(col_graph *graph, const chunk_region *r, int64_t count, col_arena *arena)
{
    col_phase phase = r->nodes[r->count - 1]->phase;
    chunker c = {.r = r, .graph = graph, .arena = arena, .mesh = {.rank = 1, .dims = {count}}};
    list_leaving(&c);
    c.b = (col_builder){.graph = graph, .before = make_room(&c, phase), .phase = phase, .scope = ""};
    c.local = (col_local){.b = &c.b, .mesh = &c.mesh, .f = r->factors, .strategy = &r->strategy};
    for (int64_t i = 0; i < count; i++) build_chunk(&c, i);
    replace_leaving(&c);
    for (size_t n = r->count; n-- > 0;) col_graph_remove((col_node *)(uintptr_t)r->nodes[n]);
}

col_status col_pass_chunk(col_graph *graph, const col_pass_options *options)
{
    col_arena *scratch = col_arena_create();
    chunk_region region;
    int64_t count = 1;
    if (options->loss_chunks != 1 && chunk_region_find(graph, scratch, &region))
        count = chunk_region_count(&region, options);
    if (count > 1) run_in_chunks(graph, &region, count, scratch);
    col_arena_destroy(scratch);
    return NULL;
}
