/* TensorBoard event files: scalars over steps.
 *
 * A file is a run of records: u64 length, u32 masked CRC32C of these 8 bytes, the data, u32 masked CRC32C of
 * the data; masked is ((crc >> 15) | (crc << 17)) + 0xa282ead8. The data is an Event message; the first one
 * is the file version "brain.Event:2". Source: TensorBoard's record writer and event.proto. */
#ifndef COL_STORE_TENSORBOARD_H
#define COL_STORE_TENSORBOARD_H

#include "ir/base/status.h"

typedef struct col_tensorboard col_tensorboard;

typedef struct col_tag_value {
    const char *tag; /* "train/loss" */
    double value;    /* stored as a float; NaN and infinities are shown as such */
} col_tag_value;

/* Makes a new file events.out.tfevents.SECONDS.HOST.PID.N in DIR, making DIR. Readers no longer show what
 * earlier files of the folder hold of steps beyond `resume_step`, which is -1 for a new run. COL_BAD_INPUT
 * when DIR cannot be written. */
COL_MUST_USE col_status col_tensorboard_open(const char *dir, int64_t resume_step,
                                             col_tensorboard **out_board);
/* One event with all values, in one write(). COL_DEVICE for a full disk. */
COL_MUST_USE col_status col_tensorboard_write(col_tensorboard *board, int64_t step,
                                              const col_tag_value *values, size_t count);
void col_tensorboard_close(col_tensorboard *board); /* NULL is fine */

/* CRC32C of the bytes, masked as above: 0xc78ab0e5 for "123456789". */
uint32_t col_masked_crc32c(const void *bytes, size_t size);

#endif
