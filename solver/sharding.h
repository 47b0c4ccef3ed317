/* Strategy selection on a graph under a memory limit (docs/solver-sharding.md).
 *
 *   given     nodes i with strategies p in 0..k_i-1: cost c_ip, usage m_ip, live interval [lower_i, upper_i)
 *             edges e = (u, v) with costs r_e[p][q]; COL_SHARDING_INFINITY forbids a strategy or a pair
 *             a memory limit M
 *   choose    one strategy s_i per node
 *   minimise  sum_i c_i[s_i] + sum_e r_e[s_u][s_v]
 *   so that   at every time t: sum over i with lower_i <= t < upper_i of m_i[s_i] <= M
 *
 * Pipeline: exact reductions (sharding_presolve.c, sharding_reduce.c), a Lagrangian dual over the peak times
 * whose inner problem is solved exactly by variable elimination (sharding_eliminate.c, sharding_dual.c),
 * local search (sharding_local.c), and branch and bound (sharding_prove.c). Where nodes are known to be
 * alike, all that goes first to the problem folded over them (sharding_fold.c). Costs and usages are integers
 * and every bound is evaluated in exact arithmetic, so the gap is a proof. */
#ifndef COL_SOLVER_SHARDING_H
#define COL_SOLVER_SHARDING_H

#include "ir/base/arena.h"
#include "solver/solve.h"

#define COL_SHARDING_INFINITY INT64_C(1000000000000000000)

typedef struct col_sharding_node {
    int32_t strategies;   /* k_i, at least 1 */
    int32_t lower, upper; /* live in [lower, upper); an empty interval uses no memory */
    const int64_t *cost;  /* [k_i], at least 0 */
    const int64_t *usage; /* [k_i], at least 0 */
} col_sharding_node;

typedef struct col_sharding_edge {
    int32_t u, v;
    const int64_t *cost; /* [k_u * k_v], row-major in the strategy of u; tables may be shared between edges */
} col_sharding_edge;

typedef struct col_sharding_problem {
    int32_t node_count, edge_count;
    const col_sharding_node *nodes;
    const col_sharding_edge *edges;
    int64_t limit; /* M */
    /* By node: those with the same number, at least 0, have strategies of the same meaning, and are best
     * given the same one: repeated layers. -1: like no other. NULL: none are known. A hint for the search,
     * which may give them different ones where that pays; bounds do not depend on it. */
    const int32_t *alike;
    /* An assignment that is known already, taken as the first answer where it fits; NULL: none. */
    const int32_t *start;
} col_sharding_problem;

typedef struct col_sharding_limits {
    double seconds; /* for the whole solve; 0: 60 s */
    double gap;     /* stop once (objective - bound) / objective is at most this; 0: prove it to the unit */
    /* Stop once there is an answer and a bound, and neither has moved by a thousandth of the cost for this
     * share of the work that it took to get there, and a little; 0: do not. */
    double stall;
    /* Stop after so much work, at the same point in every run of one thread; a few 1e9 are a second. 0: do not. */
    double work;
    /* Only answers that cost less are of interest: stop once it is proved that there is none. 0: all are. */
    int64_t below;
    int threads;     /* 0: 2 */
    bool alike_only; /* stop at an answer that gives nodes alike the same strategy, without a bound (0) */
    bool verbose;    /* progress on stderr */
} col_sharding_limits;

typedef struct col_sharding_solution {
    /* OPTIMAL: within the gap asked for. INFEASIBLE: proved; `choice` then holds the assignment of least peak
     * that was found (if any is finite) and `least_memory` the proved floor. LIMIT: neither found nor
     * refuted, or none that costs less than `below`. */
    col_solve_status status;
    int32_t *choice;      /* [node_count], in the caller's arena; NULL when no finite assignment is known */
    int64_t objective;    /* re-costed from the raw tables; COL_SHARDING_INFINITY without an answer */
    int64_t bound;        /* proved: no answer costs less */
    double gap;           /* (objective - bound) / max(objective, 1) */
    int64_t peak;         /* of `choice` */
    int64_t least_memory; /* proved: no finite assignment peaks lower */
    double seconds;
    double work;             /* done, as that of the limits; what is beside it takes about as long again */
    int32_t variables, rows; /* of the core left after reductions: strategies + pairs, nodes + times */
} col_sharding_solution;

/* Solves within the limits. COL_BAD_INPUT where the problem itself is wrong (an edge to nowhere, a negative
 * cost, sums that leave 2^58): infeasibility is a result, not an error. Deterministic up to where the
 * time limit strikes: with one thread, and with two for what one closes within its first two seconds or so of
 * work. */
COL_MUST_USE col_status col_sharding_solve(col_arena *arena, const col_sharding_problem *problem,
                                           const col_sharding_limits *limits, col_sharding_solution *out);

/* The same as an integer program, by GLPK on the reduced problem: for comparison. Bounds are in floating
 * point. Times must be below a few times the number of nodes; `threads` has no effect. */
COL_MUST_USE col_status col_sharding_ilp(col_arena *arena, const col_sharding_problem *problem,
                                         const col_sharding_limits *limits, col_sharding_solution *out);

/* The same without search: a first assignment node by node, then the cheapest changes until it fits or `seconds`
 * are over. FEASIBLE, with the bound 0, or LIMIT where it finds none that fits: that proves nothing. */
COL_MUST_USE col_status col_sharding_greedy(col_arena *arena, const col_sharding_problem *problem,
                                            double seconds, col_sharding_solution *out);

/* The same by trying every assignment: for tests. Problems of more than 2^24 assignments are refused. */
COL_MUST_USE col_status col_sharding_brute(col_arena *arena, const col_sharding_problem *problem,
                                           col_sharding_solution *out);

/* Cost of an assignment from the raw tables; COL_SHARDING_INFINITY if any part is infinite. */
int64_t col_sharding_cost(const col_sharding_problem *problem, const int32_t *choice);
/* Largest usage over all times. */
int64_t col_sharding_peak(const col_sharding_problem *problem, const int32_t *choice);

#endif
