#include "runtime/trainer.h"

#include <math.h>
#include <string.h>

/* Of the loss; a gradient that is not finite with it is not the scale's fault (passes/scale_loss.c). */
static const double LEAST_SCALE = 1;

/* An output that the program may lack: `fallback` then. */
static col_status output_or(col_trainer *t, const char *program, const char *name, double fallback,
                            double *out)
{
    float value = (float)fallback;
    *out = fallback;
    if (!col_plan_find_output(col_plan_find_program(t->plan, program), name)) return NULL;
    COL_TRY(col_session_output_f32(t->session, program, name, &value));
    *out = value;
    return NULL;
}

static col_status write_rng(col_trainer *t, int64_t micro)
{
    int64_t rng[2] = {t->settings->seed, micro};
    if (!col_plan_find_variable(t->plan, "rng")) return NULL;
    return col_session_write(t->session, "rng", rng, sizeof rng);
}

/* The whole step runs with the last micro-batch; "micro" is the part of it that the others need. */
static const char *body_program(const col_trainer *t, int64_t index)
{
    return index + 1 < t->accumulate ? "micro" : "step";
}

/* Feeds micro-batch `index` of the step that comes next. */
static col_status feed(col_trainer *t, int64_t index)
{
    int64_t labels;
    uint64_t first = t->position + (uint64_t)(index * t->feed->batch);
    COL_TRY(t->feed->type->write(t->feed, t->session, false, first, &labels));
    return write_rng(t, t->micro + index);
}

/* The message of a step that was not finite; `op` NULL when no single op is to blame. */
static col_status not_finite(const col_trainer *t, int64_t index, const char *what, double value,
                             const char *op)
{
    const char *cause = op ? "first in the op '" : "in no single op";
    return col_error_make(
        COL_BAD_INPUT,
        "step %lld, micro-batch %lld of %lld: the %s is %f, %s%s%s; the step is not done and "
        "earlier checkpoints are whole. Lower --lr, lengthen --warmup, or look at the data",
        (long long)t->step + 1, (long long)index + 1, (long long)t->accumulate, what,
        isnan(value) ? NAN : value, cause, op ? op : "", op ? "'" : "");
}

/* Runs the step's programs again with a look at every result. The graph leaves parameters and states alone
 * when the gradient is not finite, and the first micro-batch overwrites what earlier ones accumulated, so
 * this sees what the step saw. */
static col_status blame(col_trainer *t, const char *what, double value)
{
    const char *op = NULL;
    for (int64_t i = 0; i < t->accumulate; i++) {
        COL_TRY(feed(t, i));
        COL_TRY(col_session_find_non_finite(t->session, body_program(t, i), &op));
        if (op) return not_finite(t, i, what, value, op);
    }
    return not_finite(t, t->accumulate - 1, what, value, op);
}

/* A loss that is not finite: its micro-batch's inputs are still there. */
static col_status blame_micro(col_trainer *t, int64_t index, double loss)
{
    const char *op = NULL;
    COL_TRY(col_session_find_non_finite(t->session, body_program(t, index), &op));
    return not_finite(t, index, "loss", loss, op);
}

static col_status run_micro(col_trainer *t, int64_t index, double *loss_sum)
{
    double loss, start = col_seconds();
    COL_TRY(feed(t, index));
    COL_TRY(col_trainer_span(t, "data", start));
    start = col_seconds();
    COL_TRY(col_session_run(t->session, body_program(t, index)));
    COL_TRY(col_trainer_span(t, body_program(t, index), start));
    COL_TRY(output_or(t, body_program(t, index), "loss", 0, &loss));
    if (!isfinite(loss)) return blame_micro(t, index, loss);
    *loss_sum += loss;
    return NULL;
}

col_status col_trainer_step(col_trainer *t, col_step_result *out)
{
    double loss_sum = 0;
    uint64_t before[COL_COMM_KINDS];
    COL_TRY(col_session_sent(t->session, before));
    for (int64_t i = 0; i < t->accumulate; i++) COL_TRY(run_micro(t, i, &loss_sum));
    COL_TRY(col_session_sent(t->session, out->sent));
    for (int k = 0; k < COL_COMM_KINDS; k++) out->sent[k] -= before[k];
    out->loss = loss_sum / (double)t->accumulate;
    COL_TRY(output_or(t, "step", "grad_norm", 0, &out->grad_norm));
    COL_TRY(output_or(t, "step", "learning_rate", t->settings->lr, &out->lr));
    COL_TRY(output_or(t, "step", "loss_scale", 0, &out->loss_scale));
    out->skipped = !isfinite(out->grad_norm);
    if (out->skipped && !(out->loss_scale > LEAST_SCALE))
        return blame(t, "norm of the gradient", out->grad_norm);
    t->position += (uint64_t)(t->accumulate * t->feed->batch);
    t->micro += t->accumulate;
    t->step++;
    return NULL;
}

col_status col_trainer_validate(col_trainer *t, double *out_loss)
{
    double sum = 0, start = col_seconds();
    int64_t labels = 0, limit = t->settings->val_batches;
    uint64_t batch = (uint64_t)t->feed->batch;
    for (uint64_t i = 0; i * batch < t->feed->validation_samples && (!limit || i < (uint64_t)limit); i++) {
        int64_t count;
        float loss;
        COL_TRY(t->feed->type->write(t->feed, t->session, true, i * batch, &count));
        COL_TRY(col_session_run(t->session, "eval"));
        COL_TRY(col_session_output_f32(t->session, "eval", "loss", &loss));
        sum += (double)loss * (double)count;
        labels += count;
    }
    *out_loss = labels ? sum / (double)labels : NAN;
    return col_trainer_span(t, "validation", start);
}

col_status col_trainer_span(col_trainer *t, const char *name, double start)
{
    if (!t->trace) return NULL;
    double now = col_seconds();
    return col_trace_span(t->trace, 0, 0, "train", name, 1e6 * (start - t->trace_start), 1e6 * (now - start),
                          0);
}
