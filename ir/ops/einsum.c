/* Einstein summation over two operands: every matrix product of the IR. */
#include "ir/einsum.h"
#include "ir/ops/equation.h"
#include "ir/factors.h"
#include "ir/ops/family.h"

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
        } else if (*p < 'a' || *p > 'z') {
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

/* Number of the product's first operand: behind the base of einsum_add. */
static uint32_t first_factor(const col_node *node)
{
    return node->op == COL_OP_EINSUM_ADD;
}

/* The size of the dimension that a letter names in operand `operand` of the product; -1 when it does not occur there. */
static int64_t letter_size(const col_equation *e, const col_node *node, int operand, char letter)
{
    const char *at = strchr(e->letters[operand], letter);
    return at ? operand_type(node, first_factor(node) + (uint32_t)operand)
                    .shape.dims[at - e->letters[operand]]
              : -1;
}

/* The type of the product of the last two operands. */
static bool infer_product(col_node *node, col_diags *diags, col_type *out)
{
    col_equation e;
    const char *text = col_node_text(node, COL_ATTR_EQUATION), *fault = col_equation_parse(text, &e);
    uint32_t first = first_factor(node);
    if (fault) return col_op_fault(node, diags, "equation \"%s\": %s", text, fault);
    if (!col_op_want_same(node, diags, first, first + 1) ||
        !col_op_want_float(node, diags, first, first ? "the second operand" : "the first operand"))
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        col_type type = operand_type(node, first + i);
        if (type.shape.rank == e.rank[i]) continue;
        return col_op_fault(node, diags, "operand %u, %s, has %d dimensions; \"%s\" gives it %d letters",
                            first + i + 1, col_op_type_text(diags, type), type.shape.rank, text, e.rank[i]);
    }
    for (const char *p = e.letters[0]; *p; p++) {
        int64_t x = letter_size(&e, node, 0, *p), y = letter_size(&e, node, 1, *p);
        if (y < 0 || x == y) continue;
        return col_op_fault(node, diags, "in \"%s\" the dimension '%c' is %lld in %s and %lld in %s", text,
                            *p, (long long)x, col_op_type_text(diags, operand_type(node, first)),
                            (long long)y, col_op_type_text(diags, operand_type(node, first + 1)));
    }
    *out = (col_type){operand_type(node, first).dtype, {.rank = e.rank[2]}};
    for (int i = 0; i < e.rank[2]; i++) {
        int64_t x = letter_size(&e, node, 0, e.letters[2][i]);
        out->shape.dims[i] = x >= 0 ? x : letter_size(&e, node, 1, e.letters[2][i]);
    }
    return true;
}

bool col_infer_einsum(col_node *node, col_diags *diags)
{
    col_type type;
    return infer_product(node, diags, &type) && col_op_result(node, 0, type.dtype, type.shape);
}

bool col_infer_einsum_add(col_node *node, col_diags *diags)
{
    col_type type, base = operand_type(node, 0);
    if (!infer_product(node, diags, &type)) return false;
    bool fits = base.dtype == COL_F32 || base.dtype == type.dtype;
    if (!fits || !col_shape_equal(base.shape, type.shape))
        return col_op_fault(node, diags, "the product, %s, cannot be added to %s",
                            col_op_type_text(diags, type), col_op_type_text(diags, base));
    return col_op_result(node, 0, base.dtype, base.shape);
}

/* --- gradient ----------------------------------------------------------------------------------------- */

/* The gradient of operand `own` is again an einsum, of the result's gradient and the other operand. Letters
 * that neither of the two has were summed over `own` alone: the gradient repeats along them. */
static col_value *operand_gradient(col_builder *b, const col_node *node, const col_equation *e, int own,
                                   col_value *dy)
{
    int other = 1 - own, count = 0;
    char letters[COL_MAX_RANK + 1] = {0}, text[COL_EQUATION_SIZE];
    col_shape shape = operand_type(node, (uint32_t)own).shape, aligned = shape;
    for (int i = 0; i < e->rank[own]; i++) {
        char letter = e->letters[own][i];
        if (strchr(e->letters[2], letter) || strchr(e->letters[other], letter))
            letters[count++] = letter;
        else
            aligned.dims[i] = 1;
    }
    /* Operands keep their sides, so that the product's shape stays the one its author thought of. */
    col_value *partner = col_node_operand(node, (uint32_t)other);
    col_value *product =
        own == 0 ? col_build_einsum(b, col_equation_print(text, e->letters[2], e->letters[1], letters), dy,
                                    partner)
                 : col_build_einsum(b, col_equation_print(text, e->letters[0], e->letters[2], letters),
                                    partner, dy);
    return col_build_broadcast(b, col_build_reshape(b, product, aligned), shape);
}

void col_grad_einsum(col_builder *b, col_node *node, col_value *const *dy, const bool *wanted, col_value **dx)
{
    col_equation e;
    COL_ASSERT(!col_equation_parse(col_node_text(node, COL_ATTR_EQUATION), &e));
    for (int i = 0; i < 2; i++) {
        if (wanted[i]) dx[i] = operand_gradient(b, node, &e, i, dy[0]);
    }
}

/* --- splitting over a mesh ---------------------------------------------------------------------------- */

/* A letter is a factor; those that the result lacks are summed. */
static void relate(col_factors *f, const col_node *node, bool sums)
{
    uint32_t first = first_factor(node);
    col_equation e;
    COL_ASSERT(!col_equation_parse(col_node_text(node, COL_ATTR_EQUATION), &e));
    col_slot y = col_result_slot(node, 0);
    for (uint32_t i = 0; i < 2; i++) {
        col_slot x = col_operand_slot(node, first + i);
        for (int d = 0; d < e.rank[i]; d++) {
            const char *result = strchr(e.letters[2], e.letters[i][d]);
            const char *other = strchr(e.letters[1 - i], e.letters[i][d]);
            if (other) {
                int at = (int)(other - e.letters[1 - i]);
                col_factors_same(f, x, d, col_operand_slot(node, first + 1 - i), at);
            }
            if (result)
                col_factors_same(f, x, d, y, (int)(result - e.letters[2]));
            else if (sums)
                col_factors_reduces(f, x, d, y, COL_OP_SUM);
            else
                col_factors_whole(f, x, d);
        }
    }
}

void col_relate_einsum(col_factors *f, const col_node *node)
{
    relate(f, node, true);
}

/* Inner letters stay whole: of partial sums only one could have the base. */
void col_relate_einsum_add(col_factors *f, const col_node *node)
{
    relate(f, node, false);
    for (int d = 0; d < node->results[0].type.shape.rank; d++)
        col_factors_same(f, col_operand_slot(node, 0), d, col_result_slot(node, 0), d);
}

/* --- reference evaluation ----------------------------------------------------------------------------- */

/* Copies an operand (or, with `back`, the packed result) between its own layout and the letters of `order`,
 * in row-major order; letters in none of them are summed. */
static void pack(const char *subscripts, col_tensor tensor, const char *const order[3], double *packed,
                 bool back)
{
    int64_t own[COL_MAX_RANK], strides[COL_MAX_RANK] = {0}, stride = 1;
    col_shape_strides(tensor.type.shape, own);
    for (int c = 2; c >= 0; c--) {
        for (size_t i = strlen(order[c]); i-- > 0;) {
            ptrdiff_t axis = strchr(subscripts, order[c][i]) - subscripts;
            strides[axis] = stride;
            stride *= tensor.type.shape.dims[axis];
        }
    }
    if (back) {
        col_walk(tensor.type.shape, tensor.data, own, packed, strides, COL_WALK_SET);
        return;
    }
    memset(packed, 0, sizeof *packed * (size_t)stride);
    col_walk(tensor.type.shape, packed, strides, tensor.data, own, COL_WALK_ADD);
}

/* z[m,n] = sum_k x[m,k] y[k,n], in blocks whose part of y stays in cache. */
static void multiply(int64_t m, int64_t n, int64_t k, const double *restrict x, const double *restrict y,
                     double *restrict z)
{
    enum { BLOCK_K = 64, BLOCK_N = 256 };
    memset(z, 0, sizeof *z * (size_t)(m * n));
    for (int64_t k0 = 0; k0 < k; k0 += BLOCK_K) {
        int64_t k1 = COL_MIN(k, k0 + BLOCK_K);
        for (int64_t n0 = 0; n0 < n; n0 += BLOCK_N) {
            int64_t width = COL_MIN(n, n0 + BLOCK_N) - n0;
            for (int64_t i = 0; i < m; i++) {
                double *restrict row = z + i * n + n0;
                for (int64_t l = k0; l < k1; l++) {
                    double factor = x[i * k + l];
                    const double *restrict from = y + l * n + n0;
                    for (int64_t j = 0; j < width; j++) row[j] += factor * from[j];
                }
            }
        }
    }
}

void col_eval_einsum(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_einsum e = col_einsum_of(node);
    int64_t batch = col_einsum_size(&e, e.batch), m = col_einsum_size(&e, e.rows);
    int64_t n = col_einsum_size(&e, e.columns), k = col_einsum_size(&e, e.inner);
    double *x = col_eval_alloc(batch * m * k), *y = col_eval_alloc(batch * k * n);
    double *z = col_eval_alloc(batch * m * n);
    pack(e.operands[0], operands[0], (const char *const[]){e.batch, e.rows, e.inner}, x, false);
    pack(e.operands[1], operands[1], (const char *const[]){e.batch, e.inner, e.columns}, y, false);
    for (int64_t i = 0; i < batch; i++) multiply(m, n, k, x + i * m * k, y + i * k * n, z + i * m * n);
    pack(e.result, results[0], (const char *const[]){e.batch, e.rows, e.columns}, z, true);
    free(x);
    free(y);
    free(z);
}

void col_eval_einsum_add(const col_node *node, const col_tensor *operands, col_tensor *results)
{
    col_eval_einsum(node, operands + 1, results);
    int64_t count = col_shape_numel(results[0].type.shape);
    for (int64_t i = 0; i < count; i++) results[0].data[i] += operands[0].data[i];
}

col_work col_work_einsum(const col_node *node)
{
    col_einsum e = col_einsum_of(node);
    double products =
        (double)col_shape_numel(node->results[0].type.shape) * (double)col_einsum_size(&e, e.inner);
    return (col_work){COL_WORK_PRODUCT, 2 * products};
}
