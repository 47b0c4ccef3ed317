/* The sharding solver against every assignment of small random problems, against the integer program on
 * larger ones, and its own checks. With an argument: that many random problems. */
#include "tests/unit/unit.h"
#include "solver/sharding.h"
#include "tests/unit/random.h"

static int random_problems = 50;

enum { NODES = 8, EDGES = 14 };

typedef struct shape {
    int nodes, edges, strategies, times;
    int64_t largest;  /* cost */
    double forbidden; /* share of infinite pairs */
    double alike;     /* share of edges that only allow equal strategies */
} shape;

static int64_t random_cost(unit_random *r, const shape *s)
{
    return random_chance(r, s->forbidden) ? COL_SHARDING_INFINITY : random_int(r, 0, s->largest);
}

/* Everything in the arena. Self-loops, parallel edges and empty intervals included. */
static col_sharding_problem make_random(col_arena *arena, unit_random *r, const shape *s)
{
    int32_t n = s->nodes, m = s->edges;
    col_sharding_node *nodes = COL_NEW_ARRAY(arena, col_sharding_node, n);
    col_sharding_edge *edges = COL_NEW_ARRAY(arena, col_sharding_edge, m);
    for (int32_t i = 0; i < n; i++) {
        int32_t k = (int32_t)random_int(r, 1, s->strategies);
        int64_t *cost = COL_NEW_ARRAY(arena, int64_t, k), *usage = COL_NEW_ARRAY(arena, int64_t, k);
        for (int32_t p = 0; p < k; p++) {
            cost[p] = random_chance(r, 0.05) ? COL_SHARDING_INFINITY : random_int(r, 0, s->largest);
            usage[p] = random_chance(r, 0.2) ? 0 : random_int(r, 0, 20);
        }
        int32_t lower = (int32_t)random_int(r, 0, s->times - 1);
        nodes[i] =
            (col_sharding_node){k, lower, lower + (int32_t)random_int(r, 0, s->times / 2), cost, usage};
    }
    for (int32_t e = 0; e < m; e++) {
        int32_t u = (int32_t)random_int(r, 0, n - 1), v = (int32_t)random_int(r, 0, n - 1);
        if (u == v && random_chance(r, 0.8)) v = (u + 1) % n;
        int32_t ku = nodes[u].strategies, kv = nodes[v].strategies;
        int64_t *cost = COL_NEW_ARRAY(arena, int64_t, ku * kv);
        bool alike = random_chance(r, s->alike);
        bool separable = random_chance(r, 0.1);
        for (int32_t p = 0; p < ku; p++) {
            for (int32_t q = 0; q < kv; q++) {
                cost[p * kv + q] = random_cost(r, s);
                if (alike && p % kv != q % ku) cost[p * kv + q] = COL_SHARDING_INFINITY;
                if (separable) cost[p * kv + q] = 3 * p + 2 * q;
            }
        }
        edges[e] = (col_sharding_edge){u, v, cost};
    }
    return (col_sharding_problem){n, m, nodes, edges, 0, NULL, NULL};
}

/* Says of nodes with as many strategies that they are alike, whatever they cost. */
static const int32_t *random_hints(col_arena *arena, unit_random *r, const col_sharding_problem *problem)
{
    int32_t *alike = COL_NEW_ARRAY(arena, int32_t, problem->node_count);
    for (int32_t i = 0; i < problem->node_count; i++)
        alike[i] = random_chance(r, 0.3) ? -1 : problem->nodes[i].strategies;
    for (int32_t i = 0; i < problem->node_count; i++)
        if (alike[i] >= problem->node_count) alike[i] = -1;
    return alike;
}

static void solve(col_arena *arena, const col_sharding_problem *problem, int threads,
                  col_sharding_solution *out)
{
    col_sharding_limits limits = {.seconds = 120, .threads = threads};
    assert_ok(col_sharding_solve(arena, problem, &limits, out));
    if (!out->choice) return;
    for (int32_t i = 0; i < problem->node_count; i++)
        assert_in_range(out->choice[i], 0, problem->nodes[i].strategies - 1);
    assert_int_equal(out->peak, col_sharding_peak(problem, out->choice));
    if (out->status == COL_SOLVE_INFEASIBLE) return;
    assert_int_equal(out->objective, col_sharding_cost(problem, out->choice));
    assert_true(out->peak <= problem->limit);
}

/* The greedy twin never beats the optimum, and what it calls an answer is one. */
static void check_greedy(col_arena *arena, const col_sharding_problem *problem,
                         const col_sharding_solution *best)
{
    col_sharding_solution greedy;
    assert_ok(col_sharding_greedy(arena, problem, 1, &greedy));
    if (greedy.status == COL_SOLVE_LIMIT) {
        assert_null(greedy.choice);
        return;
    }
    assert_int_equal(greedy.status, COL_SOLVE_FEASIBLE);
    assert_int_equal(greedy.objective, col_sharding_cost(problem, greedy.choice));
    assert_true(col_sharding_peak(problem, greedy.choice) <= problem->limit);
    assert_true(greedy.objective >= best->objective);
}

/* Told what an answer must beat, it is found if it is cheaper, and else refuted. */
static void check_below(col_arena *arena, const col_sharding_problem *problem, int64_t least)
{
    for (int64_t below = COL_MAX(least, 1); below <= least + 1; below++) {
        col_sharding_limits limits = {.seconds = 20, .threads = 1, .below = below};
        col_sharding_solution found;
        assert_ok(col_sharding_solve(arena, problem, &limits, &found));
        assert_true(found.bound >= least);
        if (below > least) assert_int_equal(found.objective, least);
    }
}

static void test_equals_brute_force(void **state)
{
    (void)state;
    /* The last is beyond what double precision holds. */
    static const int64_t largest[] = {4, 1000000000, (INT64_C(1) << 53) + 1};
    int infeasible = 0, bound_by_memory = 0;
    for (int seed = 0; seed < random_problems; seed++) {
        col_arena *arena = col_arena_create();
        unit_random r = {(uint64_t)seed};
        shape s = {.nodes = (int)random_int(&r, 1, NODES),
                   .edges = (int)random_int(&r, 0, EDGES),
                   .strategies = (int)random_int(&r, 2, 4),
                   .times = (int)random_int(&r, 1, 8),
                   .largest = largest[random_int(&r, 0, COL_COUNT(largest) - 1)],
                   .forbidden = random_chance(&r, 0.5) ? 0 : 0.3,
                   .alike = random_chance(&r, 0.5) ? 0 : 0.3};
        col_sharding_problem problem = make_random(arena, &r, &s);
        problem.limit = INT64_C(1) << 40;
        if (random_chance(&r, 0.5)) problem.alike = random_hints(arena, &r, &problem);
        col_sharding_solution loose, brute, found;
        assert_ok(col_sharding_brute(arena, &problem, &loose));
        /* Without a limit that binds, at the least memory that any assignment has, just below, and between.
         */
        bool finite = loose.status == COL_SOLVE_OPTIMAL;
        int64_t least = loose.least_memory;
        int64_t limits[] = {problem.limit, finite ? least : 0, finite ? least - 1 : 0,
                            finite ? random_int(&r, least, loose.peak) : 0};
        for (size_t j = 0; j < COL_COUNT(limits); j++) {
            if (limits[j] < 0) continue;
            problem.limit = limits[j];
            assert_ok(col_sharding_brute(arena, &problem, &brute));
            solve(arena, &problem, 1 + seed % 2, &found);
            check_greedy(arena, &problem, &brute);
            if (found.objective != brute.objective) print_error("seed %d, limit %zu\n", seed, j);
            assert_int_equal(found.objective, brute.objective);
            assert_int_equal(found.status, brute.status);
            if (brute.status == COL_SOLVE_OPTIMAL) {
                assert_int_equal(found.bound, brute.objective);
                check_below(arena, &problem, brute.objective);
                bound_by_memory += brute.objective > loose.objective;
                continue;
            }
            infeasible++;
            assert_int_equal(found.least_memory, least);
            if (finite)
                assert_int_equal(found.peak, least);
            else
                assert_null(found.choice);
        }
        col_arena_destroy(arena);
    }
    assert_true(infeasible > random_problems / 4);
    assert_true(bound_by_memory > random_problems / 4);
}

/* Problems with cores that neither the reductions nor one bound close, against the integer program. */
static void test_equals_integer_program(void **state)
{
    (void)state;
    for (int seed = 0; seed < random_problems / 2; seed++) {
        col_arena *arena = col_arena_create();
        unit_random r = {(uint64_t)seed};
        shape s = {.nodes = (int)random_int(&r, 10, 24),
                   .strategies = (int)random_int(&r, 2, 5),
                   .times = 20,
                   .largest = random_chance(&r, 0.5) ? 9 : 1000000,
                   .forbidden = random_chance(&r, 0.5) ? 0 : 0.2};
        s.edges = s.nodes * (int)random_int(&r, 10, 18) / 10;
        col_sharding_problem problem = make_random(arena, &r, &s);
        problem.limit = INT64_C(1) << 40;
        col_sharding_solution found, program;
        col_sharding_limits limits = {.seconds = 120};
        for (int tight = 0; tight < 2; tight++) {
            solve(arena, &problem, 1 + seed % 2, &found);
            assert_ok(col_sharding_ilp(arena, &problem, &limits, &program));
            if (found.objective != program.objective) print_error("seed %d, tight %d\n", seed, tight);
            assert_int_equal(found.objective, program.objective);
            assert_int_equal(found.status, program.status);
            if (!found.choice) break;
            problem.limit = found.peak * random_int(&r, 60, 99) / 100;
        }
        col_arena_destroy(arena);
    }
}

enum { LAYERS = 8, LAYER_NODES = 4, CHOICES = 3 };

/* Equal layers in a row: a strategy that differs from the next layer's costs 1000. */
static col_sharding_problem make_layers(col_arena *arena, unit_random *r)
{
    int32_t n = LAYERS * LAYER_NODES;
    col_sharding_node *nodes = COL_NEW_ARRAY(arena, col_sharding_node, n);
    col_sharding_edge *edges = COL_NEW_ARRAY(arena, col_sharding_edge, 2 * n);
    int32_t *alike = COL_NEW_ARRAY(arena, int32_t, n), m = 0;
    int64_t *same = COL_NEW_ARRAY(arena, int64_t, CHOICES * CHOICES);
    int64_t *pairs = COL_NEW_ARRAY(arena, int64_t, CHOICES * CHOICES); /* within a layer */
    for (int p = 0; p < CHOICES * CHOICES; p++) {
        same[p] = p % (CHOICES + 1) ? 1000 : 0;
        pairs[p] = random_int(r, 0, 3);
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t place = i % LAYER_NODES;
        alike[i] = place;
        if (i >= LAYER_NODES) {
            nodes[i] = nodes[place];
            edges[m++] = (col_sharding_edge){i - LAYER_NODES, i, same};
        } else {
            int64_t *cost = COL_NEW_ARRAY(arena, int64_t, CHOICES),
                    *usage = COL_NEW_ARRAY(arena, int64_t, CHOICES);
            for (int p = 0; p < CHOICES; p++) {
                cost[p] = random_int(r, 0, 3); /* many answers cost the same */
                usage[p] = random_int(r, 0, 20);
            }
            nodes[i] = (col_sharding_node){CHOICES, 0, 1, cost, usage};
        }
        if (place) edges[m++] = (col_sharding_edge){i - 1, i, pairs};
    }
    return (col_sharding_problem){n, m, nodes, edges, INT64_C(1) << 40, alike, NULL};
}

static void test_layers_alike(void **state)
{
    (void)state;
    for (int seed = 0; seed < random_problems; seed++) {
        col_arena *arena = col_arena_create();
        unit_random r = {(uint64_t)seed};
        col_sharding_problem problem = make_layers(arena, &r), bare = problem;
        bare.alike = NULL;
        col_sharding_solution found, whole;
        solve(arena, &problem, 1, &found);
        solve(arena, &bare, 1, &whole);
        assert_int_equal(found.objective, whole.objective);
        for (int32_t i = 0; i < problem.node_count; i++)
            assert_int_equal(found.choice[i], found.choice[i % LAYER_NODES]);
        /* Where memory makes layers differ they do, and the bound is that of the whole problem. */
        bare.limit = problem.limit = found.peak * 4 / 5;
        solve(arena, &problem, 1, &found);
        solve(arena, &bare, 1, &whole);
        assert_int_equal(found.status, whole.status);
        assert_int_equal(found.objective, whole.objective);
        assert_int_equal(found.bound, whole.bound);
        assert_int_equal(found.least_memory, whole.least_memory);
        col_arena_destroy(arena);
    }
}

/* A cheap strategy that uses memory, and a dear one that does not: under the limit half of the layers can
 * have the cheap one, which no answer that is the same for all can. */
static void test_layers_differ_where_it_pays(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    int64_t cost[] = {1, 100}, usage[] = {10, 0};
    int32_t alike[LAYERS] = {0};
    col_sharding_node nodes[LAYERS];
    for (int i = 0; i < LAYERS; i++) nodes[i] = (col_sharding_node){2, 0, 1, cost, usage};
    col_sharding_problem problem = {LAYERS, 0, nodes, NULL, 10 * LAYERS / 2, alike, NULL};
    col_sharding_limits limits = {.seconds = 20, .gap = 0.01};
    col_sharding_solution found;
    assert_ok(col_sharding_solve(arena, &problem, &limits, &found));
    assert_int_equal(found.objective, LAYERS / 2 * (1 + 100));
    assert_int_equal(found.peak, problem.limit);
    assert_int_equal(found.status, COL_SOLVE_OPTIMAL);
    col_arena_destroy(arena);
}

/* An answer that is known is where the search starts, if it fits; it is refused if it is none. */
static void test_starts_from_an_answer(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    unit_random r = {3};
    shape s = {.nodes = 40, .edges = 70, .strategies = 6, .times = 40, .largest = 1000};
    col_sharding_problem problem = make_random(arena, &r, &s);
    problem.limit = INT64_C(1) << 40;
    col_sharding_solution first, again;
    solve(arena, &problem, 1, &first);
    assert_int_equal(first.status, COL_SOLVE_OPTIMAL);
    problem.start = first.choice;
    col_sharding_limits limits = {.seconds = 20, .gap = 1};
    assert_ok(col_sharding_solve(arena, &problem, &limits, &again));
    assert_int_equal(again.objective, first.objective);
    /* Where it does not fit, another is found. */
    problem.limit = first.peak - 1;
    solve(arena, &problem, 1, &again);
    assert_true(again.status == COL_SOLVE_INFEASIBLE || again.peak <= problem.limit);
    int32_t *wrong = col_arena_copy(arena, first.choice, sizeof *wrong * 40);
    wrong[7] = problem.nodes[7].strategies;
    problem.start = wrong;
    assert_fails(col_sharding_solve(arena, &problem, &limits, &again), COL_BAD_INPUT,
                 "node 7 starts with strategy");
    col_arena_destroy(arena);
}

/* Layers alike, when that is all that is asked for: the same strategies, fitting, and no bound. */
static void test_alike_only(void **state)
{
    (void)state;
    for (int seed = 0; seed < random_problems; seed++) {
        col_arena *arena = col_arena_create();
        unit_random r = {(uint64_t)seed};
        col_sharding_problem problem = make_layers(arena, &r);
        col_sharding_solution whole, found;
        solve(arena, &problem, 1, &whole);
        problem.limit = whole.peak * 9 / 10;
        solve(arena, &problem, 1, &whole);
        col_sharding_limits limits = {.seconds = 20, .threads = 1, .alike_only = true};
        assert_ok(col_sharding_solve(arena, &problem, &limits, &found));
        assert_int_equal(found.status == COL_SOLVE_INFEASIBLE, whole.status == COL_SOLVE_INFEASIBLE);
        if (found.status != COL_SOLVE_INFEASIBLE) {
            assert_true(found.objective >= whole.objective && found.peak <= problem.limit);
            assert_true(found.bound <= whole.objective);
        }
        bool same = found.status == COL_SOLVE_FEASIBLE;
        for (int32_t i = 0; same && i < problem.node_count; i++)
            assert_int_equal(found.choice[i], found.choice[i % LAYER_NODES]);
        col_arena_destroy(arena);
    }
}

/* The same answer twice: from one thread, and from two where one closes the problem before the other joins.
 */
static void test_repeatable(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    unit_random r = {7};
    shape s = {.nodes = 40, .edges = 70, .strategies = 6, .times = 40, .largest = 3};
    col_sharding_problem problem = make_random(arena, &r, &s);
    problem.limit = INT64_C(1) << 40;
    col_sharding_solution first, second;
    solve(arena, &problem, 1, &first);
    problem.limit = first.peak * 4 / 5;
    for (int threads = 1; threads <= 2; threads++) {
        solve(arena, &problem, threads, &first);
        solve(arena, &problem, threads, &second);
        assert_int_equal(first.status, COL_SOLVE_OPTIMAL);
        assert_memory_equal(first.choice, second.choice, sizeof(int32_t) * 40);
    }
    col_arena_destroy(arena);
}

static void test_refuses_bad_problems(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    int64_t cost[] = {1, 2}, usage[] = {0, 5}, negative[] = {1, -2}, large[] = {INT64_C(1) << 58, 1};
    int64_t pairs[] = {0, 1, 2, 3};
    col_sharding_limits limits = {.seconds = 5};
    col_sharding_solution out;
    col_sharding_node nodes[] = {{2, 0, 1, cost, usage}, {2, 0, 1, cost, usage}};
    col_sharding_edge edges[] = {{0, 2, pairs}};
    col_sharding_problem problem = {2, 1, nodes, edges, 10, NULL, NULL};
    assert_fails(col_sharding_solve(arena, &problem, &limits, &out), COL_BAD_INPUT, "joins nodes 0 and 2");
    edges[0].v = 1;
    nodes[1].cost = negative;
    assert_fails(col_sharding_solve(arena, &problem, &limits, &out), COL_BAD_INPUT,
                 "node 1 has the negative value -2");
    nodes[1].cost = large;
    assert_fails(col_sharding_solve(arena, &problem, &limits, &out), COL_BAD_INPUT, "larger unit");
    nodes[1].cost = cost;
    nodes[0].strategies = 0;
    assert_fails(col_sharding_solve(arena, &problem, &limits, &out), COL_BAD_INPUT,
                 "node 0 has 0 strategies");
    nodes[0].strategies = 1;
    int32_t alike[] = {1, 1}, far[] = {0, 2};
    problem.alike = alike;
    assert_fails(col_sharding_solve(arena, &problem, &limits, &out), COL_BAD_INPUT,
                 "node 1 has 2 strategies");
    problem.alike = far;
    assert_fails(col_sharding_solve(arena, &problem, &limits, &out), COL_BAD_INPUT, "node 1 is of class 2");
    col_sharding_problem empty = {0};
    assert_ok(col_sharding_solve(arena, &empty, &limits, &out));
    assert_int_equal(out.status, COL_SOLVE_OPTIMAL);
    assert_int_equal(out.objective, 0);
    col_arena_destroy(arena);
}

int main(int argc, char **argv)
{
    if (argc > 1) random_problems = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_brute_force),
        cmocka_unit_test(test_equals_integer_program),
        cmocka_unit_test(test_layers_alike),
        cmocka_unit_test(test_layers_differ_where_it_pays),
        cmocka_unit_test(test_starts_from_an_answer),
        cmocka_unit_test(test_alike_only),
        cmocka_unit_test(test_repeatable),
        cmocka_unit_test(test_refuses_bad_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
