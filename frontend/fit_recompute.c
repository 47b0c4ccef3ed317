/* What is computed again so that a plan fits (docs/checkpoint.md). The solver counts bytes that are live, and a plan takes
 * those of its arena, with kernels that work in place and with what the placement of buffers leaves unused: so the
 * solver's limit moves by what its last plan took too much or too little. */
#include <string.h>

#include "frontend/fit.h"

enum {
    AGAIN_TRIES = 4,    /* for each size of groups, at a plan that takes no more memory than there is */
    NAMED_TRIES = 12,   /* at a smaller limit than the one to be named, ... */
    NAMED_UNITS = 4000, /* ... or fewer, but one: as many units in all; ... */
    NAMED_MISSES = 4,   /* ... or until so many in a row find nothing */
    GRID = 4096,        /* parts of the model's peak, in which its limits are given */
    LEVEL = 64,         /* of them between the levels that are tried below the limit, ... */
    LOWER_TRIES = 16,   /* ... of which there are so many, ... */
    LOWER_UNITS = 6000, /* ... or fewer: to lay out so many units in all */
    ENOUGH = 4,         /* sizes of groups in a row that bring nothing: no more are tried */
};
static const double AGAIN_GAP = 0.001; /* at which the solver may stop ... */
static const double AGAIN_WORK = 3e8;  /* ... and when it must: after some tenths of a second ... */
static const double ALL_WORK = 1e9;    /* ... and for groups of all sizes together */
static const double LOWER_WORK = 1e8;  /* ... and at a lower level */
static const double LUCK = 1.04;       /* by which plans may be faster than the model says */
static const double ANY_SECONDS = 1e8;
static const double HOPELESS = 1.05;     /* by the least memory of other sizes: not laid out */
static const double AGAIN_CLOSE = 0.005; /* of the temporaries' memory: not worth another try */
static const double NAMED_SHARE = 0.03;  /* of the temporaries' memory, between limits that find nothing */
static const double WORTH = 0.001; /* of a step's time: the least gain that larger groups are tried for */

static bool is_checkpoint(const col_compiler *c, const char *name)
{
    return !strcmp(c->options->checkpoint, name);
}

static void make_model(fit_search *s)
{
    s->model = col_recompute_model_create(s->c->programs[0].legal, &s->c->options->machine,
                                          s->c->options->passes.accumulate, s->split);
}

/* The cheapest plan within `memory` by the model; only those that compute again for less than `below` seconds, unless
 * that is 0. */
static col_status solve(fit_search *s, int64_t memory, int32_t joined, double work, double below,
                        col_recompute_answer **out)
{
    col_recompute_limits limits = {
        .memory = memory, .joined = joined, .gap = AGAIN_GAP, .work = work, .below = below};
    col_arena *arena = fit_begin(s);
    *out = COL_NEW(arena, col_recompute_answer);
    return col_recompute_solve(s->model, &limits, arena, *out);
}

/* A plan of the least memory that turns of this size take. */
static col_status solve_least(fit_search *s, int32_t joined, bool frugal, col_recompute_answer **out)
{
    col_recompute_limits limits = {
        .memory = 1, .joined = joined, .gap = AGAIN_GAP, .work = AGAIN_WORK, .frugal = frugal};
    col_arena *arena = fit_begin(s);
    *out = COL_NEW(arena, col_recompute_answer);
    return col_recompute_solve(s->model, &limits, arena, *out);
}

/* Of groups of blocks: 1, 2, 3, 4, 6, 8, 12, ... */
static int32_t next_size(int32_t joined)
{
    bool is_power = !(joined & (joined - 1));
    return joined == 1 ? 2 : is_power ? joined / 2 * 3 : joined / 3 * 4;
}

static int64_t last_temporaries(const fit_search *s)
{
    return s->last.bytes - (int64_t)s->c->plan->state_bytes;
}

/* Limits of the model are multiples of a fixed part of its peak, so that limits next to each other get the same
 * plan. */
static int64_t on_grid(const fit_search *s, int64_t memory, int64_t level)
{
    int64_t grain = COL_MAX(s->keep_peak / GRID, 1) * level;
    return memory / grain * grain;
}

/* Gives the solver what there is by its own account: `s->excess` is what it counts more than plans take, as of the
 * last one. With a plan that fits at hand, only faster ones are of interest. */
static col_status search_group(fit_search *s, int32_t joined, bool *out_found)
{
    int64_t room = s->limit - (int64_t)s->c->plan->state_bytes;
    int64_t close = (int64_t)(AGAIN_CLOSE * (double)room), excess = s->excess, high = INT64_MAX;
    *out_found = false;
    for (int i = 0; i < AGAIN_TRIES && !fit_ends(s); i++) {
        int64_t memory = on_grid(s, COL_MIN(room + excess, high), 1);
        double below = fit_has_best(s) ? s->best.plan.seconds * (1 - WORTH) - s->kept.seconds : ANY_SECONDS;
        col_recompute_answer *answer;
        if (memory <= 0 || below <= 0 || s->work <= 0) return NULL;
        COL_TRY(solve(s, memory, joined, COL_MIN(AGAIN_WORK, s->work), below, &answer));
        s->work -= answer->work;
        if (answer->status == COL_SOLVE_LIMIT || answer->again_seconds >= below) return NULL;
        COL_TRY(fit_lay_out(s, answer));
        excess = answer->peak - last_temporaries(s);
        bool fits = s->last.bytes <= s->limit;
        *out_found |= fits;
        if (fits && room + excess <= memory + close) return NULL;
        if (!fits) high = memory - close;
    }
    return NULL;
}

/* Plans of less memory may be faster than the model says, where what is computed again fuses well. Those of the
 * next lower levels, which are the same for all limits near this one, are laid out as well: so that more memory is
 * hardly ever slower. */
static col_status search_lower(fit_search *s, int32_t joined)
{
    int64_t room = s->limit - (int64_t)s->c->plan->state_bytes, seen = 0;
    int64_t memory = on_grid(s, room + s->excess, LEVEL),
            step = on_grid(s, s->keep_peak, GRID) / GRID * LEVEL;
    int32_t tries = LOWER_UNITS / s->last_units;
    for (int i = 0; i < COL_MIN(tries, LOWER_TRIES) && memory > 0 && !fit_ends(s); i++, memory -= step) {
        col_recompute_answer *answer;
        COL_TRY(solve(s, memory, joined, LOWER_WORK, ANY_SECONDS, &answer));
        if (answer->status == COL_SOLVE_LIMIT) return NULL;
        if (s->kept.seconds + answer->again_seconds > s->best.plan.seconds * LUCK) return NULL;
        if (answer->peak == seen) continue;
        seen = answer->peak;
        COL_TRY(fit_lay_out(s, answer));
    }
    return NULL;
}

static col_status search_groups(fit_search *s)
{
    int32_t blocks = col_recompute_blocks(s->model), without = 0;
    s->work = ALL_WORK;
    for (int32_t joined = 1; joined <= blocks && without < ENOUGH && !fit_ends(s);
         joined = next_size(joined)) {
        bool found;
        COL_TRY(search_group(s, joined, &found));
        without = found || !fit_has_best(s) ? 0 : without + 1;
    }
    int32_t joined = s->best.plan.joined;
    if (!joined || fit_ends(s)) return NULL; /* nothing fits, or a plan of another split is better */
    COL_TRY(search_lower(s, joined));
    return joined == 1 || fit_ends(s) ? NULL : search_lower(s, 1);
}

static col_status lay_out_least(fit_search *s, const col_recompute_answer *answer)
{
    COL_TRY(fit_lay_out(s, answer));
    if (s->last.bytes >= s->least.bytes) return NULL;
    s->least = s->last;
    if (answer->peak) s->least_excess = answer->peak - last_temporaries(s);
    return NULL;
}

/* Plans that do not depend on the limit, those that are forced by name among them. Of two plans with one peak by the
 * model either may take less once its copies are fused; where there are splits to choose from, one is laid out of each. */
static col_status search_least(fit_search *s)
{
    int32_t blocks = col_recompute_blocks(s->model), without = 0;
    int64_t least = INT64_MAX;
    bool splits = col_mesh_size(&s->c->options->mesh) > 1;
    s->least = s->kept;
    for (int32_t joined = 0; joined <= 1 && !fit_ends(s); joined++) {
        col_arena *arena = fit_begin(s);
        col_recompute_answer *answer = COL_NEW(arena, col_recompute_answer);
        col_recompute_all(s->model, joined, arena, answer);
        COL_TRY(lay_out_least(s, answer));
    }
    for (int32_t joined = 1; joined <= blocks && without < ENOUGH && !fit_ends(s);
         joined = next_size(joined)) {
        col_recompute_answer *answer;
        COL_TRY(solve_least(s, joined, splits, &answer));
        if (answer->status != COL_SOLVE_INFEASIBLE) continue;
        without = (double)answer->peak < HOPELESS * (double)least ? 0 : without + 1;
        least = COL_MIN(least, answer->peak);
        if (without) continue;
        COL_TRY(lay_out_least(s, answer));
        if (splits || fit_ends(s)) continue;
        COL_TRY(solve_least(s, joined, true, &answer));
        COL_TRY(lay_out_least(s, answer));
    }
    return NULL;
}

/* Where none of the plans of least memory fits: what the model counts too much is known better from them. */
static col_status search_tight(fit_search *s)
{
    s->excess = s->least_excess;
    return search_groups(s);
}

static col_status search_again(fit_search *s)
{
    make_model(s);
    s->keep_peak = col_recompute_keep_peak(s->model);
    s->excess = s->kept_excess = s->keep_peak - (int64_t)s->c->programs[0].memory.temporary_bytes;
    bool had = fit_has_best(s);
    COL_TRY(search_groups(s));
    if (had || s->best.plan.bytes || fit_ends(s)) return NULL;
    COL_TRY(search_least(s));
    return fit_ends(s) ? NULL : search_tight(s);
}

/* The searches that depend on the limit may find plans of less memory than those that do not: goes down from what
 * the least of these takes, by limits at which this very search ends with a plan. It goes to the least that was laid out
 * on the way; where it finds nothing there, one step below the last limit, and then, for what the search finds is not
 * monotone, a few shares of the temporaries below it. */
col_status fit_lower_needed(fit_search *s, int64_t *needed)
{
    int64_t limit = s->limit, state = s->c->plan->state_bytes, step = COL_PLAN_ALIGNMENT;
    int64_t next = COL_MIN(s->smallest, *needed - step);
    int tries = COL_MAX(1, COL_MIN(NAMED_TRIES, NAMED_UNITS / COL_MAX(s->last_units, 1))), misses = 0;
    for (int i = 0; i < tries && misses < NAMED_MISSES && next > state && !fit_ends(s); i++) {
        s->limit = next;
        fit_drop_best(s);
        s->excess = s->kept_excess;
        COL_TRY(search_groups(s));
        if (!fit_has_best(s)) COL_TRY(search_tight(s));
        if (fit_has_best(s)) {
            misses = 0;
            *needed = next;
            next = COL_MIN(s->smallest, next - step);
        } else if (!misses++ && next < *needed - step) {
            next = *needed - step;
        } else {
            next = *needed - (int64_t)(misses * NAMED_SHARE * (double)(*needed - state)) / step * step;
        }
    }
    s->limit = limit;
    fit_drop_best(s);
    return NULL;
}

static col_status force_again(fit_search *s)
{
    make_model(s);
    col_arena *arena = fit_begin(s);
    col_recompute_answer *answer = COL_NEW(arena, col_recompute_answer);
    col_recompute_all(s->model, is_checkpoint(s->c, "all"), arena, answer);
    return fit_lay_out(s, answer);
}

bool fit_is_forced_again(const fit_search *s)
{
    return s->c->options->use == COL_USE_TRAIN && (is_checkpoint(s->c, "all") || is_checkpoint(s->c, "sqrt"));
}

col_status fit_finish(fit_search *s, int64_t *out_needed)
{
    const col_compiler *c = s->c;
    *out_needed = 0;
    s->least.bytes = 0;
    s->smallest = INT64_MAX;
    s->start = col_solve_clock();
    if (fit_is_forced_again(s) && !s->keeps) {
        COL_TRY(force_again(s));
    } else {
        COL_TRY(fit_lay_out(s, NULL));
        s->kept = s->last;
        if (!fit_ends(s) && s->last.bytes > s->limit && c->options->use == COL_USE_TRAIN &&
            is_checkpoint(c, "auto"))
            COL_TRY(search_again(s));
    }
    if (!fit_ends(s) && !fit_has_best(s)) *out_needed = s->least.bytes ? s->least.bytes : s->last.bytes;
    return NULL;
}
