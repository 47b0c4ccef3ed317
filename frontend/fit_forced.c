/* Plans that are forced by name, tried for auto: the sharding solver does not know what can be computed again, how
 * kernels are fused and what hides behind them, or how buffers come to lie, so a finished forced plan may be faster.
 *
 * A finished plan takes no less than a share of the seconds of its sharding model. A forced plan is left out whose model
 * is too slow even so; then one whose first program, split without a limit of memory and laid out roughly, is
 * predicted to be too slow. What remains is done as it would be alone. */
#include <math.h>
#include <stdlib.h>

#include "frontend/fit.h"

enum {
    SMALL_NODES = 1000, /* of a sharding problem */
    LARGE_NODES = 10000,
    LARGE_TRIES = 2, /* of forced plans for larger problems, where each takes a second */
};
/* Of the seconds by the model, the least share that a finished plan may take: of small problems; of large ones, where
 * communication hides behind computation, and where it does not (docs/benchmarks.md). */
static const double FASTEST_SMALL = 0.86, FASTEST_HIDING = 0.92, FASTEST = 0.985;
static const double UNLIMITED = 0.98; /* of a plan without a limit: one within a limit has hardly less */
static const double LEFT_BY_RECOMPUTATION = 0.4; /* of the least memory of a split */
static const double BINDING = 0.97; /* of the limit: splits that take less are those without one */

/* A forced plan. */
typedef struct candidate {
    col_plan_kind kind;
    int row;        /* of what is known; 0: none */
    double seconds; /* without a limit of memory, by the sharding model and then as predicted; 0: not known */
} candidate;

static int compare_candidates(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->seconds != y->seconds) return x->seconds < y->seconds ? -1 : 1;
    return x->kind < y->kind ? -1 : 1;
}

/* Those that the mesh and the shapes allow, the fastest first. */
static int list_candidates(const fit_search *s, candidate *list)
{
    int count = 0;
    for (int i = 1; i < s->known.plan_count; i++) {
        const col_shard_row *row = &s->known.plans[i];
        if (row->reason) continue;
        bool is_free = row->fits && (double)row->peak < BINDING * (double)s->limit;
        list[count++] = (candidate){row->plan, i, is_free ? row->seconds : 0};
    }
    for (int kind = COL_PLAN_AUTO + 1; kind < COL_PLAN_COUNT && !s->known.plan_count; kind++)
        list[count++] = (candidate){(col_plan_kind)kind, 0, 0};
    qsort(list, (size_t)count, sizeof *list, compare_candidates);
    return count;
}

static double fastest(const fit_search *s)
{
    if (s->nodes <= SMALL_NODES) return FASTEST_SMALL;
    return s->c->options->machine.overlap > 0 ? FASTEST_HIDING : FASTEST;
}

static fit_search begin_candidate(const fit_search *s, const candidate *of)
{
    s->c->plan_kind = of->kind;
    return (fit_search){.c = s->c,
                        .stopped = s->stopped,
                        .arena = s->arena,
                        .kind = of->kind,
                        .limit = s->limit,
                        .keeps = s->keeps,
                        .start = s->start,
                        .nodes = s->nodes,
                        .is_second = fit_has_best(s)};
}

/* Ends the search for a candidate; its best plan is taken if it is better. Status: that of the search, but for what is
 * only the candidate's. */
static col_status end_candidate(fit_search *s, fit_search *own, col_status status)
{
    fit_end(own);
    bool wins = !status && !fit_ends(s) && fit_has_best(own) &&
                (!fit_has_best(s) || own->best.plan.seconds < s->best.plan.seconds);
    if (fit_has_best(own))
        s->forced[own->kind] = fit_figures_of(&own->best.message);
    else if (own->forced[own->kind].seconds > 0)
        s->forced[own->kind] = own->forced[own->kind];
    fit_drop_best(wins ? s : own);
    if (wins) s->best = own->best;
    col_code code = col_error_code(status);
    if (code != COL_INFEASIBLE && code != COL_BAD_INPUT) return status;
    col_error_free(status);
    return NULL;
}

/* The seconds that the plan is predicted to take without a limit, as far as they may be less than `below`: from the
 * answer that its row stands for, if that is of a problem without a limit, else from one of its own. */
static col_status predict_unlimited(fit_search *own, int row, double below, double *out_seconds)
{
    col_compiler *c = own->c;
    size_t programs = c->program_count;
    c->program_count = 1;
    c->is_rough = true;
    c->row = row;
    col_status status = fit_prepare(own, 0);
    *out_seconds = status ? INFINITY : fastest(own) * c->programs[0].shard.objective;
    if (!status && !fit_ends(own) && *out_seconds < below) {
        fit_begin(own);
        c->is_searching = true;
        status = col_compiler_finish(c, own->stopped);
        if (!status && !fit_ends(own)) own->forced[own->kind] = fit_figures_of(c->plan);
        if (!status && !fit_ends(own)) *out_seconds = own->forced[own->kind].seconds;
    }
    c->program_count = programs;
    c->is_rough = false;
    return status;
}

/* Whether the row's answer is auto's own, as far as figures tell. */
static bool is_own(const fit_search *s, const candidate *of)
{
    const col_shard_row *own = &s->known.plans[0], *row = &s->known.plans[of->row];
    return row->seconds == own->seconds && row->compute == own->compute && row->peak == own->peak;
}

/* Without a limit: of the plans that their rows leave hope for, the one that is predicted to be the fastest. */
static col_status take_fastest(fit_search *s, const candidate *list, int count)
{
    const candidate *best = NULL;
    double below = s->best.plan.seconds;
    s->c->rows = &s->known;
    if (s->nodes > LARGE_NODES) count = COL_MIN(count, LARGE_TRIES);
    for (int i = 0; i < count && !fit_ends(s) && fastest(s) * list[i].seconds < below; i++) {
        double seconds;
        if (is_own(s, &list[i])) {
            s->forced[list[i].kind] = fit_figures_of(&s->best.message);
            continue;
        }
        fit_search own = begin_candidate(s, &list[i]);
        COL_TRY(end_candidate(s, &own, predict_unlimited(&own, list[i].row, below, &seconds)));
        if (seconds >= below) continue;
        below = seconds;
        best = &list[i];
    }
    if (best && !fit_ends(s)) {
        int64_t ignored;
        fit_search own = begin_candidate(s, best);
        s->c->row = best->row;
        COL_TRY(end_candidate(s, &own, fit_kind(&own, &ignored)));
    }
    s->c->rows = NULL;
    return NULL;
}

/* Where nothing fits yet: whether the least memory of a split leaves hope. */
static col_status may_need_less(fit_search *own, int64_t needed, bool *out_may)
{
    col_status status = fit_prepare(own, 1);
    int64_t least;
    *out_may = true;
    if (!fit_is_too_large(own->c, status, &least)) return status;
    *out_may = !needed || LEFT_BY_RECOMPUTATION * (double)least < (double)needed;
    col_error_free(status);
    return NULL;
}

/* Within a limit: the forced plan as it would be alone, where it may be better than the best; in larger problems each
 * takes too long. */
static col_status search_forced(fit_search *own, const fit_search *s, const candidate *of, int64_t *needed)
{
    int64_t least;
    double below = s->best.plan.seconds;
    if (own->nodes > FIT_SWEPT_NODES) return NULL;
    if (fit_has_best(s)) {
        double seconds;
        if (fastest(s) * of->seconds >= below) return NULL;
        COL_TRY(predict_unlimited(own, 0, below, &seconds));
        if (fit_ends(own) || UNLIMITED * seconds >= below) return NULL;
        own->forced[own->kind] = (fit_figures){0};
    } else {
        bool may;
        COL_TRY(may_need_less(own, *needed, &may));
        if (!may || fit_ends(own)) return NULL;
    }
    own->c->sharding_threads = 0;
    COL_TRY(fit_kind(own, &least));
    if (!fit_has_best(own) && least) *needed = *needed ? COL_MIN(*needed, least) : least;
    return NULL;
}

col_status fit_forced(fit_search *s, int64_t *needed)
{
    candidate list[COL_PLAN_COUNT];
    int count = list_candidates(s, list);
    s->c->beside = &s->known;
    bool limited = s->limit < INT64_MAX;
    if (!limited) COL_TRY(take_fastest(s, list, count));
    for (int i = 0; limited && i < count && !fit_ends(s); i++) {
        fit_search own = begin_candidate(s, &list[i]);
        COL_TRY(end_candidate(s, &own, search_forced(&own, s, &list[i], needed)));
    }
    s->c->beside = NULL;
    return NULL;
}
