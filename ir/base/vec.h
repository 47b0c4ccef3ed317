/* Growable arrays in an arena:  COL_VEC(int64_t) sizes = {0};  col_vec_push(arena, &sizes, 7);
 * Growing copies into new arena memory and leaves the old to the arena (amortised: at most twice the bytes).
 */
#ifndef COL_BASE_VEC_H
#define COL_BASE_VEC_H

#include "ir/base/arena.h"

#define COL_VEC(type)                                                                                        \
    struct {                                                                                                 \
        type *data;                                                                                          \
        size_t len, cap;                                                                                     \
    }

#define col_vec_push(arena, vec, value)                                                                      \
    do {                                                                                                     \
        if ((vec)->len == (vec)->cap) {                                                                      \
            (vec)->data = col_vec_grow(arena, (vec)->data, (vec)->len, &(vec)->cap, sizeof *(vec)->data);    \
        }                                                                                                    \
        (vec)->data[(vec)->len++] = (value);                                                                 \
    } while (0)

/* Used by col_vec_push: doubles the capacity and returns the new storage. */
void *col_vec_grow(col_arena *arena, void *data, size_t len, size_t *cap, size_t element_size);

#endif
