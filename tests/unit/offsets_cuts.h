/* Hard offset problems whose answer is known to exist: a rectangle of time x memory is cut into buffers, by
 * straight cuts and by pinwheels (five pieces that no straight cut separates), so that at every time the live
 * buffers fill the capacity to the last unit. Every greedy order fails on most of them. */
#ifndef COL_UNIT_OFFSETS_CUTS_H
#define COL_UNIT_OFFSETS_CUTS_H

#include "solver/offsets.h"
#include "tests/unit/random.h"

enum { CUT_SIDE = 1024, CUT_UNIT = 1024 };

/* A piece to cut: the one of a random few with the largest area that is at least 3 x 3. */
static inline size_t cuts_pick(const col_offsets_buffer *b, size_t count, unit_random *r)
{
    size_t best = count;
    uint64_t best_area = 0;
    for (int k = 0; k < 4 || best == count; k++) {
        size_t j = (size_t)random_int(r, 0, (int64_t)count - 1);
        uint64_t width = b[j].upper - b[j].lower, area = width * b[j].size;
        if (width < 3 || b[j].size < 3 || area <= best_area) continue;
        best = j;
        best_area = area;
    }
    return best;
}

/* Fills b[0..count) with the pieces; offsets of the cutting are in `offset`. `loose` of them in a thousand
 * are then left out. Returns how many remain. */
static inline size_t cuts_make(col_offsets_buffer *b, size_t count, double pinwheels, int loose,
                               unit_random *r)
{
    size_t n = 1;
    b[0] = (col_offsets_buffer){.lower = 0, .upper = CUT_SIDE, .size = CUT_SIDE, .alignment = 1};
    while (n < count) {
        size_t j = cuts_pick(b, n, r);
        col_offsets_buffer whole = b[j];
        uint64_t t0 = whole.lower, t3 = whole.upper, o0 = whole.offset, o3 = whole.offset + whole.size;
        uint64_t t1 = (uint64_t)random_int(r, (int64_t)t0 + 1, (int64_t)t3 - 2);
        uint64_t t2 = (uint64_t)random_int(r, (int64_t)t1 + 1, (int64_t)t3 - 1);
        uint64_t o1 = (uint64_t)random_int(r, (int64_t)o0 + 1, (int64_t)o3 - 2);
        uint64_t o2 = (uint64_t)random_int(r, (int64_t)o1 + 1, (int64_t)o3 - 1);
#define CUT_PIECE(lo, up, from, to)                                                                          \
    ((col_offsets_buffer){.lower = lo, .upper = up, .size = (to) - (from), .alignment = 1, .offset = from})
        if (n + 4 <= count && random_chance(r, pinwheels)) {
            b[j] = CUT_PIECE(t0, t2, o0, o1);
            b[n++] = CUT_PIECE(t2, t3, o0, o2);
            b[n++] = CUT_PIECE(t1, t3, o2, o3);
            b[n++] = CUT_PIECE(t0, t1, o1, o3);
            b[n++] = CUT_PIECE(t1, t2, o1, o2);
        } else if (random_chance(r, 0.5)) {
            b[j] = CUT_PIECE(t0, t1, o0, o3);
            b[n++] = CUT_PIECE(t1, t3, o0, o3);
        } else {
            b[j] = CUT_PIECE(t0, t3, o0, o1);
            b[n++] = CUT_PIECE(t0, t3, o1, o3);
        }
#undef CUT_PIECE
    }
    size_t kept = 0;
    for (size_t j = 0; j < n; j++) {
        if (random_int(r, 0, 999) < loose) continue;
        b[kept] = b[j];
        b[kept].size *= CUT_UNIT;
        b[kept++].offset *= CUT_UNIT;
    }
    for (size_t j = kept; j > 1; j--) { /* the order must give nothing away */
        size_t k = (size_t)random_int(r, 0, (int64_t)j - 1);
        col_offsets_buffer moved = b[j - 1];
        b[j - 1] = b[k];
        b[k] = moved;
    }
    return kept;
}

#endif
