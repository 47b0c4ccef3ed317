/* What `colc run` does with ONNX files before `colrun` starts: the executor knows .npy and .safetensors only. */
#ifndef COL_ONNX_RUN_H
#define COL_ONNX_RUN_H

#include "ir/base/diag.h"
#include "ir/base/options.h"

/* Whether the file's name ends in `ending`. */
bool col_onnx_is_named(const char *path, const char *ending);

/* Imports the model with the values of --input. `*out_source` is its text; the options get --weights, unless it
 * is given, and lose the inputs that the import has made constants or found unused. Outputs without elements are
 * written here; `*out_source` is NULL when there are no others. */
COL_MUST_USE col_status col_onnx_run_model(const char *path, col_options *options, col_arena *arena,
                                           const col_source **out_source);

/* Replaces FILE.pb of every --input by a NumPy file of the same tensor. */
COL_MUST_USE col_status col_onnx_run_inputs(col_options *options, col_arena *arena);

#endif
