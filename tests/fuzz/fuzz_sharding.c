/* The reader of `colc solve sharding` on any bytes, gzipped or plain: refuses with a reason or reads. What it
 * reads and is small is solved, and compared with every assignment. */
#define _GNU_SOURCE
#include "frontend/sharding_json.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void solve_small(col_arena *arena, const col_sharding_problem *problem)
{
    double assignments = 1;
    for (int32_t i = 0; i < problem->node_count; i++) assignments *= problem->nodes[i].strategies;
    if (assignments > 4096) return;
    for (int32_t i = 0; i < problem->node_count; i++)
        if (problem->nodes[i].upper > 1 << 16) return;
    col_sharding_limits limits = {.seconds = 20, .threads = 1};
    col_sharding_solution found, brute;
    if (col_error_ignore(col_sharding_solve(arena, problem, &limits, &found))) return;
    if (col_error_ignore(col_sharding_brute(arena, problem, &brute))) return;
    COL_ASSERT(found.status == brute.status);
    COL_ASSERT(found.objective == brute.objective);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("sharding", MFD_CLOEXEC);
    COL_ASSERT(fd >= 0);
    for (size_t at = 0; at < size;) {
        ssize_t wrote = write(fd, data + at, size - at);
        COL_ASSERT(wrote > 0);
        at += (size_t)wrote;
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    col_arena *arena = col_arena_create();
    col_sharding_problem problem;
    if (!col_error_ignore(col_sharding_read(arena, path, &problem))) solve_small(arena, &problem);
    col_arena_destroy(arena);
    close(fd);
    return 0;
}
