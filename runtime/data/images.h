/* Labelled images as normalised floats.
 *
 * Sources are, in the order given,
 *   - CIFAR-10's binary files: records of a label (one byte) and 3 x 32 x 32 pixels (red, green, blue plane);
 *   - a folder with them: data_batch_1.bin, data_batch_2.bin ... and, for validation, test_batch.bin;
 *   - the word `synthetic`: random pixels and labels of any size, the same for the same seed.
 *
 * A pixel v in 0 ... 255 becomes (v / 255 - mean) / deviation with CIFAR-10's statistics of each channel over
 * the training images: means 0.4914 0.4822 0.4465, deviations 0.2470 0.2435 0.2616. Synthetic pixels are
 * uniform with mean 0 and deviation 1.
 *
 * Files of a running training must not be cut short: a mapped file that shrinks ends the process. */
#ifndef COL_DATA_IMAGES_H
#define COL_DATA_IMAGES_H

#include "ir/base/status.h"

enum { COL_IMAGE_CHANNELS = 3, COL_IMAGES_SYNTHETIC_COUNT = 4096 };

typedef struct col_images col_images;

typedef struct col_images_options {
    int64_t height, width; /* that the model takes; CIFAR-10's are 32 x 32 */
    int64_t classes;       /* labels are below it; 0: any */
    uint64_t seed;         /* of `synthetic` */
} col_images_options;

/* Opens all sources as one row of images and looks at every label. COL_BAD_INPUT names the file, what is
 * wrong in it and the remedy. The images do not change afterwards and may be read by many threads. */
COL_MUST_USE col_status col_images_open(const char *const *paths, size_t count,
                                        const col_images_options *options, col_images **out_images);
void col_images_close(col_images *images); /* NULL is fine */

uint64_t col_images_count(const col_images *images);
/* Changes when any image does: a resumed run compares it with the one that was saved. */
uint64_t col_images_fingerprint(const col_images *images);
/* Image `index`: [3, height, width] normalised, and its label. */
void col_images_read(const col_images *images, uint64_t index, float *out_pixels, int32_t *out_label);

/* A part of the images. */
typedef struct col_image_range {
    uint64_t first, count;
} col_image_range;

/* For validation are folders' test_batch.bin, or where there is none the last `fraction` (0 <= fraction < 1)
 * of all images; with the fraction 0 none are. The rest is for training. */
COL_MUST_USE col_status col_images_split(const col_images *images, double fraction,
                                         col_image_range *out_train, col_image_range *out_validation);

#endif
