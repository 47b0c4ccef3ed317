#include "solver/solve.h"

#include <time.h>

const char *col_solve_status_name(col_solve_status status)
{
    static const char *const names[] = {"optimal", "feasible", "infeasible", "limit"};
    COL_ASSERT((size_t)status < COL_COUNT(names));
    return names[status];
}

double col_solve_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double col_solve_cpu_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
