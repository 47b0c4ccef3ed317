/* ONNX models to graphs.
 *
 * import.c   the file, its variables, its nodes in order; what is refused
 * fold.c     what is known while importing
 * tensor.c   element types and data            node.c    what the functions of ops see
 * ops.def    the table of ops and opsets       ops_*.c   one function per op, by family
 * write.c    a model as .ir and .safetensors   run.c     what `colc run` does with ONNX files */
#ifndef COL_ONNX_IMPORT_H
#define COL_ONNX_IMPORT_H

#include "frontend/onnx/tensor.h"
#include "ir/graph.h"

/* The value of an input that is known while importing: its name and a .npy or .pb file. */
typedef struct col_onnx_given {
    const char *name, *path;
} col_onnx_given;

/* A size that the model leaves open by a name. */
typedef struct col_onnx_size {
    const char *name;
    int64_t size;
} col_onnx_size;

typedef struct col_onnx_options {
    const col_onnx_given *given; /* settle open sizes, and shapes that depend on values of inputs */
    size_t given_count;
    const col_onnx_size *sizes;
    size_t size_count;
} col_onnx_options;

/* What a parameter of the graph holds. */
typedef struct col_onnx_weight {
    const col_var *var;
    const void *data; /* col_type_bytes(var->type) bytes */
} col_onnx_weight;

/* An output without elements, which a graph does not have. */
typedef struct col_onnx_empty {
    const char *name;
    col_type type;
} col_onnx_empty;

typedef struct col_onnx_model {
    col_graph *graph; /* unused nodes, parameters and inputs are gone */
    COL_VEC(col_onnx_weight) weights;
    COL_VEC(col_onnx_empty) empty;
    col_onnx_files files; /* in which weights may lie */
    col_map *inputs;      /* names of the file's inputs, also of those that the graph no longer has */
} col_onnx_model;

/* Reads a model and builds its graph; all of it lives in `arena` and in files that stay mapped: col_onnx_close(),
 * also after an error. Initializers are parameters under their own
 * names; what depends on constants, shapes and small values of `given` inputs alone is computed here where an
 * op needs to know it. COL_BAD_INPUT for a damaged file, for ops or uses of ops that colc lacks (all of them
 * at once, by name), and for sizes that are left open. */
COL_MUST_USE col_status col_onnx_import(const char *path, const col_onnx_options *options, col_arena *arena,
                                        col_onnx_model *out);
/* The same from bytes in memory; `folder` is where external data may lie, NULL: nowhere. */
COL_MUST_USE col_status col_onnx_import_bytes(const char *name, const char *folder, const void *bytes,
                                              size_t size, const col_onnx_options *options, col_arena *arena,
                                              col_onnx_model *out);
void col_onnx_close(col_onnx_model *model);

/* Writes `model.ir` and, if there are weights, `model.safetensors` into the folder, making it. */
COL_MUST_USE col_status col_onnx_write(const col_onnx_model *model, const char *folder);
/* The weights alone, to a file. */
COL_MUST_USE col_status col_onnx_write_weights(const col_onnx_model *model, const char *path);

#endif
