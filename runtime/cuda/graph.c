#include "runtime/cuda/graph.h"

enum { MOST_CONFIGURATIONS = 64 };

col_status graph_make(cuda_context *context, const char *where, cudnnBackendDescriptorType_t type,
                      graph_node *out)
{
    if (!context->dnn) {
        CUDA_DNN_TRY(where, cudnnCreate, &context->dnn);
        CUDA_DNN_TRY(where, cudnnSetStream, context->dnn, context->stream);
    }
    CUDA_DNN_TRY(where, cudnnBackendCreateDescriptor, type, out);
    col_vec_push(context->memory, &context->nodes, *out);
    return NULL;
}

col_status graph_set(const char *where, graph_node node, cudnnBackendAttributeName_t name,
                     cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    CUDA_DNN_TRY(where, cudnnBackendSetAttribute, node, name, type, count, values);
    return NULL;
}

col_status graph_finish(const char *where, graph_node node)
{
    CUDA_DNN_TRY(where, cudnnBackendFinalize, node);
    return NULL;
}

bool graph_type(Col__Plan__Dtype dtype, cudnnDataType_t *out)
{
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: *out = CUDNN_DATA_FLOAT; return true;
    case COL__PLAN__DTYPE__BF16: *out = CUDNN_DATA_BFLOAT16; return true;
    case COL__PLAN__DTYPE__F16: *out = CUDNN_DATA_HALF; return true;
    default: return false;
    }
}

col_status graph_tensor(cuda_context *context, const char *where, int64_t id, cudnnDataType_t type,
                        int64_t rank, const int64_t *dims, const int64_t *strides, graph_node *out)
{
    int64_t alignment = 16;
    COL_TRY(graph_make(context, where, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
    COL_TRY(graph_set(where, *out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id));
    COL_TRY(graph_set(where, *out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    COL_TRY(graph_set(where, *out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, rank, dims));
    COL_TRY(graph_set(where, *out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, rank, strides));
    COL_TRY(graph_set(where, *out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment));
    return graph_finish(where, *out);
}

/* Whether an engine's arithmetic will do. */
static col_status check_engine(const char *where, graph_node configuration, graph_node engine, bool exact,
                               bool *out_fine)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    CUDA_DNN_TRY(where, cudnnBackendGetAttribute, configuration, CUDNN_ATTR_ENGINECFG_ENGINE,
                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &engine);
    CUDA_DNN_TRY(where, cudnnBackendGetAttribute, engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                 CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes);
    *out_fine = true;
    for (int64_t i = 0; i < count; i++) {
        switch (notes[i]) {
        case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC: *out_fine = false; break;
        case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP: break;
        case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
        default: *out_fine &= !exact; break;
        }
    }
    return NULL;
}

/* Makes a plan of the configuration; one that the device does not take is not an error. */
static col_status try_configuration(cuda_context *context, const char *where, graph_node configuration,
                                    graph_plan *out, bool *out_found)
{
    int64_t bytes = 0, count = 0;
    COL_TRY(graph_make(context, where, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &out->plan));
    COL_TRY(
        graph_set(where, out->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &context->dnn));
    COL_TRY(graph_set(where, out->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &configuration));
    *out_found = cudnnBackendFinalize(out->plan) == CUDNN_STATUS_SUCCESS;
    if (!*out_found) return NULL;
    CUDA_DNN_TRY(where, cudnnBackendGetAttribute, out->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                 CUDNN_TYPE_INT64, 1, &count, &bytes);
    *out_found = bytes <= (int64_t)1 << 30; /* the workspace is beside what the plan promises */
    if (!*out_found) return NULL;
    out->workspace = (size_t)bytes;
    return graph_make(context, where, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &out->pack);
}

static col_status search(cuda_context *context, const char *where, graph_node graph,
                         cudnnBackendHeurMode_t mode, bool exact, graph_plan *out, bool *out_found)
{
    graph_node heuristic, engine, configurations[MOST_CONFIGURATIONS];
    int64_t count = 0;
    COL_TRY(graph_make(context, where, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic));
    COL_TRY(graph_set(where, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                      1, &graph));
    COL_TRY(graph_set(where, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    if (cudnnBackendFinalize(heuristic)) return NULL;
    COL_TRY(graph_make(context, where, CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    for (int i = 0; i < MOST_CONFIGURATIONS; i++)
        COL_TRY(graph_make(context, where, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configurations[i]));
    CUDA_DNN_TRY(where, cudnnBackendGetAttribute, heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                 CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_CONFIGURATIONS, &count, configurations);
    for (int64_t i = 0; i < COL_MIN(count, (int64_t)MOST_CONFIGURATIONS) && !*out_found; i++) {
        bool fine = false;
        COL_TRY(check_engine(where, configurations[i], engine, exact, &fine));
        if (fine) COL_TRY(try_configuration(context, where, configurations[i], out, out_found));
    }
    return NULL;
}

col_status graph_plan_find(cuda_context *context, const char *where, graph_node operation, bool exact,
                           graph_plan *out, bool *out_found)
{
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    graph_node graph;
    *out_found = false;
    *out = (graph_plan){0};
    COL_TRY(graph_make(context, where, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &graph));
    COL_TRY(graph_set(where, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &context->dnn));
    COL_TRY(
        graph_set(where, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &operation));
    if (cudnnBackendFinalize(graph)) return NULL;
    for (size_t i = 0; i < COL_COUNT(modes) && !*out_found; i++)
        COL_TRY(search(context, where, graph, modes[i], exact, out, out_found));
    return NULL;
}

static col_status make_pack(const cuda_context *context, const char *where, graph_plan *plan, int64_t count,
                            const int64_t *ids, void *const *addresses)
{
    void *workspace = context->workspace;
    COL_TRY(graph_set(where, plan->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids));
    COL_TRY(graph_set(where, plan->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
                      addresses));
    COL_TRY(
        graph_set(where, plan->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace));
    return graph_finish(where, plan->pack);
}

col_status graph_plan_run(const cuda_context *context, const char *where, graph_plan *plan, int64_t count,
                          const int64_t *ids, void *const *addresses)
{
    if (!plan->is_packed) COL_TRY(make_pack(context, where, plan, count, ids, addresses));
    plan->is_packed = true;
    CUDA_DNN_TRY(where, cudnnBackendExecute, context->dnn, plan->plan, plan->pack);
    return NULL;
}
