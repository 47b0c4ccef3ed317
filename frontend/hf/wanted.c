#include "frontend/hf/wanted.h"

const col_wanted_tensor *col_hf_wanted(const col_graph *graph, col_arena *arena, size_t *out_count)
{
    col_wanted_tensor *wanted = COL_NEW_ARRAY(arena, col_wanted_tensor, graph->vars.len);
    *out_count = 0;
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        if (var->kind == COL_VAR_INPUT) continue;
        COL_ASSERT(var->type.dtype == COL_F32); /* as in all shipped texts */
        wanted[(*out_count)++] = (col_wanted_tensor){var->name, COL_STORE_F32, (uint32_t)var->type.shape.rank,
                                                     var->type.shape.dims};
    }
    return wanted;
}
