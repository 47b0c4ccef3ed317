/* Computes forward values again in the backward phase, as a plan says (passes/recompute.h).
 *
 * needs     legalize; no groups
 * provides  copies of forward nodes in the backward phase, marked with their turn; no backward node reads a
 *           value that the plan does not keep
 * breaks    sharing of equal nodes between phases and turns, on purpose
 *
 * Nodes of the backward phase are brought into the order for which the plan was made, and visited in it. One
 * that reads a value that is not kept gets the copy of the value's turn, if that has begun, else one of its own
 * turn; a missing copy is made there and then, after the copies that it reads itself. Random numbers belong to
 * the seed, the step and the element (`salt`), so a copy draws the same again. */
#include "passes/recompute.h"

#include <stdlib.h>

/* The copies of a node. */
typedef struct copy {
    col_node *node;
    struct copy *next;
} copy;

typedef struct rewriter {
    col_graph *graph;
    const col_recompute_plan *plan;
    col_arena *arena;
    bool *dropped; /* by id of a forward node: not there in the backward phase */
    copy **copies; /* the same */
    col_node *before;
    uint32_t originals; /* ids below are not copies */
} rewriter;

static bool is_dropped(const rewriter *r, const col_value *value)
{
    return value->producer && value->producer->phase == COL_PHASE_FORWARD && r->dropped[value->producer->id];
}

/* Not in memory by itself: a copy that read it would have it kept. */
static bool is_passing(const rewriter *r, const col_value *value)
{
    return value->producer && r->plan->forward[value->producer->id] == COL_RECOMPUTE_OPERANDS;
}

static void find_dropped(rewriter *r)
{
    COL_FOR_EACH_NODE (node, r->graph) {
        if (node->phase != COL_PHASE_FORWARD) return;
        int32_t how = r->plan->forward[node->id];
        bool dropped = how > 0 || how == COL_RECOMPUTE_ASKED;
        for (uint32_t i = 0; how == COL_RECOMPUTE_OPERANDS && i < node->operand_count; i++)
            dropped |= is_dropped(r, col_node_operand(node, i));
        r->dropped[node->id] = dropped;
    }
}

/* The turn from which a value that is needed in `turn` is taken. */
static int32_t turn_of(const rewriter *r, const col_node *node, int32_t turn)
{
    int32_t own = r->plan->forward[node->id];
    return own > 0 && own < turn ? own : turn;
}

/* The copy of a dropped value for a reader in `turn`. */
static col_value *again(rewriter *r, const col_value *value, int32_t turn)
{
    const col_node *node = value->producer;
    turn = turn_of(r, node, turn);
    for (copy *c = r->copies[node->id]; c; c = c->next) {
        if (c->node->turn == turn) return &c->node->results[value->index];
    }
    col_value **operands = COL_NEW_ARRAY(r->arena, col_value *, node->operand_count);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        operands[i] = col_node_operand(node, i);
        if (is_dropped(r, operands[i]) || is_passing(r, operands[i]))
            operands[i] = again(r, operands[i], turn);
    }
    copy *made = COL_NEW(r->arena, copy);
    *made = (copy){col_graph_insert(r->graph, r->before, node->op, node->operand_count, operands,
                                    node->attr_count, node->attrs, node->result_count),
                   r->copies[node->id]};
    r->copies[node->id] = made;
    made->node->phase = COL_PHASE_BACKWARD;
    made->node->turn = turn;
    made->node->scope = node->scope;
    made->node->loc = node->loc;
    for (uint32_t i = 0; i < node->result_count; i++) {
        made->node->results[i].type = node->results[i].type;
        made->node->results[i].name = node->results[i].name;
    }
    return &made->node->results[value->index];
}

/* By id of a backward node, what `given` says of it, or the least of what holds for its readers. */
static int32_t *of_readers(const rewriter *r, const int32_t *given)
{
    int32_t *own = COL_NEW_ARRAY(r->arena, int32_t, r->originals);
    for (const col_node *node = r->graph->last; node; node = node->prev) {
        if (node->phase != COL_PHASE_BACKWARD) continue;
        int32_t least = given[node->id];
        if (least == COL_RECOMPUTE_READERS) least = INT32_MAX;
        for (uint32_t i = 0; i < node->result_count && given[node->id] == COL_RECOMPUTE_READERS; i++) {
            COL_FOR_EACH_USE (use, &node->results[i]) {
                if (use->user->phase == COL_PHASE_BACKWARD) least = COL_MIN(least, own[use->user->id]);
            }
        }
        own[node->id] = least;
    }
    return own;
}

typedef struct placed {
    col_node *node;
    int32_t order, position;
} placed;

static int compare_placed(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return x->position < y->position ? -1 : 1;
}

static void sort_backward(const rewriter *r)
{
    const int32_t *order = of_readers(r, r->plan->order);
    placed *list = COL_NEW_ARRAY(r->arena, placed, r->graph->node_count + 1);
    size_t count = 0;
    col_node *behind = NULL;
    COL_FOR_EACH_NODE (node, r->graph) {
        if (node->phase == COL_PHASE_BACKWARD) {
            list[count] = (placed){node, order[node->id], (int32_t)count};
            count++;
        } else if (node->phase > COL_PHASE_BACKWARD && !behind) {
            behind = node;
        }
    }
    qsort(list, count, sizeof *list, compare_placed);
    for (size_t i = 0; i < count; i++) col_graph_move(list[i].node, behind);
}

/* Copies keep the nests of their originals. */
static col_nests list_nests(const rewriter *r)
{
    col_nests nests = {COL_NEW_ARRAY(r->graph->arena, const struct col_domain *, r->graph->next_node_id),
                       r->graph->next_node_id};
    for (uint32_t id = 0; id < r->plan->nests.count; id++) {
        nests.of[id] = r->plan->nests.of[id];
        for (const copy *c = r->copies[id]; c; c = c->next) nests.of[c->node->id] = nests.of[id];
    }
    return nests;
}

/* Nobody's reader, or before the first turn. */
static int32_t first_turn(int32_t turn)
{
    return turn == INT32_MAX ? 1 : COL_MAX(turn, 1);
}

void col_recompute_apply(col_graph *graph, const col_recompute_plan *plan, col_nests *out_nests)
{
    rewriter r = {.graph = graph, .plan = plan, .arena = col_arena_create()};
    r.originals = graph->next_node_id;
    r.dropped = COL_NEW_ARRAY(r.arena, bool, r.originals);
    r.copies = COL_NEW_ARRAY(r.arena, copy *, r.originals);
    find_dropped(&r);
    const int32_t *turns = of_readers(&r, plan->backward);
    sort_backward(&r);
    COL_FOR_EACH_NODE (node, graph) {
        if (node->phase != COL_PHASE_BACKWARD || node->turn) continue;
        r.before = node;
        for (uint32_t i = 0; i < node->operand_count; i++) {
            col_value *value = col_node_operand(node, i);
            if (is_dropped(&r, value))
                col_node_set_operand(node, i, again(&r, value, first_turn(turns[node->id])));
        }
    }
    if (out_nests) *out_nests = list_nests(&r);
    col_arena_destroy(r.arena);
}

col_status col_pass_recompute(col_graph *graph, const col_pass_options *options)
{
    col_arena *scratch = col_arena_create();
    const col_recompute_model *model = col_recompute_model_create(graph, NULL, options->accumulate, scratch);
    col_recompute_answer all;
    col_recompute_all(model, 1, scratch, &all);
    col_recompute_apply(graph, &all.plan, NULL);
    col_arena_destroy(scratch);
    return col_pass_dce(graph, options);
}
