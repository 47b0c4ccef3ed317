#include "ir/plan/plan.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [COL__PLAN__DTYPE__F32] = {"f32", 4}, [COL__PLAN__DTYPE__F64] = {"f64", 8},
    [COL__PLAN__DTYPE__F16] = {"f16", 2}, [COL__PLAN__DTYPE__BF16] = {"bf16", 2},
    [COL__PLAN__DTYPE__I32] = {"i32", 4}, [COL__PLAN__DTYPE__I64] = {"i64", 8},
    [COL__PLAN__DTYPE__U8] = {"u8", 1},   [COL__PLAN__DTYPE__BOOL] = {"bool", 1},
};

size_t col_plan_dtype_size(Col__Plan__Dtype dtype)
{
    return (size_t)dtype < sizeof dtypes / sizeof *dtypes ? dtypes[dtype].size : 0;
}

const char *col_plan_dtype_name(Col__Plan__Dtype dtype)
{
    return (size_t)dtype < sizeof dtypes / sizeof *dtypes ? dtypes[dtype].name : "?";
}

int64_t col_plan_numel(size_t rank, const int64_t *dims)
{
    int64_t numel = 1;
    for (size_t i = 0; i < rank; i++) numel *= dims[i];
    return numel;
}

uint64_t col_plan_variable_bytes(const col_plan_variable *variable)
{
    return (uint64_t)col_plan_numel(variable->n_dims, variable->dims) * col_plan_dtype_size(variable->dtype);
}

const col_plan_program *col_plan_find_program(const col_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_programs; i++) {
        if (!strcmp(plan->programs[i]->name, name)) return plan->programs[i];
    }
    return NULL;
}

const col_plan_variable *col_plan_find_variable(const col_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_variables; i++) {
        if (!strcmp(plan->variables[i]->name, name)) return plan->variables[i];
    }
    return NULL;
}

const col_plan_output *col_plan_find_output(const col_plan_program *program, const char *name)
{
    for (size_t i = 0; i < program->n_outputs; i++) {
        if (!strcmp(program->outputs[i]->name, name)) return program->outputs[i];
    }
    return NULL;
}
