/* colc explain: why the plan is what it is. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"
#include "frontend/explain.h"
#include "frontend/machine.h"
#include "frontend/predict.h"
#include "frontend/report.h"
#include "ir/base/file.h"
#include "ir/plan/plan_io.h"

static const col_option own_options[] = {
    {"format", "NAME", "text (default), json or html", false},
    {"output", "FILE", "write to this file (-o; default: standard output)", false},
    {"program", "NAME", "only this program", false},
    {"machine", "NAME|FILE", "predict times for this machine instead of the plan's", false},
    {"variables", NULL, "also every parameter, state and input with its place", false},
    {"edges", NULL, "also edges between equal layouts, and views", false},
};

enum { FORMAT_TEXT, FORMAT_JSON, FORMAT_HTML };

static col_status check_program(const col_plan *plan, const char *name)
{
    if (!name || col_plan_find_program(plan, name)) return NULL;
    col_str list = {0};
    for (size_t i = 0; i < plan->n_programs; i++)
        col_str_printf(&list, "%s%s", i ? ", " : "", plan->programs[i]->name);
    col_status status = col_error_make(COL_BAD_INPUT, "--program: the plan has no program '%s'; it has %s",
                                       name, col_str_text(&list));
    col_str_fini(&list);
    return status;
}

static col_status print(const col_plan *plan, const col_explain_options *how, int format, const char *path)
{
    col_str text = {0};
    if (format == FORMAT_JSON) {
        json_t *json = col_explain_json(plan, how);
        col_report_print_json(json, &text);
        json_decref(json);
    } else if (format == FORMAT_HTML) {
        col_explain_html(plan, &text);
    } else {
        col_explain_text(plan, how, &text);
    }
    col_status status = col_file_write_or_print(path, col_str_text(&text), text.len);
    col_str_fini(&text);
    return status;
}

/* The machine as the user named it when the plan was compiled, which may be a file; else by the name that it
 * has. */
static const char *machine_name(const col_plan *plan)
{
    for (size_t i = 0; plan->source && i < plan->source->n_options; i++) {
        if (!strcmp(plan->source->options[i]->name, "machine")) return plan->source->options[i]->value;
    }
    return plan->machine;
}

/* Explains the plan for its own machine, if that is still known, or for another one. */
static col_status explain_for(const char *machine_option, col_plan *plan, col_explain_options *how,
                              int format, const char *path)
{
    col_machine machine;
    char *own_name = plan->machine;
    if (machine_option) {
        COL_TRY(col_machine_read(machine_option, &machine));
        col_predict(&machine, plan);
        plan->machine = machine.name;
        how->machine = &machine;
    } else if (!col_error_ignore(col_machine_read(machine_name(plan), &machine))) {
        how->machine = &machine;
    }
    col_status status = print(plan, how, format, path);
    plan->machine = own_name;
    return status;
}

static col_status explain(col_options *options, const col_command *command, col_arena *arena)
{
    (void)arena;
    static const char *const formats[] = {"text", "json", "html"};
    const char *path;
    int format = FORMAT_TEXT;
    col_plan *plan;
    COL_TRY(col_command_argument(command, options, &path));
    COL_TRY(col_options_choice(options, "format", formats, COL_COUNT(formats), &format));
    COL_TRY(col_plan_read(path, &plan));
    col_explain_options how = {.program = col_options_get(options, "program"),
                               .variables = col_options_has(options, "variables"),
                               .edges = col_options_has(options, "edges")};
    col_status status = check_program(plan, how.program);
    if (!status) {
        status = explain_for(col_options_get(options, "machine"), plan, &how, format,
                             col_options_get(options, "output"));
    }
    col_plan_free(plan);
    return status;
}

col_status col_command_explain(const col_command *command, int argc, char **argv)
{
    const col_option *tables[] = {own_options};
    size_t sizes[] = {COL_COUNT(own_options)};
    return col_command_run(command, tables, sizes, COL_COUNT(tables), argc, argv, explain);
}
