/* Every assignment, in the order of an odometer: the oracle of the tests. */
#include "solver/sharding.h"

col_status col_sharding_brute(col_arena *arena, const col_sharding_problem *problem,
                              col_sharding_solution *out)
{
    int32_t n = problem->node_count;
    double started = col_solve_clock(), count = 1;
    for (int32_t i = 0; i < n; i++) count *= problem->nodes[i].strategies;
    if (count > 1 << 24)
        return col_error_make(COL_BAD_INPUT, "sharding: %.3g assignments are too many to try; at most 2^24",
                              count);
    *out = (col_sharding_solution){.objective = COL_SHARDING_INFINITY, .least_memory = COL_SHARDING_INFINITY};
    int32_t *choice = COL_NEW_ARRAY(arena, int32_t, n + 1);
    for (;;) {
        int64_t cost = col_sharding_cost(problem, choice);
        if (cost < COL_SHARDING_INFINITY) {
            int64_t peak = col_sharding_peak(problem, choice);
            out->least_memory = COL_MIN(out->least_memory, peak);
            if (peak <= problem->limit && cost < out->objective) {
                out->objective = cost;
                out->peak = peak;
                out->choice = col_arena_copy(arena, choice, sizeof *choice * (size_t)(n + 1));
            }
        }
        int32_t i = n - 1;
        while (i >= 0 && ++choice[i] == problem->nodes[i].strategies) choice[i--] = 0;
        if (i < 0) break;
    }
    out->status = out->choice ? COL_SOLVE_OPTIMAL : COL_SOLVE_INFEASIBLE;
    out->bound = out->objective;
    out->seconds = col_solve_clock() - started;
    return NULL;
}
