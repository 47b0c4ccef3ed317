/* Joining the relations of a unit's nodes (see factors.h): every dimension is a piece at first, relations cut and unite
 * pieces (factors_pieces.c), and the leaves that are left in the end are the factors, those apart that can never be
 * split. */
#include "ir/factors_model.h"

/* --- tensors ------------------------------------------------------------------------------------------ */

static struct col_factor_entry *entry_of(const col_factors *f, const void *key)
{
    size_t at = (size_t)((uintptr_t)key >> 4) * (size_t)0x9E3779B97F4A7C15u;
    for (at ^= at >> 32;; at++) {
        struct col_factor_entry *e = &f->table[at & (f->table_size - 1)];
        if (!e->key || e->key == key) return e;
    }
}

static void make_table(col_factors *f, size_t keys)
{
    for (f->table_size = 4; f->table_size < 2 * keys;) f->table_size *= 2;
    f->table = COL_NEW_ARRAY(f->arena, struct col_factor_entry, f->table_size);
}

/* `own`: not the tensor that another slot has for the value. */
static int tensor_of_value(col_factors *f, const col_value *value, bool own)
{
    struct col_factor_entry *e = entry_of(f, value);
    if (e->key && !own) return e->index;
    int at = (int)f->tensors.len;
    if (!e->key) *e = (struct col_factor_entry){value, at};
    col_factor_tensor t = {value, f->dims.len, -1};
    col_vec_push(f->arena, &f->tensors, t);
    for (int d = 0; d < value->type.shape.rank; d++) {
        int64_t size = value->type.shape.dims[d];
        col_factor_dim made = {.piece = size == 1 ? -1 : col_pieces_add(f, size, size == 0), .outermost = -1};
        col_vec_push(f->arena, &f->dims, made);
    }
    return at;
}

static void add_slots(col_factors *f)
{
    size_t count = 0;
    f->first_slot = COL_NEW_ARRAY(f->arena, size_t, f->node_count + 1);
    for (size_t n = 0; n < f->node_count; n++) {
        f->first_slot[n] = count;
        count += f->nodes[n]->operand_count + f->nodes[n]->result_count;
    }
    f->first_slot[f->node_count] = count;
    f->slots = COL_NEW_ARRAY(f->arena, int, count);
    make_table(f, count + f->node_count);
    for (size_t n = 0; n < f->node_count; n++) {
        const col_node *node = f->nodes[n];
        int *slots = f->slots + f->first_slot[n];
        *entry_of(f, node) = (struct col_factor_entry){node, (int)n};
        for (uint32_t i = 0; i < node->operand_count; i++)
            slots[i] = tensor_of_value(f, col_node_operand(node, i), f->node_count == 1);
        for (uint32_t i = 0; i < node->result_count; i++)
            slots[node->operand_count + i] = tensor_of_value(f, &node->results[i], false);
    }
}

size_t col_factors_number(const col_factors *f, const col_node *node)
{
    const struct col_factor_entry *e = entry_of(f, node);
    COL_ASSERT(e->key);
    return (size_t)e->index;
}

col_factor_tensor *col_factors_tensor(const col_factors *f, const col_value *value)
{
    const struct col_factor_entry *e = entry_of(f, value);
    COL_ASSERT(e->key);
    return &f->tensors.data[e->index];
}

/* --- relations ---------------------------------------------------------------------------------------- */

static col_factor_tensor *slot_tensor(const col_factors *f, col_slot slot)
{
    COL_ASSERT(slot.node == f->nodes[f->at]);
    COL_ASSERT(slot.index < (slot.is_result ? slot.node->result_count : slot.node->operand_count));
    size_t at = f->first_slot[f->at] + slot.index + (slot.is_result ? slot.node->operand_count : 0);
    return &f->tensors.data[f->slots[at]];
}

static void mention(col_factors *f, const col_factor_tensor *t, int from, int to)
{
    COL_ASSERT(0 <= from && to <= t->value->type.shape.rank);
    for (int d = from; d < to; d++) f->dims.data[t->first + (size_t)d].mention = f->at + 1;
}

static int64_t product(const col_factor_tensor *t, int from, int to)
{
    int64_t size = 1;
    for (int d = from; d < to; d++) size *= t->value->type.shape.dims[d];
    return size;
}

static void make_whole(col_factors *f, const col_factor_tensor *t, int from, int to)
{
    col_factor_walk w = col_pieces_walk(f, t, from, to);
    for (int at; (at = col_pieces_next(f, &w)) >= 0;) f->pieces.data[at].whole = true;
}

void col_factors_whole(col_factors *f, col_slot a, int dim)
{
    const col_factor_tensor *t = slot_tensor(f, a);
    mention(f, t, dim, dim + 1);
    make_whole(f, t, dim, dim + 1);
}

void col_factors_regroup(col_factors *f, col_slot a, int a_from, int a_to, col_slot b, int b_from, int b_to)
{
    const col_factor_tensor *s = slot_tensor(f, a), *t = slot_tensor(f, b);
    mention(f, s, a_from, a_to);
    mention(f, t, b_from, b_to);
    COL_ASSERT(product(s, a_from, a_to) == product(t, b_from, b_to));
    if (!product(s, a_from, a_to)) {
        make_whole(f, s, a_from, a_to);
        make_whole(f, t, b_from, b_to);
        return;
    }
    col_factor_walk x = col_pieces_walk(f, s, a_from, a_to), y = col_pieces_walk(f, t, b_from, b_to);
    col_pieces_join(f, &x, &y);
}

void col_factors_same(col_factors *f, col_slot a, int a_dim, col_slot b, int b_dim)
{
    const col_factor_tensor *s = slot_tensor(f, a), *t = slot_tensor(f, b);
    if (s->value->type.shape.dims[a_dim] != t->value->type.shape.dims[b_dim]) return;
    col_factors_regroup(f, a, a_dim, a_dim + 1, b, b_dim, b_dim + 1);
}

/* Cuts `parts` off a dimension. */
static int outer_part(col_factors *f, const col_factor_tensor *t, int at, int64_t parts)
{
    int64_t size = t->value->type.shape.dims[at];
    COL_ASSERT(size % parts == 0);
    int outer = col_pieces_add(f, parts, false);
    col_factor_walk x = col_pieces_walk(f, t, at, at + 1), y = {.count = 0};
    if (size != parts) y.pending[y.count++] = col_pieces_add(f, size / parts, false);
    y.pending[y.count++] = outer;
    col_pieces_join(f, &x, &y);
    return outer;
}

void col_factors_same_outer(col_factors *f, col_slot a, int a_dim, col_slot b, int b_dim, int64_t parts)
{
    const col_factor_tensor *s = slot_tensor(f, a), *t = slot_tensor(f, b);
    mention(f, s, a_dim, a_dim + 1);
    mention(f, t, b_dim, b_dim + 1);
    if (parts == 1 || !s->value->type.shape.dims[a_dim] || !t->value->type.shape.dims[b_dim]) return;
    col_factor_walk x = {.pending = {outer_part(f, s, a_dim, parts)}, .count = 1};
    col_factor_walk y = {.pending = {outer_part(f, t, b_dim, parts)}, .count = 1};
    col_pieces_join(f, &x, &y);
}

void col_factors_reduces(col_factors *f, col_slot operand, int dim, col_slot result, col_op kind)
{
    COL_ASSERT(kind == COL_OP_SUM || kind == COL_OP_MAX || kind == COL_OP_MIN);
    const col_factor_tensor *t = slot_tensor(f, operand);
    col_factor_tensor *made = slot_tensor(f, result);
    int at = f->dims.data[t->first + (size_t)dim].piece;
    mention(f, t, dim, dim + 1);
    if (at < 0) return;
    COL_ASSERT(made->reduced < 0 || f->reduced.data[made->reduced].kind == kind);
    col_factor_reduced r = {at, made->reduced, kind};
    made->reduced = (int)f->reduced.len;
    col_vec_push(f->arena, &f->reduced, r);
}

void col_factors_looks_up(col_factors *f, col_slot a, int dim)
{
    col_factor_lookup l = {f->at, slot_tensor(f, a)->first + (size_t)dim};
    col_vec_push(f->arena, &f->lookups, l);
}

/* What the node did not say of its operands cannot be split. */
static void hold_unmentioned(col_factors *f)
{
    const col_node *node = f->nodes[f->at];
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_factor_tensor *t = slot_tensor(f, col_operand_slot(node, i));
        for (int d = 0; d < t->value->type.shape.rank; d++) {
            if (f->dims.data[t->first + (size_t)d].mention != f->at + 1) make_whole(f, t, d, d + 1);
        }
    }
}

/* --- factors ------------------------------------------------------------------------------------------ */

/* A leaf that is not outermost where it stands, or that stands twice in one tensor, cannot be split.
 * `last_seen`: per piece, the tensor that it was last met in, counted from 1. */
static void hold_misplaced(col_factors *f, int *last_seen)
{
    for (size_t i = 0; i < f->tensors.len; i++) {
        const col_factor_tensor *t = &f->tensors.data[i];
        for (int d = 0; d < t->value->type.shape.rank; d++) {
            col_factor_walk w = col_pieces_walk(f, t, d, d + 1);
            bool outermost = true;
            for (int leaf; (leaf = col_pieces_next(f, &w)) >= 0; outermost = false) {
                if (!outermost || last_seen[leaf] == (int)i + 1) f->pieces.data[leaf].whole = true;
                last_seen[leaf] = (int)i + 1;
            }
        }
    }
}

/* A result cannot be a sum over what it also has: its blocks would be terms of different sums. */
static void hold_reduced(col_factors *f)
{
    for (size_t i = 0; i < f->tensors.len; i++) {
        const col_factor_tensor *t = &f->tensors.data[i];
        for (int r = t->reduced; r >= 0; r = f->reduced.data[r].next) {
            int over = col_pieces_outermost(f, f->reduced.data[r].piece);
            col_factor_walk own = col_pieces_walk(f, t, 0, t->value->type.shape.rank);
            for (int leaf; (leaf = col_pieces_next(f, &own)) >= 0;) {
                if (leaf == over) f->pieces.data[leaf].whole = true;
            }
        }
    }
}

/* In the order of first appearance. */
static void number_factors(col_factors *f)
{
    f->size = COL_NEW_ARRAY(f->arena, int64_t, COL_MIN(f->pieces.len, (size_t)INT8_MAX));
    for (size_t d = 0; d < f->dims.len; d++) {
        int at = f->dims.data[d].piece;
        if (at < 0) continue;
        col_factor_piece *leaf = &f->pieces.data[col_pieces_outermost(f, at)];
        if (!leaf->whole && leaf->factor < 0 && f->factor_count < INT8_MAX) {
            f->size[f->factor_count] = leaf->size;
            leaf->factor = f->factor_count++;
        }
        f->dims.data[d].outermost = leaf->factor;
    }
}

col_factors *col_factors_of(const col_node *const *nodes, size_t count, col_arena *arena)
{
    col_factors *f = COL_NEW(arena, col_factors);
    f->arena = arena;
    f->nodes = nodes;
    f->node_count = count;
    add_slots(f);
    for (size_t n = 0; n < count; n++) {
        const col_op_info *info = col_op_info_of(nodes[n]->op);
        if (!info->factors)
            COL_PANIC("'%s' has no rule of how it is split; lower it to primitives first", info->name);
        f->at = (int)n;
        info->factors(f, nodes[n]);
        hold_unmentioned(f);
    }
    hold_misplaced(f, COL_NEW_ARRAY(arena, int, f->pieces.len));
    hold_reduced(f);
    number_factors(f);
    return f;
}

int col_factors_count(const col_factors *f)
{
    return f->factor_count;
}

int64_t col_factors_size(const col_factors *f, int factor)
{
    COL_ASSERT(0 <= factor && factor < f->factor_count);
    return f->size[factor];
}

bool col_factors_splits(const col_factors *f, int factor, int64_t parts)
{
    COL_ASSERT(0 <= factor && factor < f->factor_count);
    return f->size[factor] % parts == 0;
}

int col_factors_of_dim(const col_factors *f, const col_value *value, int dim)
{
    COL_ASSERT(0 <= dim && dim < value->type.shape.rank);
    return f->dims.data[col_factors_tensor(f, value)->first + (size_t)dim].outermost;
}
