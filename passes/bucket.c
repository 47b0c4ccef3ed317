/* Joins small all-reduces into few: each costs a latency, whatever its size (the gradient buckets of
 * data-parallel training, Li et al., "PyTorch Distributed", VLDB 2020).
 *
 * needs     the program of one rank (partition)
 * provides  sums over the same axes, in one phase, of which none is read before the last is known, become one
 *           all-reduce of their elements in a row
 * breaks    nothing: each element is summed over the same ranks in the same order
 *
 * One walk: an all-reduce joins the open bucket of its axes and dtype; the bucket is closed before the first
 * node that reads one of its sums, at the end of the phase, and when it is full. A sum that is large alone is
 * left alone: it would be copied to save a latency that it hides. */
#include "passes/pass.h"

#include <string.h>

enum {
    BUCKET_BYTES = 4 << 20, /* of all members */
    MEMBERS = COL_BUCKET_MEMBERS,
    OPEN = 8, /* buckets at a time: axes and dtypes */
};

typedef struct bucket {
    col_node *members[MEMBERS];
    uint32_t count;
    int64_t bytes;
} bucket;

typedef struct state {
    col_graph *graph;
    bucket open[OPEN];
    uint8_t *is_waiting; /* by value id: a sum of an open bucket */
} state;

static col_value *operand_of(const col_node *node)
{
    return col_node_operand(node, 0);
}

static bool is_small_sum(const col_node *node)
{
    const char *reduce = node->op == COL_OP_ALL_REDUCE ? col_node_text(node, COL_ATTR_REDUCE) : "";
    return (!reduce || !strcmp(reduce, "sum")) && node->op == COL_OP_ALL_REDUCE &&
           col_type_bytes(node->results[0].type) < COL_BUCKET_LARGE;
}

static bool has_axes_of(const col_node *a, const col_node *b)
{
    int m, n;
    const int64_t *x = col_node_ints(a, COL_ATTR_MESH_AXES, &m),
                  *y = col_node_ints(b, COL_ATTR_MESH_AXES, &n);
    return m == n && !memcmp(x, y, sizeof *x * (size_t)n);
}

static col_shape row(int64_t count)
{
    return col_shape_make(1, &count);
}

static void join(state *s, bucket *k, col_node *before)
{
    col_node *last = k->members[k->count - 1];
    col_builder b = {
        .graph = s->graph, .before = before, .phase = last->phase, .scope = last->scope, .loc = last->loc};
    col_value *parts[MEMBERS];
    int64_t start = 0;
    for (uint32_t i = 0; i < k->count; i++) {
        col_value *part = operand_of(k->members[i]);
        parts[i] = col_build_reshape(&b, part, row(col_shape_numel(part->type.shape)));
    }
    col_value *all = col_build_concat(&b, k->count, parts, 0);
    col_node *sum = col_build(&b, COL_OP_ALL_REDUCE, 1, &all, last->attr_count, last->attrs);
    for (uint32_t i = 0; i < k->count; i++) {
        col_value *old = &k->members[i]->results[0];
        int64_t stop = start + col_shape_numel(old->type.shape);
        col_value *own = col_build_slice(&b, &sum->results[0], &start, &stop);
        col_value_replace(s->graph, old, col_build_reshape(&b, own, old->type.shape));
        col_graph_remove(k->members[i]);
        start = stop;
    }
}

static void close(state *s, bucket *k, col_node *before)
{
    for (uint32_t i = 0; i < k->count; i++) s->is_waiting[k->members[i]->results[0].id] = 0;
    if (k->count > 1) join(s, k, before);
    k->count = 0;
    k->bytes = 0;
}

static bool holds(const bucket *k, const col_value *value)
{
    for (uint32_t i = 0; i < k->count; i++) {
        if (&k->members[i]->results[0] == value) return true;
    }
    return false;
}

/* Closes what the node reads of. */
static void close_for(state *s, col_node *node, uint32_t values)
{
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *value = col_node_operand(node, i);
        if (value->id >= values || !s->is_waiting[value->id]) continue;
        for (int o = 0; o < OPEN; o++) {
            if (holds(&s->open[o], value)) close(s, &s->open[o], node);
        }
    }
}

static bool belongs(const bucket *k, const col_node *node)
{
    return has_axes_of(k->members[0], node) &&
           k->members[0]->results[0].type.dtype == node->results[0].type.dtype;
}

static void add(state *s, col_node *node)
{
    bucket *k = &s->open[0]; /* its own, else an empty one, else the first, which is closed early */
    for (int o = OPEN - 1; o >= 0; o--) {
        if (!s->open[o].count) k = &s->open[o];
    }
    for (int o = 0; o < OPEN; o++) {
        if (s->open[o].count && belongs(&s->open[o], node)) k = &s->open[o];
    }
    if (k->count && !belongs(k, node)) close(s, k, node);
    int64_t bytes = col_type_bytes(node->results[0].type);
    if (k->count == MEMBERS || k->bytes + bytes > BUCKET_BYTES) close(s, k, node);
    k->members[k->count++] = node;
    k->bytes += bytes;
    s->is_waiting[node->results[0].id] = 1;
}

col_status col_pass_bucket(col_graph *graph, const col_pass_options *options)
{
    (void)options;
    state s = {.graph = graph};
    uint32_t values = graph->next_value_id;
    col_arena *scratch = col_arena_create();
    s.is_waiting = COL_NEW_ARRAY(scratch, uint8_t, values);
    col_phase phase = COL_PHASE_FORWARD;
    COL_FOR_EACH_NODE_SAFE (node, graph) {
        for (int o = 0; o < OPEN && node->phase != phase; o++) close(&s, &s.open[o], node);
        phase = node->phase;
        close_for(&s, node, values);
        if (is_small_sum(node)) add(&s, node);
    }
    for (int o = 0; o < OPEN; o++) close(&s, &s.open[o], NULL);
    col_arena_destroy(scratch);
    return NULL;
}
