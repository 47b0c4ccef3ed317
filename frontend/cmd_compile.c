/* colc compile: a model to a plan file, with a summary and, on request, a report. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"
#include "frontend/compile.h"
#include "frontend/report.h"
#include "ir/base/file.h"
#include "ir/plan/plan_io.h"

static const col_option own_options[] = {
    {"output", "PLAN", "the plan's file (-o; default: the model's name with .plan)", false},
    {"report", "FILE.json", "write the figures of the plan as JSON", false},
};

static const char *default_output(const char *model, col_arena *arena)
{
    const char *slash = strrchr(model, '/'), *base = slash ? slash + 1 : model, *dot = strrchr(base, '.');
    size_t size = dot && dot > base ? (size_t)(dot - base) : strlen(base);
    return col_arena_printf(arena, "%.*s.plan", (int)size, base);
}

/* A plan may be looked at that no device can hold; whoever wants to run it should know. */
static void warn_of_memory(const col_compile_options *options, const col_plan *plan)
{
    double has = options->machine.memory_bytes;
    char need[COL_HUMAN_SIZE], have[COL_HUMAN_SIZE];
    if (options->memory_bytes || has <= 0 || (double)plan->arena_bytes <= has) return;
    fprintf(stderr,
            "notice: the plan takes %s of a device, and one of %s has %s; --memory 100%% looks for a plan "
            "that fits\n",
            col_format_bytes(need, (double)plan->arena_bytes), options->machine.name,
            col_format_bytes(have, has));
}

static col_status compile(col_options *options, const col_command *command, col_arena *arena)
{
    col_compile_options compile_options = {0};
    col_plan *plan;
    COL_TRY(col_compile_recipe(options, arena));
    COL_TRY(col_command_argument(command, options, &compile_options.model_path));
    COL_TRY(col_compile_options_read(options, arena, &compile_options));
    COL_TRY(col_compile_use_read(options, arena, &compile_options));
    COL_TRY(col_compile(&compile_options, arena, &plan));
    if (!plan) return NULL;
    const char *output = col_options_get(options, "output"), *report = col_options_get(options, "report");
    if (!output) output = default_output(compile_options.model_path, arena);
    COL_TRY(col_plan_write(plan, output));
    if (report) COL_TRY(col_report_write(plan, report));
    col_str text = {0};
    col_report_summary(plan, &text);
    fprintf(stderr, "%swrote %s\n", col_str_text(&text), output);
    col_str_fini(&text);
    warn_of_memory(&compile_options, plan);
    return NULL;
}

col_status col_command_compile(const col_command *command, int argc, char **argv)
{
    const col_option *tables[] = {own_options, &col_compile_use_option, col_compile_option_table};
    size_t sizes[] = {COL_COUNT(own_options), 1, col_compile_option_count};
    return col_command_run(command, tables, sizes, COL_COUNT(tables), argc, argv, compile);
}
