/* Brings the graph into the form that kernels and the executor's library calls take.
 *
 * needs     primitives only (lower)
 * provides  - einsum: every letter of an operand stands in the other operand or the result; the result's
 * letters are batch, rows, columns; rows, columns and inner letters of each operand merge into one stride,
 * one of an operand's two being 1
 *           - convolutions and poolings: operands are dense and row-major; with channels_last, values of
 * convolutions of 16 bits may lie in another order
 *           - attention: heads are dense, rows do not overlap; scatter_add, update_slice, einsum_add: the base
 * is theirs to overwrite; scatter_add: indices are i32
 *           - collectives: the operand is dense
 *           - outputs and assigned values have bytes of their own
 *           - a reduction to few results is cut into two levels, so that all cores share it
 * breaks    nothing; adds copies, transposes and reductions */
#include "passes/legalize.h"

#include <stdio.h>
#include <string.h>

#include "ir/einsum.h"
#include "ir/ops/collective.h"
#include "ir/view.h"
#include "passes/channels_last.h"

static void copy_operand(col_builder *b, col_node *node, uint32_t index)
{
    col_value *copy = col_build_unary(b, COL_OP_COPY, col_node_operand(node, index));
    col_node_set_operand(node, index, copy);
}

static bool is_dense(const col_value *value)
{
    col_view view = col_view_of(value);
    int64_t size, stride;
    return col_strides_merge(value->type.shape, view.strides, 0, value->type.shape.rank, &size, &stride) &&
           (stride == 1 || size == 1);
}

/* Reductions. */

/* A factor of n near its square root; 1 when n is prime. */
static int64_t middle_factor(int64_t n)
{
    int64_t best = 1;
    for (int64_t f = 2; f * f <= n; f++) {
        if (n % f == 0) best = f;
    }
    return best;
}

/* The smallest factor of n that leaves at least `wanted` of `each`; n itself where none does. */
static int64_t least_factor(int64_t n, int64_t each, int64_t wanted)
{
    for (int64_t f = 1; f < n; f++) {
        if (n % f == 0 && f * each >= wanted) return f;
    }
    return n;
}

/* Makes two of an axis, the first of size `factor`. */
static col_value *cut_axis(col_builder *b, col_value *x, int64_t axis, int64_t factor)
{
    col_shape shape = x->type.shape, cut = {.rank = shape.rank + 1};
    for (int i = 0; i < cut.rank; i++) cut.dims[i] = shape.dims[i <= axis ? i : i - 1];
    cut.dims[axis] = factor;
    cut.dims[axis + 1] = shape.dims[axis] / factor;
    return col_build_reshape(b, x, cut);
}

/* Whether the sum is over all axes but the channels' of [n, c, spatial...], which lie last in memory. */
static bool sums_positions(const col_value *x, int count, const int64_t *axes,
                           const col_pass_options *options)
{
    if (!options->channels_last || x->type.shape.rank < 3 || count != x->type.shape.rank - 1) return false;
    for (int i = 0; i < count; i++) {
        if (axes[i] == 1) return false;
    }
    return true;
}

/* sum(x) per channel: positions are summed in parts, enough of them for the device; then the parts. Parts are runs of
 * images or, where images are too few, an image's runs of rows. */
static bool cut_positions(col_builder *b, col_node *node, const col_pass_options *options)
{
    col_value *x = col_node_operand(node, 0), *result = &node->results[0];
    col_shape shape = x->type.shape;
    int64_t images = shape.dims[0], channels = shape.dims[1], inner[COL_MAX_RANK], outer[] = {0, 2};
    bool by_images = images * channels >= options->few_results;
    int axis = by_images ? 0 : 2, count = 0;
    int64_t each = by_images ? channels : images * channels, size = shape.dims[axis];
    int64_t parts = each >= options->few_results ? 1 : least_factor(size, each, options->few_results);
    if (shape.rank == COL_MAX_RANK || parts <= 1 ||
        col_shape_numel(shape) / (parts * each) < options->many_rows / 8)
        return false;
    x = cut_axis(b, x, axis, parts);
    for (int i = 1; i < x->type.shape.rank; i++) {
        if (i != (by_images ? 2 : 1) && (by_images || i != 2)) inner[count++] = i;
    }
    x = col_build_reduce(b, node->op, x, count, inner, true);
    x = col_build_reduce(b, node->op, x, by_images ? 1 : 2, outer, true);
    col_value_replace(b->graph, result, col_build_reshape(b, x, result->type.shape));
    col_graph_remove(node);
    return true;
}

/* sum(x) of all elements: the last dimensions, then those before, so that both sums are about as long. */
static bool cut_whole(col_builder *b, col_node *node)
{
    col_value *x = col_node_operand(node, 0);
    int rank = x->type.shape.rank, split = 0;
    int64_t elements = col_shape_numel(x->type.shape), rows = 1, best = 1, axes[COL_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        axes[i] = i;
        rows *= x->type.shape.dims[i];
        if (COL_MIN(rows, elements / rows) <= COL_MIN(best, elements / best)) continue;
        best = rows;
        split = i + 1;
    }
    if (best == 1) return false; /* one dimension: it is cut */
    x = col_build_reduce(b, node->op, x, rank - split, axes + split, true);
    x = col_build_reduce(b, node->op, x, split, axes, true);
    col_value_replace(b->graph, &node->results[0], col_build_reshape(b, x, node->results[0].type.shape));
    col_graph_remove(node);
    return true;
}

/* sum(x, axes) becomes sum(sum(x, last of the axes), the others). Where that axis is the only one it is cut in
 * two first; so it is where columns are summed and the others leave too few of them at once. */
static void cut_reduction(col_builder *b, col_node *node, const col_pass_options *options)
{
    col_value *x = col_node_operand(node, 0), *result = &node->results[0];
    int count, others = 0;
    const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
    col_shape shape = x->type.shape;
    int64_t results = col_shape_numel(result->type.shape), outer[COL_MAX_RANK], inner = axes[0];
    int64_t elements = col_shape_numel(shape) / COL_MAX(results, 1);
    if (x->type.dtype == COL_F32 && sums_positions(x, count, axes, options) &&
        cut_positions(b, node, options))
        return;
    for (int i = 1; i < count; i++) inner = COL_MAX(inner, axes[i]);
    bool columns = inner < shape.rank - 1, rows = count == 1 && !columns;
    if (results >= (rows ? options->few_rows : options->few_results) ||
        elements <= (columns ? options->many_rows : options->many_elements))
        return;
    if (results == 1 && x->type.dtype == COL_F32 && cut_whole(b, node)) return;
    for (int i = 0; i < count; i++) {
        if (axes[i] != inner) outer[others++] = axes[i];
    }
    int64_t size = shape.dims[inner], factor = others ? 1 : middle_factor(size);
    if (columns) factor = least_factor(size, elements / size * results, options->few_results);
    bool is_cut = factor > 1 && factor < size && shape.rank < COL_MAX_RANK;
    if (!others && !is_cut) return;
    col_dtype dtype = x->type.dtype;
    if (dtype == COL_BF16 || dtype == COL_F16) x = col_build_cast(b, x, COL_F32); /* for the sums between */
    if (is_cut) {
        x = cut_axis(b, x, inner, factor);
        outer[others++] = inner++;
    }
    x = col_build_reduce(b, node->op, x, 1, &inner, true);
    x = col_build_reduce(b, node->op, x, others, outer, true);
    x = col_build_cast(b, x, dtype);
    col_value_replace(b->graph, result, col_build_reshape(b, x, result->type.shape));
    col_graph_remove(node);
}

/* Contractions. */

static void sum_out(col_builder *b, const char *subscripts, const char *letters, col_value **operand,
                    char *out_subscripts)
{
    int64_t axes[COL_MAX_RANK];
    int count = 0, kept = 0;
    for (int i = 0; subscripts[i]; i++) {
        if (strchr(letters, subscripts[i]))
            axes[count++] = i;
        else
            out_subscripts[kept++] = subscripts[i];
    }
    out_subscripts[kept] = '\0';
    *operand = col_build_reduce(b, COL_OP_SUM, *operand, count, axes, false);
}

/* Whether the operand's two groups (its own letters and the inner ones) can be read as a matrix in place. */
static bool reads_in_place(const col_einsum *e, const char *subscripts, const col_value *value,
                           const char *own)
{
    col_view view = col_view_of(value);
    int64_t own_size, own_stride, inner_size, inner_stride;
    if (!col_einsum_merge(e, subscripts, view.strides, own, &own_size, &own_stride)) return false;
    if (!col_einsum_merge(e, subscripts, view.strides, e->inner, &inner_size, &inner_stride)) return false;
    /* Strides below 1 (broadcast operands) and two strides above 1 are for a copy to mend. */
    bool own_dense = own_size == 1 || own_stride == 1, inner_dense = inner_size == 1 || inner_stride == 1;
    return (own_dense || inner_dense) && (own_size == 1 || own_stride > 0) &&
           (inner_size == 1 || inner_stride > 0);
}

static void transpose_to(col_builder *b, const char *from, const char *to, col_value **value)
{
    int64_t perm[COL_MAX_RANK];
    for (int i = 0; to[i]; i++) perm[i] = strchr(from, to[i]) - from;
    *value = col_build_transpose(b, *value, perm);
}

/* Subscripts of one tensor: at most COL_MAX_RANK letters in all. */
static void join(char out[COL_MAX_RANK + 1], const char *a, const char *b, const char *c)
{
    size_t n = 0;
    for (; *a; a++) out[n++] = *a;
    for (; *b; b++) out[n++] = *b;
    for (; *c; c++) out[n++] = *c;
    COL_ASSERT(n <= COL_MAX_RANK);
    out[n] = '\0';
}

/* The einsum with these operands and this equation, added to the base where `node` adds to one. */
static col_node *build_product(col_builder *b, const col_node *node, const char *first, const char *second,
                               const char *result, col_value *const operands[2])
{
    char equation[3 * COL_MAX_RANK + 8];
    snprintf(equation, sizeof equation, "%s,%s->%s", first, second, result);
    if (node->op == COL_OP_EINSUM) return col_build_einsum(b, equation, operands[0], operands[1])->producer;
    col_attr attr = col_attr_text(COL_ATTR_EQUATION, equation);
    col_value *all[] = {col_node_operand(node, 0), operands[0], operands[1]};
    return col_build(b, COL_OP_EINSUM_ADD, 3, all, 1, &attr);
}

/* A result that is the product's transpose is the product of the exchanged operands. */
static col_node *exchange_operands(col_builder *b, col_node *node)
{
    col_einsum e = col_einsum_of(node);
    char wanted[COL_MAX_RANK + 1];
    uint32_t first = node->operand_count - 2;
    join(wanted, e.batch, e.columns, e.rows);
    if (!*e.rows || !*e.columns || strcmp(wanted, e.result)) return node;
    col_value *operands[] = {col_node_operand(node, first + 1), col_node_operand(node, first)};
    col_node *product = build_product(b, node, e.operands[1], e.operands[0], e.result, operands);
    col_value_replace(b->graph, &node->results[0], &product->results[0]);
    col_graph_remove(node);
    col_builder_at(b, product);
    return product;
}

/* A product that is summed or transposed before it is added is one by itself. */
static col_node *part_from_base(col_builder *b, col_node *node)
{
    col_value *product = col_build_einsum(b, col_node_text(node, COL_ATTR_EQUATION),
                                          col_node_operand(node, 1), col_node_operand(node, 2));
    col_value *base = col_node_operand(node, 0), *wide = col_build_cast(b, product, base->type.dtype);
    col_value_replace(b->graph, &node->results[0], col_build_binary(b, COL_OP_ADD, base, wide));
    col_graph_remove(node);
    col_builder_at(b, product->producer);
    return product->producer;
}

static void legalize_einsum(col_builder *b, col_node *node)
{
    node = exchange_operands(b, node);
    col_einsum e = col_einsum_of(node);
    char wanted[COL_MAX_RANK + 1];
    join(wanted, e.batch, e.rows, e.columns);
    bool is_plain = !*e.first_only && !*e.second_only && !strcmp(wanted, e.result);
    if (node->op == COL_OP_EINSUM_ADD && !is_plain) node = part_from_base(b, node);
    uint32_t factors = node->operand_count - 2;
    col_value *operands[2] = {col_node_operand(node, factors), col_node_operand(node, factors + 1)};
    const char *alone[2] = {e.first_only, e.second_only}, *own[2] = {e.rows, e.columns};
    bool changed = strcmp(wanted, e.result) != 0;
    for (int i = 0; i < 2; i++) {
        if (*alone[i]) {
            char rest[COL_MAX_RANK + 1];
            sum_out(b, e.operands[i], alone[i], &operands[i], rest);
            strcpy(e.operands[i], rest);
            changed = true;
        }
        if (reads_in_place(&e, e.operands[i], operands[i], own[i])) continue;
        char order[COL_MAX_RANK + 1];
        join(order, e.batch, i ? e.inner : e.rows, i ? e.columns : e.inner);
        transpose_to(b, e.operands[i], order, &operands[i]);
        operands[i] = col_build_unary(b, COL_OP_COPY, operands[i]);
        strcpy(e.operands[i], order);
        changed = true;
    }
    if (changed) {
        col_value *product =
            &build_product(b, node, e.operands[0], e.operands[1], wanted, operands)->results[0];
        transpose_to(b, wanted, e.result, &product);
        col_value_replace(b->graph, &node->results[0], product);
        col_graph_remove(node);
    }
}

/* Library kernels. */

static void legalize_attention(col_builder *b, col_node *node)
{
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *value = col_node_operand(node, i);
        int rank = value->type.shape.rank;
        bool is_mask =
            i == (node->op == COL_OP_ATTENTION ? 3u : 6u) && rank == 4 && node->op != COL_OP_ATTENTION_CACHED;
        if (is_mask || rank != 4) continue;
        col_view view = col_view_of(value);
        const int64_t *dims = value->type.shape.dims;
        bool dense = view.strides[3] == 1 || dims[3] == 1;
        bool apart = view.strides[1] >= dims[3] || dims[1] == 1; /* rows, as a product takes them */
        if (!dense || !apart) copy_operand(b, node, i);
    }
}

static bool is_attention(col_op op)
{
    return op == COL_OP_ATTENTION || op == COL_OP_ATTENTION_GRAD || op == COL_OP_ATTENTION_CACHED;
}

static void legalize_dense(col_builder *b, col_node *node)
{
    for (uint32_t i = 0; i < node->operand_count; i++) {
        if (!is_dense(col_node_operand(node, i))) copy_operand(b, node, i);
    }
}

/* The base becomes the result in place: it must be a temporary that nothing else uses, or the variable that
 * the result is assigned to. */
static bool owns_base(const col_node *node)
{
    const col_value *base = col_node_operand(node, 0);
    if (col_value_is_virtual(base) || base->first_use->next_use || col_value_is_output(node->graph, base))
        return false;
    if (!base->var) return true;
    COL_FOR_EACH_USE (use, &node->results[0]) {
        if (use->user->op == COL_OP_ASSIGN &&
            !strcmp(col_node_text(use->user, COL_ATTR_VARIABLE), base->var->name))
            return true;
    }
    return false;
}

static void legalize_in_place(col_builder *b, col_node *node)
{
    bool is_scatter = node->op == COL_OP_SCATTER_ADD;
    if (is_scatter && col_node_operand(node, 1)->type.dtype != COL_I32)
        col_node_set_operand(node, 1, col_build_cast(b, col_node_operand(node, 1), COL_I32));
    if (!owns_base(node)) copy_operand(b, node, 0);
    for (uint32_t i = 1; i < node->operand_count; i++) {
        if (is_scatter && !is_dense(col_node_operand(node, i))) copy_operand(b, node, i);
    }
}

static void legalize_einsum_add(col_builder *b, col_node *node)
{
    if (!owns_base(node)) copy_operand(b, node, 0);
    legalize_einsum(b, node);
}

/* A convolution that computes channels-last reads and writes values that nothing else keeps from lying so. */
static void legalize_conv(col_builder *b, col_node *node)
{
    col_value *result = &node->results[0];
    for (uint32_t i = 0; i < 2; i++) {
        if (!col_value_allows_channels_last(col_node_operand(node, i))) copy_operand(b, node, i);
    }
    if (col_value_allows_channels_last(result) || !result->first_use) return;
    b->before = node->next;
    col_value *copy = col_build_unary(b, COL_OP_COPY, result);
    col_value_replace(b->graph, result, copy);
    col_node_set_operand(copy->producer, 0, result);
}

/* Ranks exchange tensors as they lie in memory; a rank's own block may be taken from any strides. */
static void legalize_collective(col_builder *b, col_node *node)
{
    if (node->op != COL_OP_SHARD && !is_dense(col_node_operand(node, 0))) copy_operand(b, node, 0);
}

static bool needs_bytes(const col_value *value)
{
    return value->var || col_value_is_virtual(value);
}

col_status col_pass_legalize(col_graph *graph, const col_pass_options *options)
{
    col_builder b = {.graph = graph};
    COL_FOR_EACH_NODE_SAFE (node, graph) {
        col_builder_at(&b, node);
        const col_op_info *info = col_op_info_of(node->op);
        if (info->op_class == COL_CLASS_REDUCTION) {
            if (!col_legalize_long_row(&b, node, options)) cut_reduction(&b, node, options);
        } else if (info->op_class == COL_CLASS_CONTRACTION)
            legalize_einsum(&b, node);
        else if (node->op == COL_OP_EINSUM_ADD)
            legalize_einsum_add(&b, node);
        else if (col_node_overwrites(node))
            legalize_in_place(&b, node);
        else if (col_node_is_collective(node))
            legalize_collective(&b, node);
        else if (is_attention(node->op))
            legalize_attention(&b, node);
        else if (options->channels_last && col_conv_wants_channels_last(node))
            legalize_conv(&b, node);
        else if (info->op_class == COL_CLASS_OPAQUE)
            legalize_dense(&b, node);
        else if (node->op == COL_OP_ASSIGN && needs_bytes(col_node_operand(node, 0)))
            copy_operand(&b, node, 0);
    }
    b.before = NULL;
    b.scope = "";
    for (size_t i = 0; i < graph->outputs.len; i++) {
        col_output *output = &graph->outputs.data[i];
        if (!needs_bytes(output->value)) continue;
        b.phase = graph->last ? graph->last->phase : COL_PHASE_FORWARD;
        output->value = col_build_unary(&b, COL_OP_COPY, output->value);
    }
    return NULL;
}
