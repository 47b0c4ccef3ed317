/* What plan_verify.c and plan_verify_ops.c share: views, and the check of an instruction. */
#ifndef COL_PLAN_PLAN_VERIFY_OPS_H
#define COL_PLAN_PLAN_VERIFY_OPS_H

#include "ir/base/status.h"
#include "ir/plan/plan.h"

/* "WHERE 'NAME': WHAT" */
COL_MUST_USE col_status col_verify_bad(const char *where, const char *name, const char *what);

/* One past the last byte that the view touches; false on overflow or a malformed view. */
bool col_verify_view_end(const col_plan_view *view, uint64_t *out_end);
/* The view is well formed and inside the arena; `name` is its instruction's. */
COL_MUST_USE col_status col_verify_view(const col_plan *plan, const col_plan_view *view, const char *name);
bool col_verify_same_shape(const col_plan_view *a, const col_plan_view *b); /* and dtype */
bool col_verify_row_major(const col_plan_view *view);
/* No byte is between the ends of both. */
bool col_verify_apart(const col_plan_view *a, const col_plan_view *b);

/* Figures that nothing runs by, but that reports rely on: finite, and no less than 0. */
bool col_verify_amounts(size_t count, const double *list);

COL_MUST_USE col_status col_verify_instruction(const col_plan *plan, const col_plan_instruction *in);

#endif
