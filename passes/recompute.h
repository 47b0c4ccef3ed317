/* Recomputation: forward values that the backward phase computes again instead of keeping
 * (docs/checkpoint.md).
 *
 * The backward phase is cut into *turns*, numbered from 1 on in the order in which they run. A forward value
 * is kept, or computed again in one turn, before anything that needs it from there on. */
#ifndef COL_PASSES_RECOMPUTE_H
#define COL_PASSES_RECOMPUTE_H

#include "passes/cost.h"
#include "passes/pass.h"
#include "solver/solve.h"

enum {
    COL_RECOMPUTE_KEEP = 0,      /* else a turn from 1 on, or */
    COL_RECOMPUTE_ASKED = -1,    /* in every turn that asks for it */
    COL_RECOMPUTE_OPERANDS = -2, /* the same, for copies, and where it holds for an operand: not in memory */
    COL_RECOMPUTE_READERS = -1,
};

/* What to compute again, and when. */
typedef struct col_recompute_plan {
    int32_t *forward; /* by id of a forward node: see above */
    /* By id of a backward node: the turn that it belongs to, 0 before the first; COL_RECOMPUTE_READERS: the
     * earliest of those of its readers. */
    int32_t *backward;
    col_nests nests; /* of the reductions of a step that computes nothing again */
    int32_t *order;  /* by id of a backward node: its place among them, or COL_RECOMPUTE_READERS */
} col_recompute_plan;

/* Brings the backward phase into the order of the plan, and copies forward nodes into the backward phase, right
 * before the first node there that needs the copy, and marks them with their turn (col_node.turn). A copy reads
 * what is kept, and copies of its turn or an earlier one. Needs no groups; fuse and schedule come after it. `out_nests` (NULL: not wanted) gets what fuse must keep
 * to for the same results, bit by bit; in the graph's arena. */
void col_recompute_apply(col_graph *graph, const col_recompute_plan *plan, col_nests *out_nests);

/* What may be computed again in a graph, at which price and gain. */
typedef struct col_recompute_model col_recompute_model;

typedef struct col_recompute_answer {
    col_recompute_plan plan;
    /* OPTIMAL: within the gap asked for. INFEASIBLE: no plan of these turns fits; this is one of the least
     * peak. LIMIT: none was found, or there is none below the time asked for; the bound holds. */
    col_solve_status status;
    double seconds;             /* of a step by the model: all units, and what is computed again */
    double again_seconds;       /* of that, computed again */
    double bound, gap;          /* proved for the turns of the model */
    double solve_seconds, work; /* that the solver took, and did */
    int64_t peak;               /* bytes by the model, without variables */
    int64_t least_memory;       /* proved: no plan of these turns takes less */
    int32_t variables, rows;    /* of the problem after reductions */
    int32_t joined;             /* blocks of a group */
    int32_t turns, kept, again; /* forward values kept for the backward phase, and computed again */
} col_recompute_answer;

/* Of a graph for one rank, legalized, without groups; only read. Costs are those of the machine; NULL: none,
 * for what is forced. Lives in `arena`. */
col_recompute_model *col_recompute_model_create(const col_graph *graph, const col_machine *machine,
                                                int64_t accumulate, col_arena *arena);
/* Blocks of the model: the finest cuts of the forward phase. */
int32_t col_recompute_blocks(const col_recompute_model *model);
/* Bytes at the peak, by the model, where everything is kept. */
int64_t col_recompute_keep_peak(const col_recompute_model *model);

/* Recomputes all that is not needed by a later group of blocks. `joined` blocks form a group; 0: so many that
 * there are about as many groups as blocks in each. */
void col_recompute_all(const col_recompute_model *model, int32_t joined, col_arena *arena,
                       col_recompute_answer *out);

typedef struct col_recompute_limits {
    int64_t memory; /* bytes at the peak, by the model, without variables */
    int32_t joined; /* blocks that form a group, of which each has a turn; 0: 1 */
    double gap;     /* at which the solver may stop */
    double work;    /* that it may do (solver/sharding.h), so that it stops at the same point in every run */
    double below;   /* seconds computed again: only plans with less are of interest; 0: all are */
    bool frugal;    /* where nothing fits: the cheapest plan of the least peak that a short search finds */
} col_recompute_limits;

/* The cheapest plan of these turns within the limits. */
COL_MUST_USE col_status col_recompute_solve(const col_recompute_model *model,
                                            const col_recompute_limits *limits, col_arena *arena,
                                            col_recompute_answer *out);

#endif
