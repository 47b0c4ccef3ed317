/* Machine files: the constants of the cost model (passes/cost.h), read from YAML. docs/machines.md is the
 * reference of the format. */
#ifndef COL_FRONTEND_MACHINE_H
#define COL_FRONTEND_MACHINE_H

#include "ir/base/arena.h"
#include "passes/cost.h"

/* Reads the machine of "NAME", "NAME:N", "FILE" or "FILE:N", where a FILE has a '/' or ends in ".yaml", and N
 * is how many of the machine's units there are: devices, hosts or cores. Without N it is the file's default,
 * for cores as many as this process may use. The machine is that of a single device (col_machine_links).
 *
 * Names are those of the files in $COLC_MACHINES, in models/machines beside this program and in
 * ../share/colc/machines. COL_BAD_INPUT for a name that is not known (the message lists those that are), an N
 * out of range, and for faults of the file, each with its place: keys that are unknown or given twice,
 * figures that are missing, negative or contradict each other, and groups that do not say where their figures
 * come from. */
COL_MUST_USE col_status col_machine_read(const char *name, col_machine *out_machine);

#endif
