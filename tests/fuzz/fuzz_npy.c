/* The .npy reader on any bytes: refuses or reads, and what it reads is exactly the rest of the bytes. */
#include "runtime/store/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    col_npy array;
    if (col_error_ignore(col_npy_parse("fuzz", data, size, &array))) return 0;
    uint64_t bytes = 0;
    COL_ASSERT(array.rank <= COL_NPY_RANK_LIMIT);
    COL_ASSERT(col_store_tensor_bytes(array.dtype, array.rank, array.shape, &bytes) && bytes == array.bytes);
    COL_ASSERT((const uint8_t *)array.data + bytes == data + size);
    return 0;
}
