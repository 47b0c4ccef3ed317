/* ONNX tensors: from messages inside a model, from files of their own (.pb), and from the files that a model
 * keeps its weights in. */
#ifndef COL_ONNX_TENSOR_H
#define COL_ONNX_TENSOR_H

#include "frontend/onnx/onnx.pb-c.h"
#include "ir/base/file.h"
#include "ir/base/vec.h"
#include "ir/type.h"

/* A dense tensor: row-major, little-endian, `col_type_bytes(type)` bytes. */
typedef struct col_onnx_tensor {
    col_type type;
    const void *data;
    bool is_small; /* 8-bit floats in the file, f32 here */
} col_onnx_tensor;

/* The element type with that number in ONNX; COL_BAD_INPUT, naming it, for one that colc lacks. */
COL_MUST_USE col_status col_onnx_dtype(int32_t number, col_dtype *out_dtype);

/* Files of external data, each mapped once, and which bytes of them are taken. */
typedef struct col_onnx_file {
    const char *path;
    col_mapping mapping;
} col_onnx_file;

typedef struct col_onnx_range {
    size_t file; /* its index */
    uint64_t begin, end;
    const char *name; /* of the tensor */
} col_onnx_range;

typedef struct col_onnx_files {
    const char *folder; /* the model's, to which they are confined */
    COL_VEC(col_onnx_file) open;
    COL_VEC(col_onnx_range) taken;
} col_onnx_files;

/* COL_BAD_INPUT when two tensors have bytes in common: each has its own, or a small file could stand for any
 * amount of data. */
COL_MUST_USE col_status col_onnx_files_check(const col_onnx_files *files, col_arena *arena);
void col_onnx_files_close(col_onnx_files *files);

/* Checks a message and gives its elements, which lie in the message, in `arena`, or in one of `files`, which stays
 * open; NULL: external data is refused. */
COL_MUST_USE col_status col_onnx_tensor_read(const Col__Onnx__Tensor *message, col_onnx_files *files,
                                             col_arena *arena, col_onnx_tensor *out);
/* A message of the arena, which is not to be freed; NULL when the bytes are none. */
Col__Onnx__Tensor *col_onnx_tensor_unpack(const void *bytes, size_t size, col_arena *arena);
Col__Onnx__Model *col_onnx_model_unpack(const void *bytes, size_t size, col_arena *arena);

/* Reads a file that holds one tensor: an ONNX message, or NumPy's where the name ends in .npy. The elements
 * are in `arena`. */
COL_MUST_USE col_status col_onnx_tensor_file(const char *path, col_arena *arena, col_onnx_tensor *out);

/* Writes a tensor as a .npy file (write.c). */
COL_MUST_USE col_status col_onnx_write_numpy(const col_onnx_tensor *tensor, const char *path);

/* Whether that is ONNX's number of a type of 8-bit floats. */
bool col_onnx_is_small(int32_t number);

/* Element i as a number. */
double col_onnx_tensor_at(const col_onnx_tensor *tensor, int64_t i);

#endif
