/* Inside of the chain solver: sums and thresholds of a chain that its parts share. Stages count from 0 here:
 * segment (s, t) is the stages s..t inclusive, a[s] enters stage s, d[s] is the gradient of a[s]. */
#ifndef COL_SOLVER_CHECKPOINT_CHAIN_H
#define COL_SOLVER_CHECKPOINT_CHAIN_H

#include "solver/checkpoint.h"

typedef struct chain_sizes {
    const col_checkpoint_chain *chain;
    int32_t count;
    int64_t *a;      /* [count + 1] activations */
    int64_t *d;      /* [count + 1] their gradients */
    int64_t *saved;  /* [count] */
    double *forward; /* [count + 1] seconds of the forwards of stages before this one */
} chain_sizes;

/* Bytes, beyond a[s], that stage s needs while it runs forward with its set saved, d[t + 1] being there, and
 * while it runs backward. */
int64_t chain_save_need(const chain_sizes *c, int32_t s, int32_t t);
/* The same for its forward alone, when only a[s + 1] stays; `first` if a[s] stays too (it is then outside).
 */
int64_t chain_forward_need(const chain_sizes *c, int32_t s, int32_t t, bool first);

/* Index of the pair (s, t) in a table of count * count. */
static inline size_t chain_cell(int32_t count, int32_t s, int32_t t)
{
    return (size_t)s * (size_t)count + (size_t)t;
}

/* Appends an action of a stage to the schedule, which is in `arena`. */
void chain_emit(col_arena *arena, col_checkpoint_schedule *schedule, col_checkpoint_action action,
                int32_t stage);
/* forward_keep of stage s, then forward of s + 1 .. split - 1. */
void chain_emit_forwards(col_arena *arena, col_checkpoint_schedule *schedule, int32_t s, int32_t split);

/* The least bytes, beyond a[0], of any persistent schedule; exact. Appends that schedule if `out` is given.
 */
int64_t chain_least_memory(const chain_sizes *c, col_arena *arena, col_checkpoint_schedule *out);

typedef struct chain_answer {
    double bound; /* seconds */
    bool found;
    col_checkpoint_schedule schedule; /* played, within the memory */
} chain_answer;

/* The time programme with about `slots` memory slots; `memory` is in bytes beyond a[0]. */
void chain_solve_slots(const chain_sizes *c, int64_t memory, int32_t slots, int threads, col_arena *arena,
                       chain_answer *out);

#endif
