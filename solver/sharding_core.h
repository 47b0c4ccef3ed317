/* The problem while it is being reduced, and what the steps of the sharding solver share.
 *
 * A core is the problem on flat arrays: nodes i with k_i strategies, at most one edge per pair of nodes, and
 * memory as items: use of node i over [lower, upper), relative to its least, which is taken off `room`. Time
 * is an index into the rows that still matter. Every node of the core stands for one original node
 * (`rep`), and `label` says which original strategies are left; all other original nodes are determined
 * through records, replayed backwards. Labels are never renumbered, so a record stays valid through all later
 * steps. */
#ifndef COL_SOLVER_SHARDING_CORE_H
#define COL_SOLVER_SHARDING_CORE_H

#include "ir/base/vec.h"
#include "solver/sharding.h"

#define INF COL_SHARDING_INFINITY

typedef struct item {
    int32_t node;
    int32_t lower, upper;
    int64_t *use; /* [k_node], least 0 */
} item;

/* Choice of `node` as a function of the choices (labels) of up to two parents: table[a * width + b]. */
typedef struct record {
    int32_t node;
    int32_t parent[2]; /* -1: none */
    int32_t width;     /* labels of parent[1], 1 without */
    int32_t *table;
} record;

/* Replayed from the last to the first, then those of the parent: a branch adds to what its root did. */
typedef struct records {
    col_arena *arena;
    const struct records *parent;
    COL_VEC(record) list;
} records;

typedef struct core {
    col_arena *arena;
    int32_t node_count, edge_count, item_count, time_count;
    int32_t *k;      /* strategies of a node */
    int64_t **cost;  /* [k] finite */
    int32_t **label; /* [k] original strategy of rep */
    int32_t *rep;    /* original node */
    int32_t *u, *v;  /* edges, u < v, no two alike */
    int64_t **table; /* [k_u * k_v], INF where forbidden */
    item *items;     /* by node */
    int64_t *room;   /* [time_count] limit less the least use of all nodes */
    int32_t *time;   /* [time_count] the time of the problem that a row stands for */
    int64_t constant;
} core;

typedef struct new_edge {
    int32_t u, v;
    int64_t *table;
} new_edge;

/* What a step did to a core, to be made real by sharding_rebuild. All arrays index the core as it was. */
typedef struct changes {
    uint8_t **alive;         /* [node][k] */
    int32_t *parent;         /* -1: stays a node; else determined by that node */
    int32_t **map;           /* [k_parent] where parent >= 0: own strategy (index), -1 under a dead one */
    uint8_t *gone;           /* eliminated: a record exists and nothing refers to it any more */
    uint8_t *dropped;        /* edges */
    COL_VEC(new_edge) added; /* u < v */
    bool any, infeasible;
} changes;

/* Edges of each node as rows [p][q] seen from that node: list[first[i] .. first[i + 1]). */
typedef struct side {
    int32_t edge, other;
    size_t step_p, step_q;
} side;

typedef struct sides {
    int32_t *first;
    side *list;
} sides;

/* sharding_problem.c. The problem with every time replaced by its rank, so that arrays over time are no
 * longer than the nodes. */
col_sharding_problem sharding_rank_times(col_arena *arena, const col_sharding_problem *problem);
/* Checks the problem; *out_ceiling is above the cost of every finite assignment. */
COL_MUST_USE col_status sharding_validate(const col_sharding_problem *problem, int64_t *out_ceiling);

/* sharding_core.c */
core *sharding_core_make(const col_sharding_problem *problem, bool *out_infeasible);
/* A copy of its own. */
core *sharding_core_copy(const core *g);
/* Applies the changes; destroys the old core. Adds a record for each node attached. */
core *sharding_rebuild(core *old, changes *c, records *records_, bool *out_infeasible);
changes *sharding_changes_make(col_arena *arena, const core *g);
/* Replays the records: choice[rep[i]] must be set for the nodes of the core. */
void sharding_unfold(const records *r, int32_t *choice);
/* Strategies + pairs. */
size_t sharding_core_size(const core *g);
sides sharding_sides_make(const core *g, col_arena *arena);
/* Writes the strategies of a node that are alive; returns how many. */
int32_t sharding_list_alive(const uint8_t *alive, int32_t k, int32_t *out);

/* sharding_presolve.c: runs all reductions to a fixpoint; *core_ is replaced (the old one is destroyed).
 * False: infeasible. */
bool sharding_presolve(core **core_, records *records_, bool verbose);

/* sharding_dominate.c, sharding_reduce.c: each returns true if it changed something. */
bool sharding_reduce_dominated(core *g, changes *c);
bool sharding_reduce_memory(core *g, changes *c);
bool sharding_reduce_degree(core *g, changes *c, records *records_);

static inline int64_t add_cost(int64_t a, int64_t b)
{
    return a >= INF || b >= INF ? INF : a + b;
}

#endif
