/* Inside frontend/fit*.c: the search for the fastest plan that fits the memory of a device.
 *
 * What is tried lives in two arenas: that of a *split*, which holds what is prepared, and that of an *attempt*,
 * which holds one plan laid out from it. Both are freed when the next one begins, unless they hold the best. */
#ifndef COL_FRONTEND_FIT_H
#define COL_FRONTEND_FIT_H

#include "frontend/compiler.h"

enum {
    /* Of the sharding problem: larger ones are not solved again for a little less memory. */
    FIT_SWEPT_NODES = 5000,
};

/* A plan that was laid out. */
typedef struct fit_plan {
    int64_t bytes;  /* of the arena; 0: there is none yet */
    double seconds; /* of a step, predicted */
    int32_t joined; /* blocks of a group where the solver found what is computed again; else 0 */
} fit_plan;

/* The best plan, as everything was when it was laid out: laid out anew, buffers may come to lie otherwise. */
typedef struct fit_best {
    fit_plan plan;
    col_compiler compiler;
    col_plan message;
    col_arena *split, *attempt;
} fit_best;

/* What a plan of a kind is predicted to take, where one was laid out. */
typedef struct fit_figures {
    double seconds;                /* of a step; 0: none was laid out */
    double exposed, communication; /* of them without computation; in which ranks communicate */
} fit_figures;

typedef struct fit_search {
    col_compiler *c;
    bool *stopped;
    col_arena *arena;           /* of the compilation */
    col_arena *split, *attempt; /* of what was prepared last, and laid out from it; NULL: nothing */
    col_plan_kind kind;
    int64_t limit; /* INT64_MAX: none */
    double start;
    /* Of the programs that are prepared. */
    col_recompute_model *model;
    double work; /* of the solver, still to be done for groups of any size */
    /* Of the model's peak over the temporaries of a plan: the one that keeps everything, one of least memory; and
     * what is expected. */
    int64_t kept_excess, least_excess, excess;
    int64_t keep_peak;          /* of the model where everything is kept */
    fit_plan kept, last, least; /* keeping everything; the last one; one of the plans of least memory */
    int64_t smallest;           /* bytes of the smallest */
    int32_t last_units;         /* of the first program of the last one */
    /* Of all. */
    int32_t nodes; /* of the sharding problem */
    bool
        keeps; /* everything, also where computing again is forced: that is done to the best split, which so is one */
    bool is_second;         /* another plan fits: of interest is what is faster, not what is least */
    col_shard_report known; /* the last one that says what forced plans reach; nodes 0: none */
    fit_best best;          /* the fastest that fits */
    fit_figures forced[COL_PLAN_COUNT]; /* of the plans that were tried for auto */
} fit_search;

static inline bool fit_ends(const fit_search *s)
{
    return *s->stopped;
}

static inline bool fit_has_best(const fit_search *s)
{
    return s->best.plan.bytes > 0;
}

/* Prepares the programs within `bytes` of the sharding solver's account (0: no limit), as col_compiler_prepare does. */
COL_MUST_USE col_status fit_prepare(fit_search *s, int64_t bytes);
/* The arena of a new attempt: for the answer that is going to be laid out. */
col_arena *fit_begin(fit_search *s);
/* Lays out the plan with what is computed again; NULL: nothing. It is kept if it fits and is the fastest. */
COL_MUST_USE col_status fit_lay_out(fit_search *s, const col_recompute_answer *answer);
/* The figures of a plan that was laid out. */
fit_figures fit_figures_of(const col_plan *plan);
/* Forgets the best plan. */
void fit_drop_best(fit_search *s);
/* Frees all but the best plan. */
void fit_end(fit_search *s);
/* The fastest plan of the compiler's kind that fits. `*out_needed` is the least that a plan took if none fits, else 0. */
COL_MUST_USE col_status fit_kind(fit_search *s, int64_t *out_needed);

/* frontend/fit_forced.c. After fit_kind for auto: the forced plans that may be faster or, where nothing fits, need less
 * than `*needed` (0: not known), which then is lowered. */
COL_MUST_USE col_status fit_forced(fit_search *s, int64_t *needed);

/* frontend/fit_recompute.c. Lays out what is prepared: keeping everything, and computing again what does not fit.
 * `*out_needed` is the least that a plan took if none fits, else 0. */
COL_MUST_USE col_status fit_finish(fit_search *s, int64_t *out_needed);
/* Whether computing again is forced by name. */
bool fit_is_forced_again(const fit_search *s);
/* After fit_finish, where nothing fits: lowers `*needed` to less that is known to do. */
COL_MUST_USE col_status fit_lower_needed(fit_search *s, int64_t *needed);

/* frontend/fit_split.c. Finds splits that fit, by the plans that they lead to. */
COL_MUST_USE col_status fit_split(fit_search *s, int64_t *out_needed);
/* Whether the sharding solver proved that the program prepared last does not fit, and knows what does; then how
 * much. */
bool fit_is_too_large(const col_compiler *c, col_status status, int64_t *out_bytes);

#endif
