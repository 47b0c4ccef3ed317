/* Checks an answer against the problem as given: nothing here comes from the model that made the answer. */
#include "solver/offsets_model.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct edge {
    uint64_t time;
    size_t buffer;
    bool start;
} edge;

static int compare_edges(const void *a, const void *b)
{
    const edge *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->start != y->start) return x->start ? 1 : -1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

/* Where a buffer of this offset goes among the live ones, which stay sorted and disjoint. */
static size_t find_place(const size_t *live, size_t count, const uint64_t *offsets, uint64_t offset)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (offsets[live[mid]] < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static col_status overlap_error(const col_offsets_problem *problem, const uint64_t *offsets, size_t a,
                                size_t b)
{
    bool given = problem->buffers[a].fixed && problem->buffers[b].fixed;
    return col_error_make(given ? COL_BAD_INPUT : COL_INTERNAL,
                          "buffers %zu and %zu are live together and overlap%s: %" PRIu64 " + %" PRIu64
                          " bytes and %" PRIu64 " + %" PRIu64 " bytes",
                          a, b, given ? " where they are fixed" : "", offsets[a], problem->buffers[a].size,
                          offsets[b], problem->buffers[b].size);
}

static col_status check_sweep(const col_offsets_problem *problem, const uint64_t *offsets, const edge *edges,
                              size_t edge_count, size_t *live)
{
    size_t count = 0;
    for (size_t e = 0; e < edge_count; e++) {
        size_t j = edges[e].buffer, at = find_place(live, count, offsets, offsets[j]);
        if (!edges[e].start) {
            COL_ASSERT(at < count && live[at] == j);
            count--;
            for (size_t i = at; i < count; i++) live[i] = live[i + 1];
            continue;
        }
        if (at < count && offsets[j] + problem->buffers[j].size > offsets[live[at]]) {
            return overlap_error(problem, offsets, j, live[at]);
        }
        if (at > 0 && offsets[live[at - 1]] + problem->buffers[live[at - 1]].size > offsets[j]) {
            return overlap_error(problem, offsets, live[at - 1], j);
        }
        for (size_t i = count++; i > at; i--) live[i] = live[i - 1];
        live[at] = j;
    }
    return NULL;
}

/* Buffers that meet in time are disjoint: all of them, or only those that are fixed. */
static col_status check_disjoint(const col_offsets_problem *problem, const uint64_t *offsets, bool only_fixed)
{
    size_t count = 0;
    col_arena *scratch = col_arena_create();
    edge *edges = COL_NEW_ARRAY(scratch, edge, 2 * problem->count + 1);
    for (size_t j = 0; j < problem->count; j++) {
        const col_offsets_buffer *b = &problem->buffers[j];
        if (b->size == 0 || (only_fixed && !b->fixed)) continue;
        edges[count++] = (edge){b->lower, j, true};
        edges[count++] = (edge){b->upper, j, false};
    }
    qsort(edges, count, sizeof *edges, compare_edges);
    col_status status =
        check_sweep(problem, offsets, edges, count, COL_NEW_ARRAY(scratch, size_t, problem->count + 1));
    col_arena_destroy(scratch);
    return status;
}

col_status offsets_check_fixed(const col_offsets_problem *problem, const uint64_t *offsets)
{
    return check_disjoint(problem, offsets, true);
}

col_status col_offsets_check(const col_offsets_problem *problem, const uint64_t *offsets, uint64_t *out_peak)
{
    *out_peak = 0;
    for (size_t j = 0; j < problem->count; j++) {
        const col_offsets_buffer *b = &problem->buffers[j];
        if ((b->alignment && offsets[j] % b->alignment) || (b->fixed && offsets[j] != b->offset)) {
            return col_error_make(COL_INTERNAL, "buffer %zu is misplaced at %" PRIu64, j, offsets[j]);
        }
        if (b->size) *out_peak = COL_MAX(*out_peak, offsets[j] + b->size);
    }
    return check_disjoint(problem, offsets, false);
}
