#define _GNU_SOURCE
#include "runtime/transport.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ir/plan/plan_io.h"
#include "runtime/mpi/mpi.h"

#define MODULE "colc_mpi.so"

/* The module stays open: MPI cannot be unloaded. */
static void *open_module(void)
{
    static const char *const places[] = {"/", "/../lib/colc/"};
    char program[PATH_MAX], path[PATH_MAX + 64];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    program[COL_MAX(size, 0)] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash) return NULL;
    *slash = '\0';
    for (size_t i = 0; i < COL_COUNT(places); i++) {
        snprintf(path, sizeof path, "%s%s" MODULE, program, places[i]);
        void *module = access(path, R_OK) ? NULL : dlopen(path, RTLD_NOW | RTLD_GLOBAL);
        if (module) return module;
    }
    return NULL;
}

col_status col_transport_open(const char *name, const col_plan *plan, double timeout, col_comm **out_comm)
{
    *out_comm = NULL;
    if (name ? !strcmp(name, "local") : !getenv("OMPI_COMM_WORLD_SIZE")) return NULL;
    void *module = open_module();
    col_mpi_open_fn open = NULL;
    void *symbol = module ? dlsym(module, COL_MPI_OPEN) : NULL;
    if (!symbol) {
        const char *why = dlerror();
        return col_error_make(
            COL_DEVICE,
            "%s cannot be opened%s%s: build colc where Open MPI is installed (libopenmpi-dev), "
            "or give --comm local",
            MODULE, why ? ": " : "", why ? why : "");
    }
    memcpy(&open, &symbol, sizeof open);
    col_mesh mesh = col_plan_mesh(plan);
    return open(&mesh, col_plan_hash(plan), timeout, out_comm);
}

int col_transport_sharing(const col_comm *comm)
{
    const char *ranks = comm ? getenv("OMPI_COMM_WORLD_LOCAL_SIZE") : NULL;
    return ranks ? COL_MAX(atoi(ranks), 1) : 0;
}
