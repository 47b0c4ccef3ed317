/* The base layer on arbitrary bytes: strict numbers, suggestions, the map, and diagnostics whose place and
 * source come from the input. Besides not crashing, what is accepted must satisfy its contract. */
#include "ir/base/diag.h"
#include "ir/base/map.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_numbers(const char *text)
{
    uint64_t bytes = 0;
    if (!col_error_ignore(col_parse_bytes(text, &bytes))) COL_ASSERT(bytes >= 1 && bytes < UINT64_C(1) << 63);
    int64_t whole = 0, again = 0;
    if (!col_error_ignore(col_parse_int("number", text, -1000000, INT64_MAX, &whole))) {
        COL_ASSERT(whole >= -1000000);
        char printed[32];
        snprintf(printed, sizeof printed, "%" PRId64, whole);
        COL_ASSERT(!col_error_ignore(col_parse_int("number", printed, INT64_MIN, INT64_MAX, &again)));
        COL_ASSERT(again == whole);
    }
    double real = 0;
    if (!col_error_ignore(col_parse_double("number", text, -1e300, 1e300, &real))) {
        COL_ASSERT(real >= -1e300 && real <= 1e300);
    }
    static const char *const names[] = {"matmul", "add", "softmax", "x"};
    const char *near = col_suggest(text, names, COL_COUNT(names));
    COL_ASSERT(!near || strlen(near) <= 2 * strlen(text));
}

/* Two bytes of line, two of column, then the source text. */
static void check_diagnostics(col_arena *arena, const uint8_t *data, size_t size)
{
    if (size < 4) return;
    col_source source = {"input", (const char *)data + 4, size - 4};
    col_loc loc = {&source, data[0] | (uint32_t)data[1] << 8, data[2] | (uint32_t)data[3] << 8};
    col_diags diags = {.arena = arena};
    col_diag_add(&diags, loc, "fault");
    col_status status = col_diags_status(&diags);
    const char *message = col_error_message(status);
    char start[64];
    snprintf(start, sizeof start, "input:%u:%u: error: fault", loc.line, loc.column);
    COL_ASSERT(!strncmp(message, start, strlen(start)));
    for (const char *at = message; *at; at++) COL_ASSERT((unsigned char)*at >= 32 || *at == '\n');
    const char *excerpt = message + strlen(start);
    if (*excerpt) { /* the line and the caret, nothing after */
        const char *caret = strrchr(message, '\n');
        COL_ASSERT(excerpt[0] == '\n' && caret != excerpt && strspn(caret + 1, " ") + 2 == strlen(caret));
    }
    col_error_free(status);
}

/* The input cut at line ends into keys: each is found afterwards, in order of first appearance. */
static void check_map(col_arena *arena, const uint8_t *data, size_t size)
{
    col_map *map = col_map_create(arena);
    size_t distinct = 0;
    for (size_t at = 0, end; at < size; at = end + 1) {
        const uint8_t *newline = memchr(data + at, '\n', size - at);
        end = newline ? (size_t)(newline - data) : size;
        distinct += !col_map_set_bytes(map, data + at, end - at, map);
        COL_ASSERT(map->len == distinct && col_map_get_bytes(map, data + at, end - at) == map);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16) return 0;
    col_arena *arena = col_arena_create();
    check_numbers(col_arena_strndup(arena, (const char *)data, size));
    check_diagnostics(arena, data, size);
    check_map(arena, data, size);
    col_arena_destroy(arena);
    return 0;
}
