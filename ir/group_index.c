/* Indices through views and broadcasts (see group_index.h). */
#include "ir/group_index.h"

#include "ir/view.h"

col_index col_index_of_runs(const col_group_runs *r, int rank)
{
    col_index index = {0};
    int at = 0;
    for (int k = 0; k < rank; k++) {
        index.first[k] = (uint8_t)at;
        for (int i = r->count[k] - 1; i >= 0; i--) index.dims[at++] = r->dims[k][i];
        index.offset[k] = r->offset[k];
    }
    index.first[rank] = (uint8_t)at;
    return index;
}

void col_runs_copy(col_group_runs *to, int k, const col_index *from, int j)
{
    to->count[k] = 0;
    for (int i = from->first[j + 1] - 1; i >= from->first[j]; i--)
        to->dims[k][to->count[k]++] = from->dims[i];
    to->offset[k] = from->offset[j];
}

static int64_t run_size(const col_group_analysis *a, const col_index *index, int k)
{
    int64_t size = 1;
    for (int i = index->first[k]; i < index->first[k + 1]; i++)
        size *= a->group->domain.sizes[index->dims[i]];
    return size;
}

bool col_runs_deal(col_group_analysis *a, const uint8_t *sequence, int length, col_shape shape, int from,
                   int to, col_group_runs *out)
{
    int at = length;
    for (int k = to - 1; k >= from; k--) {
        out->count[k] = 0;
        out->offset[k] = 0;
        int64_t left = shape.dims[k];
        while (left != 1) {
            if (at == 0) return false;
            int d = sequence[at - 1];
            int64_t size = a->group->domain.sizes[d];
            if (size == left) {
                left = 1;
            } else if (left && size && left % size == 0) {
                left /= size;
            } else {
                if (left && size && size % left == 0) {
                    a->split_dim = d;
                    a->split_inner = left;
                }
                return false;
            }
            out->dims[k][out->count[k]++] = (uint8_t)d;
            at--;
        }
    }
    return at == 0;
}

/* The index of a reshape's operand. Both shapes are cut into the smallest blocks of equal product; a dim with
 * an offset (or a part of its range) passes only as a block of its own. */
static bool reshape_index(col_group_analysis *a, col_shape shape, const col_index *index, col_shape operand,
                          col_index *out)
{
    col_group_runs r = {0};
    int i = 0, j = 0;
    while (i < shape.rank || j < operand.rank) {
        int i0 = i, j0 = j;
        int64_t n = i < shape.rank ? shape.dims[i++] : 1, m = j < operand.rank ? operand.dims[j++] : 1;
        while (n != m) {
            if (n < m ? i == shape.rank : j == operand.rank) return false; /* zero elements */
            if (n < m)
                n *= shape.dims[i++];
            else
                m *= operand.dims[j++];
        }
        while (i < shape.rank && shape.dims[i] == 1) i++;
        while (j < operand.rank && operand.dims[j] == 1) j++;
        int partial = -1;
        for (int k = i0; k < i; k++) {
            if (index->offset[k] || run_size(a, index, k) != shape.dims[k]) partial = k;
        }
        if (partial < 0) {
            if (!col_runs_deal(a, index->dims + index->first[i0], index->first[i] - index->first[i0], operand,
                               j0, j, &r))
                return false;
            continue;
        }
        int same = -1;
        for (int k = j0; k < j; k++) {
            if (operand.dims[k] == shape.dims[partial]) same = k;
        }
        if (same < 0 || n != shape.dims[partial]) return false;
        col_runs_copy(&r, same, index, partial);
    }
    *out = col_index_of_runs(&r, operand.rank);
    return true;
}

col_index col_index_broadcast(col_shape shape, const col_index *index, col_shape operand)
{
    col_index out = {0};
    for (int k = 0; k < operand.rank; k++) {
        int from = shape.rank - operand.rank + k;
        out.first[k + 1] = out.first[k];
        if (operand.dims[k] != shape.dims[from]) continue;
        for (int i = index->first[from]; i < index->first[from + 1]; i++)
            out.dims[out.first[k + 1]++] = index->dims[i];
        out.offset[k] = index->offset[from];
    }
    return out;
}

bool col_index_of_view(col_group_analysis *a, const col_node *node, const col_value *result,
                       const col_index *index, col_index *out)
{
    col_shape operand = col_node_operand(node, 0)->type.shape;
    col_view_map map;
    col_group_runs r = {0};
    if (!col_op_info_of(node->op)->view_map(node, result->index, &map))
        return reshape_index(a, result->type.shape, index, operand, out);
    for (int k = 0; k < operand.rank; k++) {
        if (map.from[k] >= 0) col_runs_copy(&r, k, index, map.from[k]);
        r.offset[k] += map.start[k];
    }
    *out = col_index_of_runs(&r, operand.rank);
    return true;
}
