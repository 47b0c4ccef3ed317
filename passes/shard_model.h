/* Inside passes/shard*.c: the pieces of the sharding model. */
#ifndef COL_PASSES_SHARD_MODEL_H
#define COL_PASSES_SHARD_MODEL_H

#include <math.h>

#include "passes/pass.h"
#include "passes/shard.h"
#include "solver/sharding.h"

/* A value as a unit reads or delivers it: its layout (an id) under each strategy. */
typedef struct shard_port {
    const col_value *value;
    const col_node *node; /* of reads */
    uint32_t operand;
    int same; /* of reads: the first that reads the same value; its own place if it is */
    int32_t *layouts;
} shard_port;

typedef struct shard_unit {
    const col_unit *unit;
    col_factors *factors;
    col_phase phase;
    bool is_free;   /* a view that needs no instruction */
    bool is_assign; /* an edge from its operand to a variable, no node */
    int count;      /* strategies */
    col_strategy *strategies;
    int64_t *cost;  /* ns of a step, by strategy */
    int64_t *inner; /* of it, reductions inside the unit */
    shard_port *reads, *writes;
    int read_count, write_count;
    uint64_t *ports; /* by node, scratch of shard_strategies */
} shard_unit;

/* Layouts met so far; ids are indices. */
typedef struct shard_layouts {
    col_arena *arena;
    COL_VEC(col_layout) list;
    int32_t *table; /* open addressing, -1 empty */
    size_t table_size;
} shard_layouts;

int32_t shard_layout_id(shard_layouts *layouts, const col_layout *layout);

/* As costs of the solver; more than 10^5 seconds are as good as that. */
static inline int64_t shard_nanoseconds(double seconds)
{
    return (int64_t)(fmin(seconds, 1e5) * 1e9 + 0.5);
}

/* Who reads a result, as bits. */
enum { SHARD_USED_INSIDE = 1, SHARD_USED_OUTSIDE = 2 }; /* its unit; others, or the caller of the graph */

typedef struct shard_model {
    col_arena *arena;
    const col_graph *graph;
    const col_shard_options *options;
    shard_layouts layouts;
    const col_units *units;
    shard_unit *by_unit;
    uint8_t *uses;   /* by value id */
    uint32_t *place; /* by node id: among the nodes of its unit, for shard_describe_unit */
    uint8_t *roles;  /* of values' dimensions: shard_plans.c */
    /* Variables. */
    int32_t **variable_layouts; /* by variable index: candidate layout ids */
    int *variable_counts;
} shard_model;

/* passes/shard_strategies.c: the strategies of every unit, with layouts and costs; one that gives every port
 * the layouts of another and is not cheaper is left out. */
void shard_strategies(shard_model *m);
/* The layouts that a variable may have: the one that is settled, or all that fit. */
void shard_variable_layouts(shard_model *m);
/* passes/shard_same.c. A description of a unit such that units of equal ones have the same factors,
 * strategies, layouts and costs: repeated layers of a model. In `arena`. */
const void *shard_describe_unit(const shard_model *m, const shard_unit *u, size_t *out_size);

/* passes/shard_tables.c: tables of edges, shared between equal ones. */
typedef struct shard_tables shard_tables;
typedef struct shard_table {
    const int64_t *cost; /* nanoseconds, [from_count * to_count] */
    bool is_free;        /* nothing but 0 */
} shard_table;
/* When all layouts are known. */
shard_tables *shard_tables_create(shard_model *m);
/* The one list that stands for all lists equal to this one. */
int32_t *shard_list(shard_tables *t, int32_t count, int32_t *layouts);
/* Between two lists that shard_list gave, for a value that is brought `runs` times in a step. Where its all-reduces
 * are small, `joined` of them become one (passes/bucket.c); 1: each stays alone. */
const shard_table *shard_table_of(shard_tables *t, const col_type *type, int32_t from_count,
                                  const int32_t *from, int32_t to_count, const int32_t *to, int64_t runs,
                                  int64_t joined);

/* passes/shard_plans.c: takes away what the plan of the options forbids. COL_BAD_INPUT when nothing is left
 * somewhere. */
COL_MUST_USE col_status shard_restrict(shard_model *m);
/* Keeps the layouts that the plan allows a gradient on its way to the update; returns how many. */
int shard_restrict_gradient(const shard_model *m, const col_value *value, int count, int32_t *layouts);

/* Where a value's bytes come from: a node of the problem, and an id of a layout for each of its strategies.
 */
typedef struct shard_source {
    int32_t node; /* -1: none */
    int32_t count;
    const int32_t *layouts;
} shard_source;

/* What a node of the problem stands for. */
typedef enum shard_node_kind {
    SHARD_VARIABLE,
    SHARD_UNIT,
    SHARD_STOP,
    SHARD_FOLLOWER,
    SHARD_OUTPUTS
} shard_node_kind;
typedef struct shard_node {
    shard_node_kind kind;
    int32_t position;       /* of a unit */
    const int32_t *layouts; /* of a variable or stop: by strategy */
} shard_node;

/* Phases whose compute can hide communication that nothing in them waits for; the index is col_phase. */
enum { SHARD_HIDING_PHASES = 2, SHARD_BLOCKS = -1 };

/* A model, and the problem that it makes for the solver. */
typedef struct shard_problem {
    shard_model m;
    COL_VEC(col_sharding_node) nodes;
    COL_VEC(col_sharding_edge) edges;
    COL_VEC(shard_node) stands_for; /* by node */
    COL_VEC(int8_t) hides;          /* by edge: the phase that can hide it, or SHARD_BLOCKS */
    int32_t *unit_nodes, *variable_nodes;
    shard_source *makers, *stops; /* by value id */
    int32_t *last_use;            /* by value id: position of the last unit that needs it; -1: none */
    shard_tables *tables;
    int64_t joined;        /* all-reduces of gradients that become one */
    int32_t *whole;        /* a list of the whole layout alone */
    uint32_t *seen, stamp; /* by layout: last met in list number `stamp` */
} shard_problem;

/* Times that a phase runs in a step. */
int64_t shard_runs(const shard_model *m, col_phase phase);

/* passes/shard_build.c: from candidates to nodes and edges. */
void shard_build(shard_problem *b);

/* passes/shard_same.c: nodes of repeated layers, for col_sharding_problem.alike. In the problem's arena; NULL
 * where little is repeated. */
const int32_t *shard_find_alike(const shard_problem *b);

/* passes/shard_overlap.c. An assignment in nanoseconds of a step. */
typedef struct shard_price {
    int64_t compute, communication;
    int64_t hideable[SHARD_HIDING_PHASES]; /* of the communication, what can hide */
    int64_t behind[SHARD_HIDING_PHASES];   /* of the compute, what it can hide behind */
    int64_t exposed;                       /* communication that is not hidden */
} shard_price;
shard_price shard_price_of(const shard_problem *b, const int32_t *choice);

/* Solves the problem as built. `start` is an assignment that is known, NULL: none. Where `proves` is not set,
 * an answer that gives repeated layers the same strategies will do, and there is no bound. Objective and
 * bound count what is not hidden. */
COL_MUST_USE col_status shard_solve(const shard_problem *b, double seconds, const int32_t *start, bool proves,
                                    col_sharding_solution *solution);
/* Whether there is an answer, within the memory of the options. */
bool shard_fits(const shard_problem *b, const col_sharding_solution *solution);

/* passes/shard_compare.c */
col_shard_row shard_make_row(const shard_problem *b, const col_sharding_solution *solution);
/* Solves for each forced plan and fills in a row for each, from the first on, with its answer as an assignment of `b`;
 * returns how many. `*out_best`
 * is the best answer among them as an assignment of `b`, the problem for auto as built; NULL where none fits.
 */
COL_MUST_USE col_status shard_compare(const shard_problem *b, col_shard_row *rows, int32_t **choices,
                                      int *out_count, int32_t **out_best);
/* The answer of a plan as it is alone; without `proves` the same answer, but large problems may get no bound. */
COL_MUST_USE col_status shard_solve_forced(const shard_problem *b, double seconds, bool proves,
                                           col_sharding_solution *out);

#endif
