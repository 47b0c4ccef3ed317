/* colc opt: any piece of the pipeline alone, text in and text out. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"
#include "frontend/compile.h"

static const col_option own_options[] = {
    {"passes", "A,B,C", "run these passes in this order (default: none; the graph as parsed)", false},
};

static col_status add_pass(const char *name, size_t size, col_arena *arena, const col_pass **passes,
                           size_t *count)
{
    const char *text = col_arena_strndup(arena, name, size);
    const col_pass *pass = col_pass_find(text);
    if (!pass)
        return col_error_make(COL_BAD_INPUT, "--passes: there is no pass '%s'; 'colc opt --help' lists them",
                              text);
    if (*count == 64) return col_error_make(COL_BAD_INPUT, "--passes: at most 64 passes");
    passes[(*count)++] = pass;
    return NULL;
}

/* What watches a whole compilation has nothing to watch here, where the passes and their end are given. */
static col_status refuse_watching(const col_options *options)
{
    static const char *const watching[] = {"print-after", "stop-after", "dump-dir", "time-passes"};
    for (size_t i = 0; i < COL_COUNT(watching); i++) {
        if (!col_options_get(options, watching[i])) continue;
        return col_error_make(
            COL_BAD_INPUT,
            "--%s watches a whole compilation: give it to 'colc compile'; here the graph is "
            "printed after the last of --passes",
            watching[i]);
    }
    return NULL;
}

static col_status opt(col_options *options, const col_command *command, col_arena *arena)
{
    col_compile_options compile_options = {0};
    const col_pass *passes[64];
    size_t count = 0;
    col_graph *graph;
    COL_TRY(refuse_watching(options));
    COL_TRY(col_compile_recipe(options, arena));
    COL_TRY(col_command_argument(command, options, &compile_options.model_path));
    COL_TRY(col_compile_options_read(options, arena, &compile_options));
    const char *list = col_options_get(options, "passes");
    while (list && *list) {
        size_t size = strcspn(list, ",");
        COL_TRY(add_pass(list, size, arena, passes, &count));
        list += size + (list[size] == ',');
    }
    COL_TRY(col_compile_parse(&compile_options, 0, 0, arena, &graph));
    for (size_t i = 0; i < graph->settings.len; i++) {
        if (!strcmp(graph->settings.data[i].name, "context")) {
            compile_options.passes.cache_length = graph->settings.data[i].int_value;
        }
    }
    compile_options.passes.machine = &compile_options.machine;
    COL_TRY(col_passes_run(graph, passes, count, &compile_options.passes, NULL));
    col_str text = {0};
    col_graph_print(graph, &text);
    fwrite(col_str_text(&text), 1, text.len, stdout);
    col_str_fini(&text);
    return NULL;
}

static void print_passes(void)
{
    size_t count;
    const col_pass *passes = col_passes(&count);
    printf("\nPasses, in the order of a full compilation:\n");
    for (size_t i = 0; i < count; i++) printf("  %-12s %s\n", passes[i].name, passes[i].summary);
}

col_status col_command_opt(const col_command *command, int argc, char **argv)
{
    const col_option *tables[] = {own_options, col_compile_option_table};
    size_t sizes[] = {COL_COUNT(own_options), col_compile_option_count};
    col_arena *arena = col_arena_create();
    col_options options;
    col_status status = col_options_parse(tables, sizes, 2, argc, argv, arena, &options);
    if (!status && options.help) {
        col_command_help(command, tables, sizes, 2);
        print_passes();
    } else if (!status) {
        status = opt(&options, command, arena);
    }
    col_arena_destroy(arena);
    return status;
}
