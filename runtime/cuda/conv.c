/* Convolutions and their gradients through cuDNN's graph interface, in fp32 without TF32; where it has no
 * plan that is exact and deterministic (windows that it does not know), by the plain loops of kernels.cu. */
#include "runtime/cuda/graph.h"

#include <stdio.h>
#include <string.h>

enum { THREADS = 256, MOST_AXES = 3 };

/* The descriptors' names for a kind's three tensors, in the order of the instruction's views. */
static const struct kind {
    cudnnBackendDescriptorType_t operation;
    cudnnBackendAttributeName_t tensors[3], window, alpha, beta;
    const char *plain;
} kinds[] = {
    [COL__PLAN__CONVOLUTION_KIND__CONV_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                                   {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
                                                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                                                   "forward"},
    [COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_INPUT] =
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
         {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX},
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
         "input"},
    [COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_WEIGHT] =
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
         {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW},
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
         "weight"},
};

typedef struct convolution {
    graph_plan plan;
    cudaKernel_t plain;
    cuda_convolution description;
    dim3 blocks;
} convolution;

static const int64_t ids[] = {1, 2, 3};

static col_status run_library(const cuda_context *context, const cuda_call *call)
{
    convolution *c = call->state;
    return graph_plan_run(context, call->instruction->name, &c->plan, 3, ids, call->args);
}

static col_status run_plain(const cuda_context *context, const cuda_call *call)
{
    convolution *c = call->state;
    return cuda_launch(context, call->instruction->name, c->plain, c->blocks, THREADS, 0,
                       (void *[]){&c->description, &call->args[2], &call->args[0], &call->args[1]});
}

/* Tensors with at least two spatial axes, which is what the library takes, as they lie in memory. */
static col_status make_tensor(cuda_context *context, const char *name, int64_t id, const col_plan_view *view,
                              cudnnDataType_t type, graph_node *out)
{
    int64_t dims[COL_PLAN_MAX_RANK], strides[COL_PLAN_MAX_RANK], rank = 0;
    for (size_t d = 0; d < view->n_dims; d++) {
        if (d == 2 && view->n_dims == 3) {
            strides[rank] = view->strides[d] * view->dims[d];
            dims[rank++] = 1;
        }
        strides[rank] = view->strides[d];
        dims[rank++] = view->dims[d];
    }
    return graph_tensor(context, name, id, type, rank, dims, strides, out);
}

static col_status make_window(cuda_context *context, const char *name, const Col__Plan__Window *w,
                              graph_node *out)
{
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t rank = (int64_t)COL_MAX(w->n_strides, (size_t)2), first = rank - (int64_t)w->n_strides;
    int64_t stride[MOST_AXES], low[MOST_AXES], high[MOST_AXES], dilation[MOST_AXES];
    for (int64_t d = 0; d < rank; d++) {
        stride[d] = d < first ? 1 : w->strides[d - first];
        low[d] = d < first ? 0 : w->low[d - first];
        high[d] = d < first ? 0 : w->high[d - first];
        dilation[d] = d < first ? 1 : w->dilations[d - first];
    }
    COL_TRY(graph_make(context, name, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out));
    COL_TRY(graph_set(name, *out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &rank));
    COL_TRY(graph_set(name, *out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    COL_TRY(graph_set(name, *out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    COL_TRY(graph_set(name, *out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, rank, stride));
    COL_TRY(graph_set(name, *out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, rank, low));
    COL_TRY(graph_set(name, *out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, rank, high));
    COL_TRY(graph_set(name, *out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, rank, dilation));
    return graph_finish(name, *out);
}

static col_status find_plan(cuda_context *context, const col_plan_instruction *in, cudnnDataType_t type,
                            graph_plan *out, bool *out_found)
{
    const struct kind *kind = &kinds[in->convolution->kind];
    const col_plan_view *views[] = {in->reads[0], in->reads[1], in->writes[0]};
    graph_node operation, tensors[3], window;
    float one = 1, zero = 0;
    for (int i = 0; i < 3; i++) COL_TRY(make_tensor(context, in->name, ids[i], views[i], type, &tensors[i]));
    COL_TRY(make_window(context, in->name, in->convolution->window, &window));
    COL_TRY(graph_make(context, in->name, kind->operation, &operation));
    for (int i = 0; i < 3; i++)
        COL_TRY(
            graph_set(in->name, operation, kind->tensors[i], CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &tensors[i]));
    COL_TRY(graph_set(in->name, operation, kind->window, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &window));
    COL_TRY(graph_set(in->name, operation, kind->alpha, CUDNN_TYPE_FLOAT, 1, &one));
    COL_TRY(graph_set(in->name, operation, kind->beta, CUDNN_TYPE_FLOAT, 1, &zero));
    *out_found = false;
    if (cudnnBackendFinalize(operation)) return NULL; /* a window that the library does not know */
    return graph_plan_find(context, in->name, operation, type == CUDNN_DATA_FLOAT, out, out_found);
}

static cuda_image image_of(const col_plan_view *view)
{
    cuda_image image = {view->strides[0], view->strides[1], {0}};
    for (size_t d = 2, first = MOST_AXES - (view->n_dims - 2); d < view->n_dims; d++)
        image.at[first + d - 2] = view->strides[d];
    return image;
}

/* x [n, c, ...], w [o, c / groups, ...], y [n, o, ...] */
static cuda_convolution describe(const col_plan_instruction *in)
{
    const col_plan_view *a = in->reads[0], *b = in->reads[1], *c = in->writes[0], *x = a, *w = b, *y = c;
    const Col__Plan__Window *window = in->convolution->window;
    if (in->convolution->kind == COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_INPUT) y = a, x = c;
    if (in->convolution->kind == COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_WEIGHT) y = b, w = c;
    cuda_convolution d = {.x_strides = image_of(x),
                          .w_strides = image_of(w),
                          .y_strides = image_of(y),
                          .count = col_plan_numel(c->n_dims, c->dims),
                          .n = x->dims[0],
                          .c = x->dims[1],
                          .o = y->dims[1],
                          .groups = in->convolution->groups};
    size_t first = MOST_AXES - window->n_strides;
    for (size_t i = 0; i < MOST_AXES; i++) {
        bool is = i >= first;
        size_t axis = i - first;
        d.x[i] = is ? x->dims[2 + axis] : 1;
        d.y[i] = is ? y->dims[2 + axis] : 1;
        d.kernel[i] = is ? w->dims[2 + axis] : 1;
        d.stride[i] = is ? window->strides[axis] : 1;
        d.low[i] = is ? window->low[axis] : 0;
        d.dilation[i] = is ? window->dilations[axis] : 1;
    }
    return d;
}

col_status cuda_convolution_prepare(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    cudnnDataType_t type;
    convolution *c = COL_NEW(context->memory, convolution);
    call->state = c;
    if (!graph_type(in->writes[0]->dtype, &type) || in->writes[0]->n_dims > MOST_AXES + 2) {
        return col_error_make(COL_BAD_INPUT,
                              "'%s': convolutions on a GPU take floats with at most %d spatial axes",
                              in->name, MOST_AXES);
    }
    bool found;
    COL_TRY(find_plan(context, in, type, &c->plan, &found));
    call->run = run_library;
    if (found) cuda_want(context, call, c->plan.workspace);
    if (found) return NULL;
    char name[64];
    snprintf(name, sizeof name, "col_convolution_%s_%s", kinds[in->convolution->kind].plain,
             cuda_type_suffix(in->writes[0]->dtype));
    c->description = describe(in);
    call->run = run_plain;
    COL_TRY(cuda_find_own(context, name, &c->plain));
    return cuda_blocks_of(in->name, c->description.count, THREADS, &c->blocks);
}
