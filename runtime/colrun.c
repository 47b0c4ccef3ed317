/* `colrun`: the executor's command line. Exit statuses are those of col_code. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ir/base/file.h"
#include "runtime/command.h"
#include "runtime/command_options.h"

static const struct {
    const char *name;
    col_command run;
} commands[] = {
    {"train", col_command_train}, {"generate", col_command_generate}, {"run", col_command_run},
    {"info", col_command_info},   {"probe", col_command_probe},
};

static void print_overview(FILE *out)
{
    size_t count;
    const col_command_spec *specs = col_command_specs(&count);
    fprintf(out, "usage: colrun COMMAND PLAN [options]        runs plans that `colc compile` made\n\n");
    for (size_t i = 0; i < count; i++) fprintf(out, "  %-10s %s\n", specs[i].name, specs[i].summary);
    fprintf(out, "\n`colrun COMMAND --help` lists a command's options.\n");
}

static col_status find_command(const char *name, const col_command_spec **out_spec, col_command *out_run)
{
    *out_spec = col_command_spec_find(name);
    for (size_t i = 0; *out_spec && i < COL_COUNT(commands); i++) {
        if (strcmp(commands[i].name, name)) continue;
        *out_run = commands[i].run;
        return NULL;
    }
    const char *names[COL_COUNT(commands)];
    for (size_t i = 0; i < COL_COUNT(commands); i++) names[i] = commands[i].name;
    const char *near = col_suggest(name, names, COL_COUNT(names));
    return col_error_make(COL_BAD_INPUT, "unknown command '%s'%s%s%s; see colrun --help", name,
                          near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static col_status run_command(int argc, char **argv, col_arena *arena)
{
    const col_command_spec *spec = NULL;
    col_command command = NULL;
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        print_overview(stdout);
        return NULL;
    }
    COL_TRY(find_command(argv[1], &spec, &command));
    col_options options;
    COL_TRY(col_options_parse(&spec->options, &spec->option_count, 1, argc - 2, argv + 2, arena, &options));
    if (options.help) {
        col_str text = {0};
        col_command_spec_help(spec, "colrun", &text);
        fputs(col_str_text(&text), stdout);
        col_str_fini(&text);
        return NULL;
    }
    if (spec->without_plan) {
        if (!options.positionals.len) return command(NULL, &options);
        return col_error_make(COL_BAD_INPUT, "'%s' has no place here: usage: colrun %s %s",
                              options.positionals.data[0], spec->name, spec->usage);
    }
    if (options.positionals.len == 1) return command(options.positionals.data[0], &options);
    return col_error_make(COL_BAD_INPUT, "%s plan is given: usage: colrun %s %s",
                          options.positionals.len ? "more than one" : "no", spec->name, spec->usage);
}

/* Idle threads sleep instead of spinning: a spinning thread takes the core from the very thread that it waits
 * for as soon as anything else runs on the machine, and a step then takes many times as long. OpenMP reads
 * its environment before main, so the program starts itself again. Setting OMP_WAIT_POLICY keeps it from
 * doing so. */
static void sleep_when_idle(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || setenv("OMP_WAIT_POLICY", "passive", 1)) return;
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    sleep_when_idle(argv);
    if (argc < 2) {
        print_overview(stderr);
        return COL_BAD_INPUT;
    }
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of the write, as a full disk is */
    col_arena *arena = col_arena_create();
    col_status status = run_command(argc, argv, arena);
    status = col_error_join(status, col_file_flush_stdout());
    int code = (int)col_error_code(status);
    if (status) fprintf(stderr, "colrun: error: %s\n", col_error_message(status));
    col_error_free(status);
    col_arena_destroy(arena);
    return code;
}
