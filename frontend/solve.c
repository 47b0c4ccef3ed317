/* From the arguments of `colc solve KIND` to the solving of a file. */
#include "frontend/solve.h"

#include <stdio.h>

col_status col_solve_run(const col_solve_command *command, int argc, char **argv)
{
    col_arena *arena = col_arena_create();
    col_options options;
    col_status status =
        col_options_parse(&command->options, &command->option_count, 1, argc, argv, arena, &options);
    if (!status && options.help) {
        col_str text = {0};
        col_options_help(command->options, command->option_count, &text);
        printf("%s\n%s\n\n%s", command->usage, command->summary, col_str_text(&text));
        col_str_fini(&text);
    } else if (!status && options.positionals.len != 1) {
        status = col_error_make(COL_BAD_INPUT, "one file expected, %zu given; %s", options.positionals.len,
                                command->usage);
    } else if (!status) {
        status = command->solve_file(&options, arena);
    }
    col_arena_destroy(arena);
    return status;
}
