/* colc verify: gradients against finite differences, and a plan against the reference walk of its model.
 *
 * Of a model, the plan is compiled here, with every gradient as an output; a plan is taken as it is, and
 * brings its model's text and options with it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frontend/commands.h"
#include "frontend/compile.h"
#include "frontend/verify.h"
#include "ir/base/file.h"
#include "ir/plan/plan_io.h"

static const col_option own_options[] = {
    {"tolerance", "X", "largest difference, relative to a tensor's largest element (default 1e-4)", false},
    {"time-limit", "S", "refuse a model whose reference would take longer than this (default 1800)", false},
    {"seed", "N", "of the numbers to check with (default 1)", false},
};

/* An empty file of a new name, for the plan of a model. */
static col_status make_temporary(col_arena *arena, const char **out_path)
{
    const char *folder = getenv("TMPDIR");
    char *path = col_arena_printf(arena, "%s/colc-verify-XXXXXX", folder && *folder ? folder : "/tmp");
    int file = mkstemp(path);
    if (file < 0)
        return col_error_from_errno(errno, "cannot make a file for the plan in '%s'",
                                    folder ? folder : "/tmp");
    close(file);
    *out_path = path;
    return NULL;
}

static col_status check(const char *plan_path, const char *gradients_path, const col_compile_options *compile,
                        const col_verify_options *options, bool *out_leads)
{
    size_t gradients = 0, tensors = 0;
    if (compile->use == COL_USE_TRAIN)
        COL_TRY(col_verify_gradients(compile->source, &compile->parse, options, &gradients));
    COL_TRY(col_verify_plan(plan_path, gradients_path, compile, options, &tensors, out_leads));
    if (!*out_leads) return NULL;
    if (!gradients && !tensors) {
        printf("\nall agree\n");
        return NULL;
    }
    return col_error_make(
        COL_INTERNAL,
        "%zu gradients and %zu tensors are wrong (marked above): this is an error of colc, please report it "
        "with the model",
        gradients, tensors);
}

/* Verifies a plan that is compiled here, with every gradient as an output; or only its gradients, and with
 * them the plan at `path`. */
static col_status verify_compiled(const char *path, const col_compile_options *compile,
                                  const col_verify_options *options, col_arena *arena)
{
    col_plan *plan;
    const char *own = NULL;
    bool leads = true;
    COL_TRY(col_compile(compile, arena, &plan));
    if (!plan) return NULL;
    COL_TRY(make_temporary(arena, &own));
    col_status status = col_plan_write(plan, own);
    if (!status) status = check(path ? path : own, path ? own : NULL, compile, options, &leads);
    if (leads) unlink(own);
    return status;
}

static col_status verify_plan(const char *path, const col_verify_options *options, col_arena *arena)
{
    col_plan *plan;
    col_compile_options compile;
    bool leads;
    COL_TRY(col_plan_read(path, &plan));
    col_status status = col_compile_options_of_plan(plan, arena, &compile);
    compile.passes.keep_gradients = true;
    compile.memory_bytes = 0; /* that the outputs need is no fault of the plan */
    if (!status && compile.use == COL_USE_TRAIN)
        status = verify_compiled(path, &compile, options, arena);
    else if (!status)
        status = check(path, NULL, &compile, options, &leads);
    col_plan_free(plan);
    return col_error_annotate(status, "'%s'", path);
}

static col_status refuse_compile_options(const col_options *options)
{
    for (size_t i = 0; i < options->values.len; i++) {
        const char *name = options->values.data[i].option->name;
        if (col_option_find((const col_option *[]){own_options}, (size_t[]){COL_COUNT(own_options)}, 1, name))
            continue;
        return col_error_make(
            COL_BAD_INPUT, "--%s has no effect on a plan, which is compiled already; give the model instead",
            name);
    }
    return NULL;
}

static col_status verify(col_options *options, const col_command *command, col_arena *arena)
{
    col_verify_options how = {.tolerance = 1e-4, .time_limit = 1800, .seed = 1};
    col_compile_options compile = {0};
    if (getenv("OMPI_COMM_WORLD_SIZE"))
        return col_error_make(COL_BAD_INPUT, "colc verify starts all ranks itself: start it without mpirun");
    COL_TRY(col_compile_recipe(options, arena));
    COL_TRY(col_command_argument(command, options, &compile.model_path));
    COL_TRY(col_options_double(options, "tolerance", 0, 1, &how.tolerance));
    COL_TRY(col_options_double(options, "time-limit", 0, 1e9, &how.time_limit));
    COL_TRY(col_options_int(options, "seed", 0, INT64_MAX / 2, &how.seed));
    if (col_plan_is_file(compile.model_path)) {
        COL_TRY(refuse_compile_options(options));
        return verify_plan(compile.model_path, &how, arena);
    }
    char *text;
    size_t size;
    COL_TRY(col_compile_options_read(options, arena, &compile));
    COL_TRY(col_file_read(arena, compile.model_path, COL_PARSE_BYTES, &text, &size));
    col_source source = {compile.model_path, text, size};
    compile.source = &source;
    compile.passes.keep_gradients = true;
    COL_TRY(col_compile_use_read(options, arena, &compile));
    return verify_compiled(NULL, &compile, &how, arena);
}

col_status col_command_verify(const col_command *command, int argc, char **argv)
{
    const col_option *tables[] = {own_options, &col_compile_use_option, col_compile_option_table};
    size_t sizes[] = {COL_COUNT(own_options), 1, col_compile_option_count};
    return col_command_run(command, tables, sizes, COL_COUNT(tables), argc, argv, verify);
}
