/* What a plan is, in figures: the JSON report of `--report` and `colc explain`, and the summary that
 * `colc compile` prints. */
#ifndef COL_FRONTEND_REPORT_H
#define COL_FRONTEND_REPORT_H

#include <jansson.h>

#include "ir/base/str.h"
#include "ir/plan/plan.h"

typedef struct col_report_figures {
    uint64_t parameters, parameter_tensors;    /* elements, tensors */
    uint64_t parameter_bytes, optimizer_bytes; /* `optimizer`: moments, gradients that persist, counters */
    uint64_t cache_bytes, input_bytes;         /* key-value caches; what the caller writes */
    uint64_t kernels, code_bytes;              /* distinct generated functions, and their machine code */
    const Col__Plan__MemoryReport *memory;     /* of the program that needs most; NULL: none */
    double memory_seconds;                     /* of planning that program's memory */
} col_report_figures;

/* Counts the figures of the plan; what `out` refers to is the plan's. */
void col_report_figure(const col_plan *plan, col_report_figures *out);

/* A JSON string, also of text that is not UTF-8 (a plan may hold anything). */
json_t *col_report_text(const char *text);
/* The report as a new JSON object: json_decref it. */
json_t *col_report_json(const col_plan *plan);
COL_MUST_USE col_status col_report_write(const col_plan *plan, const char *path);
/* Any JSON value as indented text that ends in a newline. */
void col_report_print_json(const json_t *json, col_str *out);

/* A few lines for people. */
void col_report_summary(const col_plan *plan, col_str *out);

#endif
