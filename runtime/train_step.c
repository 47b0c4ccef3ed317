#include "runtime/trainer.h"

#include <math.h>
#include <string.h>

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

static col_status write_tokens(col_trainer *t)
{
    uint64_t bytes = (uint64_t)(t->batch * t->seq) * sizeof(int32_t);
    COL_TRY(col_session_write(t->session, "input_ids", t->input_ids, bytes));
    return col_session_write(t->session, "labels", t->labels, bytes);
}

/* The whole step runs with the last micro-batch; "micro" is the part of it that the others need. */
static const char *body_program(const col_trainer *t, int64_t index)
{
    return index + 1 < t->accumulate ? "micro" : "step";
}

/* Feeds micro-batch `index` of the step that comes next. */
static col_status feed(col_trainer *t, int64_t index)
{
    uint64_t first = t->training.position + (uint64_t)(index * t->batch);
    col_sampler_read(&t->training, first, (size_t)t->batch, t->input_ids, t->labels);
    COL_TRY(write_tokens(t));
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
    double loss_sum = 0, before;
    COL_TRY(col_session_sent(t->session, &before));
    for (int64_t i = 0; i < t->accumulate; i++) COL_TRY(run_micro(t, i, &loss_sum));
    COL_TRY(col_session_sent(t->session, &out->sent));
    out->sent -= before;
    out->loss = loss_sum / (double)t->accumulate;
    COL_TRY(output_or(t, "step", "grad_norm", 0, &out->grad_norm));
    COL_TRY(output_or(t, "step", "learning_rate", t->settings->lr, &out->lr));
    if (!isfinite(out->grad_norm)) return blame(t, "norm of the gradient", out->grad_norm);
    t->training.position += (uint64_t)(t->accumulate * t->batch);
    t->micro += t->accumulate;
    t->step++;
    return NULL;
}

static int64_t count_labels(const col_trainer *t)
{
    int64_t count = 0;
    for (int64_t i = 0; i < t->batch * t->seq; i++) count += t->labels[i] != COL_LABEL_IGNORED;
    return count;
}

col_status col_trainer_validate(col_trainer *t, double *out_loss)
{
    double sum = 0, start = col_seconds();
    int64_t tokens = 0, limit = t->settings->val_batches;
    col_sampler sampler = t->validation;
    for (int64_t i = 0; sampler.position < sampler.samples && (!limit || i < limit); i++) {
        col_sampler_next(&sampler, (size_t)t->batch, t->input_ids, t->labels);
        int64_t count = count_labels(t);
        float loss;
        COL_TRY(write_tokens(t));
        COL_TRY(col_session_run(t->session, "eval"));
        COL_TRY(col_session_output_f32(t->session, "eval", "loss", &loss));
        sum += (double)loss * (double)count;
        tokens += count;
    }
    *out_loss = tokens ? sum / (double)tokens : NAN;
    return col_trainer_span(t, "validation", start);
}

col_status col_trainer_span(col_trainer *t, const char *name, double start)
{
    if (!t->trace) return NULL;
    double now = col_seconds();
    return col_trace_span(t->trace, 0, 0, "train", name, 1e6 * (start - t->trace_start), 1e6 * (now - start),
                          0);
}
