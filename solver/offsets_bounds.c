/* Bounds of the exact offsets search. With the symbols of offsets_search.c, repeat until nothing changes:
 *
 *   f_s >= min over open j in s of e_j
 *   e_j >= max over sections s of j of f_s, rounded up to align_j
 *   e_j >= min over other open i in s of e_i + pad_i, where e_j + r_s > ceiling: j cannot be the lowest of
 *          the open items in s, as all of them would have to lie above e_j
 *   fail if f_s + r_s > ceiling, e_j + size_j > C, or e_j > place_j
 *
 * Only a range of sections is looked at: those whose bounds, or whose items' bounds, changed in the round
 * before. Elsewhere the state is at its fixpoint already.
 */
#include "solver/offsets_search.h"

typedef struct range {
    int32_t begin, end;
} range;

static bool raise_floors(search *q, search_part part, range dirty)
{
    const offsets_item *items = q->model->items;
    int64_t *first_end = q->first_end, *second_end = q->second_end;
    for (int32_t s = dirty.begin; s < dirty.end; s++) {
        first_end[s] = second_end[s] = INT64_MAX;
        q->first_ender[s] = -1;
        q->first_start[s] = INT64_MAX;
    }
    for (int32_t i = part.low; i < part.high; i++) {
        uint32_t j = q->open[i];
        int32_t from = COL_MAX(items[j].first, dirty.begin), to = COL_MIN(items[j].last + 1, dirty.end);
        int64_t start = q->earliest[j], end = start + items[j].pad;
        for (int32_t s = from; s < to; s++) {
            q->first_start[s] = COL_MIN(q->first_start[s], start);
            if (end < first_end[s]) {
                second_end[s] = first_end[s];
                first_end[s] = end;
                q->first_ender[s] = (int32_t)j;
            } else {
                second_end[s] = COL_MIN(second_end[s], end);
            }
        }
    }
    for (int32_t s = dirty.begin; s < dirty.end; s++) {
        if (q->rest[s] == 0) continue;
        if (q->first_start[s] > q->floor[s]) search_set(q, &q->floor[s], q->first_start[s]);
        if (q->floor[s] + q->rest[s] > q->ceiling) return false;
    }
    return true;
}

/* The bound on e_j from the sections of the range; INT64_MAX if j has no place. */
static int64_t earliest_of(const search *q, uint32_t j, range dirty)
{
    const offsets_item *item = &q->model->items[j];
    int32_t from = COL_MAX(item->first, dirty.begin), to = COL_MIN(item->last + 1, dirty.end);
    int64_t e = q->earliest[j];
    for (int32_t s = from; s < to; s++) e = COL_MAX(e, q->floor[s]);
    int64_t above = e;
    for (int32_t s = from; s < to; s++) {
        if (e + q->rest[s] <= q->ceiling) continue;
        above = COL_MAX(above, q->first_ender[s] == (int32_t)j ? q->second_end[s] : q->first_end[s]);
    }
    return above == INT64_MAX ? above : offsets_round_up(above, item->align);
}

static bool raise_items(search *q, search_part part, range dirty, range *out_changed)
{
    const offsets_item *items = q->model->items;
    *out_changed = (range){INT32_MAX, 0};
    for (int32_t i = part.low; i < part.high; i++) {
        uint32_t j = q->open[i];
        const offsets_item *item = &items[j];
        if (item->last < dirty.begin || item->first >= dirty.end) continue;
        int64_t e = earliest_of(q, j, dirty);
        if (e <= q->earliest[j]) continue;
        if (e > q->capacity - item->size || item->place >= 0) return false;
        search_set(q, &q->earliest[j], e);
        out_changed->begin = COL_MIN(out_changed->begin, item->first);
        out_changed->end = COL_MAX(out_changed->end, item->last + 1);
    }
    return true;
}

bool search_tighten(search *q, search_part part, int32_t begin, int32_t end)
{
    range dirty = {begin, end};
    while (dirty.begin < dirty.end) {
        range changed;
        if (!raise_floors(q, part, dirty)) return false;
        if (!raise_items(q, part, dirty, &changed)) return false;
        dirty = changed;
    }
    return true;
}
