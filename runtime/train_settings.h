/* What a training run was asked to do: the options of `colrun train` as values. */
#ifndef COL_RUNTIME_TRAIN_SETTINGS_H
#define COL_RUNTIME_TRAIN_SETTINGS_H

#include "ir/base/options.h"
#include "runtime/session.h"
#include "runtime/store/checkpoint.h"

typedef struct col_train_settings {
    const char *const *data;
    size_t data_count;
    const char *tokenizer; /* "bytes" or a path; NULL: not given */
    int64_t steps, warmup;
    int64_t seed;
    double lr, min_lr;
    int64_t val_every, val_batches;
    double val_fraction;
    bool val_fraction_given;
    double mask_rate;   /* of masked language models; below 0: the model tells */
    int64_t mask_token; /* below 0: the tokenizer tells */
    int64_t save_every, keep;
    double peak_flops; /* 0: unknown */
    col_session_options session;
    const char *weights, *save_dir, *log_dir, *trace; /* NULL: none */
    bool resume, quiet;
} col_train_settings;

/* COL_BAD_INPUT for values out of range and options that contradict each other. With a checkpoint (NULL:
 * none), what the command line leaves open and the run depends on is as it was saved. Texts live as long as
 * the options and the arena. */
COL_MUST_USE col_status col_train_settings_read(const col_options *options, const col_checkpoint *checkpoint,
                                                col_arena *arena, col_train_settings *out);

/* The scalars that bring the settings back. */
enum { COL_TRAIN_SETTINGS_SCALARS = 11 };
size_t col_train_settings_save(const col_train_settings *settings, const char *tokenizer,
                               col_scalar out[COL_TRAIN_SETTINGS_SCALARS]);

#endif
