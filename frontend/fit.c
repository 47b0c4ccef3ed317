/* Fitting a plan into the memory of a device (--memory).
 *
 * What counts is the finished plan: its arena, with kernels that work in place and with what the placement of
 * buffers leaves unused. The solvers count bytes that are live, so they get a limit of their own, which moves
 * by what their last plan took too much or too little.
 *
 * On a mesh, sharding and recomputation are chosen together: the sharding solver splits for several limits, from
 * what a device has to no limit at all, and for each split the cheapest recomputation is found on the program of
 * a rank; the fastest plan of all that fit is taken. The first of them is sharding alone, the last is sharding
 * without a thought of memory and recomputation after it, so that neither does better. */
#include "frontend/compiler.h"

#include <string.h>

#include "frontend/predict.h"

enum {
    SHARDING_TRIES = 4, /* at a plan that takes no more memory than there is */
    AGAIN_TRIES = 4,    /* for each size of groups, the same for recomputation */
    NAMED_TRIES = 4,    /* at a smaller limit than the one to be named */
    GRID = 4096,        /* parts of the model's peak, in which its limits are given */
    LEVEL = 64,         /* of them between the levels that are tried below the limit, ... */
    LOWER_TRIES = 16,   /* ... of which there are so many, ... */
    LOWER_UNITS = 6000, /* ... or fewer: to lay out so many units in all */
    ENOUGH = 4,         /* sizes of groups in a row that bring nothing: no more are tried */
    SWEPT_NODES =
        5000, /* of the sharding problem: larger ones are not solved again for a little less memory */
    TRIED_NODES =
        500, /* ... and in smaller ones auto tries what can be forced, also where there is no limit */
};
static const double AGAIN_GAP = 0.001; /* at which the solver may stop ... */
static const double AGAIN_WORK = 3e8;  /* ... and when it must: after some tenths of a second ... */
static const double ALL_WORK = 1e9;    /* ... and for groups of all sizes together */
static const double LOWER_WORK = 1e8;  /* ... and at a lower level */
static const double LUCK = 1.04;       /* by which plans may be faster than the model says */
static const double ANY_SECONDS = 1e8;
static const double HOPELESS = 1.05;     /* by the least memory of other sizes: not laid out */
static const double AGAIN_CLOSE = 0.005; /* of the temporaries' memory: not worth another try */
static const double WORTH = 0.001; /* of a step's time: the least gain that larger groups are tried for */
/* Limits of the sharding solver by what a device has, where part of it may be computed again; 0: none. */
static const double SHARDING_LIMITS[] = {1.3, 1.8, 2.5, 0};
/* Of the seconds by the sharding model, which counts every all-reduce alone: a plan has at least as many. */
static const double ABOUT = 0.7;
static const double LEFT_BY_RECOMPUTATION = 0.4; /* of the least memory of a split */
static const double BINDING = 0.97; /* of the limit: a split that takes less would not use more */

static bool trains(const col_compiler *c)
{
    return c->options->use == COL_USE_TRAIN;
}

static bool is_checkpoint(const col_compiler *c, const char *name)
{
    return !strcmp(c->options->checkpoint, name);
}

/* A plan that was laid out. */
typedef struct attempt {
    int64_t bytes;  /* of the arena; 0: there is none yet */
    double seconds; /* of a step, predicted */
    int32_t joined; /* blocks of a group where the solver found what is computed again; else 0 */
} attempt;

typedef struct search {
    col_compiler *c;
    bool *stopped;
    int64_t limit; /* INT64_MAX: none */
    double start;
    /* Of the programs that are prepared. */
    col_recompute_model *model;
    double work; /* of the solver, still to be done for groups of any size */
    /* Of the model's peak over the temporaries of a plan: the one that keeps everything, one of least memory; and
     * what is expected. */
    int64_t kept_excess, least_excess, excess;
    int64_t keep_peak;         /* of the model where everything is kept */
    attempt kept, last, least; /* keeping everything; the last one; one of the plans of least memory */
    /* Of all. */
    bool is_second;             /* another plan fits: of interest is what is faster, not what is least */
    col_shard_report known;     /* the last one that says what forced plans reach */
    attempt best;               /* the fastest that fits */
    col_compiler best_compiler; /* as they were then: laid out anew, buffers may come to lie otherwise */
    col_plan best_plan;
} search;

static bool ends(const search *s)
{
    return *s->stopped;
}

static void keep_best(search *s)
{
    s->best = s->last;
    s->best_compiler = *s->c;
    s->best_plan = *s->c->plan;
    size_t size = sizeof *s->c->times.data * s->c->times.len;
    s->best_compiler.times.data = col_arena_copy(s->c->arena, s->c->times.data, size);
    s->best_compiler.times.cap = s->c->times.len;
}

static void take_best(search *s)
{
    *s->c = s->best_compiler;
    *s->c->plan = s->best_plan;
    s->c->beside = NULL;
}

static col_status lay_out(search *s, const col_recompute_answer *answer)
{
    col_program *step = &s->c->programs[0];
    step->again = answer;
    step->again_seconds = col_solve_clock() - s->start;
    s->c->is_searching = true;
    COL_TRY(col_compiler_finish(s->c, s->stopped));
    s->last = (attempt){(int64_t)s->c->plan->arena_bytes, col_predict_step(s->c->plan),
                        answer ? answer->joined : 0};
    if (step->shard.plan_count && !s->c->beside) s->known = step->shard;
    bool fits = s->last.bytes <= s->limit;
    if (fits && (!s->best.bytes || s->last.seconds < s->best.seconds)) keep_best(s);
    return NULL;
}

/* Recomputation. */

static void make_model(search *s)
{
    s->model = col_recompute_model_create(s->c->programs[0].legal, &s->c->options->machine,
                                          s->c->options->passes.accumulate, s->c->arena);
}

/* The cheapest plan within `memory` by the model; only those that compute again for less than `below` seconds, unless
 * that is 0. */
static col_status solve(search *s, int64_t memory, int32_t joined, double work, double below,
                        col_recompute_answer **out)
{
    col_recompute_limits limits = {
        .memory = memory, .joined = joined, .gap = AGAIN_GAP, .work = work, .below = below};
    *out = COL_NEW(s->c->arena, col_recompute_answer);
    return col_recompute_solve(s->model, &limits, s->c->arena, *out);
}

/* Of groups of blocks: 1, 2, 3, 4, 6, 8, 12, ... */
static int32_t next_size(int32_t joined)
{
    bool is_power = !(joined & (joined - 1));
    return joined == 1 ? 2 : is_power ? joined / 2 * 3 : joined / 3 * 4;
}

static int64_t last_temporaries(const search *s)
{
    return s->last.bytes - (int64_t)s->c->plan->state_bytes;
}

/* Limits of the model are multiples of a fixed part of its peak, so that limits next to each other get the same
 * plan. */
static int64_t on_grid(const search *s, int64_t memory, int64_t level)
{
    int64_t grain = COL_MAX(s->keep_peak / GRID, 1) * level;
    return memory / grain * grain;
}

/* Gives the solver what there is by its own account: `s->excess` is what it counts more than plans take, as of the
 * last one. With a plan that fits at hand, only faster ones are of interest. */
static col_status search_group(search *s, int32_t joined, bool *out_found)
{
    int64_t room = s->limit - (int64_t)s->c->plan->state_bytes;
    int64_t close = (int64_t)(AGAIN_CLOSE * (double)room), excess = s->excess, high = INT64_MAX;
    *out_found = false;
    for (int i = 0; i < AGAIN_TRIES && !ends(s); i++) {
        int64_t memory = on_grid(s, COL_MIN(room + excess, high), 1);
        double below = s->best.bytes ? s->best.seconds * (1 - WORTH) - s->kept.seconds : ANY_SECONDS;
        col_recompute_answer *answer;
        if (memory <= 0 || below <= 0 || s->work <= 0) return NULL;
        COL_TRY(solve(s, memory, joined, COL_MIN(AGAIN_WORK, s->work), below, &answer));
        s->work -= answer->work;
        if (answer->status == COL_SOLVE_LIMIT || answer->again_seconds >= below) return NULL;
        COL_TRY(lay_out(s, answer));
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
static col_status search_lower(search *s, int32_t joined)
{
    int64_t room = s->limit - (int64_t)s->c->plan->state_bytes, seen = 0;
    int64_t memory = on_grid(s, room + s->excess, LEVEL),
            step = on_grid(s, s->keep_peak, GRID) / GRID * LEVEL;
    int32_t tries = LOWER_UNITS / (int32_t)s->c->programs[0].units->count;
    for (int i = 0; i < COL_MIN(tries, LOWER_TRIES) && memory > 0 && !ends(s); i++, memory -= step) {
        col_recompute_answer *answer;
        COL_TRY(solve(s, memory, joined, LOWER_WORK, ANY_SECONDS, &answer));
        if (answer->status == COL_SOLVE_LIMIT) return NULL;
        if (s->kept.seconds + answer->again_seconds > s->best.seconds * LUCK) return NULL;
        if (answer->peak == seen) continue;
        seen = answer->peak;
        COL_TRY(lay_out(s, answer));
    }
    return NULL;
}

static col_status search_groups(search *s)
{
    int32_t blocks = col_recompute_blocks(s->model), without = 0;
    s->work = ALL_WORK;
    for (int32_t joined = 1; joined <= blocks && without < ENOUGH && !ends(s); joined = next_size(joined)) {
        bool found;
        COL_TRY(search_group(s, joined, &found));
        without = found || !s->best.bytes ? 0 : without + 1;
    }
    int32_t joined = s->best.joined;
    if (!joined || ends(s)) return NULL; /* nothing fits, or a plan of another split is better */
    COL_TRY(search_lower(s, joined));
    return joined == 1 || ends(s) ? NULL : search_lower(s, 1);
}

static col_status lay_out_least(search *s, const col_recompute_answer *answer)
{
    COL_TRY(lay_out(s, answer));
    if (s->last.bytes >= s->least.bytes) return NULL;
    s->least = s->last;
    if (answer->peak) s->least_excess = answer->peak - last_temporaries(s);
    return NULL;
}

/* Plans that do not depend on the limit, those that are forced by name among them. */
static col_status search_least(search *s)
{
    int32_t blocks = col_recompute_blocks(s->model), without = 0;
    int64_t least = INT64_MAX;
    s->least = s->kept;
    for (int32_t joined = 0; joined <= 1 && !ends(s); joined++) {
        col_recompute_answer *answer = COL_NEW(s->c->arena, col_recompute_answer);
        col_recompute_all(s->model, joined, s->c->arena, answer);
        COL_TRY(lay_out_least(s, answer));
    }
    for (int32_t joined = 1; joined <= blocks && without < ENOUGH && !ends(s); joined = next_size(joined)) {
        col_recompute_answer *answer;
        COL_TRY(solve(s, 1, joined, AGAIN_WORK, 0, &answer));
        if (answer->status != COL_SOLVE_INFEASIBLE) continue;
        without = (double)answer->peak < HOPELESS * (double)least ? 0 : without + 1;
        least = COL_MIN(least, answer->peak);
        if (!without) COL_TRY(lay_out_least(s, answer));
    }
    return NULL;
}

/* Where none of the plans of least memory fits: what the model counts too much is known better from them. */
static col_status search_tight(search *s)
{
    s->excess = s->least_excess;
    return search_groups(s);
}

static col_status search_again(search *s)
{
    make_model(s);
    s->keep_peak = col_recompute_keep_peak(s->model);
    s->excess = s->kept_excess = s->keep_peak - (int64_t)s->c->programs[0].memory.temporary_bytes;
    bool had = s->best.bytes > 0;
    COL_TRY(search_groups(s));
    if (had || s->best.bytes || ends(s)) return NULL;
    COL_TRY(search_least(s));
    return ends(s) ? NULL : search_tight(s);
}

/* The searches that depend on the limit may find plans of less memory than those that do not: goes down from what
 * the least of these takes, by limits at which this very search ends with a plan. */
static col_status lower_needed(search *s, int64_t *needed)
{
    int64_t limit = s->limit, next = *needed - COL_PLAN_ALIGNMENT;
    for (int i = 0; i < NAMED_TRIES && next > (int64_t)s->c->plan->state_bytes && !ends(s); i++) {
        s->limit = next;
        s->best.bytes = 0;
        s->excess = s->kept_excess;
        COL_TRY(search_groups(s));
        if (!s->best.bytes) COL_TRY(search_tight(s));
        if (!s->best.bytes) break;
        *needed = next;
        next = s->best.bytes < next ? s->best.bytes : next - COL_PLAN_ALIGNMENT;
    }
    s->limit = limit;
    s->best.bytes = 0;
    return NULL;
}

static col_status force_again(search *s)
{
    col_recompute_answer *answer = COL_NEW(s->c->arena, col_recompute_answer);
    make_model(s);
    col_recompute_all(s->model, is_checkpoint(s->c, "all"), s->c->arena, answer);
    return lay_out(s, answer);
}

/* Finishes what is prepared. `*out_needed` is the least that a plan took if none fits, else 0. */
static col_status finish_within(search *s, int64_t *out_needed)
{
    const col_compiler *c = s->c;
    *out_needed = 0;
    s->least.bytes = 0;
    s->start = col_solve_clock();
    if (trains(c) && (is_checkpoint(c, "all") || is_checkpoint(c, "sqrt"))) {
        COL_TRY(force_again(s));
    } else {
        COL_TRY(lay_out(s, NULL));
        s->kept = s->last;
        if (!ends(s) && s->last.bytes > s->limit && trains(c) && is_checkpoint(c, "auto"))
            COL_TRY(search_again(s));
    }
    if (!ends(s) && !s->best.bytes) *out_needed = s->least.bytes ? s->least.bytes : s->last.bytes;
    return NULL;
}

/* Sharding. */

/* Whether the sharding solver proved that the last program does not fit, and knows what does; then how much.
 */
static bool is_too_large(const col_compiler *c, const col_status status, int64_t *out_bytes)
{
    if (!status || col_error_code(status) != COL_INFEASIBLE || !c->program_count) return false;
    const col_shard_report *report = &c->programs[c->program_count - 1].shard;
    *out_bytes = report->peak;
    return report->status == COL_SOLVE_INFEASIBLE && report->peak > c->sharding_bytes;
}

/* The least memory in which the sharding solver knows a plan. */
static col_status find_least(search *s, int64_t *out_bytes)
{
    *out_bytes = 1;
    for (size_t i = 0;; i++) { /* a later program may need more than one before it */
        s->c->sharding_bytes = *out_bytes;
        col_status status = col_compiler_prepare(s->c, s->stopped);
        if (i == COL_COMPILE_PROGRAMS || !is_too_large(s->c, status, out_bytes)) return status;
        col_error_free(status);
    }
}

/* Gives the solver somewhat more than the least. These steps depend neither on --memory nor, on
 * one thread, on chance: what one of them takes is enough when it is asked for. `*out_needed` is the least
 * that a plan took, 0 if one fits. */
static col_status lay_out_smallest(search *s, int64_t *out_needed)
{
    static const double steps[] = {1, 1.02, 1.05, 1.1, 1.2};
    int64_t least, needed = INT64_MAX;
    s->c->sharding_threads = 1;
    COL_TRY(find_least(s, &least));
    for (size_t i = 0; i < COL_COUNT(steps) && !ends(s) && !s->best.bytes; i++) {
        if (i && s->c->programs[0].shard.nodes > SWEPT_NODES) break;
        int64_t own = 0;
        s->c->sharding_bytes = (int64_t)((double)least * steps[i]);
        if (i) COL_TRY(col_compiler_prepare(s->c, s->stopped));
        if (!ends(s)) COL_TRY(finish_within(s, &own));
        needed = COL_MIN(needed, own);
    }
    *out_needed = ends(s) || s->best.bytes ? 0 : needed;
    return NULL;
}

/* Gives the solver what there is, and then less by what its plan took too much. */
static col_status lay_out_less_and_less(search *s)
{
    int64_t needed;
    s->c->sharding_bytes = s->limit;
    for (int i = 0; i < SHARDING_TRIES && s->c->sharding_bytes > 0 && !s->best.bytes; i++) {
        col_status status = col_compiler_prepare(s->c, s->stopped);
        if (status && col_error_code(status) == COL_INFEASIBLE) {
            col_error_free(status);
            return NULL;
        }
        if (status || ends(s)) return status;
        COL_TRY(finish_within(s, &needed));
        if (!needed) return NULL;
        s->c->sharding_bytes -= needed - s->limit;
    }
    return NULL;
}

/* Splits for more than a device has, which is computed again where it does not fit. */
static col_status lay_out_more(search *s)
{
    for (size_t i = 0; i < COL_COUNT(SHARDING_LIMITS) && !ends(s); i++) {
        int64_t ignored;
        s->c->sharding_bytes = (int64_t)((double)s->limit * SHARDING_LIMITS[i]);
        col_status status = col_compiler_prepare(s->c, s->stopped);
        if (status && col_error_code(status) == COL_INFEASIBLE) {
            col_error_free(status);
            continue;
        }
        if (status || ends(s)) return status;
        const col_shard_report *report = &s->c->programs[0].shard;
        if (s->best.bytes && ABOUT * report->objective >= s->best.seconds) return NULL;
        bool binds = !s->c->sharding_bytes || (double)report->peak >= BINDING * (double)s->c->sharding_bytes;
        COL_TRY(finish_within(s, &ignored));
        if (!binds) return NULL;
    }
    return NULL;
}

static col_status fit_split(search *s, int64_t *out_needed)
{
    bool drops = trains(s->c) && !is_checkpoint(s->c, "none");
    *out_needed = 0;
    COL_TRY(lay_out_less_and_less(s));
    if (ends(s)) return NULL;
    bool binds =
        !s->best.bytes || (double)s->best_compiler.programs[0].shard.peak >= BINDING * (double)s->limit;
    if (drops && binds) COL_TRY(lay_out_more(s));
    return s->best.bytes || s->is_second || ends(s) ? NULL : lay_out_smallest(s, out_needed);
}

static col_status fit_device(search *s, int64_t *out_needed)
{
    *out_needed = 0;
    COL_TRY(col_compiler_prepare(s->c, s->stopped));
    if (ends(s)) return NULL;
    COL_TRY(finish_within(s, out_needed));
    return *out_needed && s->least.bytes && !ends(s) ? lower_needed(s, out_needed) : NULL;
}

static col_status fit_kind(search *s, int64_t *out_needed)
{
    return s->limit < INT64_MAX ? fit_split(s, out_needed) : fit_device(s, out_needed);
}

/* Whether the forced plan may be worth its try: its split without a limit, which no limit makes faster, leaves hope,
 * or where nothing fits yet, the least memory of a split does. Large problems are left to the sharding solver. */
static col_status may_be_better(search *s, col_plan_kind kind, int32_t nodes, int64_t needed, bool *out_may)
{
    bool limited = s->limit < INT64_MAX;
    *out_may = nodes <= (limited ? SWEPT_NODES : TRIED_NODES);
    if (!*out_may || !limited) return NULL;
    s->c->sharding_bytes = s->best.bytes ? 0 : 1;
    s->c->plan_kind = kind;
    col_status status = col_compiler_prepare(s->c, s->stopped);
    int64_t least;
    if (is_too_large(s->c, status, &least)) {
        *out_may = !needed || LEFT_BY_RECOMPUTATION * (double)least < (double)needed;
        col_error_free(status);
        return NULL;
    }
    COL_TRY(status);
    *out_may = !s->best.bytes || ABOUT * s->c->programs[0].shard.objective < s->best.seconds;
    return NULL;
}

/* Lowers `*needed`, 0 for nothing known, to the least that the forced plan takes if that does not fit. */
static col_status try_forced(search *s, col_plan_kind kind, int32_t nodes, int64_t *needed)
{
    search own = {.c = s->c,
                  .stopped = s->stopped,
                  .limit = s->limit,
                  .start = s->start,
                  .is_second = s->best.bytes > 0};
    int64_t least;
    bool may;
    COL_TRY(may_be_better(s, kind, nodes, *needed, &may));
    if (!may || ends(s)) return NULL;
    s->c->plan_kind = kind;
    s->c->sharding_bytes = 0;
    s->c->sharding_threads = 0;
    COL_TRY(fit_kind(&own, &least));
    if (ends(s)) return NULL;
    if (!own.best.bytes) {
        if (least) *needed = *needed ? COL_MIN(*needed, least) : least;
    } else if (!s->best.bytes || own.best.seconds < s->best.seconds) {
        s->best = own.best;
        s->best_compiler = own.best_compiler;
        s->best_plan = own.best_plan;
    }
    return NULL;
}

/* The sharding solver does not know what can be computed again, which all-reduces will be joined, or how buffers
 * come to lie. So auto also tries the plans that are forced by name, each as it would be alone. */
static col_status fit_mesh(search *s, int64_t *out_needed)
{
    col_compiler *c = s->c;
    col_status status = fit_kind(s, out_needed);
    if (c->plan_kind != COL_PLAN_AUTO || ends(s) || !c->program_count) return status;
    if (status && col_error_code(status) != COL_INFEASIBLE) return status;
    int64_t needed = *out_needed;
    int32_t nodes = c->programs[0].shard.nodes;
    c->beside = &s->known;
    for (int kind = COL_PLAN_AUTO + 1; kind < COL_PLAN_COUNT && !ends(s); kind++) {
        col_status forced = try_forced(s, (col_plan_kind)kind, nodes, &needed);
        if (!forced) continue;
        col_code code = col_error_code(forced);
        if (code != COL_INFEASIBLE && code != COL_BAD_INPUT) return forced;
        col_error_free(forced);
    }
    c->plan_kind = COL_PLAN_AUTO;
    c->beside = NULL;
    *out_needed = s->best.bytes ? 0 : needed;
    if (!status || (!s->best.bytes && !needed)) return status;
    col_error_free(status);
    return NULL;
}

/* What is tried depends on the limit in places, so the memory that a refusal is to name is asked for, and raised until it
 * is enough. */
static col_status confirm_needed(const search *s, int64_t *needed)
{
    for (int i = 0; i < NAMED_TRIES && !ends(s) && s->known.nodes <= SWEPT_NODES; i++) {
        search again = {.c = s->c, .stopped = s->stopped, .limit = *needed, .start = s->start};
        int64_t more = 0;
        s->c->sharding_threads = 0;
        COL_TRY(fit_mesh(&again, &more));
        if (again.best.bytes) return NULL;
        *needed = COL_MAX(more, *needed + COL_PLAN_ALIGNMENT);
    }
    return NULL;
}

/* Of all that was tried, the best is printed, dumped and stopped at. It is restored once more after that: laid
 * out anew, buffers may come to lie otherwise. */
static col_status show_best(search *s)
{
    const col_compile_options *o = s->c->options;
    take_best(s);
    s->c->is_searching = false;
    if (!o->print_after && !o->stop_after && !o->dump_dir) return NULL;
    COL_TRY(col_compiler_finish(s->c, s->stopped));
    if (!ends(s)) take_best(s);
    s->c->is_searching = false;
    return NULL;
}

col_status col_fit(col_compiler *c, bool *out_stopped)
{
    int64_t limit = (int64_t)c->options->memory_bytes, needed;
    char need[COL_HUMAN_SIZE], have[COL_HUMAN_SIZE];
    COL_ASSERT(col_plan_kind_parse(c->options->plan_name, &c->plan_kind));
    search s = {
        .c = c, .stopped = out_stopped, .limit = limit ? limit : INT64_MAX, .start = col_solve_clock()};
    bool splits = col_mesh_size(&c->options->mesh) > 1;
    COL_TRY(splits ? fit_mesh(&s, &needed) : fit_device(&s, &needed));
    if (*out_stopped) return NULL;
    if (s.best.bytes) return show_best(&s);
    if (splits) COL_TRY(confirm_needed(&s, &needed));
    if (*out_stopped) return NULL;
    return col_error_make(COL_INFEASIBLE,
                          "plan %s does not fit --memory %s of a device: it needs --memory %lld (%s) or more",
                          c->options->plan_name, col_format_bytes(have, (double)limit), (long long)needed,
                          col_format_bytes(need, (double)needed));
}
