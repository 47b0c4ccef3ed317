/* Convolutions and poolings, with everything that their windows can say. */
#include <math.h>

#include "tests/cts/cases.h"

enum { MAX_SPATIAL = 3 };

/* One to three spatial axes; x's sizes, the kernel's and the results'. */
typedef struct shape {
    size_t rank;
    int64_t size[MAX_SPATIAL], kernel[MAX_SPATIAL], out[MAX_SPATIAL];
    Col__Plan__Window *window;
} shape;

static int64_t *list(cts_case *c)
{
    return COL_NEW_ARRAY(c->arena, int64_t, MAX_SPATIAL);
}

/* `padded`: windows may lie in the padding alone. */
static shape choose_shape(cts_case *c, bool padded)
{
    shape s = {.rank = (size_t)cts_random(c, 1, MAX_SPATIAL)};
    Col__Plan__Window *w = s.window = COL_NEW(c->arena, Col__Plan__Window);
    col__plan__window__init(w);
    w->n_strides = w->n_low = w->n_high = w->n_dilations = s.rank;
    w->strides = list(c), w->low = list(c), w->high = list(c), w->dilations = list(c);
    for (size_t i = 0; i < s.rank; i++) {
        s.kernel[i] = cts_random(c, 1, 3);
        w->strides[i] = cts_random(c, 1, 3);
        w->dilations[i] = cts_random(c, 0, 3) ? 1 : 2;
        int64_t reach = (s.kernel[i] - 1) * w->dilations[i], most = padded ? reach + 2 : reach;
        w->low[i] = cts_random(c, 0, most);
        w->high[i] = cts_random(c, 0, most);
        s.size[i] = cts_random(c, COL_MAX(1, reach + 1 - w->low[i] - w->high[i]), s.rank == 1 ? 40 : 9);
        s.size[i] = COL_MAX(s.size[i], COL_MAX(w->dilations[i], reach + 1 - w->low[i] - w->high[i]));
        s.out[i] = (s.size[i] + w->low[i] + w->high[i] - reach - 1) / w->strides[i] + 1;
    }
    if (!cts_random(c, 0, 3)) { /* a plain product per image */
        for (size_t i = 0; i < s.rank; i++) {
            s.kernel[i] = w->strides[i] = w->dilations[i] = 1;
            w->low[i] = w->high[i] = 0;
            s.out[i] = s.size[i];
        }
    }
    return s;
}

static col_plan_view *make_view(cts_case *c, int64_t first, int64_t second, size_t rank, const int64_t *rest)
{
    int64_t dims[2 + MAX_SPATIAL] = {first, second};
    for (size_t i = 0; i < rank; i++) dims[2 + i] = rest[i];
    return cts_view(c, CTS_DENSE, rank + 2, dims);
}

/* The place, in a row-major plane, that tap `tap` of window `output` reads; -1: padding. */
static int64_t place(const shape *s, int64_t output, int64_t tap)
{
    int64_t at = 0, step = 1;
    for (size_t i = s->rank; i-- > 0;) {
        int64_t position = output % s->out[i] * s->window->strides[i] - s->window->low[i] +
                           tap % s->kernel[i] * s->window->dilations[i];
        if (position < 0 || position >= s->size[i]) return -1;
        at += position * step;
        step *= s->size[i];
        output /= s->out[i];
        tap /= s->kernel[i];
    }
    return at;
}

static const float *values(const cts_case *c, const col_plan_view *view)
{
    return (const float *)(const void *)(c->before + view->offset);
}

static int64_t numel(const col_plan_view *view)
{
    return col_plan_numel(view->n_dims, view->dims);
}

void case_convolution(cts_case *c)
{
    static const int64_t channels[] = {1, 2, 3, 5, 8, 16, 17, 32, 48};
    shape s = choose_shape(c, true);
    int kind = (int)cts_random(c, 0, 2);
    int64_t groups = cts_random(c, 0, 2) ? 1 : cts_random(c, 2, 9), n = cts_random(c, 1, 4);
    int64_t each = channels[cts_random(c, 0, groups > 1 ? 3 : 8)];
    int64_t made = channels[cts_random(c, 0, groups > 1 ? 3 : 8)];
    col_plan_view *x = make_view(c, n, each * groups, s.rank, s.size);
    col_plan_view *w = make_view(c, made * groups, each, s.rank, s.kernel);
    col_plan_view *y = make_view(c, n, made * groups, s.rank, s.out);
    cts_fill(c);
    col_plan_view *reads[3][2] = {{x, w}, {y, w}, {x, y}}, *writes[3] = {y, x, w};
    double *want = COL_NEW_ARRAY(c->arena, double, numel(writes[kind]));
    int64_t outputs = col_plan_numel(s.rank, s.out), inputs = col_plan_numel(s.rank, s.size);
    int64_t taps = col_plan_numel(s.rank, s.kernel), pairs = n * made * groups * each;
    for (int64_t pair = 0; pair < pairs; pair++) {
        int64_t image = pair / (made * groups * each), filter = pair / each % (made * groups),
                channel = pair % each;
        int64_t xp = (image * each * groups + filter / made * each + channel) * inputs;
        int64_t wp = (filter * each + channel) * taps, yp = (image * made * groups + filter) * outputs;
        for (int64_t i = 0; i < outputs * taps; i++) {
            int64_t at = place(&s, i / taps, i % taps);
            if (at < 0) continue;
            int64_t where[3] = {yp + i / taps, xp + at, wp + i % taps}; /* y, x, w */
            double factors[3] = {values(c, y)[where[0]], values(c, x)[where[1]], values(c, w)[where[2]]};
            factors[kind] = 1;
            want[where[kind]] += factors[0] * factors[1] * factors[2];
        }
    }
    col_plan_instruction *in = maker_instruction(&c->maker, "convolution", 2, reads[kind], 1, &writes[kind]);
    Col__Plan__Convolution *how = MAKER_KIND(&c->maker, in, CONVOLUTION, convolution, Convolution);
    how->kind = (Col__Plan__ConvolutionKind)kind;
    how->window = s.window;
    how->groups = groups;
    cts_run(c);
    cts_expect(c, "convolution", writes[kind], want, 1e-5);
    cts_expect_rest(c, 1, &writes[kind]);
    cts_expect_same_on_any_threads(c);
}

/* Coarse numbers, so that many windows have several largest elements. */
static void make_ties(cts_case *c, const col_plan_view *x)
{
    float *data = (float *)(void *)(c->before + x->offset);
    for (int64_t i = 0; i < numel(x); i++) {
        data[i] = floorf(data[i] * 2);
        if (!cts_random(c, 0, 200)) data[i] = -INFINITY;
    }
}

void case_pool(cts_case *c)
{
    shape s = choose_shape(c, false);
    bool average = cts_random(c, 0, 1), backward = cts_random(c, 0, 1), all = average && cts_random(c, 0, 1);
    int64_t n = cts_random(c, 1, 3), channels = cts_random(c, 1, 5);
    col_plan_view *x = make_view(c, n, channels, s.rank, s.size),
                  *y = make_view(c, n, channels, s.rank, s.out);
    col_plan_view *dx = make_view(c, n, channels, s.rank, s.size);
    cts_fill(c);
    if (!average) make_ties(c, x);
    int64_t outputs = col_plan_numel(s.rank, s.out), inputs = col_plan_numel(s.rank, s.size);
    int64_t taps = col_plan_numel(s.rank, s.kernel);
    double *want = COL_NEW_ARRAY(c->arena, double, numel(backward ? dx : y));
    for (int64_t i = 0; i < numel(y); i++) {
        const float *plane = values(c, x) + i / outputs * inputs;
        int64_t best = -1, inside = 0;
        double sum = 0, given = values(c, y)[i];
        for (int64_t j = 0; j < taps; j++) {
            int64_t at = place(&s, i % outputs, j);
            if (at < 0) continue;
            inside++;
            sum += plane[at];
            if (best < 0 || plane[at] > plane[best]) best = at;
        }
        double count = (double)(all ? taps : inside);
        double *to = want + i / outputs * inputs;
        if (!backward) want[i] = average ? sum / count : plane[best];
        if (backward && !average) to[best] += given;
        for (int64_t j = 0; backward && average && j < taps; j++) {
            int64_t at = place(&s, i % outputs, j);
            if (at >= 0) to[at] += given / count;
        }
    }
    col_plan_view *reads[] = {x, y}, *write = backward ? dx : y;
    size_t first = backward && average, count = backward && !average ? 2 : 1;
    col_plan_instruction *in = maker_instruction(&c->maker, "pool", count, reads + first, 1, &write);
    Col__Plan__Pool *how = MAKER_KIND(&c->maker, in, POOL, pool, Pool);
    how->kind = average ? COL__PLAN__POOL_KIND__POOL_AVERAGE : COL__PLAN__POOL_KIND__POOL_MAX;
    how->backward = backward;
    how->window = s.window;
    how->n_kernel = s.rank;
    how->kernel = col_arena_copy(c->arena, s.kernel, sizeof s.kernel);
    how->count_include_pad = all;
    cts_run(c);
    cts_expect(c, "pool", write, want, 1e-6);
    cts_expect_rest(c, 1, &write);
    cts_expect_same_on_any_threads(c);
}
