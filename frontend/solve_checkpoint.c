/* colc solve checkpoint: a chain of stages from JSON, a schedule of its forwards and backwards as JSON.
 *
 * {"stages": [{"name", "forward_seconds", "backward_seconds", "input_bytes", "saved_bytes", "gradient_bytes",
 *              "forward_temp_bytes", "backward_temp_bytes"}, ...],
 *  "output_bytes", "output_gradient_bytes", "memory"}
 *
 * What each means is in solver/checkpoint.h. name, the temps (0), gradient_bytes (input_bytes),
 * output_gradient_bytes (output_bytes) and memory may be left out; --memory wins over memory.
 */
#include "frontend/solve.h"

#include "ir/base/file.h"
#include "ir/base/options.h"
#include "solver/checkpoint.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 28 };

typedef struct reader {
    const char *path;
    col_arena *arena;
    col_checkpoint_chain chain;
    const char **names; /* [count] of the stages, or NULL */
} reader;

/* ---- reading ---- */

static col_status fault(const reader *r, const char *where, const char *key, const char *what)
{
    return col_error_make(COL_BAD_INPUT, "%s: %s%s: %s", r->path, where, key, what);
}

static col_status read_bytes(const reader *r, const json_t *object, const char *where, const char *key,
                             const uint64_t *fallback, uint64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!value && !fallback) return fault(r, where, key, "is missing");
    *out = value ? 0 : *fallback;
    if (!value) return NULL;
    if (!json_is_integer(value)) return fault(r, where, key, "must be a whole number of bytes");
    if (json_integer_value(value) < 0) return fault(r, where, key, "must not be negative");
    *out = (uint64_t)json_integer_value(value);
    return NULL;
}

static col_status read_seconds(const reader *r, const json_t *object, const char *where, const char *key,
                               double *out)
{
    const json_t *value = json_object_get(object, key);
    if (!value) return fault(r, where, key, "is missing");
    if (!json_is_number(value)) return fault(r, where, key, "must be a number of seconds");
    *out = json_number_value(value);
    return *out < 0 ? fault(r, where, key, "must not be negative") : NULL;
}

static col_status check_keys(const reader *r, const json_t *object, const char *where,
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
        return fault(r, where, key,
                     near ? col_arena_printf(r->arena, "is no known key; did you mean '%s'?", near)
                          : "is no known key");
    }
    return NULL;
}

static col_status read_stage(reader *r, const json_t *object, size_t index, col_checkpoint_stage *out)
{
    static const char *const known[] = {
        "name",        "forward_seconds", "backward_seconds",   "input_bytes",
        "saved_bytes", "gradient_bytes",  "forward_temp_bytes", "backward_temp_bytes"};
    const uint64_t none = 0;
    const char *where = col_arena_printf(r->arena, "stages[%zu].", index);
    if (!json_is_object(object))
        return fault(r, "", col_arena_printf(r->arena, "stages[%zu]", index), "must be an object");
    COL_TRY(check_keys(r, object, where, known, COL_COUNT(known)));
    COL_TRY(read_seconds(r, object, where, "forward_seconds", &out->forward_seconds));
    COL_TRY(read_seconds(r, object, where, "backward_seconds", &out->backward_seconds));
    COL_TRY(read_bytes(r, object, where, "input_bytes", NULL, &out->input_bytes));
    COL_TRY(read_bytes(r, object, where, "saved_bytes", NULL, &out->saved_bytes));
    COL_TRY(read_bytes(r, object, where, "gradient_bytes", &out->input_bytes, &out->gradient_bytes));
    COL_TRY(read_bytes(r, object, where, "forward_temp_bytes", &none, &out->forward_temp_bytes));
    COL_TRY(read_bytes(r, object, where, "backward_temp_bytes", &none, &out->backward_temp_bytes));
    const json_t *name = json_object_get(object, "name");
    if (!name) return NULL;
    if (!json_is_string(name)) return fault(r, where, "name", "must be a string");
    r->names[index] = col_arena_strdup(r->arena, json_string_value(name));
    return NULL;
}

static col_status read_chain(reader *r, const json_t *root)
{
    static const char *const known[] = {"stages", "output_bytes", "output_gradient_bytes", "memory"};
    const uint64_t none = 0;
    if (!json_is_object(root)) return fault(r, "", "the file", "must hold an object");
    COL_TRY(check_keys(r, root, "", known, COL_COUNT(known)));
    const json_t *list = json_object_get(root, "stages");
    if (!json_is_array(list)) return fault(r, "", "stages", list ? "must be a list" : "is missing");
    size_t count = json_array_size(list);
    col_checkpoint_stage *stages = COL_NEW_ARRAY(r->arena, col_checkpoint_stage, count + 1);
    r->names = COL_NEW_ARRAY(r->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++) COL_TRY(read_stage(r, json_array_get(list, i), i, &stages[i]));
    r->chain = (col_checkpoint_chain){.count = count, .stages = stages};
    COL_TRY(read_bytes(r, root, "", "output_bytes", NULL, &r->chain.output_bytes));
    COL_TRY(read_bytes(r, root, "", "output_gradient_bytes", &r->chain.output_bytes,
                       &r->chain.output_gradient_bytes));
    return read_bytes(r, root, "", "memory", &none, &r->chain.memory);
}

static col_status read_file(reader *r)
{
    char *text;
    size_t size;
    json_error_t error;
    COL_TRY(col_file_read(r->arena, r->path, FILE_LIMIT, &text, &size));
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        return col_error_make(COL_BAD_INPUT, "%s:%d:%d: error: %s", r->path, error.line,
                              COL_MAX(error.column, 1), error.text);
    }
    col_status status = read_chain(r, root);
    json_decref(root);
    return status;
}

/* ---- writing ---- */

static json_t *schedule_json(const reader *r, const col_checkpoint_schedule *schedule)
{
    json_t *list = json_array();
    for (size_t k = 0; k < schedule->ops.len; k++) {
        col_checkpoint_op op = schedule->ops.data[k];
        json_t *entry =
            json_pack("{s:s, s:i}", "action", col_checkpoint_action_name(op.action), "stage", (int)op.stage);
        if (r->names[op.stage]) json_object_set_new(entry, "name", json_string(r->names[op.stage]));
        json_array_append_new(list, entry);
    }
    return list;
}

static col_status write_answer(const reader *r, const col_checkpoint_solution *s, const char *path)
{
    json_t *root = json_pack(
        "{s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:I, s:I}", "status", col_solve_status_name(s->status),
        "objective", s->schedule.seconds, "bound", s->bound, "gap", s->gap, "seconds", s->seconds, "peak",
        (json_int_t)s->schedule.peak, "memory", (json_int_t)r->chain.memory, "keep_seconds", s->keep_seconds,
        "keep_memory", (json_int_t)s->keep_memory, "least_memory", (json_int_t)s->least_memory);
    json_object_set_new(root, "schedule", schedule_json(r, &s->schedule));
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
    json_decref(root);
    COL_ASSERT(text);
    col_str out = {0};
    col_str_printf(&out, "%s\n", text);
    free(text);
    col_status status = col_file_write_or_print(path, out.data, out.len);
    col_str_fini(&out);
    return status;
}

/* ---- the command ---- */

enum { OPTIMAL, GREEDY, SQRT, KEEP };

static const char *const methods[] = {"optimal", "greedy", "sqrt", "keep"};

/* Puts a twin's schedule in the place of the optimal one; bound and least memory stay. */
static col_status use_twin(const reader *r, int method, col_checkpoint_solution *s)
{
    col_checkpoint_chain free_of_limit = r->chain;
    free_of_limit.memory = 0;
    col_checkpoint_schedule schedule = {0};
    if (method == GREEDY)
        (void)col_checkpoint_greedy(&r->chain, r->arena, &schedule);
    else if (method == SQRT)
        col_checkpoint_sqrt(&r->chain, r->arena, &schedule);
    else
        (void)col_checkpoint_greedy(&free_of_limit, r->arena, &schedule);
    s->schedule = schedule;
    bool fits = !r->chain.memory || schedule.peak <= r->chain.memory;
    s->gap = schedule.seconds > 0 ? (schedule.seconds - s->bound) / schedule.seconds : 0;
    if (s->status != COL_SOLVE_INFEASIBLE) s->status = fits ? COL_SOLVE_FEASIBLE : COL_SOLVE_LIMIT;
    return NULL;
}

static col_status solve_file(const col_options *options, col_arena *arena)
{
    reader r = {.path = options->positionals.data[0], .arena = arena};
    col_checkpoint_limits limits = {.seconds = 5, .gap = 0.01};
    int method = OPTIMAL;
    uint64_t memory = 0;
    const char *size = col_options_get(options, "memory");
    if (size) COL_TRY(col_error_annotate(col_parse_bytes(size, &memory), "--memory"));
    COL_TRY(col_options_double(options, "time-limit", 0, 1e9, &limits.seconds));
    COL_TRY(col_options_double(options, "gap", 0, 1, &limits.gap));
    COL_TRY(col_options_choice(options, "method", methods, COL_COUNT(methods), &method));
    COL_TRY(read_file(&r));
    if (memory) r.chain.memory = memory;
    col_checkpoint_solution s;
    COL_TRY(col_error_annotate(col_checkpoint_solve_chain(&r.chain, &limits, arena, &s), "%s", r.path));
    if (method != OPTIMAL) COL_TRY(use_twin(&r, method, &s));
    COL_TRY(write_answer(&r, &s, col_options_get(options, "output")));
    if (!r.chain.memory || s.schedule.peak <= r.chain.memory) return NULL;
    return col_error_make(COL_INFEASIBLE,
                          "%s: %s schedule takes %" PRIu64 " bytes and does not fit a memory of %" PRIu64
                          " bytes; the smallest memory that would do is %" PRIu64 " bytes",
                          r.path, method == OPTIMAL ? "the least" : methods[method], s.schedule.peak,
                          r.chain.memory, s.least_memory);
}

static const col_option own_options[] = {
    {"memory", "SIZE", "memory for activations and gradients (default: as much as it takes)", false},
    {"method", "M", "optimal, greedy, sqrt or keep (default optimal)", false},
    {"time-limit", "S", "seconds for the solver (default 5)", false},
    {"gap", "G", "proved distance that counts as optimal (default 0.01)", false},
    {"output", "FILE", "write the answer to FILE (default: standard output); -o for short", false},
};

static const col_solve_command command = {
    .usage = "usage: colc solve checkpoint FILE.json [--memory SIZE] [options]",
    .summary = "What a chain of stages keeps and what it recomputes.",
    .options = own_options,
    .option_count = COL_COUNT(own_options),
    .solve_file = solve_file,
};

col_status col_solve_checkpoint_command(int argc, char **argv)
{
    return col_solve_run(&command, argc, argv);
}
