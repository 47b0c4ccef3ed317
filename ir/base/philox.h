/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011). This header is the definition that the reference evaluator, generated code and the
 * executor's initialisers share: a number depends on seed, step, stream and the element's global row-major
 * index alone, never on how a tensor is split or which thread computes it.
 *
 *   counter = { low32(index / 4), high32(index / 4), salt, step }    key = { low32(seed), high32(seed) }
 *   word    = block[index % 4]
 *   uniform = (word >> 8) * 2^-24, in [0, 1); exact in f32
 *
 * `salt` tells the streams of one program apart (the attribute of random_uniform, dropout and attention);
 * `step` is the low 32 bits of the training step. Step 2^32 - 1 is left to initialisers, whose salt is that
 * of the parameter, so that no initial weight shares its numbers with a dropout mask. */
#ifndef COL_BASE_PHILOX_H
#define COL_BASE_PHILOX_H

#include <stdint.h>

/* NVIDIA's compiler makes these functions for the device. */
#ifdef __CUDACC__
#define COL_PHILOX_INLINE static __device__ inline
#else
#define COL_PHILOX_INLINE static inline
#endif

#define COL_PHILOX_INIT_STEP UINT32_C(0xffffffff)

typedef struct col_philox_block {
    uint32_t words[4];
} col_philox_block;

/* Ten rounds over the counter. */
COL_PHILOX_INLINE col_philox_block col_philox(col_philox_block counter, uint32_t key0, uint32_t key1)
{
    uint32_t *c = counter.words;
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)c[0] * UINT32_C(0xD2511F53), p1 = (uint64_t)c[2] * UINT32_C(0xCD9E8D57);
        uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(p1 >> 32) ^ c1 ^ key0;
        c[1] = (uint32_t)p1;
        c[2] = (uint32_t)(p0 >> 32) ^ c3 ^ key1;
        c[3] = (uint32_t)p0;
        key0 += UINT32_C(0x9E3779B9); /* golden ratio */
        key1 += UINT32_C(0xBB67AE85); /* sqrt(3) - 1 */
    }
    return counter;
}

/* The block that holds elements 4 * block .. 4 * block + 3 of a stream. */
COL_PHILOX_INLINE col_philox_block col_philox_stream(uint64_t seed, uint32_t step, uint32_t salt,
                                                     uint64_t block)
{
    col_philox_block counter = {{(uint32_t)block, (uint32_t)(block >> 32), salt, step}};
    return col_philox(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
}

/* 24 bits of the word as a number in [0, 1). */
COL_PHILOX_INLINE float col_philox_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* Element `index` of a stream of uniform numbers. */
COL_PHILOX_INLINE float col_philox_at(uint64_t seed, uint32_t step, uint32_t salt, uint64_t index)
{
    return col_philox_uniform(col_philox_stream(seed, step, salt, index / 4).words[index % 4]);
}

#endif
