/* The model parser on arbitrary text: it may refuse with places and carets, but what it accepts must be a
 * sound graph whose printed text parses back to the same text. Limits are small, so that loops end soon. */
#include "frontend/parse.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const col_parse_options limits = {.value_limit = 400, .step_limit = 4000};
/* A printed graph is as long as the graph has tensors, and every operand is a step. */
static const col_parse_options limits_again = {.value_limit = 4000, .step_limit = 400000};

static void check_message(col_status status)
{
    COL_ASSERT(col_error_code(status) == COL_BAD_INPUT);
    const char *message = col_error_message(status);
    COL_ASSERT(strstr(message, "error: "));
    for (const char *at = message; *at; at++) COL_ASSERT((unsigned char)*at >= 32 || *at == '\n');
    col_error_free(status);
}

static void check_graph(const col_graph *graph, col_arena *arena)
{
    col_status status = col_graph_verify(graph);
    if (status) COL_PANIC("%s", col_error_message(status));
    col_str first = {0}, second = {0};
    col_graph_print(graph, &first);
    col_source source = {"printed", first.data, first.len};
    col_graph *again;
    status = col_parse_model(&source, &limits_again, arena, &again);
    if (status) COL_PANIC("%s\n%s", col_error_message(status), first.data);
    col_graph_print(again, &second);
    COL_ASSERT(first.len == second.len && !memcmp(first.data, second.data, first.len));
    col_str_fini(&first);
    col_str_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16) return 0;
    col_arena *arena = col_arena_create();
    col_source source = {"input", (const char *)data, size};
    col_graph *graph;
    col_status status = col_parse_model(&source, &limits, arena, &graph);
    if (status)
        check_message(status);
    else
        check_graph(graph, arena);
    col_arena_destroy(arena);
    return 0;
}
