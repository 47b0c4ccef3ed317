/* What the executor may rely on. After col_plan_verify:
 *   - every view lies inside the arena, has rank <= 8, positive dims, non-negative strides and a known dtype,
 * and its offset is a multiple of its element size; a rank's blocks of the variables lie inside the state
 * part and do not overlap; variables with an index_bound are of an integer type;
 *   - the mesh has at most COL_PLAN_MOST_RANKS ranks; layouts fit it and the shapes of their variables, and
 * are not partial; collectives name different axes of it, their views are row-major, and what is read and
 * what is written does not overlap, but for an all-reduce in place;
 *   - every instruction has the number, rank, dims and dtypes of views that its kind wants;
 *   - names of variables, programs and outputs are unique and non-empty; code objects exist where kernels
 * name them. It does not promise that kernels stay inside their views (they are native code: run plans that
 * you trust), nor that instructions compute anything sensible. */
#ifndef COL_PLAN_PLAN_VERIFY_H
#define COL_PLAN_PLAN_VERIFY_H

#include "ir/base/status.h"
#include "ir/plan/plan.h"

COL_MUST_USE col_status col_plan_verify(const col_plan *plan);

#endif
