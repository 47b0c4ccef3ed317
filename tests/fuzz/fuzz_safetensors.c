/* The safetensors reader on any bytes: refuses or reads, and what it reads lies inside the bytes. The input
 * is tried as a file, and, because a length that fits its header is rare by chance, as JSON up to the last
 * '}' and data. */
#include "ir/base/str.h"
#include "runtime/store/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_file(const uint8_t *data, size_t size)
{
    col_safetensors *set = NULL;
    if (col_error_ignore(col_safetensors_open_bytes("fuzz", data, size, &set))) return;
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length = size;
    while (length && data[length - 1] != '}') length--;
    try_file(data, size);
    if (!length) return 0;
    col_str file = {0};
    for (size_t i = 0; i < 8; i++)
        col_str_append_bytes(&file, &(char){(char)((uint64_t)length >> (8 * i))}, 1);
    col_str_append_bytes(&file, data, size);
    try_file((const uint8_t *)file.data, file.len);
    col_str_fini(&file);
    return 0;
}
