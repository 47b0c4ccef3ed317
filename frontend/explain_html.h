/* Inside frontend/explain_html*.c: the parts of the page. */
#ifndef COL_FRONTEND_EXPLAIN_HTML_H
#define COL_FRONTEND_EXPLAIN_HTML_H

#include "frontend/explain.h"

/* Text as HTML, whatever bytes it has. */
void html_text(col_str *out, const char *text);
void html_bytes(col_str *out, double bytes);
void html_seconds(col_str *out, double seconds);

/* The program that the page is about: the one that was split, otherwise the first. */
const col_plan_program *html_program(const col_plan *plan);

/* The program's ops by phase and block, repeated blocks folded (explain_html_graph.c). */
void html_graph(const col_plan *plan, col_arena *arena, col_str *out);
/* A device's memory over the program's instructions, and what is live at the peak (explain_html_memory.c). */
void html_memory(const col_plan *plan, const Col__Plan__MemoryReport *report, col_arena *arena, col_str *out);

#endif
