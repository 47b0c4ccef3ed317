#include "frontend/predict.h"

#include <string.h>

col_cost_class col_predict_class(const col_plan_instruction *instruction)
{
    switch (instruction->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION:
    case COL__PLAN__INSTRUCTION__KIND_MATMUL: return COL_COST_PRODUCT;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION:
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: return COL_COST_ATTENTION;
    case COL__PLAN__INSTRUCTION__KIND_KERNEL: return COL_COST_KERNEL;
    default: return COL_COST_MOVE;
    }
}

void col_predict(const col_machine *machine, const col_plan *plan)
{
    for (size_t p = 0; p < plan->n_programs; p++) {
        const col_plan_program *program = plan->programs[p];
        for (size_t i = 0; i < program->n_instructions; i++) {
            col_plan_instruction *in = program->instructions[i];
            in->seconds = col_cost_seconds(machine, col_predict_class(in), in->flops, in->bytes);
        }
    }
}

int64_t col_predict_runs(const col_plan *plan, const col_plan_program *program)
{
    static const char *const once[] = {"step", "forward", "decode"};
    if (!strcmp(program->name, "micro")) return COL_MAX(plan->accumulate, 1) - 1;
    for (size_t i = 0; i < COL_COUNT(once); i++) {
        if (!strcmp(program->name, once[i])) return 1;
    }
    return 0;
}

double col_predict_program(const col_plan_program *program)
{
    double seconds = 0;
    for (size_t i = 0; i < program->n_instructions; i++) seconds += program->instructions[i]->seconds;
    return seconds;
}

double col_predict_step(const col_plan *plan)
{
    double seconds = 0;
    for (size_t p = 0; p < plan->n_programs; p++) {
        seconds += (double)col_predict_runs(plan, plan->programs[p]) * col_predict_program(plan->programs[p]);
    }
    return seconds;
}
