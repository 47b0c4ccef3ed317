/* The conformance suite's bench: a case is a plan of one instruction on strided views of an arena of random
 * numbers; the device runs it, and the arena that comes back is compared with what plain C in double
 * precision makes of the same bytes. Bytes outside of the instruction's results must be as they were. */
#ifndef COL_CTS_CTS_H
#define COL_CTS_CTS_H

#include "tests/unit/unit.h"
#include "ir/plan/plan_verify.h"
#include "runtime/hal.h"
#include "tests/cts/plan_maker.h"

typedef struct cts_case {
    const col_device_type *type;
    int threads;
    col_arena *arena;
    plan_maker maker;
    Col__Plan__Dtype dtype;        /* of views: F32, BF16 or F16 */
    uint64_t random;               /* state of the generator */
    unsigned char *before, *after; /* the arena, from cts_fill and cts_run on */
} cts_case;

/* cts.c */
cts_case cts_start(const col_device_type *type, int threads, uint64_t seed);
void cts_end(cts_case *c);

int64_t cts_random(cts_case *c, int64_t low, int64_t high); /* both inclusive */

/* A view of the case's type with dimensions in any order in memory and gaps between them. */
typedef enum cts_layout {
    CTS_DENSE,        /* row-major */
    CTS_ANY,          /* any order of dimensions */
    CTS_MATRIX,       /* one of the last two dimensions is innermost, with stride 1 */
    CTS_LAST,         /* the last dimension is innermost, with stride 1 */
    CTS_REPEATS = 16, /* flag: dimensions before the last two may repeat (stride 0) */
} cts_layout;
col_plan_view *cts_view(cts_case *c, int layout, size_t rank, const int64_t *dims);
/* The same, of f32 in any case. */
col_plan_view *cts_view_f32(cts_case *c, int layout, size_t rank, const int64_t *dims);

/* Gives the arena its size and random numbers of the case's type in [-1, 1). Views are made before, values
 * set after. */
void cts_fill(cts_case *c);
void cts_set(const col_plan_view *view, unsigned char *bytes, const int64_t *index, float value);
float cts_get(const col_plan_view *view, const unsigned char *bytes, const int64_t *index);
/* The next index in row-major order; false after the last. */
bool cts_next(const col_plan_view *view, int64_t *index);

/* Makes the instructions so far a program, runs it on the device and reads the arena back. */
void cts_run(cts_case *c);

/* Runs it again on other numbers of threads: all bytes are the same. */
void cts_expect_same_on_any_threads(cts_case *c);

/* The view holds `want` (row-major) within the tolerance, relative to the largest magnitude in `want`, at
 * least 1; 4e-2 for views of BF16, 5e-3 of F16. */
void cts_expect(cts_case *c, const char *what, const col_plan_view *view, const double *want,
                double tolerance);
/* Nothing but these views has changed. */
void cts_expect_rest(cts_case *c, size_t count, col_plan_view *const *written);

#endif
