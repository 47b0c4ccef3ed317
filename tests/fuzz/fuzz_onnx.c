/* The ONNX importer: any bytes give a graph that verifies and whose text parses, or one error; so do any bytes as a
 * tensor. Nothing outside the bytes is read: there is no folder for external data. */
#include <stdlib.h>

#include "frontend/onnx/import.h"
#include "frontend/onnx/tensor.h"
#include "frontend/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const col_graph *graph, col_arena *arena)
{
    col_str text = {0};
    col_graph_print(graph, &text);
    col_source source = {"onnx", col_str_text(&text), text.len};
    col_graph *parsed;
    col_status status = col_parse_model(&source, NULL, arena, &parsed);
    if (status) COL_PANIC("%s\n%s", col_error_message(status), col_str_text(&text));
    col_str_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    col_arena *arena = col_arena_create();
    col_onnx_size sizes[] = {{"n", 2}};
    col_onnx_options options = {.sizes = sizes, .size_count = 1};
    col_onnx_model model;
    col_status status = col_onnx_import_bytes("fuzz", NULL, data, size, &options, arena, &model);
    if (!status) {
        if (!model.graph->outputs.len && !model.empty.len) COL_PANIC("a model without outputs was imported");
        status = col_graph_verify(model.graph);
        if (status) COL_PANIC("%s", col_error_message(status));
        if (model.graph->outputs.len) check_text(model.graph, arena);
    }
    col_error_free(status);
    const Col__Onnx__Tensor *message = col_onnx_tensor_unpack(data, size, arena);
    col_onnx_tensor tensor;
    if (message && !col_error_ignore(col_onnx_tensor_read(message, NULL, arena, &tensor))) {
        volatile double sum = 0;
        for (int64_t i = 0; i < col_shape_numel(tensor.type.shape); i++)
            sum += col_onnx_tensor_at(&tensor, i);
    }
    col_arena_destroy(arena);
    return 0;
}
