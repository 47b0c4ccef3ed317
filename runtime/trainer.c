#include "runtime/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/plan/plan_io.h"
#include "runtime/tokens.h"

int64_t col_trainer_step_tokens(const col_trainer *t)
{
    return t->batch * t->seq * t->accumulate;
}

/* Inputs that the trainer feeds. */
static bool is_fed(const char *name)
{
    static const char *const fed[] = {"input_ids", "labels",       "rng",         "lr",
                                      "min_lr",    "warmup_steps", "total_steps", COL_PLAN_COORDINATE};
    for (size_t i = 0; i < COL_COUNT(fed); i++) {
        if (!strcmp(fed[i], name)) return true;
    }
    return false;
}

static col_status check_tokens(const col_plan *plan, const char *name, const col_plan_variable **out)
{
    *out = col_plan_find_variable(plan, name);
    if (!*out) {
        return col_error_make(COL_BAD_INPUT,
                              "the model has no input '%s': text is fed as input_ids and labels", name);
    }
    if ((*out)->dtype == COL__PLAN__DTYPE__I32 && (*out)->n_dims == 2) return NULL;
    return col_error_make(COL_BAD_INPUT, "the input '%s' is not i32[batch, seq]", name);
}

static col_status check_variables(col_trainer *t)
{
    const col_plan_variable *ids, *labels, *rng = col_plan_find_variable(t->plan, "rng");
    for (size_t i = 0; i < t->plan->n_variables; i++) {
        const col_plan_variable *v = t->plan->variables[i];
        if (v->kind != COL__PLAN__VARIABLE_KIND__INPUT || is_fed(v->name)) continue;
        return col_error_make(
            COL_BAD_INPUT,
            "the model has the input '%s', and training feeds input_ids and labels only: compute it "
            "from these, or declare it as a param or state",
            v->name);
    }
    COL_TRY(check_tokens(t->plan, "input_ids", &ids));
    COL_TRY(check_tokens(t->plan, "labels", &labels));
    if (memcmp(ids->dims, labels->dims, 2 * sizeof *ids->dims))
        return col_error_make(COL_BAD_INPUT, "the inputs 'input_ids' and 'labels' have different shapes");
    if (rng && col_plan_variable_bytes(rng) != 2 * sizeof(int64_t))
        return col_error_make(COL_BAD_INPUT, "the input 'rng' is not i64[2]");
    t->batch = ids->dims[0];
    t->seq = ids->dims[1];
    return NULL;
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
    return check_variables(t);
}

/* Instructions of the first steps have a track of their own: all of a long run would make a file that no
 * viewer opens. A trace that cannot be written fails when it is closed. */
static void trace_instruction(void *context, const col_plan_instruction *in, double begin, double end)
{
    static const char *const phases[] = {"forward", "backward", "update"};
    const col_trainer *t = context;
    if (!t->trace || t->step >= t->traced_until) return;
    const char *phase = in->phase < COL_COUNT(phases) ? phases[in->phase] : "";
    col_error_ignore(col_trace_span(t->trace, 0, 1, phase, in->name, 1e6 * (begin - t->trace_start),
                                    1e6 * (end - begin), (uint64_t)in->bytes));
}

col_status col_trainer_open_plan(col_trainer *t, const char *plan_path)
{
    COL_TRY(col_plan_hash(plan_path, &t->plan_hash));
    col_session_options options = t->settings->session;
    if (t->settings->trace) {
        options.device.observe = trace_instruction;
        options.device.context = t;
    }
    COL_TRY(col_session_open(plan_path, &options, &t->session));
    t->plan = col_session_plan(t->session);
    return col_error_annotate(check_plan(t), "'%s'", plan_path);
}

static void notice(void *context, const char *message)
{
    (void)context;
    fprintf(stderr, "notice: %s\n", message);
}

/* Without a word from the user, a corpus too small for validation is trained on all the same. */
static col_status open_samplers(col_trainer *t)
{
    const col_train_settings *s = t->settings;
    size_t seq = (size_t)t->seq;
    col_range training, validation;
    COL_TRY(col_corpus_split(t->corpus, s->val_fraction, &training, &validation));
    t->validates = s->val_every > 0 && validation.count > 0 && col_plan_find_program(t->plan, "eval");
    if (t->validates) {
        col_status status = col_sampler_init(&t->validation, "validation", t->corpus, validation, seq,
                                             COL_ORDER_SEQUENTIAL, (uint64_t)s->seed);
        if (status && s->val_fraction_given) return status;
        if (col_error_ignore(status)) {
            notice(NULL, "the data is too short for validation: all of it is for training");
            t->validates = false;
            COL_TRY(col_corpus_split(t->corpus, 0, &training, &validation));
        }
    }
    return col_sampler_init(&t->training, "training", t->corpus, training, seq, COL_ORDER_SHUFFLED,
                            (uint64_t)s->seed);
}

col_status col_trainer_open_data(col_trainer *t)
{
    const col_train_settings *s = t->settings;
    int64_t bound = col_plan_find_variable(t->plan, "input_ids")->index_bound;
    const char *name = s->tokenizer ? s->tokenizer : COL_TOKENIZER_BYTES;
    if (strcmp(name, COL_TOKENIZER_BYTES)) t->tokenizer_path = realpath(name, NULL);
    t->tokenizer_name = t->tokenizer_path ? t->tokenizer_path : name;
    COL_TRY(col_tokens_open(t->tokenizer_name, bound, s->tokenizer != NULL, &t->tokenizer));
    col_corpus_options options = {
        .tokenizer = t->tokenizer, .vocab_size = bound, .seed = (uint64_t)s->seed, .notice = notice};
    COL_TRY(col_corpus_open(s->data, s->data_count, &options, &t->corpus));
    size_t count = (size_t)(t->batch * t->seq);
    t->input_ids = calloc(count, sizeof *t->input_ids);
    t->labels = calloc(count, sizeof *t->labels);
    if (!t->input_ids || !t->labels) col_out_of_memory(0);
    return open_samplers(t);
}

col_status col_trainer_end(col_trainer *t, col_status status)
{
    col_trace_discard(t->trace);
    free(t->tokenizer_path);
    free(t->input_ids);
    free(t->labels);
    col_corpus_close(t->corpus);
    col_tokenizer_destroy(t->tokenizer);
    return col_session_end(t->session, status);
}
