/* What the commands share: help, the one positional argument, and the way from argv to a command's body. */
#include "frontend/commands.h"

#include <stdio.h>

void col_command_help(const col_command *command, const col_option *const *tables, const size_t *sizes,
                      size_t table_count)
{
    col_str text = {0};
    for (size_t i = 0; i < table_count; i++) {
        for (size_t n = 0; n < sizes[i]; n++) {
            /* A command's own option stands for one of that name in a table that it shares. */
            const col_option *option = &tables[i][n];
            if (col_option_find(tables, sizes, table_count, option->name) == option)
                col_options_help(option, 1, &text);
        }
    }
    printf("usage: colc %s %s\n%s.\n\n%s", command->name, command->usage, command->summary,
           col_str_text(&text));
    col_str_fini(&text);
}

col_status col_command_argument(const col_command *command, const col_options *options, const char **out)
{
    if (options->positionals.len == 1) {
        *out = options->positionals.data[0];
        return NULL;
    }
    if (!options->positionals.len)
        return col_error_make(COL_BAD_INPUT, "usage: colc %s %s", command->name, command->usage);
    return col_error_make(COL_BAD_INPUT, "one argument expected, but there is also '%s'; usage: colc %s %s",
                          options->positionals.data[1], command->name, command->usage);
}

col_status col_command_run(const col_command *command, const col_option *const *tables, const size_t *sizes,
                           size_t table_count, int argc, char **argv, col_command_body body)
{
    col_arena *arena = col_arena_create();
    col_options options;
    col_status status = col_options_parse(tables, sizes, table_count, argc, argv, arena, &options);
    if (!status && options.help)
        col_command_help(command, tables, sizes, table_count);
    else if (!status)
        status = body(&options, command, arena);
    col_arena_destroy(arena);
    return status;
}
