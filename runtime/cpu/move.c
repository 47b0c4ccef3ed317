/* Copies, fills and scatters between strided views. */
#include "runtime/cpu/cpu.h"

#include <math.h>
#include <string.h>

enum { COPY_GRAIN = 1 << 18 }; /* bytes that pay for waking a thread */

/* The outer dimensions of two views, walked in order. */
typedef struct walk {
    size_t rank; /* without the last dimension */
    const int64_t *dims;
    const int64_t *a_strides, *b_strides; /* elements */
} walk;

static void copy_rows(const walk *w, size_t element, unsigned char *to, const unsigned char *from,
                      int64_t columns, int64_t to_stride, int64_t from_stride)
{
    int64_t index[COL_PLAN_MAX_RANK] = {0};
    bool dense = columns <= 1 || (to_stride == 1 && from_stride == 1);
    for (;;) {
        if (dense) memcpy(to, from, (size_t)columns * element);
        for (int64_t i = 0; i < columns && !dense; i++) {
            memcpy(to + (size_t)(i * to_stride) * element, from + (size_t)(i * from_stride) * element,
                   element);
        }
        size_t d = w->rank;
        for (;;) {
            if (d-- == 0) return;
            to += w->a_strides[d] * (int64_t)element;
            from += w->b_strides[d] * (int64_t)element;
            if (++index[d] < w->dims[d]) break;
            to -= w->a_strides[d] * (int64_t)element * w->dims[d];
            from -= w->b_strides[d] * (int64_t)element * w->dims[d];
            index[d] = 0;
        }
    }
}

static void copy_view(const col_plan_view *to_view, unsigned char *to, const col_plan_view *from_view,
                      const unsigned char *from)
{
    size_t rank = to_view->n_dims, element = col_plan_dtype_size(to_view->dtype);
    if (rank == 0) {
        memcpy(to, from, element);
        return;
    }
    walk w = {rank - 1, to_view->dims, to_view->strides, from_view->strides};
    copy_rows(&w, element, to, from, to_view->dims[rank - 1], to_view->strides[rank - 1],
              from_view->strides[rank - 1]);
}

typedef struct copy_job {
    const col_plan_view *to_view, *from_view;
    unsigned char *to;
    const unsigned char *from;
    size_t dim; /* the dimension that is cut */
} copy_job;

static void copy_range(void *context, int64_t begin, int64_t end)
{
    const copy_job *job = context;
    int64_t element = (int64_t)col_plan_dtype_size(job->to_view->dtype), dims[COL_PLAN_MAX_RANK];
    memcpy(dims, job->to_view->dims, job->to_view->n_dims * sizeof *dims);
    dims[job->dim] = end - begin;
    col_plan_view part = *job->to_view;
    part.dims = dims;
    copy_view(&part, job->to + begin * job->to_view->strides[job->dim] * element, job->from_view,
              job->from + begin * job->from_view->strides[job->dim] * element);
}

void cpu_copy(int threads, const col_plan_instruction *instruction, void *const *args)
{
    const col_plan_view *to = instruction->writes[0], *from = instruction->reads[0];
    if (to->n_dims == 0) {
        copy_view(to, args[1], from, args[0]);
        return;
    }
    copy_job job = {to, from, args[1], args[0], 0};
    for (size_t d = 1; d < to->n_dims; d++) {
        if (to->dims[d] > to->dims[job.dim]) job.dim = d;
    }
    int64_t bytes = col_plan_numel(to->n_dims, to->dims) * (int64_t)col_plan_dtype_size(to->dtype);
    int64_t slice = COL_MAX(bytes / to->dims[job.dim], 1);
    cpu_parallel_for(threads, to->dims[job.dim], COPY_GRAIN / slice + 1, copy_range, &job);
}

/* reads update, start; writes base. The start is clamped so that the update lies inside the base. */
void cpu_update_slice(const col_plan_instruction *instruction, void *const *args)
{
    const col_plan_view *update = instruction->reads[0], *base = instruction->writes[0];
    int axis = instruction->update_slice->axis;
    int32_t start;
    memcpy(&start, args[1], sizeof start);
    int64_t last = base->dims[axis] - update->dims[axis];
    int64_t at = COL_MIN(COL_MAX((int64_t)start, 0), last);
    unsigned char *to =
        (unsigned char *)args[2] + at * base->strides[axis] * (int64_t)col_plan_dtype_size(base->dtype);
    col_plan_view window = *base;
    window.dims = update->dims;
    copy_view(&window, to, update, args[0]);
}

typedef struct fill_job {
    unsigned char *data;
} fill_job;

static void fill_range(void *context, int64_t begin, int64_t end)
{
    fill_job *job = context;
    memset(job->data + begin, 0, (size_t)(end - begin));
}

static bool is_dense(const col_plan_view *view)
{
    int64_t stride = 1;
    for (size_t d = view->n_dims; d-- > 0;) {
        if (view->dims[d] != 1 && view->strides[d] != stride) return false;
        stride *= view->dims[d];
    }
    return true;
}

/* Dense views in parallel; others a row at a time, from a zero that every element repeats. */
void cpu_fill(int threads, const col_plan_instruction *instruction, void *const *args)
{
    const col_plan_view *view = instruction->writes[0];
    int64_t bytes = col_plan_numel(view->n_dims, view->dims) * (int64_t)col_plan_dtype_size(view->dtype);
    if (is_dense(view)) {
        fill_job job = {args[0]};
        cpu_parallel_for(threads, bytes, 1 << 20, fill_range, &job);
        return;
    }
    static const int64_t zero = 0;
    int64_t strides[COL_PLAN_MAX_RANK] = {0};
    col_plan_view repeated = *view;
    repeated.strides = strides;
    copy_view(view, args[0], &repeated, (const unsigned char *)&zero);
}

typedef struct scatter_job {
    const int32_t *ids;
    const float *updates;
    float *base;
    int64_t count, update_stride, base_stride;
} scatter_job;

/* Columns [begin, end) of every row, in order of position: no two threads touch the same element, and the
 * order of additions to an element is fixed. */
static void scatter_columns(void *context, int64_t begin, int64_t end)
{
    const scatter_job *job = context;
    for (int64_t i = 0; i < job->count; i++) {
        float *to = job->base + job->ids[i] * job->base_stride;
        const float *from = job->updates + i * job->update_stride;
        for (int64_t c = begin; c < end; c++) to[c] += from[c];
    }
}

col_status cpu_scatter_add_check(const col_plan_instruction *in)
{
    bool dense = is_dense(in->reads[0]) && is_dense(in->reads[1]) && is_dense(in->writes[0]);
    if (dense && in->writes[0]->dtype == COL__PLAN__DTYPE__F32) return NULL;
    return col_error_make(COL_BAD_INPUT, "'%s': scatter_add on the CPU takes dense fp32", in->name);
}

/* reads ids [n], updates [n, c]; writes base [v, c], all row-major. */
void cpu_scatter_add(int threads, const col_plan_instruction *instruction, void *const *args)
{
    const col_plan_view *ids = instruction->reads[0], *base = instruction->writes[0];
    scatter_job job = {.ids = args[0], .updates = args[1], .base = args[2]};
    job.count = col_plan_numel(ids->n_dims, ids->dims);
    job.update_stride = base->dims[1];
    job.base_stride = base->strides[0];
    cpu_parallel_for(threads, base->dims[1], 64, scatter_columns, &job);
}

bool cpu_has_non_finite(const col_plan_view *view, const void *data)
{
    if (view->dtype != COL__PLAN__DTYPE__F32) return false;
    /* Rows of the last dimension; strided outputs are rare and small, so one element at a time will do. */
    int64_t index[COL_PLAN_MAX_RANK] = {0}, at = 0, numel = col_plan_numel(view->n_dims, view->dims);
    const float *values = data;
    for (int64_t i = 0; i < numel; i++) {
        if (!isfinite(values[at])) return true;
        for (size_t d = view->n_dims; d-- > 0;) {
            at += view->strides[d];
            if (++index[d] < view->dims[d]) break;
            at -= view->strides[d] * view->dims[d];
            index[d] = 0;
        }
    }
    return false;
}
