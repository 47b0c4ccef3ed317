/* Attention by the kernels of attention_wgmma.cuh (compute capability 9.0) or attention_mma.cuh, which take
 * bf16 or f16 operands in rows of whole 16-byte words, and else of attention.cuh. */
#include "runtime/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

enum { TEAM = 8, DELTA_THREADS = 256, DELTA_EACH = 8, MOST_HEAD = 256, MOST_TENSOR_HEAD = 128 };

typedef enum family { PLAIN, TENSOR, HOPPER } family;

/* Of one kernel: rows of a block, its threads, bytes of shared memory. */
typedef struct shape {
    size_t rows, shared;
    unsigned threads;
    cudaKernel_t kernel;
    dim3 blocks;
} shape;

typedef struct attention {
    cuda_attention description;
    shape forward, keys, queries;
    cudaKernel_t delta;
    dim3 delta_blocks;
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

static col_status run_shape(const cuda_context *context, const cuda_call *call, const shape *s, void **params)
{
    return cuda_launch(context, call->instruction->name, s->kernel, s->blocks, s->threads, s->shared, params);
}

static col_status run_forward(const cuda_context *context, const cuda_call *call)
{
    attention *a = call->state;
    return run_shape(context, call, &a->forward, (void *[]){&a->description});
}

static col_status run_backward(const cuda_context *context, const cuda_call *call)
{
    attention *a = call->state;
    void *params[] = {&a->description};
    a->description.delta = context->workspace;
    COL_TRY(
        cuda_launch(context, call->instruction->name, a->delta, a->delta_blocks, DELTA_THREADS, 0, params));
    COL_TRY(run_shape(context, call, &a->keys, params));
    return run_shape(context, call, &a->queries, params);
}

/* The shapes of attention.cuh. */
static void shape_plainly(attention *a, int size)
{
    size_t tile = size > 128 ? 16 : 32, row = (size_t)size + 4, pairs = tile * (tile + 1);
    unsigned threads = (unsigned)tile * TEAM;
    a->forward = (shape){tile, (3 * tile * row + pairs) * sizeof(float), threads, 0, {0}};
    a->keys = (shape){tile, (4 * tile * row + 2 * pairs + 2 * tile) * sizeof(float), threads, 0, {0}};
    a->queries = (shape){tile, (4 * tile * row + pairs) * sizeof(float), threads, 0, {0}};
}

/* The shapes of attention_mma.cuh. */
static void shape_for_tensor_cores(attention *a, int size)
{
    enum { ELEMENT = 2, KEYS = 64, ROWS = 64 };
    size_t row = (size_t)size + 8, others = size > 64 ? 32 : 64;
    a->forward = (shape){ROWS, (ROWS + 4 * KEYS) * row * ELEMENT, 128, 0, {0}};
    a->queries = (shape){ROWS, (2 * ROWS + 4 * others) * row * ELEMENT, 128, 0, {0}};
    a->keys = a->queries;
    a->keys.shared += 4 * others * sizeof(float);
}

/* The shapes of attention_wgmma.cuh. */
static void shape_for_hopper(attention *a, int size)
{
    enum { ELEMENT = 2, ROWS = 64, FORWARD_ROWS = 128 };
    size_t tile = (size_t)(ROWS * size * ELEMENT), stages = size > 64 ? 2 : 3, ring = stages * 2 * tile;
    a->forward = (shape){FORWARD_ROWS, 2 * tile + ring, 256, 0, {0}};
    a->queries = (shape){ROWS, 2 * tile + ring, 128, 0, {0}};
    a->keys = a->queries;
    a->keys.shared += stages * 2 * ROWS * sizeof(float);
}

static bool is_whole_words(const col_plan_view *view)
{
    enum { WORD = 16, ELEMENTS = 8 };
    if (view->n_dims != 4) return true;
    bool whole = view->offset % WORD == 0 && view->dims[3] % ELEMENTS == 0 && view->strides[3] == 1;
    for (int d = 0; d < 3; d++) whole &= view->dims[d] == 1 || view->strides[d] % ELEMENTS == 0;
    return whole;
}

static size_t mask_index(const col_plan_instruction *in)
{
    if (in->kind_case != COL__PLAN__INSTRUCTION__KIND_ATTENTION || !in->attention->masked) return SIZE_MAX;
    return in->attention->backward ? 6 : 3;
}

static bool suits_tensor_cores(const cuda_context *context, const col_plan_instruction *in)
{
    bool suits = col_plan_dtype_size(in->reads[0]->dtype) == 2 && in->reads[0]->dims[3] <= MOST_TENSOR_HEAD;
    attention largest;
    shape_for_tensor_cores(&largest, in->reads[0]->dims[3] <= 64 ? 64 : MOST_TENSOR_HEAD);
    suits &= largest.forward.shared <= context->shared_bytes && largest.keys.shared <= context->shared_bytes;
    for (size_t i = 0; i < in->n_reads + in->n_writes && suits; i++) {
        if (i != mask_index(in))
            suits = is_whole_words(i < in->n_reads ? in->reads[i] : in->writes[i - in->n_reads]);
    }
    return suits;
}

static col_status make_shape(const cuda_context *context, const cuda_call *call, const char *what,
                             const char *type, int size, int64_t rows, shape *s)
{
    const attention *a = call->state;
    int64_t blocks = (rows + (int64_t)s->rows - 1) / (int64_t)s->rows;
    if (a->description.h > 65535 || a->description.b > 65535 || blocks > INT32_MAX) {
        return col_error_make(COL_BAD_INPUT, "'%s': attention on a GPU takes at most 65535 samples and heads",
                              call->instruction->name);
    }
    s->blocks = (dim3){(unsigned)blocks, (unsigned)a->description.h, (unsigned)a->description.b};
    return find(context, what, type, size, s->shared, &s->kernel);
}

static family choose_family(const cuda_context *context, const col_plan_instruction *in)
{
    if (!suits_tensor_cores(context, in)) return PLAIN;
    return context->capability == 90 ? HOPPER : TENSOR;
}

/* Names are col_attention_WHAT_TYPE_SIZE. */
static col_status lay_out(cuda_context *context, cuda_call *call, attention *a)
{
    const cuda_attention *d = &a->description;
    const col_plan_instruction *in = call->instruction;
    family family = choose_family(context, in);
    int size = d->d <= 64 ? 64 : d->d <= 128 ? 128 : MOST_HEAD;
    const char *type = cuda_type_suffix(in->reads[0]->dtype);
    const char *simple = d->mask || d->rng || d->scale <= 0 ? "general" : "plain";
    static const char *const names[][3] = {[PLAIN] = {"forward", "keys", "queries"},
                                           [TENSOR] = {"tensor_forward", "tensor_keys", "tensor_queries"},
                                           [HOPPER] = {"hopper_forward", "hopper_keys", "hopper_queries"}};
    const char *const *what = names[family], *suffix = type;
    if (family == HOPPER) suffix = col_arena_printf(context->memory, "%s_%s", type, simple);
    void (*const shapes[])(attention *, int) = {shape_plainly, shape_for_tensor_cores, shape_for_hopper};
    shapes[family](a, size);
    if (call->run == run_forward) return make_shape(context, call, what[0], suffix, size, d->t, &a->forward);
    int64_t lines = (int64_t)d->b * d->h * d->t, threads = family == HOPPER ? size / DELTA_EACH : 32;
    cuda_want(context, call, (size_t)lines * 2 * sizeof(float));
    COL_TRY(cuda_blocks_of(in->name, lines * threads, DELTA_THREADS, &a->delta_blocks));
    COL_TRY(family == HOPPER ? find(context, "hopper_delta", type, size, 0, &a->delta)
                             : find(context, "delta", type, 0, 0, &a->delta));
    COL_TRY(make_shape(context, call, what[1], suffix, size, d->s, &a->keys));
    return make_shape(context, call, what[2], suffix, size, d->t, &a->queries);
}

static col_status check(const col_plan_instruction *in)
{
    Col__Plan__Dtype type = in->reads[0]->dtype;
    bool fine =
        type == COL__PLAN__DTYPE__F32 || type == COL__PLAN__DTYPE__BF16 || type == COL__PLAN__DTYPE__F16;
    for (size_t i = 0; i < in->n_reads + in->n_writes; i++) {
        const col_plan_view *v = i < in->n_reads ? in->reads[i] : in->writes[i - in->n_reads];
        if (v->n_dims != 4) continue;
        fine &= v->dtype == type;
        if (i != mask_index(in)) fine &= (v->strides[3] == 1 || v->dims[3] == 1) && v->dims[3] <= MOST_HEAD;
    }
    if (fine) return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "'%s': attention on a GPU takes f32, bf16 or f16 with dense heads of at most %d",
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
