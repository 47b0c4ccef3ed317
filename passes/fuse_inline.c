/* Values that are not worth a trip through memory (see fuse.c): those made of constants, ramps and random
 * numbers alone; and *light* values, a few cheap operations on one large operand that is in memory anyway
 * (and on small ones): reading the operand costs what reading the value would. A cast to a larger type is light
 * whatever else becomes of its operand.
 *
 * A node is first a candidate, at the cost of all that it is made of; it is inlined when that is cheap enough
 * for its readers, and then its candidate operands are with it. */
#include "passes/fuse.h"

#include "ir/group.h"
#include "ir/view.h"

enum {
    INLINE_COST = 64,    /* of a value made of sources alone; an addition is 1 */
    LIGHT_COST = 8,      /* of a light value */
    RECOMPUTE_COST = 48, /* of a light value that would be kept from one phase for another */
    SMALL_FACTOR = 8,    /* an operand with this many times fewer elements is small */
};

typedef struct inliner {
    col_graph *graph;
    col_arena *arena;
    const bool *is_output;   /* by value id */
    bool *inlined;           /* by node id, as all that follow */
    bool *candidate;         /* could be inlined */
    int *depth;              /* library calls on the longest path to it */
    int *cost;               /* of computing a candidate */
    const col_value **large; /* the large operand of a light value */
    col_group group;         /* storage of trials */
} inliner;

bool fuse_is_virtual_view(const col_node *node)
{
    return col_op_info_of(node->op)->op_class == COL_CLASS_VIEW && col_value_is_virtual(&node->results[0]);
}

bool fuse_is_needed_in_memory(const bool *is_output, const col_value *value)
{
    if (is_output[value->id]) return true;
    COL_FOR_EACH_USE (use, value) {
        if (!col_node_is_fusible(use->user) || col_operand_is_read(use->user, use->index)) return true;
        if (!fuse_is_virtual_view(use->user)) continue;
        for (uint32_t i = 0; i < use->user->result_count; i++) {
            if (fuse_is_needed_in_memory(is_output, &use->user->results[i])) return true;
        }
    }
    return false;
}

/* Who reads a value, also through virtual views. */
typedef struct readers {
    bool other_phase; /* than the producer's */
    bool same_depth;  /* no library call between the producer and some reader */
    bool deeper;      /* the contrary */
} readers;

static void find_readers(const inliner *f, const col_value *value, const col_node *producer, readers *out)
{
    COL_FOR_EACH_USE (use, value) {
        const col_node *user = use->user;
        if (fuse_is_virtual_view(user)) {
            for (uint32_t i = 0; i < user->result_count; i++)
                find_readers(f, &user->results[i], producer, out);
            continue;
        }
        out->other_phase |= user->phase != producer->phase;
        out->same_depth |= f->depth[user->id] == f->depth[producer->id];
        out->deeper |= f->depth[user->id] > f->depth[producer->id];
    }
}

/* Whether the value will be written whatever is fused. A value read on both sides of a library call (the
 * residual before and behind a layer) is, but for graphs where that call does not depend on the first reader.
 */
static bool is_in_memory_anyway(const inliner *f, const col_value *value)
{
    const col_node *producer = value->producer;
    if (!producer || !col_node_is_fusible(producer) || fuse_is_needed_in_memory(f->is_output, value))
        return true;
    readers r = {0};
    find_readers(f, value, producer, &r);
    return r.other_phase || (r.same_depth && r.deeper);
}

static bool is_made_of_sources(const inliner *f, const col_node *node, int *out_cost)
{
    col_op_class op_class = col_op_info_of(node->op)->op_class;
    *out_cost = col_op_info_of(node->op)->cost;
    if (op_class == COL_CLASS_SOURCE) return true;
    if (op_class != COL_CLASS_ELEMENTWISE && op_class != COL_CLASS_VIEW) return false;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_node *producer = col_node_operand(node, i)->producer;
        if (!producer || !f->inlined[producer->id] || f->large[producer->id]) return false;
        *out_cost += f->cost[producer->id];
    }
    return *out_cost <= INLINE_COST;
}

/* Where the operand of a cast is in memory instead of the result, fewer bytes are. */
static bool widens(const col_node *node)
{
    return node->op == COL_OP_CAST && col_dtype_size(node->results[0].type.dtype) >
                                          col_dtype_size(col_node_operand(node, 0)->type.dtype);
}

/* Made of one large operand, and small ones, at a bearable cost. Sets the large one; NULL when all are small.
 */
static bool is_light(const inliner *f, const col_node *node, int *out_cost, const col_value **out_large)
{
    *out_large = NULL;
    *out_cost = col_op_info_of(node->op)->cost;
    if (col_op_info_of(node->op)->op_class != COL_CLASS_ELEMENTWISE) return false;
    const col_value *result = &node->results[0];
    int64_t numel = col_shape_numel(result->type.shape);
    if (numel <= 1 || fuse_is_needed_in_memory(f->is_output, result)) return false;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *operand = col_node_operand(node, i), *large = NULL;
        const col_node *producer = operand->producer;
        if (producer && f->candidate[producer->id]) {
            *out_cost += f->cost[producer->id];
            large = f->large[producer->id];
            if (large && col_shape_numel(large->type.shape) <= numel / SMALL_FACTOR) large = NULL;
        } else if (col_shape_numel(operand->type.shape) > numel / SMALL_FACTOR) {
            large = col_view_of(operand).base;
            if (!widens(node) && !is_in_memory_anyway(f, large)) return false;
        }
        if (!large) continue;
        if (*out_large && *out_large != large) return false;
        *out_large = large;
    }
    if (*out_cost > RECOMPUTE_COST) return false;
    /* Keeping the operand for later must not take more memory than keeping the result. */
    return !*out_large || (*out_large)->var ||
           col_dtype_size((*out_large)->type.dtype) <= col_dtype_size(result->type.dtype);
}

static void count_depth(inliner *f)
{
    COL_FOR_EACH_NODE (node, f->graph) {
        for (uint32_t i = 0; i < node->operand_count; i++) {
            const col_node *producer = col_node_operand(node, i)->producer;
            if (!producer) continue;
            int depth = f->depth[producer->id] + !col_node_is_fusible(producer);
            f->depth[node->id] = COL_MAX(f->depth[node->id], depth);
        }
    }
}

/* The node is inlined, and with it what it is made of. */
static void mark_inlined(inliner *f, const col_node *node)
{
    if (f->inlined[node->id]) return;
    f->inlined[node->id] = true;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_node *producer = col_node_operand(node, i)->producer;
        if (producer && f->candidate[producer->id]) mark_inlined(f, producer);
    }
}

static void find_inlined(inliner *f)
{
    COL_FOR_EACH_NODE (node, f->graph) {
        int cost;
        const col_value *large = NULL;
        const col_node *viewed = fuse_is_virtual_view(node) ? col_node_operand(node, 0)->producer : NULL;
        bool wanted = true;
        if (fuse_is_virtual_view(node)) {
            if (!viewed || !f->candidate[viewed->id]) continue;
            cost = f->cost[viewed->id];
            large = f->large[viewed->id];
            wanted = f->inlined[viewed->id];
        } else if (!is_made_of_sources(f, node, &cost)) {
            if (!is_light(f, node, &cost, &large)) continue;
            readers r = {0};
            find_readers(f, &node->results[0], node, &r);
            wanted = cost <= (r.other_phase ? RECOMPUTE_COST : LIGHT_COST);
        }
        f->candidate[node->id] = true;
        f->cost[node->id] = cost;
        f->large[node->id] = large;
        if (wanted) mark_inlined(f, node);
    }
    /* Views of what was marked later. */
    COL_FOR_EACH_NODE (node, f->graph) {
        const col_node *viewed = fuse_is_virtual_view(node) ? col_node_operand(node, 0)->producer : NULL;
        if (viewed && f->inlined[viewed->id]) f->inlined[node->id] = true;
    }
}

static void unmark_inlined(inliner *f, const col_node *node)
{
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_node *producer = col_node_operand(node, i)->producer;
        if (!producer || !f->inlined[producer->id]) continue;
        f->inlined[producer->id] = false;
        unmark_inlined(f, producer);
    }
}

/* Reading memory any view will do, but not every index can be carried through a view to what is inlined
 * behind it. Where that fails for a node alone, what it reads is not inlined. */
static void check_inlined(inliner *f)
{
    col_group_query query = {.group = 0, .inlined = f->inlined, .is_output = f->is_output};
    bool *behind_view = COL_NEW_ARRAY(f->arena, bool, f->graph->next_node_id);
    COL_FOR_EACH_NODE (node, f->graph) node->group = -1;
    COL_FOR_EACH_NODE (node, f->graph) {
        bool is_behind = false;
        for (uint32_t i = 0; i < node->operand_count; i++) {
            const col_node *producer = col_node_operand(node, i)->producer;
            is_behind |=
                producer && f->inlined[producer->id] &&
                (behind_view[producer->id] || col_op_info_of(producer->op)->op_class == COL_CLASS_VIEW);
        }
        behind_view[node->id] = is_behind;
        bool is_unit = !f->inlined[node->id] || fuse_is_needed_in_memory(f->is_output, &node->results[0]);
        if (!is_behind || !is_unit || !col_node_is_fusible(node) || fuse_is_virtual_view(node)) continue;
        node->group = 0;
        const col_node *alone = node;
        if (!col_group_analyze(&alone, 1, &query, &f->group)) unmark_inlined(f, node);
        node->group = -1;
    }
}

const bool *fuse_find_inlined(col_graph *graph, const bool *is_output, col_arena *arena)
{
    inliner f = {.graph = graph, .arena = arena, .is_output = is_output, .group = {.arena = arena}};
    f.inlined = COL_NEW_ARRAY(arena, bool, graph->next_node_id);
    f.candidate = COL_NEW_ARRAY(arena, bool, graph->next_node_id);
    f.depth = COL_NEW_ARRAY(arena, int, graph->next_node_id);
    f.cost = COL_NEW_ARRAY(arena, int, graph->next_node_id);
    f.large = COL_NEW_ARRAY(arena, const col_value *, graph->next_node_id);
    count_depth(&f);
    find_inlined(&f);
    check_inlined(&f);
    return f.inlined;
}
