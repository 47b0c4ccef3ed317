#include "runtime/train_settings.h"

#include <float.h>
#include <stddef.h>
#include <string.h>

static const int64_t MOST_STEPS = INT32_MAX - 1; /* the schedule counts steps in i32 */

/* Settings that a resumed run takes from the checkpoint, by option and field. */
static const struct {
    const char *option, *key;
    size_t offset;
    bool is_real;
} saved[] = {
    {"steps", "steps", offsetof(col_train_settings, steps), false},
    {"warmup", "warmup", offsetof(col_train_settings, warmup), false},
    {"val-every", "val_every", offsetof(col_train_settings, val_every), false},
    {"val-batches", "val_batches", offsetof(col_train_settings, val_batches), false},
    {"seed", COL_KEY_SEED, offsetof(col_train_settings, seed), false},
    {"lr", "lr", offsetof(col_train_settings, lr), true},
    {"min-lr", "min_lr", offsetof(col_train_settings, min_lr), true},
    {"val-fraction", "val_fraction", offsetof(col_train_settings, val_fraction), true},
    {"mask-rate", "mask_rate", offsetof(col_train_settings, mask_rate), true},
    {"mask-token", "mask_token", offsetof(col_train_settings, mask_token), false},
};
_Static_assert(COL_COUNT(saved) + 1 == COL_TRAIN_SETTINGS_SCALARS, "one scalar each, and the tokenizer");

static int64_t *integer_at(col_train_settings *s, size_t offset)
{
    return (int64_t *)(void *)((char *)s + offset);
}

static double *real_at(col_train_settings *s, size_t offset)
{
    return (double *)(void *)((char *)s + offset);
}

static col_status read_saved(const col_checkpoint *checkpoint, col_arena *arena, col_train_settings *s)
{
    for (size_t i = 0; i < COL_COUNT(saved); i++) {
        if (saved[i].is_real)
            COL_TRY(col_checkpoint_real(checkpoint, saved[i].key, real_at(s, saved[i].offset)));
        else
            COL_TRY(col_checkpoint_int(checkpoint, saved[i].key, integer_at(s, saved[i].offset)));
    }
    const char *tokenizer;
    COL_TRY(col_checkpoint_text(checkpoint, "tokenizer", &tokenizer));
    s->tokenizer = col_arena_strdup(arena, tokenizer);
    return NULL;
}

size_t col_train_settings_save(const col_train_settings *settings, const char *tokenizer,
                               col_scalar out[COL_TRAIN_SETTINGS_SCALARS])
{
    col_train_settings s = *settings;
    size_t n = 0;
    for (; n < COL_COUNT(saved); n++) {
        if (saved[n].is_real)
            out[n] = COL_SCALAR_OF_REAL(saved[n].key, *real_at(&s, saved[n].offset));
        else
            out[n] = COL_SCALAR_OF_INT(saved[n].key, *integer_at(&s, saved[n].offset));
    }
    out[n++] = COL_SCALAR_OF_TEXT("tokenizer", tokenizer);
    return n;
}

static col_status read_numbers(const col_options *o, bool resumed, col_train_settings *s)
{
    COL_TRY(col_options_int(o, "steps", 1, MOST_STEPS, &s->steps));
    if (!resumed) s->warmup = s->steps / 20;
    COL_TRY(col_options_int(o, "warmup", 0, MOST_STEPS, &s->warmup));
    COL_TRY(col_options_int(o, "seed", 0, INT64_MAX, &s->seed));
    COL_TRY(col_options_double(o, "lr", 0, FLT_MAX, &s->lr));
    if (!resumed || (col_options_has(o, "lr") && !col_options_has(o, "min-lr"))) s->min_lr = s->lr / 10;
    COL_TRY(col_options_double(o, "min-lr", 0, FLT_MAX, &s->min_lr));
    COL_TRY(col_options_int(o, "val-every", 0, MOST_STEPS, &s->val_every));
    COL_TRY(col_options_int(o, "val-batches", 0, INT32_MAX, &s->val_batches));
    COL_TRY(col_options_double(o, "val-fraction", 0, 0.999, &s->val_fraction));
    COL_TRY(col_options_double(o, "mask-rate", 0, 1, &s->mask_rate));
    COL_TRY(col_options_int(o, "mask-token", 0, INT32_MAX, &s->mask_token));
    COL_TRY(col_options_int(o, "save-every", 0, MOST_STEPS, &s->save_every));
    COL_TRY(col_options_int(o, "keep", 0, INT32_MAX, &s->keep));
    COL_TRY(col_options_double(o, "peak-flops", 0, DBL_MAX, &s->peak_flops));
    return col_session_options_read(o, &s->session);
}

static col_status check(const col_train_settings *s, const col_checkpoint *checkpoint)
{
    if (!s->data_count) {
        return col_error_make(COL_BAD_INPUT, "there is nothing to train on: give files with --data, or "
                                             "`--data synthetic`");
    }
    if (s->resume && !s->save_dir)
        return col_error_make(COL_BAD_INPUT, "--resume needs --save DIR, the folder with the checkpoints");
    if (s->resume && s->weights) {
        return col_error_make(COL_BAD_INPUT, "--resume takes its weights from the checkpoint: leave out "
                                             "--weights, or --resume to start anew from them");
    }
    int64_t seed = s->seed;
    if (checkpoint) COL_TRY(col_checkpoint_int(checkpoint, COL_KEY_SEED, &seed));
    if (seed != s->seed) {
        return col_error_make(
            COL_BAD_INPUT,
            "--seed %lld: the run to resume has the seed %lld; leave --seed out, or start anew "
            "in another folder",
            (long long)s->seed, (long long)seed);
    }
    return NULL;
}

col_status col_train_settings_read(const col_options *options, const col_checkpoint *checkpoint,
                                   col_arena *arena, col_train_settings *out)
{
    *out = (col_train_settings){.steps = 1000,
                                .lr = 3e-4,
                                .val_every = 100,
                                .val_batches = 20,
                                .val_fraction = 0.1,
                                .mask_rate = -1,
                                .mask_token = -1,
                                .save_every = 500,
                                .keep = 3};
    if (checkpoint) COL_TRY(read_saved(checkpoint, arena, out));
    COL_TRY(read_numbers(options, checkpoint != NULL, out));
    COL_VEC(const char *) files = {0};
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        if (!strcmp(v->option->name, "data")) col_vec_push(arena, &files, v->value);
    }
    out->data = files.data;
    out->data_count = files.len;
    if (col_options_has(options, "tokenizer")) out->tokenizer = col_options_get(options, "tokenizer");
    out->val_fraction_given = col_options_has(options, "val-fraction");
    out->weights = col_options_get(options, "weights");
    out->save_dir = col_options_get(options, "save");
    out->log_dir = col_options_get(options, "log-dir");
    out->trace = col_options_get(options, "trace");
    out->resume = col_options_has(options, "resume");
    out->quiet = col_options_has(options, "quiet");
    return check(out, checkpoint);
}
