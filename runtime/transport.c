#include "runtime/transport.h"

#include <stdlib.h>
#include <string.h>

#include "ir/plan/plan_io.h"
#include "runtime/module.h"
#include "runtime/mpi/mpi.h"
#include "runtime/tcp/tcp.h"

static int number_of(const char *name)
{
    const char *value = getenv(name);
    return value ? atoi(value) : 0;
}

static col_status open_mpi(const col_plan *plan, double timeout, col_comm **out_comm)
{
    col_mpi_open_fn open = NULL;
    void *symbol;
    COL_TRY(col_module_open("colc_mpi.so", COL_MPI_OPEN,
                            "build colc where Open MPI is installed (libopenmpi-dev), or give --comm local",
                            &symbol));
    memcpy(&open, &symbol, sizeof open);
    col_mesh mesh = col_plan_mesh(plan);
    COL_TRY(open(&mesh, col_plan_hash(plan), timeout, out_comm));
    (*out_comm)->sharing = COL_MAX(number_of("OMPI_COMM_WORLD_LOCAL_SIZE"), 1);
    (*out_comm)->place = COL_MAX(number_of("OMPI_COMM_WORLD_LOCAL_RANK"), 0);
    return NULL;
}

/* GPUs have a process each: within one, a rank that waits for others in the driver may hold what they need. */
static col_status open_local(const col_plan *plan, double timeout, col_comm **out_comm)
{
    col_mesh mesh = col_plan_mesh(plan);
    if (strcmp(plan->target, "cuda") || !plan->n_mesh) return NULL;
    return col_tcp_fork(&mesh, timeout, out_comm);
}

static col_status open_tcp(const col_plan *plan, double timeout, col_comm **out_comm)
{
    col_mesh mesh = col_plan_mesh(plan);
    if (strcmp(plan->target, "cuda")) {
        return col_error_make(
            COL_BAD_INPUT,
            "processes that torchrun or srun started exchange tensors between GPUs alone, and the plan is "
            "for the target '%s': start it with mpirun, or give --comm local",
            plan->target);
    }
    return col_tcp_open(&mesh, col_plan_hash(plan), timeout, out_comm);
}

col_status col_transport_open(const char *name, const col_plan *plan, double timeout, col_comm **out_comm)
{
    col_tcp_place place;
    *out_comm = NULL;
    if (!name) name = getenv("OMPI_COMM_WORLD_SIZE") ? "mpi" : col_tcp_find_place(&place) ? "tcp" : "local";
    if (!strcmp(name, "local")) return open_local(plan, timeout, out_comm);
    return strcmp(name, "tcp") ? open_mpi(plan, timeout, out_comm) : open_tcp(plan, timeout, out_comm);
}
