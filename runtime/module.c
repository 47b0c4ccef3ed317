#define _GNU_SOURCE
#include "runtime/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *open_module(const char *file)
{
    static const char *const places[] = {"/", "/../lib/colc/"};
    char program[PATH_MAX], path[PATH_MAX + 64];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    program[COL_MAX(size, 0)] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash) return NULL;
    *slash = '\0';
    for (size_t i = 0; i < COL_COUNT(places); i++) {
        snprintf(path, sizeof path, "%s%s%s", program, places[i], file);
        void *module = access(path, R_OK) ? NULL : dlopen(path, RTLD_NOW | RTLD_GLOBAL);
        if (module) return module;
    }
    return NULL;
}

col_status col_module_find(const char *file, const char *symbol, const char *remedy, void **out_symbol)
{
    void *module = open_module(file);
    *out_symbol = module ? dlsym(module, symbol) : NULL;
    if (*out_symbol) return NULL;
    const char *why = dlerror();
    return col_error_make(COL_DEVICE, "%s cannot be opened%s%s: %s", file, why ? ": " : "", why ? why : "",
                          remedy);
}
