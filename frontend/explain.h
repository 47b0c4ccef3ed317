/* The strategy log of a plan as text or JSON: what every instruction costs, what lies in memory and when. */
#ifndef COL_FRONTEND_EXPLAIN_H
#define COL_FRONTEND_EXPLAIN_H

#include <jansson.h>

#include "ir/base/arena.h"
#include "ir/base/str.h"
#include "ir/plan/plan.h"
#include "passes/cost.h"

typedef struct col_explain_options {
    const char *program; /* only this one; NULL: all */
    bool variables;      /* also the table of parameters and states */
    bool edges;          /* also the edges between equal layouts, and views */
    const col_machine
        *machine; /* that the plan's times are predicted for; NULL: not known, no floors are given */
} col_explain_options;

/* The log for people, appended to `out`. */
void col_explain_text(const col_plan *plan, const col_explain_options *options, col_str *out);
/* The report's fields (frontend/report.h), then programs, memory and variables. json_decref it. */
json_t *col_explain_json(const col_plan *plan, const col_explain_options *options);

/* The strategies of a plan that has them (explain_sharding.c). */
void col_explain_sharding(const col_plan *plan, bool all_edges, col_str *out);
json_t *col_explain_sharding_json(const Col__Plan__Sharding *sharding);
/* Whether a value is wanted in another layout than it was made in. */
bool col_explain_edge_moves(const Col__Plan__EdgeLog *edge);

/* "matmul", "kernel", "attention", "attention_grad", ...: what executes the instruction. */
const char *col_explain_kind(const col_plan_instruction *instruction);

/* Memory over time (explain_memory.c): a chart of live temporaries and a table of the largest at the peak. */
void col_explain_memory(const col_plan *plan, const Col__Plan__MemoryReport *report, col_str *out);
/* Bytes of live temporaries at each of `count` instructions and after the last, in `arena`. */
uint64_t *col_explain_live_bytes(const Col__Plan__MemoryReport *report, size_t count, col_arena *arena);

/* What an instruction writes and reads: "[256, 2304] = [256, 768] x [768, 2304]". */
void col_explain_notation(const col_plan_instruction *instruction, col_str *out);
/* Bytes of its results. */
double col_explain_written_bytes(const col_plan_instruction *instruction);

/* The whole log as a page of HTML that refers to nothing outside itself (explain_html.c). */
void col_explain_html(const col_plan *plan, col_str *out);

#endif
