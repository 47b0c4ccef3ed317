/* A small repeatable random generator for tests. */
#ifndef COL_UNIT_RANDOM_H
#define COL_UNIT_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct unit_random {
    uint64_t state;
} unit_random;

static inline uint64_t random_bits(unit_random *r)
{
    uint64_t x = r->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Uniform in [low, high]. */
static inline int64_t random_int(unit_random *r, int64_t low, int64_t high)
{
    return low + (int64_t)(random_bits(r) % (uint64_t)(high - low + 1));
}

static inline bool random_chance(unit_random *r, double p)
{
    return (double)(random_bits(r) >> 11) * 0x1p-53 < p;
}

#endif
