/* Random layouts for tests. */
#ifndef COL_UNIT_RANDOM_LAYOUT_H
#define COL_UNIT_RANDOM_LAYOUT_H

#include "ir/base/layout.h"
#include "ir/type.h"
#include "tests/unit/random.h"

/* 0 .. count - 1 in a random order. */
static inline void shuffle(unit_random *r, int count, uint8_t *order)
{
    for (int i = 0; i < count; i++) {
        int at = (int)random_int(r, 0, i);
        order[i] = order[at];
        order[at] = (uint8_t)i;
    }
}

/* One that fits the shape; partial over some of the axes `may_be_partial`. */
static inline col_layout random_layout(unit_random *r, const col_mesh *mesh, col_shape shape,
                                       uint32_t may_be_partial)
{
    col_layout layout = col_layout_whole();
    uint8_t order[COL_MESH_RANK] = {0};
    shuffle(r, mesh->rank, order);
    for (int i = 0; i < mesh->rank; i++) {
        int place = (int)random_int(r, -2, shape.rank - 1);
        if (place == -2 && may_be_partial >> order[i] & 1)
            layout.partial = (uint8_t)(layout.partial | 1u << order[i]);
        if (place < 0) continue;
        col_layout_push(&layout, place, order[i]);
        if (!col_layout_fits(&layout, mesh, shape.rank, shape.dims)) col_layout_pop(&layout, place);
    }
    return layout;
}

#endif
