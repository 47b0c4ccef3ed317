/* Sharding: a strategy for every unit, a layout for every variable (docs/sharding.md).
 *
 * The model, in the symbols of solver/sharding.h. Its nodes are
 *
 *     units      strategies: each mesh axis to a factor of the unit or to none; cost: compute, and the
 *                reductions inside
 *     variables  strategies: layouts that fit; cost: none; usage: what a rank holds, always
 *     stops      of a value with several users: the layout in which it waits for them; usage: while it waits
 *
 * and its edges are tensors, from maker (or stop) to user: the cost of the shortest way from the one layout
 * to the other. Costs are nanoseconds of one step on the machine, usages bytes on one device, times are
 * positions of units. A value without a stop uses memory in its maker's layout from maker to last user. */
#ifndef COL_PASSES_SHARD_H
#define COL_PASSES_SHARD_H

#include "passes/partition.h"
#include "passes/reshard.h"
#include "solver/solve.h"

/* Which strategies a plan allows (passes/shard_plans.c). */
typedef enum col_plan_kind {
    COL_PLAN_AUTO,
    COL_PLAN_SINGLE,
    COL_PLAN_DDP,
    COL_PLAN_ZERO1,
    COL_PLAN_ZERO2,
    COL_PLAN_ZERO3,
    COL_PLAN_TP1D,
    COL_PLAN_TP2D,
    COL_PLAN_TP25D,
    COL_PLAN_TP3D,
    COL_PLAN_SP,
    COL_PLAN_COUNT
} col_plan_kind;

const char *col_plan_kind_name(col_plan_kind kind); /* "tp2.5d" */
bool col_plan_kind_parse(const char *text, col_plan_kind *out_kind);

typedef struct col_shard_options {
    col_mesh mesh;
    const col_machine *machine; /* links filled in for the mesh */
    int64_t memory;             /* bytes of one device; 0: no limit */
    col_plan_kind plan;
    int64_t accumulate; /* runs of forward and backward per step */
    double seconds;     /* for the solver; 0: its default */
    double gap;         /* at which it may stop; 0: none */
    double stall;       /* ... and when it may give up getting there, see col_sharding_limits */
    int threads;        /* of the solver; 0: two, which may find one of several equal answers each time */
    /* Layouts that are settled, by variable name (another program of the plan chose them); NULL: none. */
    const col_map *settled; /* const col_layout * */
    /* Of plan auto: also solve for every forced plan, which the report then lists; the best of them is where auto
     * starts. */
    bool compare;
    /* The report of plan auto when this forced plan is tried in its place: what the others reach is listed from
     * there; NULL: it is not. */
    const struct col_shard_report *beside;
} col_shard_options;

/* What a plan costs by the model: a step's seconds, and bytes of one device. */
typedef struct col_shard_row {
    col_plan_kind plan;
    /* INFEASIBLE: `peak` is the least that was found. */
    col_solve_status status;
    const char *reason; /* why shapes or mesh forbid the plan, and no figure holds; NULL: they do not */
    double seconds, compute, communication;
    int64_t peak;
    bool fits; /* the memory */
} col_shard_row;

typedef struct col_shard_report {
    col_solve_status status;
    double objective, bound; /* seconds of a step */
    double gap, seconds;
    int64_t peak;         /* bytes by the model */
    int64_t least_memory; /* proved: less will not do */
    int32_t variables, rows;
    int32_t nodes, edges, strategies; /* of the model as built */
    int plan_count;                   /* with `compare`, else 0; the answer's own row is the first */
    col_shard_row plans[COL_PLAN_COUNT];
    const struct col_shard_answers
        *answers; /* behind them, in the arena of col_shard; NULL: there are none */
} col_shard_report;

/* Solves for the graph, which has groups (`fuse`) and an order (`schedule`). `out` lives in `arena` and
 * refers to the graph. COL_INFEASIBLE when nothing fits the memory: the message names the least that does.
 * COL_BAD_INPUT when the plan cannot be had with these shapes on this mesh. `report` is filled in every case
 * that got to the solver. */
COL_MUST_USE col_status col_shard(const col_graph *graph, const col_shard_options *options, col_arena *arena,
                                  col_sharding *out, col_shard_report *report);

/* The sharding of a row of the report `of`, by its place in `plans`, in place of auto's; false where the row has none. It
 * lives in `arena`, as long as that of `of`. In the report, the row is the first, and what the solver proved is still
 * that of auto's own answer. */
bool col_shard_take(const col_shard_report *of, int row, col_arena *arena, col_sharding *out,
                    col_shard_report *report);

#endif
