#include "frontend/onnx/import.h"

#include "frontend/onnx/tensor.h"
#include "ir/base/file.h"
#include "runtime/store/npy.h"
#include "runtime/store/safetensors.h"

static col_store_dtype stored_dtype(col_dtype dtype)
{
    static const col_store_dtype stored[COL_DTYPE_COUNT] = {
        [COL_F32] = COL_STORE_F32,   [COL_F64] = COL_STORE_F64,   [COL_F16] = COL_STORE_F16,
        [COL_BF16] = COL_STORE_BF16, [COL_I32] = COL_STORE_I32,   [COL_I64] = COL_STORE_I64,
        [COL_U8] = COL_STORE_U8,     [COL_BOOL] = COL_STORE_BOOL, [COL_I8] = COL_STORE_I8,
        [COL_I16] = COL_STORE_I16,   [COL_U16] = COL_STORE_U16,   [COL_U32] = COL_STORE_U32,
        [COL_U64] = COL_STORE_U64};
    return stored[dtype];
}

col_status col_onnx_write_weights(const col_onnx_model *model, const char *path)
{
    col_arena *arena = col_arena_create();
    col_tensor_source *sources = COL_NEW_ARRAY(arena, col_tensor_source, model->weights.len + 1);
    for (size_t i = 0; i < model->weights.len; i++) {
        const col_onnx_weight *w = &model->weights.data[i];
        sources[i] = (col_tensor_source){.name = w->var->name,
                                         .dtype = stored_dtype(w->var->type.dtype),
                                         .rank = (uint32_t)w->var->type.shape.rank,
                                         .shape = w->var->type.shape.dims,
                                         .data = w->data};
    }
    col_status status = col_safetensors_write(path, sources, model->weights.len, NULL, 0);
    col_arena_destroy(arena);
    return status;
}

col_status col_onnx_write(const col_onnx_model *model, const char *folder)
{
    if (model->empty.len) {
        return col_error_make(COL_BAD_INPUT,
                              "the output '%s' has no elements: models have none of those; remove it",
                              model->empty.data[0].name);
    }
    COL_TRY(col_make_folder(folder));
    col_arena *arena = col_arena_create();
    col_str text = {0};
    col_graph_print(model->graph, &text);
    col_status status =
        col_onnx_write_weights(model, col_arena_printf(arena, "%s/model.safetensors", folder));
    if (!status)
        status =
            col_file_write(col_arena_printf(arena, "%s/model.ir", folder), col_str_text(&text), text.len);
    col_str_fini(&text);
    col_arena_destroy(arena);
    return status;
}

col_status col_onnx_write_numpy(const col_onnx_tensor *tensor, const char *path)
{
    col_dtype dtype = tensor->type.dtype; /* NumPy has no bf16: its bits stand for it */
    return col_npy_write(path, dtype == COL_BF16 ? COL_STORE_U16 : stored_dtype(dtype),
                         (uint32_t)tensor->type.shape.rank, tensor->type.shape.dims, tensor->data);
}
