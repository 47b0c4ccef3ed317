/* Parses a model and prints its graph, or the errors and their exit status:
 *
 *   print_model FILE.ir [key=value]...      the graph
 *   print_model --again FILE.ir [key=value]...
 *       prints, parses what was printed, prints again: fails where the two texts differ; prints the sizes */
#include "frontend/parse.h"

#include "ir/base/file.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MOST_SETTINGS = 64 };

static col_status print_again(const col_str *first, col_arena *arena)
{
    col_source source = {"printed", first->data, first->len};
    col_graph *graph;
    COL_TRY(col_parse_model(&source, NULL, arena, &graph));
    COL_TRY(col_graph_verify(graph));
    col_str second = {0};
    col_graph_print(graph, &second);
    col_status status = NULL;
    if (first->len != second.len || memcmp(first->data, second.data, first->len) != 0) {
        status = col_error_make(COL_INTERNAL, "the printed text reads back as another graph:\n%s",
                                col_str_text(&second));
    }
    col_str_fini(&second);
    return status;
}

static col_status run(int argc, char **argv, bool again, col_arena *arena)
{
    col_parse_setting settings[MOST_SETTINGS];
    col_parse_options options = {.settings = settings};
    for (int i = 1; i < argc && options.setting_count < MOST_SETTINGS; i++) {
        char *key = col_arena_strdup(arena, argv[i]), *equals = strchr(key, '=');
        if (!equals) return col_error_make(COL_BAD_INPUT, "'%s' is not key=value", key);
        *equals = '\0';
        settings[options.setting_count++] = (col_parse_setting){key, equals + 1};
    }
    col_source source = {.name = argv[0]};
    char *text;
    COL_TRY(col_file_read(arena, argv[0], 0, &text, &source.size));
    source.text = text;
    col_graph *graph;
    clock_t start = clock();
    COL_TRY(col_parse_model(&source, &options, arena, &graph));
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    COL_TRY(col_graph_verify(graph));
    col_str out = {0};
    col_graph_print(graph, &out);
    col_status status = NULL;
    if (again) {
        status = print_again(&out, arena);
        int64_t elements = 0, parameters = 0;
        for (size_t i = 0; i < graph->vars.len; i++) {
            const col_var *var = graph->vars.data[i];
            if (var->kind != COL_VAR_PARAM) continue;
            elements += col_shape_numel(var->type.shape);
            parameters++;
        }
        if (!status) {
            printf("%zu nodes, %lld parameters of %lld elements\n", graph->node_count, (long long)parameters,
                   (long long)elements);
        }
        fprintf(stderr, "parsed in %.2f ms\n", 1e3 * seconds);
    } else {
        fputs(col_str_text(&out), stdout);
    }
    col_str_fini(&out);
    return status;
}

int main(int argc, char **argv)
{
    bool again = argc > 1 && !strcmp(argv[1], "--again");
    if (argc < 2 + again) {
        fputs("usage: print_model [--again] FILE.ir [key=value]...\n", stderr);
        return COL_BAD_INPUT;
    }
    col_arena *arena = col_arena_create();
    col_status status = run(argc - 1 - again, argv + 1 + again, again, arena);
    if (status) fprintf(stderr, "%s\n", col_error_message(status));
    int code = (int)col_error_code(status);
    col_error_free(status);
    col_arena_destroy(arena);
    return code;
}
