/* Predicted seconds of a program, on two clocks: instructions compute one after another, and collectives that
 * are started run one after another on a stream beside them.
 *
 * With S the seconds of communication that were started so far and D those that are done, computing for t
 * seconds brings D on by a t, up to S, where a is the share of its speed that a collective keeps meanwhile
 * (the plan's `overlap`). A wait brings D to what S was at its start, at full speed, and the rank computes
 * nothing meanwhile: that time is *exposed*. A collective that is not started exposes S - D and itself. */
#ifndef COL_PLAN_PLAN_CLOCKS_H
#define COL_PLAN_PLAN_CLOCKS_H

#include "ir/plan/plan.h"

typedef struct col_plan_clocks {
    double seconds;       /* of a run: compute + exposed */
    double compute;       /* of all that is no communication */
    double communication; /* of all collectives, hidden or not */
    double exposed;       /* <= communication */
} col_plan_clocks;

/* From the instructions' `seconds`. `exposed`, if not NULL, has an element per instruction and gets, of each
 * collective, the part of its seconds in which the rank waits, be it for this one or one behind it. */
col_plan_clocks col_plan_run_clocks(const col_plan *plan, const col_plan_program *program, double *exposed);

#endif
