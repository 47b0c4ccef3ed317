/* The commands of colc. Each takes the arguments after its name; its row in colc.c's table names the
 * function. */
#ifndef COL_FRONTEND_COMMANDS_H
#define COL_FRONTEND_COMMANDS_H

#include "ir/base/options.h"

typedef struct col_command {
    const char *name;
    const char *usage;   /* "MODEL [-o PLAN] [options]" */
    const char *summary; /* one line */
    col_status (*run)(const struct col_command *command, int argc, char **argv);
} col_command;

/* What a command does once its options are read. What is in `arena` goes when it is done. */
typedef col_status (*col_command_body)(col_options *options, const col_command *command, col_arena *arena);

/* The commands. Errors are those of what they do; the code is the exit status. */
COL_MUST_USE col_status col_command_compile(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_opt(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_execute(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_explain(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_verify(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_sweep(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_probe(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_import(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_export(const col_command *command, int argc, char **argv);
COL_MUST_USE col_status col_command_solve(const col_command *command, int argc, char **argv);

/* Prints usage, summary and the option tables to stdout. */
void col_command_help(const col_command *command, const col_option *const *tables, const size_t *sizes,
                      size_t table_count);
/* The one positional argument, or an error that shows the usage. */
COL_MUST_USE col_status col_command_argument(const col_command *command, const col_options *options,
                                             const char **out);

/* Reads the options of `argv`, then prints the help if it was asked for, or runs the body. */
COL_MUST_USE col_status col_command_run(const col_command *command, const col_option *const *tables,
                                        const size_t *sizes, size_t table_count, int argc, char **argv,
                                        col_command_body body);

#endif
