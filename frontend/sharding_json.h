/* A bare strategy selection problem from the JSON of the intra-operator contest. */
#ifndef COL_FRONTEND_SHARDING_JSON_H
#define COL_FRONTEND_SHARDING_JSON_H

#include "solver/sharding.h"

/* Reads {"problem": {"name", "nodes": {"intervals", "costs", "usages"}, "edges": {"nodes", "costs"},
 * "usage_limit"}}, plain or gzipped; costs of an edge are row-major in its first node. Everything is in the
 * arena. COL_BAD_INPUT with the place of the first fault. */
COL_MUST_USE col_status col_sharding_read(col_arena *arena, const char *path, col_sharding_problem *out);

#endif
