/* Ranks that are processes, started by mpirun. In a shared module of its own, colc_mpi.so, that
 * runtime/transport.c opens when it is wanted: colrun itself does not need MPI. */
#ifndef COL_RUNTIME_MPI_MPI_H
#define COL_RUNTIME_MPI_MPI_H

#include "runtime/comm.h"

/* The function that the module exports, by this name. Starts MPI and checks that there is a process for each
 * rank of the mesh and that all of them run the plan of that hash (COL_BAD_INPUT, on every rank). */
#define COL_MPI_OPEN "col_mpi_open"
typedef col_status (*col_mpi_open_fn)(const col_mesh *mesh, uint64_t plan_hash, double timeout,
                                      col_comm **out_comm);
COL_MUST_USE col_status col_mpi_open(const col_mesh *mesh, uint64_t plan_hash, double timeout,
                                     col_comm **out_comm);

#endif
