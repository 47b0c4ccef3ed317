#include "ir/base/vec.h"

#include <string.h>

void *col_vec_grow(col_arena *arena, void *data, size_t len, size_t *cap, size_t element_size)
{
    *cap = *cap ? *cap * 2 : 8;
    void *bigger = col_arena_alloc_array(arena, *cap, element_size);
    if (len) memcpy(bigger, data, len * element_size);
    return bigger;
}
