/* The last part of the pass `fuse`: units become groups of the graph.
 *
 * What is inlined is cloned into every unit that reads it; then the nodes of a unit are put together, in the order
 * of the units, phase by phase, and groups are numbered. Originals that nothing reads any more are removed. */
#include "passes/fuse.h"

#include "ir/group.h"

static col_node *clone_node(col_graph *graph, const col_node *node, const col_node *reader)
{
    col_value *operands[3];
    COL_ASSERT(node->operand_count <= COL_COUNT(operands));
    for (uint32_t i = 0; i < node->operand_count; i++) operands[i] = col_node_operand(node, i);
    col_node *copy = col_graph_insert(graph, NULL, node->op, node->operand_count, operands, node->attr_count,
                                      node->attrs, node->result_count);
    copy->phase = reader->phase;
    copy->turn = reader->turn;
    copy->scope = node->scope;
    copy->loc = node->loc;
    for (uint32_t i = 0; i < node->result_count; i++) {
        copy->results[i].type = node->results[i].type;
        copy->results[i].name = node->results[i].name;
    }
    return copy;
}

/* Clones, by id of the original, and the unit (number + 1) that each was made for. */
typedef struct clones {
    col_node **of;
    uint32_t *owner;
    uint32_t originals;                /* ids below are originals */
    COL_VEC(const col_node *) origins; /* of clones, by id after the originals' */
    col_graph *graph;
    const bool *inlined; /* by node id */
    col_arena *arena;
} clones;

/* What a node is a clone of: one that a unit delivers, too, reads that unit's clones by the time that it is
 * cloned for another. */
static const col_node *origin_of(const clones *c, const col_node *node)
{
    return node && node->id >= c->originals ? c->origins.data[node->id - c->originals] : node;
}

/* Lists the node behind clones of the inlined nodes that it reads. */
static void list_with_operands(clones *c, col_node *node, uint32_t owner, fuse_nodes *out)
{
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *operand = col_node_operand(node, i);
        const col_node *producer = origin_of(c, operand->producer);
        if (!producer || !c->inlined[producer->id]) continue;
        /* Read from memory, or a view of what the unit is for. */
        if (node->group == FUSE_NONE || producer->group == node->group || col_operand_is_read(node, i))
            continue;
        if (c->owner[producer->id] != owner + 1) {
            col_node *copy = clone_node(c->graph, producer, node);
            copy->group = node->group;
            COL_ASSERT(copy->id == c->originals + c->origins.len);
            col_vec_push(c->arena, &c->origins, producer);
            c->of[producer->id] = copy;
            c->owner[producer->id] = owner + 1;
            list_with_operands(c, copy, owner, out);
        }
        col_node_set_operand(node, i, &c->of[producer->id]->results[operand->index]);
    }
    col_vec_push(c->arena, out, node);
}

static bool is_used_in_group(const col_value *value, int32_t group)
{
    COL_FOR_EACH_USE (use, value) {
        if (!fuse_is_virtual_view(use->user)) {
            if (use->user->group == group) return true;
            continue;
        }
        for (uint32_t i = 0; i < use->user->result_count; i++) {
            if (is_used_in_group(&use->user->results[i], group)) return true;
        }
    }
    return false;
}

/* A view is in a group only between two nodes of it: its other users may be of a later phase. */
static bool is_outside_view(const col_node *node)
{
    if (!fuse_is_virtual_view(node)) return false;
    for (uint32_t i = 0; i < node->result_count; i++) {
        if (is_used_in_group(&node->results[i], node->group)) return false;
    }
    return true;
}

/* Puts the unit's nodes of the phase at the end of the graph, those of the kernel together and before the
 * others. */
static void write_unit(fuse_nodes list, col_phase phase, int32_t *next)
{
    bool has_kernel = false;
    for (size_t i = 0; i < list.len; i++) {
        col_node *node = list.data[i];
        if (node->phase != phase || node->group == FUSE_NONE) continue;
        node->group = *next;
        has_kernel = true;
        col_graph_move(node, NULL);
    }
    *next += has_kernel;
    for (size_t i = 0; i < list.len; i++) {
        if (list.data[i]->phase == phase && list.data[i]->group == FUSE_NONE)
            col_graph_move(list.data[i], NULL);
    }
}

void fuse_write(col_graph *graph, const bool *inlined, const int *unit_of, const fuse_nodes *units,
                size_t count, col_arena *arena)
{
    clones c = {.of = COL_NEW_ARRAY(arena, col_node *, graph->next_node_id),
                .owner = COL_NEW_ARRAY(arena, uint32_t, graph->next_node_id),
                .originals = graph->next_node_id,
                .graph = graph,
                .inlined = inlined,
                .arena = arena};
    fuse_nodes *lists = COL_NEW_ARRAY(arena, fuse_nodes, count);
    for (uint32_t u = 0; u < count; u++) {
        for (size_t i = 0; i < units[u].len; i++) list_with_operands(&c, units[u].data[i], u, &lists[u]);
    }
    /* What was inlined everywhere is dead now; users stand behind. */
    for (col_node *node = graph->last, *prev; node; node = prev) {
        prev = node->prev;
        if (node->id < c.originals && inlined[node->id] && unit_of[node->id] == FUSE_NONE)
            col_graph_remove(node);
    }
    for (uint32_t u = 0; u < count; u++) {
        for (size_t i = 0; i < lists[u].len; i++) {
            col_node *node = lists[u].data[i];
            if (node->group != FUSE_NONE && is_outside_view(node)) node->group = FUSE_NONE;
        }
    }
    int32_t next = 0;
    for (int phase = 0; phase < COL_PHASE_COUNT; phase++) {
        for (uint32_t u = 0; u < count; u++) write_unit(lists[u], (col_phase)phase, &next);
    }
}
