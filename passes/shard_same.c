/* Equal units: what the strategies of a unit are made from, as words, without the names of anything. */
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
