/* The instructions of a plan, timed one kind after another as a device runs them. */
#ifndef COL_RUNTIME_PROBE_PLAN_H
#define COL_RUNTIME_PROBE_PLAN_H

#include "runtime/hal.h"

typedef struct col_probed {
    const col_plan_instruction *instruction; /* the plan's */
    int64_t count;                           /* how many of the program are like it */
    double seconds;                          /* of one among many equal ones, the next behind its end */
} col_probed;

/* Opens a device for the plan, of one rank, gives its variables values, and runs the program's instructions in
 * their order; each that is like none before it (kind, kernel, views but for their places) is repeated and timed.
 * `*out_whole`: seconds of the program as it is. Results live in `arena`. */
COL_MUST_USE col_status col_probe_program(const col_device_type *type, const col_plan *plan,
                                          const col_plan_program *program, col_arena *arena,
                                          col_probed **out_list, size_t *out_count, double *out_whole);

/* Seconds of a run: the median of some, after two that are not counted (a device may prepare in them). */
COL_MUST_USE col_status col_probe_time(const col_device_type *type, col_device *device,
                                       const col_plan_program *program, double *out_seconds);

/* Gives the variables values: inputs random ones, whole ones below their bounds; others of their distributions. */
COL_MUST_USE col_status col_probe_fill(const col_device_type *type, col_device *device, const col_plan *plan);

#endif
