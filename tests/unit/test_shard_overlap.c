/* Plans priced with communication that hides behind compute: small random problems against every assignment, and a
 * choice that overlap changes. */
#include "tests/unit/unit.h"
#include "passes/shard_model.h"
#include "tests/unit/random.h"

#include <math.h>

enum { UNITS = 6, EDGES = 8, CHOICES = 3, PROBLEMS = 60 };

typedef struct sample {
    shard_problem b;
    col_machine machine;
    col_shard_options options;
} sample;

static int64_t *random_costs(col_arena *arena, unit_random *r, int count, int64_t least)
{
    int64_t *cost = COL_NEW_ARRAY(arena, int64_t, count);
    for (int i = 0; i < count; i++) cost[i] = random_int(r, least, 1000000);
    return cost;
}

/* A problem as shard_build leaves it, of units alone. */
static void make_sample(sample *s, col_arena *arena, unit_random *r)
{
    *s = (sample){.machine = {.overlap = random_chance(r, 0.2) ? 1 : (double)random_int(r, 1, 9) / 10}};
    s->options = (col_shard_options){.machine = &s->machine, .seconds = 20, .threads = 1, .accumulate = 1};
    s->b.m = (shard_model){.arena = arena, .options = &s->options};
    s->b.m.by_unit = COL_NEW_ARRAY(arena, shard_unit, UNITS);
    for (int32_t i = 0; i < UNITS; i++) {
        shard_unit *u = &s->b.m.by_unit[i];
        int k = (int)random_int(r, 1, CHOICES);
        *u = (shard_unit){.phase = (col_phase)random_int(r, 0, COL_PHASE_COUNT - 1), .count = k};
        u->cost = random_costs(arena, r, k, 500000);
        u->inner = COL_NEW_ARRAY(arena, int64_t, k);
        if (random_chance(r, 0.3)) u->inner[0] = u->cost[0] / 2;
        int64_t *usage = COL_NEW_ARRAY(arena, int64_t, k);
        for (int p = 0; p < k; p++) usage[p] = random_int(r, 0, 10);
        col_vec_push(arena, &s->b.nodes, ((col_sharding_node){k, 0, 1, u->cost, usage}));
        col_vec_push(arena, &s->b.stands_for, ((shard_node){SHARD_UNIT, i, NULL}));
    }
    for (int e = 0; e < EDGES; e++) {
        int32_t u = (int32_t)random_int(r, 0, UNITS - 2), v = (int32_t)random_int(r, u + 1, UNITS - 1);
        int count = s->b.nodes.data[u].strategies * s->b.nodes.data[v].strategies;
        int64_t *cost = random_costs(arena, r, count, 0);
        if (random_chance(r, 0.2)) cost[count - 1] = COL_SHARDING_INFINITY;
        col_vec_push(arena, &s->b.edges, ((col_sharding_edge){u, v, cost}));
        col_vec_push(arena, &s->b.hides, (int8_t)random_int(r, SHARD_BLOCKS, SHARD_HIDING_PHASES - 1));
    }
    if (random_chance(r, 0.5)) s->options.memory = random_int(r, 15, 40);
}

/* T of the assignment, from the formula; INFINITY where it is forbidden or does not fit. */
static double price(const sample *s, const int32_t *choice)
{
    double sum = 0, hideable[SHARD_HIDING_PHASES] = {0}, behind[SHARD_HIDING_PHASES] = {0};
    int64_t memory = 0;
    for (int i = 0; i < UNITS; i++) {
        const shard_unit *u = &s->b.m.by_unit[i];
        sum += (double)u->cost[choice[i]];
        memory += s->b.nodes.data[i].usage[choice[i]];
        if (u->phase != COL_PHASE_UPDATE)
            behind[u->phase] += (double)(u->cost[choice[i]] - u->inner[choice[i]]);
    }
    for (size_t e = 0; e < s->b.edges.len; e++) {
        const col_sharding_edge *x = &s->b.edges.data[e];
        int64_t cost = x->cost[choice[x->u] * s->b.nodes.data[x->v].strategies + choice[x->v]];
        if (cost >= COL_SHARDING_INFINITY) return INFINITY;
        if (s->b.hides.data[e] == SHARD_BLOCKS)
            sum += (double)cost;
        else
            hideable[s->b.hides.data[e]] += (double)cost;
    }
    for (int f = 0; f < SHARD_HIDING_PHASES; f++)
        sum += fmax(0, hideable[f] - s->machine.overlap * behind[f]);
    return s->options.memory && memory > s->options.memory ? INFINITY : sum;
}

static double least_price(const sample *s)
{
    double least = INFINITY;
    int32_t choice[UNITS] = {0};
    for (int i = 0; i < UNITS;) {
        least = fmin(least, price(s, choice));
        for (i = 0; i < UNITS && ++choice[i] == s->b.nodes.data[i].strategies; i++) choice[i] = 0;
    }
    return least;
}

static void bounds_hold(void **state)
{
    (void)state;
    int solved = 0, proved = 0;
    for (int seed = 0; seed < PROBLEMS; seed++) {
        col_arena *arena = col_arena_create();
        unit_random r = {(uint64_t)seed};
        sample s;
        make_sample(&s, arena, &r);
        double least = least_price(&s);
        col_sharding_solution found;
        assert_ok(shard_solve(&s.b, 20, NULL, true, &found));
        if (isinf(least)) {
            assert_int_equal(found.status, COL_SOLVE_INFEASIBLE);
        } else {
            /* Rounding to nanoseconds, down for the bound, is all that they may be off by. */
            assert_float_equal(price(&s, found.choice), (double)found.objective, 4);
            assert_true((double)found.objective >= least - 4);
            assert_true((double)found.bound <= least + 4);
            assert_true((double)found.objective <= 1.1 * least);
            solved++;
            proved += (double)found.objective <= least + 4;
            /* The best answer as a start: nothing worse comes back. */
            col_sharding_solution again;
            assert_ok(shard_solve(&s.b, 20, found.choice, true, &again));
            assert_true(again.objective <= found.objective);
        }
        col_arena_destroy(arena);
    }
    assert_true(solved > PROBLEMS / 2);
    assert_true(proved > solved * 8 / 10);
}

/* One unit of backward: split by rows it computes for 100 and reduces gradients for 80; split by columns it computes for
 * 120 and needs nobody. Taking turns the second is faster; at once, the first. */
static void overlap_changes_the_choice(void **state)
{
    (void)state;
    static const double overlaps[] = {0, 0.2, 0.8};
    static const int32_t expected[] = {1, 1, 0};
    static const int64_t seconds[] = {120, 120, 100};
    for (size_t i = 0; i < COL_COUNT(overlaps); i++) {
        col_arena *arena = col_arena_create();
        int64_t cost[] = {100, 120}, nothing[] = {0, 0}, reduce[] = {80, 0};
        shard_unit units[] = {{.phase = COL_PHASE_BACKWARD, .count = 2, .cost = cost, .inner = nothing},
                              {.phase = COL_PHASE_UPDATE, .count = 1, .cost = nothing, .inner = nothing}};
        col_machine machine = {.overlap = overlaps[i]};
        col_shard_options options = {.machine = &machine, .seconds = 20, .threads = 1, .accumulate = 1};
        shard_problem b = {.m = {.arena = arena, .options = &options, .by_unit = units}};
        for (int32_t u = 0; u < 2; u++) {
            col_vec_push(arena, &b.nodes,
                         ((col_sharding_node){units[u].count, 0, 0, units[u].cost, nothing}));
            col_vec_push(arena, &b.stands_for, ((shard_node){SHARD_UNIT, u, NULL}));
        }
        col_vec_push(arena, &b.edges, ((col_sharding_edge){0, 1, reduce}));
        col_vec_push(arena, &b.hides, COL_PHASE_BACKWARD);
        col_sharding_solution found;
        assert_ok(shard_solve(&b, 20, NULL, true, &found));
        assert_int_equal(found.choice[0], expected[i]);
        assert_int_equal(found.objective, seconds[i]);
        shard_price p = shard_price_of(&b, found.choice);
        assert_int_equal(p.compute + p.exposed, seconds[i]);
        col_arena_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bounds_hold),
                                       cmocka_unit_test(overlap_changes_the_choice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
