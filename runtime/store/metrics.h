/* metrics.jsonl: one JSON object per step, one write() per line, so that a reader never sees half a line and
 * a killed run loses at most the step it was in.
 *
 *     {"step":1,"loss":10.9,"grad_norm":2.1,"lr":0.0003,"step_seconds":0.25,"tokens_per_second":4096,"mfu":0.31,
 *      "peak_bytes":1073741824,"communication_bytes":96,"collective_bytes":{"all-reduce":96}}
 *
 * with "loss_scale" where the loss is scaled, and "skipped":true where its gradient overflowed and the step changed
 * nothing but that scale; with "images_per_second" for a model of images, and "val_loss" where it was measured. A number that is not
 * finite is null, and "non_finite" says what it was:
 * {"loss":null,…,"non_finite":{"loss":"nan"}}. */
#ifndef COL_STORE_METRICS_H
#define COL_STORE_METRICS_H

#include "ir/base/status.h"

enum { COL_METRICS_COLLECTIVES = 8 };

typedef struct col_metrics_collective {
    const char *name;
    double bytes; /* that a rank sends in the step, on average */
} col_metrics_collective;

typedef struct col_metrics_row {
    int64_t step;
    double loss, grad_norm, lr;
    double loss_scale; /* 0: the loss is not scaled */
    bool skipped;
    double step_seconds;
    const char *unit; /* "tokens", "images": what speed counts */
    double units_per_second;
    double mfu; /* fraction of the machine's peak; negative: unknown, written as null */
    uint64_t peak_bytes;
    double communication_bytes; /* that a rank sends in the step, on average: the sum of */
    size_t collective_count;
    col_metrics_collective collectives[COL_METRICS_COLLECTIVES];
    bool has_val_loss;
    double val_loss;
} col_metrics_row;

typedef struct col_metrics col_metrics;

/* Opens DIR/metrics.jsonl, making DIR. With `resume_step` >= 0 lines go on after those of steps up to it;
 * later ones, and a torn last line, are cut off. With -1 the run is new: an older file is kept as
 * metrics.N.jsonl. COL_BAD_INPUT when DIR cannot be written. Close with col_metrics_close. */
COL_MUST_USE col_status col_metrics_open(const char *dir, int64_t resume_step, col_metrics **out_metrics);
/* Appends a line. COL_DEVICE for a full disk; what was there stays, without half a line. */
COL_MUST_USE col_status col_metrics_write(col_metrics *metrics, const col_metrics_row *row);
void col_metrics_close(col_metrics *metrics); /* NULL is fine */

#endif
