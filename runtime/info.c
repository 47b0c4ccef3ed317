/* `colrun info`: what a plan holds. */
#include <stdio.h>

#include "ir/base/str.h"
#include "ir/plan/plan_clocks.h"
#include "ir/plan/plan_io.h"
#include "runtime/command.h"

static const char *const kind_names[] = {"input", "parameter", "state"};

static void print_shape(size_t rank, const int64_t *dims)
{
    printf("[");
    for (size_t i = 0; i < rank; i++) printf("%s%lld", i ? ", " : "", (long long)dims[i]);
    printf("]");
}

static void print_variable(const col_plan *plan, const col_plan_variable *v)
{
    printf("%-9s %-40s %s", (size_t)v->kind < COL_COUNT(kind_names) ? kind_names[v->kind] : "?", v->name,
           col_plan_dtype_name(v->dtype));
    print_shape(v->n_dims, v->dims);
    if (plan->n_mesh && *v->layout) printf(" %s", v->layout);
    if (plan->n_mesh && v->n_cut_dims) {
        printf(" of ");
        print_shape(v->n_cut_dims, v->cut_dims);
    }
    printf("\n");
}

static void print_mesh(const col_plan *plan)
{
    col_mesh mesh = col_plan_mesh(plan);
    col_str text = {0};
    if (!mesh.rank) return;
    col_mesh_print(&mesh, &text);
    printf("mesh      %s: %lld ranks, what follows is of each\n", col_str_text(&text),
           (long long)col_mesh_size(&mesh));
    col_str_fini(&text);
}

/* Bytes that each rank sends in a run, on average. */
static double sent_bytes(const col_plan *plan, const col_plan_program *p)
{
    double bytes = 0;
    for (size_t i = 0; i < p->n_instructions; i++) {
        const col_plan_instruction *in = p->instructions[i];
        if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE)
            bytes += col_plan_sent_bytes(plan, in->collective);
    }
    return bytes;
}

static void print_program(const col_plan *plan, const col_plan_program *p)
{
    double flops = 0, seconds = col_plan_run_clocks(plan, p, NULL).seconds;
    char human[COL_HUMAN_SIZE], time[COL_HUMAN_SIZE];
    for (size_t i = 0; i < p->n_instructions; i++) {
        flops += p->instructions[i]->flops;
    }
    printf("program %-10s %zu instructions, %sflop, predicted %s", p->name, p->n_instructions,
           col_format_count(human, flops), col_format_seconds(time, seconds));
    if (plan->n_mesh) printf(", sends %s", col_format_bytes(human, sent_bytes(plan, p)));
    printf("\n");
    for (size_t i = 0; i < p->n_outputs; i++) printf("  output %s\n", p->outputs[i]->name);
}

static void print_plan(const col_plan *plan)
{
    char arena[COL_HUMAN_SIZE], state[COL_HUMAN_SIZE];
    printf("model     %s (%s)\n", plan->source->name, plan->source->path);
    printf("use       %s; target %s, machine %s, precision %s, optimizer %s\n", plan->use, plan->target,
           plan->machine, plan->precision, plan->optimizer);
    printf("made by   %s in %s\n", plan->producer, col_format_seconds(arena, plan->compile_seconds));
    print_mesh(plan);
    printf("memory    %s, of it %s state\n", col_format_bytes(arena, (double)plan->arena_bytes),
           col_format_bytes(state, (double)plan->state_bytes));
    for (size_t i = 0; i < plan->n_programs; i++) print_program(plan, plan->programs[i]);
    for (size_t i = 0; i < plan->n_variables; i++) print_variable(plan, plan->variables[i]);
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
