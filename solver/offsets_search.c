#include "solver/offsets_model.h"
offsets_verdict offsets_search(const offsets_model *model, int64_t capacity, double deadline,
                               uint64_t node_limit, col_arena *scratch, int64_t *offsets, uint64_t *nodes)
{
    (void)model;
    (void)capacity;
    (void)deadline;
    (void)node_limit;
    (void)scratch;
    (void)offsets;
    (void)nodes;
    return OFFSETS_STOPPED;
}
