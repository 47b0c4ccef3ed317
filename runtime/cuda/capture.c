/* A program as one CUDA graph, whose edges are what its instructions need of each other, so that small ones
 * run beside others: the norms of all gradients together, a bias's gradient beside a product.
 *
 * Instruction i waits for an earlier j where one of them writes bytes of the arena that the other reads or
 * writes, or both use the workspace, or neither is small: two that fill the device gain nothing from one
 * another, and products, whose blocks stay on their multiprocessors, lose. Edges that others imply are left
 * out. What a strided view leaves out between its elements counts as its own. Results do not depend on what
 * runs at once.
 *
 * Collectives are on a stream of their own, on which they keep their order; those that join are launched by the last
 * of them, and wait for what any of them needs. */
#include "runtime/cuda/cuda.h"

#include <string.h>

enum { WORD = 64 };

typedef struct span {
    uint64_t begin, end; /* bytes of the arena */
} span;

typedef struct spans {
    size_t reads, all; /* reads first, then writes */
    span *spans;
} spans;

static span span_of(const col_plan_view *view)
{
    int64_t last = 0;
    for (size_t d = 0; d < view->n_dims; d++) {
        if (!view->dims[d]) return (span){view->offset, view->offset};
        last += (view->dims[d] - 1) * view->strides[d];
    }
    return (span){view->offset, view->offset + (uint64_t)(last + 1) * col_plan_dtype_size(view->dtype)};
}

static spans spans_of(col_arena *arena, const col_plan_instruction *in)
{
    spans s = {in->n_reads, in->n_reads + in->n_writes, NULL};
    s.spans = COL_NEW_ARRAY(arena, span, s.all);
    for (size_t i = 0; i < s.all; i++)
        s.spans[i] = span_of(i < in->n_reads ? in->reads[i] : in->writes[i - in->n_reads]);
    return s;
}

static bool conflict(const spans *a, const spans *b)
{
    for (size_t i = 0; i < a->all; i++) {
        for (size_t j = i < a->reads ? b->reads : 0; j < b->all; j++) {
            if (a->spans[i].begin < b->spans[j].end && b->spans[j].begin < a->spans[i].end) return true;
        }
    }
    return false;
}

/* What capturing knows of the instructions so far. */
typedef struct capturing {
    const cuda_context *context;
    const char *where;
    col_arena *scratch;
    size_t count, words;
    const cuda_call *calls;
    spans *spans;
    uint64_t *before; /* by instruction, a bit for each that it waits for, be it through others */
    struct ends {
        size_t count;
        cudaGraphNode_t *nodes; /* that end the instruction */
    } * ends;
    bool *is_awaited;
    COL_VEC(cudaGraphNode_t) wanted;
} capturing;

static void want_end(capturing *c, size_t i)
{
    c->is_awaited[i] = true;
    for (size_t n = 0; n < c->ends[i].count; n++) {
        bool is_there = false;
        for (size_t w = 0; w < c->wanted.len; w++) is_there |= c->wanted.data[w] == c->ends[i].nodes[n];
        if (!is_there) col_vec_push(c->scratch, &c->wanted, c->ends[i].nodes[n]);
    }
}

/* Instructions that launch nothing have the ends of those that they wait for. */
static void find_wanted(capturing *c, size_t i)
{
    uint64_t *before = c->before + i * c->words;
    if (!i || !c->calls[i - 1].joins_next) c->wanted.len = 0;
    for (size_t j = i; j-- > 0;) {
        if (before[j / WORD] >> j % WORD & 1) continue;
        const cuda_call *a = &c->calls[i], *b = &c->calls[j];
        bool apart = (a->uses_workspace && b->uses_workspace) || (!a->is_small && !b->is_small);
        if (!apart && !conflict(&c->spans[i], &c->spans[j])) continue;
        for (size_t w = 0; w < c->words; w++) before[w] |= c->before[j * c->words + w];
        before[j / WORD] |= UINT64_C(1) << j % WORD;
        want_end(c, j);
    }
}

static col_status set_wanted(capturing *c)
{
    CUDA_TRY(c->where, cudaStreamUpdateCaptureDependencies, c->context->stream, c->wanted.data, NULL,
             c->wanted.len, cudaStreamSetCaptureDependencies);
    return NULL;
}

static col_status capture_call(capturing *c, size_t i)
{
    enum cudaStreamCaptureStatus state;
    const cudaGraphNode_t *nodes;
    const cudaGraphEdgeData *edges; /* without a place for them, those that are not plain are an error */
    size_t count;
    c->spans[i] = spans_of(c->scratch, c->calls[i].instruction);
    find_wanted(c, i);
    if (c->calls[i].joins_next) return NULL;
    COL_TRY(set_wanted(c));
    COL_TRY(c->calls[i].run(c->context, &c->calls[i]));
    CUDA_TRY(c->where, cudaStreamGetCaptureInfo, cuda_stream_of(c->context, &c->calls[i]), &state, NULL, NULL,
             &nodes, &edges, &count);
    struct ends ends = {count, col_arena_copy(c->scratch, nodes, count * sizeof *nodes)};
    c->ends[i] = ends;
    for (; i && c->calls[i - 1].joins_next; i--) c->ends[i - 1] = ends;
    return NULL;
}

static col_status capture_all(capturing *c)
{
    for (size_t i = 0; i < c->count; i++) COL_TRY(capture_call(c, i));
    c->wanted.len = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (!c->is_awaited[i]) want_end(c, i);
    }
    return set_wanted(c);
}

col_status cuda_capture(const cuda_context *context, const col_plan_program *program, const cuda_call *calls,
                        cudaGraphExec_t *out)
{
    cudaGraph_t graph = NULL;
    col_arena *scratch = col_arena_create();
    size_t count = program->n_instructions, words = (count + WORD - 1) / WORD;
    capturing c = {.context = context,
                   .where = program->name,
                   .scratch = scratch,
                   .count = count,
                   .words = words,
                   .calls = calls};
    c.spans = COL_NEW_ARRAY(scratch, spans, count);
    c.before = COL_NEW_ARRAY(scratch, uint64_t, count * words);
    c.ends = COL_NEW_ARRAY(scratch, struct ends, count);
    c.is_awaited = COL_NEW_ARRAY(scratch, bool, count);
    cudaError_t error = cudaStreamBeginCapture(context->stream, cudaStreamCaptureModeThreadLocal);
    col_status status = error ? cuda_failure(program->name, "cudaStreamBeginCapture", error) : NULL;
    if (!status) {
        status = capture_all(&c);
        error = cudaStreamEndCapture(context->stream, &graph);
        if (!status && error) status = cuda_failure(program->name, "cudaStreamEndCapture", error);
    }
    if (!status) {
        error = cudaGraphInstantiate(out, graph, 0);
        if (error) status = cuda_failure(program->name, "cudaGraphInstantiate", error);
    }
    if (graph) cudaGraphDestroy(graph);
    col_arena_destroy(scratch);
    return status;
}
