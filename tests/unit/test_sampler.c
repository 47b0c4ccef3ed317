/* The order of samples and what stands in them. */
#include "tests/unit/unit.h"
#include "runtime/data/sampler.h"

#include <math.h>

/* Reference values of SplitMix64 with seed 1234567, as published with its generator. */
static void test_mix(void **state)
{
    (void)state;
    static const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                        4593380528125082431u, 16408922859458223821u};
    for (uint64_t i = 0; i < COL_COUNT(expected); i++) {
        assert_true(col_mix64(1234567 + i * 0x9E3779B97F4A7C15u) == expected[i]);
    }
}

static void test_permutation_is_bijective(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 2, 3, 4, 5, 7, 16, 17, 64, 65, 100, 1000, 4096, 4097, 65537};
    for (size_t k = 0; k < COL_COUNT(counts); k++) {
        for (uint64_t key = 0; key < 5; key++) {
            unsigned char *seen = calloc(counts[k], 1);
            for (uint64_t i = 0; i < counts[k]; i++) {
                uint64_t to = col_permute(i, counts[k], key);
                assert_true(to < counts[k]);
                assert_int_equal(seen[to]++, 0);
            }
            free(seen);
        }
    }
    /* Large counts cannot be walked through; the values are below the count and differ. */
    uint64_t huge = UINT64_C(1) << 63;
    assert_true(col_permute(0, huge + 1, 1) <= huge);
    assert_true(col_permute(1, huge, 1) != col_permute(2, huge, 1));
}

/* Every item comes to every place about equally often. With 4096 keys a cell of 8 x 8 expects 512 +- 21. */
static void test_permutation_is_even(void **state)
{
    (void)state;
    enum { N = 8, KEYS = 4096 };
    int table[N][N] = {{0}};
    for (uint64_t key = 0; key < KEYS; key++) {
        for (uint64_t i = 0; i < N; i++) table[i][col_permute(i, N, col_mix64(key))]++;
    }
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) assert_in_range(table[i][j], 512 - 130, 512 + 130);
    }
}

static col_corpus *synthetic(uint64_t seed, int64_t vocab)
{
    static const char *const paths[] = {"synthetic"};
    col_corpus_options options = {.vocab_size = vocab, .seed = seed};
    col_corpus *corpus = NULL;
    assert_ok(col_corpus_open(paths, 1, &options, &corpus));
    return corpus;
}

static void test_synthetic(void **state)
{
    (void)state;
    enum { VOCAB = 10, N = 100000 };
    col_corpus *a = synthetic(1, VOCAB), *b = synthetic(1, VOCAB), *c = synthetic(2, VOCAB);
    int32_t *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    int count[VOCAB] = {0}, same = 0;
    col_corpus_read(a, 5, N, x);
    col_corpus_read(b, 5, N, y);
    assert_memory_equal(x, y, N * sizeof *x);
    assert_true(col_corpus_fingerprint(a) == col_corpus_fingerprint(b));
    assert_true(col_corpus_fingerprint(a) != col_corpus_fingerprint(c));
    col_corpus_read(c, 5, N, y);
    for (int i = 0; i < N; i++) {
        assert_in_range(x[i], 0, VOCAB - 1);
        count[x[i]]++;
        same += x[i] == y[i];
    }
    for (int i = 0; i < VOCAB; i++) assert_in_range(count[i], 9500, 10500);
    assert_in_range(same, 9500, 10500);
    free(x);
    free(y);
    col_corpus_close(a);
    col_corpus_close(b);
    col_corpus_close(c);
}

enum { SEQ = 16, BATCH = 6, STEPS = 40, TOKENS = 1000 };

/* The same positions give the same samples, however batches are cut, shared among ranks, or resumed. */
static void test_order_depends_on_seed_alone(void **state)
{
    (void)state;
    col_corpus *corpus = synthetic(3, 50000);
    col_range range = {100, TOKENS};
    static int32_t ids[STEPS * BATCH][SEQ], labels[STEPS * BATCH][SEQ];
    col_sampler s;
    assert_ok(col_sampler_init(&s, "training", corpus, range, SEQ, COL_ORDER_SHUFFLED, 42));
    assert_int_equal(s.samples, (TOKENS - 1) / SEQ);
    for (int k = 0; k < STEPS; k++) col_sampler_next(&s, BATCH, ids[k * BATCH], labels[k * BATCH]);
    assert_int_equal(s.position, STEPS * BATCH);

    int32_t other_ids[BATCH][SEQ], other_labels[BATCH][SEQ];
    col_sampler resumed;
    assert_ok(col_sampler_init(&resumed, "training", corpus, range, SEQ, COL_ORDER_SHUFFLED, 42));
    for (size_t ranks = 1; ranks <= BATCH; ranks += ranks == 3 ? 3 : 1) { /* 1, 2, 3, 6 */
        size_t local = BATCH / ranks;
        resumed.position = 17 * BATCH;
        for (size_t rank = 0; rank < ranks; rank++) {
            col_sampler_read(&resumed, resumed.position + rank * local, local, other_ids[rank * local],
                             other_labels[rank * local]);
        }
        assert_memory_equal(other_ids, ids[17 * BATCH], sizeof other_ids);
        assert_memory_equal(other_labels, labels[17 * BATCH], sizeof other_labels);
    }
    int same = 0;
    assert_ok(col_sampler_init(&resumed, "training", corpus, range, SEQ, COL_ORDER_SHUFFLED, 43));
    for (int k = 0; k < STEPS; k++) {
        col_sampler_next(&resumed, BATCH, other_ids[0], other_labels[0]);
        for (int row = 0; row < BATCH; row++)
            same += !memcmp(other_ids[row], ids[k * BATCH + row], sizeof ids[0]);
    }
    assert_in_range(same, 0, 20); /* 240 samples of 62: about four fall together */
    col_corpus_close(corpus);
}

/* An epoch has each window once, with labels one token on; the next epoch has another order. */
static void test_epochs(void **state)
{
    (void)state;
    col_corpus *corpus = synthetic(3, 50000);
    col_range range = {77, TOKENS};
    int32_t tokens[TOKENS], ids[SEQ], labels[SEQ];
    col_corpus_read(corpus, 77, TOKENS, tokens);
    col_sampler s;
    assert_ok(col_sampler_init(&s, "training", corpus, range, SEQ, COL_ORDER_SHUFFLED, 1));
    size_t order[3][TOKENS / SEQ];
    for (size_t epoch = 0; epoch < 3; epoch++) {
        bool seen[TOKENS / SEQ] = {false};
        for (size_t i = 0; i < s.samples; i++) {
            col_sampler_next(&s, 1, ids, labels);
            size_t window = 0;
            while (memcmp(ids, tokens + window * SEQ, sizeof ids) != 0) assert_true(++window < s.samples);
            assert_memory_equal(labels, tokens + window * SEQ + 1, sizeof labels);
            assert_false(seen[window]);
            seen[window] = true;
            order[epoch][i] = window;
        }
    }
    assert_memory_not_equal(order[0], order[1], s.samples * sizeof order[0][0]);
    assert_memory_not_equal(order[1], order[2], s.samples * sizeof order[0][0]);
    col_corpus_close(corpus);
}

/* Validation meets every token but the first as a label exactly once; the rest is padding. */
static void test_sequential(void **state)
{
    (void)state;
    col_corpus *corpus = synthetic(3, 50000);
    int32_t tokens[TOKENS], ids[BATCH * SEQ], labels[BATCH * SEQ];
    for (size_t count = 2; count < 5 * SEQ; count++) {
        col_range range = {9, count};
        col_corpus_read(corpus, 9, count, tokens);
        col_sampler s;
        assert_ok(col_sampler_init(&s, "validation", corpus, range, SEQ, COL_ORDER_SEQUENTIAL, 0));
        assert_int_equal(s.samples, (count - 1 + SEQ - 1) / SEQ);
        size_t at = 0;
        for (size_t k = 0; k < 2; k++) { /* the second batch is padding wholly */
            col_sampler_next(&s, BATCH, ids, labels);
            for (int i = 0; i < BATCH * SEQ; i++) {
                if (at + 1 < count) {
                    assert_int_equal(ids[i], tokens[at]);
                    assert_int_equal(labels[i], tokens[++at]);
                } else {
                    assert_int_equal(ids[i], 0);
                    assert_int_equal(labels[i], COL_LABEL_IGNORED);
                }
            }
        }
        assert_int_equal(at, count - 1);
    }
    col_corpus_close(corpus);
}

static void test_split_and_too_short(void **state)
{
    (void)state;
    col_corpus *corpus = synthetic(3, 100);
    uint64_t total = col_corpus_tokens(corpus);
    col_range train, validation;
    assert_ok(col_corpus_split(corpus, COL_CORPUS_VALIDATION, &train, &validation));
    assert_int_equal(train.first, 0);
    assert_int_equal(validation.first, train.count);
    assert_int_equal(train.count + validation.count, total);
    assert_int_equal(validation.count, total / 10);
    assert_ok(col_corpus_split(corpus, 0, &train, &validation));
    assert_int_equal(train.count, total);
    static const double wrong[] = {1, -0.1, 2, (double)INFINITY, (double)NAN};
    for (size_t i = 0; i < COL_COUNT(wrong); i++) {
        assert_fails(col_corpus_split(corpus, wrong[i], &train, &validation), COL_BAD_INPUT,
                     "--val-fraction");
    }
    col_sampler s;
    assert_fails(col_sampler_init(&s, "validation", corpus, validation, 4, COL_ORDER_SEQUENTIAL, 0),
                 COL_BAD_INPUT, "the validation part of the corpus has 0 tokens");
    assert_ok(col_sampler_init(&s, "training", corpus, (col_range){0, 5}, 4, COL_ORDER_SHUFFLED, 0));
    assert_fails(col_sampler_init(&s, "training", corpus, (col_range){0, 4}, 4, COL_ORDER_SHUFFLED, 0),
                 COL_BAD_INPUT, "a shorter --seq");
    col_corpus_close(corpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_permutation_is_bijective),
        cmocka_unit_test(test_permutation_is_even),
        cmocka_unit_test(test_synthetic),
        cmocka_unit_test(test_order_depends_on_seed_alone),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_sequential),
        cmocka_unit_test(test_split_and_too_short),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
