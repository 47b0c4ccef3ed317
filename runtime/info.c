/* `colrun info`: what a plan holds. */
#include <stdio.h>

#include "ir/base/str.h"
#include "ir/plan/plan_io.h"
#include "runtime/command.h"

static const char *const kind_names[] = {"input", "parameter", "state"};

static void print_shape(const col_plan_variable *v)
{
    printf("%s[", col_plan_dtype_name(v->dtype));
    for (size_t i = 0; i < v->n_dims; i++) printf("%s%lld", i ? ", " : "", (long long)v->dims[i]);
    printf("]\n");
}

static void print_program(const col_plan_program *p)
{
    double flops = 0, seconds = 0;
    char human[COL_HUMAN_SIZE], time[COL_HUMAN_SIZE];
    for (size_t i = 0; i < p->n_instructions; i++) {
        flops += p->instructions[i]->flops;
        seconds += p->instructions[i]->seconds;
    }
    printf("program %-10s %zu instructions, %sflop, predicted %s\n", p->name, p->n_instructions,
           col_format_count(human, flops), col_format_seconds(time, seconds));
    for (size_t i = 0; i < p->n_outputs; i++) printf("  output %s\n", p->outputs[i]->name);
}

static void print_plan(const col_plan *plan)
{
    char arena[COL_HUMAN_SIZE], state[COL_HUMAN_SIZE];
    printf("model     %s (%s)\n", plan->source->name, plan->source->path);
    printf("use       %s; target %s, machine %s, precision %s, optimizer %s\n", plan->use, plan->target,
           plan->machine, plan->precision, plan->optimizer);
    printf("made by   %s in %s\n", plan->producer, col_format_seconds(arena, plan->compile_seconds));
    printf("memory    %s, of it %s state\n", col_format_bytes(arena, (double)plan->arena_bytes),
           col_format_bytes(state, (double)plan->state_bytes));
    for (size_t i = 0; i < plan->n_programs; i++) print_program(plan->programs[i]);
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        printf("%-9s %-40s ", (size_t)v->kind < COL_COUNT(kind_names) ? kind_names[v->kind] : "?", v->name);
        print_shape(v);
    }
}

col_status col_command_info(const char *plan_path, const col_options *options)
{
    (void)options;
    col_plan *plan;
    COL_TRY(col_plan_read(plan_path, &plan));
    print_plan(plan);
    col_plan_free(plan);
    return NULL;
}
