/* The order of units (passes/schedule.c). */
#ifndef COL_PASSES_SCHEDULE_H
#define COL_PASSES_SCHEDULE_H

#include "passes/pass.h"

/* The pass `schedule`. With `may_drop`, what the backward phase reads of the forward phase takes no memory: the
 * order that is best where most of it is computed again. */
void col_schedule(col_graph *graph, bool may_drop);

#endif
