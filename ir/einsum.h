/* The matrix product inside an einsum: its letters by role. */
#ifndef COL_IR_EINSUM_H
#define COL_IR_EINSUM_H

#include "ir/graph.h"

/* Letters of a two-operand einsum "abc,cd->abd", by where they stand:
 *   batch    in both operands and the result
 *   rows     in the first operand and the result
 *   columns  in the second operand and the result
 *   inner    in both operands, summed
 *   first_only, second_only   in one operand alone: summed before the product
 * Batch, rows and columns keep the result's order; inner the first operand's. */
typedef struct col_einsum {
    char operands[2][COL_MAX_RANK + 1], result[COL_MAX_RANK + 1];
    char batch[COL_MAX_RANK + 1], rows[COL_MAX_RANK + 1], columns[COL_MAX_RANK + 1], inner[COL_MAX_RANK + 1];
    char first_only[COL_MAX_RANK + 1], second_only[COL_MAX_RANK + 1];
    int64_t size[26]; /* by letter - 'a' */
} col_einsum;

/* The node must be verified: an einsum or a product with an epilogue, or einsum_add, of which the last two operands are
 * the product's. */
col_einsum col_einsum_of(const col_node *node);
/* Product of the letters' sizes. */
int64_t col_einsum_size(const col_einsum *e, const char *letters);
/* The strides that `letters` have in an operand or the result (`subscripts`) with the given strides, 0 where
 * absent. */
void col_einsum_strides(const char *subscripts, const int64_t *strides, const char *letters,
                        int64_t *out_strides);
/* Merges the letters into one size and stride; false when no single stride walks them. */
bool col_einsum_merge(const col_einsum *e, const char *subscripts, const int64_t *strides,
                      const char *letters, int64_t *out_size, int64_t *out_stride);

#endif
