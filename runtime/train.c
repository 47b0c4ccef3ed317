/* `colrun train`: opens everything that can fail before the first step, then walks the steps. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/file.h"
#include "runtime/command.h"
#include "runtime/progress.h"
#include "runtime/store/metrics.h"
#include "runtime/store/tensorboard.h"
#include "runtime/tensors.h"
#include "runtime/trainer.h"

/* The one thing that a signal handler can reach: which signal asked to stop, 0 for none. */
static volatile sig_atomic_t stop_signal;

static void ask_to_stop(int signal)
{
    stop_signal = signal;
}

/* The first SIGINT or SIGTERM is noted; a second one acts as it does by default. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

enum { TRACED_STEPS = 5 }; /* whose instructions are in the trace */

typedef struct run {
    col_arena *arena;
    col_train_settings settings;
    col_checkpoint *checkpoint; /* while resuming */
    col_trainer trainer;
    col_progress progress;
    col_metrics *metrics;
    col_tensorboard *board;
    int64_t saved; /* the last step that a checkpoint holds; -1: none */
} run;

static col_status open_logs(run *r)
{
    if (!col_session_leads(r->trainer.session)) return NULL;
    const char *dir = r->settings.log_dir;
    int64_t resume = r->settings.resume ? r->trainer.step : -1;
    if (dir) {
        COL_TRY(col_metrics_open(dir, resume, &r->metrics));
        COL_TRY(col_tensorboard_open(dir, resume, &r->board));
    }
    if (!r->settings.trace) return NULL;
    COL_TRY(col_trace_open(r->settings.trace, &r->trainer.trace));
    r->trainer.trace_start = col_seconds();
    r->trainer.traced_until = r->trainer.step + TRACED_STEPS;
    COL_TRY(col_trace_name_process(r->trainer.trace, 0, "colrun train"));
    COL_TRY(col_trace_name_track(r->trainer.trace, 0, 0, "trainer"));
    COL_TRY(col_trace_name_track(r->trainer.trace, 0, 1, "instructions"));
    if (!r->trainer.plan->n_mesh) return NULL;
    return col_trace_name_track(r->trainer.trace, 0, 2, "communication");
}

static int64_t parameters_of(const col_plan *plan)
{
    int64_t count = 0;
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        if (v->kind == COL__PLAN__VARIABLE_KIND__PARAM) count += col_plan_numel(v->n_dims, v->dims);
    }
    return count;
}

static void say_summary(run *r, const char *plan_path)
{
    const col_trainer *t = &r->trainer;
    const col_plan *plan = t->plan;
    char parameters[COL_HUMAN_SIZE], arena[COL_HUMAN_SIZE], state[COL_HUMAN_SIZE];
    col_progress_say(&r->progress, "model %s: %s parameters, %s, %s; %lld micro-batch%s of %s a step",
                     plan->source->name, col_format_count(parameters, (double)parameters_of(plan)),
                     plan->precision, plan->optimizer, (long long)t->accumulate,
                     t->accumulate > 1 ? "es" : "", t->feed->shape);
    col_str programs = {0};
    for (size_t i = 0; i < plan->n_programs; i++)
        col_str_printf(&programs, "%s%s (%zu instructions)", i ? ", " : "", plan->programs[i]->name,
                       plan->programs[i]->n_instructions);
    col_mesh mesh = col_plan_mesh(plan);
    col_progress_say(&r->progress, "plan %s: arena %s%s, of it state %s; programs %s", plan_path,
                     col_format_bytes(arena, (double)plan->arena_bytes), mesh.rank ? " on each rank" : "",
                     col_format_bytes(state, (double)plan->state_bytes), col_str_text(&programs));
    col_str_fini(&programs);
    col_progress_say(&r->progress, "data: %s", t->feed->summary);
    if (r->settings.resume)
        col_progress_say(&r->progress, "resumed after step %lld from %s", (long long)t->step,
                         r->checkpoint->path);
}

static col_status set_inputs(const run *r)
{
    const col_train_settings *s = &r->settings;
    col_session *session = r->trainer.session;
    COL_TRY(col_session_set_f32(session, "lr", (float)s->lr));
    COL_TRY(col_session_set_f32(session, "min_lr", (float)s->min_lr));
    COL_TRY(col_session_set_i32(session, "warmup_steps", (int32_t)s->warmup));
    return col_session_set_i32(session, "total_steps", (int32_t)s->steps);
}

static col_status open_run(run *r, const char *plan_path, const col_options *options)
{
    const char *save = col_options_get(options, "save"), *notice = NULL;
    if (col_options_has(options, "resume") && save) {
        COL_TRY(col_error_annotate(col_checkpoint_open(save, &r->checkpoint, &notice),
                                   "--resume finds no checkpoint"));
    }
    COL_TRY(col_train_settings_read(options, r->checkpoint, r->arena, &r->settings));
    col_trainer *t = &r->trainer;
    t->settings = &r->settings;
    COL_TRY(col_trainer_prepare_folder(&r->settings));
    if (r->settings.log_dir) COL_TRY(col_make_folder(r->settings.log_dir));
    COL_TRY(col_trainer_open_plan(t, plan_path));
    if (notice && col_session_leads(t->session)) fprintf(stderr, "notice: %s\n", notice);
    COL_TRY(col_trainer_open_data(t));
    if (r->checkpoint) {
        COL_TRY(col_trainer_restore(t, r->checkpoint));
        r->saved = t->step;
    } else {
        COL_TRY(col_session_initialize(t->session, r->settings.seed));
        if (r->settings.weights) COL_TRY(col_tensors_load_weights(t->session, r->settings.weights));
    }
    COL_TRY(set_inputs(r));
    COL_TRY(open_logs(r));
    col_progress_start(&r->progress, r->settings.steps, r->settings.quiet);
    say_summary(r, plan_path);
    return NULL;
}

static void count_sent(const col_plan *plan, const uint64_t sent[COL_COMM_KINDS], col_metrics_row *row)
{
    col_mesh mesh = col_plan_mesh(plan);
    double ranks = (double)col_mesh_size(&mesh);
    uint64_t sum = 0;
    for (int k = 0; k < COL_COMM_KINDS; k++) {
        sum += sent[k];
        if (!sent[k]) continue;
        const char *name = col_plan_collective_name((Col__Plan__CollectiveKind)k);
        row->collectives[row->collective_count++] = (col_metrics_collective){name, (double)sent[k] / ranks};
    }
    row->communication_bytes = (double)sum / ranks;
}

static col_status log_step(run *r, const col_step_result *result, double seconds, bool validated,
                           double val_loss)
{
    const col_trainer *t = &r->trainer;
    double speed = (double)col_trainer_step_units(t) / seconds, peak = r->settings.peak_flops;
    double flops = t->plan->model_flops * (double)t->accumulate;
    col_metrics_row row = {.step = t->step,
                           .loss = result->loss,
                           .grad_norm = result->grad_norm,
                           .lr = result->lr,
                           .loss_scale = result->loss_scale,
                           .skipped = result->skipped,
                           .step_seconds = seconds,
                           .unit = t->feed->type->unit,
                           .units_per_second = speed,
                           .mfu = peak > 0 && flops > 0 ? flops / seconds / peak : -1,
                           .peak_bytes = t->plan->arena_bytes,
                           .has_val_loss = validated,
                           .val_loss = val_loss};
    count_sent(t->plan, result->sent, &row);
    char speed_tag[64];
    snprintf(speed_tag, sizeof speed_tag, "train/%s_per_second", t->feed->type->unit);
    col_tag_value tags[6] = {{"train/loss", result->loss},
                             {"train/grad_norm", result->grad_norm},
                             {"train/lr", result->lr},
                             {speed_tag, speed}};
    size_t tag_count = 4;
    if (result->loss_scale > 0) tags[tag_count++] = (col_tag_value){"train/loss_scale", result->loss_scale};
    if (validated) tags[tag_count++] = (col_tag_value){"validation/loss", val_loss};
    if (r->metrics) COL_TRY(col_metrics_write(r->metrics, &row));
    if (r->board) COL_TRY(col_tensorboard_write(r->board, t->step, tags, tag_count));
    col_progress_step shown = {t->step,
                               result->loss,
                               result->grad_norm,
                               result->lr,
                               result->loss_scale,
                               result->skipped,
                               t->feed->type->unit,
                               speed,
                               seconds,
                               validated,
                               val_loss};
    col_progress_show(&r->progress, &shown);
    return NULL;
}

static bool every(int64_t step, int64_t period, int64_t last)
{
    return step == last || (period && step % period == 0);
}

static col_status save(run *r)
{
    if (!r->settings.save_dir || r->saved == r->trainer.step) return NULL;
    COL_TRY(col_trainer_save(&r->trainer));
    r->saved = r->trainer.step;
    return NULL;
}

static col_status walk_step(run *r)
{
    col_trainer *t = &r->trainer;
    const col_train_settings *s = &r->settings;
    col_step_result result;
    double val_loss = 0, start = col_seconds();
    COL_TRY(col_trainer_step(t, &result));
    double seconds = COL_MAX(col_seconds() - start, 1e-9);
    COL_TRY(col_trainer_span(t, "step", start));
    bool validated = t->validates && every(t->step, s->val_every, s->steps);
    if (validated) COL_TRY(col_trainer_validate(t, &val_loss));
    COL_TRY(log_step(r, &result, seconds, validated, val_loss));
    return every(t->step, s->save_every, s->steps) ? save(r) : NULL;
}

static col_status walk(run *r)
{
    col_trainer *t = &r->trainer;
    if (t->step >= r->settings.steps) {
        col_progress_say(&r->progress, "nothing to do: %lld of %lld steps are done; --steps sets how many",
                         (long long)t->step, (long long)r->settings.steps);
    }
    int64_t stop = 0;
    for (;;) {
        if (!stop) stop = stop_signal;
        COL_TRY(col_session_agree(t->session, &stop));
        if (stop || t->step >= r->settings.steps) break;
        COL_TRY(walk_step(r));
    }
    if (stop) {
        COL_TRY(save(r));
        col_progress_say(&r->progress, "stopped by %s after step %lld%s%s",
                         stop == SIGINT ? "SIGINT" : "SIGTERM", (long long)t->step,
                         r->settings.save_dir ? ", saved in " : "; nothing is saved (no --save)",
                         r->settings.save_dir ? r->settings.save_dir : "");
    }
    return NULL;
}

static col_status train(run *r, const char *plan_path, const col_options *options)
{
    COL_TRY(open_run(r, plan_path, options));
    col_checkpoint_close(r->checkpoint);
    r->checkpoint = NULL;
    catch_signals();
    col_status status = walk(r);
    col_progress_end(&r->progress);
    if (r->trainer.trace) {
        status = col_error_join(status, col_trace_close(r->trainer.trace));
        r->trainer.trace = NULL;
    }
    return status;
}

col_status col_command_train(const char *plan_path, const col_options *options)
{
    run r = {.arena = col_arena_create(), .saved = -1};
    col_status status = train(&r, plan_path, options);
    col_tensorboard_close(r.board);
    col_metrics_close(r.metrics);
    status = col_trainer_end(&r.trainer, status);
    col_checkpoint_close(r.checkpoint);
    col_arena_destroy(r.arena);
    return status;
}
