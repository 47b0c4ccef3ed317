/* A training run: what is open while it lasts. Internal to runtime; train.c builds one and walks its steps.
 *
 * A step is `accumulate` micro-batches of the feed. All that a run is, beside the plan's
 * variables, is three integers: steps done, samples drawn (`position`) and micro-batches done
 * (the counter of `rng`), so that a resumed run is bit-equal to one that never stopped. */
#ifndef COL_RUNTIME_TRAINER_H
#define COL_RUNTIME_TRAINER_H

#include "runtime/feed.h"
#include "runtime/store/trace.h"
#include "runtime/train_settings.h"

typedef struct col_trainer {
    const col_train_settings *settings;
    col_session *session;
    const col_plan *plan;
    uint64_t plan_hash;
    int64_t accumulate;
    const col_feed_type *feed_type;
    col_feed *feed;
    bool validates;

    uint64_t position; /* samples drawn */
    int64_t step;      /* steps done */
    int64_t micro;     /* micro-batches done */
    col_trace *trace;  /* NULL: none */
    double trace_start;
    int64_t traced_until; /* steps below have their instructions in it */
} col_trainer;

/* trainer.c: opens the plan and checks that it can be trained. */
COL_MUST_USE col_status col_trainer_open_plan(col_trainer *trainer, const char *plan_path);
/* Opens the data that the model is fed. */
COL_MUST_USE col_status col_trainer_open_data(col_trainer *trainer);
/* Closes everything and returns `status`, of the run. */
COL_MUST_USE col_status col_trainer_end(col_trainer *trainer, col_status status);
/* Tokens or images of a step. */
int64_t col_trainer_step_units(const col_trainer *trainer);

/* train_step.c */
typedef struct col_step_result {
    double loss; /* mean over micro-batches */
    double grad_norm, lr;
    double loss_scale;             /* that the gradients were scaled by; 0: the plan scales no loss */
    bool skipped;                  /* a scaled gradient was not finite: nothing but the scale has changed */
    uint64_t sent[COL_COMM_KINDS]; /* bytes, by all ranks together */
} col_step_result;

/* Does the next step. When loss or gradient are not finite it is COL_BAD_INPUT, naming step, micro-batch and
 * op; parameters and states are then as they were. A gradient that is not finite while the loss is scaled by more
 * than 1 is no error: the step is skipped, and the next has a smaller scale. */
COL_MUST_USE col_status col_trainer_step(col_trainer *trainer, col_step_result *out);
/* Mean loss over the validation part's labels. */
COL_MUST_USE col_status col_trainer_validate(col_trainer *trainer, double *out_loss);
/* A span of the trace that started at `start` and ends now; does nothing without a trace. */
COL_MUST_USE col_status col_trainer_span(col_trainer *trainer, const char *name, double start);

/* train_state.c */
COL_MUST_USE col_status col_trainer_save(col_trainer *trainer);
/* Variables and counters from the checkpoint; the data must be that of the saved run. */
COL_MUST_USE col_status col_trainer_restore(col_trainer *trainer, const col_checkpoint *checkpoint);
/* Refuses a folder that holds the checkpoints of another run, makes it and tries to write into it. */
COL_MUST_USE col_status col_trainer_prepare_folder(const col_train_settings *settings);

#endif
