/* Exact search for offsets within a capacity C.
 *
 * Items j (buffers of some size) cover sections first_j..last_j; pad_j is size_j rounded up to the grain, the
 * divisor of all alignments. In an answer that is pressed down, every item lies on another item, on offset 0,
 * or where it is fixed; if there is an answer, there is one that is pressed down. The search builds these
 * from below. Its state is the set of open (unplaced) items and
 *
 *   t_s   end of the highest placed item in section s
 *   f_s   floor: no open item of s starts lower;  f_s >= t_s
 *   r_s   sum of pad_j over the open items of s
 *   e_j   earliest offset of open item j
 *
 * with the bounds of offsets_bounds.c. At their fixpoint f_s = min e_j over the open j in s. A niche is a
 * maximal run of sections of equal floor h whose neighbours are higher. Let s be a section of a niche. The
 * items with e_j = h in s lie within the niche, so nothing fits below them, and exactly one of these holds:
 *
 *   some open j in s with e_j = h is placed at h, for good     (one branch each)
 *   no open item of s starts at h                              (one branch: f_s rises to the next height at
 *                                                               which an item of s could rest)
 *
 * which is exhaustive for any choice of s: the one with the fewest branches is taken. Of items that are the
 * same in interval, size and alignment only the first open one is a branch. Where no open item crosses a
 * boundary between sections, the parts left and right of it are solved on their own, so a part that has no
 * answer is found out once. A refuted part is remembered by a 64-bit hash of all that its subtree depends on:
 * the open items, f, and f - t as far as it decides whether an item rests on something.
 *
 * One wrong choice near the root costs a whole subtree, so the search restarts under other orders of the
 * choices with growing node budgets; the table of refuted parts carries over, and the budgets grow without
 * bound, so it is complete.
 *
 * The idea of pressed-down (canonical) answers, of section bounds and of splitting at run time is that of
 * Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning", ASPLOS
 * 2023 (doi 10.1145/3623278.3624752). Branching on niches in any order of height, the fixpoint bounds and the
 * table are not. */
#include "solver/offsets_search.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE_BITS = 20, TABLE_WAYS = 4, CLOCK_EVERY = 16 };

/* Deeper recursion than this does not fit an ordinary stack; such problems keep the greedy answer. */
enum { ITEM_LIMIT = 4000 };

/* In which order the items of a branch are tried. */
typedef enum choice_order {
    BIG_FIRST,
    LONG_FIRST,
    SHORT_FIRST,
    LONG_THIN_FIRST,
    WIDE_FIRST,
    CHOICE_ORDERS
} choice_order;

typedef struct tree {
    search q;
    uint64_t *table; /* hashes of refuted parts, [TABLE_WAYS << TABLE_BITS], newest first; 0 is empty */
    uint64_t *name;  /* [count] random name of an item, for hashes */
    int64_t *key;    /* [count] larger is tried first */
    bool *twin;      /* [count] the same as the item before */
    int32_t *tally;  /* [sections + 1] scratch */
    int64_t max_align;
    bool plain;                 /* nothing is fixed, and no alignment beyond the grain */
    bool favour_tight;          /* among sections of equal branching: least slack first, else lowest first */
    COL_VEC(uint32_t) choices;  /* stack */
    COL_VEC(search_part) parts; /* stack */
    uint64_t nodes, node_limit; /* of this restart */
    double deadline;
} tree;

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void rewind_to(search *q, size_t mark)
{
    while (q->trail.len > mark) {
        search_undo entry = q->trail.data[--q->trail.len];
        *entry.where = entry.value;
    }
}

/* ---- refuted parts ---- */

static uint64_t hash_part(const tree *t, search_part part)
{
    const search *q = &t->q;
    uint64_t hash = 0;
    for (int32_t i = part.low; i < part.high; i++) hash += t->name[q->open[i]];
    for (int32_t s = part.begin; s < part.end; s++) {
        uint64_t gap = (uint64_t)COL_MIN(q->floor[s] - q->top[s], t->max_align);
        hash += mix(mix(mix((uint64_t)q->floor[s]) + gap) + (uint64_t)s);
    }
    return mix(hash) | 1;
}

static uint64_t *table_row(const tree *t, uint64_t hash)
{
    return t->table + TABLE_WAYS * (size_t)(hash >> (64 - TABLE_BITS));
}

static bool is_refuted(const tree *t, uint64_t hash)
{
    const uint64_t *row = table_row(t, hash);
    for (int way = 0; way < TABLE_WAYS; way++) {
        if (row[way] == hash) return true;
    }
    return false;
}

static void remember_refuted(tree *t, uint64_t hash)
{
    uint64_t *row = table_row(t, hash);
    memmove(row + 1, row, (TABLE_WAYS - 1) * sizeof *row);
    row[0] = hash;
}

/* ---- branching ---- */

static bool covers(const offsets_item *item, int32_t section)
{
    return item->first <= section && section <= item->last;
}

/* Whether j can be placed at e_j for good: all its floors are there, it rests on something, and no twin has
 * to go first. */
static bool is_choice(const tree *t, uint32_t j)
{
    const search *q = &t->q;
    const offsets_item *item = &q->model->items[j];
    if (t->twin[j] && !q->placed[j - 1]) return false;
    bool rests = item->place >= 0;
    for (int32_t s = item->first; s <= item->last; s++) {
        if (q->floor[s] != q->earliest[j]) return false;
        rests |= offsets_round_up(q->top[s], item->align) == q->earliest[j];
    }
    return rests;
}

static int64_t slack_of(const search *q, int32_t section)
{
    return q->ceiling - q->floor[section] - q->rest[section];
}

/* The section of a niche with the fewest branches. */
static int32_t choose_section(tree *t, search_part part)
{
    const search *q = &t->q;
    memset(t->tally + part.begin, 0, (size_t)(part.end - part.begin) * sizeof *t->tally);
    for (int32_t i = part.low; i < part.high; i++) {
        uint32_t j = q->open[i];
        if (!is_choice(t, j)) continue;
        for (int32_t s = q->model->items[j].first; s <= q->model->items[j].last; s++) t->tally[s]++;
    }
    int32_t best = -1;
    int64_t best_branches = 0, best_tie = 0;
    for (int32_t s = part.begin, end; s < part.end; s = end) {
        int64_t h = q->floor[s];
        for (end = s + 1; end < part.end && q->floor[end] == h;) end++;
        if ((s > part.begin && q->floor[s - 1] < h) || (end < part.end && q->floor[end] < h)) continue;
        for (int32_t at = s; at < end; at++) {
            if (q->rest[at] == 0) continue;
            int64_t branches = t->tally[at] + (slack_of(q, at) > 0),
                    tie = t->favour_tight ? slack_of(q, at) : h;
            if (best >= 0 && (branches > best_branches || (branches == best_branches && tie >= best_tie)))
                continue;
            best = at;
            best_branches = branches;
            best_tie = tie;
        }
    }
    COL_ASSERT(best >= 0);
    return best;
}

/* The least height above the floor h of s at which an open item of s could rest: on an item that does not
 * cover s, or where it is known to start later. INT64_MAX if none. */
static int64_t next_height(const search *q, search_part part, int32_t section)
{
    const offsets_item *items = q->model->items;
    int64_t next = INT64_MAX;
    int32_t begin = INT32_MAX, end = 0; /* the sections of the items that could start at h */
    for (int32_t i = part.low; i < part.high; i++) {
        uint32_t j = q->open[i];
        if (!covers(&items[j], section)) continue;
        if (q->earliest[j] > q->floor[section]) {
            next = COL_MIN(next, q->earliest[j]);
        } else {
            begin = COL_MIN(begin, items[j].first);
            end = COL_MAX(end, items[j].last + 1);
        }
    }
    for (int32_t i = part.low; i < part.high; i++) {
        uint32_t k = q->open[i];
        if (items[k].last < begin || items[k].first >= end || covers(&items[k], section)) continue;
        next = COL_MIN(next, q->earliest[k] + items[k].pad);
    }
    return next;
}

/* An item over all of a part whose floor is level may lie lowest: in any answer it can be taken out, what lay
 * below it moved up by its pad, and put back at the floor. Returns it, or UINT32_MAX. */
static uint32_t find_base(const tree *t, search_part part)
{
    const search *q = &t->q;
    if (!t->plain) return UINT32_MAX;
    for (int32_t s = part.begin + 1; s < part.end; s++) {
        if (q->floor[s] != q->floor[part.begin]) return UINT32_MAX;
    }
    for (int32_t i = part.low; i < part.high; i++) {
        const offsets_item *item = &q->model->items[q->open[i]];
        if (item->first == part.begin && item->last == part.end - 1 && item->size == item->pad &&
            is_choice(t, q->open[i])) {
            return q->open[i];
        }
    }
    return UINT32_MAX;
}

static offsets_verdict solve_part(tree *t, search_part part);

static offsets_verdict try_item(tree *t, search_part part, uint32_t j)
{
    search *q = &t->q;
    const offsets_item *item = &q->model->items[j];
    size_t mark = q->trail.len;
    int32_t at = part.low;
    while (q->open[at] != j) at++;
    q->open[at] = q->open[part.high - 1];
    q->open[part.high - 1] = j;
    q->offsets[j] = q->earliest[j];
    q->placed[j] = true;
    for (int32_t s = item->first; s <= item->last; s++) {
        search_set(q, &q->floor[s], q->offsets[j] + item->pad);
        search_set(q, &q->top[s], q->offsets[j] + item->pad);
        search_set(q, &q->rest[s], q->rest[s] - item->pad);
    }
    search_part child = {part.low, part.high - 1, part.begin, part.end};
    offsets_verdict verdict = OFFSETS_REFUTED;
    if (search_tighten(q, item->first, item->last + 1)) verdict = solve_part(t, child);
    if (verdict != OFFSETS_FITS) {
        q->placed[j] = false;
        rewind_to(q, mark);
    }
    return verdict;
}

static offsets_verdict try_gap(tree *t, search_part part, int32_t section)
{
    search *q = &t->q;
    if (slack_of(q, section) == 0) return OFFSETS_REFUTED;
    int64_t next = next_height(q, part, section);
    if (next > q->ceiling - q->rest[section]) return OFFSETS_REFUTED;
    size_t mark = q->trail.len;
    search_set(q, &q->floor[section], next);
    offsets_verdict verdict = OFFSETS_REFUTED;
    if (search_tighten(q, section, section + 1)) verdict = solve_part(t, part);
    if (verdict != OFFSETS_FITS) rewind_to(q, mark);
    return verdict;
}

static offsets_verdict branch(tree *t, search_part part)
{
    search *q = &t->q;
    uint32_t base_item = find_base(t, part);
    if (base_item != UINT32_MAX) return try_item(t, part, base_item);
    int32_t section = choose_section(t, part);
    size_t base = t->choices.len;
    for (int32_t i = part.low; i < part.high; i++) {
        uint32_t j = q->open[i];
        if (!covers(&q->model->items[j], section) || !is_choice(t, j)) continue;
        col_vec_push(q->scratch, &t->choices, j);
        uint32_t *list = t->choices.data + base;
        size_t at = t->choices.len - base - 1;
        for (; at > 0 &&
               (t->key[list[at - 1]] < t->key[j] || (t->key[list[at - 1]] == t->key[j] && list[at - 1] > j));
             at--)
            list[at] = list[at - 1];
        list[at] = j;
    }
    size_t end = t->choices.len;
    offsets_verdict verdict = OFFSETS_REFUTED;
    for (size_t i = base; i < end && verdict == OFFSETS_REFUTED; i++)
        verdict = try_item(t, part, t->choices.data[i]);
    t->choices.len = base;
    if (verdict == OFFSETS_REFUTED) verdict = try_gap(t, part, section);
    return verdict;
}

/* ---- parts ---- */

static offsets_verdict solve_connected(tree *t, search_part part)
{
    t->nodes++;
    if (t->nodes >= t->node_limit) return OFFSETS_STOPPED;
    if (t->nodes % CLOCK_EVERY == 0 && col_solve_cpu_clock() > t->deadline) return OFFSETS_STOPPED;
    uint64_t hash = hash_part(t, part);
    if (is_refuted(t, hash)) return OFFSETS_REFUTED;
    offsets_verdict verdict = branch(t, part);
    if (verdict == OFFSETS_REFUTED) remember_refuted(t, hash);
    return verdict;
}

/* Pushes the connected pieces of a part on t->parts, the smallest first. */
static void split_part(tree *t, search_part part)
{
    search *q = &t->q;
    const offsets_item *items = q->model->items;
    memset(t->tally + part.begin, 0, (size_t)(part.end - part.begin) * sizeof *t->tally);
    for (int32_t i = part.low; i < part.high; i++) {
        t->tally[items[q->open[i]].first]++;
        t->tally[items[q->open[i]].last]--;
    }
    size_t base = t->parts.len;
    int32_t low = part.low, begin = part.begin, crossing = 0;
    for (int32_t s = part.begin; s < part.end; s++) {
        crossing += t->tally[s];
        if (crossing > 0) continue;
        search_part piece = {low, low, begin, s + 1};
        begin = s + 1;
        if (q->rest[s] == 0) continue; /* an empty section lies between pieces */
        for (int32_t i = low; i < part.high; i++) {
            uint32_t j = q->open[i];
            if (items[j].first > s) continue;
            q->open[i] = q->open[piece.high];
            q->open[piece.high++] = j;
        }
        low = piece.high;
        col_vec_push(q->scratch, &t->parts, piece);
        search_part *list = t->parts.data + base;
        size_t at = t->parts.len - base - 1;
        for (; at > 0 && list[at - 1].high - list[at - 1].low > piece.high - piece.low; at--)
            list[at] = list[at - 1];
        list[at] = piece;
    }
}

static offsets_verdict solve_part(tree *t, search_part part)
{
    search *q = &t->q;
    size_t base = t->parts.len;
    split_part(t, part);
    size_t end = t->parts.len;
    offsets_verdict verdict = OFFSETS_FITS;
    for (size_t i = base; i < end && verdict == OFFSETS_FITS; i++)
        verdict = solve_connected(t, t->parts.data[i]);
    t->parts.len = base;
    if (verdict != OFFSETS_FITS) { /* pieces solved before the one that failed */
        for (int32_t i = part.low; i < part.high; i++) q->placed[q->open[i]] = false;
    }
    return verdict;
}

/* ---- restarts ---- */

/* Keys of the choices for a restart; from the second round on with noise. */
static void set_keys(tree *t, uint64_t restart)
{
    const offsets_model *m = t->q.model;
    choice_order order = (choice_order)(restart % CHOICE_ORDERS);
    uint64_t round = restart / CHOICE_ORDERS;
    double noise = round < 2 ? 0 : 0.25 * (double)(round % 4);
    t->favour_tight = round % 2 == 0;
    for (size_t j = 0; j < m->count; j++) {
        const offsets_item *item = &m->items[j];
        double size = (double)item->size / (double)t->q.capacity,
               length = (double)(item->last - item->first + 1) / m->sections;
        double key = 0;
        switch (order) {
        case BIG_FIRST: key = size + 1e-3 * length; break;
        case LONG_FIRST: key = length + 1e-3 * size; break;
        case SHORT_FIRST: key = -length - 1e-3 * size; break;
        case LONG_THIN_FIRST: key = length - 1e-3 * size; break;
        default: key = size * length;
        }
        double chance = (double)(mix(t->name[j] + restart) >> 11) * 0x1p-53;
        key *= 1 + noise * chance;
        t->key[j] = (int64_t)(key * 0x1p50);
    }
}

static void init_tree(tree *t, const offsets_model *m, int64_t capacity, col_arena *scratch, int64_t *offsets)
{
    size_t n = m->count, sections = (size_t)m->sections;
    t->q = (search){.model = m,
                    .capacity = capacity,
                    .ceiling = offsets_round_up(capacity, m->grain),
                    .offsets = offsets,
                    .earliest = COL_NEW_ARRAY(scratch, int64_t, n),
                    .floor = COL_NEW_ARRAY(scratch, int64_t, sections),
                    .top = COL_NEW_ARRAY(scratch, int64_t, sections),
                    .rest = COL_NEW_ARRAY(scratch, int64_t, sections),
                    .placed = COL_NEW_ARRAY(scratch, bool, n),
                    .open = COL_NEW_ARRAY(scratch, uint32_t, n),
                    .first_end = COL_NEW_ARRAY(scratch, int64_t, sections),
                    .second_end = COL_NEW_ARRAY(scratch, int64_t, sections),
                    .first_ender = COL_NEW_ARRAY(scratch, int64_t, sections),
                    .members_begin = COL_NEW_ARRAY(scratch, size_t, sections + 2),
                    .queue = COL_NEW_ARRAY(scratch, int32_t, sections),
                    .queued = COL_NEW_ARRAY(scratch, bool, sections),
                    .scratch = scratch};
    t->name = COL_NEW_ARRAY(scratch, uint64_t, n);
    t->key = COL_NEW_ARRAY(scratch, int64_t, n);
    t->twin = COL_NEW_ARRAY(scratch, bool, n);
    t->tally = COL_NEW_ARRAY(scratch, int32_t, sections + 1);
    t->max_align = 1;
    t->plain = true;
    for (size_t j = 0; j < n; j++) {
        const offsets_item *item = &m->items[j], *before = j > 0 ? item - 1 : NULL;
        t->name[j] = mix(j);
        t->q.open[j] = (uint32_t)j;
        t->q.earliest[j] = COL_MAX(item->place, 0);
        t->twin[j] = before && item->place < 0 && before->place < 0 && before->first == item->first &&
                     before->last == item->last && before->size == item->size && before->align == item->align;
        t->max_align = COL_MAX(t->max_align, item->align);
        t->plain = t->plain && item->place < 0 && item->align == m->grain;
        for (int32_t s = item->first; s <= item->last; s++) {
            t->q.rest[s] += item->pad;
            t->q.members_begin[s + 2]++; /* shifted by one: filling brings it to its place */
        }
    }
    size_t *begin = t->q.members_begin;
    for (size_t s = 0; s < sections; s++) begin[s + 2] += begin[s + 1];
    t->q.members = COL_NEW_ARRAY(scratch, uint32_t, begin[sections + 1]);
    for (uint32_t j = 0; j < n; j++) {
        for (int32_t s = m->items[j].first; s <= m->items[j].last; s++) t->q.members[begin[s + 1]++] = j;
    }
}

offsets_verdict offsets_search(const offsets_model *model, int64_t capacity, double deadline,
                               uint64_t node_limit, col_arena *scratch, int64_t *offsets, uint64_t *nodes)
{
    for (size_t j = 0; j < model->count; j++) {
        const offsets_item *item = &model->items[j];
        if (COL_MAX(item->place, 0) + item->size > capacity) return OFFSETS_REFUTED;
    }
    if (model->count > ITEM_LIMIT) return OFFSETS_STOPPED;
    tree t = {.deadline = deadline};
    init_tree(&t, model, capacity, scratch, offsets);
    t.table = calloc((size_t)TABLE_WAYS << TABLE_BITS, sizeof *t.table);
    if (!t.table) col_out_of_memory(0);
    search_part all = {0, (int32_t)model->count, 0, model->sections};
    offsets_verdict verdict = OFFSETS_REFUTED;
    if (search_tighten(&t.q, all.begin, all.end)) {
        uint64_t total = 0;
        size_t mark = t.q.trail.len;
        verdict = OFFSETS_STOPPED;
        for (uint64_t restart = 0; verdict == OFFSETS_STOPPED && col_solve_cpu_clock() < deadline;
             restart++) {
            uint64_t budget = (4 * model->count + 256) << COL_MIN(restart / (2 * CHOICE_ORDERS), 40);
            if (node_limit) budget = COL_MIN(budget, node_limit - total);
            t.nodes = 0;
            t.node_limit = budget;
            set_keys(&t, restart);
            rewind_to(&t.q, mark);
            verdict = solve_part(&t, all);
            total += t.nodes;
            if (node_limit && total >= node_limit) break;
        }
        *nodes += total;
    }
    free(t.table);
    return verdict;
}
