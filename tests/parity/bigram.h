/* Sizes of the bigram model, which the plans and their kernels share. */
#ifndef COL_PARITY_BIGRAM_H
#define COL_PARITY_BIGRAM_H

enum {
    BIGRAM_VOCAB = 257, /* bytes and end-of-text */
    BIGRAM_BATCH = 4,
    BIGRAM_SEQ = 16,
    BIGRAM_ACCUMULATE = 2, /* micro-batches, in the plan that has them */
    BIGRAM_CHUNK = 8,
    BIGRAM_CONTEXT = 40,
};

#endif
