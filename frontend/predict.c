#include "frontend/predict.h"

#include <string.h>

#include "ir/plan/plan_clocks.h"

col_cost_class col_predict_class(const col_plan_instruction *instruction)
{
    switch (instruction->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION: return COL_COST_CONVOLUTION;
    case COL__PLAN__INSTRUCTION__KIND_MATMUL: return COL_COST_PRODUCT;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION:
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: return COL_COST_ATTENTION;
    case COL__PLAN__INSTRUCTION__KIND_KERNEL: return COL_COST_KERNEL;
    default: return COL_COST_MOVE;
    }
}

bool col_predict_communicates(const col_plan_instruction *instruction)
{
    return instruction->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE;
}

bool col_predict_overlaps(const col_plan_instruction *instruction)
{
    return col_predict_communicates(instruction) && instruction->collective->started;
}

bool col_predict_waits(const col_plan_instruction *instruction)
{
    return instruction->kind_case == COL__PLAN__INSTRUCTION__KIND_WAIT;
}

/* A broadcast in a ring sends what a reduce-scatter does. Beside another, with which it runs, it has no start of its
 * own. */
static double collective_seconds(const col_machine *machine, const col_mesh *mesh,
                                 const col_plan_instruction *in, bool is_joined)
{
    static const col_collective kinds[] = {
        [COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE] = COL_ALL_REDUCE,
        [COL__PLAN__COLLECTIVE_KIND__ALL_GATHER] = COL_ALL_GATHER,
        [COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER] = COL_REDUCE_SCATTER,
        [COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL] = COL_ALL_TO_ALL,
        [COL__PLAN__COLLECTIVE_KIND__BROADCAST] = COL_REDUCE_SCATTER,
    };
    const Col__Plan__Collective *how = in->collective;
    const col_plan_view *from = in->reads[0];
    col_axes axes = {.count = (uint8_t)how->n_axes};
    for (size_t i = 0; i < how->n_axes; i++) axes.axis[i] = (uint8_t)how->axes[i];
    double bytes =
        (double)col_plan_numel(from->n_dims, from->dims) * (double)col_plan_dtype_size(from->dtype);
    if (how->kind == COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE)
        return col_cost_send(machine, mesh, &axes, bytes);
    double alone = col_cost_collective(machine, mesh, kinds[how->kind], &axes, bytes);
    return is_joined ? alone - col_cost_collective(machine, mesh, kinds[how->kind], &axes, 0) : alone;
}

/* GELU in a product's epilogue is not hidden behind its multiplications: it costs what moving its matrix does. */
static double product_seconds(const col_machine *machine, const col_plan_instruction *in)
{
    const col_plan_view *beside = NULL;
    if (in->matmul->epilogue == COL__PLAN__EPILOGUE__BIAS_GELU) beside = in->writes[0];
    if (in->matmul->epilogue == COL__PLAN__EPILOGUE__GELU_SLOPE) beside = in->reads[2];
    double seconds = col_cost_seconds(machine, COL_COST_PRODUCT, in->flops, in->bytes);
    if (!beside) return seconds;
    double bytes =
        (double)col_plan_numel(beside->n_dims, beside->dims) * (double)col_plan_dtype_size(beside->dtype);
    return seconds + col_cost_traffic(machine, bytes);
}

void col_predict(const col_machine *machine, col_plan *plan)
{
    plan->overlap = machine->overlap;
    col_mesh mesh = col_plan_mesh(plan);
    for (size_t p = 0; p < plan->n_programs; p++) {
        const col_plan_program *program = plan->programs[p];
        for (size_t i = 0; i < program->n_instructions; i++) {
            col_plan_instruction *in = program->instructions[i];
            if (col_predict_communicates(in))
                in->seconds = collective_seconds(machine, &mesh, in,
                                                 machine->overlap > 0 && col_plan_joins(program, i));
            else if (col_predict_waits(in))
                in->seconds = 0;
            else if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_MATMUL)
                in->seconds = product_seconds(machine, in);
            else
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

double col_predict_program(const col_plan *plan, const col_plan_program *program)
{
    return col_plan_run_clocks(plan, program, NULL).seconds;
}

double col_predict_step(const col_plan *plan)
{
    double seconds = 0;
    for (size_t p = 0; p < plan->n_programs; p++) {
        seconds +=
            (double)col_predict_runs(plan, plan->programs[p]) * col_predict_program(plan, plan->programs[p]);
    }
    return seconds;
}

/* Whole bytes of all ranks are summed, so that the figure is exactly what the run counts. */
void col_predict_communication(const col_plan *plan, col_predicted_communication *out)
{
    col_mesh mesh = col_plan_mesh(plan);
    double ranks = (double)col_mesh_size(&mesh);
    *out = (col_predicted_communication){0};
    for (size_t p = 0; p < plan->n_programs; p++) {
        const col_plan_program *program = plan->programs[p];
        double runs = (double)col_predict_runs(plan, program);
        col_plan_clocks clocks = col_plan_run_clocks(plan, program, NULL);
        out->seconds += runs * clocks.communication;
        out->exposed += runs * clocks.exposed;
        for (size_t i = 0; i < program->n_instructions; i++) {
            const col_plan_instruction *in = program->instructions[i];
            if (!col_predict_communicates(in)) continue;
            out->by_kind[in->collective->kind] += runs * col_plan_total_bytes(plan, in->collective);
        }
    }
    for (size_t k = 0; k < COL_COUNT(out->by_kind); k++) {
        out->bytes += out->by_kind[k];
        out->by_kind[k] /= ranks;
    }
    out->bytes /= ranks;
}

double col_predict_again(const col_plan *plan)
{
    double seconds = 0;
    for (size_t p = 0; p < plan->n_programs; p++) {
        const col_plan_program *program = plan->programs[p];
        double runs = (double)col_predict_runs(plan, program);
        for (size_t i = 0; i < program->n_instructions; i++) {
            if (program->instructions[i]->turn) seconds += runs * program->instructions[i]->seconds;
        }
    }
    return seconds;
}
