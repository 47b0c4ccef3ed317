/* Inside passes/recompute*.c: what a graph's forward phase leaves for its backward phase. */
#ifndef COL_PASSES_RECOMPUTE_MODEL_H
#define COL_PASSES_RECOMPUTE_MODEL_H

#include "ir/base/vec.h"
#include "ir/units.h"
#include "passes/recompute.h"

/* The results of one forward node that lie in memory: kept, computed again, or not needed, together. */
typedef struct recompute_item {
    const col_node *node; /* of the model's graph, with the id that it has in the given graph */
    int32_t unit;         /* position of its unit */
    int64_t bytes;        /* of its results */
    int64_t cost;         /* nanoseconds of a step to compute it again */
    bool must_keep;       /* cannot be computed again, or outlives the backward phase */
    int32_t last_forward; /* position of the last unit of the forward phase that reads it, or its own */
    int32_t first_backward, last_backward; /* of the units after it; -1: none */
    /* The last unit of either phase may write a result of its own over it. */
    bool reused_forward, reused_backward;
    COL_VEC(int32_t) reads;   /* items that computing it again needs, smaller than its own index */
    COL_VEC(int32_t) readers; /* the contrary */
} recompute_item;

typedef COL_VEC(recompute_item) recompute_items;

struct col_recompute_model {
    col_arena *arena;
    const col_machine *machine;
    int64_t accumulate;
    col_graph *graph; /* a copy with groups and an order */
    col_units *units;
    uint32_t node_ids;     /* ids of the given graph are below */
    int32_t forward_units; /* positions below are of the forward phase */
    col_nests nests;       /* by id of the given graph */
    recompute_items items; /* in the order of their nodes */
    int32_t *item_of;      /* by node id; -1: none */
    int64_t cost;          /* nanoseconds of a step in which nothing is computed again */
    int64_t *other_bytes;  /* by unit: that are live and are not items */
    COL_VEC(int32_t) cuts; /* items at which a block begins, but for the first, which begins at 0 */
};

/* Groups of blocks, and the turn of each: passes/recompute_turns.c. */
typedef struct recompute_turns {
    int32_t count;
    int32_t *start;    /* by turn - 1: position of the unit that it comes before; ascends */
    int32_t *group_of; /* by item: its group of blocks */
    int32_t *turn_of;  /* by group */
    int32_t group_count;
} recompute_turns;

recompute_turns *recompute_turns_make(const col_recompute_model *m, int32_t joined, col_arena *arena);
/* The last turn that has begun at a unit's position. */
int32_t recompute_turn_at(const recompute_turns *t, int32_t position);
/* The latest turn in which an item can be computed again for all that read it directly; 0: none. */
int32_t recompute_latest_turn(const col_recompute_model *m, const recompute_turns *t, int32_t item);
/* Fills in the parts of the plan that do not depend on the choice, and keeps all. */
void recompute_plan_init(const col_recompute_model *m, const recompute_turns *t, col_arena *arena,
                         col_recompute_plan *plan);
/* Finds model->cuts. */
void recompute_find_cuts(col_recompute_model *m);

#endif
