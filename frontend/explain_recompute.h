/* What a plan computes again in its backward phase: the price of it, and what it saves. From the plan alone.
 */
#ifndef COL_FRONTEND_EXPLAIN_RECOMPUTE_H
#define COL_FRONTEND_EXPLAIN_RECOMPUTE_H

#include <jansson.h>

#include "ir/base/arena.h"
#include "ir/base/str.h"
#include "ir/base/vec.h"
#include "ir/plan/plan.h"

/* A region: the instructions of one turn. */
typedef struct col_explain_turn {
    uint32_t turn;
    size_t count;       /* instructions */
    size_t first, last; /* of them */
    double seconds;     /* predicted, of one run of the program */
    double bytes;       /* that are not held meanwhile, because they are made again */
} col_explain_turn;

/* What an instruction makes again for the backward phase. */
typedef struct col_explain_again {
    size_t instruction;
    double bytes;
    size_t from; /* they need not be held from here up to the instruction */
} col_explain_again;

typedef struct col_explain_recompute {
    const col_plan_program *program;
    double seconds, other_seconds;   /* of what is computed again, and of the rest of the program */
    COL_VEC(col_explain_turn) turns; /* in the order in which they run */
    COL_VEC(col_explain_again) values;
    size_t count;   /* instructions of the program, and of the two lines below */
    uint64_t *live; /* bytes of temporaries at each instruction */
    uint64_t *kept; /* about what they would be if these values were held instead */
    uint64_t peak, kept_peak;
} col_explain_recompute;

/* Looks at the program that the report is of; false if it computes nothing again. What `out` has lives in
 * `arena`. A value is taken to be held from its last use in the forward phase on. */
bool col_explain_recompute_find(const col_plan *plan, const Col__Plan__MemoryReport *memory, col_arena *arena,
                                col_explain_recompute *out);

/* For people; nothing is added where nothing is computed again. */
void col_explain_recompute_text(const col_plan *plan, const Col__Plan__MemoryReport *memory, col_str *out);
/* How it was chosen: the solver's figures, an object. */
json_t *col_explain_recompute_choice(const Col__Plan__Recompute *c);
/* An object, or NULL. */
json_t *col_explain_recompute_json(const col_plan *plan, const Col__Plan__MemoryReport *memory);
/* A part of the page. */
void col_explain_recompute_html(const col_plan *plan, const Col__Plan__MemoryReport *memory, col_arena *arena,
                                col_str *out);

#endif
