/* Choosing the next token.
 *
 * As GPT-NeoX: with temperature, top_k and top_p all 0 the likeliest token. Otherwise the logits are divided
 * by the temperature (unless it is 0), cut to those not below the top_k-th largest (0: all), then to the
 * smallest set of likeliest tokens whose probabilities exceed top_p together (0: all), and one is drawn from
 * the softmax of what is left. Equal logits are ordered by id. */
#ifndef COL_RUNTIME_SAMPLE_H
#define COL_RUNTIME_SAMPLE_H

#include "ir/base/status.h"

typedef struct col_sample_options {
    double temperature;
    int64_t top_k;
    double top_p; /* in [0, 1] */
    uint64_t seed;
} col_sample_options;

/* A token and its weight, e^(its logit less the largest). */
typedef struct col_candidate {
    double weight;
    int32_t id;
} col_candidate;

/* The id chosen from `count` logits (count > 0); -1 when one of them is NaN or all are -infinity. The choice
 * is a function of the logits, the options and `index`, the number of the choice. `scratch` has room for
 * `count`. */
int32_t col_sample(const float *logits, size_t count, const col_sample_options *options, uint64_t index,
                   col_candidate *scratch);

/* Uniform in [0, 1) with 53 bits: the number that choice `index` is made by. */
double col_sample_uniform(uint64_t seed, uint64_t index);

#endif
