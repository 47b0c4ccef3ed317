/* The elementary functions of generated code against libm in double precision, over every order of magnitude:
 * all bit patterns a fixed step apart, and the special values. */
#include "tests/unit/unit.h"

#include <math.h>

#include "tests/unit/kernel_run.h"

enum { STEP = 4099, COUNT = (int)((UINT64_C(1) << 32) / STEP) };

static const char *levels[3];
static size_t level_count;

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* |got - expected| in units of the last place of a float near `expected`. */
static double ulps(double got, double expected)
{
    if (isnan(expected)) return isnan(got) ? 0 : INFINITY;
    float rounded = (float)expected;
    if (isinf(rounded) || isinf(got)) return (double)rounded == got ? 0 : INFINITY;
    int exponent;
    frexp(expected, &exponent);
    return fabs(got - expected) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static void check(const char *function, double (*reference)(double), double bound)
{
    col_arena *arena = col_arena_create();
    char text[256];
    snprintf(text, sizeof text, "model m()\ninput x : f32[%d]\noutput y = %s(x)\n", COUNT, function);
    col_graph *graph = kernel_run_parse(text, arena);
    col_tensor *vars = kernel_run_fill(graph, 1, arena);
    static const double special[] = {0.0,   -0.0,        INFINITY,       -INFINITY,      NAN,
                                     1,     -1,          0x1p-149,       -0x1p-149,      0x1p-126,
                                     88.72, 88.73,       -87.3,          -103.9,         -104.1,
                                     0.625, 0.927734375, 0x1.fffffep127, -0x1.fffffep127};
    for (uint32_t i = 0; i < COUNT; i++) vars[0].data[i] = (double)float_of(i * STEP);
    for (size_t i = 0; i < COL_COUNT(special); i++) vars[0].data[i] = (double)(float)special[i];
    kernel_run_prepare(graph);
    for (size_t l = 0; l < level_count; l++) {
        const col_tensor *y = kernel_run(graph, vars, &(kernel_run_options){.features = levels[l]}, arena);
        double worst = 0, at = 0;
        for (uint32_t i = 0; i < COUNT; i++) {
            double error = ulps(y->data[i], reference(vars[0].data[i]));
            if (error > worst) {
                worst = error;
                at = vars[0].data[i];
            }
        }
        print_message("%-10s %-7s %6.3f ulp at %a\n", function, levels[l], worst, at);
        if (!(worst <= bound)) fail_msg("%s is off by %g ulp at %a", function, worst, at);
    }
    col_arena_destroy(arena);
}

static double reciprocal(double x)
{
    return 1 / x;
}

static double rsqrt(double x)
{
    return 1 / sqrt(x);
}

#define TEST(name, reference, bound)                                                                         \
    static void test_##name(void **unused)                                                                   \
    {                                                                                                        \
        (void)unused;                                                                                        \
        check(#name, reference, bound);                                                                      \
    }
TEST(exp, exp, 2)
TEST(log, log, 2)
TEST(tanh, tanh, 2)
TEST(erf, erf, 2)
TEST(sin, sin, 2)
TEST(cos, cos, 2)
TEST(sqrt, sqrt, 0.5)
TEST(rsqrt, rsqrt, 2)
TEST(reciprocal, reciprocal, 0.5)
TEST(floor, floor, 0)

int main(void)
{
    __builtin_cpu_init();
    levels[level_count++] = "sse2";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) levels[level_count++] = "avx2";
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
        levels[level_count++] = "avx512";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),   cmocka_unit_test(test_log),   cmocka_unit_test(test_tanh),
        cmocka_unit_test(test_erf),   cmocka_unit_test(test_sin),   cmocka_unit_test(test_cos),
        cmocka_unit_test(test_sqrt),  cmocka_unit_test(test_rsqrt), cmocka_unit_test(test_reciprocal),
        cmocka_unit_test(test_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
