/* Choosing tokens: the rules on small vocabularies, and counted frequencies against the exact distribution.
 */
#include "tests/unit/unit.h"
#include "runtime/sample.h"

#include <math.h>

enum { MOST = 64 };

static int32_t choose(const float *logits, size_t count, col_sample_options options, uint64_t index)
{
    col_candidate scratch[MOST];
    return col_sample(logits, count, &options, index, scratch);
}

static void test_greedy(void **state)
{
    (void)state;
    const float logits[] = {0.5f, 2, -1, 2, 1};
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(choose(logits, 5, (col_sample_options){.seed = i}, i), 1);
    /* One candidate is greedy too. A tie for it is two candidates. */
    for (uint64_t i = 0; i < 20; i++) {
        int32_t tied = choose(logits, 5, (col_sample_options){.top_k = 1}, i);
        assert_true(tied == 1 || tied == 3);
        assert_int_equal(choose(logits, 3, (col_sample_options){.top_k = 1}, i), 1);
        assert_int_equal(choose(logits, 3, (col_sample_options){.top_p = 1e-12}, i), 1);
        assert_int_equal(choose(logits, 3, (col_sample_options){.temperature = 1e-3}, i), 1);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    const col_sample_options options[] = {{0}, {.temperature = 1}, {.top_k = 2}, {.top_p = 0.5}};
    for (size_t i = 0; i < COL_COUNT(options); i++) {
        assert_int_equal(choose((float[]){1, NAN, 2}, 3, options[i], 0), -1);
        assert_int_equal(choose((float[]){-INFINITY, -INFINITY}, 2, options[i], 0), -1);
        assert_int_equal(choose((float[]){-INFINITY, -3, -INFINITY}, 3, options[i], 0), 1);
        assert_int_equal(choose((float[]){4, INFINITY, 1e30f}, 3, options[i], 0), 1);
    }
}

/* The distribution by the definition: sort, cut, normalise. */
static void expected(const float *logits, size_t count, const col_sample_options *o, double *out)
{
    double p[MOST], total = 0, max = -INFINITY;
    for (size_t i = 0; i < count; i++) max = fmax(max, logits[i]);
    for (size_t i = 0; i < count; i++) {
        size_t larger = 0;
        for (size_t k = 0; k < count; k++) larger += logits[k] > logits[i];
        bool kept = !o->top_k || larger < (size_t)o->top_k;
        p[i] = kept ? exp((logits[i] - max) / (o->temperature > 0 ? o->temperature : 1)) : 0;
        total += p[i];
    }
    for (size_t i = 0; i < count; i++) {
        double before = 0; /* probability of what is likelier, or as likely with a smaller id */
        for (size_t k = 0; k < count; k++) {
            if (p[k] > p[i] || (p[k] == p[i] && k < i)) before += p[k] / total;
        }
        out[i] = o->top_p > 0 && before > o->top_p ? 0 : p[i];
    }
    total = 0;
    for (size_t i = 0; i < count; i++) total += out[i];
    for (size_t i = 0; i < count; i++) out[i] /= total;
}

/* Frequencies of many choices: within five standard deviations, and never what was cut. */
static void test_frequencies(void **state)
{
    (void)state;
    enum { DRAWS = 40000, COUNT = 12 };
    const float logits[COUNT] = {0, 1, -2, 3, 3, 0.5f, 2, -5, 2.5f, 1, -0.5f, 2};
    static const col_sample_options options[] = {
        {.temperature = 1},
        {.temperature = 0.5, .seed = 7},
        {.temperature = 3},
        {.top_k = 4},
        {.top_k = 100},
        {.top_p = 0.8, .seed = 1},
        {.temperature = 2, .top_k = 7, .top_p = 0.6},
        {.temperature = 0.7, .top_p = 0.95},
        {.top_p = 1},
    };
    for (size_t k = 0; k < COL_COUNT(options); k++) {
        int counts[COUNT] = {0};
        double want[COUNT];
        expected(logits, COUNT, &options[k], want);
        for (uint64_t i = 0; i < DRAWS; i++) counts[choose(logits, COUNT, options[k], i)]++;
        for (int i = 0; i < COUNT; i++) {
            double deviation = sqrt(want[i] * (1 - want[i]) * DRAWS);
            if (fabs(counts[i] - want[i] * DRAWS) <= 5 * deviation) continue;
            print_error("options %zu: token %d was chosen %d times of %d, expected %.1f\n", k, i, counts[i],
                        DRAWS, want[i] * DRAWS);
            fail();
        }
    }
}

static void test_uniform(void **state)
{
    (void)state;
    double sum = 0, square = 0;
    enum { N = 100000 };
    for (uint64_t i = 0; i < N; i++) {
        double u = col_sample_uniform(42, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        square += u * u;
    }
    assert_true(fabs(sum / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(square / N - 1.0 / 3) < 5 * sqrt(4.0 / 45 / N));
    assert_true(col_sample_uniform(42, 0) != col_sample_uniform(43, 0));
    assert_true(col_sample_uniform(42, 0) != col_sample_uniform(42, 1));
    assert_true(col_sample_uniform(42, 5) == col_sample_uniform(42, 5));
}

/* The k-th largest against sorting, on vocabularies with many ties. */
static void test_top_k_sets(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 300; round++) {
        float logits[MOST];
        double want[MOST];
        size_t count = 1 + (size_t)(col_sample_uniform(1, round) * MOST);
        for (size_t i = 0; i < count; i++)
            logits[i] = floorf((float)(8 * col_sample_uniform(2, round * MOST + i)));
        col_sample_options o = {.temperature = 50,
                                .top_k = 1 + (int64_t)(col_sample_uniform(3, round) * (double)count)};
        expected(logits, count, &o, want);
        for (uint64_t i = 0; i < 200; i++) assert_true(want[choose(logits, count, o, i)] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),  cmocka_unit_test(test_not_finite), cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_uniform), cmocka_unit_test(test_top_k_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
