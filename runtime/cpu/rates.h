/* What this CPU does when all of it is at work: rates of the device's own products, attention and moves, of
 * loops like those of generated kernels, of memory, and of what ranks in one process do to each other.
 * Everything is the best of several repetitions, since anything else on the machine only makes it slower. */
#ifndef COL_RUNTIME_CPU_RATES_H
#define COL_RUNTIME_CPU_RATES_H

#include "ir/base/status.h"

/* A measurement: how much one call does, and the seconds that it takes. */
typedef struct cpu_timed {
    double size, seconds;
} cpu_timed;

/* Product of fp32 matrices [m, k] and [k, n]; size in operations, a multiply-add being two. */
COL_MUST_USE col_status cpu_time_product(int threads, int64_t m, int64_t n, int64_t k, cpu_timed *out);
/* Causal attention of 4 sequences with 12 heads of 64, forward and backward; size in operations, counted as
 * the plan's instructions count them (codegen/emit.c). */
COL_MUST_USE col_status cpu_time_attention(int threads, int64_t tokens, cpu_timed *out);
/* A polynomial of degree 32 for every element of arrays in the cache; size in operations, its multiplications
 * and additions, which are not fused, as most of a kernel's are not. */
COL_MUST_USE col_status cpu_time_arithmetic(int threads, cpu_timed *out);
/* Rows of 768 added to rows of a table by index; size in additions. */
COL_MUST_USE col_status cpu_time_scatter(int threads, cpu_timed *out);
/* c = a + s b over arrays of so many bytes together; size in bytes. */
COL_MUST_USE col_status cpu_time_stream(int threads, int64_t bytes, cpu_timed *out);
/* Seconds to start a parallel loop and wait for its threads; for one thread, of the smallest product. */
COL_MUST_USE col_status cpu_time_start(int threads, double *out_seconds);

/* What ranks that are threads of one process, all at once, do to each other. */
typedef struct cpu_exchange {
    double meet;   /* seconds until all have met and go on */
    double notify; /* seconds until one that waits goes on, after another has told it to */
    double copy;   /* bytes per second of each that copies another's buffer */
    double add;    /* the same, added to its own */
} cpu_exchange;
COL_MUST_USE col_status cpu_time_exchange(int ranks, cpu_exchange *out);

#endif
