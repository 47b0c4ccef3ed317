/* colc sweep: one model compiled under several memory limits or batch sizes, and what comes of it: the step's
 * time and the peak memory, predicted and, if wanted, measured. A sweep is a list of rows; the three forced
 * kinds of recomputation are always among them, for comparison (docs/sweep.md). */
#ifndef COL_FRONTEND_SWEEP_H
#define COL_FRONTEND_SWEEP_H

#include "frontend/compile.h"

typedef enum col_sweep_status {
    COL_SWEEP_OK,
    COL_SWEEP_OVER,        /* a forced kind, compiled without a limit, that takes more than the limit */
    COL_SWEEP_INFEASIBLE,  /* there is no plan within the limit: `least` */
    COL_SWEEP_UNSUPPORTED, /* this kind cannot be had for the model: `reason` */
} col_sweep_status;

/* "ok", "over", "infeasible", "unsupported" */
const char *col_sweep_status_name(col_sweep_status status);

typedef struct col_sweep_row {
    const char *checkpoint; /* "none", "all", "sqrt"; "auto" for the swept ones */
    const char *label;      /* of the limit as it was given: "60%", "40GiB"; "" for none */
    uint64_t limit;         /* bytes of a device; 0: none */
    int64_t batch;          /* samples of a micro-batch; 0: the model has no such size */
    col_sweep_status status;
    const char *reason;   /* of INFEASIBLE and UNSUPPORTED */
    uint64_t least;       /* bytes that would do; 0: not known */
    uint64_t peak, state; /* bytes of a device */
    double seconds;       /* of a step, predicted */
    double samples;       /* per second, predicted */
    double compile_seconds;
    double measured_seconds; /* median of the steps; 0: not measured */
    uint64_t measured_peak;
    int64_t bench; /* its plan among those that are measured; -1: none */
} col_sweep_row;

typedef struct col_sweep {
    const char *model;
    const char *machine;  /* that is predicted for */
    bool over_batches;    /* else over limits */
    bool measured;        /* some row is */
    const char *limit;    /* over batches: the label of the one limit, "" for none */
    uint64_t limit_bytes; /* over batches; 0: none */
    COL_VEC(col_sweep_row) rows;
} col_sweep;

/* The row of the same batch in which everything is kept; NULL: there is none that compiled. */
const col_sweep_row *col_sweep_baseline(const col_sweep *sweep, const col_sweep_row *row);
/* How much longer than the baseline, as a fraction; NAN where there is nothing to compare. */
double col_sweep_overhead(const col_sweep *sweep, const col_sweep_row *row);
double col_sweep_measured_overhead(const col_sweep *sweep, const col_sweep_row *row);
/* The swept row with the most samples per second that fits; NULL: none fits. */
const col_sweep_row *col_sweep_best(const col_sweep *sweep);

/* A limit of the list: a size, or a percentage of the peak without recomputation. */
typedef struct col_sweep_limit {
    const char *label;
    double percent; /* 0: a size */
    uint64_t bytes; /* of a size */
} col_sweep_limit;

/* Splits "100%,80%,2GiB". COL_BAD_INPUT naming the entry: empty, zero, negative, no number, given twice. */
COL_MUST_USE col_status col_sweep_limits(const char *text, col_arena *arena, col_sweep_limit **out_limits,
                                         size_t *out_count);
/* Splits "8,16,32"; as above. */
COL_MUST_USE col_status col_sweep_batches(const char *text, col_arena *arena, int64_t **out_batches,
                                          size_t *out_count);

/* How to run plans on this machine. */
typedef struct col_sweep_measuring {
    const char *folder;  /* that colrun is in */
    int64_t steps;       /* of each plan that are timed; in every turn one more comes before them */
    const char *threads; /* NULL: colrun's default */
} col_sweep_measuring;

/* Plans that wait to be run, in a temporary folder. */
typedef struct col_sweep_bench col_sweep_bench;

/* The plans are run in turns, one after another in each, so that a machine that slows down for a while slows all of them
 * down. */
enum { COL_SWEEP_TURNS = 3 };

/* In the arena, as all that it holds; `destroy` (NULL: nothing to do) removes the folder. */
COL_MUST_USE col_status col_sweep_bench_create(const col_sweep_measuring *measuring, col_arena *arena,
                                               col_sweep_bench **out_bench);
void col_sweep_bench_destroy(col_sweep_bench *bench);

/* Writes the plan into the folder; plans are numbered from 0 on. */
COL_MUST_USE col_status col_sweep_bench_add(col_sweep_bench *bench, const col_plan *plan);
/* Trains a few steps of a plan on synthetic data. Fails with what colrun said: COL_BAD_INPUT where the model cannot be
 * fed, otherwise COL_DEVICE. */
COL_MUST_USE col_status col_sweep_bench_run(col_sweep_bench *bench, size_t plan, int turn);
/* After all turns: the median of the plan's steps, in seconds, and the most that was allocated. */
void col_sweep_bench_result(const col_sweep_bench *bench, size_t plan, double *out_seconds,
                            uint64_t *out_peak);

/* The rows as an aligned table for people, as CSV, and as an SVG of two panels. */
void col_sweep_print_table(const col_sweep *sweep, col_str *out);
void col_sweep_print_csv(const col_sweep *sweep, col_str *out);
void col_sweep_print_svg(const col_sweep *sweep, col_str *out);

#endif
