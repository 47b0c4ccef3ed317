/* What of the factors of a unit is known while they are found: pieces, tensors and what nodes say of them (see
 * factors.c and factors_pieces.c). */
#ifndef COL_IR_FACTORS_MODEL_H
#define COL_IR_FACTORS_MODEL_H

#include "ir/factors.h"

enum { COL_FACTOR_PENDING = COL_MAX_RANK + 64 }; /* every cut at least halves a size */

typedef struct col_factor_piece {
    int64_t size;
    int parent;       /* itself: a root */
    int outer, inner; /* of a root that was cut; -1: it is not */
    int factor;       /* of a leaf, when all relations are known; -1: it cannot be split */
    bool whole;       /* never split */
} col_factor_piece;

/* A value's dimensions stand at dims[first ..]. */
typedef struct col_factor_tensor {
    const col_value *value;
    size_t first;
    int reduced; /* first of `reduced` whose result it is; -1: none */
} col_factor_tensor;

typedef struct col_factor_dim {
    int piece;     /* -1: size 1 */
    int outermost; /* its outermost factor; -1: none that can be split */
    int mention;   /* the node, counted from 1, whose relations last mentioned it */
} col_factor_dim;

/* A piece that a node sums (or MAX, MIN) over. */
typedef struct col_factor_reduced {
    int piece, next;
    col_op kind;
} col_factor_reduced;

/* A dimension that a node goes through by content, not by index. */
typedef struct col_factor_lookup {
    int node;
    size_t dim;
} col_factor_lookup;

struct col_factors {
    col_arena *arena;
    const col_node *const *nodes;
    size_t node_count;
    size_t *first_slot; /* of a node: operands, then results */
    int *slots;         /* slot to tensor */
    COL_VEC(col_factor_tensor) tensors;
    COL_VEC(col_factor_dim) dims;
    COL_VEC(col_factor_piece) pieces;
    COL_VEC(col_factor_reduced) reduced;
    COL_VEC(col_factor_lookup) lookups;
    int at; /* the node whose relations are being stated */
    /* From the address of a value to its first tensor, and of a node to its number. */
    struct col_factor_entry {
        const void *key;
        int index;
    } * table;
    size_t table_size; /* a power of two */
    int factor_count;
    int64_t *size; /* by factor */
};

/* The leaves of a run, outermost first. Cuts made while it is walked are seen. */
typedef struct col_factor_walk {
    int pending[COL_FACTOR_PENDING], count;
} col_factor_walk;

int col_pieces_add(col_factors *f, int64_t size, bool whole);
col_factor_walk col_pieces_walk(const col_factors *f, const col_factor_tensor *t, int from, int to);
int col_pieces_next(const col_factors *f, col_factor_walk *w); /* -1: the end */
/* Two runs of one product are the same elements in the same order. */
void col_pieces_join(col_factors *f, col_factor_walk *x, col_factor_walk *y);
int col_pieces_outermost(const col_factors *f, int at); /* all that can be split of a piece */

size_t col_factors_number(const col_factors *f, const col_node *node);
col_factor_tensor *col_factors_tensor(const col_factors *f, const col_value *value);

#endif
