/* How a variable that is split over a mesh lies in the memories of the ranks. */
#ifndef COL_RUNTIME_CUT_H
#define COL_RUNTIME_CUT_H

#include "ir/plan/plan.h"

typedef struct col_cut {
    const col_plan_variable *variable;
    col_mesh mesh;
    col_layout layout;
    uint64_t element; /* bytes */
    int rank;
    const int64_t *dims;              /* that the layout is of */
    int64_t block[COL_PLAN_MAX_RANK]; /* shape of what a rank holds */
    int innermost;                    /* dimension that is split; -1: none is */
    int64_t inner; /* elements of the whole under one index of the innermost dimension that is split */
} col_cut;

col_cut col_cut_of(const col_plan *plan, const col_plan_variable *variable);

/* Elements of the whole, row-major, that lie one after another on a rank, too. */
typedef struct col_stretch {
    int64_t owner; /* the first rank that holds them */
    int64_t local; /* element of its block at which they begin */
    int64_t count;
} col_stretch;

/* The stretch from an element of the whole on. */
col_stretch col_cut_find(const col_cut *cut, int64_t element);
/* Whether a rank holds the same block as another. */
bool col_cut_holds(const col_cut *cut, int64_t rank, int64_t other);
/* Whether a rank is the first of those that hold its block. */
bool col_cut_owns(const col_cut *cut, int64_t rank);

#endif
