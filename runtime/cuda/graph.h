/* cuDNN's graph interface: descriptors are made, given attributes and finished; a graph of operations becomes
 * a plan, which runs on addresses. Descriptors belong to the context and go with it. */
#ifndef COL_RUNTIME_CUDA_GRAPH_H
#define COL_RUNTIME_CUDA_GRAPH_H

#include "runtime/cuda/cuda.h"

typedef cudnnBackendDescriptor_t graph_node;

COL_MUST_USE col_status graph_make(cuda_context *context, const char *where,
                                   cudnnBackendDescriptorType_t type, graph_node *out);
COL_MUST_USE col_status graph_set(const char *where, graph_node node, cudnnBackendAttributeName_t name,
                                  cudnnBackendAttributeType_t type, int64_t count, const void *values);
COL_MUST_USE col_status graph_finish(const char *where, graph_node node);

/* A tensor with the number by which its address is given. */
COL_MUST_USE col_status graph_tensor(cuda_context *context, const char *where, int64_t id,
                                     cudnnDataType_t type, int64_t rank, const int64_t *dims,
                                     const int64_t *strides, graph_node *out);
bool graph_type(Col__Plan__Dtype dtype, cudnnDataType_t *out);

typedef struct graph_plan {
    graph_node plan, pack; /* pack: the addresses, which are there when it first runs */
    bool is_packed;
    size_t workspace; /* bytes */
} graph_plan;

/* The first plan of the library's heuristic whose sums have a fixed order and, with `exact`, whose arithmetic
 * is fp32's.
 * `*out_found` is false where there is none. */
COL_MUST_USE col_status graph_plan_find(cuda_context *context, const char *where, graph_node operation,
                                        bool exact, graph_plan *out, bool *out_found);
COL_MUST_USE col_status graph_plan_run(const cuda_context *context, const char *where, graph_plan *plan,
                                       int64_t count, const int64_t *ids, void *const *addresses);

#endif
