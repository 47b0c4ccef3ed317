/* ONNX tensors: from messages inside a model, from files of their own (.pb), and from the files that a model
 * keeps its weights in. */
#ifndef COL_ONNX_TENSOR_H
#define COL_ONNX_TENSOR_H

#include "frontend/onnx/onnx.pb-c.h"
#include "ir/type.h"

/* A dense tensor: row-major, little-endian, `col_type_bytes(type)` bytes. */
typedef struct col_onnx_tensor {
    col_type type;
    const void *data;
} col_onnx_tensor;

/* The element type with that number in ONNX; COL_BAD_INPUT, naming it, for one that colc lacks. */
COL_MUST_USE col_status col_onnx_dtype(int32_t number, col_dtype *out_dtype);

/* Checks a message and gives its elements, which lie in the message or in `arena`. `folder` is the model's, to
 * which external data is confined; NULL: there is none, and such data is refused. */
COL_MUST_USE col_status col_onnx_tensor_read(const Col__Onnx__Tensor *message, const char *folder,
                                             col_arena *arena, col_onnx_tensor *out);

/* Reads a file that holds one tensor: an ONNX message, or NumPy's where the name ends in .npy. The elements
 * are in `arena`. */
COL_MUST_USE col_status col_onnx_tensor_file(const char *path, col_arena *arena, col_onnx_tensor *out);

/* Writes a tensor as a .npy file (write.c). */
COL_MUST_USE col_status col_onnx_write_numpy(const col_onnx_tensor *tensor, const char *path);

/* Element i as a number. */
double col_onnx_tensor_at(const col_onnx_tensor *tensor, int64_t i);

#endif
