/* Units: what is executed as one. A fused group is a unit; every other node is one of its own (a virtual view
 * is a unit that costs nothing). The way in which scheduling, memory planning and plan emission see a graph.
 */
#ifndef COL_IR_UNITS_H
#define COL_IR_UNITS_H

#include "ir/graph.h"

typedef struct col_unit {
    col_node **nodes; /* in graph order */
    uint32_t node_count;
    /* Values with bytes of their own (ir/view.h: bases) that the unit reads from outside, each once. */
    const col_value **reads;
    uint32_t read_count;
    /* Results with bytes of their own: needed by another unit or as an output. */
    const col_value **writes;
    uint32_t write_count;
} col_unit;

typedef struct col_units {
    col_unit *units; /* ordered by the last node of each */
    uint32_t count;
    uint32_t *by_node; /* node id to unit */
} col_units;

/* In `arena`; refers to the graph, which must not change while it is in use. */
col_units *col_units_of(const col_graph *graph, col_arena *arena);

/* The turn of a unit that does nothing but compute forward values again; else 0. */
int32_t col_unit_turn(const col_unit *unit);

/* Every buffer of a plan begins at a multiple of this, and takes one. */
enum { COL_PLAN_ALIGNMENT = 64 };

static inline int64_t col_plan_padded(int64_t bytes)
{
    return (bytes + COL_PLAN_ALIGNMENT - 1) / COL_PLAN_ALIGNMENT * COL_PLAN_ALIGNMENT;
}

/* Where each value with bytes of its own lies: made by memory planning, read by plan emission. */
typedef struct col_placement {
    bool placed;
    bool is_part;                  /* written straight into the result of the concat that is its only user */
    uint64_t offset;               /* bytes from the start of the device arena */
    int64_t strides[COL_MAX_RANK]; /* elements; row-major, but for parts written straight into a concat's
                                      result */
} col_placement;

#endif
