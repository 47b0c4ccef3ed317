/* A partitioned graph seen as the graph for one device that it came from: whole tensors in, whole tensors
 * out. The oracle of everything that splits. */
#include "ir/evaluate.h"

#include <math.h>
#include <string.h>

#include "ir/ops/family.h"

/* The first element of a rank's block, in the whole tensor with these strides. */
static int64_t offset_of(col_shape whole, const int64_t *strides, const col_layout *layout,
                         const col_mesh *mesh, int64_t rank)
{
    int64_t offset = 0;
    for (int d = 0; d < whole.rank; d++)
        offset += strides[d] * col_layout_start(layout, mesh, whole.dims[d], d, rank);
    return offset;
}

col_tensor col_tensor_block(const col_tensor *whole, const col_layout *layout, const col_mesh *mesh,
                            int64_t rank, col_arena *arena)
{
    col_tensor block = {.type = whole->type};
    int64_t whole_strides[COL_MAX_RANK], strides[COL_MAX_RANK];
    col_layout_local(layout, mesh, whole->type.shape.rank, whole->type.shape.dims, block.type.shape.dims);
    block.data = COL_NEW_ARRAY(arena, double, COL_MAX(col_shape_numel(block.type.shape), 1));
    col_shape_strides(whole->type.shape, whole_strides);
    col_shape_strides(block.type.shape, strides);
    int64_t offset = offset_of(whole->type.shape, whole_strides, layout, mesh, rank);
    col_walk(block.type.shape, block.data, strides, whole->data + offset, whole_strides, COL_WALK_SET);
    return block;
}

static bool is_coordinate(const col_var *var)
{
    return !strcmp(var->name, COL_MESH_COORDINATE);
}

static col_tensor *cut_vars(const col_graph *graph, const col_tensor *vars, int64_t rank, col_arena *arena)
{
    col_tensor *own = COL_NEW_ARRAY(arena, col_tensor, graph->vars.len);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        COL_ASSERT(col_shape_equal(vars[i].type.shape, var->whole));
        own[i] = col_tensor_block(&vars[i], &var->layout, &graph->mesh, rank, arena);
        if (!is_coordinate(var)) continue;
        for (int a = 0; a < graph->mesh.rank; a++)
            own[i].data[a] = (double)col_mesh_coordinate(&graph->mesh, rank, a);
    }
    return own;
}

/* The index of the first element that differs; -1: none. */
static int64_t first_difference(const col_tensor *a, const col_tensor *b)
{
    for (int64_t i = 0; i < col_shape_numel(a->type.shape); i++) {
        if (a->data[i] != b->data[i] && !(isnan(a->data[i]) && isnan(b->data[i]))) return i;
    }
    return -1;
}

static col_status differ(const char *what, const char *name, int64_t rank, int64_t index, double value,
                         double expected)
{
    return col_error_make(COL_INTERNAL, "%s '%s': rank %lld has %.17g at element %lld, an earlier one %.17g",
                          what, name, (long long)rank, value, (long long)index, expected);
}

/* Puts the blocks of all ranks into the whole tensor; copies must be equal. */
static col_status join_var(const col_graph *graph, const col_var *var, col_tensor *const *own,
                           const col_tensor *whole, col_arena *arena)
{
    int64_t whole_strides[COL_MAX_RANK], strides[COL_MAX_RANK], ranks = col_mesh_size(&graph->mesh);
    col_shape_strides(var->whole, whole_strides);
    col_shape_strides(var->type.shape, strides);
    for (int64_t r = 0; r < ranks; r++) {
        int64_t offset = offset_of(var->whole, whole_strides, &var->layout, &graph->mesh, r);
        col_walk(var->type.shape, whole->data + offset, whole_strides, own[r][var->index].data, strides,
                 COL_WALK_SET);
    }
    for (int64_t r = 0; r < ranks; r++) {
        col_tensor last = col_tensor_block(whole, &var->layout, &graph->mesh, r, arena);
        const col_tensor *block = &own[r][var->index];
        int64_t index = first_difference(block, &last);
        if (index >= 0) return differ("variable", var->name, r, index, block->data[index], last.data[index]);
    }
    return NULL;
}

static col_status check_outputs(const col_graph *graph, const col_evaluation *by_rank)
{
    for (int64_t r = 1; r < col_mesh_size(&graph->mesh); r++) {
        for (size_t i = 0; i < graph->outputs.len; i++) {
            const col_tensor *first = &by_rank[0].outputs[i], *other = &by_rank[r].outputs[i];
            if (!first->data) continue;
            int64_t index = first_difference(first, other);
            if (index >= 0) {
                return differ("output", graph->outputs.data[i].name, r, index, other->data[index],
                              first->data[index]);
            }
        }
    }
    return NULL;
}

col_status col_evaluate_whole(const col_graph *graph, const col_evaluate_options *options,
                              const col_tensor *vars, col_arena *arena, const col_tensor **out_outputs)
{
    int64_t ranks = col_mesh_size(&graph->mesh);
    col_evaluation *by_rank = COL_NEW_ARRAY(arena, col_evaluation, ranks);
    col_tensor **own = COL_NEW_ARRAY(arena, col_tensor *, ranks);
    for (int64_t r = 0; r < ranks; r++) own[r] = cut_vars(graph, vars, r, arena);
    COL_TRY(col_evaluate_ranks(graph, options, (const col_tensor *const *)own, arena, by_rank));
    COL_TRY(check_outputs(graph, by_rank));
    for (size_t i = 0; i < graph->vars.len; i++) {
        if (!is_coordinate(graph->vars.data[i]))
            COL_TRY(join_var(graph, graph->vars.data[i], own, &vars[i], arena));
    }
    *out_outputs = by_rank[0].outputs;
    return NULL;
}
