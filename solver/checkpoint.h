/* Recomputation: which activations of a training step are kept from forward to backward, which are dropped
 * and computed again, so that the step fits a memory and takes the least time (docs/solver-checkpoint.md).
 *
 * A chain of stages i = 1..L (index i - 1 in arrays). Stage i reads a_{i-1} and makes a_i; its backward reads
 * the gradient d_i of a_i, a_{i-1}, and the saved set A_i (all that it keeps of its forward, a_i included),
 * and makes d_{i-1}. Times are seconds, sizes bytes. */
#ifndef COL_SOLVER_CHECKPOINT_H
#define COL_SOLVER_CHECKPOINT_H

#include "ir/base/vec.h"
#include "solver/solve.h"

typedef struct col_checkpoint_stage {
    double forward_seconds, backward_seconds;
    uint64_t input_bytes;         /* a_{i-1} */
    uint64_t saved_bytes;         /* A_i, at least a_i */
    uint64_t gradient_bytes;      /* d_{i-1}; 0 where no gradient is wanted */
    uint64_t forward_temp_bytes;  /* while its forward runs */
    uint64_t backward_temp_bytes; /* while its backward runs */
} col_checkpoint_stage;

typedef struct col_checkpoint_chain {
    size_t count; /* L */
    const col_checkpoint_stage *stages;
    uint64_t output_bytes;          /* a_L */
    uint64_t output_gradient_bytes; /* d_L, counted from the start */
    uint64_t memory;                /* for all of the above, a_0 included; 0: as much as it takes */
} col_checkpoint_chain;

typedef enum col_checkpoint_action {
    COL_CHECKPOINT_FORWARD,      /* a_i from a_{i-1}, which is dropped */
    COL_CHECKPOINT_FORWARD_KEEP, /* a_i from a_{i-1}, which stays until backward of i */
    COL_CHECKPOINT_FORWARD_SAVE, /* A_i from a_{i-1}; both stay until backward of i */
    COL_CHECKPOINT_BACKWARD,     /* d_{i-1} from d_i, A_i, a_{i-1}; the three are freed */
} col_checkpoint_action;

/* "forward", "forward_keep", "forward_save", "backward" */
const char *col_checkpoint_action_name(col_checkpoint_action action);

typedef struct col_checkpoint_op {
    col_checkpoint_action action;
    uint32_t stage; /* i - 1 */
} col_checkpoint_op;

typedef struct col_checkpoint_schedule {
    COL_VEC(col_checkpoint_op) ops;
    double seconds; /* sum over the operations */
    uint64_t peak;  /* most bytes at any operation */
} col_checkpoint_schedule;

/* Zeroes mean the defaults. */
typedef struct col_checkpoint_limits {
    double seconds; /* 0: 5 s. More than a first answer is sought only within it */
    double gap;     /* (time - bound) / time that counts as optimal; 0: 0.01 */
    int threads;    /* 0: 2 */
} col_checkpoint_limits;

typedef struct col_checkpoint_solution {
    /* OPTIMAL: within the gap. INFEASIBLE: the memory is less than `least_memory`; the schedule is then the
     * one that needs least. */
    col_solve_status status;
    col_checkpoint_schedule schedule;
    double bound;          /* seconds; proved for schedules that drop nothing they kept before its backward */
    double gap;            /* (schedule.seconds - bound) / schedule.seconds */
    double keep_seconds;   /* of keeping everything: the least time of all */
    uint64_t keep_memory;  /* bytes that keeping everything takes */
    uint64_t least_memory; /* bytes below which no such schedule exists; exact */
    double seconds;
} col_checkpoint_solution;

/* The best persistent schedule of a chain. COL_BAD_INPUT for an empty chain, times that are negative or not
 * finite, saved sets smaller than the output, sums over 2^60. */
COL_MUST_USE col_status col_checkpoint_solve_chain(const col_checkpoint_chain *chain,
                                                   const col_checkpoint_limits *limits, col_arena *arena,
                                                   col_checkpoint_solution *out_solution);

/* Greedy twin: keeps everything, then recomputes runs of stages, the cheapest seconds per byte of peak first,
 * until the memory is met. Returns whether it is. */
bool col_checkpoint_greedy(const col_checkpoint_chain *chain, col_arena *arena, col_checkpoint_schedule *out);
/* Square-root twin: about sqrt(L) runs of equal length, of which the inputs are kept. Ignores the memory. */
void col_checkpoint_sqrt(const col_checkpoint_chain *chain, col_arena *arena, col_checkpoint_schedule *out);

/* Plays a schedule and fills its seconds and peak. COL_INTERNAL naming the first operation whose operands are
 * not there, or what is missing at the end. */
COL_MUST_USE col_status col_checkpoint_play(const col_checkpoint_chain *chain,
                                            col_checkpoint_schedule *schedule);

#endif
