/* colc solve: the solvers alone, on problems in files. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"
#include "frontend/solve.h"

static const struct {
    const char *name, *summary;
    col_status (*run)(int argc, char **argv);
} problems[] = {
    {"checkpoint", "what a chain of stages, or a graph, keeps and what it recomputes (JSON)",
     col_solve_checkpoint_command},
    {"offsets", "buffers with live ranges into one arena (CSV)", col_solve_offsets_command},
    {"sharding", "one strategy per node, edges priced, memory limited (the contest's JSON, also gzipped)",
     col_solve_sharding_command},
};

col_status col_command_solve(const col_command *command, int argc, char **argv)
{
    (void)command;
    bool help = argc && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"));
    for (size_t i = 0; argc && i < COL_COUNT(problems); i++) {
        if (!strcmp(argv[0], problems[i].name)) return problems[i].run(argc - 1, argv + 1);
    }
    if (argc && !help) {
        return col_error_make(COL_BAD_INPUT, "there is no problem kind '%s'; 'colc solve --help' lists them",
                              argv[0]);
    }
    fprintf(help ? stdout : stderr, "usage: colc solve PROBLEM FILE [options]\n\n");
    for (size_t i = 0; i < COL_COUNT(problems); i++) {
        fprintf(help ? stdout : stderr, "  %-10s %s\n", problems[i].name, problems[i].summary);
    }
    return help ? NULL : col_error_make(COL_BAD_INPUT, "name a problem kind");
}
