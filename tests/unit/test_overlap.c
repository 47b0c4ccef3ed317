/* The overlap pass on graphs made by hand and at random: what is computed stays the same to the last bit, the
 * plan made of it passes the plan's verifier (which knows what a started collective still works on), and
 * memory grows by no more than is allowed. And the two clocks by which such plans are predicted, against a
 * simulation in small steps. */
#include "tests/unit/unit.h"

#include <math.h>

#include "frontend/parse.h"
#include "ir/ops/collective.h"
#include "ir/plan/plan_clocks.h"
#include "tests/unit/collective_graphs.h"

static col_graph *scheduled(col_arena *arena, const char *text)
{
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){"model.ir", text, strlen(text)};
    col_graph *graph;
    assert_ok(col_parse_model(source, NULL, arena, &graph));
    schedule(graph);
    return graph;
}

static int count(const col_graph *graph, col_op op)
{
    int n = 0;
    COL_FOR_EACH_NODE (node, graph) n += node->op == op;
    return n;
}

static const col_node *find(const col_graph *graph, col_op op)
{
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op == op) return node;
    }
    fail_msg("there is no '%s'", col_op_info_of(op)->name);
    return NULL;
}

/* Nodes from one to the other. */
static int distance(const col_node *from, const col_node *to)
{
    int n = 0;
    for (; from && from != to; from = from->next) n++;
    assert_non_null(from);
    return n;
}

static const col_placement *place_of(const laid_out *l, const col_value *value)
{
    return &l->memory.placements[value->id];
}

/* By hand. */

#define HEAD                                                                                                 \
    "model m()\nmesh 2\ninput x : f32[64, 64]\ninput y : f32[64, 64]\n"                                      \
    "state s : f32[64, 64]\nstate t : f32[128, 64]\n"
#define WORK "w = einsum(y, y, equation = \"ab,bc->ac\")\nv = einsum(w, y, equation = \"ab,bc->ac\")\n"

static void goes_on_beside_what_does_not_need_it(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_graph *graph =
        scheduled(arena, HEAD "a = all_reduce(exp(x), mesh_axes = [0])\n" WORK "output o = a + v\n");
    col_graph *after = overlapped(graph, arena, COL_OVERLAP_ON, NULL, 0);
    const col_node *sum = find(after, COL_OP_ALL_REDUCE), *wait = find(after, COL_OP_WAIT);
    assert_ptr_equal(col_collective_wait(sum), wait);
    assert_true(distance(sum, wait) > 2);
    assert_int_equal(wait->operand_count, 1); /* nobody else reads what is summed */
    laid_out *l = lay_out(after, arena);
    const col_value *x = col_node_operand(sum, 0);
    assert_int_equal(place_of(l, x)->offset, place_of(l, &sum->results[0])->offset);
    assert_int_equal(place_of(l, x)->offset, place_of(l, &wait->results[0])->offset);
    col_arena_destroy(arena);
}

/* A machine that cannot, an option that says no, no machine to know of, and nothing to do meanwhile. */
static void stays_as_it_was(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    static const col_machine slow = {.unit = COL_MACHINE_CORES, .count = 2, .devices = 1};
    col_graph *graph =
        scheduled(arena, HEAD "a = all_reduce(exp(x), mesh_axes = [0])\n" WORK "output o = a + v\n");
    assert_int_equal(count(overlapped(graph, arena, COL_OVERLAP_OFF, NULL, 1), COL_OP_WAIT), 0);
    assert_int_equal(count(overlapped(graph, arena, COL_OVERLAP_AUTO, NULL, 1), COL_OP_WAIT), 0);
    assert_int_equal(count(overlapped(graph, arena, COL_OVERLAP_AUTO, &slow, 1), COL_OP_WAIT), 0);
    graph = scheduled(arena, HEAD "a = all_reduce(exp(x), mesh_axes = [0])\noutput o = exp(a)\n");
    assert_int_equal(count(overlapped(graph, arena, COL_OVERLAP_ON, NULL, 1), COL_OP_WAIT), 0);
    col_arena_destroy(arena);
}

/* A gather into a variable starts after the reads of the old value, writes it directly, and ends with its
 * phase; the operand that others read is the second operand of the wait. */
static void writes_variables_in_place(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    col_graph *graph = scheduled(
        arena, HEAD "phase update\n"
                    "e = einsum(x, slice(t, starts = [0, 0], stops = [64, 64]), equation = \"ab,bc->ac\")\n"
                    "g = all_gather(e, mesh_axes = [0], axis = 0)\nassign(g, variable = \"t\")\n" WORK
                    "assign(einsum(v, e, equation = \"ab,bc->ac\"), variable = \"s\")\n"
                    "output o = sum(e, axes = [0])\n");
    col_graph *after = overlapped(graph, arena, COL_OVERLAP_ON, NULL, 0);
    const col_node *gather = find(after, COL_OP_ALL_GATHER), *wait = find(after, COL_OP_WAIT);
    assert_true(distance(gather, wait) > 2);
    assert_int_equal(wait->operand_count, 2);
    laid_out *l = lay_out(after, arena);
    const col_value *t = col_graph_find_var(after, "t")->value;
    assert_int_equal(place_of(l, &gather->results[0])->offset, place_of(l, t)->offset);
    for (size_t i = 0; i < l->program->n_instructions; i++)
        assert_int_not_equal(l->program->instructions[i]->kind_case, COL__PLAN__INSTRUCTION__KIND_COPY);
    col_arena_destroy(arena);
}

/* Prefetching the second gather would hold two large tensors at once. */
static void memory_is_kept(void **unused)
{
    (void)unused;
    col_arena *arena = col_arena_create();
    static const char text[] =
        HEAD "a = all_gather(x, mesh_axes = [0], axis = 0)\nc = einsum(a, y, equation = \"ab,bc->ac\")\n"
             "p = einsum(c, y, equation = \"ab,bc->ac\")\nq = sum(p, axes = [0])\n"
             "b = all_gather(y, mesh_axes = [0], axis = 0)\nd = einsum(b, y, equation = \"ab,bc->ac\")\n"
             "output o = sum(d, axes = [0]) + q\n";
    col_graph *graph = scheduled(arena, text);
    uint64_t before = lay_out(graph, arena)->memory.live_bound;
    uint64_t none = lay_out(overlapped(graph, arena, COL_OVERLAP_ON, NULL, 0), arena)->memory.live_bound;
    assert_true(none >= before); /* on: as it likes */
    static const col_machine machine = {
        .unit = COL_MACHINE_DEVICES,
        .count = 2,
        .devices = 2,
        .overlap = 0.5,
        .rates = {{{1, {1}, {1e9}}}, {{1, {1}, {1e9}}}, {{1, {1}, {1e9}}}, {{1, {1}, {1e9}}}},
        .traffic = {1, {1}, {1e9}},
        .inside = {0, 0, {1e9, 1e9, 1e9, 1e9, 1e9}}};
    for (double memory = 0; memory < 1; memory += 0.25) {
        col_graph *after = overlapped(graph, arena, COL_OVERLAP_AUTO, &machine, memory);
        assert_true((double)lay_out(after, arena)->memory.live_bound <= (double)before * (1 + memory));
        if (memory > 0.5) assert_true(count(after, COL_OP_WAIT) > 0);
    }
    col_arena_destroy(arena);
}

/* Three small sums become one operation, for each start costs more than all their bytes; what only the update needs of
 * them is computed last. The large product behind them hides it. */
static void small_sums_start_together(void **unused)
{
    (void)unused;
    static const char text[] =
        HEAD "state r : f32[64, 64]\nphase backward\n"
             "a = all_reduce(exp(x), mesh_axes = [0])\nl = transpose(a, perm = [1, 0])\n"
             "b = all_reduce(exp(y), mesh_axes = [0])\nm = exp(b)\n"
             "w = einsum(x, y, equation = \"ab,bc->ac\")\nc = all_reduce(w, mesh_axes = [0])\n"
             "v = einsum(x, x, equation = \"ab,bc->ac\")\nu = einsum(v, x, equation = \"ab,bc->ac\")\n"
             "phase update\nassign(m + u, variable = \"s\")\nassign(l + c, variable = \"r\")\n";
    static const col_machine machine = {
        .unit = COL_MACHINE_DEVICES,
        .count = 2,
        .devices = 2,
        .overlap = 1,
        .rates = {{{1, {1}, {1e9}}}, {{1, {1}, {1e9}}}, {{1, {1}, {1e9}}}, {{1, {1}, {1e9}}}},
        .traffic = {1, {1}, {1e9}},
        .inside = {200e-6, 0, {1e9, 1e9, 1e9, 1e9, 1e9}}};
    col_arena *arena = col_arena_create();
    const col_graph *graph = scheduled(arena, text);
    col_graph *after = overlapped(graph, arena, COL_OVERLAP_AUTO, &machine, 1);
    laid_out *l = lay_out(after, arena);
    const col_plan_program *program = l->program;
    int joined = 0, waits = 0, computed = 0;
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        bool is_wait = in->kind_case == COL__PLAN__INSTRUCTION__KIND_WAIT;
        joined += col_plan_joins(program, i);
        waits += is_wait;
        if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_MATMUL && !waits) computed++;
    }
    assert_int_equal(waits, 3);
    assert_int_equal(joined, 2);
    assert_int_equal(computed, 3);
    size_t numbers, other;
    const double *want = evaluate(graph, arena, &numbers), *got = evaluate(after, arena, &other);
    assert_int_equal(numbers, other);
    assert_memory_equal(want, got, numbers * sizeof *want);
    col_arena_destroy(arena);
}

/* At random. */

/* The printed graph as a graph. */
static col_graph *reparsed(const col_graph *graph, col_arena *arena)
{
    col_str text = {0};
    col_graph_print(graph, &text);
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){"printed.ir", col_arena_strdup(arena, col_str_text(&text)), text.len};
    col_graph *parsed;
    assert_ok(col_parse_model(source, NULL, arena, &parsed));
    assert_ok(col_graph_verify(parsed));
    col_str_fini(&text);
    return parsed;
}

static void random_graphs_stay_the_same(void **unused)
{
    (void)unused;
    int waits = 0, collectives = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        col_arena *arena = col_arena_create();
        unit_random random = {seed};
        const col_graph *graph = random_graph(&random, arena);
        const col_graph *after = overlapped(graph, arena, COL_OVERLAP_ON, NULL, 0);
        size_t numbers, other;
        const double *want = evaluate(graph, arena, &numbers), *got = evaluate(after, arena, &other);
        assert_int_equal(numbers, other);
        if (memcmp(want, got, numbers * sizeof *want)) fail_msg("seed %d: other numbers", (int)seed);
        const double *read = evaluate(reparsed(after, arena), arena, &other);
        assert_memory_equal(want, read, numbers * sizeof *want);
        lay_out(graph, arena);
        lay_out(after, arena);
        waits += count(after, COL_OP_WAIT);
        COL_FOR_EACH_NODE (node, graph) collectives += col_node_is_collective(node);
        /* What is started stays as it is. */
        const col_graph *twice = overlapped(after, arena, COL_OVERLAP_ON, NULL, 0);
        assert_true(count(twice, COL_OP_WAIT) >= count(after, COL_OP_WAIT));
        const double *third = evaluate(twice, arena, &other);
        assert_memory_equal(want, third, numbers * sizeof *want);
        col_arena_destroy(arena);
    }
    assert_true(waits > collectives / 4); /* the test is not idle */
}

/* Clocks. */

enum { MOST = 40 };

typedef struct toy {
    col_plan plan;
    col_plan_program program;
    col_plan_instruction list[MOST], *pointers[MOST];
    Col__Plan__Collective collectives[MOST];
    Col__Plan__Wait waits[MOST];
} toy;

static void toy_add(toy *t, int kind, double seconds, uint32_t start)
{
    size_t i = t->program.n_instructions++;
    col_plan_instruction *in = t->pointers[i] = &t->list[i];
    col__plan__instruction__init(in);
    in->seconds = seconds;
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_MATMUL;
    if (kind == 'w') {
        in->kind_case = COL__PLAN__INSTRUCTION__KIND_WAIT;
        in->wait = &t->waits[i];
        in->wait->start = start;
    } else if (kind != 'c') {
        in->kind_case = COL__PLAN__INSTRUCTION__KIND_COLLECTIVE;
        in->collective = &t->collectives[i];
        in->collective->started = kind == 's';
    }
}

static toy *toy_create(double overlap)
{
    toy *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->plan.overlap = overlap;
    t->program.instructions = t->pointers;
    return t;
}

/* c computes, s starts, b blocks, w waits. A start of 4 s beside 3 s of computing: */
static void clocks_by_hand(void **unused)
{
    (void)unused;
    static const struct {
        double overlap, exposed;
    } cases[] = {{0, 4}, {0.5, 2.5}, {1, 1}};
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        toy *t = toy_create(cases[i].overlap);
        double exposed[MOST];
        toy_add(t, 's', 4, 0);
        toy_add(t, 'c', 3, 0);
        toy_add(t, 'w', 0, 0);
        toy_add(t, 'c', 5, 0);
        toy_add(t, 'b', 2, 0);
        col_plan_clocks clocks = col_plan_run_clocks(&t->plan, &t->program, exposed);
        assert_float_equal(clocks.compute, 8, 0);
        assert_float_equal(clocks.communication, 6, 0);
        assert_float_equal(exposed[0], cases[i].exposed, 1e-12);
        assert_float_equal(exposed[4], 2, 1e-12);
        assert_float_equal(clocks.exposed, cases[i].exposed + 2, 1e-12);
        assert_float_equal(clocks.seconds, 8 + cases[i].exposed + 2, 1e-12);
        free(t);
    }
}

/* A queue of collectives, each with what is left of it, in steps of a thousandth. */
static double simulate(const toy *t)
{
    enum { STEP = 1000 };
    double left[MOST] = {0}, time = 0;
    size_t first = 0, count = 0;
    uint32_t queue[MOST];
    for (size_t i = 0; i < t->program.n_instructions; i++) {
        const col_plan_instruction *in = t->pointers[i];
        bool waits = in->kind_case == COL__PLAN__INSTRUCTION__KIND_WAIT;
        uint32_t target = (uint32_t)i;
        double compute = 0;
        if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE) {
            queue[count++] = (uint32_t)i;
            left[i] = in->seconds;
            if (in->collective->started) continue;
            waits = true;
        } else if (waits) {
            target = in->wait->start;
        } else {
            compute = in->seconds;
        }
        while (waits ? left[target] > 1e-9 : compute > 1e-9) {
            double step = 1.0 / STEP, work = waits ? step : step * t->plan.overlap;
            time += step;
            compute -= step;
            while (first < count && work > 0) {
                double done = COL_MIN(work, left[queue[first]]);
                left[queue[first]] -= done;
                work -= done;
                if (left[queue[first]] <= 1e-9)
                    first++;
                else
                    break;
            }
        }
    }
    return time;
}

static void clocks_at_random(void **unused)
{
    (void)unused;
    unit_random random = {5};
    for (int round = 0; round < 200; round++) {
        double shares[] = {0, 0.25, 0.5, 1}, last = INFINITY;
        unit_random again = random;
        for (size_t s = 0; s < COL_COUNT(shares); s++) {
            random = again;
            toy *t = toy_create(shares[s]);
            uint32_t open[MOST], count = 0;
            double exposed[MOST], sum = 0;
            while (t->program.n_instructions + count + 1 < MOST) {
                double seconds = (double)random_int(&random, 1, 40) / 8;
                int64_t kind = random_int(&random, 0, 4);
                if (kind <= 1) toy_add(t, 'c', seconds, 0);
                if (kind == 2) open[count++] = (uint32_t)t->program.n_instructions;
                if (kind == 2) toy_add(t, 's', seconds, 0);
                if (kind == 3) toy_add(t, 'b', seconds, 0);
                if (kind == 4 && count) {
                    uint32_t pick = (uint32_t)random_int(&random, 0, count - 1);
                    toy_add(t, 'w', 0, open[pick]);
                    open[pick] = open[--count];
                }
            }
            while (count) toy_add(t, 'w', 0, open[--count]);
            col_plan_clocks c = col_plan_run_clocks(&t->plan, &t->program, exposed);
            for (size_t i = 0; i < t->program.n_instructions; i++) {
                assert_true(exposed[i] <= t->list[i].seconds + 1e-9);
                sum += exposed[i];
            }
            assert_float_equal(sum, c.exposed, 1e-9);
            assert_float_equal(c.seconds, simulate(t), 0.05);
            assert_true(c.seconds <= last + 1e-9);
            assert_true(c.seconds <= c.compute + c.communication + 1e-9);
            assert_true(c.seconds >= COL_MAX(c.compute, c.communication) - 1e-9);
            if (!s) assert_float_equal(c.seconds, c.compute + c.communication, 1e-9);
            last = c.seconds;
            free(t);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_beside_what_does_not_need_it),
        cmocka_unit_test(stays_as_it_was),
        cmocka_unit_test(writes_variables_in_place),
        cmocka_unit_test(memory_is_kept),
        cmocka_unit_test(small_sums_start_together),
        cmocka_unit_test(random_graphs_stay_the_same),
        cmocka_unit_test(clocks_by_hand),
        cmocka_unit_test(clocks_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
