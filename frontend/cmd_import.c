/* colc import: a model in another format as .ir and .safetensors. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"
#include "frontend/onnx/import.h"

static const col_option import_options[] = {
    {"output", "DIR", "folder for model.ir and model.safetensors (-o)", false},
    {"input", "NAME=FILE", "a .npy or .pb: settles sizes and shapes that depend on this input; repeats",
     true},
    {"size", "NAME=N", "a size that the model leaves open; repeats", true},
};

static col_status read_options(const col_options *options, col_arena *arena, col_onnx_options *out)
{
    COL_VEC(col_onnx_given) given = {0};
    COL_VEC(col_onnx_size) sizes = {0};
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        bool is_size = !strcmp(v->option->name, "size");
        if (!is_size && strcmp(v->option->name, "input")) continue;
        const char *equals = strchr(v->value, '=');
        if (!equals || equals == v->value || !equals[1])
            return col_error_make(COL_BAD_INPUT, "--%s %s: write %s", v->option->name, v->value,
                                  v->option->argument);
        const char *name = col_arena_strndup(arena, v->value, (size_t)(equals - v->value));
        if (is_size) {
            col_onnx_size size = {.name = name};
            COL_TRY(col_parse_int("--size", equals + 1, 0, INT32_MAX, &size.size));
            col_vec_push(arena, &sizes, size);
        } else {
            col_onnx_given g = {name, equals + 1};
            col_vec_push(arena, &given, g);
        }
    }
    *out = (col_onnx_options){given.data, given.len, sizes.data, sizes.len};
    return NULL;
}

static void print_summary(const col_onnx_model *model, const char *folder)
{
    double elements = 0;
    for (size_t i = 0; i < model->weights.len; i++)
        elements += (double)col_shape_numel(model->weights.data[i].var->type.shape);
    char count[COL_HUMAN_SIZE];
    printf("%s/model.ir: %zu ops, %zu parameters of %s elements\n", folder, model->graph->node_count,
           model->weights.len, col_format_count(count, elements));
}

static col_status import(col_options *options, const col_command *command, col_arena *arena)
{
    col_onnx_options given;
    col_onnx_model model;
    const char *folder = col_options_get(options, "output");
    if (options->positionals.len != 2 || strcmp(options->positionals.data[0], "onnx") || !folder)
        return col_error_make(COL_BAD_INPUT, "usage: colc %s %s", command->name, command->usage);
    COL_TRY(read_options(options, arena, &given));
    col_status status = col_onnx_import(options->positionals.data[1], &given, arena, &model);
    if (!status) status = col_onnx_write(&model, folder);
    if (!status) print_summary(&model, folder);
    col_onnx_close(&model);
    return status;
}

col_status col_command_import(const col_command *command, int argc, char **argv)
{
    const col_option *tables[] = {import_options};
    size_t sizes[] = {COL_COUNT(import_options)};
    return col_command_run(command, tables, sizes, 1, argc, argv, import);
}
