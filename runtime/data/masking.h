/* Masked language modelling: which tokens of a sample a model has to find, and what it sees in their place.
 *
 * As Devlin et al. (arXiv 1810.04805, section 3.1): of the tokens, `rate` are chosen; of those 80 % become the
 * mask token, 10 % a random one, 10 % stay. Masks are dynamic (Liu et al., arXiv 1907.11692): a choice depends
 * on the seed, the position of the sample among all that are ever drawn and the place in it, so every epoch
 * has others and nothing depends on batches or ranks. */
#ifndef COL_DATA_MASKING_H
#define COL_DATA_MASKING_H

#include <stddef.h>
#include <stdint.h>

#define COL_MASK_RATE 0.15 /* the customary rate */

typedef struct col_masking {
    double rate;       /* 0 to 1 */
    int32_t mask;      /* the mask token */
    int32_t vocab;     /* random tokens are below it */
    int32_t untouched; /* never chosen: the token between documents; -1: none */
    uint64_t seed;
} col_masking;

/* Masks `count` ids in place; labels get the id that stood at each chosen place, COL_LABEL_IGNORED elsewhere.
 * `stream` tells the samples of training from those of validation. */
void col_mask_tokens(const col_masking *masking, uint32_t stream, uint64_t sample, size_t count, int32_t *ids,
                     int32_t *labels);

#endif
