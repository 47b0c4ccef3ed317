/* Attention by the kernels of attention.cuh. */
#include "runtime/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

enum { TEAM = 8, DELTA_THREADS = 256, MOST_HEAD = 256 };

typedef struct attention {
    cuda_attention description;
    cudaKernel_t forward, delta, keys, queries;
    dim3 delta_blocks, query_blocks, key_blocks;
    unsigned threads;
    size_t forward_shared, keys_shared, queries_shared;
} attention;

static cuda_heads heads_of(const col_plan_view *view, void *data)
{
    return (cuda_heads){data, view->strides[0], view->strides[1], view->strides[2]};
}

static col_status find(const cuda_context *context, const char *what, const char *type, int size,
                       size_t shared, cudaKernel_t *out)
{
    char name[64];
    snprintf(name, sizeof name, size ? "col_attention_%s_%s_%d" : "col_attention_%s_%s", what, type, size);
    COL_TRY(cuda_find_own(context, name, out));
    if (shared) {
        CUDA_TRY(name, cudaFuncSetAttribute, (const void *)*out, cudaFuncAttributeMaxDynamicSharedMemorySize,
                 (int)shared);
    }
    return NULL;
}

static col_status run_forward(const cuda_context *context, const cuda_call *call)
{
    attention *a = call->state;
    return cuda_launch(context, call->instruction->name, a->forward, a->query_blocks, a->threads,
                       a->forward_shared, (void *[]){&a->description});
}

static col_status run_backward(const cuda_context *context, const cuda_call *call)
{
    attention *a = call->state;
    const char *name = call->instruction->name;
    void *params[] = {&a->description};
    a->description.delta = context->workspace;
    COL_TRY(cuda_launch(context, name, a->delta, a->delta_blocks, DELTA_THREADS, 0, params));
    COL_TRY(cuda_launch(context, name, a->keys, a->key_blocks, a->threads, a->keys_shared, params));
    return cuda_launch(context, name, a->queries, a->query_blocks, a->threads, a->queries_shared, params);
}

/* The shapes of attention.cuh. */
static col_status lay_out(cuda_context *context, cuda_call *call, attention *a)
{
    const cuda_attention *d = &a->description;
    const char *name = call->instruction->name, *type = cuda_type_suffix(call->instruction->reads[0]->dtype);
    int size = d->d <= 64 ? 64 : d->d <= 128 ? 128 : MOST_HEAD;
    size_t tile = size > 128 ? 16 : 32, rows = tile * (size_t)(size + 4), pairs = tile * (tile + 1);
    a->threads = (unsigned)tile * TEAM;
    a->forward_shared = (3 * rows + pairs) * sizeof(float);
    a->keys_shared = (4 * rows + 2 * pairs + 2 * tile) * sizeof(float);
    a->queries_shared = (4 * rows + pairs) * sizeof(float);
    int64_t queries = (d->t + (int64_t)tile - 1) / (int64_t)tile,
            keys = (d->s + (int64_t)tile - 1) / (int64_t)tile;
    if (d->h > 65535 || d->b > 65535 || queries > INT32_MAX || keys > INT32_MAX)
        return col_error_make(COL_BAD_INPUT, "'%s': attention on a GPU takes at most 65535 samples and heads",
                              name);
    a->query_blocks = (dim3){(unsigned)queries, (unsigned)d->h, (unsigned)d->b};
    a->key_blocks = (dim3){(unsigned)keys, (unsigned)d->h, (unsigned)d->b};
    if (call->run == run_forward) return find(context, "forward", type, size, a->forward_shared, &a->forward);
    int64_t lines = (int64_t)d->b * d->h * d->t;
    cuda_want(context, (size_t)lines * sizeof(float));
    COL_TRY(cuda_blocks_of(name, lines * 32, DELTA_THREADS, &a->delta_blocks));
    COL_TRY(find(context, "delta", type, 0, 0, &a->delta));
    COL_TRY(find(context, "keys", type, size, a->keys_shared, &a->keys));
    return find(context, "queries", type, size, a->queries_shared, &a->queries);
}

static col_status check(const col_plan_instruction *in)
{
    Col__Plan__Dtype type = in->reads[0]->dtype;
    bool fine = cuda_type_suffix(type) != NULL;
    for (size_t i = 0; i < in->n_reads + in->n_writes; i++) {
        const col_plan_view *v = i < in->n_reads ? in->reads[i] : in->writes[i - in->n_reads];
        bool is_mask = in->kind_case == COL__PLAN__INSTRUCTION__KIND_ATTENTION && in->attention->masked &&
                       i == (in->attention->backward ? 6u : 3u);
        if (v->n_dims != 4) continue;
        fine &= v->dtype == type;
        if (!is_mask) fine &= (v->strides[3] == 1 || v->dims[3] == 1) && v->dims[3] <= MOST_HEAD;
    }
    if (fine) return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "'%s': attention on a GPU takes floats of one type with dense heads of at most %d",
                          in->name, MOST_HEAD);
}

/* q k v, which all kinds begin with. */
static attention *begin(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    const col_plan_view *q = in->reads[0], *k = in->reads[1];
    attention *a = COL_NEW(context->memory, attention);
    a->description = (cuda_attention){.q = heads_of(q, call->args[0]),
                                      .k = heads_of(k, call->args[1]),
                                      .v = heads_of(in->reads[2], call->args[2]),
                                      .b = (int32_t)q->dims[0],
                                      .t = q->dims[1],
                                      .h = (int32_t)q->dims[2],
                                      .d = (int32_t)q->dims[3],
                                      .s = k->dims[1]};
    call->state = a;
    return a;
}

static col_status prepare_cached(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    attention *a = begin(context, call);
    cuda_attention *d = &a->description;
    d->out = heads_of(in->writes[0], call->args[4]);
    d->position = call->args[3];
    d->causal = 1;
    d->scale = (float)in->attention_cached->scale;
    call->run = run_forward;
    return lay_out(context, call, a);
}

col_status cuda_attention_prepare(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    COL_TRY(check(in));
    if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED) return prepare_cached(context, call);
    const Col__Plan__Attention *how = in->attention;
    attention *a = begin(context, call);
    cuda_attention *d = &a->description;
    size_t fixed = how->backward ? 6 : 3;
    const col_plan_view *lse = how->backward ? in->reads[4] : in->writes[1];
    d->causal = how->causal;
    d->scale = (float)how->scale;
    d->rate = (float)how->rate;
    d->salt = (uint32_t)how->salt;
    d->all_heads = how->heads ? how->heads : d->h;
    d->lse = call->args[how->backward ? 4 : in->n_reads + 1];
    d->lse_batch = lse->strides[0];
    d->lse_head = lse->strides[1];
    d->lse_row = lse->strides[2];
    if (how->masked) {
        d->mask = call->args[fixed];
        memcpy(d->mask_strides, in->reads[fixed]->strides, sizeof d->mask_strides);
    }
    if (how->rate > 0) d->rng = call->args[fixed + (how->masked ? 1 : 0)];
    if (how->heads) d->first_score = call->args[in->n_reads - 1];
    d->out = how->backward ? heads_of(in->reads[3], call->args[3])
                           : heads_of(in->writes[0], call->args[in->n_reads]);
    call->run = how->backward ? run_backward : run_forward;
    if (how->backward) {
        d->dout = heads_of(in->reads[5], call->args[5]);
        d->dq = heads_of(in->writes[0], call->args[in->n_reads]);
        d->dk = heads_of(in->writes[1], call->args[in->n_reads + 1]);
        d->dv = heads_of(in->writes[2], call->args[in->n_reads + 2]);
    }
    return lay_out(context, call, a);
}
