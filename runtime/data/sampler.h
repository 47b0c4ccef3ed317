/* Samples of a corpus, in an order that depends on the seed alone.
 *
 * A range of T tokens is divided into windows of `seq` tokens; sample i has the inputs [i seq, (i+1) seq) and
 * as labels the tokens one further. All there is to the state is the position, the number of samples that
 * came before: batch k of size b is the positions [k b, (k+1) b), whoever asks. So the order is the same for
 * any division into batches, micro-batches and ranks (rank r of n reads its own part of each batch), and a
 * run resumes from one integer.
 *
 *   shuffled:   floor((T-1) / seq) samples an epoch, each once, in another order each epoch; never ends.
 *               The order is a pseudo-random permutation that is computed, not stored (sampler.c).
 *   sequential: ceil((T-1) / seq) samples, the last padded, so that every token but the first is a label
 *               exactly once; positions past the end are padding. */
#ifndef COL_DATA_SAMPLER_H
#define COL_DATA_SAMPLER_H

#include "runtime/data/corpus.h"

/* A label that the loss ignores; its input id is 0. */
#define COL_LABEL_IGNORED (-100)

typedef enum col_sample_order {
    COL_ORDER_SHUFFLED,   /* for training */
    COL_ORDER_SEQUENTIAL, /* for validation */
} col_sample_order;

/* A plain value; may be copied. */
typedef struct col_sampler {
    const col_corpus *corpus;
    col_range range;
    size_t seq;
    uint64_t seed;
    col_sample_order order;
    uint64_t samples;  /* an epoch has */
    uint64_t position; /* the next sample; save it to resume, set it to continue there */
} col_sampler;

/* COL_BAD_INPUT when the range has not even one sample; says what to change. `what` names the range in that
 * message ("training", "validation"). */
COL_MUST_USE col_status col_sampler_init(col_sampler *sampler, const char *what, const col_corpus *corpus,
                                         col_range range, size_t seq, col_sample_order order, uint64_t seed);
/* Fills input_ids and labels [batch, seq] with the samples [first, first + batch); the position stays. */
void col_sampler_read(const col_sampler *sampler, uint64_t first, size_t batch, int32_t *out_input_ids,
                      int32_t *out_labels);
/* Reads from the position and moves it on by `batch`. */
void col_sampler_next(col_sampler *sampler, size_t batch, int32_t *out_input_ids, int32_t *out_labels);

/* Where item `index` of `count` goes in the permutation of that key: a bijection of [0, count). */
uint64_t col_permute(uint64_t index, uint64_t count, uint64_t key);
/* Which of `count` samples comes at the position, in the order of training: every epoch each once, in an
 * order that depends on seed and epoch. */
uint64_t col_shuffle(uint64_t position, uint64_t count, uint64_t seed);
/* One step of SplitMix64 (Steele, Lea, Flood 2014): a well-mixed function of x. */
uint64_t col_mix64(uint64_t x);

#endif
