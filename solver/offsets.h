/* Offsets of buffers in one arena (docs/solver-offsets.md).
 *
 *   given    buffers j with live interval [lower_j, upper_j), size_j, alignment_j
 *   choose   offset_j, a multiple of alignment_j
 *   so that  buffers whose intervals meet have disjoint [offset_j, offset_j + size_j)
 *   minimise peak = max_j offset_j + size_j, or find any answer with peak <= capacity
 *
 * A fast answer comes from greedy orders and local improvement (offsets_greedy.c); where it misses the
 * lower bound, an exact search (offsets_search.c) runs until its limit. Deterministic, but for where the time
 * limit strikes. */
#ifndef COL_SOLVER_OFFSETS_H
#define COL_SOLVER_OFFSETS_H

#include "ir/base/arena.h"
#include "solver/solve.h"

typedef struct col_offsets_buffer {
    uint64_t lower, upper; /* live in [lower, upper), any unit; lower < upper */
    uint64_t size;         /* bytes; 0 takes no room */
    uint64_t alignment;    /* bytes, any positive number; 0 means 1 */
    bool fixed;            /* stays at `offset` */
    uint64_t offset;       /* read only where `fixed` */
} col_offsets_buffer;

typedef struct col_offsets_problem {
    size_t count;
    const col_offsets_buffer *buffers;
    uint64_t capacity; /* bytes; 0: no capacity, minimise the peak */
} col_offsets_problem;

/* Zeroes mean: the fast answer only. Seconds are of processor time, so that other processes do not change answers. */
typedef struct col_offsets_limits {
    double seconds; /* for the whole solve, all of it spent only where the exact search needs it */
    uint64_t nodes; /* of the exact search, 0: no limit. Unlike seconds, repeatable */
    double gap;     /* without a capacity: stop once (peak - bound) / bound is at most this */
} col_offsets_limits;

typedef struct col_offsets_solution {
    /* OPTIMAL: peak == bound. FEASIBLE: meets the capacity (or, without one, may not be the least).
     * INFEASIBLE: proved that nothing meets the capacity. LIMIT: neither found nor refuted in time.
     * In the last two the offsets are a valid answer over capacity, the best known. */
    col_solve_status status;
    uint64_t *offsets; /* bytes, one per buffer, in the caller's order; in the caller's arena */
    uint64_t peak;     /* max_j offset_j + size_j of `offsets` */
    uint64_t bound;    /* proved: no answer has a lower peak */
    uint64_t nodes;    /* of the exact search */
    double seconds;
} col_offsets_solution;

/* Solves within the limits. COL_BAD_INPUT where the problem itself is wrong: an empty interval, sizes that
 * overflow, fixed buffers that are misaligned or overlap. An unmet capacity is no error; see `status`. */
COL_MUST_USE col_status col_offsets_solve(const col_offsets_problem *problem,
                                          const col_offsets_limits *limits, col_arena *arena,
                                          col_offsets_solution *out_solution);

/* Checks alignment, fixed places and disjointness of any answer, COL_INTERNAL naming the first violation;
 * `out_peak` gets max_j offset_j + size_j. O(n log n + overlaps found). */
COL_MUST_USE col_status col_offsets_check(const col_offsets_problem *problem, const uint64_t *offsets,
                                          uint64_t *out_peak);

#endif
