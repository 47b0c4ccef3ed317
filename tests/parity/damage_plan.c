/* Writes a plan that is sound to the verifier and computes something else: the first operand of its last
 * product of a forward phase is read one element further on.
 *
 *     damage_plan PLAN OUT */
#include <stdio.h>

#include "ir/plan/plan_io.h"

static void move_operand(col_plan *plan)
{
    col_plan_instruction *last = NULL;
    for (size_t i = 0; i < plan->programs[0]->n_instructions; i++) {
        col_plan_instruction *in = plan->programs[0]->instructions[i];
        if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_MATMUL && in->phase == 0) last = in;
    }
    COL_ASSERT(last);
    last->reads[0]->offset += col_plan_dtype_size(last->reads[0]->dtype);
}

int main(int argc, char **argv)
{
    col_plan *plan = NULL;
    if (argc != 3) return 99;
    col_status status = col_plan_read(argv[1], &plan);
    if (!status) {
        move_operand(plan);
        status = col_plan_write(plan, argv[2]);
    }
    if (status) fprintf(stderr, "%s\n", col_error_message(status));
    int code = (int)col_error_code(status);
    col_error_free(status);
    col_plan_free(plan);
    return code;
}
