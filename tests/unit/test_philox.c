/* Philox4x32-10 against the known-answer vectors of Random123 (kat_vectors), and the layout of streams. */
#include "tests/unit/unit.h"

#include "ir/base/philox.h"

static void test_known_answers(void **unused)
{
    (void)unused;
    static const struct {
        col_philox_block counter;
        uint32_t key[2];
        uint32_t words[4];
    } vectors[] = {
        {{{0, 0, 0, 0}}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        col_philox_block block = col_philox(vectors[i].counter, vectors[i].key[0], vectors[i].key[1]);
        assert_memory_equal(block.words, vectors[i].words, sizeof block.words);
    }
}

static void test_stream_layout(void **unused)
{
    (void)unused;
    /* The third vector's counter and key, as a stream: block 0x85a308d3243f6a88, salt, step, seed. */
    uint64_t seed = UINT64_C(0x299f31d0a4093822), block = UINT64_C(0x05a308d3243f6a88);
    col_philox_block expected = col_philox(
        (col_philox_block){{0x243f6a88, 0x05a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0);
    for (uint64_t lane = 0; lane < 4; lane++) {
        float uniform = col_philox_at(seed, 0x03707344, 0x13198a2e, 4 * block + lane);
        assert_true(uniform == (float)(expected.words[lane] >> 8) / 16777216.0f);
    }
    assert_true(col_philox_uniform(0) == 0.0f);
    assert_true(col_philox_uniform(0xffffffff) < 1.0f);
    assert_true(col_philox_uniform(0x80000000) == 0.5f);
}

static void test_uniform_moments(void **unused)
{
    (void)unused;
    enum { COUNT = 100000 };
    double mean = 0, square = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        double u = col_philox_at(42, 7, 3, i);
        mean += u / COUNT;
        square += u * u / COUNT;
    }
    assert_true(mean > 0.497 && mean < 0.503);
    assert_true(square > 0.330 && square < 0.337);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_stream_layout),
        cmocka_unit_test(test_uniform_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
