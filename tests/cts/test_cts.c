/* The conformance suite: every instruction on a device, against plain C.
 *
 *     test_cts DEVICE [CASES]        "cpu", and the number of random problems per instruction and thread
 * count. On GPUs products and attention are tested in bf16 and f16, too. */
#include "tests/cts/cases.h"

typedef struct suite {
    const col_device_type *type;
    int cases;
    Col__Plan__Dtype dtype;
} suite;

static void run_cases(void **state, void (*run)(cts_case *))
{
    const suite *s = *state;
    for (int threads = 1; threads <= 3; threads++) {
        for (int i = 0; i < s->cases; i++) {
            uint64_t seed = (uint64_t)i << 8 | (uint64_t)threads;
            cts_case c = cts_start(s->type, threads, seed * UINT64_C(0x9e3779b97f4a7c15));
            c.dtype = s->dtype;
            run(&c);
            cts_end(&c);
        }
    }
}

/* Whether the device is there at all. */
static col_status open_nothing(const col_device_type *type)
{
    cts_case c = cts_start(type, 1, 1);
    col_device *device = NULL;
    maker_program(&c.maker, "nothing");
    col_status status = type->open(maker_finish(&c.maker), &(col_device_options){.threads = 1}, &device);
    if (!status) type->close(device);
    cts_end(&c);
    return status;
}

#define CASES(X)                                                                                             \
    X(matmul)                                                                                                \
    X(epilogue)                                                                                              \
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
    suite s = {.cases = 40, .dtype = COL__PLAN__DTYPE__F32};
    if (argc > 2) s.cases = atoi(argv[2]);
    col_status status = col_device_type_find(argc > 1 ? argv[1] : "", &s.type);
    if (!status) status = open_nothing(s.type);
    if (status) {
        fprintf(stderr, "skipped: %s\n", col_error_message(status));
        col_error_free(status);
        return 77;
    }
#define X(name) {#name, test_##name, NULL, NULL, &s},
    const struct CMUnitTest tests[] = {CASES(X)};
#undef X
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (strcmp(s.type->name, "cuda")) return failed;
    suite bf16 = {s.type, s.cases, COL__PLAN__DTYPE__BF16}, f16 = {s.type, s.cases, COL__PLAN__DTYPE__F16};
#define X(name)                                                                                              \
    {#name "_bf16", test_##name, NULL, NULL, &bf16}, {#name "_f16", test_##name, NULL, NULL, &f16},
    const struct CMUnitTest narrow_tests[] = {X(matmul) X(epilogue) X(attention_forward) X(attention_backward)
                                                  X(attention_cached)};
#undef X
    return failed + cmocka_run_group_tests(narrow_tests, NULL, NULL);
}
