/* A core made ready for search: tables in double precision seen from both ends, memory by node, and an
 * assignment with its cost and memory profile kept up to date.
 *
 * Search works in double precision (whole numbers up to 2^53 are exact there); what it finds is costed in
 * integers, and every bound is evaluated in integers. */
#ifndef COL_SOLVER_SHARDING_MODEL_H
#define COL_SOLVER_SHARDING_MODEL_H

#include "solver/sharding_core.h"

/* An edge seen from one end: table[p * k_other + q]. */
typedef struct arc {
    int32_t other, edge;
    const double *table;
} arc;

typedef struct model {
    const core *g;
    int32_t n;
    const int32_t *k;
    int32_t *first_arc; /* arcs of node i: arcs[first_arc[i] .. first_arc[i + 1]) */
    arc *arcs;
    int32_t *twin;       /* [arc] the same edge seen from the other end */
    int32_t *first_item; /* likewise items, in order of time */
    int32_t *offset;     /* [n + 1] of the strategies of a node in arrays over all strategies */
    double *cost;        /* [offset[n]] */
} model;

model *sharding_model_make(col_arena *arena, const core *g);
/* Exact cost, without the core's constant; INF if any part is infinite. */
int64_t sharding_model_cost(const model *m, const int32_t *choice);
/* profile[t] = use at t less the room; returns the largest, INT64_MIN without times. */
int64_t sharding_model_profile(const model *m, const int32_t *choice, int64_t *profile);
/* Adds sign times the use of node i at choice p to the profile. */
void sharding_model_shift(const model *m, int32_t i, int32_t p, int sign, int64_t *profile);
/* price[offset[i] + p] = cost + sum over times of lambda_t * use. */
void sharding_model_price(const model *m, const double *lambda, double *price);

/* Deterministic random numbers (splitmix64). */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
static inline int32_t random_below(uint64_t *state, int32_t n)
{
    return (int32_t)((random_next(state) >> 33) % (uint64_t)n);
}

/* sharding_eliminate.c: exact minimisation over some nodes, the others fixed. */
typedef struct eliminator eliminator;
eliminator *sharding_eliminator_make(const model *m);
void sharding_eliminator_free(eliminator *x);
/* Plans to minimise over the given nodes. Where the tables of all would pass `cap` cells (for one node),
 * nodes are taken out again and stay fixed. Returns how many stay free. */
int32_t sharding_eliminator_plan(eliminator *x, const int32_t *nodes, int32_t count, double cap,
                                 uint64_t *seed);
/* Minimises price + edges over the free nodes, the rest of `choice` standing; writes the free part. Can be
 * called again with other prices on one plan. */
void sharding_eliminator_run(eliminator *x, const double *price, int32_t *choice);
/* The free nodes of the plan. */
const int32_t *sharding_eliminator_nodes(const eliminator *x, int32_t *out_count);
/* Table cells that one run reads. */
double sharding_eliminator_work(const eliminator *x);

/* sharding_dual.c: the Lagrangian dual. Multipliers lambda_t >= 0 price memory; the edges are relaxed to
 * trees by moving costs between nodes and edges. */
typedef struct dual {
    const model *m;
    double *lambda;  /* [times] */
    double *price;   /* [offset[n]] costs under lambda */
    double *theta;   /* [offset[n]] price less what lies on the edges: the reparametrised node costs */
    double **moved;  /* [arc] what node i has put on that edge, [k_i] */
    int32_t *choice; /* decoded by the last sweep */
} dual;

dual *sharding_dual_make(col_arena *arena, const model *m);
/* Takes new multipliers: changes prices, keeps what was moved. */
void sharding_dual_reprice(dual *d, const double *lambda);
/* One sweep forward and one backward. The bound (in double precision, without the core's constant) never
 * falls from sweep to sweep while lambda stays. Decodes a choice on the way back. */
double sharding_dual_sweep(dual *d);
/* The bound of the current state in exact integer arithmetic, the core's constant included. */
int64_t sharding_dual_bound(const dual *d);
/* Marks in `c` and in the tables of `g` (the core of the dual's model, which must not be used again) what no
 * assignment cheaper than `cut` can use. Returns the bound. */
int64_t sharding_dual_fix(const dual *d, core *g, changes *c, int64_t cut, size_t *out_ruled_out);

/* sharding_local.c: large-neighbourhood search under memory. */
typedef struct search {
    const model *m;
    eliminator *x;
    int32_t *choice;  /* incumbent */
    int64_t cost;     /* of it, without the core's constant; INF when infinite */
    int64_t *profile; /* [times + 1] of it */
    int64_t over;     /* sum of what passes the room; 0: feasible */
    double *lambda;   /* [times] prices that neighbourhoods start from */
    int32_t *hint;    /* [n] strategies to try, -1: none */
    uint64_t seed;
    double work; /* done so far, in table cells read or so */
    uint64_t tries;
    double deadline; /* on col_solve_clock: a step ends early there */

    /* The neighbourhood of a step: its nodes, and its memory as rows. Between two ends of its items its use
     * is constant, so the time of least room stands for the whole stretch. */
    int32_t *nodes, count, *mark, now;
    int32_t *trial;          /* the incumbent outside */
    int32_t lower, upper;    /* times that its items span */
    int32_t *row, row_count; /* [times + 1] row of a time; at `upper` the count */
    int64_t *base, *level;   /* [rows] largest excess of the incumbent, of the trial */
    double *price, *row_lambda, *prefix;
    int32_t *cover; /* [times + 1] items that begin less those that end; 0 between steps */
    uint8_t *ends;  /* [times + 1] whether an item begins or ends; 0 between steps */
} search;

search *sharding_search_make(col_arena *arena, const model *m, uint64_t seed);
void sharding_search_free(search *s);
/* Takes an assignment as incumbent. */
void sharding_search_set(search *s, const int32_t *choice);
/* One neighbourhood of about `size` nodes; true if the incumbent became better. */
bool sharding_search_step(search *s, int32_t size, double cap);

/* Ascent on the multipliers: subgradient steps along averaged excess, of Polyak's length towards a target. */
typedef struct ascent {
    dual *d;
    double best; /* bound, with the core's constant */
    double *best_lambda, *average;
    int64_t *profile; /* of the last decoded choice */
    int64_t over;     /* its largest excess; at most 0: it fits */
    double factor;    /* of Polyak's length: falls when the bound no longer rises */
    int rounds, stale;
    /* How often each strategy was decoded, forgetting slowly. */
    double *frequency;
} ascent;

ascent *sharding_ascent_make(col_arena *arena, dual *d);
/* Sweeps, then a step. Returns the bound before the step. */
double sharding_ascent_round(ascent *a, double target);
/* Puts the best multipliers back and sweeps until the bound settles or the time has come. */
void sharding_ascent_settle(ascent *a, double deadline);

#endif
