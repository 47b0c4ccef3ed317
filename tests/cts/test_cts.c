/* The conformance suite: every instruction on a device, against plain C.
 *
 *     test_cts DEVICE [CASES]        "cpu", and the number of random problems per instruction and thread
 * count */
#include "tests/cts/cases.h"

typedef struct suite {
    const col_device_type *type;
    int cases;
} suite;

static void run_cases(void **state, void (*run)(cts_case *))
{
    const suite *s = *state;
    for (int threads = 1; threads <= 3; threads++) {
        for (int i = 0; i < s->cases; i++) {
            uint64_t seed = (uint64_t)i << 8 | (uint64_t)threads;
            cts_case c = cts_start(s->type, threads, seed * UINT64_C(0x9e3779b97f4a7c15));
            run(&c);
            cts_end(&c);
        }
    }
}

#define CASES(X)                                                                                             \
    X(matmul)                                                                                                \
    X(copy)                                                                                                  \
    X(fill)                                                                                                  \
    X(update_slice)                                                                                          \
    X(scatter_add) X(attention_forward) X(attention_backward) X(attention_cached) X(convolution) X(pool)

#define X(name)                                                                                              \
    static void test_##name(void **state)                                                                    \
    {                                                                                                        \
        run_cases(state, case_##name);                                                                       \
    }
CASES(X)
#undef X

int main(int argc, char **argv)
{
    suite s = {.cases = 40};
    if (argc > 1) s.type = col_device_type_find(argv[1]);
    if (argc > 2) s.cases = atoi(argv[2]);
    if (!s.type) {
        fprintf(stderr, "this build has no device '%s'\n", argc > 1 ? argv[1] : "");
        return 77;
    }
#define X(name) {#name, test_##name, NULL, NULL, &s},
    const struct CMUnitTest tests[] = {CASES(X)};
#undef X
    return cmocka_run_group_tests(tests, NULL, NULL);
}
