#include "runtime/hal.h"

#include <string.h>
#include <time.h>

const col_device_type *col_device_type_find(const char *name)
{
    static const col_device_type *const types[] = {&col_device_null, &col_device_cpu};
    for (size_t i = 0; i < COL_COUNT(types); i++) {
        if (!strcmp(types[i]->name, name)) return types[i];
    }
    return NULL;
}

double col_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
