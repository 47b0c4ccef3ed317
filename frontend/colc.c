/* colc: the one command that users type. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"

static const col_command commands[] = {
    {"compile", "MODEL.ir [-o PLAN] [options]", "compile a model into a plan", col_command_compile},
    {"explain", "PLAN [--format text|json] [-o FILE]", "why the plan is what it is: costs, memory, kernels",
     col_command_explain},
    {"train", "MODEL.ir|PLAN --data FILE…|synthetic [options]", "train a model", col_command_execute},
    {"generate", "MODEL.ir|PLAN --weights DIR --prompt TEXT [options]", "continue a text",
     col_command_execute},
    {"run", "MODEL.ir|PLAN [--input NAME=FILE.npy]… [--output DIR]", "run a model forward",
     col_command_execute},
    {"verify", "MODEL.ir|PLAN [options]", "check gradients, and the plan against a reference walk",
     col_command_verify},
    {"opt", "MODEL.ir --passes A,B,C", "print the graph after the passes", col_command_opt},
    {"solve", "offsets|checkpoint|sharding FILE [options]", "solve a bare problem", col_command_solve},
};

static void print_commands(FILE *out)
{
    fprintf(out, "colc compiles deep-learning models to plans and runs them.\n\nusage: colc COMMAND ...\n\n");
    for (size_t i = 0; i < COL_COUNT(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n'colc COMMAND --help' tells more. Exit status: 0 done, 1 internal error, 2 bad input,\n"
                 "3 infeasible, 4 device, disk or communication failure.\n");
}

void col_command_help(const col_command *command, const col_option *const *tables, const size_t *sizes,
                      size_t table_count)
{
    col_str text = {0};
    for (size_t i = 0; i < table_count; i++) col_options_help(tables[i], sizes[i], &text);
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

static col_status dispatch(int argc, char **argv)
{
    const char *names[COL_COUNT(commands)];
    for (size_t i = 0; i < COL_COUNT(commands); i++) {
        names[i] = commands[i].name;
        if (!strcmp(argv[1], commands[i].name)) return commands[i].run(&commands[i], argc - 2, argv + 2);
    }
    const char *near = col_suggest(argv[1], names, COL_COUNT(names));
    if (near) return col_error_make(COL_BAD_INPUT, "unknown command '%s'; did you mean '%s'?", argv[1], near);
    return col_error_make(COL_BAD_INPUT, "unknown command '%s'; 'colc --help' lists them", argv[1]);
}

/* Messages of readers start with their own "file:line:col: error:"; all others get the program's name. */
static void print_error(const char *message)
{
    bool placed = strstr(message, ": error: ") != NULL && strchr(message, ':') < strstr(message, ": error: ");
    fprintf(stderr, placed ? "%s\n" : "colc: error: %s\n", message);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr);
        return COL_BAD_INPUT;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_commands(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("colc %s\n", COL_VERSION);
        return 0;
    }
    col_status status = dispatch(argc, argv);
    col_code code = col_error_code(status);
    if (status) print_error(col_error_message(status));
    col_error_free(status);
    if (!code && (fflush(stdout) || ferror(stdout))) {
        fprintf(stderr, "colc: error: cannot write to standard output\n");
        return COL_DEVICE;
    }
    return (int)code;
}
