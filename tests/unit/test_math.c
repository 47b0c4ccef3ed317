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

/* Every f16 and bf16 to f32, exactly; f32 to both, rounded to nearest even. */
static void conversions(void **unused)
{
    (void)unused;
    enum { ALL = 1 << 16 };
    col_arena *arena = col_arena_create();
    char text[512];
    snprintf(text, sizeof text,
             "model m()\ninput h : f16[%d]\ninput b : bf16[%d]\ninput x : f32[%d]\n"
             "output hw = cast(h, dtype = \"f32\")\noutput bw = cast(b, dtype = \"f32\")\n"
             "output xh = cast(x, dtype = \"f16\")\noutput xb = cast(x, dtype = \"bf16\")\n",
             ALL, ALL, COUNT);
    col_graph *graph = kernel_run_parse(text, arena);
    col_tensor *vars = kernel_run_fill(graph, 1, arena);
    for (uint32_t i = 0; i < ALL; i++) {
        uint16_t half = (uint16_t)i;
        _Float16 value;
        memcpy(&value, &half, sizeof value);
        vars[0].data[i] = (double)value;
        vars[1].data[i] = (double)float_of(i << 16);
    }
    for (uint32_t i = 0; i < COUNT; i++) vars[2].data[i] = (double)float_of(i * STEP);
    /* Ties, and the borders of denormals and of infinity. */
    static const double special[] = {65504,      65519.996,  65520,     65536,       -65520,      0x1p-14,
                                     0x1p-24,    0x1p-25,    0x1.8p-24, 0x1.ffep-15, 1 + 0x1p-11, 1 + 0x3p-11,
                                     1 + 0x1p-8, 1 + 0x3p-8, INFINITY,  NAN,         -0.0};
    for (size_t i = 0; i < COL_COUNT(special); i++) vars[2].data[i] = (double)(float)special[i];
    kernel_run_prepare(graph);
    for (size_t l = 0; l < level_count; l++) {
        const col_tensor *out = kernel_run(graph, vars, &(kernel_run_options){.features = levels[l]}, arena);
        assert_true(kernel_run_distance(&out[0], &(col_tensor){out[0].type, vars[0].data}) == 0);
        assert_true(kernel_run_distance(&out[1], &(col_tensor){out[1].type, vars[1].data}) == 0);
        for (uint32_t i = 0; i < COUNT; i++) {
            float x = (float)vars[2].data[i];
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            double half = (double)(_Float16)x,
                   upper = (double)float_of((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
            if (isnan(x)) {
                assert_true(isnan(out[2].data[i]) && isnan(out[3].data[i]));
            } else if (out[2].data[i] != half || out[3].data[i] != upper) {
                fail_msg("%a becomes f16 %a (not %a), bf16 %a (not %a) at %s", (double)x, out[2].data[i],
                         half, out[3].data[i], upper, levels[l]);
            }
        }
    }
    col_arena_destroy(arena);
}

int main(void)
{
    __builtin_cpu_init();
    levels[level_count++] = "sse2";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) levels[level_count++] = "avx2";
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
        levels[level_count++] = "avx512";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),   cmocka_unit_test(test_log),    cmocka_unit_test(test_tanh),
        cmocka_unit_test(test_erf),   cmocka_unit_test(test_sin),    cmocka_unit_test(test_cos),
        cmocka_unit_test(test_sqrt),  cmocka_unit_test(test_rsqrt),  cmocka_unit_test(test_reciprocal),
        cmocka_unit_test(test_floor), cmocka_unit_test(conversions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
