/* What each collective gives on each rank of a 2x3 mesh, written out by hand, and what the evaluation of a
 * partitioned graph says of copies that differ. */
#include "tests/unit/unit.h"

#include "ir/builder.h"
#include "ir/evaluate.h"

enum { RANKS = 6, MOST = 6 };

typedef struct expectation {
    col_op op;
    int count, axes[2];
    int axis, from_axis, root; /* of send_receive, `root` is the shift */
    const char *reduce;
    int64_t rows, columns; /* of the operand: rank r has 100 r + 10 row + column */
    int64_t out_rows, out_columns;
    double first[MOST], last[MOST]; /* on rank 0 and on rank 5 */
} expectation;

/* Rank r is at (r / 3, r % 3). */
static const expectation expectations[] = {
    {COL_OP_ALL_REDUCE, 1, {0}, 0, 0, 0, NULL, 1, 2, 1, 2, {300, 302}, {700, 702}},
    {COL_OP_ALL_REDUCE, 1, {1}, 0, 0, 0, "max", 1, 2, 1, 2, {200, 201}, {500, 501}},
    {COL_OP_ALL_REDUCE, 2, {0, 1}, 0, 0, 0, "min", 1, 2, 1, 2, {0, 1}, {0, 1}},
    {COL_OP_ALL_GATHER,
     1,
     {1},
     0,
     0,
     0,
     NULL,
     1,
     2,
     3,
     2,
     {0, 1, 100, 101, 200, 201},
     {300, 301, 400, 401, 500, 501}},
    {COL_OP_ALL_GATHER,
     2,
     {1, 0},
     1,
     0,
     0,
     NULL,
     1,
     1,
     1,
     6,
     {0, 300, 100, 400, 200, 500},
     {0, 300, 100, 400, 200, 500}},
    {COL_OP_REDUCE_SCATTER, 1, {1}, 0, 0, 0, NULL, 3, 1, 1, 1, {300}, {1260}},
    {COL_OP_ALL_TO_ALL, 1, {0}, 0, 1, 0, NULL, 2, 1, 1, 2, {0, 300}, {210, 510}},
    {COL_OP_ALL_TO_ALL, 1, {1}, 1, 0, 0, NULL, 1, 3, 3, 1, {0, 100, 200}, {302, 402, 502}},
    {COL_OP_SHARD, 2, {1, 0}, 1, 0, 0, NULL, 1, 6, 1, 1, {0}, {505}},
    {COL_OP_SHARD, 2, {0, 1}, 0, 0, 0, NULL, 6, 1, 1, 1, {0}, {550}},
    {COL_OP_BROADCAST_FROM, 1, {1}, 0, 0, 2, NULL, 1, 2, 1, 2, {200, 201}, {500, 501}},
    {COL_OP_BROADCAST_FROM, 1, {0}, 0, 0, 1, NULL, 1, 1, 1, 1, {300}, {500}},
    {COL_OP_SEND_RECEIVE, 1, {1}, 0, 0, 1, NULL, 1, 2, 1, 2, {0, 0}, {400, 401}},
    {COL_OP_SEND_RECEIVE, 1, {1}, 0, 0, -2, NULL, 1, 2, 1, 2, {200, 201}, {0, 0}},
    {COL_OP_SEND_RECEIVE, 1, {0}, 0, 0, -1, NULL, 2, 1, 2, 1, {300, 310}, {0, 0}},
    {COL_OP_SEND_RECEIVE, 2, {1, 0}, 0, 0, 4, NULL, 1, 1, 1, 1, {0}, {300}},
    {COL_OP_SEND_RECEIVE, 1, {0}, 0, 0, 7, NULL, 1, 1, 1, 1, {0}, {0}},
};

static col_value *build(const expectation *e, col_graph *graph)
{
    int64_t dims[] = {e->rows, e->columns}, axes[] = {e->axes[0], e->axes[1]};
    col_value *x = col_graph_add_var(graph, COL_VAR_INPUT, "x", (col_type){COL_F32, col_shape_make(2, dims)},
                                     (col_init){0}, (col_loc){0})
                       ->value;
    col_attr attrs[3] = {col_attr_ints(COL_ATTR_MESH_AXES, e->count, axes)};
    uint32_t count = 1;
    if (e->reduce) attrs[count++] = col_attr_text(COL_ATTR_REDUCE, e->reduce);
    if (e->op == COL_OP_BROADCAST_FROM) attrs[count++] = col_attr_int(COL_ATTR_ROOT, e->root);
    if (e->op == COL_OP_SEND_RECEIVE) attrs[count++] = col_attr_int(COL_ATTR_SHIFT, e->root);
    if (e->op != COL_OP_ALL_REDUCE && e->op != COL_OP_BROADCAST_FROM && e->op != COL_OP_SEND_RECEIVE)
        attrs[count++] = col_attr_int(COL_ATTR_AXIS, e->axis);
    if (e->op == COL_OP_ALL_TO_ALL) attrs[count++] = col_attr_int(COL_ATTR_FROM_AXIS, e->from_axis);
    col_builder b = {.graph = graph};
    return &col_build(&b, e->op, 1, &x, count, attrs)->results[0];
}

static void results_by_hand(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COL_COUNT(expectations); i++) {
        const expectation *e = &expectations[i];
        col_arena *arena = col_arena_create();
        col_graph *graph = col_graph_create(arena, "collective");
        graph->mesh = (col_mesh){2, {2, 3}};
        col_graph_add_output(graph, "y", build(e, graph), (col_loc){0});
        const col_tensor *vars[RANKS];
        for (int r = 0; r < RANKS; r++) {
            col_tensor *x = col_evaluate_vars(graph, arena);
            for (int64_t j = 0; j < e->rows * e->columns; j++)
                x->data[j] = (double)(100 * r + 10 * (j / e->columns) + j % e->columns);
            vars[r] = x;
        }
        col_evaluation out[RANKS];
        assert_ok(col_evaluate_ranks(graph, NULL, vars, arena, out));
        const col_tensor *first = &out[0].outputs[0], *last = &out[RANKS - 1].outputs[0];
        assert_int_equal(first->type.shape.dims[0], e->out_rows);
        assert_int_equal(first->type.shape.dims[1], e->out_columns);
        for (int64_t j = 0; j < e->out_rows * e->out_columns; j++) {
            if (first->data[j] != e->first[j] || last->data[j] != e->last[j])
                fail_msg("case %zu, element %d: %g on rank 0, %g on rank 5", i, (int)j, first->data[j],
                         last->data[j]);
        }
        col_arena_destroy(arena);
    }
}

/* The coordinate differs between ranks: an output or a variable made of it is no copy. */
static void copies_that_differ_are_found(void **unused)
{
    (void)unused;
    for (int assigned = 0; assigned < 2; assigned++) {
        col_arena *arena = col_arena_create();
        col_graph *graph = col_graph_create(arena, "copies");
        graph->mesh = (col_mesh){1, {4}};
        col_type type = {COL_I32, {1, {1}}};
        col_value *coordinate =
            col_graph_add_var(graph, COL_VAR_INPUT, COL_MESH_COORDINATE, type, (col_init){0}, (col_loc){0})
                ->value;
        col_var *s = col_graph_add_var(graph, COL_VAR_STATE, "s", type, (col_init){0}, (col_loc){0});
        col_builder b = {.graph = graph};
        col_value *half = col_build_binary(&b, COL_OP_MINIMUM, coordinate, col_build_scalar(&b, 2, COL_I32));
        if (assigned)
            col_build_assign(&b, s, half);
        else
            col_graph_add_output(graph, "y", half, (col_loc){0});
        const col_tensor *outputs;
        assert_fails(
            col_evaluate_whole(graph, NULL, col_evaluate_vars(graph, arena), arena, &outputs), COL_INTERNAL,
            assigned ? "variable 's': rank 0 has 0 at element 0" : "output 'y': rank 1 has 1 at element 0");
        col_arena_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_by_hand),
        cmocka_unit_test(copies_that_differ_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
