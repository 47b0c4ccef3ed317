/* Random nodes of every primitive op, with shapes that divide well, for tests of splitting over a mesh. */
#ifndef COL_UNIT_FACTOR_CASES_H
#define COL_UNIT_FACTOR_CASES_H

#include "ir/builder.h"
#include "tests/unit/random.h"

/* A graph under construction, whose inputs are "x0", "x1" and on. */
typedef struct factor_case {
    col_builder b;
    unit_random *random;
    int64_t limit[8]; /* input i, of integers, is below this; 0: below 2 */
} factor_case;

/* A new graph in the arena. */
factor_case factor_case_start(col_arena *arena, unit_random *random);
col_value *factor_input(factor_case *c, col_dtype dtype, col_shape shape);
/* A shape of `rank` dimensions and few elements. */
col_shape factor_shape(unit_random *random, int rank);
/* Another shape with as many elements. */
col_shape factor_regrouped(unit_random *random, col_shape shape);
/* A node of the op, with inputs as operands. NULL: there is no maker for the op. */
col_node *factor_case_of(factor_case *c, col_op op);
/* Values for all variables. */
col_tensor *factor_case_fill(const factor_case *c, col_arena *arena);

#endif
