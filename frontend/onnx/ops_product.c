/* Matrix products, by einsum. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "frontend/onnx/node.h"

/* Broadcasts the leading `batch.rank` axes. */
static col_value *with_batch(col_onnx_node *n, col_value *x, col_shape batch)
{
    int rank = x->type.shape.rank;
    col_shape shape = batch;
    for (int i = 2; i > 0; i--) shape.dims[shape.rank++] = x->type.shape.dims[rank - i];
    return col_onnx_broadcast(n, x, shape);
}

static col_shape batch_of(col_shape shape)
{
    shape.rank -= 2;
    return col_shape_make(shape.rank, shape.dims);
}

/* NumPy's matmul of operands with two axes or more. */
static col_value *multiply(col_onnx_node *n, col_value *x, col_value *y)
{
    col_shape batch;
    if (!col_shape_broadcast(batch_of(x->type.shape), batch_of(y->type.shape), &batch)) {
        col_onnx_fault(n, "the operands' leading dimensions do not broadcast");
        return NULL;
    }
    char equation[4 * COL_MAX_RANK], letters[COL_MAX_RANK + 1] = "abcdefgh";
    bool single = y->type.shape.rank == 2; /* a matrix for the whole batch */
    letters[batch.rank] = '\0';
    x = with_batch(n, x, batch);
    if (!single) y = with_batch(n, y, batch);
    snprintf(equation, sizeof equation, "%sxy,%syz->%sxz", letters, single ? "" : letters, letters);
    return col_onnx_einsum(n, equation, x, y);
}

void col_onnx_op_matmul(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0), *y = col_onnx_input(n, 1);
    if (!x || !y) return;
    col_shape a = x->type.shape, b = y->type.shape;
    if (!a.rank || !b.rank) {
        col_onnx_fault(n, "an operand is a scalar");
        return;
    }
    /* A vector is a row on the left and a column on the right; its 1 is not in the result. */
    if (a.rank == 1) x = col_onnx_reshape(n, x, col_onnx_with_axis(a, 0, 1));
    if (b.rank == 1) y = col_onnx_reshape(n, y, col_onnx_with_axis(b, 1, 1));
    col_value *product = multiply(n, x, y);
    if (!product) return;
    col_shape shape = product->type.shape, kept = {0};
    for (int i = 0; i < shape.rank; i++) {
        bool gone = (a.rank == 1 && i == shape.rank - 2) || (b.rank == 1 && i == shape.rank - 1);
        if (!gone) kept.dims[kept.rank++] = shape.dims[i];
    }
    n->outputs[0] = col_onnx_reshape(n, product, kept);
}

/* alpha A' B' + beta C, transposed where asked for */
void col_onnx_op_gemm(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *a = col_onnx_input(n, 0), *b = col_onnx_input(n, 1), *c = col_onnx_maybe(n, 2);
    if (!a || !b) return;
    double alpha = col_onnx_float(n, "alpha", 1), beta = col_onnx_float(n, "beta", 1);
    char equation[16];
    snprintf(equation, sizeof equation, "%s,%s->mn", col_onnx_int(n, "transA", 0) ? "km" : "mk",
             col_onnx_int(n, "transB", 0) ? "nk" : "kn");
    col_value *y = col_onnx_einsum(n, equation, a, b);
    if (alpha != 1) y = col_onnx_binary_number(n, COL_OP_MUL, y, alpha);
    if (c) {
        if (beta != 1) c = col_onnx_binary_number(n, COL_OP_MUL, c, beta);
        y = col_onnx_binary(n, COL_OP_ADD, y, c);
    }
    n->outputs[0] = y;
}

/* An equation with letters of its own for every axis: those of "..." are numbered from the right. */
enum { OPERANDS = 8 };
typedef struct equation {
    char terms[OPERANDS + 1][COL_MAX_RANK + 1]; /* of the operands, then of the result */
    uint32_t count;
    char symbols[26]; /* what the letters a, b, ... stand for */
    int symbol_count;
} equation;

static char letter_for(equation *e, char symbol)
{
    for (int i = 0; i < e->symbol_count; i++) {
        if (e->symbols[i] == symbol) return (char)('a' + i);
    }
    if (e->symbol_count == 26) return 0;
    e->symbols[e->symbol_count] = symbol;
    return (char)('a' + e->symbol_count++);
}

/* Reads one term; `dots` is how many axes its "..." stands for. False for one that is malformed. */
static bool read_term(equation *e, const char *text, size_t size, int dots, char *out)
{
    size_t length = 0;
    for (size_t i = 0; i < size; i++) {
        if (size - i >= 3 && !strncmp(text + i, "...", 3)) {
            for (int k = dots; k > 0; k--) {
                if (length == COL_MAX_RANK || !(out[length++] = letter_for(e, (char)k))) return false;
            }
            i += 2;
            continue;
        }
        if (!isalpha((unsigned char)text[i])) return false;
        char letter = letter_for(e, text[i]);
        if (!letter || length == COL_MAX_RANK || memchr(out, letter, length)) return false;
        out[length++] = letter;
    }
    return true;
}

static int letters_in(const char *text, size_t size)
{
    int count = 0;
    for (size_t i = 0; i < size; i++) count += text[i] != '.';
    return count;
}

static bool read_equation(col_onnx_node *n, char *text, equation *e)
{
    size_t length = 0;
    for (const char *at = text; *at; at++) {
        if (*at != ' ') text[length++] = *at;
    }
    text[length] = '\0';
    char *arrow = strstr(text, "->"), *at = text;
    int most_dots = 0;
    *e = (equation){.count = n->input_count};
    if (arrow) *arrow = '\0';
    for (uint32_t i = 0; i < e->count; i++) {
        (void)col_onnx_input(n, i);
        size_t size = strcspn(at, ",");
        int dots = n->inputs[i] ? n->inputs[i]->type.shape.rank - letters_in(at, size) : -1;
        bool has_dots = memchr(at, '.', size) != NULL;
        if (dots < 0 || (dots && !has_dots) || !read_term(e, at, size, dots, e->terms[i])) return false;
        most_dots = COL_MAX(most_dots, dots);
        if ((at[size] == ',') != (i + 1 < e->count)) return false;
        at += size + 1;
    }
    if (arrow) return read_term(e, arrow + 2, strlen(arrow + 2), most_dots, e->terms[e->count]);
    /* Without a result: the axes of "...", then what occurs once, in alphabetical order. */
    char result[80];
    size_t used = most_dots ? 3 : 0;
    memcpy(result, "...", 3);
    for (int symbol = 'A'; symbol <= 'z'; symbol++) {
        int times = 0;
        for (const char *p = text; *p; p++) times += *p == symbol && isalpha(symbol);
        if (times == 1) result[used++] = (char)symbol;
    }
    return read_term(e, result, used, most_dots, e->terms[e->count]);
}

/* The letters of a and b that a later term has. */
static void keep_letters(const equation *e, const char *a, const char *b, uint32_t later, char *out)
{
    size_t length = 0;
    for (int i = 0; i < 26; i++) {
        char letter = (char)('a' + i);
        bool here = strchr(a, letter) || strchr(b, letter), wanted = false;
        for (uint32_t k = later; k <= e->count; k++) wanted |= strchr(e->terms[k], letter) != NULL;
        if (here && wanted && length < COL_MAX_RANK) out[length++] = letter;
    }
    out[length] = '\0';
}

void col_onnx_op_einsum(col_onnx_node *n, int detail)
{
    (void)detail;
    equation e;
    const char *given = col_onnx_text(n, "equation", "");
    char *text = col_arena_strdup(n->arena, given);
    bool fine = n->input_count >= 1 && n->input_count <= OPERANDS && read_equation(n, text, &e);
    if (!fine) {
        col_onnx_fault(n,
                       "equation '%s' is not supported for these operands: a letter per axis, none twice in "
                       "an operand",
                       given);
        return;
    }
    col_value *all = n->inputs[0];
    col_dtype dtype = all->type.dtype;
    char left[COL_MAX_RANK + 1], result[COL_MAX_RANK + 1], contraction[4 * COL_MAX_RANK];
    strcpy(left, e.terms[0]);
    for (uint32_t i = 1; i <= e.count; i++) {
        bool last = i == e.count; /* a single operand is multiplied by 1 */
        if (last && e.count > 1) break;
        const char *right = last ? "" : e.terms[i];
        if (i + 1 >= e.count)
            strcpy(result, e.terms[e.count]);
        else
            keep_letters(&e, left, right, i + 1, result);
        col_value *other = last ? col_onnx_number(n, 1, dtype) : n->inputs[i];
        snprintf(contraction, sizeof contraction, "%s,%s->%s", left, right, result);
        all = col_onnx_einsum(n, contraction, all, other);
        strcpy(left, result);
    }
    n->outputs[0] = all;
}
