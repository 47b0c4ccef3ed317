/* Initial values of parameters and states, from the counter-based generator. */
#ifndef COL_RUNTIME_INIT_H
#define COL_RUNTIME_INIT_H

#include "runtime/ranks.h"

/* Element i of a variable is a function of (seed, name, i): the stream's salt is the hash of the name.
 * Normal numbers are Box-Muller pairs: elements 2j and 2j + 1 come from the words of those elements. */
COL_MUST_USE col_status col_initialize(col_ranks *ranks, const col_plan_variable *variable, int64_t seed);

#endif
