/* Normalises the problem, takes the greedy answer, and calls the exact search where that misses the bound. */
#include "solver/offsets_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/divisor.h"

/* The greedy answer may take this long, alone and before the search; the first order always finishes. */
static const double GREEDY_SECONDS = 0.1, SEED_SECONDS = 0.02;

static uint64_t alignment_of(const col_offsets_buffer *buffer)
{
    return buffer->alignment ? buffer->alignment : 1;
}

static col_status check_buffers(const col_offsets_problem *problem)
{
    uint64_t total = 0;
    for (size_t j = 0; j < problem->count; j++) {
        const col_offsets_buffer *b = &problem->buffers[j];
        uint64_t align = alignment_of(b);
        if (b->lower >= b->upper) {
            return col_error_make(COL_BAD_INPUT,
                                  "buffer %zu: live interval [%" PRIu64 ", %" PRIu64
                                  ") is empty; lower must be less than upper",
                                  j, b->lower, b->upper);
        }
        /* Every answer of the greedy lies below the sum of sizes, alignments and fixed tops. */
        uint64_t parts[] = {b->size, align, b->fixed ? b->offset : 0};
        for (size_t k = 0; k < COL_COUNT(parts); k++) {
            if (parts[k] > (uint64_t)OFFSETS_MAX - total) {
                return col_error_make(
                    COL_BAD_INPUT,
                    "buffer %zu: sizes, alignments and fixed offsets add up to more than 2^60 "
                    "bytes; give smaller ones",
                    j);
            }
            total += parts[k];
        }
        if (b->fixed && b->offset % align) {
            return col_error_make(COL_BAD_INPUT,
                                  "buffer %zu: fixed offset %" PRIu64
                                  " is no multiple of its alignment %" PRIu64,
                                  j, b->offset, align);
        }
    }
    return NULL;
}

typedef struct event {
    uint64_t time;
    uint32_t item;
    bool start;
} event;

/* In order of time, ends before starts: intervals are half-open. */
static int compare_events(const void *a, const void *b)
{
    const event *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->start != y->start) return x->start ? 1 : -1;
    return x->item < y->item ? -1 : 1;
}

static int compare_items(const void *a, const void *b)
{
    const offsets_item *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    if (x->last != y->last) return x->last > y->last ? -1 : 1;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x->buffer < y->buffer ? -1 : 1;
}

static void number_sections(offsets_model *m, const col_offsets_problem *problem, col_arena *scratch)
{
    event *events = COL_NEW_ARRAY(scratch, event, 2 * m->count + 1);
    for (uint32_t j = 0; j < m->count; j++) {
        const col_offsets_buffer *b = &problem->buffers[m->items[j].buffer];
        events[2 * j] = (event){b->lower, j, true};
        events[2 * j + 1] = (event){b->upper, j, false};
    }
    qsort(events, 2 * m->count, sizeof *events, compare_events);
    bool grown = false; /* a buffer started since the last section: ending now closes a maximal set */
    for (size_t e = 0; e < 2 * m->count; e++) {
        offsets_item *item = &m->items[events[e].item];
        if (events[e].start) {
            item->first = m->sections;
            grown = true;
        } else {
            if (grown) m->sections++;
            grown = false;
            item->last = m->sections - 1;
        }
    }
}

static void build_model(offsets_model *m, const col_offsets_problem *problem, col_arena *scratch)
{
    *m = (offsets_model){.items = COL_NEW_ARRAY(scratch, offsets_item, problem->count + 1)};
    for (size_t j = 0; j < problem->count; j++) {
        const col_offsets_buffer *b = &problem->buffers[j];
        if (b->size == 0) continue;
        int64_t align = (int64_t)alignment_of(b);
        m->items[m->count++] = (offsets_item){.size = (int64_t)b->size,
                                              .align = align,
                                              .place = b->fixed ? (int64_t)b->offset : -1,
                                              .buffer = j};
        m->grain = col_common_divisor(align, m->grain);
    }
    if (m->grain == 0) m->grain = 1;
    number_sections(m, problem, scratch);
    qsort(m->items, m->count, sizeof *m->items, compare_items);

    int64_t *live = COL_NEW_ARRAY(scratch, int64_t, m->sections + 1);
    int64_t *saved = COL_NEW_ARRAY(scratch, int64_t, m->sections + 1);
    for (size_t j = 0; j < m->count; j++) {
        offsets_item *item = &m->items[j];
        item->pad = offsets_round_up(item->size, m->grain);
        for (int32_t s = item->first; s <= item->last; s++) {
            live[s] += item->pad;
            saved[s] = COL_MAX(saved[s], item->pad - item->size);
        }
        m->bound = COL_MAX(m->bound, COL_MAX(item->place, 0) + item->size);
    }
    for (int32_t s = 0; s < m->sections; s++) m->bound = COL_MAX(m->bound, live[s] - saved[s]);
}

/* The state of one solve: the best answer so far and what is proved. */
typedef struct progress {
    const offsets_model *model;
    col_arena *scratch;
    double deadline;
    uint64_t node_limit, nodes;
    int64_t *best, *trial; /* [count] */
    int64_t peak, bound;
    double gap; /* that is good enough */
} progress;

static bool is_good(const progress *p)
{
    return (double)(p->peak - p->bound) <= p->gap * (double)p->bound;
}

static offsets_verdict try_capacity(progress *p, int64_t capacity, double deadline)
{
    if (p->node_limit && p->nodes >= p->node_limit) return OFFSETS_STOPPED;
    uint64_t left = p->node_limit ? p->node_limit - p->nodes : 0;
    offsets_verdict verdict =
        offsets_search(p->model, capacity, deadline, left, p->scratch, p->trial, &p->nodes);
    if (verdict == OFFSETS_REFUTED) p->bound = COL_MAX(p->bound, capacity + 1);
    if (verdict == OFFSETS_FITS) {
        p->peak = 0;
        for (size_t j = 0; j < p->model->count; j++) {
            p->best[j] = p->trial[j];
            p->peak = COL_MAX(p->peak, p->best[j] + p->model->items[j].size);
        }
    }
    return verdict;
}

/* Narrows [bound, peak]: first at the bound itself, which most problems attain, or at the gap, then by
 * halves. A capacity that a slice of the time neither meets nor refutes is left for last. */
static void minimise(progress *p)
{
    /* The next capacity to try; nothing below `open` is worth trying now. What is good enough is easier than
     * the bound. */
    int64_t open = p->bound + (int64_t)(p->gap * (double)p->bound);
    for (double slice = 0.25; !is_good(p); slice = COL_MIN(2 * slice, 1.0)) {
        double now = col_solve_cpu_clock();
        if (now >= p->deadline || (p->node_limit && p->nodes >= p->node_limit)) return;
        while (open < p->peak && !is_good(p)) {
            now = col_solve_cpu_clock();
            offsets_verdict verdict = try_capacity(p, open, now + slice * (p->deadline - now));
            if (verdict == OFFSETS_STOPPED)
                open = open + COL_MAX((p->peak - open + 1) / 2, 1);
            else
                open = p->bound + (p->peak - p->bound) / 2 * (verdict == OFFSETS_REFUTED);
            if (col_solve_cpu_clock() >= p->deadline) return;
        }
        open = p->bound;
    }
}

/* ---- large buffers first ---- */

/* Parts of the bound that the small buffers may hold together, one tried after the other, and of all buffers that they
 * must be. */
static const double SMALL_BYTES[] = {0.001, 0.01}, SMALL_COUNT = 0.2;

/* The most bytes of items smaller than `size` that are live at one time. */
static int64_t live_below(const offsets_model *m, int64_t size, int64_t *live)
{
    int64_t most = 0;
    memset(live, 0, sizeof *live * (size_t)m->sections);
    for (size_t j = 0; j < m->count; j++) {
        const offsets_item *item = &m->items[j];
        if (item->size >= size) continue;
        for (int32_t s = item->first; s <= item->last; s++) most = COL_MAX(most, live[s] += item->pad);
    }
    return most;
}

/* The largest power of two below which the items hold next to nothing; 0: they are too few to matter. */
static int64_t small_size(const offsets_model *m, double part, col_arena *scratch)
{
    int64_t *live = COL_NEW_ARRAY(scratch, int64_t, m->sections + 1), size = 1, most;
    most = (int64_t)(part * (double)m->bound);
    while (2 * size <= most && live_below(m, 2 * size, live) <= most) size *= 2;
    size_t count = 0;
    for (size_t j = 0; j < m->count; j++) count += m->items[j].size < size && m->items[j].place < 0;
    bool is_worth_it = (double)count >= SMALL_COUNT * (double)m->count && count < m->count;
    return is_worth_it ? size : 0;
}

/* Solves without the buffers below `size`, which are most of what there is to search and next to nothing of the
 * peak, and then puts them where they fit. */
static void solve_from(progress *p, int64_t size, const col_offsets_problem *problem,
                       const col_offsets_limits *limits)
{
    const offsets_model *m = p->model;
    col_offsets_buffer *large = COL_NEW_ARRAY(p->scratch, col_offsets_buffer, m->count);
    col_offsets_problem part = {.buffers = large};
    offsets_model rest = *m;
    rest.items = col_arena_copy(p->scratch, m->items, m->count * sizeof *m->items);
    for (size_t j = 0; j < m->count; j++) {
        if (m->items[j].size >= size || m->items[j].place >= 0)
            large[part.count++] = problem->buffers[m->items[j].buffer];
    }
    double left = p->deadline - col_solve_cpu_clock();
    col_offsets_limits share = {
        .seconds = left / 2, .nodes = (limits->nodes + 1) / 2, .gap = limits->gap / 2};
    col_offsets_solution solution;
    if (left <= 0 || col_error_ignore(col_offsets_solve(&part, &share, p->scratch, &solution))) return;
    p->nodes += solution.nodes;
    for (size_t j = 0, k = 0; j < m->count; j++) {
        if (m->items[j].size >= size || m->items[j].place >= 0)
            rest.items[j].place = (int64_t)solution.offsets[k++];
    }
    int64_t peak =
        offsets_greedy(&rest, m->bound, col_solve_cpu_clock() + SEED_SECONDS, p->scratch, p->trial);
    if (peak >= p->peak) return;
    p->peak = peak;
    memcpy(p->best, p->trial, m->count * sizeof *p->best);
}

static void solve_large(progress *p, const col_offsets_problem *problem, const col_offsets_limits *limits)
{
    int64_t last = 0;
    for (size_t i = 0; i < COL_COUNT(SMALL_BYTES) && !is_good(p); i++) {
        int64_t size = small_size(p->model, SMALL_BYTES[i], p->scratch);
        if (size > last) solve_from(p, size, problem, limits);
        last = size;
    }
}

static void solve_model(progress *p, const col_offsets_problem *problem, const col_offsets_limits *limits,
                        double start)
{
    const offsets_model *m = p->model;
    int64_t capacity = problem->capacity ? (int64_t)COL_MIN(problem->capacity, (uint64_t)OFFSETS_MAX) : 0;
    int64_t target = COL_MAX(capacity, m->bound);
    p->bound = m->bound;
    double greedy = limits->seconds > 0 ? SEED_SECONDS : GREEDY_SECONDS;
    p->peak = offsets_greedy(m, target, start + greedy, p->scratch, p->best);
    if (p->peak <= target || limits->seconds <= 0) return;
    p->gap = limits->gap;
    if (!capacity) {
        solve_large(p, problem, limits);
        minimise(p);
    } else if (capacity >= p->bound) {
        (void)try_capacity(p, capacity, p->deadline);
    }
}

col_status col_offsets_solve(const col_offsets_problem *problem, const col_offsets_limits *limits,
                             col_arena *arena, col_offsets_solution *out_solution)
{
    double started = col_solve_clock(), start = col_solve_cpu_clock();
    COL_TRY(check_buffers(problem));
    uint64_t *offsets = COL_NEW_ARRAY(arena, uint64_t, problem->count + 1);
    for (size_t j = 0; j < problem->count; j++) {
        if (problem->buffers[j].fixed) offsets[j] = problem->buffers[j].offset;
    }
    COL_TRY(offsets_check_fixed(problem, offsets));
    col_arena *scratch = col_arena_create();
    offsets_model model;
    build_model(&model, problem, scratch);
    progress p = {.model = &model,
                  .scratch = scratch,
                  .deadline = start + limits->seconds,
                  .node_limit = limits->nodes,
                  .best = COL_NEW_ARRAY(scratch, int64_t, model.count + 1),
                  .trial = COL_NEW_ARRAY(scratch, int64_t, model.count + 1)};
    solve_model(&p, problem, limits, start);
    for (size_t j = 0; j < model.count; j++) offsets[model.items[j].buffer] = (uint64_t)p.best[j];

    *out_solution = (col_offsets_solution){.offsets = offsets, .bound = (uint64_t)p.bound, .nodes = p.nodes};
    col_status status = col_offsets_check(problem, offsets, &out_solution->peak);
    uint64_t peak = out_solution->peak;
    bool fits = !problem->capacity || peak <= problem->capacity;
    if (!fits && out_solution->bound > problem->capacity)
        out_solution->status = COL_SOLVE_INFEASIBLE;
    else if (!fits)
        out_solution->status = COL_SOLVE_LIMIT;
    else
        out_solution->status = peak <= out_solution->bound ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
    out_solution->seconds = col_solve_clock() - started;
    col_arena_destroy(scratch);
    return status;
}
