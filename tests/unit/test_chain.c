/* Recomputation on chains against exhaustive search over the states of memory. With an argument: that many
 * random chains. */
#include "tests/unit/unit.h"
#include "solver/checkpoint.h"
#include "tests/unit/random.h"

#include <math.h>

enum { MAX_STAGES = 6 };

static int random_chains = 50;

/* Brute-force twin: Dijkstra over what is in memory. A state is which a_i were kept on their own, which A_i
 * are there, the gradient, and the activation that the last forward left (which the next step takes or
 * drops). What is kept stays until its backward: schedules are persistent, as those of the solver. */
typedef struct memory_state {
    uint16_t kept, saved; /* bit i: a_i kept loose; A_{i+1} there */
    uint8_t gradient;     /* d of this index is there */
    uint8_t current;      /* 1 + index of the activation that may go on, 0: none */
} memory_state;

enum { MOST_STATES = 1 << 13 };

typedef struct brute {
    const col_checkpoint_chain *chain;
    memory_state states[MOST_STATES];
    double time[MOST_STATES];
    bool done[MOST_STATES];
    int count;
} brute;

static uint64_t activation(const col_checkpoint_chain *c, int i)
{
    return i < (int)c->count ? c->stages[i].input_bytes : c->output_bytes;
}

static uint64_t gradient(const col_checkpoint_chain *c, int i)
{
    return i < (int)c->count ? c->stages[i].gradient_bytes : c->output_gradient_bytes;
}

/* Is a_i there without the current one? */
static bool stays(memory_state s, int i)
{
    return (s.kept >> i & 1) || (i > 0 && (s.saved >> (i - 1) & 1));
}

static uint64_t bytes_of(const col_checkpoint_chain *c, memory_state s)
{
    uint64_t sum = gradient(c, s.gradient);
    for (int i = 0; i <= (int)c->count; i++) {
        if (s.kept >> i & 1) sum += activation(c, i);
        if (i < (int)c->count && (s.saved >> i & 1)) sum += c->stages[i].saved_bytes;
    }
    if (s.current && !stays(s, s.current - 1)) sum += activation(c, s.current - 1);
    return sum;
}

static void reach(brute *b, memory_state s, double time)
{
    for (int k = 0; k < b->count; k++) {
        if (memcmp(&b->states[k], &s, sizeof s)) continue;
        b->time[k] = fmin(b->time[k], time);
        return;
    }
    assert_true(b->count < MOST_STATES);
    b->states[b->count] = s;
    b->time[b->count++] = time;
}

static void step_forward(brute *b, memory_state s, double time, int i, uint64_t memory)
{
    const col_checkpoint_stage *stage = &b->chain->stages[i];
    if (s.saved >> i & 1) return;
    for (int action = 0; action < 3; action++) {
        memory_state next = s;
        if (action > 0 && !stays(s, i)) next.kept |= (uint16_t)(1 << i);
        if (action == 0 && (s.kept >> i & 1)) continue; /* it stays, so it is not dropped */
        uint64_t during = bytes_of(b->chain, s);
        if (action == 2) next.saved |= (uint16_t)(1 << i);
        next.current = (uint8_t)(i + 2);
        /* The input is there while the forward runs, and what it made already. */
        uint64_t made = action == 2 ? stage->saved_bytes : stays(s, i + 1) ? 0 : activation(b->chain, i + 1);
        if (s.current && s.current - 1 != i && !stays(s, s.current - 1))
            during -= activation(b->chain, s.current - 1);
        if (during + made + stage->forward_temp_bytes > memory) continue;
        reach(b, next, time + stage->forward_seconds);
    }
}

static double brute_time(const col_checkpoint_chain *chain, uint64_t memory)
{
    static brute b;
    b = (brute){.chain = chain};
    memory_state first = {.kept = 1, .gradient = (uint8_t)chain->count};
    if (bytes_of(chain, first) > memory) return INFINITY;
    reach(&b, first, 0);
    for (;;) {
        int k = -1;
        for (int i = 0; i < b.count; i++) {
            if (!b.done[i] && (k < 0 || b.time[i] < b.time[k])) k = i;
        }
        if (k < 0) return INFINITY;
        b.done[k] = true;
        memory_state s = b.states[k];
        if (s.gradient == 0) return b.time[k];
        for (int i = 0; i < s.gradient; i++) {
            bool there = stays(s, i) || s.current == i + 1;
            if (there) step_forward(&b, s, b.time[k], i, memory);
        }
        int i = s.gradient - 1;
        if (!(s.saved >> i & 1) || !stays(s, i)) continue;
        memory_state next = s;
        next.current = 0;
        uint64_t during = bytes_of(chain, next) + gradient(chain, i) + chain->stages[i].backward_temp_bytes;
        if (during > memory) continue;
        next.saved &= (uint16_t) ~(1 << i);
        next.kept &= (uint16_t) ~(1 << i);
        next.gradient = (uint8_t)i;
        reach(&b, next, b.time[k] + chain->stages[i].backward_seconds);
    }
}

static void make_chain(unit_random *r, col_checkpoint_stage *stages, col_checkpoint_chain *chain)
{
    size_t n = (size_t)random_int(r, 1, MAX_STAGES);
    bool unit = random_chance(r, 0.3);
    *chain =
        (col_checkpoint_chain){.count = n, .stages = stages, .output_bytes = (uint64_t)random_int(r, 0, 4)};
    chain->output_gradient_bytes = chain->output_bytes;
    for (size_t i = n; i-- > 0;) {
        uint64_t out = i + 1 < n ? stages[i + 1].input_bytes : chain->output_bytes;
        stages[i] = (col_checkpoint_stage){
            .forward_seconds = unit ? 1 : (double)random_int(r, 0, 9),
            .backward_seconds = unit ? 1 : (double)random_int(r, 0, 9),
            .input_bytes = (uint64_t)random_int(r, 0, 6),
            .saved_bytes = out + (uint64_t)random_int(r, 0, 8),
            .forward_temp_bytes = random_chance(r, 0.5) ? (uint64_t)random_int(r, 0, 5) : 0,
            .backward_temp_bytes = random_chance(r, 0.5) ? (uint64_t)random_int(r, 0, 5) : 0,
        };
        stages[i].gradient_bytes = random_chance(r, 0.8) ? stages[i].input_bytes : 0;
    }
}

static void check_at(const col_checkpoint_chain *given, uint64_t memory, uint64_t least, col_arena *arena)
{
    col_checkpoint_chain chain = *given;
    col_checkpoint_limits limits = {.gap = 1e-5};
    col_checkpoint_solution s;
    double best = brute_time(&chain, memory);
    chain.memory = memory;
    assert_ok(col_checkpoint_solve_chain(&chain, &limits, arena, &s));
    assert_int_equal(s.least_memory, least);
    assert_true((memory < least) == (best == INFINITY));
    assert_true((s.status == COL_SOLVE_INFEASIBLE) == (best == INFINITY));
    if (best == INFINITY) return;
    assert_int_equal(s.status, COL_SOLVE_OPTIMAL);
    assert_true(s.schedule.peak <= memory);
    assert_float_equal(s.schedule.seconds, best, 1e-4 * best);
    assert_true(s.bound <= best * (1 + 1e-12));
    col_checkpoint_schedule greedy = {0};
    if (col_checkpoint_greedy(&chain, arena, &greedy)) {
        assert_true(greedy.peak <= memory && greedy.seconds >= best * (1 - 1e-12));
    }
}

static void test_equals_brute_force(void **state)
{
    (void)state;
    unit_random r = {6};
    for (int k = 0; k < random_chains; k++) {
        col_arena *arena = col_arena_create();
        col_checkpoint_stage stages[MAX_STAGES];
        col_checkpoint_chain chain;
        make_chain(&r, stages, &chain);
        col_checkpoint_limits limits = {0};
        col_checkpoint_solution s;
        assert_ok(col_checkpoint_solve_chain(&chain, &limits, arena, &s));
        uint64_t low = s.least_memory, high = s.keep_memory;
        assert_int_equal(s.schedule.peak, high);
        if (low > 1) check_at(&chain, low - 1, low, arena);
        check_at(&chain, COL_MAX(low, 1), low, arena);
        check_at(&chain, COL_MAX(high, 1), low, arena);
        for (int i = 0; i < 4 && high > 1; i++) {
            check_at(&chain, (uint64_t)random_int(&r, (int64_t)COL_MAX(low, 1), (int64_t)high), low, arena);
        }
        col_checkpoint_schedule root = {0};
        col_checkpoint_sqrt(&chain, arena, &root);
        assert_true(root.peak >= low);
        col_arena_destroy(arena);
    }
}

/* Sizes that share no unit: rounding to slots has to be made good. */
static void test_real_sizes(void **state)
{
    (void)state;
    enum { N = 60 };
    unit_random r = {7};
    for (int k = 0; k < COL_MAX(random_chains / 50, 3); k++) {
        col_arena *arena = col_arena_create();
        col_checkpoint_stage stages[N];
        col_checkpoint_chain chain = {
            .count = N, .stages = stages, .output_bytes = 4, .output_gradient_bytes = 4};
        for (int i = N - 1; i >= 0; i--) {
            uint64_t input = (uint64_t)random_int(&r, 1000000, 90000000);
            uint64_t out = i + 1 < N ? stages[i + 1].input_bytes : 4;
            stages[i] = (col_checkpoint_stage){.forward_seconds = 1e-6 * (double)random_int(&r, 1, 999),
                                               .backward_seconds = 1e-6 * (double)random_int(&r, 1, 999),
                                               .input_bytes = input,
                                               .saved_bytes = out + (uint64_t)random_int(&r, 0, 300000000),
                                               .gradient_bytes = input,
                                               .forward_temp_bytes = (uint64_t)random_int(&r, 0, 9999)};
        }
        col_checkpoint_limits limits = {.seconds = 300};
        col_checkpoint_solution s;
        assert_ok(col_checkpoint_solve_chain(&chain, &limits, arena, &s));
        double before = s.schedule.seconds;
        for (int percent = 90; percent >= 20; percent -= 10) {
            chain.memory = s.keep_memory / 100 * (uint64_t)percent;
            assert_ok(col_checkpoint_solve_chain(&chain, &limits, arena, &s));
            if (s.status == COL_SOLVE_INFEASIBLE) {
                assert_true(s.least_memory > chain.memory);
                chain.memory = s.least_memory;
                assert_ok(col_checkpoint_solve_chain(&chain, &limits, arena, &s));
            }
            assert_true(s.schedule.peak <= chain.memory);
            assert_true(s.gap <= 0.01);
            assert_true(s.schedule.seconds >= before * 0.99);
            before = s.schedule.seconds;
        }
        col_arena_destroy(arena);
    }
}

static void test_play_refuses(void **state)
{
    (void)state;
    col_checkpoint_stage stages[2] = {{.input_bytes = 1, .saved_bytes = 1},
                                      {.input_bytes = 1, .saved_bytes = 1}};
    col_checkpoint_chain chain = {.count = 2, .stages = stages};
    static const struct {
        col_checkpoint_op ops[4];
        size_t count;
        const char *part;
    } cases[] = {
        {{{COL_CHECKPOINT_FORWARD, 1}}, 1, "operation 0, forward of stage 1: its input is not there"},
        {{{COL_CHECKPOINT_FORWARD_SAVE, 0}}, 1, "ends before the first backward"},
        {{{COL_CHECKPOINT_FORWARD_SAVE, 0}, {COL_CHECKPOINT_BACKWARD, 0}}, 2, "the gradient of its output"},
        {{{COL_CHECKPOINT_FORWARD_SAVE, 0}, {COL_CHECKPOINT_BACKWARD, 1}}, 2, "its saved set is not there"},
        {{{COL_CHECKPOINT_FORWARD, 0},
          {COL_CHECKPOINT_FORWARD_SAVE, 1},
          {COL_CHECKPOINT_BACKWARD, 1},
          {COL_CHECKPOINT_BACKWARD, 0}},
         4,
         "operation 3, backward of stage 0: its saved set is not there"},
        {{{COL_CHECKPOINT_FORWARD, 7}}, 1, "there is no such stage"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_checkpoint_schedule schedule = {
            .ops = {(col_checkpoint_op *)cases[i].ops, cases[i].count, cases[i].count}};
        assert_fails(col_checkpoint_play(&chain, &schedule), COL_INTERNAL, cases[i].part);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_checkpoint_limits limits = {0};
    col_checkpoint_solution s;
    col_checkpoint_stage good = {.forward_seconds = 1,
                                 .backward_seconds = 1,
                                 .input_bytes = 1,
                                 .saved_bytes = 1},
                         bad;
    col_checkpoint_chain chain = {.count = 0, .stages = &bad};
    assert_fails(col_checkpoint_solve_chain(&chain, &limits, arena, &s), COL_BAD_INPUT, "no stage");
    chain.count = 1;
    bad = good;
    bad.backward_seconds = -1;
    assert_fails(col_checkpoint_solve_chain(&chain, &limits, arena, &s), COL_BAD_INPUT, "-1 seconds");
    bad.backward_seconds = NAN;
    assert_fails(col_checkpoint_solve_chain(&chain, &limits, arena, &s), COL_BAD_INPUT, "nan seconds");
    bad = good;
    bad.saved_bytes = UINT64_MAX;
    assert_fails(col_checkpoint_solve_chain(&chain, &limits, arena, &s), COL_BAD_INPUT, "2^60");
    bad = good;
    chain.output_bytes = 2;
    assert_fails(col_checkpoint_solve_chain(&chain, &limits, arena, &s), COL_BAD_INPUT,
                 "less than its output");
    col_arena_destroy(arena);
}

int main(int argc, char **argv)
{
    if (argc > 1) random_chains = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_brute_force),
        cmocka_unit_test(test_real_sizes),
        cmocka_unit_test(test_play_refuses),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
