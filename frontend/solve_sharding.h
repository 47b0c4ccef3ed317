/* `colc solve sharding FILE`: a bare strategy selection problem, read from the JSON of the intra-operator
 * contest, solved, and answered in JSON. */
#ifndef COL_FRONTEND_SOLVE_SHARDING_H
#define COL_FRONTEND_SOLVE_SHARDING_H

#include "solver/sharding.h"

/* Reads {"problem": {"name", "nodes": {"intervals", "costs", "usages"}, "edges": {"nodes", "costs"},
 * "usage_limit"}}, plain or gzipped; costs of an edge are row-major in its first node. Everything is in the
 * arena. `limit` stays at 0 where "usage_limit" is missing. COL_BAD_INPUT with the place of the first fault.
 */
COL_MUST_USE col_status col_sharding_read(col_arena *arena, const char *path, col_sharding_problem *out);

/* argv[0] is the file or an option:  FILE.json[.gz] [--time-limit S] [--memory SIZE] [--gap G] [-o FILE].
 * Writes {status objective bound gap seconds variables rows peak choice[]} to FILE or stdout. Ends with
 * COL_INFEASIBLE, after writing, where the limit cannot be met. */
COL_MUST_USE col_status col_solve_sharding_command(int argc, char **argv);

#endif
