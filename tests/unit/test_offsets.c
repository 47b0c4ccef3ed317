/* The offsets solver against exhaustive search on small problems, against cuttings of known peak, and against
 * the MiniMalloc instances where they are at hand. With an argument: that many random problems. */
#include "tests/unit/unit.h"
#include "solver/offsets.h"
#include "tests/unit/offsets_cuts.h"

enum { BRUTE_MAX = 8 };

static int random_problems = 50;

/* Brute-force twin: every pressed-down answer comes from placing the buffers by rising offset, each as low as
 * the ones before it allow; so the best of all orders is the optimum. */
typedef struct brute {
    const col_offsets_problem *problem;
    uint64_t offsets[BRUTE_MAX];
    bool used[BRUTE_MAX];
    uint64_t best;
} brute;

static bool live_together(const col_offsets_buffer *a, const col_offsets_buffer *b)
{
    return a->lower < b->upper && b->lower < a->upper;
}

static void brute_extend(brute *b, size_t depth, uint64_t peak)
{
    const col_offsets_problem *p = b->problem;
    if (peak >= b->best) return;
    if (depth == p->count) {
        b->best = peak;
        return;
    }
    for (size_t j = 0; j < p->count; j++) {
        const col_offsets_buffer *buffer = &p->buffers[j];
        if (b->used[j]) continue;
        uint64_t low = 0;
        for (size_t i = 0; i < p->count; i++) {
            if (b->used[i] && p->buffers[i].size && live_together(buffer, &p->buffers[i])) {
                low = COL_MAX(low, b->offsets[i] + p->buffers[i].size);
            }
        }
        low = (low + buffer->alignment - 1) / buffer->alignment * buffer->alignment;
        if (buffer->size == 0) low = 0;
        if (buffer->fixed && low > buffer->offset) continue;
        b->offsets[j] = buffer->fixed ? buffer->offset : low;
        b->used[j] = true;
        brute_extend(b, depth + 1, buffer->size ? COL_MAX(peak, b->offsets[j] + buffer->size) : peak);
        b->used[j] = false;
    }
}

static uint64_t brute_peak(const col_offsets_problem *problem)
{
    brute b = {.problem = problem, .best = UINT64_MAX};
    brute_extend(&b, 0, 0);
    return b.best;
}

static size_t make_random(col_offsets_buffer *buffers, unit_random *r)
{
    size_t count = (size_t)random_int(r, 1, BRUTE_MAX);
    bool aligned = random_chance(r, 0.5);
    static const uint64_t alignments[] = {1, 2, 4, 8, 3};
    uint64_t common = alignments[random_int(r, 0, 4)];
    bool mixed = random_chance(r, 0.5);
    for (size_t j = 0; j < count; j++) {
        uint64_t lower = (uint64_t)random_int(r, 0, 8);
        buffers[j] = (col_offsets_buffer){
            .lower = lower,
            .upper = lower + (uint64_t)random_int(r, 1, 6),
            .size = (uint64_t)random_int(r, random_chance(r, 0.1) ? 0 : 1, random_chance(r, 0.5) ? 5 : 20),
            .alignment = !aligned ? 1
                         : mixed  ? alignments[random_int(r, 0, 4)]
                                  : common,
        };
    }
    return count;
}

static col_offsets_solution solve(const col_offsets_problem *problem, double seconds, col_arena *arena)
{
    col_offsets_limits limits = {.seconds = seconds};
    col_offsets_solution s;
    assert_ok(col_offsets_solve(problem, &limits, arena, &s));
    uint64_t peak;
    assert_ok(col_offsets_check(problem, s.offsets, &peak));
    assert_int_equal(peak, s.peak);
    assert_true(s.bound <= s.peak);
    return s;
}

/* Minimising, at the optimum and just below it: all as brute force says. */
static void check_against_brute(const col_offsets_problem *given, col_arena *arena)
{
    col_offsets_problem problem = *given;
    uint64_t best = brute_peak(&problem);
    col_offsets_solution s = solve(&problem, 60, arena);
    assert_int_equal(s.status, COL_SOLVE_OPTIMAL);
    assert_int_equal(s.peak, best);
    assert_int_equal(s.bound, best);
    col_offsets_solution fast = solve(&problem, 0, arena);
    assert_true(fast.peak >= best && fast.bound <= best);
    if (best == 0) return;
    problem.capacity = best;
    s = solve(&problem, 60, arena);
    assert_int_equal(s.status == COL_SOLVE_INFEASIBLE || s.status == COL_SOLVE_LIMIT, false);
    assert_true(s.peak <= best);
    problem.capacity = best - 1;
    if (!problem.capacity) return;
    s = solve(&problem, 60, arena);
    assert_int_equal(s.status, COL_SOLVE_INFEASIBLE);
    assert_int_equal(s.bound, best);
    assert_true(s.peak >= best);
}

static void test_equals_brute_force(void **state)
{
    (void)state;
    unit_random r = {1};
    for (int k = 0; k < random_problems; k++) {
        col_arena *arena = col_arena_create();
        col_offsets_buffer buffers[BRUTE_MAX];
        col_offsets_problem problem = {.count = make_random(buffers, &r), .buffers = buffers};
        check_against_brute(&problem, arena);
        /* Some buffers stay where an answer had them, or a little higher. */
        col_offsets_solution s = solve(&problem, 0, arena);
        uint64_t shift = 0;
        for (size_t j = 0; j < problem.count; j++) shift = COL_MAX(shift, buffers[j].alignment);
        shift = random_chance(&r, 0.5) ? 0 : 24 * shift;
        for (size_t j = 0; j < problem.count; j++) {
            buffers[j].fixed = random_chance(&r, 0.3);
            buffers[j].offset = s.offsets[j] + (s.offsets[j] + buffers[j].size == s.peak ? shift : 0);
            if (buffers[j].offset % buffers[j].alignment) buffers[j].offset = s.offsets[j];
        }
        check_against_brute(&problem, arena);
        col_arena_destroy(arena);
    }
}

/* A cutting fills its rectangle, so the optimum is the rectangle's side. */
static void test_solves_cuttings(void **state)
{
    (void)state;
    unit_random r = {2};
    col_arena *arena = col_arena_create();
    col_offsets_buffer *buffers = COL_NEW_ARRAY(arena, col_offsets_buffer, 200);
    int rounds = COL_MAX(random_problems / 10, 5);
    for (int k = 0; k < rounds; k++) {
        size_t count = cuts_make(buffers, (size_t)random_int(&r, 20, 120), k % 3 * 0.4, 0, &r);
        col_offsets_problem problem = {.count = count, .buffers = buffers, .capacity = CUT_SIDE * CUT_UNIT};
        col_offsets_solution s = solve(&problem, 300, arena);
        assert_int_equal(s.status, COL_SOLVE_OPTIMAL);
        assert_int_equal(s.peak, CUT_SIDE * CUT_UNIT);
        problem.capacity -= 1;
        s = solve(&problem, 0, arena);
        assert_int_equal(s.status, COL_SOLVE_INFEASIBLE);
    }
    col_arena_destroy(arena);
}

/* A cutting of large buffers, and ten times as many that hold next to nothing: these are put in afterwards,
 * in next to nothing of memory. */
static void test_small_buffers_come_last(void **state)
{
    (void)state;
    enum { LARGE = 60, SMALL = 600 };
    unit_random r = {7};
    col_arena *arena = col_arena_create();
    col_offsets_buffer *buffers = COL_NEW_ARRAY(arena, col_offsets_buffer, LARGE + SMALL);
    for (int k = 0; k < 5; k++) {
        size_t count = cuts_make(buffers, LARGE, 0.3, 0, &r);
        for (int i = 0; i < SMALL; i++) {
            uint64_t at = (uint64_t)random_int(&r, 0, CUT_SIDE - 2);
            uint64_t end = at + (uint64_t)random_int(&r, 1, COL_MIN(CUT_SIDE - 1 - (int64_t)at, 30));
            buffers[count++] = (col_offsets_buffer){at, end, (uint64_t)random_int(&r, 1, 40), 1, false, 0};
        }
        col_offsets_problem problem = {.count = count, .buffers = buffers};
        col_offsets_limits limits = {.seconds = 1e6, .nodes = 20000, .gap = 0.005};
        col_offsets_solution s;
        assert_ok(col_offsets_solve(&problem, &limits, arena, &s));
        assert_true((double)s.peak <= 1.005 * CUT_SIDE * CUT_UNIT);
    }
    col_arena_destroy(arena);
}

static void test_node_limit_is_repeatable(void **state)
{
    (void)state;
    unit_random r = {3};
    col_arena *arena = col_arena_create();
    col_offsets_buffer *buffers = COL_NEW_ARRAY(arena, col_offsets_buffer, 400);
    size_t count = cuts_make(buffers, 400, 0.3, 20, &r);
    col_offsets_problem problem = {.count = count, .buffers = buffers, .capacity = CUT_SIDE * CUT_UNIT};
    col_offsets_limits limits = {.seconds = 1e6, .nodes = 300};
    col_offsets_solution a, b;
    assert_ok(col_offsets_solve(&problem, &limits, arena, &a));
    assert_ok(col_offsets_solve(&problem, &limits, arena, &b));
    assert_true(a.nodes <= 300);
    assert_int_equal(a.status, b.status);
    assert_int_equal(a.nodes, b.nodes);
    col_arena_destroy(arena);
}

/* The buffers of a training step: weights live throughout, activations from forward to backward, gradients
 * and scratch for a moment. */
static void test_training_shape(void **state)
{
    (void)state;
    enum { LAYERS = 300, PER_LAYER = 10, COUNT = LAYERS * PER_LAYER };
    col_arena *arena = col_arena_create();
    col_offsets_buffer *b = COL_NEW_ARRAY(arena, col_offsets_buffer, COUNT);
    unit_random r = {4};
    size_t n = 0;
    for (uint64_t i = 0; i < LAYERS; i++) {
        uint64_t forward = 10 * i, backward = 20 * LAYERS - 10 * i;
        for (uint64_t k = 0; k < PER_LAYER; k++) {
            uint64_t size = (uint64_t)random_int(&r, 1, 1000) * 12;
            col_offsets_buffer weight = {0, 20 * LAYERS + 20, size, 64, false, 0};
            col_offsets_buffer saved = {forward + k, backward + 10 - k, size, 64, false, 0};
            col_offsets_buffer moment = {k % 2 ? forward + k : backward + k, 0, size, 64, false, 0};
            moment.upper = moment.lower + 3;
            b[n++] = k < 2 ? weight : k < 6 ? saved : moment;
        }
    }
    col_offsets_problem problem = {.count = n, .buffers = b};
    col_offsets_solution s = solve(&problem, 0, arena);
    assert_true((double)s.peak <= 1.01 * (double)s.bound);
    col_arena_destroy(arena);
}

/* Good enough is no more than that, and is called optimal only where it is. */
static void test_stops_at_gap(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        col_arena *arena = col_arena_create();
        unit_random r = {(uint64_t)i + 1};
        col_offsets_buffer b[24];
        for (size_t j = 0; j < COL_COUNT(b); j++) {
            uint64_t lower = (uint64_t)random_int(&r, 0, 30);
            b[j] = (col_offsets_buffer){.lower = lower,
                                        .upper = lower + (uint64_t)random_int(&r, 1, 12),
                                        .size = (uint64_t)random_int(&r, 1, 100)};
        }
        col_offsets_problem problem = {.count = COL_COUNT(b), .buffers = b};
        col_offsets_limits limits = {.seconds = 5, .gap = 0.05};
        col_offsets_solution s;
        assert_ok(col_offsets_solve(&problem, &limits, arena, &s));
        assert_true((double)s.peak <= 1.05 * (double)s.bound);
        assert_int_equal(s.status == COL_SOLVE_OPTIMAL, s.peak == s.bound);
        col_arena_destroy(arena);
    }
}

static void test_trivial(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_offsets_problem none = {.count = 0};
    col_offsets_solution s = solve(&none, 1, arena);
    assert_int_equal(s.status, COL_SOLVE_OPTIMAL);
    assert_int_equal(s.peak, 0);
    /* Intervals are half-open: what ends at 5 and what starts at 5 share bytes. */
    col_offsets_buffer two[] = {{.lower = 0, .upper = 5, .size = 8}, {.lower = 5, .upper = 9, .size = 6}};
    col_offsets_problem problem = {.count = 2, .buffers = two};
    s = solve(&problem, 1, arena);
    assert_int_equal(s.peak, 8);
    assert_int_equal(s.status, COL_SOLVE_OPTIMAL);
    col_arena_destroy(arena);
}

static void expect_refused(col_offsets_buffer a, col_offsets_buffer b, const char *part)
{
    col_arena *arena = col_arena_create();
    col_offsets_buffer buffers[] = {a, b};
    col_offsets_problem problem = {.count = 2, .buffers = buffers};
    col_offsets_limits limits = {.seconds = 1};
    col_offsets_solution s;
    assert_fails(col_offsets_solve(&problem, &limits, arena, &s), COL_BAD_INPUT, part);
    col_arena_destroy(arena);
}

static void test_refuses(void **state)
{
    (void)state;
    col_offsets_buffer good = {.lower = 0, .upper = 4, .size = 8, .alignment = 4};
    col_offsets_buffer bad = good;
    bad.upper = 0;
    expect_refused(good, bad, "is empty");
    bad = good;
    bad.size = UINT64_MAX;
    expect_refused(good, bad, "2^60");
    bad = good;
    bad.fixed = true;
    bad.offset = 2;
    expect_refused(good, bad, "no multiple");
    good.fixed = true;
    bad.offset = 4;
    expect_refused(good, bad, "fixed");
}

static void test_check_finds_overlap(void **state)
{
    (void)state;
    col_offsets_buffer buffers[] = {{.lower = 0, .upper = 4, .size = 8},
                                    {.lower = 3, .upper = 6, .size = 8, .alignment = 4},
                                    {.lower = 6, .upper = 7, .size = 8}};
    col_offsets_problem problem = {.count = 3, .buffers = buffers};
    uint64_t peak;
    assert_fails(col_offsets_check(&problem, (uint64_t[]){0, 4, 0}, &peak), COL_INTERNAL, "overlap");
    assert_fails(col_offsets_check(&problem, (uint64_t[]){0, 9, 0}, &peak), COL_INTERNAL, "misplaced");
    assert_ok(col_offsets_check(&problem, (uint64_t[]){0, 8, 1}, &peak));
    assert_int_equal(peak, 16);
}

int main(int argc, char **argv)
{
    if (argc > 1) random_problems = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_brute_force),
        cmocka_unit_test(test_solves_cuttings),
        cmocka_unit_test(test_small_buffers_come_last),
        cmocka_unit_test(test_node_limit_is_repeatable),
        cmocka_unit_test(test_training_shape),
        cmocka_unit_test(test_stops_at_gap),
        cmocka_unit_test(test_trivial),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_check_finds_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
