/* The null device: holds the arena so that variables can be written and read, and runs nothing but what moves
 * data between ranks. For tests of everything around a device, and as the skeleton of a new back end. */
#include <stdlib.h>
#include <string.h>

#include "runtime/hal.h"
#include "runtime/pieces.h"
#include "runtime/stream.h"

struct col_device {
    const col_plan *plan;
    col_comm *comm;
    col_stream *stream; /* NULL: no program starts a collective */
    unsigned char *arena;
};

static void null_close(col_device *device)
{
    if (!device) return;
    col_stream_close(device->stream);
    free(device->arena);
    free(device);
}

static col_status null_open(const col_plan *plan, const col_device_options *options, col_device **out_device)
{
    col_device *device = calloc(1, sizeof *device);
    if (!device) col_out_of_memory(0);
    COL_ASSERT(options->comm || !plan->n_mesh);
    device->plan = plan;
    device->comm = options->comm;
    device->arena = calloc(1, plan->arena_bytes ? plan->arena_bytes : 1);
    col_status status = NULL;
    if (!device->arena) {
        status = col_error_make(COL_DEVICE, "no memory for an arena of %llu bytes",
                                (unsigned long long)plan->arena_bytes);
    }
    if (!status) status = col_stream_open(plan, options->comm, &device->stream);
    if (status)
        null_close(device);
    else
        *out_device = device;
    return status;
}

static void take_block(const col_comm *comm, const col_plan_instruction *in, const unsigned char *from,
                       void *to)
{
    col_group group = col_group_of(&comm->mesh, comm->rank, in->shard->n_axes, in->shard->axes);
    col_piece piece = col_piece_of(in, group.size);
    col_piece_copy(&piece, from + group.self * piece.from_step * (int64_t)piece.element, to);
}

static col_status execute(col_device *device, const col_plan_instruction *in, size_t index)
{
    unsigned char *arena = device->arena;
    switch (in->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_COLLECTIVE:
        return col_stream_collective(device->stream, device->comm, in, index, arena + in->reads[0]->offset,
                                     arena + in->writes[0]->offset);
    case COL__PLAN__INSTRUCTION__KIND_WAIT:
        return col_stream_wait(device->stream, in->wait->start, NULL, NULL);
    case COL__PLAN__INSTRUCTION__KIND_SHARD:
        take_block(device->comm, in, arena + in->reads[0]->offset, arena + in->writes[0]->offset);
        return NULL;
    default: return NULL;
    }
}

static col_status null_run(col_device *device, const col_plan_program *program, int64_t *out_bad)
{
    col_status status = NULL;
    if (out_bad) *out_bad = -1;
    for (size_t i = 0; i < program->n_instructions && !status; i++)
        status = execute(device, program->instructions[i], i);
    col_stream_settle(device->stream);
    return status;
}

static col_status null_write(col_device *device, uint64_t offset, const void *data, uint64_t bytes)
{
    COL_ASSERT(offset + bytes <= device->plan->arena_bytes);
    if (bytes) memcpy(device->arena + offset, data, bytes);
    return NULL;
}

static col_status null_read(col_device *device, uint64_t offset, void *data, uint64_t bytes)
{
    COL_ASSERT(offset + bytes <= device->plan->arena_bytes);
    if (bytes) memcpy(data, device->arena + offset, bytes);
    return NULL;
}

static void *null_host_arena(col_device *device)
{
    return device->arena;
}

const col_device_type col_device_null = {
    .name = "null",
    .open = null_open,
    .close = null_close,
    .run = null_run,
    .write = null_write,
    .read = null_read,
    .host_arena = null_host_arena,
};
