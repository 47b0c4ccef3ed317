#include "ir/plan/plan_clocks.h"

#include <stdlib.h>

/* S, D, and S at every start, by instruction. */
typedef struct stream {
    double started, done, *ends;
} stream;

static double wait_until(stream *s, double end)
{
    double rest = COL_MAX(end - s->done, 0);
    s->done += rest;
    return rest;
}

col_plan_clocks col_plan_run_clocks(const col_plan *plan, const col_plan_program *program, double *exposed)
{
    col_plan_clocks out = {0};
    stream s = {.ends = calloc(program->n_instructions + 1, sizeof *s.ends)};
    if (!s.ends) col_out_of_memory(0);
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        size_t start = i;
        if (exposed) exposed[i] = 0;
        if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE) {
            out.communication += in->seconds;
            s.ends[i] = s.started += in->seconds;
            if (in->collective->started) continue;
        } else if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_WAIT) {
            start = in->wait->start;
        } else {
            out.compute += in->seconds;
            s.done = COL_MIN(s.started, s.done + plan->overlap * in->seconds);
            continue;
        }
        double waited = wait_until(&s, s.ends[start]);
        if (exposed) exposed[start] = waited;
        out.exposed += waited;
    }
    free(s.ends);
    out.seconds = out.compute + out.exposed;
    return out;
}
