/* Resharding: the cheapest way from one layout of a tensor to another. */
#ifndef COL_PASSES_RESHARD_H
#define COL_PASSES_RESHARD_H

#include "ir/base/map.h"
#include "ir/type.h"
#include "passes/cost.h"

/* One step; the axes are those of the mesh, outermost first. */
typedef struct col_reshard_step {
    col_collective kind;
    col_axes axes;
    int dim, from_dim;
    double bytes; /* that one rank sends (col_cost_collective_bytes) */
    double seconds;
} col_reshard_step;

enum { COL_RESHARD_STEPS = 16 };
typedef struct col_reshard_path {
    int count;
    col_reshard_step steps[COL_RESHARD_STEPS];
    double bytes, seconds;
} col_reshard_path;

/* Shortest path (Dijkstra over layouts; the next step is one collective over one or several axes). `type` is
 * the whole tensor. Always finds one between layouts that fit; the target must not be partial over axes that
 * the source is not partial over. Deterministic. */
void col_reshard(const col_machine *machine, const col_mesh *mesh, col_type type, const col_layout *from,
                 const col_layout *to, col_reshard_path *out);

/* The seconds alone, many times: pairs of layouts that differ only in which dimensions they split, in what
 * stays where it is, or in names of mesh axes that are alike, are searched for once. */
typedef struct col_reshard_costs col_reshard_costs;

/* In `arena`; refers to the machine and the mesh. */
col_reshard_costs *col_reshard_costs_create(const col_machine *machine, const col_mesh *mesh,
                                            col_arena *arena);
/* As col_reshard, to rounding. */
double col_reshard_seconds(col_reshard_costs *costs, col_type type, const col_layout *from,
                           const col_layout *to);

#endif
