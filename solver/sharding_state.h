/* What the workers of one solve share: the incumbent, the bound, the multipliers. */
#ifndef COL_SOLVER_SHARDING_STATE_H
#define COL_SOLVER_SHARDING_STATE_H

#include <pthread.h>

#include "solver/sharding_model.h"

typedef struct state {
    const col_sharding_problem *problem;
    double deadline; /* on col_solve_clock */
    double gap;
    double stall;      /* see col_sharding_limits */
    double progressed; /* effort when the gap last became narrower */
    bool alike_only;   /* see col_sharding_limits */
    bool verbose;
    double started;

    pthread_mutex_t lock; /* guards all below */
    int32_t *choice;      /* [problem nodes] incumbent */
    int64_t cost;         /* of it, from the raw tables; INF: none */
    int64_t bound;        /* proved for the whole problem */
    int64_t cut;          /* least cut used to rule something out: answers at or above it may be gone */
    int64_t ceiling;      /* above the cost of every assignment of interest: the cut until one is found */
    bool first_only;      /* any answer will do */
    bool costless;        /* the core's costs are 0 in place of the problem's */
    int32_t time_count;   /* of the problem */
    double *lambda;       /* [time_count] */
    int32_t *hint;        /* [problem nodes] what the dual decodes most often; meaningless before version 1 */
    int version;          /* of lambda and hint */
    bool stop;
    uint64_t nodes; /* of the search tree */
    double effort;  /* spent so far by whoever proves, in table cells read or so */
    double budget;  /* of effort: at it, all stop, at the same point in every run */

    /* Local search in the same thread, for a repeatable single-threaded run; NULL when it has its own. */
    struct worker *companion;
} state;

/* sharding_state.c. `ceiling` is above the cost of every finite assignment. */
void sharding_state_init(state *st, const col_sharding_problem *problem, double seconds, int64_t ceiling,
                         col_arena *arena);
/* Answers below this are wanted: the incumbent's cost less the gap. */
int64_t sharding_state_cut(state *st);
bool sharding_state_answered(state *st);
bool sharding_state_stopped(state *st);
/* Whether it stops for want of progress. */
bool sharding_state_stalled(const state *st);
void sharding_state_spend(state *st, double effort);
/* Offers an assignment of the problem that a core valued at `cost`; asserts that the raw tables agree. Taken
 * when it fits and is cheaper. */
void sharding_state_offer(state *st, const int32_t *choice, int64_t cost);
/* Offers an assignment of a core. */
void sharding_state_offer_core(state *st, const model *m, const records *r, const int32_t *choice,
                               int64_t cost);
void sharding_state_raise(state *st, int64_t bound);
/* Shares the best multipliers and the most frequent strategies of an ascent. */
void sharding_state_publish(state *st, const ascent *a);

/* Effort of a round of ascent by strategy or pair. */
enum { ROUND_EFFORT = 10 };
/* Strategies and pairs up to which branching pays. */
enum { SHARDING_BRANCH_SIZE = 400000 };

/* Offers what the last round decoded, if it fits and is cheaper. */
void sharding_state_offer_decoded(state *st, const model *m, const records *r, const ascent *a);

/* sharding_prove.c. Proves that no answer below the cut is left in the core, or finds better ones, until done
 * or stopped. Takes the core. Returns a bound on every answer in the core that is below the cut; INF: none
 * is. */
int64_t sharding_prove(state *st, core *g, const records *parent, int depth);

/* sharding.c: ascends, searches and proves on a core until closed or stopped. */
void sharding_solve_core(state *st, const core *g, const records *r, int threads);

/* sharding_fold.c: solves the problem with nodes alike as one. Offers the answer, and leaves multipliers for
 * the whole problem. Returns whether there is an answer; there is none where no nodes are alike. */
bool sharding_fold(state *st, int threads);

/* sharding_worker.c: local search on the whole core, as a thread or in slices. */
typedef struct worker worker;
worker *sharding_worker_make(state *st, const model *m, const records *r, uint64_t seed);
void sharding_worker_free(worker *w);
void sharding_worker_start_from(worker *w, const int32_t *choice);
/* Steps until stopped, or until about so much work is done (0: no limit). */
void sharding_worker_run(worker *w, double work);

#endif
