/* The safetensors reader on any bytes: refuses or reads, and what it reads lies inside the bytes. */
#include "runtime/store/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    col_safetensors *set = NULL;
    if (col_error_ignore(col_safetensors_open_bytes("fuzz", data, size, &set))) return 0;
    uint64_t total = 0;
    for (size_t i = 0; i < col_safetensors_count(set); i++) {
        const col_stored_tensor *t = col_safetensors_at(set, i);
        const uint8_t *start = t->data;
        uint64_t bytes = 0;
        COL_ASSERT(col_store_tensor_bytes(t->dtype, t->rank, t->shape, &bytes) && bytes == t->bytes);
        COL_ASSERT(start >= data && t->bytes <= (uint64_t)(data + size - start));
        COL_ASSERT(col_safetensors_find(set, t->name) == t);
        total += bytes;
    }
    COL_ASSERT(total <= size);
    bool damaged = col_error_ignore(col_safetensors_verify(set, NULL));
    (void)damaged;
    col_safetensors_close(set);
    return 0;
}
