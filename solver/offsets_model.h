/* Inside of the offsets solver: the problem after normalisation, shared by the greedy and the exact search.
 *
 * Time becomes sections: the maximal sets of buffers that are live together, in order of time. A buffer is
 * live in the sections first..last (inclusive). Two buffers meet in time iff they share a section, and a
 * section that is a subset of its neighbour constrains nothing, so it is left out. Buffers of size 0 are too.
 */
#ifndef COL_SOLVER_OFFSETS_MODEL_H
#define COL_SOLVER_OFFSETS_MODEL_H

#include "solver/offsets.h"

/* A sum of all sizes and the largest alignment stays below this, so nothing after the check overflows. */
#define OFFSETS_MAX ((int64_t)1 << 60)

typedef struct offsets_item {
    int32_t first, last; /* sections */
    int64_t size, align; /* bytes; align >= 1 */
    int64_t pad;         /* size rounded up to the model's grain */
    int64_t place;       /* the given offset, or -1 where free */
    size_t buffer;       /* index in the problem */
} offsets_item;

typedef struct offsets_model {
    size_t count;
    offsets_item *items; /* [count], by first, then last, then size: deterministic */
    int32_t sections;
    int64_t grain; /* divides every alignment and fixed offset, so every offset in an answer */
    int64_t bound; /* max over sections of the live pads, less what the top buffer's pad may save */
} offsets_model;

static inline int64_t offsets_round_up(int64_t value, int64_t align)
{
    return align == 1 ? value : (value + align - 1) / align * align;
}

/* COL_BAD_INPUT if two fixed buffers overlap (offsets_check.c). */
COL_MUST_USE col_status offsets_check_fixed(const col_offsets_problem *problem, const uint64_t *offsets);

/* Greedy answer (offsets_greedy.c). Writes one offset per item and returns the peak; stops early once the
 * peak is at most `target`, or at the deadline (col_solve_clock), but always has a whole answer. */
int64_t offsets_greedy(const offsets_model *model, int64_t target, double deadline, col_arena *scratch,
                       int64_t *offsets);

typedef enum offsets_verdict { OFFSETS_FITS, OFFSETS_REFUTED, OFFSETS_STOPPED } offsets_verdict;

/* Exact search for an answer with peak <= capacity (offsets_search.c). On OFFSETS_FITS writes the offsets. */
offsets_verdict offsets_search(const offsets_model *model, int64_t capacity, double deadline,
                               uint64_t node_limit, col_arena *scratch, int64_t *offsets, uint64_t *nodes);

#endif
