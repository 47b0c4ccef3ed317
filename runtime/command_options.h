/* The commands that `colrun` knows and their options: what `colc` forwards to it. Includes only ir/base, so
 * that `colc` can check a command line and print help without the executor. */
#ifndef COL_RUNTIME_COMMAND_OPTIONS_H
#define COL_RUNTIME_COMMAND_OPTIONS_H

#include "ir/base/options.h"

typedef struct col_command_spec {
    const char *name;    /* "train" */
    const char *usage;   /* what follows the name: "PLAN --data FILE... [options]" */
    const char *summary; /* one line */
    const col_option *options;
    size_t option_count;
    const char *notes; /* paragraphs after the options, or NULL */
    bool without_plan; /* takes no argument but its options */
} col_command_spec;

const col_command_spec *col_command_specs(size_t *out_count);
const col_command_spec *col_command_spec_find(const char *name); /* NULL when there is none */

/* Appends usage, options and notes; `program` is "colrun" or "colc". */
void col_command_spec_help(const col_command_spec *spec, const char *program, col_str *out);

#endif
