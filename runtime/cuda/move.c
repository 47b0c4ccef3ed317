/* Copies, fills, slices and scatters, by the kernels of kernels.cu. */
#include "runtime/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)CUDA_MOST_RANK >= (int)COL_PLAN_MAX_RANK, "a view fits into what kernels take");

enum { THREADS = 256 };

static bool is_dense(const col_plan_view *view)
{
    int64_t stride = 1;
    for (size_t d = view->n_dims; d-- > 0;) {
        if (view->dims[d] != 1 && view->strides[d] != stride) return false;
        stride *= view->dims[d];
    }
    return true;
}

static size_t bytes_of(const col_plan_view *view)
{
    return (size_t)col_plan_numel(view->n_dims, view->dims) * col_plan_dtype_size(view->dtype);
}

/* Dims that both views walk as one are merged. `from` NULL: zeros. */
static cuda_copy describe(const col_plan_view *to, const col_plan_view *from)
{
    cuda_copy w = {.element = (int32_t)col_plan_dtype_size(to->dtype),
                   .count = col_plan_numel(to->n_dims, to->dims)};
    for (size_t d = 0; d < to->n_dims; d++) {
        int64_t a = to->strides[d], b = from ? from->strides[d] : 0, size = to->dims[d];
        int last = w.rank - 1;
        if (size == 1) continue;
        if (w.rank && w.to_strides[last] == a * size && w.from_strides[last] == b * size) {
            w.dims[last] *= size;
        } else {
            last = w.rank++;
            w.dims[last] = size;
        }
        w.to_strides[last] = a;
        w.from_strides[last] = b;
    }
    return w;
}

/* A kernel on a thread for each element; its parameters follow in `params`. */
typedef struct launch {
    cudaKernel_t kernel;
    dim3 blocks;
    cuda_copy walk;
    int64_t last, step;
    void *params[6];
} launch;

static col_status run_launch(const cuda_context *context, const cuda_call *call)
{
    const launch *l = call->state;
    return cuda_launch(context, call->instruction->name, l->kernel, l->blocks, THREADS, 0,
                       (void **)(uintptr_t)l->params);
}

static col_status run_dense_copy(const cuda_context *context, const cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    CUDA_TRY(in->name, cudaMemcpyAsync, call->args[1], call->args[0], bytes_of(in->writes[0]),
             cudaMemcpyDeviceToDevice, context->stream);
    return NULL;
}

static col_status prepare_launch(cuda_context *context, cuda_call *call, const char *kernel, int64_t count,
                                 launch **out)
{
    launch *l = *out = COL_NEW(context->memory, launch);
    call->run = run_launch;
    call->state = l;
    COL_TRY(cuda_find_own(context, kernel, &l->kernel));
    return cuda_blocks_of(call->instruction->name, count, THREADS, &l->blocks);
}

col_status cuda_copy_prepare(cuda_context *context, cuda_call *call)
{
    const col_plan_view *from = call->instruction->reads[0], *to = call->instruction->writes[0];
    launch *l;
    if (is_dense(from) && is_dense(to)) {
        call->run = run_dense_copy;
        return NULL;
    }
    COL_TRY(prepare_launch(context, call, "col_copy", col_plan_numel(to->n_dims, to->dims), &l));
    l->walk = describe(to, from);
    memcpy(l->params, (void *[]){&l->walk, &call->args[1], &call->args[0]}, 3 * sizeof *l->params);
    return NULL;
}

static col_status run_dense_fill(const cuda_context *context, const cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    CUDA_TRY(in->name, cudaMemsetAsync, call->args[0], 0, bytes_of(in->writes[0]), context->stream);
    return NULL;
}

col_status cuda_fill_prepare(cuda_context *context, cuda_call *call)
{
    static void *const none = NULL;
    const col_plan_view *to = call->instruction->writes[0];
    launch *l;
    if (is_dense(to)) {
        call->run = run_dense_fill;
        return NULL;
    }
    COL_TRY(prepare_launch(context, call, "col_copy", col_plan_numel(to->n_dims, to->dims), &l));
    l->walk = describe(to, NULL);
    memcpy(l->params, (void *[]){&l->walk, &call->args[0], (void *)(uintptr_t)&none}, 3 * sizeof *l->params);
    return NULL;
}

/* reads update, start; writes base */
col_status cuda_update_slice_prepare(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    const col_plan_view *update = in->reads[0];
    col_plan_view window = *in->writes[0];
    int axis = in->update_slice->axis;
    launch *l;
    window.dims = update->dims;
    COL_TRY(
        prepare_launch(context, call, "col_update_slice", col_plan_numel(update->n_dims, update->dims), &l));
    l->walk = describe(&window, update);
    l->last = in->writes[0]->dims[axis] - update->dims[axis];
    l->step = in->writes[0]->strides[axis];
    memcpy(l->params,
           (void *[]){&l->walk, &call->args[2], &call->args[0], &call->args[1], &l->last, &l->step},
           6 * sizeof *l->params);
    return NULL;
}

/* Scatter. */

typedef struct scatter {
    cudaKernel_t count, starts, list, add;
    int64_t ids, rows, columns, stride;
    dim3 blocks;
} scatter;

/* The workspace: counts [rows], starts [rows + 1], list [ids], sorted [ids]. */
static col_status run_scatter(const cuda_context *context, const cuda_call *call)
{
    scatter s = *(const scatter *)call->state;
    const char *name = call->instruction->name;
    int32_t *counts = context->workspace, *starts = counts + s.rows, *list = starts + s.rows + 1,
            *sorted = list + s.ids;
    CUDA_TRY(name, cudaMemsetAsync, counts, 0, (size_t)s.rows * sizeof *counts, context->stream);
    COL_TRY(cuda_launch(context, name, s.count, s.blocks, THREADS, 0,
                        (void *[]){&call->args[0], &s.ids, &s.rows, &counts}));
    COL_TRY(cuda_launch(context, name, s.starts, (dim3){1, 1, 1}, 1024, 0,
                        (void *[]){&counts, &starts, &s.rows}));
    COL_TRY(cuda_launch(context, name, s.list, s.blocks, THREADS, 0,
                        (void *[]){&call->args[0], &s.ids, &s.rows, &counts, &list}));
    return cuda_launch(
        context, name, s.add, (dim3){(unsigned)s.rows, 1, 1}, THREADS, 0,
        (void *[]){&starts, &list, &sorted, &call->args[1], &call->args[2], &s.columns, &s.stride});
}

/* reads ids [n], updates [n, c]; writes base [v, c], all row-major. */
col_status cuda_scatter_add_prepare(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    const col_plan_view *ids = in->reads[0], *base = in->writes[0];
    const char *type = cuda_type_suffix(base->dtype);
    bool dense = is_dense(ids) && is_dense(in->reads[1]) && is_dense(base);
    scatter *s = COL_NEW(context->memory, scatter);
    s->ids = col_plan_numel(ids->n_dims, ids->dims);
    if (!dense || !type || s->ids > INT32_MAX / 4 || base->dims[0] > INT32_MAX / 4)
        return col_error_make(COL_BAD_INPUT,
                              "'%s': scatter_add on a GPU takes dense floats and up to 2^29 rows", in->name);
    s->rows = base->dims[0];
    s->columns = base->dims[1];
    s->stride = base->dims[0] > 1 ? base->strides[0] : s->columns;
    cuda_want(context, call, (size_t)(2 * s->rows + 1 + 2 * s->ids) * sizeof(int32_t));
    char name[64];
    snprintf(name, sizeof name, "col_scatter_add_%s", type);
    COL_TRY(cuda_find_own(context, "col_scatter_count", &s->count));
    COL_TRY(cuda_find_own(context, "col_scatter_starts", &s->starts));
    COL_TRY(cuda_find_own(context, "col_scatter_list", &s->list));
    COL_TRY(cuda_find_own(context, name, &s->add));
    call->run = run_scatter;
    call->state = s;
    return cuda_blocks_of(in->name, s->ids, THREADS, &s->blocks);
}

/* Looking. */

col_status cuda_look(const cuda_context *context, const col_plan_view *view, const void *data, int32_t *flag)
{
    const char *type = cuda_type_suffix(view->dtype);
    if (!type) return NULL;
    char name[64];
    cudaKernel_t kernel;
    dim3 blocks;
    snprintf(name, sizeof name, "col_look_%s", type);
    cuda_copy walk = describe(view, view);
    COL_TRY(cuda_find_own(context, name, &kernel));
    COL_TRY(cuda_blocks_of(name, walk.count, THREADS, &blocks));
    return cuda_launch(context, name, kernel, blocks, THREADS, 0, (void *[]){&walk, &data, &flag});
}
