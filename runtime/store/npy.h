/* NumPy .npy files, versions 1 and 2: "\x93NUMPY", version, header length, a Python dict literal
 * {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } padded with spaces and ended by a newline,
 * data. Little-endian, row-major numbers and booleans only; what else NumPy can write is refused by name.
 * Source: NumPy's description of the format (numpy.lib.format). */
#ifndef COL_STORE_NPY_H
#define COL_STORE_NPY_H

#include "ir/base/file.h"
#include "runtime/store/dtype.h"

enum { COL_NPY_RANK_LIMIT = 64 };

typedef struct col_npy {
    col_store_dtype dtype;
    uint32_t rank;
    int64_t shape[COL_NPY_RANK_LIMIT];
    const void *data; /* into the mapping, aligned to 64 bytes in files by NumPy >= 1.14 and ours */
    uint64_t bytes;
    col_mapping mapping; /* empty after col_npy_parse */
} col_npy;

/* Maps and checks a file; release with col_npy_close. COL_BAD_INPUT for all that breaks the format. */
COL_MUST_USE col_status col_npy_open(const char *path, col_npy *out_array);
void col_npy_close(col_npy *array);
/* The same on bytes in memory, which must outlive the result. `name` is for messages. */
COL_MUST_USE col_status col_npy_parse(const char *name, const void *bytes, size_t size, col_npy *out_array);

/* Writes a file, replacing `path` atomically. COL_BAD_INPUT for a type that NumPy lacks (BF16, F8, …). */
COL_MUST_USE col_status col_npy_write(const char *path, col_store_dtype dtype, uint32_t rank,
                                      const int64_t *shape, const void *data);

#endif
