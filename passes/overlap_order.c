/* The order that overlap.c has chosen: waits are made, and units move. */
#include <stdlib.h>

#include "ir/ops/collective.h"
#include "passes/overlap_model.h"

int col_overlap_by_start(const void *a, const void *b)
{
    const col_overlap_move *x = *(col_overlap_move *const *)a, *y = *(col_overlap_move *const *)b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->unit < y->unit ? -1 : 1;
}

typedef struct orderer {
    const col_overlapper *o;
    bool *is_placed; /* by unit */
    COL_VEC(col_overlap_move *) starts;
    COL_VEC(col_overlap_move *) waits;
} orderer;

/* A unit comes behind all that is placed, after the views that it reads through. */
static void place(orderer *r, uint32_t u)
{
    const col_unit *unit = col_overlap_unit(r->o, u);
    if (r->is_placed[u]) return;
    r->is_placed[u] = true;
    for (uint32_t n = 0; n < unit->node_count; n++) {
        for (uint32_t i = 0; i < unit->nodes[n]->operand_count; i++) {
            const col_node *producer = col_node_operand(unit->nodes[n], i)->producer;
            if (!producer || producer->op == COL_OP_WAIT) continue;
            uint32_t maker = r->o->units->by_node[producer->id];
            if (col_overlap_is_view(col_overlap_unit(r->o, maker))) place(r, maker);
        }
    }
    for (uint32_t n = 0; n < unit->node_count; n++) col_graph_move(unit->nodes[n], NULL);
}

/* The wait, and what assigns its result. */
static void place_wait(orderer *r, const col_overlap_move *m)
{
    const col_overlapper *o = r->o;
    col_node *wait = col_collective_wait(m->node);
    col_graph_move(wait, NULL);
    for (const uint32_t *u = o->readers[m->node->results[0].id]; *u != COL_OVERLAP_NONE; u++) {
        if (col_overlap_node(o, *u)->op == COL_OP_ASSIGN && *u < m->wait) place(r, *u);
    }
}

/* Whether the unit assigns the result of a collective that has not ended at its boundary. */
static bool assigns_later(const col_overlapper *o, uint32_t u)
{
    const col_node *node = col_overlap_node(o, u);
    if (node->op != COL_OP_ASSIGN) return false;
    const col_node *wait = col_node_operand(node, 0)->producer;
    if (!wait || wait->op != COL_OP_WAIT) return false;
    const col_overlap_move *m = o->move_of[o->units->by_node[col_node_operand(wait, 0)->producer->id]];
    return m && m->is_started && m->wait > u;
}

static void place_views(orderer *r, uint32_t begin, uint32_t end)
{
    for (uint32_t u = begin; u < end; u++) {
        if (col_overlap_is_view(col_overlap_unit(r->o, u))) place(r, u);
    }
}

static int by_wait(const void *a, const void *b)
{
    const col_overlap_move *x = *(col_overlap_move *const *)a, *y = *(col_overlap_move *const *)b;
    if (x->wait != y->wait) return x->wait < y->wait ? -1 : 1;
    return col_overlap_by_start(a, b);
}

/* Outside of the scope, so that the other nodes of it keep their names. */
static void add_wait(const col_overlapper *o, const col_overlap_move *m)
{
    col_builder b = {.graph = o->graph,
                     .before = m->node->next,
                     .phase = m->node->phase,
                     .scope = "",
                     .loc = m->node->loc};
    col_value *result = &m->node->results[0], *operands[] = {result, col_node_operand(m->node, 0)};
    col_node *wait = col_build(&b, COL_OP_WAIT, m->in_place ? 1 : 2, operands, 0, NULL);
    col_value_replace(o->graph, result, &wait->results[0]);
    col_node_set_operand(wait, 0, result);
}

/* At a boundary come waits, then starts, then the unit. Views follow their first user, at the latest at the
 * end of their phase. */
void col_overlap_reorder(const col_overlapper *o)
{
    for (uint32_t i = 0; i < o->move_count; i++) {
        if (o->moves[i].is_started) add_wait(o, &o->moves[i]);
    }
    orderer r = {.o = o, .is_placed = COL_NEW_ARRAY(o->arena, bool, o->units->count)};
    size_t start = 0, wait = 0;
    for (uint32_t i = 0; i < o->move_count; i++) {
        if (!o->moves[i].is_started) continue;
        col_vec_push(o->arena, &r.starts, &o->moves[i]);
        col_vec_push(o->arena, &r.waits, &o->moves[i]);
    }
    if (!r.starts.len) return;
    qsort(r.starts.data, r.starts.len, sizeof(col_overlap_move *), col_overlap_by_start);
    qsort(r.waits.data, r.waits.len, sizeof(col_overlap_move *), by_wait);
    for (uint32_t u = 0; u <= o->units->count; u++) {
        for (; wait < r.waits.len && r.waits.data[wait]->wait == u; wait++)
            place_wait(&r, r.waits.data[wait]);
        for (int p = 0; p < COL_PHASE_COUNT; p++) {
            if (o->phase_end[p] == u) place_views(&r, col_overlap_phase_start(o, (col_phase)p), u);
        }
        for (; start < r.starts.len && r.starts.data[start]->start == u; start++)
            place(&r, r.starts.data[start]->unit);
        if (u == o->units->count || col_overlap_is_view(col_overlap_unit(o, u)) || assigns_later(o, u))
            continue;
        if (!o->move_of[u] || !o->move_of[u]->is_started) place(&r, u);
    }
}
