#include "runtime/trainer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ir/base/file.h"
#include "runtime/store/checkpoint_folder.h"
#include "runtime/tensors.h"

#define KEY_DATA_FINGERPRINT "data_fingerprint" /* text: 16 hex digits */

static const char *hex(col_arena *arena, uint64_t value)
{
    return col_arena_printf(arena, "%016" PRIx64, value);
}

/* The model's settings as --set takes them. */
static const char *settings_text(const col_plan *plan, col_arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < plan->source->n_settings; i++) {
        const Col__Plan__Setting *s = plan->source->settings[i];
        const char *comma = i ? "," : "";
        if (s->value_case == COL__PLAN__SETTING__VALUE_FLOAT_VALUE)
            text = col_arena_printf(arena, "%s%s%s=%.17g", text, comma, s->name, s->float_value);
        else
            text = col_arena_printf(arena, "%s%s%s=%lld", text, comma, s->name, (long long)s->int_value);
    }
    return text;
}

static size_t fill_scalars(const col_trainer *t, col_arena *arena, col_scalar *out)
{
    const col_plan *plan = t->plan;
    size_t n = col_train_settings_save(t->settings, t->feed->tokenizer, out);
    out[n++] = COL_SCALAR_OF_INT(COL_KEY_DATA_POSITION, (int64_t)t->position);
    out[n++] = COL_SCALAR_OF_INT(COL_KEY_RNG_COUNTER, t->micro);
    out[n++] = COL_SCALAR_OF_TEXT(COL_KEY_PLAN_HASH, hex(arena, t->plan_hash));
    out[n++] = COL_SCALAR_OF_TEXT(KEY_DATA_FINGERPRINT, hex(arena, t->feed->fingerprint));
    out[n++] = COL_SCALAR_OF_TEXT(COL_KEY_MODEL, plan->source->name);
    out[n++] = COL_SCALAR_OF_TEXT(COL_KEY_SETTINGS, settings_text(plan, arena));
    return n;
}

static col_status save_in(col_trainer *t, col_arena *arena)
{
    col_scalar scalars[COL_TRAIN_SETTINGS_SCALARS + 8];
    col_checkpoint_contents c = {.step = t->step, .scalars = scalars};
    c.scalar_count = fill_scalars(t, arena, scalars);
    COL_ASSERT(c.scalar_count <= COL_COUNT(scalars));
    c.weights = col_tensors_sources(t->session, COL_TENSORS_WEIGHTS, arena, &c.weight_count);
    c.states = col_tensors_sources(t->session, COL_TENSORS_STATES, arena, &c.state_count);
    COL_TRY(col_checkpoint_write(t->settings->save_dir, &c));
    if (t->settings->keep) COL_TRY(col_checkpoint_prune(t->settings->save_dir, (size_t)t->settings->keep));
    return NULL;
}

static col_status save(void *context)
{
    col_arena *arena = col_arena_create();
    col_status status = save_in(context, arena);
    col_arena_destroy(arena);
    return status;
}

col_status col_trainer_save(col_trainer *t)
{
    double start = col_seconds();
    COL_TRY(col_session_lead(t->session, save, t));
    return col_trainer_span(t, "save", start);
}

static col_status check_text(const col_checkpoint *checkpoint, const char *key, const char *now,
                             bool *out_same)
{
    const char *then;
    COL_TRY(col_checkpoint_text(checkpoint, key, &then));
    *out_same = !strcmp(then, now);
    return NULL;
}

static col_status restore(col_trainer *t, const col_checkpoint *checkpoint, col_arena *arena)
{
    int64_t position;
    bool same;
    COL_TRY(check_text(checkpoint, KEY_DATA_FINGERPRINT, hex(arena, t->feed->fingerprint), &same));
    if (!same) {
        return col_error_make(
            COL_BAD_INPUT,
            "the data is not what '%s' was trained on: give the same --data and --tokenizer, or start "
            "a new run from its weights (--weights %s, another --save)",
            checkpoint->path, checkpoint->path);
    }
    COL_TRY(check_text(checkpoint, COL_KEY_PLAN_HASH, hex(arena, t->plan_hash), &same));
    if (!same && col_session_leads(t->session)) {
        fprintf(
            stderr,
            "notice: another plan saved '%s'; the run goes on, to rounding and not bit by bit as it would "
            "have\n",
            checkpoint->path);
    }
    COL_TRY(col_checkpoint_int(checkpoint, COL_KEY_DATA_POSITION, &position));
    COL_TRY(col_checkpoint_int(checkpoint, COL_KEY_RNG_COUNTER, &t->micro));
    if (position < 0 || t->micro < 0)
        return col_error_make(COL_BAD_INPUT, "'%s': a negative position in the data", checkpoint->path);
    t->step = checkpoint->step;
    t->position = (uint64_t)position;
    COL_TRY(col_tensors_load(t->session, COL_TENSORS_WEIGHTS, checkpoint->weights, COL_TENSORS_OURS,
                             checkpoint->path));
    return col_tensors_load(t->session, COL_TENSORS_STATES, checkpoint->states, COL_TENSORS_OURS,
                            checkpoint->path);
}

col_status col_trainer_restore(col_trainer *t, const col_checkpoint *checkpoint)
{
    col_arena *arena = col_arena_create();
    col_status status = restore(t, checkpoint, arena);
    col_arena_destroy(arena);
    return status;
}

static col_status refuse_other_run(col_arena *arena, const char *dir)
{
    col_steps steps = {0};
    if (!col_file_exists(dir)) return NULL;
    COL_TRY(col_steps_list(arena, dir, &steps));
    if (!steps.len) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "'%s' holds the checkpoints of another run, up to step %lld: go on with --resume, or choose "
        "another folder",
        dir, (long long)steps.data[0]);
}

col_status col_trainer_prepare_folder(const col_train_settings *settings)
{
    if (!settings->save_dir) return NULL;
    if (!settings->resume) {
        col_arena *arena = col_arena_create();
        col_status status = refuse_other_run(arena, settings->save_dir);
        col_arena_destroy(arena);
        if (status) return status;
    }
    return col_checkpoint_prepare(settings->save_dir);
}
