/* `colc solve KIND FILE`: a bare problem from a file, so that a solver can be judged alone. Each takes the
 * arguments after KIND, writes the answer to stdout or to -o FILE, and ends with COL_INFEASIBLE where the
 * limit given cannot be met. */
#ifndef COL_FRONTEND_SOLVE_H
#define COL_FRONTEND_SOLVE_H

#include "ir/base/options.h"

/* What the command of one kind of problem is made of. */
typedef struct col_solve_command {
    const char *usage;   /* "usage: colc solve KIND FILE [options]" */
    const char *summary; /* one line */
    const col_option *options;
    size_t option_count;
    /* Solves the one file that `options` have as a positional argument. What is in `arena` goes afterwards.
     */
    col_status (*solve_file)(const col_options *options, col_arena *arena);
} col_solve_command;

/* Reads the options, then prints the help if it was asked for, or solves the file. COL_BAD_INPUT for what is
 * not one file. */
COL_MUST_USE col_status col_solve_run(const col_solve_command *command, int argc, char **argv);

/* FILE.csv [--capacity SIZE] [--time-limit S] [-o FILE]: the rows of the input with the column `offset`. */
COL_MUST_USE col_status col_solve_offsets_command(int argc, char **argv);

/* FILE.json[.gz] [--time-limit S] [--memory SIZE] [--gap G] [-o FILE]: the intra-operator contest's JSON;
 * answers {status objective bound gap seconds variables rows usage_limit peak choice[]}. Where nothing fits,
 * "least_usage" is proved and "peak" is one that would do. */
COL_MUST_USE col_status col_solve_sharding_command(int argc, char **argv);
/* FILE.json [--memory SIZE] [--method optimal|greedy|sqrt|keep] [--time-limit S] [--gap G] [-o FILE]: a chain
 * of stages or a graph (docs/solver-checkpoint.md); writes the schedule as JSON, also the least one where the
 * memory cannot be met. */
COL_MUST_USE col_status col_solve_checkpoint_command(int argc, char **argv);

#endif
