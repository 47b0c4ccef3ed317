/* What repeated layers have in common.
 *
 * Units: what the strategies of a unit are made from, as words, without the names of anything.
 *
 * Nodes of the problem: those are alike that have the same strategies and the same surroundings a few edges
 * far, by colour refinement (Weisfeiler and Leman, 1968): the next colour of a node is its colour and those
 * of its neighbours, with the direction of the edge. After ROUNDS of that, the nodes of a layer are told from
 * each other, and those of the first and the last layers from the rest; refined to the end, every layer would
 * be like no other. Nodes with very many edges, as the norm of all gradients, would tell layers apart by
 * their number: they pass no colour on. */
#include <string.h>

#include "passes/shard_model.h"

typedef struct writer {
    const shard_model *m;
    const shard_unit *u;
    COL_VEC(int64_t) words;
    COL_VEC(const col_value *) outside; /* values from outside in the order of their first use */
} writer;

static void put(writer *w, int64_t word)
{
    col_vec_push(w->m->arena, &w->words, word);
}

static void put_type(writer *w, const col_type *type)
{
    put(w, (int64_t)type->dtype << 8 | type->shape.rank);
    for (int d = 0; d < type->shape.rank; d++) put(w, type->shape.dims[d]);
}

static void put_attr(writer *w, const col_attr *attr)
{
    if (attr->key == COL_ATTR_SALT) return; /* says which numbers are drawn, not how */
    int64_t bits;
    memcpy(&bits, &attr->float_value, sizeof bits);
    put(w, (int64_t)attr->key << 32 | attr->count);
    put(w, attr->int_value);
    put(w, bits);
    for (int i = 0; i < attr->count; i++) put(w, attr->ints[i]);
    size_t length = attr->text ? strlen(attr->text) : 0;
    put(w, (int64_t)length);
    for (size_t i = 0; i < length; i += sizeof bits) {
        bits = 0;
        memcpy(&bits, attr->text + i, COL_MIN(sizeof bits, length - i));
        put(w, bits);
    }
}

/* A node of the unit by its place in it, a value from outside by its own number. */
static void put_operand(writer *w, const col_value *value, const uint32_t *place)
{
    bool inside = value->producer && &w->m->by_unit[w->m->units->by_node[value->producer->id]] == w->u;
    if (inside) {
        put(w, (int64_t)place[value->producer->id] << 8 | value->index);
        return;
    }
    size_t number = 0;
    while (number < w->outside.len && w->outside.data[number] != value) number++;
    put(w, -1 - (int64_t)number);
    if (number < w->outside.len) return;
    put_type(w, &value->type);
    col_vec_push(w->m->arena, &w->outside, value);
}

const void *shard_describe_unit(const shard_model *m, const shard_unit *u, size_t *out_size)
{
    writer w = {.m = m, .u = u};
    put(&w, (int64_t)u->unit->node_count << 8 | (u->phase == COL_PHASE_UPDATE) << 1 | u->is_free);
    for (uint32_t n = 0; n < u->unit->node_count; n++) {
        const col_node *node = u->unit->nodes[n];
        m->place[node->id] = n;
        put(&w, (int64_t)node->op << 32 | (int64_t)node->operand_count << 16 |
                    (int64_t)node->result_count << 8 | node->attr_count);
        for (uint32_t i = 0; i < node->attr_count; i++) put_attr(&w, &node->attrs[i]);
        for (uint32_t i = 0; i < node->operand_count; i++)
            put_operand(&w, col_node_operand(node, i), m->place);
        for (uint32_t i = 0; i < node->result_count; i++) {
            put_type(&w, &node->results[i].type);
            put(&w, m->uses[node->results[i].id]);
        }
    }
    *out_size = sizeof *w.words.data * w.words.len;
    return w.words.data;
}

enum { ROUNDS = 3, MANY_EDGES = 24 };

static uint64_t mix(uint64_t x, uint64_t seed)
{
    return col_hash_bytes(&x, sizeof x, seed);
}

static void refine(const shard_problem *b, const int32_t *degree, uint64_t *colours, uint64_t *sums)
{
    size_t n = b->nodes.len;
    memset(sums, 0, sizeof *sums * n);
    for (size_t e = 0; e < b->edges.len; e++) {
        int32_t u = b->edges.data[e].u, v = b->edges.data[e].v;
        if (degree[v] <= MANY_EDGES) sums[u] += mix(colours[v], 1);
        if (degree[u] <= MANY_EDGES) sums[v] += mix(colours[u], 2);
    }
    for (size_t i = 0; i < n; i++) colours[i] = mix(sums[i], colours[i]);
}

/* What a node stands for, and what its strategies mean. */
static uint64_t first_colour(const shard_problem *b, size_t i)
{
    const col_sharding_node *node = &b->nodes.data[i];
    const shard_node *is = &b->stands_for.data[i];
    size_t count = (size_t)node->strategies;
    uint64_t hash = col_hash_bytes(&is->kind, sizeof is->kind, count);
    hash = col_hash_bytes(node->cost, sizeof *node->cost * count, hash);
    hash = col_hash_bytes(node->usage, sizeof *node->usage * count, hash);
    if (is->layouts) hash = col_hash_bytes(is->layouts, sizeof *is->layouts * count, hash);
    if (is->kind != SHARD_UNIT) return hash;
    const shard_unit *u = &b->m.by_unit[is->position];
    for (int j = 0; j < u->read_count + u->write_count; j++) {
        const shard_port *port = j < u->read_count ? &u->reads[j] : &u->writes[j - u->read_count];
        hash = col_hash_bytes(port->layouts, sizeof *port->layouts * count, hash);
    }
    return hash;
}

const int32_t *shard_find_alike(const shard_problem *b)
{
    size_t n = b->nodes.len;
    col_arena *scratch = col_arena_create();
    int32_t *alike = COL_NEW_ARRAY(b->m.arena, int32_t, n + 1);
    uint64_t *colours = COL_NEW_ARRAY(scratch, uint64_t, n + 1);
    for (size_t i = 0; i < n; i++) colours[i] = first_colour(b, i);
    uint64_t *sums = COL_NEW_ARRAY(scratch, uint64_t, n + 1);
    int32_t *degree = COL_NEW_ARRAY(scratch, int32_t, n + 1);
    for (size_t e = 0; e < b->edges.len; e++) {
        degree[b->edges.data[e].u]++;
        degree[b->edges.data[e].v]++;
    }
    for (int round = 0; round < ROUNDS; round++) refine(b, degree, colours, sums);
    col_map *numbers = col_map_create(scratch);
    size_t classes = 0;
    for (size_t i = 0; i < n; i++) {
        struct {
            uint64_t colour;
            int64_t strategies; /* should two colours ever collide */
        } key = {colours[i], b->nodes.data[i].strategies};
        int32_t *known = col_map_get_bytes(numbers, &key, sizeof key);
        if (!known) {
            known = COL_NEW(scratch, int32_t);
            *known = (int32_t)i;
            classes++;
            col_map_set_bytes(numbers, &key, sizeof key, known);
        }
        alike[i] = *known;
    }
    col_arena_destroy(scratch);
    return classes <= n / 2 ? alike : NULL; /* else little is repeated */
}
