#include "ir/plan/plan_clocks.h"

#include <stdlib.h>
#include <string.h>

/* Collectives in their order, and S behind each of them. */
typedef struct stream {
    double started, done; /* S and D */
    size_t count, next;   /* `next`: the first that is not done, or one before it */
    size_t *order;        /* of instructions */
    double *ends;         /* by instruction */
} stream;

static void start(stream *s, size_t instruction, double seconds)
{
    s->order[s->count++] = instruction;
    s->ends[instruction] = s->started += seconds;
}

/* At full speed, up to an end; returns the time that it takes, and tells whose it is. */
static double wait_until(stream *s, double end, double *exposed)
{
    double waited = 0;
    while (s->done < end) {
        size_t instruction = s->order[s->next];
        double rest = COL_MAX(s->ends[instruction] - s->done, 0);
        if (exposed) exposed[instruction] += rest;
        waited += rest;
        s->done = COL_MAX(s->done, s->ends[instruction]);
        s->next++;
    }
    return waited;
}

col_plan_clocks col_plan_run_clocks(const col_plan *plan, const col_plan_program *program, double *exposed)
{
    col_plan_clocks out = {0};
    size_t count = program->n_instructions;
    stream s = {.order = calloc(count + 1, sizeof *s.order), .ends = calloc(count + 1, sizeof *s.ends)};
    if (!s.order || !s.ends) col_out_of_memory(0);
    if (exposed) memset(exposed, 0, count * sizeof *exposed);
    for (size_t i = 0; i < count; i++) {
        const col_plan_instruction *in = program->instructions[i];
        if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE) {
            out.communication += in->seconds;
            start(&s, i, in->seconds);
            if (!in->collective->started) out.exposed += wait_until(&s, s.started, exposed);
        } else if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_WAIT) {
            out.exposed += wait_until(&s, s.ends[in->wait->start], exposed);
        } else {
            out.compute += in->seconds;
            s.done = COL_MIN(s.started, s.done + plan->overlap * in->seconds);
        }
    }
    free(s.order);
    free(s.ends);
    out.seconds = out.compute + out.exposed;
    return out;
}
