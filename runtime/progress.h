/* What a training run shows: on a terminal one line that is rewritten, otherwise a line a step. */
#ifndef COL_RUNTIME_PROGRESS_H
#define COL_RUNTIME_PROGRESS_H

#include "ir/base/status.h"

typedef struct col_progress {
    bool quiet, terminal;
    int64_t total;           /* steps of the whole run */
    double seconds_per_step; /* smoothed; 0: none yet */
    bool open_line;          /* the cursor stands behind a line that is to be rewritten */
} col_progress;

typedef struct col_progress_step {
    int64_t step;
    double loss, grad_norm, lr;
    double loss_scale; /* 0: the loss is not scaled */
    bool skipped;      /* the gradient overflowed, and the step changed nothing but that scale */
    const char *unit;  /* "tokens" */
    double units_per_second, seconds;
    bool has_val_loss;
    double val_loss;
} col_progress_step;

/* Begins a run of `total` steps; nothing but notices is shown when quiet. */
void col_progress_start(col_progress *progress, int64_t total, bool quiet);
/* A finished step, with the time that is left. */
void col_progress_show(col_progress *progress, const col_progress_step *step);
/* A line of its own, unless quiet. */
void col_progress_say(col_progress *progress, const char *format, ...) COL_PRINTF(2, 3);
/* Leaves the cursor at the start of a line. */
void col_progress_end(col_progress *progress);

#endif
