/* The linear model and GLPK behind it, against enumeration of small 0/1 programs. With an argument: that
 * many. */
#include "tests/unit/unit.h"
#include "ir/base/file.h"
#include "solver/lp.h"
#include "tests/unit/random.h"

#include <math.h>

enum { MAX_VARIABLES = 10 };

static int random_programs = 50;

static col_lp *random_program(col_arena *arena, unit_random *r)
{
    col_lp *lp = col_lp_create(arena);
    int n = (int)random_int(r, 1, MAX_VARIABLES), rows = (int)random_int(r, 0, 6);
    lp->constant = (double)random_int(r, -5, 5);
    for (int j = 0; j < n; j++) {
        col_lp_add_variable(lp, 0, 1, (double)random_int(r, -9, 9), true, NULL);
    }
    for (int i = 0; i < rows; i++) {
        col_lp_entry entries[2 * MAX_VARIABLES];
        int count = (int)random_int(r, 0, 2 * n); /* entries of one variable add up */
        for (int k = 0; k < count; k++) {
            entries[k] = (col_lp_entry){(int32_t)random_int(r, 0, n - 1), (double)random_int(r, -5, 5)};
        }
        double low = (double)random_int(r, -8, 2), high = low + (double)random_int(r, 0, 8);
        if (random_chance(r, 0.4))
            low = -INFINITY;
        else if (random_chance(r, 0.4))
            high = INFINITY;
        col_lp_add_row(lp, low, high, entries, (size_t)count, NULL);
    }
    return lp;
}

/* The least objective over all 0/1 points, or INFINITY. */
static double brute_force(const col_lp *lp)
{
    double best = INFINITY, x[MAX_VARIABLES];
    for (unsigned bits = 0; bits < 1u << lp->variables.len; bits++) {
        for (size_t j = 0; j < lp->variables.len; j++) x[j] = bits >> j & 1;
        if (col_lp_violation(lp, x) == 0) best = fmin(best, col_lp_objective(lp, x));
    }
    return best;
}

static void check_solution(const col_lp *lp, const col_lp_solution *s, double best)
{
    if (isinf(best)) {
        assert_int_equal(s->status, COL_SOLVE_INFEASIBLE);
        assert_null(s->x);
        return;
    }
    assert_int_equal(s->status, COL_SOLVE_OPTIMAL);
    assert_true(col_lp_violation(lp, s->x) < 1e-6);
    assert_float_equal(s->objective, best, 1e-6);
    assert_true(s->bound <= best + 1e-6 && s->root_bound <= best + 1e-6);
    assert_true(s->gap <= 1e-8);
}

/* A model that starts without rows, and the rows it is given when a point violates them. */
typedef struct lazy_rows {
    const col_lp *all;
    bool one_at_a_time;
    int calls;
} lazy_rows;

static void give_violated(void *context, col_lp *lp, const double *x, bool integral)
{
    lazy_rows *lazy = context;
    lazy->calls++;
    (void)integral;
    for (size_t i = 0; i < lazy->all->rows.len; i++) {
        const col_lp_row *row = &lazy->all->rows.data[i];
        double activity = col_lp_activity(lazy->all, (int32_t)i, x);
        if (activity >= row->lower - 1e-6 && activity <= row->upper + 1e-6) continue;
        col_lp_add_row(lp, row->lower, row->upper, lazy->all->entries.data + row->begin, row->count, NULL);
        if (lazy->one_at_a_time) return;
    }
}

static bool round_down(void *context, const col_lp *lp, const double *x, double *out)
{
    (void)context;
    for (size_t j = 0; j < lp->variables.len; j++) out[j] = floor(x[j]);
    return true;
}

static void test_equals_brute_force(void **state)
{
    (void)state;
    unit_random r = {5};
    for (int k = 0; k < random_programs; k++) {
        col_arena *arena = col_arena_create();
        col_lp *lp = random_program(arena, &r);
        double best = brute_force(lp);
        col_lp_limits limits = {.seconds = 60};
        col_lp_solution s;
        assert_ok(col_lp_solve(lp, &limits, arena, &s));
        check_solution(lp, &s, best);

        col_lp *bare = col_lp_create(arena);
        bare->constant = lp->constant;
        for (size_t j = 0; j < lp->variables.len; j++) {
            col_lp_add_variable(bare, 0, 1, lp->variables.data[j].objective, true, NULL);
        }
        lazy_rows lazy = {.all = lp, .one_at_a_time = k % 2};
        col_lp_limits lazily = {.lazy = give_violated, .heuristic = round_down, .context = &lazy};
        assert_ok(col_lp_solve(bare, &lazily, arena, &s));
        check_solution(lp, &s, best);
        assert_true(lazy.calls > 0);

        if (!isinf(best)) { /* a cutoff at the optimum keeps it; below there is nothing */
            limits.has_cutoff = true;
            limits.cutoff = best;
            assert_ok(col_lp_solve(lp, &limits, arena, &s));
            check_solution(lp, &s, best);
            limits.cutoff = best - 0.5;
            assert_ok(col_lp_solve(lp, &limits, arena, &s));
            check_solution(lp, &s, INFINITY);
        }
        col_arena_destroy(arena);
    }
}

/* max 3x + 2y  so that  x + y <= 4, x + 3y <= 7, x <= 3: the optimum (3, 1) has duals 2, 0 (and 1 for x <=
 * 3). */
static void test_relaxation_and_duals(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_lp *lp = col_lp_create(arena);
    int32_t x = col_lp_add_variable(lp, 0, 3, -3, false, "x"),
            y = col_lp_add_variable(lp, 0, INFINITY, -2, false, "y");
    col_lp_add_row(lp, -INFINITY, 4, (col_lp_entry[]){{x, 1}, {y, 1}}, 2, "sum");
    col_lp_add_row(lp, -INFINITY, 7, (col_lp_entry[]){{x, 1}, {y, 3}}, 2, NULL);
    col_lp_limits limits = {0};
    col_lp_solution s;
    assert_ok(col_lp_solve(lp, &limits, arena, &s));
    assert_int_equal(s.status, COL_SOLVE_OPTIMAL);
    assert_float_equal(s.objective, -11, 1e-9);
    assert_float_equal(s.bound, -11, 1e-9);
    assert_float_equal(s.x[x], 3, 1e-9);
    assert_int_equal(s.dual_count, 2);
    assert_float_equal(s.duals[0], -2, 1e-9);
    assert_float_equal(s.duals[1], 0, 1e-9);
    col_arena_destroy(arena);
}

static void test_other_outcomes(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_lp_limits limits = {0};
    col_lp_solution s;
    col_lp *unbounded = col_lp_create(arena);
    col_lp_add_variable(unbounded, -INFINITY, 5, 1, false, NULL);
    assert_ok(col_lp_solve(unbounded, &limits, arena, &s));
    assert_int_equal(s.status, COL_SOLVE_LIMIT);
    assert_true(s.unbounded);
    col_lp *hollow = col_lp_create(arena); /* no integer within [0.2, 0.8] */
    col_lp_add_variable(hollow, 0.2, 0.8, 1, true, NULL);
    assert_ok(col_lp_solve(hollow, &limits, arena, &s));
    assert_int_equal(s.status, COL_SOLVE_INFEASIBLE);
    col_lp *empty = col_lp_create(arena);
    empty->constant = 7;
    assert_ok(col_lp_solve(empty, &limits, arena, &s));
    assert_int_equal(s.status, COL_SOLVE_OPTIMAL);
    assert_float_equal(s.objective, 7, 0);
    col_lp *clash = col_lp_create(arena);
    int32_t x = col_lp_add_variable(clash, 0, 1, 1, false, NULL);
    col_lp_add_row(clash, 2, INFINITY, (col_lp_entry[]){{x, 1}}, 1, NULL);
    assert_ok(col_lp_solve(clash, &limits, arena, &s));
    assert_int_equal(s.status, COL_SOLVE_INFEASIBLE);
    col_arena_destroy(arena);
}

/* A knapsack with equal weights and no time: the start is what comes back. */
static void test_start_survives_limit(void **state)
{
    (void)state;
    enum { N = 40 };
    col_arena *arena = col_arena_create();
    col_lp *lp = col_lp_create(arena);
    col_lp_entry entries[N];
    double start[N] = {1, 1};
    for (int j = 0; j < N; j++) {
        entries[j] = (col_lp_entry){col_lp_add_variable(lp, 0, 1, -1, true, NULL), 2};
    }
    col_lp_add_row(lp, -INFINITY, N + 1, entries, N, NULL);
    col_lp_limits limits = {.start = start, .seconds = 1e-9};
    col_lp_solution s;
    assert_ok(col_lp_solve(lp, &limits, arena, &s));
    assert_non_null(s.x);
    assert_true(s.objective <= -2);
    assert_true(s.bound <= -N / 2);
    limits = (col_lp_limits){.gap = 0.05, .seconds = 60};
    assert_ok(col_lp_solve(lp, &limits, arena, &s));
    assert_int_equal(s.status, COL_SOLVE_OPTIMAL);
    assert_float_equal(s.objective, -N / 2, 1e-9);
    col_arena_destroy(arena);
}

static const char expected_dump[] = "\\ 3 variables, 3 rows; constant 0\n"
                                    "Minimize\n obj:\n   + 1 x0\n   - 2.5 keep.a_1_\n"
                                    "Subject To\n"
                                    " memory_lower:\n   + 1 x0\n   - 1 x2\n   >= -1\n"
                                    " memory_upper:\n   + 1 x0\n   - 1 x2\n   <= 4\n"
                                    " r1:\n   + 3 keep.a_1_\n   = 3\n"
                                    " r2:\n   + 1 x2\n   <= 8\n"
                                    "Bounds\n 0 <= keep.a_1_ <= 1\n x2 free\n"
                                    "Generals\n keep.a_1_\nEnd\n";

static void test_dump(void **state)
{
    (void)state;
    char folder[] = "/tmp/colc-lp-XXXXXX";
    assert_non_null(mkdtemp(folder));
    col_arena *arena = col_arena_create();
    col_lp *lp = col_lp_create(arena);
    col_lp_add_variable(lp, 0, INFINITY, 1, false, NULL);
    col_lp_add_variable(lp, 0, 1, -2.5, true, "keep.a[1]");
    col_lp_add_variable(lp, -INFINITY, INFINITY, 0, false, NULL);
    col_lp_add_row(lp, -1, 4, (col_lp_entry[]){{0, 1}, {2, -1}}, 2, "memory");
    col_lp_add_row(lp, 3, 3, (col_lp_entry[]){{1, 1}, {1, 2}}, 2, NULL);
    col_lp_add_row(lp, -INFINITY, 8, (col_lp_entry[]){{2, 1}}, 1, NULL);
    const char *path = col_arena_printf(arena, "%s/model.lp", folder);
    assert_ok(col_lp_dump(lp, path));
    char *text;
    size_t size;
    assert_ok(col_file_read(arena, path, 0, &text, &size));
    assert_string_equal(text, expected_dump);
    remove(path);
    remove(folder);
    col_arena_destroy(arena);
}

int main(int argc, char **argv)
{
    if (argc > 1) random_programs = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_brute_force),
        cmocka_unit_test(test_relaxation_and_duals),
        cmocka_unit_test(test_other_outcomes),
        cmocka_unit_test(test_start_survives_limit),
        cmocka_unit_test(test_dump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
