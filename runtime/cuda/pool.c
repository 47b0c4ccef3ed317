/* Pools, by the kernels of pool.cuh: x -> y; backward: x dy -> dx (max), dy -> dx (average). Threads walk the result as
 * it lies in memory. The gradient of a maximum first finds each window's winner, then gathers. */
#include "runtime/cuda/cuda.h"

#include <stdio.h>

enum { THREADS = 256, ACCESS = 16 };

typedef struct pool {
    cudaKernel_t kernel, winners; /* winners: of the backward pass of a maximum, into the workspace */
    dim3 blocks, winner_blocks;
    cuda_pool description;
} pool;

static col_status run_forward(const cuda_context *context, const cuda_call *call)
{
    pool *p = call->state;
    return cuda_launch(context, call->instruction->name, p->kernel, p->blocks, THREADS, 0,
                       (void *[]){&p->description, &call->args[1], &call->args[0]});
}

static col_status run_backward(const cuda_context *context, const cuda_call *call)
{
    pool *p = call->state;
    const char *name = call->instruction->name;
    size_t reads = call->instruction->n_reads;
    void *workspace = context->workspace;
    if (p->description.is_max)
        COL_TRY(cuda_launch(context, name, p->winners, p->winner_blocks, THREADS, 0,
                            (void *[]){&p->description, &workspace, &call->args[0]}));
    return cuda_launch(context, name, p->kernel, p->blocks, THREADS, 0,
                       (void *[]){&p->description, &call->args[reads], &workspace, &call->args[reads - 1]});
}

static cuda_image image_of(const col_plan_view *view)
{
    cuda_image image = {view->strides[0], view->strides[1], {0}};
    for (size_t d = 2, first = 3 - (view->n_dims - 2); d < view->n_dims; d++)
        image.at[first + d - 2] = view->strides[d];
    return image;
}

static bool is_wide(const col_plan_view *view, int64_t lanes)
{
    return view->dims[1] % lanes == 0 && view->strides[1] == 1 && view->offset % ACCESS == 0;
}

static cuda_pool describe(const col_plan_instruction *in)
{
    const Col__Plan__Pool *how = in->pool;
    const col_plan_view *first_read = in->reads[0], *to = in->writes[0],
                        *last_read = in->reads[in->n_reads - 1];
    const col_plan_view *y = how->backward ? last_read : to, *dx = how->backward ? to : first_read;
    const col_plan_view *x = how->backward && in->n_reads == 1 ? dx : first_read;
    int64_t lanes = ACCESS / (int64_t)col_plan_dtype_size(to->dtype);
    cuda_pool p = {.x = image_of(x),
                   .dx = image_of(dx),
                   .y = image_of(y),
                   .n = x->dims[0],
                   .padded = how->count_include_pad};
    p.c = (int32_t)x->dims[1];
    p.is_max = how->kind == COL__PLAN__POOL_KIND__POOL_MAX;
    p.wide = is_wide(x, lanes) && is_wide(dx, lanes) && is_wide(y, lanes);
    p.last = p.wide || (to->strides[1] == 1 && to->dims[1] > 1);
    for (size_t d = 0; d < 3; d++) p.x_size[d] = p.y_size[d] = p.kernel[d] = p.stride[d] = p.dilation[d] = 1;
    size_t rank = how->n_kernel, first = 3 - rank;
    int64_t taps = 1;
    for (size_t d = 0; d < rank; d++) {
        p.x_size[first + d] = (int32_t)x->dims[2 + d];
        p.y_size[first + d] = (int32_t)y->dims[2 + d];
        p.kernel[first + d] = (int32_t)how->kernel[d];
        p.stride[first + d] = (int32_t)how->window->strides[d];
        p.low[first + d] = (int32_t)how->window->low[d];
        p.dilation[first + d] = (int32_t)how->window->dilations[d];
        taps *= how->kernel[d];
    }
    p.few_taps = taps <= UINT8_MAX + 1;
    return p;
}

/* Whether 32 bits hold the offset of every element of an image, and of those in its padding. */
static bool fits(const col_plan_instruction *in)
{
    const Col__Plan__Window *w = in->pool->window;
    for (size_t i = 0; i < in->n_reads + in->n_writes; i++) {
        const col_plan_view *view = i < in->n_reads ? in->reads[i] : in->writes[i - in->n_reads];
        double positions = view->strides[1] == 1 ? (double)view->dims[1] : 1;
        for (size_t d = 0; d < in->pool->n_kernel; d++) {
            double reach = (double)in->pool->kernel[d] * (double)w->dilations[d];
            positions *=
                (double)view->dims[2 + d] * (double)w->strides[d] + (double)(w->low[d] + w->high[d]) + reach;
        }
        if (positions > 1 << 30 || view->dims[1] > 1 << 30) return false;
    }
    return true;
}

static int64_t numel(const col_plan_view *view)
{
    return col_plan_numel(view->n_dims, view->dims);
}

col_status cuda_pool_prepare(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    const Col__Plan__Pool *how = in->pool;
    const col_plan_view *to = in->writes[0], *dy = in->reads[in->n_reads - 1];
    const char *type = cuda_type_suffix(to->dtype);
    if (!type || how->n_kernel > 3 || !fits(in))
        return col_error_make(
            COL_BAD_INPUT,
            "'%s': poolings on a GPU take floats with at most 3 spatial axes, and 2^30 elements of a channel "
            "(of an image with channels last), padding included",
            in->name);
    char name[64];
    pool *p = COL_NEW(context->memory, pool);
    call->run = how->backward ? run_backward : run_forward;
    call->state = p;
    snprintf(name, sizeof name, "col_pool_%s_%s", how->backward ? "backward" : "forward", type);
    COL_TRY(cuda_find_own(context, name, &p->kernel));
    p->description = describe(in);
    int64_t lanes = p->description.wide ? ACCESS / (int64_t)col_plan_dtype_size(to->dtype) : 1;
    COL_TRY(cuda_blocks_of(in->name, numel(to) / lanes, THREADS, &p->blocks));
    if (!how->backward || !p->description.is_max) return NULL;
    cuda_want(context, call,
              (size_t)numel(dy) * (p->description.few_taps ? sizeof(uint8_t) : sizeof(uint32_t)));
    snprintf(name, sizeof name, "col_pool_winners_%s", type);
    COL_TRY(cuda_find_own(context, name, &p->winners));
    return cuda_blocks_of(in->name, numel(dy) / lanes, THREADS, &p->winner_blocks);
}
