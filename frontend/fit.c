/* Plans that take no more memory than a device has (--memory), and plans of auto that no forced plan beats. */
#include "frontend/fit.h"

#include <string.h>

#include "frontend/predict.h"

enum { NAMED_TRIES = 4 }; /* at the memory that a refusal names */

/* Frees the arena unless the best plan needs it. */
static void release(const fit_search *s, col_arena **arena)
{
    if (*arena != s->best.split && *arena != s->best.attempt) col_arena_destroy(*arena);
    *arena = NULL;
}

col_arena *fit_begin(fit_search *s)
{
    release(s, &s->attempt);
    return s->attempt = s->c->arena = col_arena_create();
}

col_status fit_prepare(fit_search *s, int64_t bytes)
{
    release(s, &s->attempt);
    release(s, &s->split);
    s->split = s->c->arena = col_arena_create();
    s->c->sharding_bytes = bytes;
    s->c->is_searching = false;
    col_status status = col_compiler_prepare(s->c, s->stopped);
    if (s->c->split_count) s->nodes = s->c->programs[0].shard.nodes;
    return status;
}

void fit_drop_best(fit_search *s)
{
    fit_best old = s->best;
    s->best = (fit_best){0};
    if (old.split != s->split) col_arena_destroy(old.split);
    if (old.attempt != s->attempt) col_arena_destroy(old.attempt);
}

static void keep_best(fit_search *s)
{
    fit_drop_best(s);
    s->best = (fit_best){s->last, *s->c, *s->c->plan, s->split, s->attempt};
}

void fit_end(fit_search *s)
{
    release(s, &s->attempt);
    release(s, &s->split);
}

/* What forced plans reach outlives the split that tells it. */
static void remember(fit_search *s, const col_shard_report *report)
{
    s->known = *report;
    if (s->limit < INT64_MAX) s->known.answers = NULL;
    for (int i = 0; i < report->plan_count; i++) {
        const char *reason = report->plans[i].reason;
        if (reason) s->known.plans[i].reason = col_arena_strdup(s->arena, reason);
    }
}

col_status fit_lay_out(fit_search *s, const col_recompute_answer *answer)
{
    col_program *step = &s->c->programs[0];
    if (!answer) fit_begin(s);
    step->again = answer;
    step->again_seconds = col_solve_clock() - s->start;
    s->c->is_searching = true;
    COL_TRY(col_compiler_finish(s->c, s->stopped));
    if (fit_ends(s)) return NULL;
    s->last_units = (int32_t)step->units->count;
    s->last = (fit_plan){(int64_t)s->c->plan->arena_bytes, col_predict_step(s->c->plan),
                         answer ? answer->joined : 0};
    s->smallest = COL_MIN(s->smallest, s->last.bytes);
    if (step->shard.plan_count && !s->c->beside) remember(s, &step->shard);
    bool fits = s->last.bytes <= s->limit;
    if (fits && (!fit_has_best(s) || s->last.seconds < s->best.plan.seconds)) keep_best(s);
    return NULL;
}

fit_figures fit_figures_of(const col_plan *plan)
{
    col_predicted_communication sent;
    col_predict_communication(plan, &sent);
    return (fit_figures){col_predict_step(plan), sent.exposed, sent.seconds};
}

static col_status fit_device(fit_search *s, int64_t *out_needed)
{
    *out_needed = 0;
    COL_TRY(fit_prepare(s, 0));
    if (fit_ends(s)) return NULL;
    COL_TRY(fit_finish(s, out_needed));
    return *out_needed && s->least.bytes && !fit_ends(s) ? fit_lower_needed(s, out_needed) : NULL;
}

col_status fit_kind(fit_search *s, int64_t *out_needed)
{
    return s->limit < INT64_MAX ? fit_split(s, out_needed) : fit_device(s, out_needed);
}

static col_status fit_mesh(fit_search *s, int64_t *out_needed)
{
    s->c->plan_kind = s->kind;
    s->c->beside = NULL;
    s->c->sharding_threads = 0;
    col_status status = fit_kind(s, out_needed);
    if (s->kind != COL_PLAN_AUTO || fit_ends(s) || !s->c->split_count) return status;
    if (status && col_error_code(status) != COL_INFEASIBLE) return status;
    int64_t needed = *out_needed;
    col_status forced = fit_forced(s, &needed);
    bool known = fit_has_best(s) || needed;
    if (forced || known) col_error_free(status);
    COL_TRY(forced);
    *out_needed = fit_has_best(s) ? 0 : needed;
    return known ? NULL : status;
}

/* What is tried depends on the limit in places, so the memory that a refusal is to name is asked for, and raised until it
 * is enough. */
static col_status confirm_needed(const fit_search *s, int64_t *needed)
{
    for (int i = 0; i < NAMED_TRIES && !fit_ends(s) && s->known.nodes <= FIT_SWEPT_NODES; i++) {
        fit_search again = {.c = s->c,
                            .stopped = s->stopped,
                            .arena = s->arena,
                            .kind = s->kind,
                            .limit = *needed,
                            .start = s->start};
        int64_t more = 0;
        col_status status = fit_mesh(&again, &more);
        bool fits = fit_has_best(&again);
        fit_end(&again);
        fit_drop_best(&again);
        if (status || fits) return status;
        *needed = COL_MAX(more, *needed + COL_PLAN_ALIGNMENT);
    }
    return NULL;
}

static void take_best(fit_search *s)
{
    *s->c = s->best.compiler;
    *s->c->plan = s->best.message;
    s->c->beside = NULL;
    s->c->is_searching = false;
}

static void write_figures(const fit_figures *f, Col__Plan__Alternative *row)
{
    row->seconds = f->seconds;
    row->compute_seconds = f->seconds - f->exposed;
    row->communication_seconds = f->communication;
}

/* In the comparison with the forced plans, what was laid out has the seconds of that and not the sharding model's; the
 * first row is the plan's own. */
static void write_comparison(const fit_search *s, const Col__Plan__Sharding *out)
{
    for (size_t i = 0; i < out->n_alternatives; i++) {
        col_plan_kind kind = COL_PLAN_AUTO;
        if (i) COL_ASSERT(col_plan_kind_parse(out->alternatives[i]->plan, &kind));
        if (s->forced[kind].seconds > 0) write_figures(&s->forced[kind], out->alternatives[i]);
    }
}

/* Of all that was tried, the best is printed, dumped and stopped at. It is restored once more after that: laid
 * out anew, buffers may come to lie otherwise. */
static col_status show_best(fit_search *s)
{
    const col_compile_options *o = s->c->options;
    col_arena_adopt(s->arena, s->best.split);
    col_arena_adopt(s->arena, s->best.attempt);
    take_best(s);
    if (s->c->plan->sharding) write_comparison(s, s->c->plan->sharding);
    if (!o->print_after && !o->stop_after && !o->dump_dir) return NULL;
    COL_TRY(col_compiler_finish(s->c, s->stopped));
    if (!fit_ends(s)) take_best(s);
    return NULL;
}

/* Lays the best split out again as is forced. */
static col_status force_best(fit_search *s)
{
    int64_t needed;
    take_best(s);
    release(s, &s->attempt);
    if (s->split != s->best.split) release(s, &s->split);
    s->split = s->best.split;
    s->keeps = false;
    fit_drop_best(s);
    return fit_finish(s, &needed);
}

/* On a mesh; without a limit the split is that of --checkpoint none, so that bits are. */
static col_status search_mesh(fit_search *s, int64_t *out_needed)
{
    s->keeps = s->limit == INT64_MAX;
    COL_TRY(fit_mesh(s, out_needed));
    if (!fit_has_best(s) || fit_ends(s)) return NULL;
    s->forced[COL_PLAN_AUTO] = fit_figures_of(&s->best.message);
    return s->keeps && fit_is_forced_again(s) ? force_best(s) : NULL;
}

static col_status search_all(fit_search *s)
{
    bool splits = col_mesh_size(&s->c->options->mesh) > 1;
    int64_t needed;
    char need[COL_HUMAN_SIZE], have[COL_HUMAN_SIZE];
    COL_TRY(splits ? search_mesh(s, &needed) : fit_device(s, &needed));
    if (fit_has_best(s) || fit_ends(s)) return NULL;
    if (splits) COL_TRY(confirm_needed(s, &needed));
    if (fit_ends(s)) return NULL;
    return col_error_make(COL_INFEASIBLE,
                          "plan %s does not fit --memory %s of a device: it needs --memory %lld (%s) or more",
                          s->c->options->plan_name, col_format_bytes(have, (double)s->limit),
                          (long long)needed, col_format_bytes(need, (double)needed));
}

col_status col_fit(col_compiler *c, bool *out_stopped)
{
    int64_t limit = (int64_t)c->options->memory_bytes;
    fit_search s = {.c = c,
                    .stopped = out_stopped,
                    .arena = c->arena,
                    .limit = limit ? limit : INT64_MAX,
                    .start = col_solve_clock()};
    COL_ASSERT(col_plan_kind_parse(c->options->plan_name, &s.kind));
    col_status status = search_all(&s);
    fit_end(&s);
    if (!status && !fit_ends(&s)) return show_best(&s);
    fit_drop_best(&s);
    return status;
}
