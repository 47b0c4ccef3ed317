/* Masks of masked language models: how many, of what kind, and what they depend on. */
#include "tests/unit/unit.h"
#include "runtime/data/masking.h"
#include "runtime/data/sampler.h"

enum { COUNT = 512, MASK = 103, VOCAB = 1000, END = 7 };

static const col_masking bert = {.rate = 0.15, .mask = MASK, .vocab = VOCAB, .untouched = END, .seed = 5};

/* A sample's own ids: above the mask's, with an end of text here and there. */
static void fill(uint64_t sample, int32_t *ids)
{
    for (int i = 0; i < COUNT; i++)
        ids[i] = i % 50 == 9 ? END : (int32_t)(200 + (sample + (uint64_t)i) % 700);
}

static void test_shares(void **state)
{
    (void)state;
    enum { SAMPLES = 400 };
    int chosen = 0, masked = 0, random = 0, kept = 0, places = 0;
    for (uint64_t sample = 0; sample < SAMPLES; sample++) {
        int32_t before[COUNT], ids[COUNT], labels[COUNT];
        fill(sample, before);
        fill(sample, ids);
        col_mask_tokens(&bert, 0, sample, COUNT, ids, labels);
        for (int i = 0; i < COUNT; i++) {
            places += before[i] != END;
            if (labels[i] == COL_LABEL_IGNORED) {
                assert_int_equal(ids[i], before[i]);
                continue;
            }
            assert_int_equal(labels[i], before[i]);
            assert_int_not_equal(before[i], END);
            assert_in_range(ids[i], 0, VOCAB - 1);
            chosen++;
            masked += ids[i] == MASK;
            kept += ids[i] == before[i];
            random += ids[i] != MASK && ids[i] != before[i];
        }
    }
    /* Of some 200 000 places; bounds are five deviations or more. */
    assert_in_range(chosen, (int)(0.145 * places), (int)(0.155 * places));
    assert_in_range(masked, (int)(0.785 * chosen), (int)(0.815 * chosen));
    assert_in_range(random, (int)(0.09 * chosen), (int)(0.11 * chosen));
    assert_in_range(kept, (int)(0.09 * chosen), (int)(0.11 * chosen));
}

/* Seed, stream, sample (all of its 64 bits) and place: other masks for each, the same for the same. */
static void test_what_it_depends_on(void **state)
{
    (void)state;
    col_masking other_seed = bert;
    other_seed.seed = 6;
    const struct {
        const col_masking *masking;
        uint32_t stream;
        uint64_t sample;
    } cases[] = {{&bert, 0, 3},
                 {&bert, 1, 3},
                 {&bert, 0, 4},
                 {&bert, 0, 3 + (UINT64_C(1) << 32)},
                 {&other_seed, 0, 3}};
    int32_t ids[COL_COUNT(cases)][COUNT], labels[COUNT], again[COUNT], again_labels[COUNT];
    for (size_t k = 0; k < COL_COUNT(cases); k++) {
        fill(0, ids[k]);
        fill(0, again);
        col_mask_tokens(cases[k].masking, cases[k].stream, cases[k].sample, COUNT, ids[k], labels);
        /* A shorter row has the same masks as far as it goes. */
        col_mask_tokens(cases[k].masking, cases[k].stream, cases[k].sample, COUNT / 2, again, again_labels);
        assert_memory_equal(ids[k], again, sizeof again / 2);
        assert_memory_equal(labels, again_labels, sizeof again / 2);
        for (size_t j = 0; j < k; j++) assert_memory_not_equal(ids[k], ids[j], sizeof again);
    }
}

static void test_all_and_none(void **state)
{
    (void)state;
    int32_t ids[COUNT], before[COUNT], labels[COUNT];
    col_masking m = bert;
    fill(0, before);
    for (int all = 0; all < 2; all++) {
        m.rate = all;
        fill(0, ids);
        col_mask_tokens(&m, 0, 0, COUNT, ids, labels);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(labels[i], all && before[i] != END ? before[i] : COL_LABEL_IGNORED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_what_it_depends_on),
        cmocka_unit_test(test_all_and_none),
    };
    return cmocka_run_group_tests_name("masking", tests, NULL, NULL);
}
