/* Poolings: loops over planes, one per image and channel, which threads share. Own loops rather than the
 * library's, whose maximum needs a tensor of indices between forward and backward: here the gradient finds
 * each window's place again, the first of the largest as ir/ops/pool.c defines it. */
#include "runtime/cpu/cpu.h"

#include <math.h>
#include <string.h>

enum { AXES = 3 /* spatial ones; fewer get leading axes of size 1 */ };

typedef struct axis {
    int64_t size, out, kernel, stride, low, dilation;
} axis;

typedef struct pool_job {
    axis axes[AXES];
    int64_t inputs, outputs, taps; /* of a plane */
    bool includes_pad;
    const float *x, *dy;
    float *out; /* y or dx */
} pool_job;

col_status cpu_pool_check(const col_plan_instruction *in)
{
    const col_plan_view *view = in->reads[0];
    if (view->dtype != COL__PLAN__DTYPE__F32)
        return col_error_make(COL_BAD_INPUT, "'%s': poolings on the CPU are fp32", in->name);
    if (view->n_dims <= AXES + 2) return NULL;
    return col_error_make(COL_BAD_INPUT, "'%s': poolings on the CPU have at most %d spatial axes, not %zu",
                          in->name, AXES, view->n_dims - 2);
}

/* One window of a plane: where it begins, how many taps are inside and how far they are apart. */
typedef struct window {
    int64_t first, count[AXES], step[AXES];
} window;

/* The least n >= 0 with n d >= x; mostly d is 1. */
static int64_t steps_over(int64_t x, int64_t d)
{
    if (x <= 0) return 0;
    return d == 1 ? x : (x + d - 1) / d;
}

/* Puts window i along one axis into `w`: the taps that are inside the input. */
static inline void place(const axis *a, int number, int64_t i, int64_t plane_step, window *w)
{
    int64_t start = i * a->stride - a->low, begin = steps_over(-start, a->dilation);
    w->count[number] = COL_MIN(a->kernel, steps_over(a->size - start, a->dilation)) - begin;
    w->step[number] = a->dilation * plane_step;
    w->first += (start + begin * a->dilation) * plane_step;
}

static int64_t largest(const float *x, const window *w)
{
    int64_t best = w->first;
    for (int64_t a = 0; a < w->count[0]; a++) {
        for (int64_t b = 0; b < w->count[1]; b++) {
            const int64_t row = w->first + a * w->step[0] + b * w->step[1];
            for (int64_t c = 0; c < w->count[2]; c++) {
                int64_t at = row + c * w->step[2];
                if (x[at] > x[best] || isnan(x[at])) best = at;
            }
        }
    }
    return best;
}

static float sum(const float *x, const window *w)
{
    float total = 0;
    for (int64_t a = 0; a < w->count[0]; a++) {
        for (int64_t b = 0; b < w->count[1]; b++) {
            const float *row = x + w->first + a * w->step[0] + b * w->step[1];
            for (int64_t c = 0; c < w->count[2]; c++) total += row[c * w->step[2]];
        }
    }
    return total;
}

static void add(float *x, const window *w, float share)
{
    for (int64_t a = 0; a < w->count[0]; a++) {
        for (int64_t b = 0; b < w->count[1]; b++) {
            float *row = x + w->first + a * w->step[0] + b * w->step[1];
            for (int64_t c = 0; c < w->count[2]; c++) row[c * w->step[2]] += share;
        }
    }
}

static float divisor(const pool_job *job, const window *w)
{
    return (float)(job->includes_pad ? job->taps : w->count[0] * w->count[1] * w->count[2]);
}

/* Calls `visit` for every window of the planes [begin, end). */
static inline __attribute__((always_inline)) void walk(const pool_job *job, int64_t begin, int64_t end,
                                                       void (*visit)(const pool_job *, int64_t, int64_t,
                                                                     const window *))
{
    const axis *a = job->axes;
    for (int64_t plane = begin; plane < end; plane++) {
        int64_t output = plane * job->outputs;
        for (int64_t i = 0; i < a[0].out; i++) {
            for (int64_t j = 0; j < a[1].out; j++) {
                window row = {0};
                place(&a[0], 0, i, a[1].size * a[2].size, &row);
                place(&a[1], 1, j, a[2].size, &row);
                for (int64_t k = 0; k < a[2].out; k++) {
                    window w = row;
                    place(&a[2], 2, k, 1, &w);
                    visit(job, plane, output++, &w);
                }
            }
        }
    }
}

static void visit_max(const pool_job *job, int64_t plane, int64_t output, const window *w)
{
    const float *x = job->x + plane * job->inputs;
    job->out[output] = x[largest(x, w)];
}

static void visit_max_gradient(const pool_job *job, int64_t plane, int64_t output, const window *w)
{
    int64_t at = plane * job->inputs;
    job->out[at + largest(job->x + at, w)] += job->dy[output];
}

static void visit_average(const pool_job *job, int64_t plane, int64_t output, const window *w)
{
    job->out[output] = sum(job->x + plane * job->inputs, w) / divisor(job, w);
}

static void visit_average_gradient(const pool_job *job, int64_t plane, int64_t output, const window *w)
{
    add(job->out + plane * job->inputs, w, job->dy[output] / divisor(job, w));
}

static void clear(const pool_job *job, int64_t begin, int64_t end)
{
    memset(job->out + begin * job->inputs, 0, (size_t)((end - begin) * job->inputs) * sizeof(float));
}

static void run_max(void *context, int64_t begin, int64_t end)
{
    walk(context, begin, end, visit_max);
}

static void run_max_gradient(void *context, int64_t begin, int64_t end)
{
    clear(context, begin, end);
    walk(context, begin, end, visit_max_gradient);
}

static void run_average(void *context, int64_t begin, int64_t end)
{
    walk(context, begin, end, visit_average);
}

static void run_average_gradient(void *context, int64_t begin, int64_t end)
{
    clear(context, begin, end);
    walk(context, begin, end, visit_average_gradient);
}

/* reads x; or x dy, or dy alone; writes y; or dx. All row-major. */
void cpu_pool(int threads, const col_plan_instruction *in, void *const *args)
{
    static const cpu_body bodies[2][2] = {{run_max, run_average}, {run_max_gradient, run_average_gradient}};
    const Col__Plan__Pool *how = in->pool;
    const col_plan_view *x = how->backward ? in->writes[0] : in->reads[0];
    const col_plan_view *y = how->backward ? in->reads[in->n_reads - 1] : in->writes[0];
    pool_job job = {.inputs = 1, .outputs = 1, .taps = 1, .includes_pad = how->count_include_pad};
    size_t missing = AXES - how->n_kernel;
    for (size_t i = 0; i < AXES; i++) {
        job.axes[i] = (axis){1, 1, 1, 1, 0, 1};
        if (i < missing) continue;
        size_t s = i - missing;
        job.axes[i] = (axis){x->dims[2 + s],          y->dims[2 + s],      how->kernel[s],
                             how->window->strides[s], how->window->low[s], how->window->dilations[s]};
        job.inputs *= x->dims[2 + s];
        job.outputs *= y->dims[2 + s];
        job.taps *= how->kernel[s];
    }
    job.x = how->backward && in->n_reads == 1 ? NULL : args[0];
    job.dy = how->backward ? args[in->n_reads - 1] : NULL;
    job.out = args[in->n_reads];
    int64_t grain = (1 << 16) / COL_MAX(job.outputs * job.taps, 1) + 1;
    cpu_parallel_for(threads, x->dims[0] * x->dims[1], grain, bodies[how->backward][how->kind], &job);
}
