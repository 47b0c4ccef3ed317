/* Random graphs with collectives, compiled and run on two ranks: started collectives give the bits that those
 * give that take turns, in every run, and both give what the reference evaluation does. */
#include "tests/unit/collective_graphs.h"

#include <math.h>

#include "runtime/ranks.h"

enum { EACH = SIDE * SIDE, ROUNDS = 3 };

/* The states of all ranks, state by state, then the outputs of rank 0. */
static float *run(const col_graph *graph, col_arena *arena, size_t *out_count)
{
    laid_out *l = lay_out(graph, arena);
    assert_ok(col_emit_code(&l->emitter, &(col_x86_options){.threads = 1}, l->plan));
    if (!l->emitter.kernels.len) l->plan->n_objects = 0;
    assert_ok(col_plan_verify(l->plan));
    col_ranks *ranks = NULL;
    col_ranks_options options = {.timeout = 60, .device = {.threads = 2}};
    assert_ok(col_ranks_open(l->plan, &col_device_cpu, &options, &ranks));
    size_t states = graph->vars.len * RANKS * EACH, count = states + graph->outputs.len * EACH;
    float *out = COL_NEW_ARRAY(arena, float, count), *first = COL_NEW_ARRAY(arena, float, count);
    for (int round = 0; round < ROUNDS; round++) {
        unit_random random = {99};
        float values[RANKS][STATES][EACH];
        for (int r = 0; r < RANKS; r++) {
            for (size_t v = 0; v < graph->vars.len; v++) {
                for (int i = 0; i < EACH; i++) values[r][v][i] = (float)random_int(&random, -64, 64) / 128;
            }
        }
        for (size_t v = 0; v < graph->vars.len; v++) {
            float both[RANKS][EACH];
            for (int r = 0; r < RANKS; r++) memcpy(both[r], values[r][v], sizeof both[r]);
            assert_ok(col_ranks_write(ranks, l->plan->variables[v], 0, both, sizeof both));
        }
        assert_ok(col_ranks_run(ranks, l->program, NULL));
        for (size_t v = 0; v < graph->vars.len; v++) {
            assert_ok(col_ranks_read(ranks, l->plan->variables[v], 0, out + v * RANKS * EACH,
                                     RANKS * EACH * sizeof *out));
        }
        for (size_t o = 0; o < graph->outputs.len; o++) {
            assert_ok(col_ranks_read_arena(ranks, l->program->outputs[o]->view->offset,
                                           out + states + o * EACH, EACH * sizeof *out));
        }
        if (!round) memcpy(first, out, count * sizeof *out);
        assert_memory_equal(first, out, count * sizeof *out);
    }
    col_ranks_close(ranks);
    *out_count = count;
    return out;
}

/* The same numbers by the reference, in the same order; the scale that errors are measured by is theirs. */
static void compare(const col_graph *graph, const float *got, size_t count, uint64_t seed, col_arena *arena)
{
    size_t numbers, vars = graph->vars.len, per_rank = (vars + graph->outputs.len) * EACH;
    const double *all = evaluate(graph, arena, &numbers);
    assert_int_equal(numbers, RANKS * per_rank);
    for (size_t i = 0; i < count; i++) {
        size_t tensor = i / EACH, at = i % EACH, rank = 0;
        const double *want;
        if (tensor < vars * RANKS) {
            rank = tensor % RANKS;
            want = all + rank * per_rank + tensor / RANKS * EACH;
        } else {
            want = all + (tensor - vars * RANKS + vars) * EACH;
        }
        double scale = 1e-6;
        for (int k = 0; k < EACH; k++) scale = fmax(scale, fabs(want[k]));
        if (!(fabs((double)got[i] - want[at]) <= 1e-4 * scale))
            fail_msg("seed %d, tensor %zu, rank %zu: %g, should be %g", (int)seed, tensor, rank,
                     (double)got[i], want[at]);
    }
}

static void started_is_the_same(void **state)
{
    int cases = *(int *)*state;
    for (uint64_t seed = 1; seed <= (uint64_t)cases; seed++) {
        col_arena *arena = col_arena_create();
        unit_random random = {seed * 7919};
        const col_graph *graph = random_graph(&random, arena);
        const col_graph *after = overlapped(graph, arena, COL_OVERLAP_ON, NULL, 0);
        size_t count, other;
        const float *want = run(graph, arena, &count), *got = run(after, arena, &other);
        assert_int_equal(count, other);
        if (memcmp(want, got, count * sizeof *want)) fail_msg("seed %d: other bits", (int)seed);
        compare(graph, got, count, seed, arena);
        col_arena_destroy(arena);
    }
}

int main(int argc, char **argv)
{
    int cases = argc > 1 ? atoi(argv[1]) : 15;
    const struct CMUnitTest tests[] = {{"started_is_the_same", started_is_the_same, NULL, NULL, &cases}};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
