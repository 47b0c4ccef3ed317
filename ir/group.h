/* Fused groups: can a set of nodes run as one loop nest, and what does the nest compute at each point?
 *
 * A group computes its values over an iteration domain: dims of given sizes, outer to inner, some of them
 * reduced. Every value is evaluated at an *index* into its shape that is a function of the point of the
 * domain: dim k of the value is at the row-major composition of a run of domain dims, plus an offset. Indices
 * flow from the values that the group must deliver (roots) back to what they are made of: broadcasting drops
 * dims, a transpose permutes them, a slice adds an offset, a reduction adds the reduced dims. A reshape cuts
 * runs anew; where a cut falls inside a domain dim, that dim is split and the analysis starts over. A cut
 * that falls nowhere (sizes 4 x 6 against 6 x 4) means that these nodes are no group.
 *
 * passes/fuse.c asks about candidates; codegen/kernel.c makes kernels of the answer. */
#ifndef COL_IR_GROUP_H
#define COL_IR_GROUP_H

#include "ir/graph.h"

enum { COL_DOMAIN_DIMS = 12 };

typedef struct col_domain {
    int rank;
    int64_t sizes[COL_DOMAIN_DIMS]; /* none is 1 */
    uint32_t reduced;               /* bit d: dim d is reduced */
} col_domain;

/* Dim k of a value is at offset[k] + the row-major composition of the domain dims dims[first[k] .. first[k +
 * 1]). */
typedef struct col_index {
    uint8_t first[COL_MAX_RANK + 1];
    uint8_t dims[COL_DOMAIN_DIMS];
    int64_t offset[COL_MAX_RANK];
} col_index;

typedef enum col_item_kind {
    COL_ITEM_LOAD,   /* a value from outside, read where the guards hold; otherwise operands[0] */
    COL_ITEM_GATHER, /* row operands[0] of a table from outside; the index gives the column alone */
    COL_ITEM_PICK,   /* the element of row-major number operands[0] of a value from outside */
    COL_ITEM_LINEAR, /* the row-major number of the element (in the whole of which the random node makes a
                        block, from operands[0] on), or its position along `axis` */
    COL_ITEM_FILL,   /* the constant `fill` */
    COL_ITEM_NODE,   /* the node's op applied to the operands, elementwise (random: seed, step, element) */
    COL_ITEM_REDUCE, /* the node's op over all reduced dims of operands[0] */
} col_item_kind;

/* Holds where low <= i[dim] < high; dim -1: i is 0. */
typedef struct col_item_guard {
    int dim;
    int64_t low, high;
} col_item_guard;

/* One evaluation of a value (or of part of a concat or pad) at an index. */
typedef struct col_item {
    col_item_kind kind;
    const col_node *node;   /* NODE, REDUCE, LINEAR of random numbers */
    const col_value *value; /* what is evaluated; of LOAD and GATHER: what is read, possibly virtual */
    col_index index;
    int operands[3]; /* earlier items; -1: none */
    int axis;        /* LINEAR: -1 for all */
    double fill;
    col_dtype dtype; /* of the result */
    bool is_again;   /* the value is evaluated at another index, too */
    int guard_count;
    const col_item_guard *guards;
} col_item;

/* A value that the group delivers: `item`, written at `index` of the value. */
typedef struct col_root {
    const col_value *value;
    col_index index;
    int item;
} col_root;

/* An evaluation done: an item of a value at an index. */
typedef struct col_known {
    const col_value *value;
    col_index index;
    int item, next; /* next of the same slot; -1: none */
} col_known;

/* Zero-initialise; its storage is used again by further analyses. */
typedef struct col_group {
    col_arena *arena;
    col_domain domain;
    COL_VEC(col_item) items; /* operands before users */
    COL_VEC(col_root) roots;
    COL_VEC(col_known) known; /* evaluations done, and a hash table of them by value */
    int *table;
    size_t table_size;
} col_group;

/* Which nodes are in: those with `node->group == group`, and whatever of `inlined` (by node id; may be NULL)
 * they use, which is computed on the spot and never delivered. `is_output` (by value id; may be NULL: ask the
 * graph) tells graph outputs. */
typedef struct col_group_query {
    int32_t group;
    const bool *inlined;
    const bool *is_output;
} col_group_query;

/* Whether a node may be in a group at all: elementwise ops, sources, reductions, moves, and views that are
 * real copies (virtual ones may, too, but then compute nothing). */
bool col_node_is_fusible(const col_node *node);

/* Whether operand `index` of a fusible node must be read from memory: parts of a concat, padded values,
 * tables. */
bool col_operand_is_read(const col_node *user, uint32_t index);

/* True when something outside the group needs the value's bytes: another node (through views and inlined
 * nodes), a graph output. */
bool col_value_leaves_group(const col_value *value, const col_group_query *query);

/* Analyses `n` nodes in data-flow order, all of whose `group` is `query->group`. False: they are no group.
 * The result is in `out->arena` and valid until the next analysis into it. A single fusible node always is a
 * group. */
bool col_group_analyze(const col_node *const *nodes, size_t n, const col_group_query *query, col_group *out);

/* Bit d is set when the index depends on domain dim d. */
uint32_t col_index_dims(const col_index *index, int rank);

#endif
