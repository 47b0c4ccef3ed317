/* Twins of the graph solver. They decide by *gaps*: a gap of a forward node lies between two turns in which
 * the base order wants its value (or after the last, as long as runs again of others may). Over a gap the
 * value is kept; or dropped and, once it has run again within the gap, held to its end; or dropped each time.
 */
#include "solver/checkpoint_policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH = 16,       /* a pass of the greedy makes at most a 16th of the decisions, */
    CANDIDATES = 400, /* of the best of so many that it looks at */
    PREFIXES = 16,    /* of the gaps by price that are tried before halving */
};

typedef enum mode { KEEP, HOLD, FREE } mode;

typedef struct gap {
    uint32_t node;
    int32_t from, to; /* turns: wanted in both, or after the last want */
    mode mode;
} gap;

typedef struct gaps {
    const col_checkpoint_graph *graph;
    gap *list; /* by node, then by turn */
    uint32_t count;
    uint32_t *first; /* [nodes + 1] */
    uint32_t *order; /* [count] those with most bytes over turns per second first */
} gaps;

typedef struct searcher {
    gaps gaps;
    policy_scratch scratch;
    col_checkpoint_runs runs; /* of the decisions as they are */
    double excess;            /* sum over the runs of the bytes above the memory */
    uint32_t *above;          /* [nodes + 2] runs above the memory in turns before this one */
    double memory, deadline;
    col_arena *arena;
} searcher;

/* ---- gaps ---- */

typedef struct priced {
    uint32_t gap;
    double price;
} priced;

static int by_price(const void *a, const void *b)
{
    const priced *x = a, *y = b;
    if (x->price != y->price) return x->price > y->price ? -1 : 1;
    return x->gap < y->gap ? -1 : x->gap > y->gap;
}

static void sort_gaps(gaps *g, col_arena *arena)
{
    priced *list = COL_NEW_ARRAY(arena, priced, g->count + 1);
    g->order = COL_NEW_ARRAY(arena, uint32_t, g->count + 1);
    for (uint32_t i = 0; i < g->count; i++) {
        const gap *at = &g->list[i];
        const col_checkpoint_node *node = &g->graph->nodes[at->node];
        double bytes = (double)node->bytes * (double)(at->to - at->from);
        list[i] = (priced){i, bytes / fmax(node->seconds, 1e-30)};
    }
    qsort(list, g->count, sizeof *list, by_price);
    for (uint32_t i = 0; i < g->count; i++) g->order[i] = list[i].gap;
}

static bool crosses(const void *context, uint32_t node, int32_t made, int32_t turn)
{
    const gaps *g = context;
    uint32_t low = g->first[node], high = g->first[node + 1];
    while (low < high) { /* the first gap that ends at or after the border */
        uint32_t mid = (low + high) / 2;
        if (g->list[mid].to < turn)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == g->first[node + 1] || turn <= g->list[low].from) return false;
    const gap *found = &g->list[low];
    return found->mode == KEEP || (found->mode == HOLD && made > found->from);
}

static int by_turn(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* Turns in which base runs want the node's value, its own first; ascending, each once. Returns how many. */
static uint32_t wants(uint32_t node, const uint32_t *users, uint32_t count, int32_t *turns)
{
    uint32_t n = 0;
    turns[n++] = (int32_t)node;
    for (uint32_t i = 0; i < count; i++) turns[n++] = (int32_t)users[i];
    qsort(turns, n, sizeof *turns, by_turn);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < n; i++) {
        if (turns[i] != turns[kept - 1]) turns[kept++] = turns[i];
    }
    return kept;
}

/* Users by node, as lists one after another. */
static uint32_t *list_users(const col_checkpoint_graph *graph, uint32_t *first, col_arena *arena)
{
    size_t n = graph->count;
    for (size_t u = 0; u < n; u++) {
        for (uint32_t i = 0; i < graph->nodes[u].operand_count; i++) first[graph->nodes[u].operands[i] + 1]++;
    }
    for (size_t v = 0; v < n; v++) first[v + 1] += first[v];
    uint32_t *users = COL_NEW_ARRAY(arena, uint32_t, first[n] + 1), *next = COL_NEW_ARRAY(arena, uint32_t, n);
    for (size_t u = 0; u < n; u++) {
        for (uint32_t i = 0; i < graph->nodes[u].operand_count; i++) {
            uint32_t v = graph->nodes[u].operands[i];
            users[first[v] + next[v]++] = (uint32_t)u;
        }
    }
    return users;
}

static gaps make_gaps(const col_checkpoint_graph *graph, col_arena *arena)
{
    size_t n = graph->count;
    gaps g = {.graph = graph, .first = COL_NEW_ARRAY(arena, uint32_t, n + 1)};
    uint32_t *first = COL_NEW_ARRAY(arena, uint32_t, n + 1), *users = list_users(graph, first, arena);
    int32_t *turns = COL_NEW_ARRAY(arena, int32_t, n + first[n] + 1);
    int32_t *last = policy_last_turns(graph, arena);
    COL_VEC(gap) list = {0};
    for (uint32_t v = 0; v < n; v++) {
        g.first[v] = (uint32_t)list.len;
        if (graph->nodes[v].kind != COL_CHECKPOINT_NODE_FORWARD) continue;
        uint32_t count = wants(v, users + first[v], first[v + 1] - first[v], turns);
        for (uint32_t i = 0; i + 1 < count; i++) {
            gap made = {v, turns[i], turns[i + 1], KEEP};
            col_vec_push(arena, &list, made);
        }
        /* The tail: for outputs up to the end, else only as long as others run again. */
        gap tail = {v, turns[count - 1], last[v], graph->nodes[v].output ? KEEP : FREE};
        if (tail.to > tail.from) col_vec_push(arena, &list, tail);
    }
    g.first[n] = (uint32_t)list.len;
    g.list = list.data;
    g.count = (uint32_t)list.len;
    sort_gaps(&g, arena);
    return g;
}

/* ---- the greedy ---- */

static void evaluate(searcher *s)
{
    policy_build(s->gaps.graph, crosses, &s->gaps, &s->scratch, s->arena, &s->runs);
    policy_measure(s->gaps.graph, &s->scratch, s->arena, &s->runs);
    s->excess = 0;
    for (size_t i = 0; i < s->runs.nodes.len; i++)
        s->excess += fmax(0, (double)s->scratch.live.data[i] - s->memory);
}

/* Fills `above`, for the decisions as they are. */
static void count_above(searcher *s)
{
    uint32_t turn = 0, count = 0, n = (uint32_t)s->gaps.graph->count;
    for (size_t i = 0; i < s->runs.nodes.len; i++) {
        count += (double)s->scratch.live.data[i] > s->memory;
        bool is_base = s->runs.nodes.data[i] >= turn;
        while (is_base && turn <= s->runs.nodes.data[i]) s->above[++turn] = count;
    }
    while (turn <= n) s->above[++turn] = count;
}

/* Whether the value could be missed where there is too much. */
static bool may_help(const searcher *s, const gap *g)
{
    uint32_t end = (uint32_t)COL_MIN(g->to, (int32_t)s->gaps.graph->count - 1);
    return s->above[end + 1] > s->above[g->from];
}

static searcher make_searcher(const col_checkpoint_graph *graph, double memory, double deadline,
                              col_arena *arena)
{
    searcher s = {.gaps = make_gaps(graph, arena), .memory = memory, .deadline = deadline, .arena = arena};
    policy_scratch_init(&s.scratch, graph, arena);
    s.above = COL_NEW_ARRAY(arena, uint32_t, graph->count + 2);
    evaluate(&s);
    return s;
}

typedef struct move {
    uint32_t gap;
    mode mode;
    double score; /* bytes of excess less per second more */
} move;

static int by_score(const void *a, const void *b)
{
    const move *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->gap < y->gap ? -1 : x->gap > y->gap;
}

/* Sets a gap's mode if that lowers the excess by at least `score` bytes a second; else leaves all as it was.
 * `*out_score` is what it would do. */
static bool try_move(searcher *s, uint32_t gap, mode mode, double score, double *out_score)
{
    enum mode before = s->gaps.list[gap].mode;
    double excess = s->excess, seconds = s->runs.seconds;
    s->gaps.list[gap].mode = mode;
    evaluate(s);
    double tiny = 1e-12 * fabs(seconds) + 1e-30;
    *out_score = (excess - s->excess) / fmax(s->runs.seconds - seconds, tiny);
    if (s->excess < excess && *out_score >= score) return true;
    s->gaps.list[gap].mode = before;
    s->excess = excess;
    s->runs.seconds = seconds;
    return false;
}

/* The best move of a gap, scored but not made. */
static bool score_gap(searcher *s, uint32_t index, move *out)
{
    *out = (move){index, s->gaps.list[index].mode, 0};
    for (mode m = KEEP; m <= FREE; m++) {
        double score;
        if (m == s->gaps.list[index].mode) continue;
        (void)try_move(s, index, m, INFINITY, &score);
        if (score > out->score) *out = (move){index, m, score};
    }
    return out->score > 0;
}

static bool is_late(const searcher *s)
{
    return col_solve_clock() > s->deadline;
}

/* Moves until nothing is above the memory, nothing helps, or time is up. */
static bool descend(searcher *s)
{
    move *moves = COL_NEW_ARRAY(s->arena, move, s->gaps.count + 1);
    while (s->excess > 0 && !is_late(s)) {
        size_t count = 0, made = 0, seen = 0, most = 1 + s->gaps.count / BATCH;
        count_above(s);
        for (uint32_t i = 0; i < s->gaps.count && seen < CANDIDATES && !is_late(s); i++) {
            uint32_t index = s->gaps.order[i];
            if (!may_help(s, &s->gaps.list[index])) continue;
            bool helps = score_gap(s, index, &moves[count]);
            count += helps;
            seen += helps;
        }
        if (!count) break;
        qsort(moves, count, sizeof *moves, by_score);
        for (size_t i = 0; i < count && made < most && s->excess > 0; i++) {
            double ignored, want = i ? moves[i].score / 2 : 0;
            made += try_move(s, moves[i].gap, moves[i].mode, want, &ignored);
        }
        evaluate(s); /* the last trial may have been taken back */
    }
    evaluate(s);
    return s->excess <= 0;
}

/* ---- improvement ---- */

static mode *copy_modes(const searcher *s, col_arena *arena)
{
    mode *modes = COL_NEW_ARRAY(arena, mode, s->gaps.count + 1);
    for (uint32_t i = 0; i < s->gaps.count; i++) modes[i] = s->gaps.list[i].mode;
    return modes;
}

static void set_modes(searcher *s, const mode *modes)
{
    for (uint32_t i = 0; i < s->gaps.count; i++) s->gaps.list[i].mode = modes[i];
    evaluate(s);
}

/* Keeps again what was dropped, one gap after another, and mends what that breaks, as long as it pays and
 * until `target` seconds are met. */
static void improve(searcher *s, double target)
{
    mode *best = copy_modes(s, s->arena);
    double seconds = s->runs.seconds;
    for (bool better = true; better && seconds > target && !is_late(s);) {
        better = false;
        for (uint32_t i = 0; i < s->gaps.count && seconds > target && !is_late(s); i++) {
            for (mode m = KEEP; m <= FREE && best[i] != KEEP; m++) {
                if (m == best[i]) continue;
                s->gaps.list[i].mode = m;
                evaluate(s);
                bool fits = s->excess <= 0 || (s->runs.seconds < seconds && descend(s));
                if (fits && s->runs.seconds < seconds * (1 - 1e-12)) {
                    for (uint32_t k = 0; k < s->gaps.count; k++) best[k] = s->gaps.list[k].mode;
                    seconds = s->runs.seconds;
                    better = true;
                } else {
                    set_modes(s, best);
                }
            }
        }
    }
    set_modes(s, best);
}

/* ---- the twins ---- */

static void take(const searcher *s, col_arena *arena, col_checkpoint_runs *out)
{
    *out = s->runs;
    size_t bytes = s->runs.nodes.len * sizeof *s->runs.nodes.data;
    out->nodes.data = col_arena_copy(arena, s->runs.nodes.data, bytes);
    out->nodes.cap = out->nodes.len;
}

void col_checkpoint_graph_keep(const col_checkpoint_graph *graph, col_arena *arena, col_checkpoint_runs *out)
{
    col_arena *scratch = col_arena_create();
    searcher s = make_searcher(graph, INFINITY, INFINITY, scratch);
    take(&s, arena, out);
    col_arena_destroy(scratch);
}

bool col_checkpoint_graph_greedy(const col_checkpoint_graph *graph, col_arena *arena,
                                 col_checkpoint_runs *out)
{
    col_arena *scratch = col_arena_create();
    double memory = graph->memory ? (double)graph->memory : INFINITY;
    searcher s = make_searcher(graph, memory, INFINITY, scratch);
    bool fits = descend(&s);
    take(&s, arena, out);
    col_arena_destroy(scratch);
    return fits;
}

/* Cuts the forward nodes into so many runs: values that a later run reads are kept, others held once they
 * have run again. The last run stays, since its values are wanted at once. */
static void cut(searcher *s, size_t runs, col_arena *arena)
{
    const col_checkpoint_graph *graph = s->gaps.graph;
    size_t forward = 0, seen = 0, *run_of = COL_NEW_ARRAY(arena, size_t, graph->count);
    for (size_t v = 0; v < graph->count; v++) forward += graph->nodes[v].kind == COL_CHECKPOINT_NODE_FORWARD;
    for (size_t v = 0; v < graph->count; v++) {
        bool is_forward = graph->nodes[v].kind == COL_CHECKPOINT_NODE_FORWARD;
        run_of[v] = is_forward ? seen++ * runs / forward : SIZE_MAX;
    }
    bool *is_read = COL_NEW_ARRAY(arena, bool, graph->count);
    for (size_t u = 0; u < graph->count; u++) {
        if (run_of[u] == SIZE_MAX) continue;
        for (uint32_t i = 0; i < graph->nodes[u].operand_count; i++) {
            uint32_t v = graph->nodes[u].operands[i];
            is_read[v] = is_read[v] || run_of[v] != run_of[u];
        }
    }
    for (uint32_t i = 0; i < s->gaps.count; i++) {
        gap *g = &s->gaps.list[i];
        bool to_backward = g->to < (int32_t)graph->count && run_of[g->to] == SIZE_MAX;
        g->mode = is_read[g->node] || !to_backward || run_of[g->node] + 1 == runs ? KEEP : HOLD;
    }
    evaluate(s);
}

static size_t root_of_forward(const col_checkpoint_graph *graph)
{
    size_t forward = 0;
    for (size_t v = 0; v < graph->count; v++) forward += graph->nodes[v].kind == COL_CHECKPOINT_NODE_FORWARD;
    return COL_MAX((size_t)ceil(sqrt((double)forward)), (size_t)1);
}

void col_checkpoint_graph_sqrt(const col_checkpoint_graph *graph, col_arena *arena, col_checkpoint_runs *out)
{
    col_arena *scratch = col_arena_create();
    searcher s = make_searcher(graph, INFINITY, INFINITY, scratch);
    cut(&s, root_of_forward(graph), scratch);
    take(&s, arena, out);
    col_arena_destroy(scratch);
}

/* Drops the first `count` gaps by price, the others as `modes` says. */
static bool drop_first(searcher *s, const mode *modes, uint32_t count)
{
    for (uint32_t i = 0; i < s->gaps.count; i++) {
        uint32_t index = s->gaps.order[i];
        s->gaps.list[index].mode = i < count && modes[index] == KEEP ? HOLD : modes[index];
    }
    evaluate(s);
    return s->excess <= 0;
}

/* Drops as few gaps by price as fit: an answer after a few trials, also where there are thousands of gaps.
 * More of them do not always take less: what is dropped may need all before it to run again at once. */
static void drop_cheapest(searcher *s)
{
    const mode *modes = copy_modes(s, s->arena);
    uint32_t low = 0, high = 0;
    for (uint32_t p = 1; p <= PREFIXES; p++) {
        high = (uint32_t)((uint64_t)s->gaps.count * p / PREFIXES);
        if (drop_first(s, modes, high)) break;
        low = high;
    }
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (drop_first(s, modes, mid))
            high = mid;
        else
            low = mid + 1;
    }
    (void)drop_first(s, modes, high);
}

/* The best answer so far: of those that fit the fastest, else the least peak. */
typedef struct best {
    mode *modes;
    bool fits;
    double seconds;
    uint64_t peak;
} best;

static void note(const searcher *s, best *b)
{
    bool is_better =
        b->fits ? s->excess <= 0 && s->runs.seconds < b->seconds : s->excess <= 0 || s->runs.peak < b->peak;
    if (b->modes && !is_better) return;
    *b = (best){copy_modes(s, s->arena), s->excess <= 0, s->runs.seconds, s->runs.peak};
}

/* Brings the peak itself down, step by step, from what is known. */
static void lower_peak(searcher *s, best *b)
{
    double memory = s->memory;
    set_modes(s, b->modes);
    while (!is_late(s) && (double)b->peak > memory) {
        s->memory = (double)b->peak - 1;
        evaluate(s);
        bool lower = descend(s);
        s->memory = memory;
        evaluate(s);
        note(s, b);
        if (!lower) break;
    }
}

bool policy_search(const col_checkpoint_graph *graph, double deadline, double target, col_arena *arena,
                   col_checkpoint_runs *out)
{
    static const double parts[] = {1, 0.5, 2};
    col_arena *scratch = col_arena_create();
    double start = col_solve_clock(), memory = graph->memory ? (double)graph->memory : INFINITY;
    searcher s = make_searcher(graph, memory, start + (deadline - start) / 2, scratch);
    best b = {0};
    const mode *keep = copy_modes(&s, scratch);
    drop_cheapest(&s);
    note(&s, &b);
    set_modes(&s, keep);
    (void)descend(&s);
    note(&s, &b);
    s.deadline = deadline;
    size_t root = root_of_forward(graph);
    for (size_t i = 0; i < COL_COUNT(parts) && !b.fits && !is_late(&s); i++) {
        cut(&s, COL_MAX((size_t)((double)root * parts[i]), (size_t)1), scratch);
        note(&s, &b);
        (void)descend(&s);
        note(&s, &b);
    }
    if (!b.fits) lower_peak(&s, &b);
    set_modes(&s, b.modes);
    if (b.fits) improve(&s, target);
    take(&s, arena, out);
    col_arena_destroy(scratch);
    return b.fits;
}
