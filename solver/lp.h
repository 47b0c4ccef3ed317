/* Linear and mixed-integer programs, independent of who solves them.
 *
 *   minimise  constant + sum_j c_j x_j
 *   so that   lower_i <= sum_j a_ij x_j <= upper_i     rows i
 *             lower_j <= x_j <= upper_j                variables j
 *             x_j integer for the variables marked so
 *
 * A missing bound is -INFINITY or INFINITY. Rows may also be made while solving ("lazy rows"): the solver
 * asks the caller for rows that a point violates, so that a family of thousands of which a few matter is
 * never written down. */
#ifndef COL_SOLVER_LP_H
#define COL_SOLVER_LP_H

#include "ir/base/vec.h"
#include "solver/solve.h"

typedef struct col_lp_variable {
    double lower, upper, objective;
    bool integer;
    const char *name;  /* NULL: x<index> */
    size_t last_entry; /* of the builder: 1 + index of its latest entry */
} col_lp_variable;

typedef struct col_lp_entry {
    int32_t variable;
    double value;
} col_lp_entry;

typedef struct col_lp_row {
    double lower, upper;
    size_t begin, count; /* entries[begin .. begin + count) */
    const char *name;    /* NULL: r<index> */
} col_lp_row;

typedef struct col_lp {
    col_arena *arena;
    double constant;
    COL_VEC(col_lp_variable) variables;
    COL_VEC(col_lp_row) rows;
    COL_VEC(col_lp_entry) entries;
} col_lp;

/* An empty problem; it and what is added live in `arena`. */
col_lp *col_lp_create(col_arena *arena);
/* Adds a variable and returns its index. `name` is kept, not copied; NULL is fine. */
int32_t col_lp_add_variable(col_lp *lp, double lower, double upper, double objective, bool integer,
                            const char *name);
/* Adds a row and returns its index; entries of the same variable add up. */
int32_t col_lp_add_row(col_lp *lp, double lower, double upper, const col_lp_entry *entries, size_t count,
                       const char *name);

/* constant + sum_j c_j x_j */
double col_lp_objective(const col_lp *lp, const double *x);
/* sum_j a_ij x_j */
double col_lp_activity(const col_lp *lp, int32_t row, const double *x);
/* The largest violation of a bound, a row or integrality, each relative to 1 + |bound|. */
double col_lp_violation(const col_lp *lp, const double *x);

/* Writes CPLEX LP format, which every solver reads, for a look from outside. */
COL_MUST_USE col_status col_lp_dump(const col_lp *lp, const char *path);

/* Called with points x [variables] that meet all rows so far: optima of relaxations (`integral` false) and
 * candidates for the answer (true). Adds to `lp` rows that x violates, as many as it sees fit; none means
 * that x meets every row there could be. A candidate is accepted only after that. */
typedef void col_lp_lazy(void *context, col_lp *lp, const double *x, bool integral);
/* Called with the optimum x of a relaxation; may write an integral point to `out` and return true. */
typedef bool col_lp_heuristic(void *context, const col_lp *lp, const double *x, double *out);

/* Zeroes mean none. */
typedef struct col_lp_limits {
    double seconds;      /* 0: no limit */
    double gap;          /* stop once (objective - bound) / |objective| is at most this; 0: 1e-9 */
    const double *start; /* [variables] a point known to be feasible, or NULL */
    bool has_cutoff;     /* only answers with an objective of at most `cutoff` are of interest */
    double cutoff;
    col_lp_lazy *lazy;
    col_lp_heuristic *heuristic;
    void *context; /* of both */
} col_lp_limits;

typedef struct col_lp_solution {
    /* OPTIMAL: within the gap. FEASIBLE: stopped by a limit with an answer. INFEASIBLE: no answer (at most
     * the cutoff) exists. LIMIT: stopped without an answer. Bounds are in floating point, within the solver's
     * tolerances (1e-7 relative): a proof in exact arithmetic needs its own evaluation. */
    col_solve_status status;
    bool unbounded; /* with LIMIT: the objective has no lower bound */
    double *x;      /* [variables] in the caller's arena; NULL without an answer; integers are exact */
    double objective, bound, gap;
    double root_bound; /* optimum of the relaxation with the lazy rows found there */
    double *duals;     /* [dual_count] of the rows at that optimum; NULL if there was none */
    int32_t dual_count;
    int32_t variables, rows; /* rows: with the lazy ones */
    int64_t nodes;           /* of the tree */
    double seconds;
} col_lp_solution;

/* Solves with GLPK (solve_glpk.c). Lazy rows stay in `lp`. COL_INTERNAL where the solver itself breaks down
 * and cannot be restarted. */
COL_MUST_USE col_status col_lp_solve(col_lp *lp, const col_lp_limits *limits, col_arena *arena,
                                     col_lp_solution *out_solution);

#endif
