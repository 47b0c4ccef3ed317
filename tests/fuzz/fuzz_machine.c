/* Machine files of arbitrary bytes: refused with a place, or read into a machine whose costs are finite.
 * Needs a file: an anonymous one in memory. */
#define _GNU_SOURCE
#include "frontend/machine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16) return 0;
    static int file = -1; /* one for the whole run */
    static char path[64];
    if (file < 0) {
        file = memfd_create("machine", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    COL_ASSERT(file >= 0 && !ftruncate(file, 0) && pwrite(file, data, size, 0) == (ssize_t)size);
    col_machine m;
    col_status status = col_machine_read(path, &m);
    if (status) {
        COL_ASSERT(col_error_code(status) == COL_BAD_INPUT);
    } else {
        col_mesh mesh = {1, {COL_MIN(col_machine_devices(&m), 64)}};
        col_axes axes = {1, {0}};
        col_machine_links(&m, &mesh);
        for (int c = 0; c < COL_COST_COUNT; c++)
            COL_ASSERT(col_cost_seconds(&m, (col_cost_class)c, 1e6, 1e6) > 0);
        for (int k = 0; k < COL_COLLECTIVE_COUNT; k++)
            COL_ASSERT(!isnan(col_cost_collective(&m, &mesh, (col_collective)k, &axes, 1e6)));
    }
    col_error_free(status);
    return 0;
}
