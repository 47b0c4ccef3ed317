/* What of a step runs in chunks (passes/chunk.c).
 *
 * Seeds are the nodes that make or read the largest value of the forward phase, or a value of its size that
 * they share; then, all that stands between two nodes of the region, until nothing is added. The op table's
 * factors say how rows go through all of them: a region can be cut along a factor of which every value made in
 * it has a dimension, or is a sum (a maximum, a minimum) over it that is only read outside.
 *
 * Counter-example to taking any region: where the largest value is a layer's, all of the step stands between its
 * forward and its backward nodes. So what passes between nodes of the region must be large, or small
 * beside it, as a number for each row is. */
#include "passes/chunk_region.h"

#include "ir/work.h"

enum {
    SMALL_SHARE = 16 /* of the large value's elements: more than what passes between nodes of a region has */
};
static const double WORTH = 0.02; /* of the region's seconds, that chunks may add */

static int64_t numel(const col_value *value)
{
    return col_shape_numel(value->type.shape);
}

static bool is_step(const col_node *node)
{
    return node->phase < COL_PHASE_UPDATE && node->op != COL_OP_ASSIGN;
}

/* --- the region --- */

static col_value *find_large(const col_graph *graph)
{
    col_value *large = NULL;
    COL_FOR_EACH_NODE (node, graph) {
        if (node->phase != COL_PHASE_FORWARD) break;
        for (uint32_t i = 0; i < node->result_count; i++) {
            col_value *value = &node->results[i];
            if (!large || col_type_bytes(value->type) > col_type_bytes(large->type)) large = value;
        }
    }
    return large;
}

typedef struct grower {
    chunk_region *r;
    col_arena *arena;
    bool *seen; /* by value id */
    COL_VEC(const col_value *) waiting;
} grower;

static void see(grower *g, const col_value *value)
{
    if (g->seen[value->id] || numel(value) != numel(g->r->large)) return;
    g->seen[value->id] = true;
    col_vec_push(g->arena, &g->waiting, value);
}

static void take(grower *g, const col_node *node)
{
    g->r->inside[node->id] = true;
    for (uint32_t i = 0; i < node->operand_count; i++) see(g, col_node_operand(node, i));
    for (uint32_t i = 0; i < node->result_count; i++) see(g, &node->results[i]);
}

static void take_around_large(grower *g)
{
    while (g->waiting.len) {
        const col_value *value = g->waiting.data[--g->waiting.len];
        if (value->producer) take(g, value->producer);
        COL_FOR_EACH_USE (use, value) take(g, use->user);
    }
}

/* Takes what stands between nodes of the region; whether there was any. Sets `depends` of the others. */
static bool take_between(grower *g, const col_graph *graph)
{
    bool *leads = COL_NEW_ARRAY(g->arena, bool, graph->next_node_id), any = false, *depends = g->r->depends;
    const bool *inside = g->r->inside;
    for (const col_node *node = graph->last; node; node = node->prev) {
        for (uint32_t i = 0; i < node->result_count; i++) {
            COL_FOR_EACH_USE (use, &node->results[i])
                leads[node->id] |= inside[use->user->id] || leads[use->user->id];
        }
    }
    COL_FOR_EACH_NODE (node, graph) {
        depends[node->id] = false;
        for (uint32_t i = 0; i < node->operand_count; i++) {
            const col_node *producer = col_node_operand(node, i)->producer;
            depends[node->id] |= producer && (inside[producer->id] || depends[producer->id]);
        }
        if (inside[node->id]) depends[node->id] = false;
        if (!depends[node->id] || !leads[node->id]) continue;
        take(g, node);
        depends[node->id] = false;
        any = true;
    }
    return any;
}

bool chunk_region_leaves(const chunk_region *r, const col_value *value)
{
    COL_FOR_EACH_USE (use, value) {
        if (!r->inside[use->user->id]) return true;
    }
    return col_value_is_output(value->producer->graph, value);
}

static bool is_read_inside(const chunk_region *r, const col_value *value)
{
    COL_FOR_EACH_USE (use, value) {
        if (r->inside[use->user->id]) return true;
    }
    return false;
}

static bool can_be_cut(const chunk_region *r, const col_node *node)
{
    const col_op_info *info = col_op_info_of(node->op);
    if (!is_step(node) || !info->factors || !info->local || info->op_class == COL_CLASS_OPAQUE) return false;
    for (uint32_t i = 0; i < node->result_count; i++) {
        const col_value *value = &node->results[i];
        bool large = numel(value) == numel(r->large), small = numel(value) <= numel(r->large) / SMALL_SHARE;
        if (large ? chunk_region_leaves(r, value) : !small && is_read_inside(r, value)) return false;
    }
    return true;
}

static bool list_nodes(const col_graph *graph, col_arena *arena, chunk_region *r)
{
    r->nodes = COL_NEW_ARRAY(arena, const col_node *, graph->node_count);
    COL_FOR_EACH_NODE (node, graph) {
        if (!r->inside[node->id]) {
            for (uint32_t i = 0; i < node->result_count && node->phase == COL_PHASE_FORWARD; i++)
                r->rest = COL_MAX(r->rest, col_type_bytes(node->results[i].type));
            continue;
        }
        if (!can_be_cut(r, node)) return false;
        r->nodes[r->count++] = node;
    }
    return r->count > 1;
}

/* --- rows --- */

int chunk_region_dim(const chunk_region *r, const col_value *result, col_op *out_kind)
{
    col_layout layout = col_factors_result_layout(r->factors, &r->strategy, result);
    *out_kind = COL_OP_SUM;
    for (int d = 0; d < result->type.shape.rank; d++) {
        if (layout.split[d].count) return d;
    }
    if (!col_factors_reduced_axes(r->factors, &r->strategy, result, out_kind))
        *out_kind = COL_OP_COUNT; /* the same in every chunk */
    return -1;
}

static bool is_cut_by(chunk_region *r, int factor)
{
    r->strategy = col_strategy_replicated();
    r->strategy.factor[0] = (int8_t)factor;
    for (size_t n = 0; n < r->count; n++) {
        for (uint32_t i = 0; i < r->nodes[n]->result_count; i++) {
            const col_value *value = &r->nodes[n]->results[i];
            col_op kind;
            if (chunk_region_dim(r, value, &kind) >= 0) continue;
            bool combines = kind != COL_OP_COUNT && value->type.shape.rank < COL_MAX_RANK;
            if (!combines || is_read_inside(r, value)) return false;
        }
    }
    return true;
}

bool chunk_region_find(const col_graph *graph, col_arena *arena, chunk_region *r)
{
    *r = (chunk_region){.large = find_large(graph)};
    if (!r->large) return false;
    r->inside = COL_NEW_ARRAY(arena, bool, graph->next_node_id);
    r->depends = COL_NEW_ARRAY(arena, bool, graph->next_node_id);
    grower g = {.r = r, .arena = arena, .seen = COL_NEW_ARRAY(arena, bool, graph->next_value_id)};
    see(&g, r->large);
    do take_around_large(&g);
    while (take_between(&g, graph));
    if (!list_nodes(graph, arena, r)) return false;
    r->factors = col_factors_of(r->nodes, r->count, arena);
    for (int d = 0; d < r->large->type.shape.rank; d++) { /* the outermost: chunks of it are dense */
        int factor = col_factors_of_dim(r->factors, r->large, d);
        if (factor >= 0 && is_cut_by(r, factor)) return true;
    }
    return false;
}

/* --- how many chunks --- */

static int64_t bytes_in_chunk(const col_value *value, const col_layout *layout, int64_t chunks)
{
    bool cut = false;
    for (int d = 0; d < value->type.shape.rank; d++) cut |= layout->split[d].count > 0;
    return col_type_bytes(value->type) / (cut ? chunks : 1);
}

/* Seconds of the products and reductions, of which the others become part, and of adding the chunks' products. */
static double seconds_in_chunks(const chunk_region *r, const col_machine *machine, int64_t chunks)
{
    double seconds = 0;
    for (size_t n = 0; n < r->count; n++) {
        const col_node *node = r->nodes[n];
        col_work work = col_node_work(node);
        if (work.kind == COL_WORK_KERNEL && col_op_info_of(node->op)->op_class != COL_CLASS_REDUCTION)
            continue;
        double bytes = 0;
        for (uint32_t i = 0; i < node->operand_count; i++) {
            col_layout layout = col_factors_operand_layout(r->factors, &r->strategy, node, i);
            bytes += (double)bytes_in_chunk(col_node_operand(node, i), &layout, chunks);
        }
        for (uint32_t i = 0; i < node->result_count; i++) {
            col_layout layout = col_factors_result_layout(r->factors, &r->strategy, &node->results[i]);
            double result = (double)bytes_in_chunk(&node->results[i], &layout, chunks);
            bytes += result;
            if (layout.partial) seconds += (double)(chunks - 1) * col_cost_traffic(machine, 2 * result);
        }
        seconds += (double)chunks * col_cost_seconds(machine, col_cost_class_of(work.kind),
                                                     work.flops / (double)chunks, bytes);
    }
    return seconds;
}

/* Whether the rows of a chunk would be reduced in other ways for being few. */
static bool has_few_rows(const chunk_region *r, int64_t chunks, const col_pass_options *options)
{
    for (size_t n = 0; n < r->count; n++) {
        if (col_op_info_of(r->nodes[n]->op)->op_class != COL_CLASS_REDUCTION) continue;
        int64_t rows = numel(&r->nodes[n]->results[0]);
        if (rows >= options->few_rows && rows / chunks < options->few_rows) return true;
    }
    return false;
}

int64_t chunk_region_count(const chunk_region *r, const col_pass_options *options)
{
    int factor = r->strategy.factor[0];
    int64_t rows = col_factors_size(r->factors, factor), most = options->loss_chunks;
    if (most) {
        most = COL_MIN(COL_MIN(most, rows), (int64_t)CHUNK_MOST);
        while (!col_factors_splits(r->factors, factor, most)) most--;
        return most;
    }
    const col_machine *machine = options->machine;
    int64_t large = col_type_bytes(r->large->type), best = 1;
    double whole = machine ? seconds_in_chunks(r, machine, 1) : 0;
    for (int64_t count = 2; count <= CHUNK_MOST && large / best > r->rest; count *= 2) {
        if (!col_factors_splits(r->factors, factor, count) || has_few_rows(r, count, options)) break;
        if (machine && seconds_in_chunks(r, machine, count) > whole * (1 + WORTH)) break;
        best = count;
    }
    return best;
}
