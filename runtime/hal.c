#include "runtime/hal.h"

#include <string.h>

#include "runtime/module.h"

static col_status load_cuda(const col_device_type **out_type)
{
    void *symbol;
    COL_TRY(col_module_open(
        "colc_cuda.so", "col_device_cuda",
        "build colc where CUDA and cuDNN are installed, or compile the model with --target cpu", &symbol));
    *out_type = symbol;
    return NULL;
}

col_status col_device_type_find(const char *name, const col_device_type **out_type)
{
    static const col_device_type *const types[] = {&col_device_null, &col_device_cpu};
    for (size_t i = 0; i < COL_COUNT(types); i++) {
        *out_type = types[i];
        if (!strcmp(types[i]->name, name)) return NULL;
    }
    if (!strcmp(name, "cuda")) return load_cuda(out_type);
    return col_error_make(COL_DEVICE, "the plan is for the target '%s', which this build cannot run", name);
}
