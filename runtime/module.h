/* Shared modules beside the program (colc_mpi.so, colc_cuda.so): what only some machines have. */
#ifndef COL_RUNTIME_MODULE_H
#define COL_RUNTIME_MODULE_H

#include "ir/base/status.h"

/* A symbol of the module `file`, which lies in the folder $COLC_MODULES, or else beside the program or in
 * ../lib/colc, and stays open. COL_DEVICE where it cannot be opened; the message ends with `remedy`. */
COL_MUST_USE col_status col_module_open(const char *file, const char *symbol, const char *remedy,
                                        void **out_symbol);

#endif
