/* Indices of the values of a group: which dims of its domain the dims of a value run over (see group.c). */
#ifndef COL_IR_GROUP_INDEX_H
#define COL_IR_GROUP_INDEX_H

#include "ir/group.h"

typedef struct col_group_analysis {
    const col_group_query *query;
    col_group *group;
    int split_dim; /* domain dim to split; -1: none asked for */
    int64_t split_inner;
} col_group_analysis;

/* Runs of domain dims, one per dim of a value, gathered innermost first. */
typedef struct col_group_runs {
    int count[COL_MAX_RANK];
    uint8_t dims[COL_MAX_RANK][COL_DOMAIN_DIMS]; /* innermost first */
    int64_t offset[COL_MAX_RANK];
} col_group_runs;

col_index col_index_of_runs(const col_group_runs *r, int rank);
/* Run k is that of the index's dim j. */
void col_runs_copy(col_group_runs *to, int k, const col_index *from, int j);
/* Deals the domain dims of a sequence out to value dims [from, to) of the shape, innermost first. False when
 * a cut falls inside a domain dim; a->split_dim then says which one to split, if that helps. */
bool col_runs_deal(col_group_analysis *a, const uint8_t *sequence, int length, col_shape shape, int from,
                   int to, col_group_runs *out);

/* The index of an operand that is broadcast to the shape. */
col_index col_index_broadcast(col_shape shape, const col_index *index, col_shape operand);
/* The operand's index of a view, from the index of its result. False as above. */
bool col_index_of_view(col_group_analysis *a, const col_node *node, const col_value *result,
                       const col_index *index, col_index *out);

#endif
