/* The plan in memory: protobuf-c's structs under our names. See plan.proto for every field. */
#ifndef COL_PLAN_PLAN_H
#define COL_PLAN_PLAN_H

#include "ir/plan/plan.pb-c.h"

typedef Col__Plan__Plan col_plan;
typedef Col__Plan__Program col_plan_program;
typedef Col__Plan__Instruction col_plan_instruction;
typedef Col__Plan__View col_plan_view;
typedef Col__Plan__Variable col_plan_variable;
typedef Col__Plan__Output col_plan_output;

enum { COL_PLAN_VERSION = 1, COL_PLAN_MAX_RANK = 8 };

/* NULL when the plan has no such thing. */
const col_plan_program *col_plan_find_program(const col_plan *plan, const char *name);
const col_plan_variable *col_plan_find_variable(const col_plan *plan, const char *name);
const col_plan_output *col_plan_find_output(const col_plan_program *program, const char *name);

size_t col_plan_dtype_size(Col__Plan__Dtype dtype); /* bytes; 0 for a number that is no dtype */
const char *col_plan_dtype_name(Col__Plan__Dtype dtype);
int64_t col_plan_numel(size_t rank, const int64_t *dims);
/* Bytes of a row-major tensor. */
uint64_t col_plan_variable_bytes(const col_plan_variable *variable);

#endif
