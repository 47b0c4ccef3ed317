#include "runtime/transport.h"

#include <stdlib.h>
#include <string.h>

#include "ir/plan/plan_io.h"
#include "runtime/module.h"
#include "runtime/mpi/mpi.h"

col_status col_transport_open(const char *name, const col_plan *plan, double timeout, col_comm **out_comm)
{
    *out_comm = NULL;
    if (name ? !strcmp(name, "local") : !getenv("OMPI_COMM_WORLD_SIZE")) return NULL;
    col_mpi_open_fn open = NULL;
    void *symbol;
    COL_TRY(col_module_find("colc_mpi.so", COL_MPI_OPEN,
                            "build colc where Open MPI is installed (libopenmpi-dev), or give --comm local",
                            &symbol));
    memcpy(&open, &symbol, sizeof open);
    col_mesh mesh = col_plan_mesh(plan);
    return open(&mesh, col_plan_hash(plan), timeout, out_comm);
}

static int number_of(const char *name)
{
    const char *value = getenv(name);
    return value ? atoi(value) : 0;
}

int col_transport_place(const col_comm *comm)
{
    return comm ? COL_MAX(number_of("OMPI_COMM_WORLD_LOCAL_RANK"), 0) : 0;
}

int col_transport_sharing(const col_comm *comm)
{
    return comm ? COL_MAX(number_of("OMPI_COMM_WORLD_LOCAL_SIZE"), 1) : 0;
}
