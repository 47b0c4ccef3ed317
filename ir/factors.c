/* Joining the relations of a unit's nodes (see factors.h).
 *
 * A dimension starts as one *piece*. Relations unite pieces and cut them: that [12] is [3, 4] in row-major
 * order cuts the 12 into an outer 3 and an inner 4, wherever it stands. Pieces are a forest of trees under
 * union-find: a root that was cut has two children, of smaller sizes, and the leaves below a dimension's
 * piece, outermost first, are its run. The leaves that are left in the end are the factors, those apart that
 * can never be split.
 *
 * Two runs of one product are joined from the outside in. The outermost sizes p and q have their outermost
 * gcd(p, q) parts in common: both are cut there, and the cut parts united. Where p and q are coprime (3
 * against 2 in [3, 4] and [2, 6]) nothing can be said before the products of both meet again, and all pieces
 * up to there are whole. */
#include "ir/factors.h"

#include <string.h>

#include "ir/base/divisor.h"

enum { MAX_PENDING = COL_MAX_RANK + 64 }; /* every cut at least halves a size */

typedef struct piece {
    int64_t size;
    int parent;       /* itself: a root */
    int outer, inner; /* of a root that was cut; -1: it is not */
    int factor;       /* of a leaf, when all relations are known; -1: it cannot be split */
    bool whole;       /* never split */
} piece;

/* A value's dimensions stand at dims[first ..]. */
typedef struct tensor {
    const col_value *value;
    size_t first;
    int reduced; /* first of `reduced` whose result it is; -1: none */
} tensor;

typedef struct dim {
    int piece;     /* -1: size 1 */
    int outermost; /* its outermost factor; -1: none that can be split */
    int mention;   /* the node, counted from 1, whose relations last mentioned it */
} dim;

/* A piece that a node sums (or MAX, MIN) over. */
typedef struct reduced {
    int piece, next;
    col_op kind;
} reduced;

/* A dimension that a node goes through by content, not by index. */
typedef struct lookup {
    int node;
    size_t dim;
} lookup;

struct col_factors {
    col_arena *arena;
    const col_node *const *nodes;
    size_t node_count;
    size_t *first_slot; /* of a node: operands, then results */
    int *slots;         /* slot to tensor */
    COL_VEC(tensor) tensors;
    COL_VEC(dim) dims;
    COL_VEC(piece) pieces;
    COL_VEC(reduced) reduced;
    COL_VEC(lookup) lookups;
    int at; /* the node whose relations are being stated */
    /* From the address of a value to its first tensor, and of a node to its number. */
    struct entry {
        const void *key;
        int index;
    } * table;
    size_t table_size; /* a power of two */
    int factor_count;
    int64_t *size; /* by factor */
};

/* --- the forest of pieces ----------------------------------------------------------------------------- */

static int add_piece(col_factors *f, int64_t size, bool whole)
{
    int at = (int)f->pieces.len;
    piece p = {.size = size, .parent = at, .outer = -1, .inner = -1, .factor = -1, .whole = whole};
    col_vec_push(f->arena, &f->pieces, p);
    return at;
}

static int root_of(const col_factors *f, int at)
{
    piece *pieces = f->pieces.data;
    while (pieces[at].parent != at) at = pieces[at].parent = pieces[pieces[at].parent].parent;
    return at;
}

/* The leaves of a run, outermost first. Cuts made while it is walked are seen. */
typedef struct walk {
    int pending[MAX_PENDING], count;
} walk;

static walk walk_dims(const col_factors *f, const tensor *t, int from, int to)
{
    walk w = {.count = 0};
    for (int d = to - 1; d >= from; d--) {
        int at = f->dims.data[t->first + (size_t)d].piece;
        if (at >= 0) w.pending[w.count++] = at;
    }
    return w;
}

/* -1: the end. */
static int next_leaf(const col_factors *f, walk *w)
{
    if (!w->count) return -1;
    int at = root_of(f, w->pending[--w->count]);
    while (f->pieces.data[at].outer >= 0) {
        COL_ASSERT(w->count < MAX_PENDING);
        w->pending[w->count++] = f->pieces.data[at].inner;
        at = root_of(f, f->pieces.data[at].outer);
    }
    return at;
}

/* The outermost part, of `size`, of a leaf just met. The rest is what the walk meets next. */
static int cut(col_factors *f, walk *w, int leaf, int64_t size)
{
    int64_t whole = f->pieces.data[leaf].size;
    if (whole == size) return leaf;
    int outer = add_piece(f, size, f->pieces.data[leaf].whole);
    int inner = add_piece(f, whole / size, f->pieces.data[leaf].whole);
    f->pieces.data[leaf].outer = outer;
    f->pieces.data[leaf].inner = inner;
    w->pending[w->count++] = inner;
    return outer;
}

static void unite(col_factors *f, int a, int b)
{
    f->pieces.data[b].parent = a;
    f->pieces.data[a].whole |= f->pieces.data[b].whole;
}

/* From leaves a and b on, which have no common part, to where both walks have covered the same product. */
static void pass_over(col_factors *f, walk *x, int a, walk *y, int b)
{
    int64_t p = f->pieces.data[a].size, q = f->pieces.data[b].size;
    f->pieces.data[a].whole = f->pieces.data[b].whole = true;
    while (p != q) {
        int next = next_leaf(f, p < q ? x : y);
        COL_ASSERT(next >= 0);
        f->pieces.data[next].whole = true;
        *(p < q ? &p : &q) *= f->pieces.data[next].size;
    }
}

static void join(col_factors *f, walk *x, walk *y)
{
    for (;;) {
        int a = next_leaf(f, x), b = next_leaf(f, y);
        COL_ASSERT((a < 0) == (b < 0));
        if (a < 0) return;
        if (a == b) continue;
        int64_t common = col_common_divisor(f->pieces.data[a].size, f->pieces.data[b].size);
        if (common == 1) {
            pass_over(f, x, a, y, b);
            continue;
        }
        a = cut(f, x, a, common);
        b = cut(f, y, b, common);
        unite(f, a, b);
    }
}

/* --- tensors ------------------------------------------------------------------------------------------ */

static struct entry *entry_of(const col_factors *f, const void *key)
{
    size_t at = (size_t)((uintptr_t)key >> 4) * (size_t)0x9E3779B97F4A7C15u;
    for (at ^= at >> 32;; at++) {
        struct entry *e = &f->table[at & (f->table_size - 1)];
        if (!e->key || e->key == key) return e;
    }
}

static void make_table(col_factors *f, size_t keys)
{
    for (f->table_size = 4; f->table_size < 2 * keys;) f->table_size *= 2;
    f->table = COL_NEW_ARRAY(f->arena, struct entry, f->table_size);
}

/* `own`: not the tensor that another slot has for the value. */
static int tensor_of_value(col_factors *f, const col_value *value, bool own)
{
    struct entry *e = entry_of(f, value);
    if (e->key && !own) return e->index;
    int at = (int)f->tensors.len;
    if (!e->key) *e = (struct entry){value, at};
    tensor t = {value, f->dims.len, -1};
    col_vec_push(f->arena, &f->tensors, t);
    for (int d = 0; d < value->type.shape.rank; d++) {
        int64_t size = value->type.shape.dims[d];
        dim made = {.piece = size == 1 ? -1 : add_piece(f, size, size == 0), .outermost = -1};
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
        *entry_of(f, node) = (struct entry){node, (int)n};
        for (uint32_t i = 0; i < node->operand_count; i++)
            slots[i] = tensor_of_value(f, col_node_operand(node, i), f->node_count == 1);
        for (uint32_t i = 0; i < node->result_count; i++)
            slots[node->operand_count + i] = tensor_of_value(f, &node->results[i], false);
    }
}

static size_t number_of(const col_factors *f, const col_node *node)
{
    const struct entry *e = entry_of(f, node);
    COL_ASSERT(e->key);
    return (size_t)e->index;
}

static const tensor *operand_tensor(const col_factors *f, const col_node *node, uint32_t operand)
{
    COL_ASSERT(operand < node->operand_count);
    return &f->tensors.data[f->slots[f->first_slot[number_of(f, node)] + operand]];
}

static tensor *tensor_of(const col_factors *f, const col_value *value)
{
    const struct entry *e = entry_of(f, value);
    COL_ASSERT(e->key);
    return &f->tensors.data[e->index];
}

/* --- relations ---------------------------------------------------------------------------------------- */

static tensor *slot_tensor(const col_factors *f, col_slot slot)
{
    COL_ASSERT(slot.node == f->nodes[f->at]);
    COL_ASSERT(slot.index < (slot.is_result ? slot.node->result_count : slot.node->operand_count));
    size_t at = f->first_slot[f->at] + slot.index + (slot.is_result ? slot.node->operand_count : 0);
    return &f->tensors.data[f->slots[at]];
}

static void mention(col_factors *f, const tensor *t, int from, int to)
{
    COL_ASSERT(0 <= from && to <= t->value->type.shape.rank);
    for (int d = from; d < to; d++) f->dims.data[t->first + (size_t)d].mention = f->at + 1;
}

static int64_t product(const tensor *t, int from, int to)
{
    int64_t size = 1;
    for (int d = from; d < to; d++) size *= t->value->type.shape.dims[d];
    return size;
}

static void make_whole(col_factors *f, const tensor *t, int from, int to)
{
    walk w = walk_dims(f, t, from, to);
    for (int at; (at = next_leaf(f, &w)) >= 0;) f->pieces.data[at].whole = true;
}

void col_factors_whole(col_factors *f, col_slot a, int dim)
{
    const tensor *t = slot_tensor(f, a);
    mention(f, t, dim, dim + 1);
    make_whole(f, t, dim, dim + 1);
}

void col_factors_regroup(col_factors *f, col_slot a, int a_from, int a_to, col_slot b, int b_from, int b_to)
{
    const tensor *s = slot_tensor(f, a), *t = slot_tensor(f, b);
    mention(f, s, a_from, a_to);
    mention(f, t, b_from, b_to);
    COL_ASSERT(product(s, a_from, a_to) == product(t, b_from, b_to));
    if (!product(s, a_from, a_to)) {
        make_whole(f, s, a_from, a_to);
        make_whole(f, t, b_from, b_to);
        return;
    }
    walk x = walk_dims(f, s, a_from, a_to), y = walk_dims(f, t, b_from, b_to);
    join(f, &x, &y);
}

void col_factors_same(col_factors *f, col_slot a, int a_dim, col_slot b, int b_dim)
{
    const tensor *s = slot_tensor(f, a), *t = slot_tensor(f, b);
    if (s->value->type.shape.dims[a_dim] != t->value->type.shape.dims[b_dim]) return;
    col_factors_regroup(f, a, a_dim, a_dim + 1, b, b_dim, b_dim + 1);
}

/* Cuts `parts` off a dimension. */
static int outer_part(col_factors *f, const tensor *t, int at, int64_t parts)
{
    int64_t size = t->value->type.shape.dims[at];
    COL_ASSERT(size % parts == 0);
    int outer = add_piece(f, parts, false);
    walk x = walk_dims(f, t, at, at + 1), y = {.count = 0};
    if (size != parts) y.pending[y.count++] = add_piece(f, size / parts, false);
    y.pending[y.count++] = outer;
    join(f, &x, &y);
    return outer;
}

void col_factors_same_outer(col_factors *f, col_slot a, int a_dim, col_slot b, int b_dim, int64_t parts)
{
    const tensor *s = slot_tensor(f, a), *t = slot_tensor(f, b);
    mention(f, s, a_dim, a_dim + 1);
    mention(f, t, b_dim, b_dim + 1);
    if (parts == 1 || !s->value->type.shape.dims[a_dim] || !t->value->type.shape.dims[b_dim]) return;
    walk x = {.pending = {outer_part(f, s, a_dim, parts)}, .count = 1};
    walk y = {.pending = {outer_part(f, t, b_dim, parts)}, .count = 1};
    join(f, &x, &y);
}

void col_factors_reduces(col_factors *f, col_slot operand, int dim, col_slot result, col_op kind)
{
    COL_ASSERT(kind == COL_OP_SUM || kind == COL_OP_MAX || kind == COL_OP_MIN);
    const tensor *t = slot_tensor(f, operand);
    tensor *made = slot_tensor(f, result);
    int at = f->dims.data[t->first + (size_t)dim].piece;
    mention(f, t, dim, dim + 1);
    if (at < 0) return;
    COL_ASSERT(made->reduced < 0 || f->reduced.data[made->reduced].kind == kind);
    reduced r = {at, made->reduced, kind};
    made->reduced = (int)f->reduced.len;
    col_vec_push(f->arena, &f->reduced, r);
}

void col_factors_looks_up(col_factors *f, col_slot a, int dim)
{
    lookup l = {f->at, slot_tensor(f, a)->first + (size_t)dim};
    col_vec_push(f->arena, &f->lookups, l);
}

/* What the node did not say of its operands cannot be split. */
static void hold_unmentioned(col_factors *f)
{
    const col_node *node = f->nodes[f->at];
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const tensor *t = slot_tensor(f, col_operand_slot(node, i));
        for (int d = 0; d < t->value->type.shape.rank; d++) {
            if (f->dims.data[t->first + (size_t)d].mention != f->at + 1) make_whole(f, t, d, d + 1);
        }
    }
}

/* --- factors ------------------------------------------------------------------------------------------ */

/* All that can be split of a piece. */
static int outermost_leaf(const col_factors *f, int at)
{
    walk w = {.pending = {at}, .count = 1};
    return next_leaf(f, &w);
}

/* A leaf that is not outermost where it stands, or that stands twice in one tensor, cannot be split.
 * `last_seen`: per piece, the tensor that it was last met in, counted from 1. */
static void hold_misplaced(col_factors *f, int *last_seen)
{
    for (size_t i = 0; i < f->tensors.len; i++) {
        const tensor *t = &f->tensors.data[i];
        for (int d = 0; d < t->value->type.shape.rank; d++) {
            walk w = walk_dims(f, t, d, d + 1);
            bool outermost = true;
            for (int leaf; (leaf = next_leaf(f, &w)) >= 0; outermost = false) {
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
        const tensor *t = &f->tensors.data[i];
        for (int r = t->reduced; r >= 0; r = f->reduced.data[r].next) {
            int over = outermost_leaf(f, f->reduced.data[r].piece);
            walk own = walk_dims(f, t, 0, t->value->type.shape.rank);
            for (int leaf; (leaf = next_leaf(f, &own)) >= 0;) {
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
        piece *leaf = &f->pieces.data[outermost_leaf(f, at)];
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
    return f->dims.data[tensor_of(f, value)->first + (size_t)dim].outermost;
}

/* --- strategies --------------------------------------------------------------------------------------- */

col_strategy col_strategy_replicated(void)
{
    col_strategy s;
    for (int a = 0; a < COL_MESH_RANK; a++) {
        s.factor[a] = -1;
        s.order[a] = (uint8_t)a;
    }
    return s;
}

bool col_strategy_is_valid(const col_factors *f, const col_strategy *s, const col_mesh *mesh)
{
    uint32_t ordered = 0;
    for (int a = 0; a < COL_MESH_RANK; a++) {
        int factor = s->factor[a];
        int64_t parts = 1;
        if (s->order[a] >= COL_MESH_RANK) return false;
        ordered |= UINT32_C(1) << s->order[a];
        if (factor < 0) continue;
        if (a >= mesh->rank || factor >= f->factor_count) return false;
        for (int other = 0; other < mesh->rank; other++) {
            if (s->factor[other] == factor) parts *= mesh->dims[other];
        }
        if (f->size[factor] % parts) return false;
    }
    return ordered == (UINT32_C(1) << COL_MESH_RANK) - 1;
}

static col_layout layout_of(const col_factors *f, const col_strategy *s, const tensor *t)
{
    col_layout layout = col_layout_whole();
    for (int d = 0; d < t->value->type.shape.rank; d++) {
        int factor = f->dims.data[t->first + (size_t)d].outermost;
        for (int i = 0; factor >= 0 && i < COL_MESH_RANK; i++) {
            if (s->factor[s->order[i]] == factor) col_layout_push(&layout, d, s->order[i]);
        }
    }
    return layout;
}

col_layout col_factors_operand_layout(const col_factors *f, const col_strategy *s, const col_node *node,
                                      uint32_t operand)
{
    return layout_of(f, s, operand_tensor(f, node, operand));
}

uint32_t col_factors_reduced_axes(const col_factors *f, const col_strategy *s, const col_value *result,
                                  col_op *out_kind)
{
    uint32_t axes = 0;
    *out_kind = COL_OP_SUM;
    for (int r = tensor_of(f, result)->reduced; r >= 0; r = f->reduced.data[r].next) {
        int factor = f->pieces.data[outermost_leaf(f, f->reduced.data[r].piece)].factor;
        *out_kind = f->reduced.data[r].kind;
        for (int a = 0; factor >= 0 && a < COL_MESH_RANK; a++) {
            if (s->factor[a] == factor) axes |= UINT32_C(1) << a;
        }
    }
    return axes;
}

col_layout col_factors_result_layout(const col_factors *f, const col_strategy *s, const col_value *result)
{
    col_layout layout = layout_of(f, s, tensor_of(f, result));
    col_op kind;
    uint32_t axes = col_factors_reduced_axes(f, s, result, &kind);
    if (kind == COL_OP_SUM) layout.partial = (uint8_t)axes;
    return layout;
}

static bool is_lookup(const col_factors *f, size_t node, size_t dim)
{
    for (size_t i = 0; i < f->lookups.len; i++) {
        if (f->lookups.data[i].node == (int)node && f->lookups.data[i].dim == dim) return true;
    }
    return false;
}

double col_factors_share(const col_factors *f, const col_strategy *s, const col_mesh *mesh,
                         const col_node *node)
{
    size_t n = number_of(f, node);
    uint32_t axes = 0;
    for (size_t i = f->first_slot[n]; i < f->first_slot[n + 1]; i++) {
        const tensor *t = &f->tensors.data[f->slots[i]];
        for (int d = 0; d < t->value->type.shape.rank; d++) {
            int factor = f->dims.data[t->first + (size_t)d].outermost;
            if (factor < 0 || is_lookup(f, n, t->first + (size_t)d)) continue;
            for (int a = 0; a < mesh->rank; a++) {
                if (s->factor[a] == factor) axes |= UINT32_C(1) << a;
            }
        }
    }
    double share = 1;
    for (int a = 0; a < mesh->rank; a++) {
        if (axes >> a & 1) share /= (double)mesh->dims[a];
    }
    return share;
}
