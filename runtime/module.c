#define _GNU_SOURCE
#include "runtime/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The module in `folder` (+ `below`); NULL where it is not there or cannot be opened. */
static void *open_in(const char *folder, const char *below, const char *file)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s%s%s", folder, below, file) >= (int)sizeof path) return NULL;
    return access(path, R_OK) ? NULL : dlopen(path, RTLD_NOW | RTLD_GLOBAL);
}

static void *open_module(const char *file)
{
    static const char *const places[] = {"/", "/../lib/colc/"};
    char program[PATH_MAX];
    const char *own = getenv("COLC_MODULES");
    if (own && *own) return open_in(own, "/", file);
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    program[COL_MAX(size, 0)] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash) return NULL;
    *slash = '\0';
    for (size_t i = 0; i < COL_COUNT(places); i++) {
        void *module = open_in(program, places[i], file);
        if (module) return module;
    }
    return NULL;
}

col_status col_module_open(const char *file, const char *symbol, const char *remedy, void **out_symbol)
{
    void *module = open_module(file);
    *out_symbol = module ? dlsym(module, symbol) : NULL;
    if (*out_symbol) return NULL;
    const char *why = dlerror();
    return col_error_make(COL_DEVICE, "%s cannot be opened%s%s: %s", file, why ? ": " : "", why ? why : "",
                          remedy);
}
