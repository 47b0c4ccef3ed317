/* colc: the one command that users type. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"
#include "ir/base/file.h"

static const col_command commands[] = {
    {"compile", "MODEL.ir [-o PLAN] [options]", "compile a model into a plan", col_command_compile},
    {"explain", "PLAN [--format text|json|html] [-o FILE]",
     "why the plan is what it is: costs, memory, kernels", col_command_explain},
    {"train", "MODEL.ir|PLAN --data FILE...|synthetic [options]", "train a model", col_command_execute},
    {"generate", "MODEL.ir|PLAN --weights DIR --prompt TEXT [options]", "continue a text",
     col_command_execute},
    {"run", "MODEL.ir|PLAN|FILE.onnx [--input NAME=FILE]... [--output DIR]", "run a model forward",
     col_command_execute},
    {"verify", "MODEL.ir|PLAN [options]", "check gradients, and the plan against a reference walk",
     col_command_verify},
    {"sweep", "MODEL.ir [--memory 100%,80%,...] [--batch 8,16,...|auto] [options]",
     "time and peak memory over memory limits or batch sizes", col_command_sweep},
    {"probe", "-o MACHINE.yaml [--target cuda --ranks N] | --plan PLAN",
     "measure this machine, to plan for it", col_command_probe},
    {"import", "onnx FILE | hf DIR -o DIR [options]",
     "bring a model of ONNX or Hugging Face into .ir and .safetensors", col_command_import},
    {"export", "hf MODEL.ir|DIR [--weights DIR] -o DIR",
     "give a model back as a folder that transformers loads", col_command_export},
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

static col_status dispatch(int argc, char **argv)
{
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_commands(stdout);
        return NULL;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("colc %s\n", COL_VERSION);
        return NULL;
    }
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
    col_status status = dispatch(argc, argv);
    status = col_error_join(status, col_file_flush_stdout());
    col_code code = col_error_code(status);
    if (status) print_error(col_error_message(status));
    col_error_free(status);
    return (int)code;
}
