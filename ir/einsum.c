#include "ir/einsum.h"

#include <string.h>

#include "ir/ops/equation.h"
#include "ir/view.h"

static void append(char *letters, char c)
{
    size_t n = strlen(letters);
    COL_ASSERT(n < COL_MAX_RANK);
    letters[n] = c;
    letters[n + 1] = '\0';
}

col_einsum col_einsum_of(const col_node *node)
{
    bool adds = node->op == COL_OP_EINSUM_ADD;
    COL_ASSERT(adds || col_op_info_of(node->op)->op_class == COL_CLASS_CONTRACTION);
    uint32_t factors = adds;
    col_einsum e = {0};
    col_equation equation;
    COL_ASSERT(!col_equation_parse(col_node_text(node, COL_ATTR_EQUATION), &equation));
    memcpy(e.operands, equation.letters, sizeof e.operands);
    memcpy(e.result, equation.letters[2], sizeof e.result);
    for (int i = 0; i < 2; i++) {
        for (int d = 0; e.operands[i][d]; d++) {
            e.size[e.operands[i][d] - 'a'] =
                col_node_operand(node, factors + (uint32_t)i)->type.shape.dims[d];
        }
    }
    for (const char *c = e.result; *c; c++) {
        bool first = strchr(e.operands[0], *c), second = strchr(e.operands[1], *c);
        append(first && second ? e.batch : first ? e.rows : e.columns, *c);
    }
    for (const char *c = e.operands[0]; *c; c++) {
        if (!strchr(e.result, *c)) append(strchr(e.operands[1], *c) ? e.inner : e.first_only, *c);
    }
    for (const char *c = e.operands[1]; *c; c++) {
        if (!strchr(e.result, *c) && !strchr(e.operands[0], *c)) append(e.second_only, *c);
    }
    return e;
}

int64_t col_einsum_size(const col_einsum *e, const char *letters)
{
    int64_t size = 1;
    for (; *letters; letters++) size *= e->size[*letters - 'a'];
    return size;
}

void col_einsum_strides(const char *subscripts, const int64_t *strides, const char *letters,
                        int64_t *out_strides)
{
    for (int i = 0; letters[i]; i++) {
        const char *at = strchr(subscripts, letters[i]);
        out_strides[i] = at ? strides[at - subscripts] : 0;
    }
}

bool col_einsum_merge(const col_einsum *e, const char *subscripts, const int64_t *strides,
                      const char *letters, int64_t *out_size, int64_t *out_stride)
{
    col_shape shape = {.rank = (int)strlen(letters)};
    int64_t own[COL_MAX_RANK];
    for (int i = 0; i < shape.rank; i++) shape.dims[i] = e->size[letters[i] - 'a'];
    col_einsum_strides(subscripts, strides, letters, own);
    return col_strides_merge(shape, own, 0, shape.rank, out_size, out_stride);
}
