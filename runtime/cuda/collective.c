/* Collectives, their waits, and blocks of a rank's own. NCCL takes dense tensors in which the pieces of members lie one
 * after another (runtime/pieces.h). Where a tensor is cut along another dimension than the outermost, pieces are packed
 * before and unpacked after, by one copy for all members. */
#include <string.h>

#include "runtime/cuda/link.h"

enum { THREADS = 256 };

/* Those that join (col_plan_joins) are a list; its last one launches them all, and its event is theirs. */
typedef struct collective {
    const cuda_call *call;
    uint32_t mark; /* at its beginning */
    cudaEvent_t done;
    struct collective *first, *next; /* of those that run together */
    bool packs, unpacks, zeros;      /* zeros: nobody sends to this rank */
    size_t place;                    /* of its own in the pieces' memory */
    size_t packed_bytes;             /* what the packed operand takes of it, before the result */
    size_t piece_bytes;              /* and both */
    size_t bytes;                    /* of the operand */
    cuda_copy pack, unpack;
    cudaKernel_t copy;
} collective;

static int64_t count_of(const col_plan_view *view)
{
    return col_plan_numel(view->n_dims, view->dims);
}

static void push(cuda_copy *walk, int64_t size, int64_t to, int64_t from)
{
    if (size == 1) return;
    COL_ASSERT(walk->rank < CUDA_MOST_RANK);
    walk->dims[walk->rank] = size;
    walk->to_strides[walk->rank] = to;
    walk->from_strides[walk->rank++] = from;
    walk->count *= size;
}

/* The pieces of n members at once. `packs`: into dense memory; else out of it. */
static cuda_copy walk_pieces(const col_piece *piece, int64_t n, bool packs)
{
    cuda_copy walk = {.element = (int32_t)piece->element, .count = 1};
    int64_t dense = col_piece_numel(piece);
    push(&walk, n, packs ? dense : piece->to_step, packs ? piece->from_step : dense);
    for (size_t d = 0; d < piece->rank; d++) {
        dense /= piece->dims[d];
        push(&walk, piece->dims[d], packs ? dense : piece->to_strides[d],
             packs ? piece->from_strides[d] : dense);
    }
    push(&walk, piece->run, 1, 1);
    return walk;
}

/* Pieces are one run, and lie one after another. */
static bool is_packed(const col_piece *piece, int64_t step)
{
    return !piece->rank && step == piece->run;
}

static size_t bytes_of(const col_plan_view *view)
{
    return (size_t)count_of(view) * col_plan_dtype_size(view->dtype);
}

static size_t rounded_up(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

static void plan_packing(collective *c, const col_plan_instruction *in, const col_group *group)
{
    col_piece piece = col_piece_of(in, group->size);
    c->packs = piece.from_step && !is_packed(&piece, piece.from_step);
    c->unpacks = piece.to_step && !is_packed(&piece, piece.to_step);
    if (c->packs) c->pack = walk_pieces(&piece, group->size, true);
    if (c->unpacks) c->unpack = walk_pieces(&piece, group->size, false);
}

static col_status copy(const cuda_context *context, const collective *c, const cuda_copy *walk, void *to,
                       const void *from)
{
    const col_plan_instruction *in = c->call->instruction;
    cuda_context beside = *context;
    dim3 blocks;
    beside.stream = context->link->stream;
    void *params[] = {(void *)(uintptr_t)walk, &to, &from};
    COL_TRY(cuda_blocks_of(in->name, walk->count, THREADS, &blocks));
    return cuda_launch(&beside, in->name, c->copy, blocks, THREADS, 0, params);
}

/* The operand and the result as NCCL takes them. */
static char *operand_of(const cuda_link *link, const collective *c)
{
    return c->packs ? (char *)link->pieces + c->place : c->call->args[0];
}

static char *result_of(const cuda_link *link, const collective *c)
{
    return c->unpacks ? (char *)link->pieces + c->place + c->packed_bytes : c->call->args[1];
}

static col_status enqueue(const cuda_context *context, const collective *c)
{
    const cuda_link *link = context->link;
    const col_plan_instruction *in = c->call->instruction;
    return link->type->run(link->nccl, in, cuda_link_place(link, c->first->mark), operand_of(link, c),
                           result_of(link, c), link->stream);
}

/* As one operation of NCCL. */
static col_status enqueue_all(const cuda_context *context, const collective *last)
{
    const cuda_link *link = context->link;
    if (last == last->first) return enqueue(context, last);
    col_status status = link->type->begin(link->nccl);
    for (const collective *c = last->first; c && !status; c = c->next) status = enqueue(context, c);
    col_status end =
        link->type->end(link->nccl, last->call->instruction, cuda_link_place(link, last->first->mark));
    if (!status) return end;
    col_error_free(end);
    return status;
}

static col_status run_collective(const cuda_context *context, const cuda_call *call)
{
    const collective *last = call->state;
    const col_plan_instruction *in = call->instruction;
    const cuda_link *link = context->link;
    if (call->joins_next) return NULL;
    CUDA_TRY(in->name, cudaEventRecord, link->ready, context->stream);
    CUDA_TRY(in->name, cudaStreamWaitEvent, link->stream, link->ready, 0);
    COL_TRY(cuda_link_mark(context, in->name, last->first->mark));
    for (const collective *c = last->first; c; c = c->next) {
        if (c->packs) COL_TRY(copy(context, c, &c->pack, operand_of(link, c), c->call->args[0]));
        if (c->zeros) CUDA_TRY(in->name, cudaMemsetAsync, c->call->args[1], 0, c->bytes, link->stream);
    }
    COL_TRY(enqueue_all(context, last));
    for (const collective *c = last->first; c; c = c->next) {
        if (c->unpacks) COL_TRY(copy(context, c, &c->unpack, c->call->args[1], result_of(link, c)));
    }
    COL_TRY(cuda_link_mark(context, in->name, last->mark + 1));
    CUDA_TRY(in->name, cudaEventRecord, last->done, link->stream);
    if (!in->collective->started) CUDA_TRY(in->name, cudaStreamWaitEvent, context->stream, last->done, 0);
    return NULL;
}

cudaStream_t cuda_stream_of(const cuda_context *context, const cuda_call *call)
{
    return call->run == run_collective ? context->link->stream : context->stream;
}

static void join(const col_plan_program *program, cuda_call *calls, size_t index)
{
    collective *c = calls[index].state;
    c->first = c;
    if (!col_plan_joins(program, index)) return;
    collective *before = calls[index - 1].state;
    calls[index - 1].joins_next = true;
    before->next = c;
    c->first = before->first;
    c->place = before->place + before->piece_bytes;
}

col_status cuda_collective_prepare(cuda_context *context, const col_plan_program *program, cuda_call *calls,
                                   size_t index)
{
    cuda_call *call = &calls[index];
    const col_plan_instruction *in = call->instruction;
    const Col__Plan__Collective *how = in->collective;
    cuda_link *link = context->link;
    collective *c = COL_NEW(context->memory, collective);
    col_group group = col_group_of(&link->comm->mesh, link->comm->rank, how->n_axes, how->axes);
    c->call = call;
    c->mark = 2 * (uint32_t)index + 1;
    c->bytes = bytes_of(in->reads[0]);
    if (how->kind == COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE)
        c->zeros = col_group_partner(&group, -how->shift) < 0;
    else if (how->kind != COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE)
        plan_packing(c, in, &group);
    if (c->packs) c->packed_bytes = rounded_up(c->bytes);
    c->piece_bytes = c->packed_bytes + (c->unpacks ? rounded_up(bytes_of(in->writes[0])) : 0);
    call->state = c;
    call->run = run_collective;
    call->is_small = true; /* goes on beside anything */
    join(program, calls, index);
    link->piece_bytes = COL_MAX(link->piece_bytes, c->place + c->piece_bytes);
    if (c->packs || c->unpacks) COL_TRY(cuda_find_own(context, "col_copy", &c->copy));
    CUDA_TRY(in->name, cudaEventCreateWithFlags, &c->done, cudaEventDisableTiming);
    col_vec_push(context->memory, &link->events, c->done);
    return NULL;
}

static col_status run_wait(const cuda_context *context, const cuda_call *call)
{
    const collective *c = call->state;
    while (c->next) c = c->next;
    CUDA_TRY(call->instruction->name, cudaStreamWaitEvent, context->stream, c->done, 0);
    return NULL;
}

col_status cuda_wait_prepare(const cuda_call *calls, cuda_call *call)
{
    call->state = calls[call->instruction->wait->start].state;
    call->run = run_wait;
    call->is_small = true;
    return NULL;
}

typedef struct block {
    cuda_copy walk;
    int64_t start; /* bytes */
    cudaKernel_t copy;
    dim3 blocks;
} block;

static col_status run_block(const cuda_context *context, const cuda_call *call)
{
    const block *b = call->state;
    void *from = (char *)call->args[0] + b->start, *to = call->args[1];
    void *params[] = {(void *)(uintptr_t)&b->walk, &to, &from};
    return cuda_launch(context, call->instruction->name, b->copy, b->blocks, THREADS, 0, params);
}

col_status cuda_shard_prepare(cuda_context *context, cuda_call *call)
{
    const col_plan_instruction *in = call->instruction;
    const col_comm *comm = context->link->comm;
    col_group group = col_group_of(&comm->mesh, comm->rank, in->shard->n_axes, in->shard->axes);
    col_piece piece = col_piece_of(in, group.size);
    block *b = COL_NEW(context->memory, block);
    b->walk = (cuda_copy){.element = (int32_t)piece.element, .count = 1};
    for (size_t d = 0; d < piece.rank; d++)
        push(&b->walk, piece.dims[d], piece.to_strides[d], piece.from_strides[d]);
    push(&b->walk, piece.run, 1, 1);
    b->start = group.self * piece.from_step * (int64_t)piece.element;
    call->state = b;
    call->run = run_block;
    COL_TRY(cuda_find_own(context, "col_copy", &b->copy));
    return cuda_blocks_of(in->name, b->walk.count, THREADS, &b->blocks);
}
