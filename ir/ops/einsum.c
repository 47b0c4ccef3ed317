/* Einstein summation over two operands: every matrix product of the IR. */
#include "ir/ops/equation.h"
#include "ir/ops/family.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *col_equation_parse(const char *text, col_equation *out_equation)
{
    col_equation e = {0};
    int part = 0;
    for (const char *p = text; *p; p++) {
        if (*p == ' ') continue;
        if (*p == ',' && part == 0) {
            part = 1;
        } else if (p[0] == '-' && p[1] == '>' && part == 1) {
            part = 2;
            p++;
        } else if (!isalpha((unsigned char)*p)) {
            return "it should read like \"btc,cn->btn\"";
        } else if (e.rank[part] == COL_MAX_RANK) {
            return "a tensor has at most 8 dimensions";
        } else if (strchr(e.letters[part], *p)) {
            return "a letter repeats within one tensor (diagonals are not supported)";
        } else {
            e.letters[part][e.rank[part]++] = *p;
        }
    }
    if (part != 2) return "it should read like \"btc,cn->btn\"";
    for (const char *p = e.letters[2]; *p; p++) {
        if (!strchr(e.letters[0], *p) && !strchr(e.letters[1], *p))
            return "a letter of the result is in no operand";
    }
    *out_equation = e;
    return NULL;
}

const char *col_equation_print(char out[COL_EQUATION_SIZE], const char *x, const char *y, const char *z)
{
    snprintf(out, COL_EQUATION_SIZE, "%s,%s->%s", x, y, z);
    return out;
}

/* The size of the dimension that a letter names in operand `operand`; -1 when it does not occur there. */
static int64_t letter_size(const col_equation *e, const col_node *node, int operand, char letter)
{
    const char *at = strchr(e->letters[operand], letter);
    return at ? operand_type(node, (uint32_t)operand).shape.dims[at - e->letters[operand]] : -1;
}

bool col_infer_einsum(col_node *node, col_diags *diags)
{
    col_equation e;
    const char *text = col_node_text(node, COL_ATTR_EQUATION), *fault = col_equation_parse(text, &e);
    if (fault) return col_op_fault(node, diags, "equation \"%s\": %s", text, fault);
    if (!col_op_want_same(node, diags, 0, 1) || !col_op_want_float(node, diags, 0, "the first operand"))
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        col_type type = operand_type(node, i);
        if (type.shape.rank == e.rank[i]) continue;
        return col_op_fault(node, diags, "operand %u, %s, has %d dimensions; \"%s\" gives it %d letters",
                            i + 1, col_op_type_text(diags, type), type.shape.rank, text, e.rank[i]);
    }
    for (const char *p = e.letters[0]; *p; p++) {
        int64_t x = letter_size(&e, node, 0, *p), y = letter_size(&e, node, 1, *p);
        if (y < 0 || x == y) continue;
        return col_op_fault(node, diags, "in \"%s\" the dimension '%c' is %lld in %s and %lld in %s", text,
                            *p, (long long)x, col_op_type_text(diags, operand_type(node, 0)), (long long)y,
                            col_op_type_text(diags, operand_type(node, 1)));
    }
    col_shape shape = {.rank = e.rank[2]};
    for (int i = 0; i < shape.rank; i++) {
        int64_t x = letter_size(&e, node, 0, e.letters[2][i]);
        shape.dims[i] = x >= 0 ? x : letter_size(&e, node, 1, e.letters[2][i]);
    }
    return col_op_result(node, 0, operand_type(node, 0).dtype, shape);
}
