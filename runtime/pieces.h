/* How collectives cut tensors, for any transport.
 *
 * A group is a list of ranks that differ only in their coordinates along some axes of the mesh, in the order
 * of these coordinates, the first axis slowest. All that the member s sends to the member t is one piece: a
 * box of s's tensor at s's place for t, that goes into a box of t's tensor at t's place for s:
 *
 *                     from_step               to_step
 *     all-gather      0 (all of it)           a block of dim
 *     reduce-scatter  a block of dim          0: the pieces are summed
 *     all-to-all      a block of dim          a block of from_dim
 *     broadcast       0 (all of it)           0: the root's piece alone
 *     shard           a block of dim          0: the rank's own piece alone
 *
 * A send-receive is of whole tensors, without pieces. An all-reduce works on the flat tensor instead, cut
 * into nearly equal chunks. */
#ifndef COL_RUNTIME_PIECES_H
#define COL_RUNTIME_PIECES_H

#include "ir/plan/plan.h"

typedef struct col_group {
    col_mesh mesh;
    size_t axis_count;
    const uint32_t *axes;
    int64_t rank;       /* in the mesh, of the one who asks */
    int64_t size, self; /* members, and which of them asks */
} col_group;

col_group col_group_of(const col_mesh *mesh, int64_t rank, size_t axis_count, const uint32_t *axes);
/* The rank in the mesh of a member. */
int64_t col_group_member(const col_group *group, int64_t member);
/* The member that stands so many places after (before, if negative) the one who asks; -1: there is none. */
int64_t col_group_partner(const col_group *group, int64_t places);

/* A box as runs of contiguous elements. Steps, strides and runs are in elements. */
typedef struct col_piece {
    size_t element;             /* bytes */
    int64_t from_step, to_step; /* between the places for one member and the next */
    int64_t run;                /* elements that are contiguous on both sides */
    size_t rank;                /* of the dimensions above runs */
    int64_t dims[COL_PLAN_MAX_RANK], from_strides[COL_PLAN_MAX_RANK], to_strides[COL_PLAN_MAX_RANK];
} col_piece;

/* Of a Shard, or of a Collective that is no all-reduce, in a group of n. */
col_piece col_piece_of(const col_plan_instruction *instruction, int64_t n);
int64_t col_piece_numel(const col_piece *piece);
/* The next run: `index`, `*from` and `*to` start at zero. False after the last. */
bool col_piece_next(const col_piece *piece, int64_t *index, int64_t *from, int64_t *to);
/* Copies one piece; the addresses are those of its first elements. */
void col_piece_copy(const col_piece *piece, const void *from, void *to);
/* To and from contiguous memory. */
void col_piece_pack(const col_piece *piece, const void *from, void *packed);
void col_piece_unpack(const col_piece *piece, const void *packed, void *to);

/* Bytes that the one who asks sends in its group's collective: its share of col_plan_collective_bytes. */
uint64_t col_group_sent(const col_group *group, const col_plan_instruction *instruction);

/* First element of chunk i of n of `count` elements; chunk n starts at the end. */
int64_t col_chunk_start(int64_t count, int64_t n, int64_t i);

/* to[e] = from[0][e] + from[1][e] + ..., in this order; sums of f16 and bf16 are of f32 and rounded once, and
 * a NaN stays one under max and min. `to` may be one of the sources. */
void col_reduce(Col__Plan__ReduceKind reduce, Col__Plan__Dtype dtype, int64_t n, const void *const *from,
                int64_t count, void *to);

#endif
