/* The plan's verifier on convolutions and poolings: a sound one is taken, and each with one fault is refused
 * before a device could read outside of its tensors. */
#include "tests/unit/unit.h"
#include "ir/plan/plan_verify.h"
#include "tests/cts/plan_maker.h"

typedef struct subject {
    plan_maker maker;
    col_plan_instruction *in;
    Col__Plan__Window *window;
} subject;

static Col__Plan__Window *make_window(col_arena *arena)
{
    Col__Plan__Window *w = COL_NEW(arena, Col__Plan__Window);
    col__plan__window__init(w);
    w->n_strides = w->n_low = w->n_high = w->n_dilations = 2;
    w->strides = col_arena_copy(arena, (int64_t[]){2, 1}, 2 * sizeof(int64_t));
    w->low = col_arena_copy(arena, (int64_t[]){1, 0}, 2 * sizeof(int64_t));
    w->high = col_arena_copy(arena, (int64_t[]){1, 0}, 2 * sizeof(int64_t));
    w->dilations = col_arena_copy(arena, (int64_t[]){1, 2}, 2 * sizeof(int64_t));
    return w;
}

/* x [2, 4, 7, 8], kernel 3 x 2, y [2, 6, 4, 6] */
static subject convolution(col_arena *arena)
{
    subject s = {.maker = maker_start(arena, "cpu", "test"), .window = make_window(arena)};
    col_plan_view *reads[] = {maker_view(&s.maker, COL__PLAN__DTYPE__F32, 4, (int64_t[]){2, 4, 7, 8}),
                              maker_view(&s.maker, COL__PLAN__DTYPE__F32, 4, (int64_t[]){6, 2, 3, 2})};
    col_plan_view *y = maker_view(&s.maker, COL__PLAN__DTYPE__F32, 4, (int64_t[]){2, 6, 4, 6});
    s.in = maker_instruction(&s.maker, "conv", 2, reads, 1, &y);
    MAKER_KIND(&s.maker, s.in, CONVOLUTION, convolution, Convolution)->window = s.window;
    s.in->convolution->groups = 2;
    return s;
}

/* The gradient of a maximum: x [2, 6, 7, 8], dy [2, 6, 4, 6] */
static subject pool(col_arena *arena)
{
    subject s = {.maker = maker_start(arena, "cpu", "test"), .window = make_window(arena)};
    col_plan_view *reads[] = {maker_view(&s.maker, COL__PLAN__DTYPE__F32, 4, (int64_t[]){2, 6, 7, 8}),
                              maker_view(&s.maker, COL__PLAN__DTYPE__F32, 4, (int64_t[]){2, 6, 4, 6})};
    col_plan_view *dx = maker_view(&s.maker, COL__PLAN__DTYPE__F32, 4, (int64_t[]){2, 6, 7, 8});
    s.in = maker_instruction(&s.maker, "pool", 2, reads, 1, &dx);
    MAKER_KIND(&s.maker, s.in, POOL, pool, Pool)->window = s.window;
    s.in->pool->backward = true;
    s.in->pool->n_kernel = 2;
    s.in->pool->kernel = col_arena_copy(arena, (int64_t[]){3, 2}, 2 * sizeof(int64_t));
    return s;
}

static col_status verify(subject *s)
{
    maker_program(&s->maker, "step");
    return col_plan_verify(maker_finish(&s->maker));
}

static void refuse(subject s, const char *what)
{
    char message[256];
    col_status status = verify(&s);
    if (!status) fail_msg("taken: %s", what);
    snprintf(message, sizeof message, "%s", col_error_message(status));
    col_error_ignore(status);
    if (!strstr(message, "its views do not fit its kind")) fail_msg("%s: %s", what, message);
}

#define REFUSE(make, change)                                                                                 \
    do {                                                                                                     \
        subject s = make(arena);                                                                             \
        change;                                                                                              \
        refuse(s, #make ": " #change);                                                                       \
    } while (0)

static void test_windows(void **state)
{
    (void)state;
    subject (*const makers[])(col_arena *) = {convolution, pool};
    for (size_t i = 0; i < COL_COUNT(makers); i++) {
        col_arena *arena = col_arena_create();
        subject sound = makers[i](arena);
        assert_ok(verify(&sound));
        REFUSE(makers[i], s.window->strides[0] = 0);
        REFUSE(makers[i], s.window->strides[0] = 3);
        REFUSE(makers[i], s.window->strides[1] = -1);
        REFUSE(makers[i], s.window->low[0] = -1);
        REFUSE(makers[i], s.window->low[0] = 3);
        REFUSE(makers[i], s.window->high[1] = 2);
        REFUSE(makers[i], s.window->high[1] = INT64_MAX);
        REFUSE(makers[i], s.window->dilations[1] = 0);
        REFUSE(makers[i], s.window->dilations[1] = 4);
        REFUSE(makers[i], s.window->n_strides = 1);
        REFUSE(makers[i], s.window->n_low = 0);
        REFUSE(makers[i], s.in->reads[0]->dims[2] = 6);
        REFUSE(makers[i], s.in->reads[0]->strides[2] = 9);
        REFUSE(makers[i], s.in->writes[0]->strides[3] = 0);
        REFUSE(makers[i], s.in->writes[0]->dims[0] = 1);
        REFUSE(makers[i], s.in->writes[0]->dtype = COL__PLAN__DTYPE__I32);
        REFUSE(makers[i], s.in->n_reads = 1);
        REFUSE(makers[i], s.in->n_writes = 0);
        REFUSE(makers[i], s.in->reads[0]->n_dims = s.in->reads[0]->n_strides = 2);
        REFUSE(makers[i], s.in->reads[1]->n_dims = s.in->reads[1]->n_strides = 3);
        col_arena_destroy(arena);
    }
}

static void test_convolution(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    REFUSE(convolution, s.in->convolution->groups = 0);
    REFUSE(convolution, s.in->convolution->groups = 1);
    REFUSE(convolution, s.in->convolution->groups = INT64_MIN);
    REFUSE(convolution, s.in->convolution->window = NULL);
    REFUSE(convolution, s.in->convolution->kind = (Col__Plan__ConvolutionKind)3);
    REFUSE(convolution, s.in->convolution->kind = COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_INPUT);
    REFUSE(convolution, s.in->reads[1]->dims[0] = 4);
    REFUSE(convolution, s.in->reads[1]->strides[0] = 24);
    col_arena_destroy(arena);
}

/* In a pooling every window must hold an element. */
static void test_pool(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    REFUSE(pool, s.in->pool->window = NULL);
    REFUSE(pool, s.in->pool->n_kernel = 1);
    REFUSE(pool, s.in->pool->kernel[0] = 0);
    REFUSE(pool, s.in->pool->kind = (Col__Plan__PoolKind)2);
    REFUSE(pool, s.in->pool->kind = COL__PLAN__POOL_KIND__POOL_AVERAGE);
    REFUSE(pool, s.in->pool->backward = false);
    REFUSE(pool, s.in->reads[0]->dims[1] = 5);
    subject s = pool(arena); /* a kernel of 1 x 2, whose first windows lie in the padding */
    s.in->pool->kernel[0] = 1;
    s.window->high[0] = 0;
    refuse(s, "a window in the padding");
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_convolution),
        cmocka_unit_test(test_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
