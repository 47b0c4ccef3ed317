#include "runtime/pieces.h"

#include <string.h>

/* Groups. */

col_group col_group_of(const col_mesh *mesh, int64_t rank, size_t axis_count, const uint32_t *axes)
{
    col_group group = {.mesh = *mesh, .axis_count = axis_count, .axes = axes, .rank = rank, .size = 1};
    for (size_t i = 0; i < axis_count; i++) {
        int64_t size = mesh->dims[axes[i]];
        group.size *= size;
        group.self = group.self * size + col_mesh_coordinate(mesh, rank, (int)axes[i]);
    }
    return group;
}

int64_t col_group_member(const col_group *group, int64_t member)
{
    int64_t rank = group->rank;
    for (size_t i = group->axis_count; i-- > 0;) {
        int axis = (int)group->axes[i];
        int64_t stride = 1, size = group->mesh.dims[axis];
        for (int k = group->mesh.rank - 1; k > axis; k--) stride *= group->mesh.dims[k];
        rank += (member % size - col_mesh_coordinate(&group->mesh, group->rank, axis)) * stride;
        member /= size;
    }
    return rank;
}

int64_t col_group_partner(const col_group *group, int64_t places)
{
    int64_t before = -group->self, behind = group->size - 1 - group->self;
    return places >= before && places <= behind ? group->self + places : -1;
}

/* Pieces. */

/* Dimensions of size 1 go, and neighbours that are one run on both sides become one. */
static void merge(col_piece *piece)
{
    size_t kept = 0;
    for (size_t i = 0; i < piece->rank; i++) {
        if (piece->dims[i] == 1) continue;
        int64_t *dims = &piece->dims[kept], *from = &piece->from_strides[kept],
                *to = &piece->to_strides[kept];
        bool joins = kept && from[-1] == piece->from_strides[i] * piece->dims[i] &&
                     to[-1] == piece->to_strides[i] * piece->dims[i];
        if (joins) {
            dims[-1] *= piece->dims[i];
            from[-1] = piece->from_strides[i];
            to[-1] = piece->to_strides[i];
            continue;
        }
        dims[0] = piece->dims[i];
        from[0] = piece->from_strides[i];
        to[0] = piece->to_strides[i];
        kept++;
    }
    piece->rank = kept;
    piece->run = 1;
    if (kept && piece->from_strides[kept - 1] == 1 && piece->to_strides[kept - 1] == 1)
        piece->run = piece->dims[--piece->rank];
}

col_piece col_piece_of(const col_plan_instruction *in, int64_t n)
{
    const col_plan_view *from = in->reads[0], *to = in->writes[0];
    col_piece piece = {.element = col_plan_dtype_size(from->dtype), .rank = from->n_dims};
    int cut = -1, filled = -1; /* dimensions of `from` and of `to` in which pieces lie one after another */
    if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_SHARD) {
        cut = in->shard->dim;
    } else {
        const Col__Plan__Collective *how = in->collective;
        COL_ASSERT(how->kind != COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE);
        if (how->kind == COL__PLAN__COLLECTIVE_KIND__ALL_GATHER) filled = how->dim;
        if (how->kind == COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL) filled = how->from_dim;
        if (how->kind == COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL ||
            how->kind == COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER) {
            cut = how->dim;
        }
    }
    for (size_t i = 0; i < piece.rank; i++) {
        piece.dims[i] = (int)i == cut ? from->dims[i] / n : from->dims[i];
        piece.from_strides[i] = from->strides[i];
        piece.to_strides[i] = to->strides[i];
        if ((int)i == cut) piece.from_step = piece.dims[i] * from->strides[i];
        if ((int)i == filled) piece.to_step = piece.dims[i] * to->strides[i];
    }
    merge(&piece);
    return piece;
}

int64_t col_piece_numel(const col_piece *piece)
{
    return piece->run * col_plan_numel(piece->rank, piece->dims);
}

bool col_piece_next(const col_piece *piece, int64_t *index, int64_t *from, int64_t *to)
{
    for (size_t d = piece->rank; d-- > 0;) {
        *from += piece->from_strides[d];
        *to += piece->to_strides[d];
        if (++index[d] < piece->dims[d]) return true;
        *from -= piece->from_strides[d] * piece->dims[d];
        *to -= piece->to_strides[d] * piece->dims[d];
        index[d] = 0;
    }
    return false;
}

void col_piece_copy(const col_piece *piece, const void *from, void *to)
{
    int64_t index[COL_PLAN_MAX_RANK] = {0}, a = 0, b = 0, element = (int64_t)piece->element;
    do {
        memcpy((char *)to + b * element, (const char *)from + a * element, (size_t)(piece->run * element));
    } while (col_piece_next(piece, index, &a, &b));
}

/* The piece with contiguous memory on one side. */
static col_piece with_dense_side(const col_piece *piece, bool to_side)
{
    col_piece dense = *piece;
    int64_t stride = piece->run;
    for (size_t d = piece->rank; d-- > 0; stride *= piece->dims[d])
        (to_side ? dense.to_strides : dense.from_strides)[d] = stride;
    return dense;
}

void col_piece_pack(const col_piece *piece, const void *from, void *packed)
{
    col_piece dense = with_dense_side(piece, true);
    col_piece_copy(&dense, from, packed);
}

void col_piece_unpack(const col_piece *piece, const void *packed, void *to)
{
    col_piece dense = with_dense_side(piece, false);
    col_piece_copy(&dense, packed, to);
}

int64_t col_chunk_start(int64_t count, int64_t n, int64_t i)
{
    return count / n * i + COL_MIN(i, count % n);
}

uint64_t col_group_sent(const col_group *group, const col_plan_instruction *instruction)
{
    const Col__Plan__Collective *how = instruction->collective;
    const col_plan_view *from = instruction->reads[0];
    int64_t count = col_plan_numel(from->n_dims, from->dims), n = group->size, self = group->self;
    int64_t own = col_chunk_start(count, n, self + 1) - col_chunk_start(count, n, self), elements = 0;
    switch (how->kind) {
    case COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE: elements = (count - own) + (n - 1) * own; break;
    case COL__PLAN__COLLECTIVE_KIND__ALL_GATHER: elements = (n - 1) * count; break;
    case COL__PLAN__COLLECTIVE_KIND__BROADCAST: elements = self == how->root ? (n - 1) * count : 0; break;
    case COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE:
        elements = col_group_partner(group, how->shift) >= 0 ? count : 0;
        break;
    default: elements = (n - 1) * (count / n); break;
    }
    return (uint64_t)elements * col_plan_dtype_size(from->dtype);
}

/* Reductions. */

enum { BLOCK = 1024 }; /* elements reduced at a time, so that sums stay in the cache */

static float from_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* To the nearest, ties to even; a NaN keeps its sign and becomes quiet. */
static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#define SAME(x)       (x)
#define ADD(a, b)     ((a) + (b))
#define LARGER(a, b)  ((a) > (b) || (a) != (a) ? (a) : (b))
#define SMALLER(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
/* Integers wrap, as in kernels. */
#define WRAP32(a, b) ((int32_t)((uint32_t)(a) + (uint32_t)(b)))
#define WRAP64(a, b) ((int64_t)((uint64_t)(a) + (uint64_t)(b)))

#define FOLD(type, load, op)                                                                                 \
    for (int64_t k = 1; k < n; k++) {                                                                        \
        const type *source = (const type *)from[k] + at;                                                     \
        for (int64_t e = 0; e < size; e++) sum[e] = op(sum[e], load(source[e]));                             \
    }

/* `wide` is what sums are kept in. */
#define REDUCER(name, type, wide, load, store, add)                                                          \
    static void reduce_##name(Col__Plan__ReduceKind reduce, int64_t n, const void *const *from,              \
                              int64_t count, void *to)                                                       \
    {                                                                                                        \
        wide sum[BLOCK];                                                                                     \
        for (int64_t at = 0; at < count; at += BLOCK) {                                                      \
            int64_t size = COL_MIN(count - at, (int64_t)BLOCK);                                              \
            const type *first = (const type *)from[0] + at;                                                  \
            for (int64_t e = 0; e < size; e++) sum[e] = load(first[e]);                                      \
            if (reduce == COL__PLAN__REDUCE_KIND__SUM) {                                                     \
                FOLD(type, load, add)                                                                        \
            } else if (reduce == COL__PLAN__REDUCE_KIND__MAX) {                                              \
                FOLD(type, load, LARGER)                                                                     \
            } else {                                                                                         \
                FOLD(type, load, SMALLER)                                                                    \
            }                                                                                                \
            for (int64_t e = 0; e < size; e++) ((type *)to)[at + e] = store(sum[e]);                         \
        }                                                                                                    \
    }

REDUCER(f32, float, float, SAME, SAME, ADD)
REDUCER(f64, double, double, SAME, SAME, ADD)
REDUCER(f16, _Float16, float, (float), (_Float16), ADD)
REDUCER(bf16, uint16_t, float, from_bf16, to_bf16, ADD)
REDUCER(i32, int32_t, int32_t, SAME, SAME, WRAP32)
REDUCER(i64, int64_t, int64_t, SAME, SAME, WRAP64)

void col_reduce(Col__Plan__ReduceKind reduce, Col__Plan__Dtype dtype, int64_t n, const void *const *from,
                int64_t count, void *to)
{
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: reduce_f32(reduce, n, from, count, to); return;
    case COL__PLAN__DTYPE__F64: reduce_f64(reduce, n, from, count, to); return;
    case COL__PLAN__DTYPE__F16: reduce_f16(reduce, n, from, count, to); return;
    case COL__PLAN__DTYPE__BF16: reduce_bf16(reduce, n, from, count, to); return;
    case COL__PLAN__DTYPE__I32: reduce_i32(reduce, n, from, count, to); return;
    case COL__PLAN__DTYPE__I64: reduce_i64(reduce, n, from, count, to); return;
    default: COL_PANIC("a reduction of %s passed the verifier", col_plan_dtype_name(dtype));
    }
}
