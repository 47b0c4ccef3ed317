/* Writes a plan for a forward pass on a mesh: x f32[24, 1000] is split by rows over all ranks, gathered, and
 * its maximum over all ranks, which is itself, is taken REPEATS times. `started`: with a second copy, of
 * which the same is taken at the same time, so that there are always two collectives on their way.
 *
 *     mesh_plan PATH MESH REPEATS [started] */
#include <stdio.h>
#include <stdlib.h>

#include "ir/base/str.h"
#include "ir/plan/plan_io.h"
#include "tests/cts/plan_maker.h"

enum { ROWS = 24, COLUMNS = 1000 };

static uint32_t add_collective(plan_maker *m, const char *name, Col__Plan__CollectiveKind kind, bool started,
                               col_plan_view *from, col_plan_view *to)
{
    col_mesh mesh = col_plan_mesh(m->plan);
    col_plan_instruction *in = maker_instruction(m, name, 1, &from, 1, &to);
    Col__Plan__Collective *how = MAKER_KIND(m, in, COLLECTIVE, collective, Collective);
    how->kind = kind;
    how->started = started;
    how->reduce = COL__PLAN__REDUCE_KIND__MAX;
    how->n_axes = (size_t)mesh.rank;
    how->axes = COL_NEW_ARRAY(m->arena, uint32_t, how->n_axes);
    for (size_t i = 0; i < how->n_axes; i++) how->axes[i] = (uint32_t)i;
    uint64_t bytes = (uint64_t)col_plan_numel(from->n_dims, from->dims) * sizeof(float);
    COL_ASSERT(col_plan_collective_bytes(how, col_mesh_size(&mesh), bytes, &how->bytes));
    return (uint32_t)m->instructions.len - 1;
}

static void add_wait(plan_maker *m, uint32_t start)
{
    const col_plan_instruction *what = m->instructions.data[start];
    col_plan_instruction *in = maker_instruction(m, what->name, 1, what->writes, 1, what->writes);
    MAKER_KIND(m, in, WAIT, wait, Wait)->start = start;
}

static void make(plan_maker *m, int repeats, bool started)
{
    col_mesh mesh = col_plan_mesh(m->plan);
    int64_t block[] = {ROWS / col_mesh_size(&mesh), COLUMNS}, whole[] = {ROWS, COLUMNS};
    col_plan_view *x =
        maker_variable(m, COL__PLAN__VARIABLE_KIND__INPUT, "x", COL__PLAN__DTYPE__F32, 2, block);
    col_plan_variable *v = m->variables.data[0];
    v->dims = col_arena_copy(m->arena, whole, sizeof whole);
    col_layout layout = col_layout_whole();
    for (int a = 0; a < mesh.rank; a++) col_layout_push(&layout, 0, a);
    col_str text = {0};
    col_layout_print(&layout, 2, &text);
    v->layout = maker_text(m, col_str_text(&text));
    col_str_fini(&text);
    col_plan_view *copies[2];
    uint32_t starts[2];
    for (int c = 0; c <= started; c++) {
        copies[c] = maker_view(m, COL__PLAN__DTYPE__F32, 2, whole);
        starts[c] =
            add_collective(m, "gathered", COL__PLAN__COLLECTIVE_KIND__ALL_GATHER, started, x, copies[c]);
    }
    for (int i = 0; i < repeats; i++) {
        for (int c = 0; c <= started; c++) {
            if (started) add_wait(m, starts[c]);
            starts[c] = add_collective(m, "largest", COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE, started,
                                       copies[c], copies[c]);
        }
    }
    for (int c = 0; c <= started && started; c++) add_wait(m, starts[c]);
    col_plan_view *y = copies[started];
    maker_output(m, "y", y);
    maker_program(m, "forward");
}

int main(int argc, char **argv)
{
    col_mesh mesh;
    bool started = argc == 5 && !strcmp(argv[4], "started");
    if (argc != 4 + started || !col_mesh_parse(argv[2], &mesh) || ROWS % col_mesh_size(&mesh)) return 2;
    col_arena *arena = col_arena_create();
    plan_maker m = maker_start(arena, "cpu", "forward");
    m.plan->n_mesh = (size_t)mesh.rank;
    m.plan->mesh = mesh.dims;
    make(&m, atoi(argv[3]), started);
    col_status status = col_plan_write(maker_finish(&m), argv[1]);
    if (status) fprintf(stderr, "%s\n", col_error_message(status));
    col_error_free(status);
    col_arena_destroy(arena);
    return status ? 1 : 0;
}
