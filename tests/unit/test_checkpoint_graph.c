/* Recomputation on graphs against exhaustive search over what is in memory when a turn begins, and chains
 * given as graphs against the chain's optimum. With an argument: that many random graphs. */
#include "tests/unit/unit.h"
#include "solver/checkpoint_graph.h"
#include "tests/unit/random.h"

#include <math.h>

enum { MAX_NODES = 7, SETS = 1 << MAX_NODES, MAX_OPERANDS = 3 };

static int random_graphs = 50;

/* ---- exhaustive twin ---- */

/* Over the sets of values there when a turn begins: the least seconds of reaching it within the memory, and
 * the least peak of reaching it at all. */
typedef struct brute {
    const col_checkpoint_graph *graph;
    uint64_t memory;
    double seconds[SETS], next_seconds[SETS];
    uint64_t peak[SETS], next_peak[SETS];
    uint32_t uses[MAX_NODES]; /* operands as a set */
    uint32_t outputs, again, states;
    uint64_t state_bytes;
} brute;

/* Bytes of turn k at its worst: `from` is there when it begins, `runs` run (k among them), `to` stays. 0:
 * operands are missing. */
static uint64_t turn_peak(const brute *b, uint32_t from, uint32_t runs, uint32_t to)
{
    uint64_t peak = 0;
    uint32_t made = from;
    int n = (int)b->graph->count;
    for (int j = 0; j < n; j++) {
        if (!(runs >> j & 1)) continue;
        if (b->uses[j] & ~(made | b->states)) return 0;
        made |= 1u << j;
        uint32_t wanted = to | 1u << j; /* by what runs from here on */
        for (int i = j; i < n; i++) {
            if (runs >> i & 1) wanted |= b->uses[i];
        }
        uint64_t bytes = b->state_bytes + b->graph->nodes[j].temp_bytes;
        for (int v = 0; v < n; v++) {
            if ((made & wanted & ~b->states) >> v & 1) bytes += b->graph->nodes[v].bytes;
        }
        peak = bytes > peak ? bytes : peak;
    }
    return (to & ~made) ? 0 : peak ? peak : 1;
}

static void brute_turn(brute *b, int k)
{
    uint32_t own = 1u << k;
    for (uint32_t s = 0; s < SETS; s++) {
        b->next_seconds[s] = INFINITY;
        b->next_peak[s] = UINT64_MAX;
    }
    for (uint32_t from = 0; from < own; from++) {
        if (b->peak[from] == UINT64_MAX) continue;
        uint32_t may = b->again & (own - 1) & ~from;
        for (uint32_t again = may;; again = (again - 1) & may) {
            double seconds = b->seconds[from] + b->graph->nodes[k].seconds;
            for (int v = 0; v < k; v++) {
                if (again >> v & 1) seconds += b->graph->nodes[v].seconds;
            }
            uint32_t all = from | again | own;
            for (uint32_t to = all;; to = (to - 1) & all) {
                uint64_t peak = turn_peak(b, from, again | own, to);
                if (peak) {
                    uint64_t least = peak > b->peak[from] ? peak : b->peak[from];
                    if (least < b->next_peak[to]) b->next_peak[to] = least;
                    if (peak <= b->memory && seconds < b->next_seconds[to]) b->next_seconds[to] = seconds;
                }
                if (!to) break;
            }
            if (!again) break;
        }
    }
    memcpy(b->seconds, b->next_seconds, sizeof b->seconds);
    memcpy(b->peak, b->next_peak, sizeof b->peak);
}

static double brute_solve(const col_checkpoint_graph *graph, uint64_t memory, uint64_t *out_least)
{
    static brute b;
    b = (brute){.graph = graph, .memory = memory};
    for (uint32_t s = 0; s < SETS; s++) {
        b.seconds[s] = s ? INFINITY : 0;
        b.peak[s] = s ? UINT64_MAX : 0;
    }
    for (size_t v = 0; v < graph->count; v++) {
        const col_checkpoint_node *node = &graph->nodes[v];
        for (uint32_t i = 0; i < node->operand_count; i++) b.uses[v] |= 1u << node->operands[i];
        b.outputs |= (uint32_t)node->output << v;
        b.again |= (uint32_t)(node->kind == COL_CHECKPOINT_NODE_FORWARD) << v;
        b.states |= (uint32_t)(node->kind == COL_CHECKPOINT_NODE_STATE) << v;
        if (node->kind == COL_CHECKPOINT_NODE_STATE) b.state_bytes += node->bytes;
    }
    b.outputs &= ~b.states;
    for (size_t k = 0; k < graph->count; k++) {
        if (!(b.states >> k & 1)) brute_turn(&b, (int)k);
    }
    *out_least = b.peak[b.outputs];
    return b.seconds[b.outputs];
}

/* ---- random graphs ---- */

typedef struct sample {
    col_checkpoint_node nodes[16];
    uint32_t operands[16][MAX_OPERANDS];
    col_checkpoint_graph graph;
} sample;

static void make_graph(unit_random *r, sample *s)
{
    size_t n = (size_t)random_int(r, 2, MAX_NODES);
    bool unit = random_chance(r, 0.3);
    int64_t forward = random_int(r, 1, (int64_t)n);
    for (size_t v = 0; v < n; v++) {
        bool is_state = v + 1 < n && random_chance(r, 0.1);
        col_checkpoint_node *node = &s->nodes[v];
        *node = (col_checkpoint_node){.kind = is_state               ? COL_CHECKPOINT_NODE_STATE
                                              : (int64_t)v < forward ? COL_CHECKPOINT_NODE_FORWARD
                                                                     : COL_CHECKPOINT_NODE_BACKWARD,
                                      .bytes = (uint64_t)random_int(r, 0, 6),
                                      .operands = s->operands[v],
                                      .output = v + 1 == n || random_chance(r, 0.15)};
        if (is_state) continue;
        node->seconds = unit ? 1 : (double)random_int(r, 0, 9);
        node->temp_bytes = random_chance(r, 0.3) ? (uint64_t)random_int(r, 0, 4) : 0;
        node->operand_count =
            v ? (uint32_t)random_int(r, v > 1 ? 1 : 0, (int64_t)(v < MAX_OPERANDS ? v : MAX_OPERANDS)) : 0;
        for (uint32_t i = 0; i < node->operand_count; i++)
            s->operands[v][i] = (uint32_t)random_int(r, 0, (int64_t)v - 1);
    }
    s->graph = (col_checkpoint_graph){.count = n, .nodes = s->nodes};
}

static void check_at(const sample *s, uint64_t memory, col_arena *arena)
{
    col_checkpoint_graph graph = s->graph;
    col_checkpoint_limits limits = {.gap = 1e-7, .seconds = 20};
    col_checkpoint_graph_solution answer;
    uint64_t least;
    double best = brute_solve(&graph, memory, &least);
    graph.memory = memory;
    assert_ok(col_checkpoint_solve_graph(&graph, &limits, arena, &answer));
    assert_true((best == INFINITY) == (least > memory));
    assert_true((answer.status == COL_SOLVE_INFEASIBLE) == (best == INFINITY));
    if (best == INFINITY) {
        assert_int_equal(answer.least_memory, least);
        assert_true(answer.least_memory_bound <= least);
        assert_int_equal(answer.runs.peak, least);
        return;
    }
    assert_int_equal(answer.status, COL_SOLVE_OPTIMAL);
    assert_true(answer.runs.peak <= memory);
    assert_true(fabs(answer.runs.seconds - best) <= 1e-6 * best);
    assert_true(answer.bound <= best * (1 + 1e-9));
    col_checkpoint_runs greedy = {0}, sqrt_runs = {0};
    bool fits = col_checkpoint_graph_greedy(&graph, arena, &greedy);
    assert_ok(col_checkpoint_graph_play(&graph, &greedy));
    if (fits) assert_true(greedy.peak <= memory && greedy.seconds >= best * (1 - 1e-12));
    col_checkpoint_graph_sqrt(&graph, arena, &sqrt_runs);
    assert_ok(col_checkpoint_graph_play(&graph, &sqrt_runs));
    assert_true(sqrt_runs.peak >= least || least == 1); /* 1 stands for none, too */
    if (sqrt_runs.peak <= memory) assert_true(sqrt_runs.seconds >= best * (1 - 1e-12));
}

static bool any_runs(const sample *s)
{
    for (size_t v = 0; v < s->graph.count; v++) {
        if (s->graph.nodes[v].kind != COL_CHECKPOINT_NODE_STATE) return true;
    }
    return false;
}

static void test_equals_exhaustive(void **state)
{
    (void)state;
    unit_random r = {11};
    int tight = 0;
    for (int k = 0; k < random_graphs; k++) {
        col_arena *arena = col_arena_create();
        sample s;
        make_graph(&r, &s);
        if (any_runs(&s)) {
            uint64_t least;
            col_checkpoint_runs keep = {0};
            (void)brute_solve(&s.graph, UINT64_MAX, &least);
            col_checkpoint_graph_keep(&s.graph, arena, &keep);
            tight += least < keep.peak;
            check_at(&s, least ? least : 1, arena);
            if (least > 1) check_at(&s, least - 1, arena);
            if (least + 1 < keep.peak)
                check_at(&s, (uint64_t)random_int(&r, (int64_t)least, (int64_t)keep.peak - 1), arena);
            if (keep.peak) check_at(&s, keep.peak, arena);
        }
        col_arena_destroy(arena);
    }
    assert_true(tight * 8 > random_graphs); /* recomputation lowers the peak of enough of them */
}

/* ---- chains as graphs ---- */

/* Stage i: forward i from its input, backward i from the gradient of its output, both activations. */
static void graph_of_chain(const col_checkpoint_chain *chain, sample *s)
{
    uint32_t count = (uint32_t)chain->count, n = 0;
    uint32_t value[8], gradient;
    for (uint32_t i = 0; i <= count; i++) {
        value[i] = n;
        s->nodes[n] =
            (col_checkpoint_node){.kind = i ? COL_CHECKPOINT_NODE_FORWARD : COL_CHECKPOINT_NODE_BACKWARD,
                                  .seconds = i ? chain->stages[i - 1].forward_seconds : 0,
                                  .temp_bytes = i ? chain->stages[i - 1].forward_temp_bytes : 0,
                                  .bytes = i < count ? chain->stages[i].input_bytes : chain->output_bytes,
                                  .operands = s->operands[n],
                                  .operand_count = i > 0};
        s->operands[n][0] = n - 1;
        n++;
        if (i) continue;
        gradient = n; /* of the output: there from the start */
        s->nodes[n] = (col_checkpoint_node){.kind = COL_CHECKPOINT_NODE_BACKWARD,
                                            .bytes = chain->output_gradient_bytes,
                                            .operands = s->operands[n]};
        n++;
    }
    s->operands[value[1]][0] = value[0];
    for (uint32_t i = count; i-- > 0;) {
        s->nodes[n] = (col_checkpoint_node){.kind = COL_CHECKPOINT_NODE_BACKWARD,
                                            .seconds = chain->stages[i].backward_seconds,
                                            .temp_bytes = chain->stages[i].backward_temp_bytes,
                                            .bytes = chain->stages[i].gradient_bytes,
                                            .operands = s->operands[n],
                                            .operand_count = 3};
        s->operands[n][0] = gradient;
        s->operands[n][1] = value[i];
        s->operands[n][2] = value[i + 1];
        gradient = n++;
    }
    s->graph = (col_checkpoint_graph){.count = n, .nodes = s->nodes};
}

/* Schedules of a chain are schedules of its graph, so the graph is never worse. */
static void test_chains_are_no_worse(void **state)
{
    (void)state;
    unit_random r = {12};
    for (int k = 0; k < random_graphs; k++) {
        col_arena *arena = col_arena_create();
        col_checkpoint_stage stages[5];
        size_t count = (size_t)random_int(&r, 2, 5);
        col_checkpoint_chain chain = {
            .count = count, .stages = stages, .output_bytes = (uint64_t)random_int(&r, 1, 4)};
        chain.output_gradient_bytes = chain.output_bytes;
        for (size_t i = count; i-- > 0;) {
            uint64_t out = i + 1 < count ? stages[i + 1].input_bytes : chain.output_bytes;
            stages[i] = (col_checkpoint_stage){.forward_seconds = (double)random_int(&r, 1, 9),
                                               .backward_seconds = (double)random_int(&r, 1, 9),
                                               .input_bytes = (uint64_t)random_int(&r, 1, 6),
                                               .saved_bytes = out};
            stages[i].gradient_bytes = stages[i].input_bytes;
        }
        sample s;
        graph_of_chain(&chain, &s);
        col_checkpoint_limits limits = {.gap = 1e-7, .seconds = 20};
        col_checkpoint_solution all, best;
        assert_ok(col_checkpoint_solve_chain(&chain, &limits, arena, &all));
        chain.memory = (uint64_t)random_int(&r, (int64_t)all.least_memory, (int64_t)all.keep_memory);
        s.graph.memory = chain.memory;
        assert_ok(col_checkpoint_solve_chain(&chain, &limits, arena, &best));
        col_checkpoint_graph_solution answer;
        assert_ok(col_checkpoint_solve_graph(&s.graph, &limits, arena, &answer));
        assert_int_equal(answer.status, COL_SOLVE_OPTIMAL);
        assert_true(answer.runs.seconds <= best.schedule.seconds * (1 + 1e-6));
        col_arena_destroy(arena);
    }
}

/* ---- rules ---- */

static void test_refuses(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    static const uint32_t later[] = {1}, first[] = {0};
    col_checkpoint_graph_solution s;
    col_checkpoint_limits limits = {0};
    col_checkpoint_node node = {.bytes = 1, .seconds = 1};
    col_checkpoint_graph graph = {.count = 0, .nodes = &node};
    assert_fails(col_checkpoint_solve_graph(&graph, &limits, arena, &s), COL_BAD_INPUT, "no node that runs");
    graph.count = 1;
    node.kind = COL_CHECKPOINT_NODE_STATE;
    assert_fails(col_checkpoint_solve_graph(&graph, &limits, arena, &s), COL_BAD_INPUT,
                 "a state has bytes only");
    node.seconds = 0;
    assert_fails(col_checkpoint_solve_graph(&graph, &limits, arena, &s), COL_BAD_INPUT, "no node that runs");
    node.kind = COL_CHECKPOINT_NODE_FORWARD;
    static const double times[] = {-1, NAN, INFINITY, 1e13};
    for (size_t i = 0; i < COL_COUNT(times); i++) {
        node.seconds = times[i];
        assert_fails(col_checkpoint_solve_graph(&graph, &limits, arena, &s), COL_BAD_INPUT, "a time of");
    }
    node.seconds = 0;
    node.bytes = UINT64_MAX;
    assert_fails(col_checkpoint_solve_graph(&graph, &limits, arena, &s), COL_BAD_INPUT, "2^60");
    node = (col_checkpoint_node){.bytes = 1, .operands = later, .operand_count = 1};
    assert_fails(col_checkpoint_solve_graph(&graph, &limits, arena, &s), COL_BAD_INPUT,
                 "does not come before");
    node.operands = first;
    assert_fails(col_checkpoint_solve_graph(&graph, &limits, arena, &s), COL_BAD_INPUT,
                 "does not come before");
    col_arena_destroy(arena);
}

static col_checkpoint_runs runs_of(uint32_t *nodes, size_t count)
{
    return (col_checkpoint_runs){.nodes = {.data = nodes, .len = count, .cap = count}};
}

static void test_play(void **state)
{
    (void)state;
    static const uint32_t a[] = {0}, ab[] = {0, 1};
    col_checkpoint_node nodes[] = {
        {.seconds = 1, .bytes = 10},
        {.seconds = 2, .bytes = 5, .temp_bytes = 3, .operands = a, .operand_count = 1},
        {.kind = COL_CHECKPOINT_NODE_BACKWARD,
         .seconds = 4,
         .bytes = 1,
         .operands = ab,
         .operand_count = 2,
         .output = true},
    };
    col_checkpoint_graph graph = {.count = 3, .nodes = nodes};
    uint32_t good[] = {0, 1, 0, 2}, missing[] = {0, 1}, early[] = {1, 0, 2}, twice[] = {0, 1, 2, 2},
             none[] = {7}, skips[] = {0, 2, 1};
    col_checkpoint_runs runs = runs_of(good, 4);
    assert_ok(col_checkpoint_graph_play(&graph, &runs));
    assert_true(runs.seconds == 8);
    assert_int_equal(runs.peak, 18); /* 10 + 5 and 3 for a while; then 5 alone, 15, 16 */
    runs = runs_of(missing, 2);
    assert_fails(col_checkpoint_graph_play(&graph, &runs), COL_INTERNAL, "node 2 never runs");
    runs = runs_of(early, 3);
    assert_fails(col_checkpoint_graph_play(&graph, &runs), COL_INTERNAL, "an operand has not run");
    runs = runs_of(twice, 4);
    assert_fails(col_checkpoint_graph_play(&graph, &runs), COL_INTERNAL, "has run already");
    runs = runs_of(none, 1);
    assert_fails(col_checkpoint_graph_play(&graph, &runs), COL_INTERNAL, "no such node");
    runs = runs_of(skips, 3);
    assert_fails(col_checkpoint_graph_play(&graph, &runs), COL_INTERNAL, "operand has not run");
}

int main(int argc, char **argv)
{
    if (argc > 1) random_graphs = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_exhaustive),
        cmocka_unit_test(test_chains_are_no_worse),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_play),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
