/* The plan's variables: those of all programs, by name, each with its place at the start of the arena and
 * with what is known of the numbers that an input takes. */
#ifndef COL_FRONTEND_VARIABLES_H
#define COL_FRONTEND_VARIABLES_H

#include "ir/base/map.h"
#include "ir/graph.h"
#include "ir/plan/plan.h"

typedef struct col_variables {
    col_arena *arena;
    col_map *by_name; /* Col__Plan__Variable */
    col_map *labels;  /* of the inputs that are labels: what their losses take */
    col_map *bounds;  /* of the inputs that index tables: int64_t, rows of the smallest */
    col_map *buffers; /* states that the model itself declares */
    COL_VEC(Col__Plan__Variable *) list;
    uint64_t bytes; /* from the start of the arena to the end of the last one */
} col_variables;

void col_variables_init(col_variables *v, col_arena *arena);
/* No variables, with what is noted in `noted`, which has none either and must live as long. */
void col_variables_init_again(col_variables *v, const col_variables *noted, col_arena *arena);

/* Notes what only the model as it was parsed shows: which inputs are labels or index tables, and which states
 * are the model's own. */
void col_variables_note(col_variables *v, const col_graph *graph);

/* Adds the variables of a program that uses them: a new name gets the next place. COL_BAD_INPUT when they do
 * not fit 63-bit addresses. */
COL_MUST_USE col_status col_variables_add(col_variables *v, const col_graph *graph);

/* Offset of each variable of the graph, in its order, in bytes; 0 where no program uses it. */
const uint64_t *col_variables_offsets(const col_variables *v, const col_graph *graph);

#endif
