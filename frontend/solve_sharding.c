/* colc solve sharding: the contest's JSON in, strategies out. */
#include "frontend/solve.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "frontend/sharding_json.h"
#include "ir/base/file.h"

static const double DEFAULT_SECONDS = 60;

typedef enum method { SEARCH, ILP, GREEDY } method;

static col_status solve(col_arena *arena, int method, const col_sharding_problem *problem,
                        const col_sharding_limits *limits, col_sharding_solution *out)
{
    if (method == ILP) return col_sharding_ilp(arena, problem, limits, out);
    if (method == GREEDY) return col_sharding_greedy(arena, problem, limits->seconds, out);
    return col_sharding_solve(arena, problem, limits, out);
}

static col_status write_answer(const col_sharding_problem *problem, const col_sharding_solution *s,
                               double seconds, const char *path)
{
    bool infeasible = s->status == COL_SOLVE_INFEASIBLE, answered = s->objective < COL_SHARDING_INFINITY;
    json_t *choice = json_array();
    for (int32_t i = 0; answered && i < problem->node_count; i++)
        json_array_append_new(choice, json_integer(s->choice[i]));
    json_t *top = json_pack(
        "{s:s, s:o, s:o, s:o, s:f, s:i, s:i, s:I, s:o}", "status", col_solve_status_name(s->status),
        "objective", answered ? json_integer(s->objective) : json_null(), "bound",
        infeasible ? json_null() : json_integer(s->bound), "gap", answered ? json_real(s->gap) : json_null(),
        "seconds", seconds, "variables", (int)s->variables, "rows", (int)s->rows, "usage_limit",
        (json_int_t)problem->limit, "peak", s->choice ? json_integer(s->peak) : json_null());
    if (infeasible)
        json_object_set_new(top, "least_usage",
                            s->least_memory < COL_SHARDING_INFINITY ? json_integer(s->least_memory)
                                                                    : json_null());
    json_object_set_new(top, "choice", choice);
    char *text = json_dumps(top, JSON_COMPACT);
    json_decref(top);
    if (!text) col_out_of_memory(0);
    col_str line = {0};
    col_str_append(&line, text);
    col_str_append(&line, "\n");
    free(text);
    col_status status = col_file_write_or_print(path, line.data, line.len);
    col_str_fini(&line);
    return status;
}

static col_status solve_file(const col_options *options, col_arena *arena)
{
    double started = col_solve_clock(), seconds = DEFAULT_SECONDS, gap = 0;
    const char *path = options->positionals.data[0], *memory = col_options_get(options, "memory");
    uint64_t limit = 0;
    COL_TRY(col_options_double(options, "time-limit", 0.01, 1e9, &seconds));
    COL_TRY(col_options_double(options, "gap", 0, 1, &gap));
    static const char *const methods[] = {"search", "ilp", "greedy"};
    int method = SEARCH;
    COL_TRY(col_options_choice(options, "method", methods, COL_COUNT(methods), &method));
    if (memory) {
        COL_TRY(col_error_annotate(col_parse_bytes(memory, &limit), "--memory"));
        if (limit >= UINT64_C(1) << 62)
            return col_error_make(COL_BAD_INPUT, "--memory: '%s' is 2^62 bytes or more", memory);
    }
    col_sharding_problem problem;
    COL_TRY(col_sharding_read(arena, path, &problem));
    if (memory) problem.limit = (int64_t)limit;
    /* The limit holds for the whole command: reading is paid from it. */
    double left = seconds - (col_solve_clock() - started);
    col_sharding_limits limits = {
        .seconds = left > 0.01 ? left : 0.01, .gap = gap, .verbose = col_options_has(options, "verbose")};
    col_sharding_solution s;
    COL_TRY(col_error_annotate(solve(arena, method, &problem, &limits, &s), "%s", path));
    seconds = col_solve_clock() - started;
    COL_TRY(write_answer(&problem, &s, seconds, col_options_get(options, "output")));
    if (s.status == COL_SOLVE_INFEASIBLE && s.least_memory >= COL_SHARDING_INFINITY)
        return col_error_make(COL_INFEASIBLE,
                              "%s: every assignment has an infinite cost, whatever the memory", path);
    if (s.status == COL_SOLVE_INFEASIBLE && !s.choice)
        return col_error_make(COL_INFEASIBLE,
                              "%s: no assignment fits in a usage of %" PRId64
                              " (proved); none needs less than %" PRId64,
                              path, problem.limit, s.least_memory);
    if (s.status == COL_SOLVE_INFEASIBLE)
        return col_error_make(COL_INFEASIBLE,
                              "%s: no assignment fits in a usage of %" PRId64 " (proved); %" PRId64
                              " is enough, and no less than %" PRId64 " can be",
                              path, problem.limit, s.peak, s.least_memory);
    if (s.status == COL_SOLVE_LIMIT)
        return col_error_make(
            COL_INFEASIBLE,
            "%s: no assignment within a usage of %" PRId64
            " was found in the time given, and none was ruled out; raise --time-limit or --memory",
            path, problem.limit);
    fprintf(stderr, "%s: %s, objective %" PRId64 ", bound %" PRId64 ", gap %.4f %%, %.3f s\n", path,
            col_solve_status_name(s.status), s.objective, s.bound, 100 * s.gap, seconds);
    return NULL;
}

static const col_option own_options[] = {
    {"time-limit", "S", "seconds for the whole command (default 60)", false},
    {"memory", "SIZE", "limit of usage in place of the file's", false},
    {"method", "M", "search (default), ilp (GLPK on the reduced problem) or greedy, for comparison", false},
    {"gap", "G", "stop at this relative gap (default 0: prove the optimum)", false},
    {"output", "FILE", "write the answer to FILE (default: standard output); -o for short", false},
    {"verbose", NULL, "progress on standard error", false},
};

static const col_solve_command command = {
    .usage = "usage: colc solve sharding FILE.json[.gz] [--time-limit S] [--memory SIZE] [--gap G]\n"
             "                           [--method search|ilp|greedy] [-o FILE]",
    .summary = "Strategies of least cost under a memory limit, as JSON.",
    .options = own_options,
    .option_count = COL_COUNT(own_options),
    .solve_file = solve_file,
};

col_status col_solve_sharding_command(int argc, char **argv)
{
    return col_solve_run(&command, argc, argv);
}
