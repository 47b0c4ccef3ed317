/* Greedy twin of the offsets search.
 *
 * One pass takes the buffers in some order and puts each into the lowest (first fit) or tightest (best fit)
 * gap that the earlier ones leave. Several classic orders are tried; then the best order is improved: the
 * buffers that reach the peak move earlier, as do some random ones, and the new order stays if its peak is
 * no higher. A pass is O(n * placed); n = 10^4 takes about 50 ms. */
#include "solver/offsets_model.h"

#include <stdlib.h>
#include <string.h>

typedef struct slot {
    int64_t low, high; /* bytes [low, high) taken */
    int32_t first, last;
} slot;

typedef struct greedy {
    const offsets_model *model;
    slot *slots; /* [placed], by low */
    size_t placed;
    double *key; /* [count] of the order being sorted */
    uint64_t random;
} greedy;

static uint64_t next_random(greedy *g)
{
    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    return g->random;
}

static void insert_slot(greedy *g, const offsets_item *item, int64_t low)
{
    size_t lo = 0, hi = g->placed;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (g->slots[mid].low <= low)
            lo = mid + 1;
        else
            hi = mid;
    }
    memmove(g->slots + lo + 1, g->slots + lo, (g->placed - lo) * sizeof *g->slots);
    g->slots[lo] = (slot){low, low + item->size, item->first, item->last};
    g->placed++;
}

/* The offset for `item` among the slots: lowest gap, or the gap that leaves least over. */
static int64_t find_gap(const greedy *g, const offsets_item *item, bool tightest)
{
    int64_t low = 0, best = -1, best_over = INT64_MAX;
    for (size_t i = 0; i < g->placed; i++) {
        const slot *s = &g->slots[i];
        if (s->last < item->first || s->first > item->last) continue;
        if (s->low >= low + item->size) {
            int64_t over = s->low - low - item->size;
            if (!tightest) return low;
            if (over < best_over) best_over = over, best = low;
        }
        if (s->high > low) low = offsets_round_up(s->high, item->align);
    }
    return best >= 0 ? best : low;
}

/* Places all in the order given; gives up and returns INT64_MAX once the peak exceeds `limit`. */
static int64_t place_all(greedy *g, const uint32_t *order, bool tightest, int64_t limit, int64_t *offsets)
{
    const offsets_model *m = g->model;
    int64_t peak = 0;
    g->placed = 0;
    for (size_t j = 0; j < m->count; j++) {
        const offsets_item *item = &m->items[j];
        if (item->place < 0) continue;
        offsets[j] = item->place;
        insert_slot(g, item, item->place);
        peak = COL_MAX(peak, item->place + item->size);
    }
    for (size_t i = 0; i < m->count; i++) {
        uint32_t j = order[i];
        const offsets_item *item = &m->items[j];
        if (item->place >= 0) continue;
        offsets[j] = find_gap(g, item, tightest);
        peak = COL_MAX(peak, offsets[j] + item->size);
        if (peak > limit) return INT64_MAX;
        insert_slot(g, item, offsets[j]);
    }
    return peak;
}

typedef struct keyed {
    double key;
    uint32_t index;
} keyed;

static int compare_keyed(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

enum { ORDERS = 6 };

/* The key of item j in one of the classic orders; larger goes first. */
static double order_key(const offsets_model *m, const int64_t *live, int which, size_t j)
{
    const offsets_item *item = &m->items[j];
    double size = (double)item->size, length = (double)(item->last - item->first + 1);
    int64_t pressure = 0;
    switch (which) {
    case 0: return size;
    case 1: return size * length;
    case 2: return length * 1e20 + size;
    case 3: return -(double)item->first * 1e20 + size;
    case 4: return (double)item->last * 1e20 + size;
    default: /* most crowded section first */
        for (int32_t s = item->first; s <= item->last; s++) pressure = COL_MAX(pressure, live[s]);
        return (double)pressure * 1e6 + length;
    }
}

static void make_order(const offsets_model *m, const int64_t *live, int which, keyed *scratch,
                       uint32_t *order)
{
    for (size_t j = 0; j < m->count; j++) scratch[j] = (keyed){order_key(m, live, which, j), (uint32_t)j};
    qsort(scratch, m->count, sizeof *scratch, compare_keyed);
    for (size_t j = 0; j < m->count; j++) order[j] = scratch[j].index;
}

/* Moves order[from] to position `to` < from. */
static void move_earlier(uint32_t *order, size_t from, size_t to)
{
    uint32_t moved = order[from];
    memmove(order + to + 1, order + to, (from - to) * sizeof *order);
    order[to] = moved;
}

static void perturb(greedy *g, uint32_t *order, const int64_t *offsets, int64_t peak)
{
    size_t n = g->model->count;
    size_t start = next_random(g) % n; /* which of several peak buffers: the first from here on */
    for (size_t k = 0; k < n; k++) {
        size_t i = (start + k) % n;
        if (offsets[order[i]] + g->model->items[order[i]].size != peak) continue;
        if (i > 0) move_earlier(order, i, next_random(g) % i);
        break;
    }
    if (next_random(g) % 2) {
        size_t i = next_random(g) % n;
        if (i > 0) move_earlier(order, i, next_random(g) % i);
    }
}

int64_t offsets_greedy(const offsets_model *model, int64_t target, double deadline, col_arena *scratch,
                       int64_t *offsets)
{
    size_t n = model->count;
    if (n == 0) return 0;
    greedy g = {.model = model, .slots = COL_NEW_ARRAY(scratch, slot, n), .random = 0x9e3779b97f4a7c15u};
    int64_t *live = COL_NEW_ARRAY(scratch, int64_t, model->sections);
    for (size_t j = 0; j < n; j++) {
        const offsets_item *item = &model->items[j];
        for (int32_t s = item->first; s <= item->last; s++) live[s] += item->size;
    }
    keyed *sorted = COL_NEW_ARRAY(scratch, keyed, n);
    uint32_t *order = COL_NEW_ARRAY(scratch, uint32_t, n), *best_order = COL_NEW_ARRAY(scratch, uint32_t, n);
    int64_t *trial = COL_NEW_ARRAY(scratch, int64_t, n), best = INT64_MAX;
    bool tightest = true;
    for (int which = 0; which < ORDERS * 2 && best > target; which++) {
        if (which > 0 && col_solve_cpu_clock() > deadline) break;
        make_order(model, live, which % ORDERS, sorted, order);
        int64_t peak = place_all(&g, order, which < ORDERS, best - (best != INT64_MAX), trial);
        if (peak >= best) continue;
        best = peak;
        tightest = which < ORDERS;
        memcpy(offsets, trial, n * sizeof *offsets);
        memcpy(best_order, order, n * sizeof *order);
    }
    /* Sideways moves count, so a fixed number of passes without gain ends it. */
    size_t idle = 0, patience = 200 + 20 * n;
    while (best > target && idle < patience && col_solve_cpu_clock() < deadline) {
        memcpy(order, best_order, n * sizeof *order);
        perturb(&g, order, offsets, best);
        int64_t peak = place_all(&g, order, tightest, best, trial);
        idle = peak < best ? 0 : idle + 1;
        if (peak > best) continue;
        best = peak;
        memcpy(offsets, trial, n * sizeof *offsets);
        memcpy(best_order, order, n * sizeof *order);
    }
    return best;
}
