#include "runtime/trainer.h"

#include <stdio.h>
#include <string.h>

#include "ir/plan/plan_io.h"

int64_t col_trainer_step_units(const col_trainer *t)
{
    return t->feed->units * t->accumulate;
}

static col_status check_plan(col_trainer *t)
{
    if (strcmp(t->plan->use, "train")) {
        return col_error_make(COL_BAD_INPUT,
                              "it is a plan for '%s', not for training: compile the model with "
                              "'colc compile'",
                              t->plan->use);
    }
    t->accumulate = COL_MAX(t->plan->accumulate, 1);
    const char *const needed[] = {"step", t->accumulate > 1 ? "micro" : "step"};
    for (size_t i = 0; i < COL_COUNT(needed); i++) {
        if (!col_plan_find_program(t->plan, needed[i]))
            return col_error_make(COL_BAD_INPUT, "it has no program '%s'", needed[i]);
    }
    return col_feed_type_of(t->plan, &t->feed_type);
}

/* Instructions of the first steps have a track of their own, and collectives beside them, all of which a GPU runs on a stream of
 * theirs, another: all of a long run would make a file that no viewer opens. A trace that cannot be written fails when it is closed. */
static void trace_instruction(void *context, const col_plan_instruction *in, double begin, double end)
{
    static const char *const phases[] = {"forward", "backward", "update"};
    const col_trainer *t = context;
    if (!t->trace || t->step >= t->traced_until) return;
    bool beside = in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE &&
                  (in->collective->started || !strcmp(t->plan->target, "cuda"));
    bool waits = in->kind_case == COL__PLAN__INSTRUCTION__KIND_WAIT;
    char name[256];
    snprintf(name, sizeof name, "%s%s", waits ? "wait for " : "", in->name);
    const char *phase = in->phase < COL_COUNT(phases) ? phases[in->phase] : "";
    col_error_ignore(col_trace_span(t->trace, 0, beside ? 2 : 1, phase, name, 1e6 * (begin - t->trace_start),
                                    1e6 * (end - begin), (uint64_t)in->bytes));
}

col_status col_trainer_open_plan(col_trainer *t, const char *plan_path)
{
    col_session_options options = t->settings->session;
    if (t->settings->trace) {
        options.device.observe = trace_instruction;
        options.device.context = t;
    }
    COL_TRY(col_session_open(plan_path, &options, &t->session));
    t->plan = col_session_plan(t->session);
    t->plan_hash = col_plan_hash(t->plan);
    return col_error_annotate(check_plan(t), "'%s'", plan_path);
}

col_status col_trainer_open_data(col_trainer *t)
{
    bool validates = t->settings->val_every > 0 && col_plan_find_program(t->plan, "eval");
    COL_TRY(col_feed_open(t->feed_type, t->plan, t->settings, validates, col_session_leads(t->session),
                          &t->feed));
    t->validates = t->feed->validation_samples > 0;
    return NULL;
}

col_status col_trainer_end(col_trainer *t, col_status status)
{
    col_trace_discard(t->trace);
    col_feed_close(t->feed);
    return col_session_end(t->session, status);
}
