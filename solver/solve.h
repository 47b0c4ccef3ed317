/* What every solver of this folder reports: how good an answer is, and a clock to stop by. */
#ifndef COL_SOLVER_SOLVE_H
#define COL_SOLVER_SOLVE_H

#include "ir/base/status.h"

typedef enum col_solve_status {
    COL_SOLVE_OPTIMAL,    /* an answer, proved best (within the gap asked for) */
    COL_SOLVE_FEASIBLE,   /* an answer that meets every constraint; better ones may exist */
    COL_SOLVE_INFEASIBLE, /* proved: there is no answer */
    COL_SOLVE_LIMIT,      /* stopped by a limit before there was an answer or a proof */
} col_solve_status;

const char *col_solve_status_name(col_solve_status status); /* "optimal", "feasible", "infeasible", "limit" */

/* Seconds on a clock that never goes back; differences only. */
double col_solve_clock(void);
/* Seconds of processor time that the calling thread has taken: for limits that other processes do not move. */
double col_solve_cpu_clock(void);

#endif
