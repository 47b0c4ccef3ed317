/* Blocks, their groups and their turns (passes/recompute.h).
 *
 * The forward phase is cut where few bytes cross that later nodes need: between layers, where only the
 * residual stream does. A group of blocks is computed again in one turn, which begins before the first unit
 * of the backward phase that needs a fair share of the group. Turns fix the time at which a value is computed
 * again, whatever else is, so that memory at any time is a sum over values. */
#include "passes/recompute_model.h"

#include <math.h>
#include <stdlib.h>

enum {
    BLOCK_SHARE = 2, /* a block makes at least so many times the bytes that cross its end, ... */
    SMALL_SHARE = 8, /* ... and 1 / this of what blocks make on average */
    EARLY_SHARE =
        10, /* 1 / this of a group's bytes may be needed before its turn: those are kept, or computed
                         again in an earlier one */
};

/* Bytes made before item j that items from j on read, by j. */
static int64_t *find_crossing(const col_recompute_model *m, col_arena *scratch)
{
    int64_t *crossing = COL_NEW_ARRAY(scratch, int64_t, m->items.len + 2);
    for (size_t i = 0; i < m->items.len; i++) {
        const recompute_item *item = &m->items.data[i];
        if (!item->readers.len) continue;
        crossing[i + 1] += item->bytes;
        crossing[item->readers.data[item->readers.len - 1] + 1] -= item->bytes;
    }
    for (size_t j = 1; j <= m->items.len; j++) crossing[j] += crossing[j - 1];
    return crossing;
}

static void join_small(col_recompute_model *m)
{
    int64_t total = 0, made = 0;
    size_t kept = 0, count = m->cuts.len;
    for (size_t i = 0; i < m->items.len; i++) total += m->items.data[i].bytes;
    int64_t least = total / (int64_t)(count + 1) / SMALL_SHARE;
    for (size_t c = 0, i = 0; c < count; c++) {
        for (; i < (size_t)m->cuts.data[c]; i++) made += m->items.data[i].bytes;
        int64_t rest = 0;
        for (size_t k = i; k < m->items.len; k++) rest += m->items.data[k].bytes;
        if (made < least || rest < least) continue;
        m->cuts.data[kept++] = m->cuts.data[c];
        made = 0;
    }
    m->cuts.len = kept;
}

void recompute_find_cuts(col_recompute_model *m)
{
    col_arena *scratch = col_arena_create();
    const int64_t *crossing = find_crossing(m, scratch);
    int64_t made = 0;
    for (size_t j = 1; j < m->items.len; j++) {
        made += m->items.data[j - 1].bytes;
        if (!crossing[j] || made < BLOCK_SHARE * crossing[j]) continue;
        int64_t ahead = 0;
        bool best = true;
        for (size_t k = j + 1; k < m->items.len && best; k++) {
            ahead += m->items.data[k - 1].bytes;
            if (ahead >= BLOCK_SHARE * crossing[j]) break;
            best = crossing[k] >= crossing[j];
        }
        if (!best) continue;
        col_vec_push(m->arena, &m->cuts, (int32_t)j);
        made = 0;
    }
    join_small(m);
    col_arena_destroy(scratch);
}

typedef struct need {
    int32_t position;
    int64_t bytes;
} need;

static int compare_needs(const void *a, const void *b)
{
    const need *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

/* Where the turn of a group begins; -1 where nothing needs it. */
static int32_t find_start(const col_recompute_model *m, const int32_t *group_of, int32_t group, need *storage)
{
    size_t count = 0;
    int64_t total = 0, early = 0;
    for (size_t i = 0; i < m->items.len; i++) {
        const recompute_item *item = &m->items.data[i];
        if (group_of[i] != group || item->first_backward < 0 || item->must_keep) continue;
        storage[count++] = (need){item->first_backward, item->bytes};
        total += item->bytes;
    }
    qsort(storage, count, sizeof *storage, compare_needs);
    for (size_t n = 0; n < count; n++) {
        early += storage[n].bytes;
        if (early * EARLY_SHARE > total) return storage[n].position;
    }
    return -1;
}

recompute_turns *recompute_turns_make(const col_recompute_model *m, int32_t joined, col_arena *arena)
{
    recompute_turns *t = COL_NEW(arena, recompute_turns);
    int32_t blocks = col_recompute_blocks(m);
    t->group_count = (blocks + joined - 1) / joined;
    t->group_of = COL_NEW_ARRAY(arena, int32_t, m->items.len + 1);
    t->turn_of = COL_NEW_ARRAY(arena, int32_t, t->group_count);
    t->start = COL_NEW_ARRAY(arena, int32_t, t->group_count);
    size_t cut = 0;
    for (size_t i = 0; i < m->items.len; i++) {
        while (cut < m->cuts.len && m->cuts.data[cut] <= (int32_t)i) cut++;
        t->group_of[i] = (int32_t)cut / joined;
    }
    need *storage = COL_NEW_ARRAY(arena, need, m->items.len + 1);
    for (int32_t g = t->group_count - 1; g >= 0; g--) {
        int32_t start = find_start(m, t->group_of, g, storage);
        if (start >= 0) {
            int32_t before = t->count ? t->start[t->count - 1] : start;
            t->start[t->count++] = COL_MAX(start, before);
        }
        t->turn_of[g] = t->count; /* that of the group behind it where nothing needs it */
    }
    return t;
}

int32_t recompute_turn_at(const recompute_turns *t, int32_t position)
{
    int32_t turn = 0;
    while (turn < t->count && t->start[turn] <= position) turn++;
    return turn;
}

int32_t recompute_latest_turn(const col_recompute_model *m, const recompute_turns *t, int32_t item)
{
    const recompute_item *x = &m->items.data[item];
    if (x->must_keep) return 0;
    int32_t own = t->turn_of[t->group_of[item]];
    return x->first_backward < 0 ? own : COL_MIN(own, recompute_turn_at(t, x->first_backward));
}

void recompute_plan_init(const col_recompute_model *m, const recompute_turns *t, col_arena *arena,
                         col_recompute_plan *plan)
{
    plan->forward = COL_NEW_ARRAY(arena, int32_t, m->node_ids);
    plan->backward = COL_NEW_ARRAY(arena, int32_t, m->node_ids);
    plan->order = COL_NEW_ARRAY(arena, int32_t, m->node_ids);
    plan->nests = m->nests;
    for (uint32_t i = 0; i < m->node_ids; i++) {
        plan->forward[i] = COL_RECOMPUTE_OPERANDS;
        plan->backward[i] = plan->order[i] = COL_RECOMPUTE_READERS;
    }
    for (size_t i = 0; i < m->items.len; i++) {
        COL_ASSERT(m->items.data[i].node->id < m->node_ids);
        plan->forward[m->items.data[i].node->id] = COL_RECOMPUTE_KEEP;
    }
    /* What was inlined is not in the model's graph under its id. */
    for (const col_node *node = m->graph->last; node; node = node->prev) {
        if (node->phase != COL_PHASE_BACKWARD || node->id >= m->node_ids) continue;
        plan->order[node->id] = (int32_t)m->units->by_node[node->id];
        plan->backward[node->id] = recompute_turn_at(t, plan->order[node->id]);
    }
}
