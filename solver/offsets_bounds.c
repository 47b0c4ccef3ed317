/* Bounds of the exact offsets search. With the symbols of offsets_search.c, repeat until nothing changes:
 *
 *   f_s >= min over open j in s of e_j
 *   e_j >= max over sections s of j of f_s, rounded up to align_j
 *   e_j >= min over other open i in s of e_i + pad_i, where e_j + r_s > ceiling: j cannot be the lowest of
 *          the open items in s, as all of them would have to lie above e_j
 *   fail if f_s + r_s > ceiling, e_j + size_j > C, or e_j > place_j
 *
 * A queue holds the sections whose open items, or whose items' bounds, changed where it matters to them. */
#include "solver/offsets_search.h"

static void enqueue(search *q, int32_t section)
{
    if (q->queued[section]) return;
    q->queued[section] = true;
    q->queue[q->queue_end] = section;
    if (++q->queue_end == q->model->sections) q->queue_end = 0;
    q->queue_len++;
}

static int32_t dequeue(search *q)
{
    int32_t begin = q->queue_end - q->queue_len;
    if (begin < 0) begin += q->model->sections;
    q->queue_len--;
    q->queued[q->queue[begin]] = false;
    return q->queue[begin];
}

/* min over the open items of s other than j of e + pad. */
static int64_t end_below(const search *q, int32_t section, uint32_t j)
{
    return q->first_ender[section] == (int64_t)j ? q->second_end[section] : q->first_end[section];
}

/* The third rule can creep: two items that each lie above the other's end, or above that of a third one, rise by
 * a small pad at a time to the ceiling. So it is applied so often in a fixpoint, by item; leaving it out costs
 * inference and nothing else, while the first two rules only copy values around and settle soon. */
enum { RAISES = 16 };

/* Raises e_j to at least e, and on as the third rule says. */
static bool raise_item(search *q, uint32_t j, int64_t e)
{
    const offsets_item *item = &q->model->items[j];
    int64_t before = q->earliest[j], above = e;
    bool alone = q->raises > 0;
    q->raises -= alone;
    for (int32_t s = item->first; alone && s <= item->last; s++) {
        if (e + q->rest[s] > q->ceiling) above = COL_MAX(above, end_below(q, s, j));
    }
    if (above > q->capacity - item->size || item->place >= 0) return false;
    e = offsets_round_up(above, item->align);
    if (e > q->capacity - item->size) return false;
    search_set(q, &q->earliest[j], e);
    for (int32_t s = item->first; s <= item->last; s++) {
        if (before == q->floor[s] || before + item->pad <= q->second_end[s]) enqueue(q, s);
    }
    return true;
}

static bool tighten_section(search *q, int32_t s)
{
    if (q->rest[s] == 0) return true;
    const uint32_t *members = q->members + q->members_begin[s];
    size_t count = q->members_begin[s + 1] - q->members_begin[s];
    int64_t start = INT64_MAX, first = INT64_MAX, second = INT64_MAX;
    int64_t ender = -1;
    for (size_t i = 0; i < count; i++) {
        uint32_t j = members[i];
        if (q->placed[j]) continue;
        int64_t e = q->earliest[j], end = e + q->model->items[j].pad;
        start = COL_MIN(start, e);
        if (end < first) {
            second = first;
            first = end;
            ender = j;
        } else {
            second = COL_MIN(second, end);
        }
    }
    if (start > q->floor[s]) search_set(q, &q->floor[s], start);
    if (q->floor[s] + q->rest[s] > q->ceiling) return false;
    if (first != q->first_end[s]) search_set(q, &q->first_end[s], first);
    if (second != q->second_end[s]) search_set(q, &q->second_end[s], second);
    if (ender != q->first_ender[s]) search_set(q, &q->first_ender[s], ender);
    int64_t floor = q->floor[s], last_alone = q->ceiling - q->rest[s];
    for (size_t i = 0; i < count; i++) {
        uint32_t j = members[i];
        if (q->placed[j]) continue;
        int64_t e = COL_MAX(q->earliest[j], floor);
        if (e > last_alone && q->raises > 0) e = COL_MAX(e, (int64_t)j == ender ? second : first);
        if (e > q->earliest[j] && !raise_item(q, j, e)) return false;
    }
    return true;
}

bool search_tighten(search *q, int32_t begin, int32_t end)
{
    for (int32_t s = begin; s < end; s++) enqueue(q, s);
    bool open = true;
    q->raises = RAISES * (int64_t)q->model->count;
    while (q->queue_len > 0) {
        int32_t s = dequeue(q);
        open = open && tighten_section(q, s); /* after a failure only the queue is emptied */
    }
    return open;
}
