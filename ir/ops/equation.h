/* The subscripts of an einsum, "btc,cn->btn": each letter a-z names a dimension; letters that the result
 * lacks are summed. No letter repeats within one operand or in the result, and there is no ellipsis. */
#ifndef COL_IR_OPS_EQUATION_H
#define COL_IR_OPS_EQUATION_H

#include "ir/type.h"

typedef struct col_equation {
    int rank[3]; /* of the operands and, last, of the result */
    char letters[3][COL_MAX_RANK + 1];
} col_equation;

enum { COL_EQUATION_SIZE = 3 * COL_MAX_RANK + 4 }; /* bytes of the longest as text */

/* NULL, or what is wrong with the text. */
const char *col_equation_parse(const char *text, col_equation *out_equation);
/* As text: x,y->z. */
const char *col_equation_print(char out[COL_EQUATION_SIZE], const char *x, const char *y, const char *z);

#endif
