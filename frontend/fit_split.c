/* Splits over a mesh, and what is computed again, chosen together.
 *
 * What counts is what the finished plan takes. The sharding solver splits for several limits, from what a device has to no
 * limit at all, and for each split the cheapest recomputation is found on the program of a rank; the fastest plan of
 * all that fit is taken. The first of them is sharding alone, the last is sharding without a thought of memory and
 * recomputation after it, so that neither does better. */
#include <string.h>

#include "frontend/fit.h"

enum { SHARDING_TRIES = 4 }; /* at a plan that takes no more memory than there is */
/* Limits of the sharding solver by what a device has, where part of it may be computed again; 0: none. */
static const double SHARDING_LIMITS[] = {1.3, 1.8, 2.5, 0};
/* Of the seconds by the sharding model, which counts every all-reduce alone: a plan has at least as many. */
static const double ABOUT = 0.7;
static const double BINDING = 0.97; /* of the limit: a split that takes less would not use more */

bool fit_is_too_large(const col_compiler *c, const col_status status, int64_t *out_bytes)
{
    if (!status || col_error_code(status) != COL_INFEASIBLE || !c->split_count) return false;
    const col_shard_report *report = &c->programs[c->split_count - 1].shard;
    *out_bytes = report->peak;
    return report->status == COL_SOLVE_INFEASIBLE && report->peak > c->sharding_bytes;
}

/* The least memory in which the sharding solver knows a plan. */
static col_status find_least(fit_search *s, int64_t *out_bytes)
{
    *out_bytes = 1;
    for (size_t i = 0;; i++) { /* a later program may need more than one before it */
        col_status status = fit_prepare(s, *out_bytes);
        if (i == COL_COMPILE_PROGRAMS || !fit_is_too_large(s->c, status, out_bytes)) return status;
        col_error_free(status);
    }
}

/* Gives the solver somewhat more than the least. These steps depend neither on --memory nor, on
 * one thread, on chance: what one of them takes is enough when it is asked for. `*out_needed` is the least
 * that a plan took, 0 if one fits. */
static col_status lay_out_smallest(fit_search *s, int64_t *out_needed)
{
    static const double steps[] = {1, 1.02, 1.05, 1.1, 1.2};
    int64_t least, needed = INT64_MAX;
    s->c->sharding_threads = 1;
    COL_TRY(find_least(s, &least));
    for (size_t i = 0; i < COL_COUNT(steps) && !fit_ends(s) && !fit_has_best(s); i++) {
        if (i && s->c->programs[0].shard.nodes > FIT_SWEPT_NODES) break;
        int64_t own = 0;
        if (i) COL_TRY(fit_prepare(s, (int64_t)((double)least * steps[i])));
        if (!fit_ends(s)) COL_TRY(fit_finish(s, &own));
        needed = COL_MIN(needed, own);
    }
    *out_needed = fit_ends(s) || fit_has_best(s) ? 0 : needed;
    return NULL;
}

/* Gives the solver what there is, and then less by what its plan took too much. */
static col_status lay_out_less_and_less(fit_search *s)
{
    int64_t needed, bytes = s->limit;
    for (int i = 0; i < SHARDING_TRIES && bytes > 0 && !fit_has_best(s); i++) {
        col_status status = fit_prepare(s, bytes);
        if (status && col_error_code(status) == COL_INFEASIBLE) {
            col_error_free(status);
            return NULL;
        }
        if (status || fit_ends(s)) return status;
        COL_TRY(fit_finish(s, &needed));
        if (!needed) return NULL;
        bytes -= needed - s->limit;
    }
    return NULL;
}

/* Splits for more than a device has, which is computed again where it does not fit. */
static col_status lay_out_more(fit_search *s)
{
    for (size_t i = 0; i < COL_COUNT(SHARDING_LIMITS) && !fit_ends(s); i++) {
        int64_t ignored, bytes = (int64_t)((double)s->limit * SHARDING_LIMITS[i]);
        col_status status = fit_prepare(s, bytes);
        if (status && col_error_code(status) == COL_INFEASIBLE) {
            col_error_free(status);
            continue;
        }
        if (status || fit_ends(s)) return status;
        const col_shard_report *report = &s->c->programs[0].shard;
        if (s->best.plan.bytes && ABOUT * report->objective >= s->best.plan.seconds) return NULL;
        bool binds = !bytes || (double)report->peak >= BINDING * (double)bytes;
        COL_TRY(fit_finish(s, &ignored));
        if (!binds) return NULL;
    }
    return NULL;
}

col_status fit_split(fit_search *s, int64_t *out_needed)
{
    bool drops = s->c->options->use == COL_USE_TRAIN && strcmp(s->c->options->checkpoint, "none");
    *out_needed = 0;
    COL_TRY(lay_out_less_and_less(s));
    if (fit_ends(s)) return NULL;
    bool binds =
        !fit_has_best(s) || (double)s->best.compiler.programs[0].shard.peak >= BINDING * (double)s->limit;
    if (drops && binds) COL_TRY(lay_out_more(s));
    return s->best.plan.bytes || s->is_second || fit_ends(s) ? NULL : lay_out_smallest(s, out_needed);
}
