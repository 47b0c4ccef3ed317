/* The permutation is a Feistel network on the least even number of bits that holds the count, walked until
 * the value falls below the count (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002): a
 * bijection whatever the round function is, and under four steps on average. */
#include "runtime/data/sampler.h"

#include <string.h>

uint64_t col_mix64(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t col_permute(uint64_t index, uint64_t count, uint64_t key)
{
    enum { ROUNDS = 8 };
    COL_ASSERT(index < count);
    unsigned half = 1;
    while (half < 32 && (count - 1) >> (2 * half)) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = index >> half, right = index & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            uint64_t next = left ^ (col_mix64(col_mix64(key + round) ^ right) & mask);
            left = right;
            right = next;
        }
        index = left << half | right;
    } while (index >= count);
    return index;
}

uint64_t col_shuffle(uint64_t position, uint64_t count, uint64_t seed)
{
    uint64_t epoch = position / count;
    return col_permute(position % count, count, col_mix64(seed) + col_mix64(~epoch));
}

col_status col_sampler_init(col_sampler *sampler, const char *what, const col_corpus *corpus, col_range range,
                            size_t seq, col_sample_order order, uint64_t seed)
{
    COL_ASSERT(seq > 0 && range.first + range.count <= col_corpus_tokens(corpus));
    uint64_t predicted = range.count ? range.count - 1 : 0; /* tokens that have one before them */
    bool shuffled = order == COL_ORDER_SHUFFLED;
    *sampler = (col_sampler){
        .corpus = corpus,
        .range = range,
        .seq = seq,
        .seed = seed,
        .order = order,
        .samples = predicted / seq + (!shuffled && predicted % seq != 0),
    };
    if (sampler->samples) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "the %s part of the corpus has %llu tokens, too few for one sample of %zu tokens and "
        "its labels; give more text, %sor another --val-fraction",
        what, (unsigned long long)range.count, seq, shuffled ? "a shorter --seq " : "");
}

void col_sampler_read(const col_sampler *s, uint64_t first, size_t batch, int32_t *out_input_ids,
                      int32_t *out_labels)
{
    for (size_t row = 0; row < batch; row++) {
        int32_t *ids = out_input_ids + row * s->seq, *labels = out_labels + row * s->seq;
        uint64_t sample = first + row;
        if (s->order == COL_ORDER_SHUFFLED) sample = col_shuffle(sample, s->samples, s->seed);
        uint64_t start = 0,
                 labelled = 0; /* within the range; `labelled` places of the row have a next token */
        if (sample < s->samples) {
            start = sample * s->seq;
            labelled = COL_MIN((uint64_t)s->seq, s->range.count - 1 - start);
        }
        col_corpus_read(s->corpus, s->range.first + start, labelled, ids);
        col_corpus_read(s->corpus, s->range.first + start + 1, labelled, labels);
        for (size_t i = labelled; i < s->seq; i++) {
            ids[i] = 0;
            labels[i] = COL_LABEL_IGNORED;
        }
    }
}

void col_sampler_next(col_sampler *sampler, size_t batch, int32_t *out_input_ids, int32_t *out_labels)
{
    col_sampler_read(sampler, sampler->position, batch, out_input_ids, out_labels);
    sampler->position += batch;
}
