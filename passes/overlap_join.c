/* Collectives over the same axes that start together run as one (col_plan_joins) and pay one start. One that shrinks a
 * tensor, or leaves it as large, waits for the next of them while what they take together has time to end before the
 * first of them is needed, or the wait is no longer than a start.
 *
 * With C seconds of a phase's transfers over these axes and a start of t, n joined ones cost n t, and the last of them has
 * C / n left to do when the phase has ended: least for transfers of sqrt(C t) each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/overlap_model.h"

/* Moves that are to start where the last of them does. */
typedef struct joint {
    COL_VEC(col_overlap_move *) moves;
    double seconds; /* of their transfers */
} joint;

static bool may_join(const col_overlap_move *a, const col_overlap_move *b)
{
    int m, n;
    const int64_t *x = col_node_ints(a->node, COL_ATTR_MESH_AXES, &m),
                  *y = col_node_ints(b->node, COL_ATTR_MESH_AXES, &n);
    return a->node->phase == b->node->phase && m == n && !memcmp(x, y, sizeof *x * (size_t)n);
}

/* Whether all of them may wait for `m`, and it pays. */
static bool is_better_joined(const col_overlapper *o, const joint *j, const col_overlap_move *m)
{
    uint32_t now = j->moves.data[j->moves.len - 1]->start;
    bool is_short = o->before[m->start] - o->before[now] <= m->idle, hides = true;
    double seconds = j->seconds + m->seconds;
    for (size_t i = 0; i < j->moves.len; i++) {
        uint32_t latest = j->moves.data[i]->latest;
        if (latest <= m->start) return false;
        hides &= o->share * (o->before[latest] - o->before[m->start]) >= seconds;
    }
    return is_short || hides;
}

static void close_joint(joint *j)
{
    for (size_t i = 0; i < j->moves.len; i++) {
        col_overlap_move *m = j->moves.data[i];
        m->start = j->moves.data[j->moves.len - 1]->start;
        m->is_joined = j->moves.len > 1;
        if (i) m->seconds -= m->idle;
    }
    j->moves.len = 0;
    j->seconds = 0;
}

/* Of the moves in `order` that may join the first of them; takes them out. */
static void join_like(col_overlapper *o, col_overlap_move **order, uint32_t *count)
{
    COL_VEC(col_overlap_move *) like = {0};
    uint32_t kept = 0;
    double all = 0;
    joint j = {0};
    const col_overlap_move *first = order[0];
    for (uint32_t i = 0; i < *count; i++) {
        if (!may_join(first, order[i])) {
            order[kept++] = order[i];
            continue;
        }
        col_vec_push(o->arena, &like, order[i]);
        all += order[i]->seconds - order[i]->idle;
    }
    for (size_t i = 0; i < like.len; i++) {
        col_overlap_move *m = like.data[i];
        double transfer = m->seconds - m->idle;
        if (j.moves.len && !is_better_joined(o, &j, m)) close_joint(&j);
        col_vec_push(o->arena, &j.moves, m);
        j.seconds += transfer;
        if (j.seconds >= sqrt(all * m->idle)) close_joint(&j);
    }
    close_joint(&j);
    *count = kept;
}

/* Ranks that do not communicate beside computing gain nothing: there each runs for itself. */
void col_overlap_join(col_overlapper *o)
{
    col_overlap_move **order = COL_NEW_ARRAY(o->arena, col_overlap_move *, o->move_count);
    uint32_t count = 0;
    if (!o->machine || !(o->machine->overlap > 0)) return;
    for (uint32_t i = 0; i < o->move_count; i++) {
        col_overlap_move *m = &o->moves[i];
        bool is_sociable = m->node->op == COL_OP_ALL_REDUCE || m->node->op == COL_OP_ALL_GATHER ||
                           m->node->op == COL_OP_REDUCE_SCATTER;
        if (!m->grows && is_sociable) order[count++] = m;
    }
    qsort(order, count, sizeof *order, col_overlap_by_start);
    while (count) join_like(o, order, &count);
}
