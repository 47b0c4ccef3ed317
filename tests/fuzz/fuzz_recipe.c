/* Recipes of arbitrary bytes: applied to an empty command line, or refused with a place. Needs a file, as
 * recipes are read from one: an anonymous one in memory. */
#define _GNU_SOURCE
#include "frontend/recipe.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const col_option table[] = {
    {"set", "KEY=VALUE", "", true},
    {"batch", "N", "", false},
    {"data", "FILE", "", true},
    {"time-passes", NULL, "", false},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16) return 0;
    static int file = -1; /* one for the whole run */
    static char path[64];
    if (file < 0) {
        file = memfd_create("recipe", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    COL_ASSERT(file >= 0 && !ftruncate(file, 0) && pwrite(file, data, size, 0) == (ssize_t)size);
    const col_option *const tables[] = {table};
    const size_t sizes[] = {COL_COUNT(table)};
    col_arena *arena = col_arena_create();
    col_options options;
    COL_ASSERT(!col_options_parse(tables, sizes, 1, 0, NULL, arena, &options));
    col_status status = col_recipe_apply(path, NULL, NULL, 0, &options, arena);
    if (status) {
        COL_ASSERT(col_error_code(status) == COL_BAD_INPUT && strstr(col_error_message(status), "error: "));
    } else {
        for (size_t i = 0; i < options.values.len; i++) {
            const col_option_value *v = &options.values.data[i];
            COL_ASSERT(v->option->argument ? *v->value != '\0' : !*v->value);
        }
    }
    col_error_free(status);
    col_arena_destroy(arena);
    return 0;
}
