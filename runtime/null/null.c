/* The null device: holds the arena's state part so that variables can be written and read, and runs nothing.
 * For tests of everything around a device, and as the skeleton of a new back end. */
#include <stdlib.h>
#include <string.h>

#include "runtime/hal.h"

struct col_device {
    const col_plan *plan;
    unsigned char *arena;
    uint64_t instructions_run;
};

static col_status null_open(const col_plan *plan, const col_device_options *options, col_device **out_device)
{
    (void)options;
    col_device *device = calloc(1, sizeof *device);
    if (!device) col_out_of_memory(0);
    device->plan = plan;
    device->arena = calloc(1, plan->arena_bytes ? plan->arena_bytes : 1);
    if (!device->arena) {
        free(device);
        return col_error_make(COL_DEVICE, "no memory for an arena of %llu bytes",
                              (unsigned long long)plan->arena_bytes);
    }
    *out_device = device;
    return NULL;
}

static void null_close(col_device *device)
{
    if (!device) return;
    free(device->arena);
    free(device);
}

static col_status null_run(col_device *device, const col_plan_program *program, int64_t *out_bad)
{
    device->instructions_run += program->n_instructions;
    if (out_bad) *out_bad = -1;
    return NULL;
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
