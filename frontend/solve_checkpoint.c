/* colc solve checkpoint: a chain of stages, or a graph, from JSON; what is kept and what runs again as JSON.
 * A file with "nodes" is a graph (solve_checkpoint_graph.c), one with "stages" a chain:
 *
 * {"stages": [{"name", "forward_seconds", "backward_seconds", "input_bytes", "saved_bytes", "gradient_bytes",
 *              "forward_temp_bytes", "backward_temp_bytes"}, ...],
 *  "output_bytes", "output_gradient_bytes", "memory"}
 *
 * What each means is in solver/checkpoint.h. name, the temps (0), gradient_bytes (input_bytes),
 * output_gradient_bytes (output_bytes) and memory may be left out; --memory wins over memory. */
#include "frontend/solve.h"

#include "frontend/solve_checkpoint.h"
#include "ir/base/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 28 };

static const char *const methods[] = {"optimal", "greedy", "sqrt", "keep"};

const char *checkpoint_method_name(int method)
{
    return methods[method];
}

/* ---- reading ---- */

col_status checkpoint_fault(const checkpoint_reader *r, const char *where, const char *key, const char *what)
{
    return col_error_make(COL_BAD_INPUT, "%s: %s%s: %s", r->path, where, key, what);
}

col_status checkpoint_bytes(const checkpoint_reader *r, const json_t *object, const char *where,
                            const char *key, const uint64_t *fallback, uint64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!value && !fallback) return checkpoint_fault(r, where, key, "is missing");
    *out = value ? 0 : *fallback;
    if (!value) return NULL;
    if (!json_is_integer(value)) return checkpoint_fault(r, where, key, "must be a whole number of bytes");
    if (json_integer_value(value) < 0) return checkpoint_fault(r, where, key, "must not be negative");
    *out = (uint64_t)json_integer_value(value);
    return NULL;
}

col_status checkpoint_seconds(const checkpoint_reader *r, const json_t *object, const char *where,
                              const char *key, const double *fallback, double *out)
{
    const json_t *value = json_object_get(object, key);
    if (!value && !fallback) return checkpoint_fault(r, where, key, "is missing");
    *out = value ? 0 : *fallback;
    if (!value) return NULL;
    if (!json_is_number(value)) return checkpoint_fault(r, where, key, "must be a number of seconds");
    *out = json_number_value(value);
    return *out < 0 ? checkpoint_fault(r, where, key, "must not be negative") : NULL;
}

col_status checkpoint_keys(const checkpoint_reader *r, const json_t *object, const char *where,
                           const char *const *known, size_t count)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < count; i++) found = found || !strcmp(key, known[i]);
        if (found) continue;
        const char *near = col_suggest(key, known, count);
        return checkpoint_fault(r, where, key,
                                near ? col_arena_printf(r->arena, "is no known key; did you mean '%s'?", near)
                                     : "is no known key");
    }
    return NULL;
}

col_status checkpoint_memory(const checkpoint_request *request, const json_t *root, uint64_t *out)
{
    const uint64_t none = 0;
    COL_TRY(checkpoint_bytes(&request->reader, root, "", "memory", &none, out));
    if (!*out && json_object_get(root, "memory"))
        return checkpoint_fault(&request->reader, "", "memory", "must not be 0; leave it out for no limit");
    if (request->memory) *out = request->memory;
    return NULL;
}

static col_status read_stage(const checkpoint_reader *r, const json_t *object, size_t index,
                             const char **out_name, col_checkpoint_stage *out)
{
    static const char *const known[] = {
        "name",        "forward_seconds", "backward_seconds",   "input_bytes",
        "saved_bytes", "gradient_bytes",  "forward_temp_bytes", "backward_temp_bytes"};
    const uint64_t none = 0;
    const char *where = col_arena_printf(r->arena, "stages[%zu].", index);
    if (!json_is_object(object))
        return checkpoint_fault(r, "", col_arena_printf(r->arena, "stages[%zu]", index), "must be an object");
    COL_TRY(checkpoint_keys(r, object, where, known, COL_COUNT(known)));
    COL_TRY(checkpoint_seconds(r, object, where, "forward_seconds", NULL, &out->forward_seconds));
    COL_TRY(checkpoint_seconds(r, object, where, "backward_seconds", NULL, &out->backward_seconds));
    COL_TRY(checkpoint_bytes(r, object, where, "input_bytes", NULL, &out->input_bytes));
    COL_TRY(checkpoint_bytes(r, object, where, "saved_bytes", NULL, &out->saved_bytes));
    COL_TRY(checkpoint_bytes(r, object, where, "gradient_bytes", &out->input_bytes, &out->gradient_bytes));
    COL_TRY(checkpoint_bytes(r, object, where, "forward_temp_bytes", &none, &out->forward_temp_bytes));
    COL_TRY(checkpoint_bytes(r, object, where, "backward_temp_bytes", &none, &out->backward_temp_bytes));
    const json_t *name = json_object_get(object, "name");
    if (!name) return NULL;
    if (!json_is_string(name)) return checkpoint_fault(r, where, "name", "must be a string");
    *out_name = col_arena_strdup(r->arena, json_string_value(name));
    return NULL;
}

/* `out_names` [count] has NULL for stages without one. */
static col_status read_chain(const checkpoint_request *request, const json_t *root, const char ***out_names,
                             col_checkpoint_chain *out)
{
    static const char *const known[] = {"stages", "output_bytes", "output_gradient_bytes", "memory"};
    const checkpoint_reader *r = &request->reader;
    COL_TRY(checkpoint_keys(r, root, "", known, COL_COUNT(known)));
    const json_t *list = json_object_get(root, "stages");
    if (!json_is_array(list)) {
        return checkpoint_fault(r, "", "stages",
                                list ? "must be a list" : "is missing, and so is nodes: give one of them");
    }
    size_t count = json_array_size(list);
    col_checkpoint_stage *stages = COL_NEW_ARRAY(r->arena, col_checkpoint_stage, count + 1);
    *out_names = COL_NEW_ARRAY(r->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        COL_TRY(read_stage(r, json_array_get(list, i), i, &(*out_names)[i], &stages[i]));
    *out = (col_checkpoint_chain){.count = count, .stages = stages};
    COL_TRY(checkpoint_bytes(r, root, "", "output_bytes", NULL, &out->output_bytes));
    COL_TRY(checkpoint_bytes(r, root, "", "output_gradient_bytes", &out->output_bytes,
                             &out->output_gradient_bytes));
    return checkpoint_memory(request, root, &out->memory);
}

/* ---- writing ---- */

col_status checkpoint_write(const checkpoint_request *request, json_t *answer)
{
    char *text = json_dumps(answer, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
    json_decref(answer);
    COL_ASSERT(text);
    col_str out = {0};
    col_str_printf(&out, "%s\n", text);
    free(text);
    col_status status = col_file_write_or_print(request->output, out.data, out.len);
    col_str_fini(&out);
    return status;
}

static json_t *schedule_json(const char *const *names, const col_checkpoint_schedule *schedule)
{
    json_t *list = json_array();
    for (size_t k = 0; k < schedule->ops.len; k++) {
        col_checkpoint_op op = schedule->ops.data[k];
        json_t *entry =
            json_pack("{s:s, s:i}", "action", col_checkpoint_action_name(op.action), "stage", (int)op.stage);
        if (names[op.stage]) json_object_set_new(entry, "name", json_string(names[op.stage]));
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *answer_json(const col_checkpoint_chain *chain, const char *const *names,
                           const col_checkpoint_solution *s)
{
    json_t *root = json_pack(
        "{s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:I, s:I}", "status", col_solve_status_name(s->status),
        "objective", s->schedule.seconds, "bound", s->bound, "gap", s->gap, "seconds", s->seconds, "peak",
        (json_int_t)s->schedule.peak, "memory", (json_int_t)chain->memory, "keep_seconds", s->keep_seconds,
        "keep_memory", (json_int_t)s->keep_memory, "least_memory", (json_int_t)s->least_memory);
    json_object_set_new(root, "schedule", schedule_json(names, &s->schedule));
    return root;
}

/* ---- the command ---- */

/* Puts a twin's schedule in the place of the optimal one; bound and least memory stay. */
static void use_twin(const checkpoint_request *request, const col_checkpoint_chain *chain,
                     col_checkpoint_solution *s)
{
    col_checkpoint_chain free_of_limit = *chain;
    free_of_limit.memory = 0;
    col_checkpoint_schedule schedule = {0};
    if (request->method == CHECKPOINT_GREEDY)
        (void)col_checkpoint_greedy(chain, request->reader.arena, &schedule);
    else if (request->method == CHECKPOINT_SQRT)
        col_checkpoint_sqrt(chain, request->reader.arena, &schedule);
    else
        (void)col_checkpoint_greedy(&free_of_limit, request->reader.arena, &schedule);
    s->schedule = schedule;
    bool fits = !chain->memory || schedule.peak <= chain->memory;
    s->gap = schedule.seconds > 0 ? (schedule.seconds - s->bound) / schedule.seconds : 0;
    if (s->status != COL_SOLVE_INFEASIBLE) s->status = fits ? COL_SOLVE_FEASIBLE : COL_SOLVE_LIMIT;
}

static col_status solve_chain(const checkpoint_request *request, const json_t *root)
{
    const char **names = NULL;
    col_checkpoint_chain chain;
    col_checkpoint_solution s;
    const char *path = request->reader.path;
    COL_TRY(read_chain(request, root, &names, &chain));
    COL_TRY(col_error_annotate(
        col_checkpoint_solve_chain(&chain, &request->limits, request->reader.arena, &s), "%s", path));
    if (request->method != CHECKPOINT_OPTIMAL) use_twin(request, &chain, &s);
    COL_TRY(checkpoint_write(request, answer_json(&chain, names, &s)));
    if (!chain.memory || s.schedule.peak <= chain.memory) return NULL;
    return col_error_make(COL_INFEASIBLE,
                          "%s: %s schedule takes %" PRIu64 " bytes and does not fit a memory of %" PRIu64
                          " bytes; the smallest memory that would do is %" PRIu64 " bytes",
                          path,
                          request->method == CHECKPOINT_OPTIMAL ? "the least" : methods[request->method],
                          s.schedule.peak, chain.memory, s.least_memory);
}

static col_status solve_json(const checkpoint_request *request, const json_t *root)
{
    if (!json_is_object(root))
        return checkpoint_fault(&request->reader, "", "the file", "must hold an object");
    if (json_object_get(root, "nodes")) return checkpoint_solve_graph_json(request, root);
    return solve_chain(request, root);
}

static col_status solve_file(const col_options *options, col_arena *arena)
{
    checkpoint_request request = {.reader = {options->positionals.data[0], arena},
                                  .limits = {.seconds = 5, .gap = 0.01},
                                  .output = col_options_get(options, "output")};
    const char *memory = col_options_get(options, "memory"), *path = request.reader.path;
    if (memory) COL_TRY(col_error_annotate(col_parse_bytes(memory, &request.memory), "--memory"));
    COL_TRY(col_options_double(options, "time-limit", 0.01, 1e9, &request.limits.seconds));
    COL_TRY(col_options_double(options, "gap", 1e-6, 1, &request.limits.gap));
    COL_TRY(col_options_choice(options, "method", methods, COL_COUNT(methods), &request.method));
    char *text;
    size_t size;
    json_error_t error;
    COL_TRY(col_file_read(arena, path, FILE_LIMIT, &text, &size));
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        return col_error_make(COL_BAD_INPUT, "%s:%d:%d: error: %s", path, error.line,
                              COL_MAX(error.column, 1), error.text);
    }
    col_status status = solve_json(&request, root);
    json_decref(root);
    return status;
}

static const col_option own_options[] = {
    {"memory", "SIZE", "memory for all that the step holds (default: the file's, or as much as it takes)",
     false},
    {"method", "M", "optimal, greedy, sqrt or keep (default optimal)", false},
    {"time-limit", "S", "seconds for the solver (default 5)", false},
    {"gap", "G", "proved distance that counts as optimal (default 0.01)", false},
    {"output", "FILE", "write the answer to FILE (default: standard output); -o for short", false},
};

static const col_solve_command command = {
    .usage = "usage: colc solve checkpoint FILE.json [--memory SIZE] [options]",
    .summary = "What a chain of stages, or a graph, keeps and what it runs again.",
    .options = own_options,
    .option_count = COL_COUNT(own_options),
    .solve_file = solve_file,
};

col_status col_solve_checkpoint_command(int argc, char **argv)
{
    return col_solve_run(&command, argc, argv);
}
