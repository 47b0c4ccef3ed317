/* The greatest common divisor. */
#ifndef COL_BASE_DIVISOR_H
#define COL_BASE_DIVISOR_H

#include <stdint.h>

/* Of two numbers that are not negative; of 0 and n it is n (Euclid). */
static inline int64_t col_common_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

#endif
