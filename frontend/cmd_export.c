/* colc export: a model and its weights as a folder of another library. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"
#include "frontend/hf/import.h"

static const col_option export_options[] = {
    {"output", "DIR", "folder for config.json and model.safetensors (-o)", false},
    {"weights", "DIR", "weights: a folder, a checkpoint or a .safetensors file; default: the model's folder",
     false},
    {"set", "KEY=VALUE", "a hyperparameter of the model, as the weights were made with; repeats", true},
};

static col_status read_settings(const col_options *options, col_arena *arena, col_hf_export_options *out)
{
    COL_VEC(col_parse_setting) settings = {0};
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        if (strcmp(v->option->name, "set")) continue;
        const char *equals = strchr(v->value, '=');
        if (!equals || equals == v->value || !equals[1])
            return col_error_make(COL_BAD_INPUT, "--set %s: write KEY=VALUE", v->value);
        const char *key = col_arena_strndup(arena, v->value, (size_t)(equals - v->value));
        col_parse_setting setting = {key, equals + 1};
        col_vec_push(arena, &settings, setting);
    }
    out->settings = settings.data;
    out->setting_count = settings.len;
    return NULL;
}

static col_status export(col_options *options, const col_command *command, col_arena *arena)
{
    const char *folder = col_options_get(options, "output");
    char count[COL_HUMAN_SIZE];
    col_hf_report report;
    if (options->positionals.len != 2 || strcmp(options->positionals.data[0], "hf") || !folder)
        return col_error_make(COL_BAD_INPUT, "usage: colc %s %s", command->name, command->usage);
    col_hf_export_options given = {.model = options->positionals.data[1],
                                   .weights = col_options_get(options, "weights")};
    COL_TRY(read_settings(options, arena, &given));
    COL_TRY(col_hf_export(&given, folder, arena, &report));
    printf("%s: %s, %zu tensors of %s elements\n", folder, report.family, report.tensors,
           col_format_count(count, report.elements));
    return NULL;
}

col_status col_command_export(const col_command *command, int argc, char **argv)
{
    const col_option *tables[] = {export_options};
    size_t sizes[] = {COL_COUNT(export_options)};
    return col_command_run(command, tables, sizes, 1, argc, argv, export);
}
