/* Philox4x32-10, a counter-based random generator (Salmon et al., SC'11, doi 10.1145/2063384.2063405). The
 * number of an element depends on seed, step, stream and the element's global index alone: never on threads,
 * devices or the order of evaluation. Generated code computes the same function.
 *
 *   key      = { seed low, seed high }
 *   counter  = { (i / 4) low, (i / 4) high, salt low ^ rotl(salt high, 16), step low }
 *   element i takes word i % 4 of the block
 */
#ifndef COL_BASE_PHILOX_H
#define COL_BASE_PHILOX_H

#include <stdint.h>

typedef struct col_philox {
    uint32_t words[4];
} col_philox;

static inline col_philox col_philox_rounds(col_philox c, uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c.words[0], p1 = (uint64_t)0xCD9E8D57u * c.words[2];
        c = (col_philox){{(uint32_t)(p1 >> 32) ^ c.words[1] ^ key0, (uint32_t)p1,
                          (uint32_t)(p0 >> 32) ^ c.words[3] ^ key1, (uint32_t)p0}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return c;
}

/* The block that holds elements 4 * block .. 4 * block + 3. */
static inline col_philox col_philox_block(int64_t seed, int64_t step, int64_t salt, int64_t block)
{
    uint32_t high = (uint32_t)((uint64_t)salt >> 32);
    uint32_t stream = (uint32_t)salt ^ (high << 16 | high >> 16);
    col_philox counter = {{(uint32_t)block, (uint32_t)((uint64_t)block >> 32), stream, (uint32_t)step}};
    return col_philox_rounds(counter, (uint32_t)seed, (uint32_t)((uint64_t)seed >> 32));
}

/* Uniform in [0, 1) with 24 bits, exact in fp32. */
static inline float col_philox_to_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

static inline float col_philox_uniform(int64_t seed, int64_t step, int64_t salt, int64_t element)
{
    return col_philox_to_uniform(col_philox_block(seed, step, salt, element / 4).words[element % 4]);
}

#endif
