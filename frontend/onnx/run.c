#include "frontend/onnx/run.h"

#include <string.h>

#include "frontend/onnx/import.h"
#include "frontend/onnx/tensor.h"
#include "frontend/unnamed.h"

bool col_onnx_is_named(const char *path, const char *ending)
{
    size_t size = strlen(path), wanted = strlen(ending);
    return size > wanted && !strcmp(path + size - wanted, ending);
}

/* Splits the value of an --input; false for another option, or one that colrun will refuse. */
static bool read_input(const col_option_value *v, col_arena *arena, col_onnx_given *out)
{
    const char *equals = strchr(v->value, '=');
    if (strcmp(v->option->name, "input") || !equals || equals == v->value || !equals[1]) return false;
    *out = (col_onnx_given){col_arena_strndup(arena, v->value, (size_t)(equals - v->value)), equals + 1};
    return true;
}

/* Drops the inputs that were known by name to the file but are not the graph's. */
static void drop_inputs(col_options *options, const col_onnx_model *model, col_arena *arena)
{
    size_t kept = 0;
    for (size_t i = 0; i < options->values.len; i++) {
        col_onnx_given given;
        bool gone = read_input(&options->values.data[i], arena, &given) &&
                    col_map_get(model->inputs, given.name) && !col_graph_find_var(model->graph, given.name);
        if (!gone) options->values.data[kept++] = options->values.data[i];
    }
    options->values.len = kept;
}

static col_status add_weights(const col_onnx_model *model, col_options *options, col_arena *arena)
{
    char *path;
    const char *open_path;
    if (!model->weights.len || col_options_has(options, "weights")) return NULL;
    COL_TRY(col_unnamed_begin(arena, &path));
    COL_TRY(col_unnamed_end(col_onnx_write_weights(model, path), path, arena, &open_path));
    col_options_default(options, col_options_known(options, "weights"), open_path, arena);
    return NULL;
}

static col_status write_empty(const col_onnx_model *model, const col_options *options, col_arena *arena)
{
    const char *folder = col_options_get(options, "output");
    if (folder && model->empty.len) COL_TRY(col_make_folder(folder));
    for (size_t i = 0; folder && i < model->empty.len; i++) {
        const col_onnx_empty *e = &model->empty.data[i];
        COL_TRY(col_onnx_write_numpy(&(col_onnx_tensor){.type = e->type, .data = ""},
                                     col_arena_printf(arena, "%s/%s.npy", folder, e->name)));
    }
    return NULL;
}

col_status col_onnx_run_model(const char *path, col_options *options, col_arena *arena,
                              const col_source **out_source)
{
    COL_VEC(col_onnx_given) given = {0};
    for (size_t i = 0; i < options->values.len; i++) {
        col_onnx_given g;
        if (read_input(&options->values.data[i], arena, &g)) col_vec_push(arena, &given, g);
    }
    col_onnx_options import = {.given = given.data, .given_count = given.len};
    col_onnx_model model;
    *out_source = NULL;
    col_status status = col_onnx_import(path, &import, arena, &model);
    if (!status) status = write_empty(&model, options, arena);
    if (!status) drop_inputs(options, &model, arena);
    if (!status) status = add_weights(&model, options, arena);
    if (!status && model.graph->outputs.len) {
        col_str text = {0};
        col_graph_print(model.graph, &text);
        col_source source = {path, col_arena_strndup(arena, col_str_text(&text), text.len), text.len};
        col_str_fini(&text);
        *out_source = col_arena_copy(arena, &source, sizeof source);
    }
    col_onnx_close(&model);
    return status;
}

static col_status convert(const col_onnx_given *given, col_arena *arena, const char **out_value)
{
    col_onnx_tensor tensor;
    char *path;
    const char *open_path;
    COL_TRY(col_onnx_tensor_file(given->path, arena, &tensor));
    COL_TRY(col_unnamed_begin(arena, &path));
    COL_TRY(col_unnamed_end(col_onnx_write_numpy(&tensor, path), path, arena, &open_path));
    *out_value = col_arena_printf(arena, "%s=%s", given->name, open_path);
    return NULL;
}

col_status col_onnx_run_inputs(col_options *options, col_arena *arena)
{
    for (size_t i = 0; i < options->values.len; i++) {
        col_option_value *v = &options->values.data[i];
        col_onnx_given given;
        if (!read_input(v, arena, &given) || !col_onnx_is_named(given.path, ".pb")) continue;
        COL_TRY(col_error_annotate(convert(&given, arena, &v->value), "--input %s", given.name));
    }
    return NULL;
}
