/* colc import: a model of ONNX or Hugging Face as .ir and .safetensors. */
#include <stdio.h>
#include <string.h>

#include "frontend/commands.h"
#include "frontend/hf/import.h"
#include "frontend/onnx/import.h"

static const col_option import_options[] = {
    {"output", "DIR", "folder for model.ir and model.safetensors (-o)", false},
    {"input", "NAME=FILE",
     "ONNX: a .npy or .pb that settles sizes and shapes that depend on this input; repeats", true},
    {"size", "NAME=N", "ONNX: a size that the model leaves open; repeats", true},
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

static col_status import_hf(const col_options *options, const char *from, const char *folder,
                            col_arena *arena)
{
    col_hf_report report;
    char count[COL_HUMAN_SIZE];
    if (col_options_has(options, "input") || col_options_has(options, "size")) {
        return col_error_make(COL_BAD_INPUT,
                              "--input and --size are for ONNX files: a model of Hugging Face has its "
                              "sizes in config.json");
    }
    COL_TRY(col_hf_import(from, folder, arena, &report));
    printf("%s/model.ir: %s, %zu tensors of %s elements; weights %s\n", folder, report.family, report.tensors,
           col_format_count(count, report.elements), report.copied ? "copied" : "linked");
    if (report.unknown) {
        fprintf(stderr, "notice: %s/config.json: %s passed over: colc does not know what it means\n", from,
                report.unknown);
    }
    return NULL;
}

static col_status import_onnx(const col_options *options, const char *file, const char *folder,
                              col_arena *arena)
{
    col_onnx_options given;
    col_onnx_model model;
    COL_TRY(read_options(options, arena, &given));
    col_status status = col_onnx_import(file, &given, arena, &model);
    if (!status) status = col_onnx_write(&model, folder);
    if (!status) print_summary(&model, folder);
    col_onnx_close(&model);
    return status;
}

static col_status import(col_options *options, const col_command *command, col_arena *arena)
{
    const char *folder = col_options_get(options, "output");
    const char *const *given = options->positionals.data;
    bool is_hf = options->positionals.len == 2 && !strcmp(given[0], "hf");
    bool is_onnx = options->positionals.len == 2 && !strcmp(given[0], "onnx");
    if (!folder || !(is_hf || is_onnx))
        return col_error_make(COL_BAD_INPUT, "usage: colc %s %s", command->name, command->usage);
    return is_hf ? import_hf(options, given[1], folder, arena)
                 : import_onnx(options, given[1], folder, arena);
}

col_status col_command_import(const col_command *command, int argc, char **argv)
{
    const col_option *tables[] = {import_options};
    size_t sizes[] = {COL_COUNT(import_options)};
    return col_command_run(command, tables, sizes, 1, argc, argv, import);
}
