/* What the build functions of modules share (see module.c): the call, and the parts that they are built of. */
#ifndef COL_FRONTEND_MODULE_H
#define COL_FRONTEND_MODULE_H

#include "frontend/elaborate.h"

enum { COL_MODULE_ARGUMENTS = 10 };

/* A call being run: arguments in the order of the row. */
typedef struct col_instance {
    col_elab *e;
    col_loc loc;
    const col_datum *arguments;
    col_value *tensors[COL_MODULE_ARGUMENTS]; /* of the TENSOR arguments; NULL where not given */
} col_instance;

/* A variable in the present scope; NULL and reported when that cannot be. */
col_value *col_instance_var(const col_instance *m, col_var_kind kind, const char *name, col_dtype dtype,
                            int rank, const int64_t *dims, col_init init);
col_value *col_instance_param(const col_instance *m, const char *name, col_dtype dtype, int rank,
                              const int64_t *dims, col_init init);

/* The node's result is the module's; false when the node is NULL. */
bool col_instance_give(const col_instance *m, col_node *node, col_datum *out);
col_node *col_instance_unary(const col_instance *m, col_op op, col_value *x, col_attr attr);
/* False and reported unless x is floating-point with an axis to work along. */
bool col_instance_want_float(const col_instance *m, const col_value *x);

/* Build functions; false after a fault that was reported. module_dense.c: */
bool col_module_build_linear(const col_instance *m, col_datum *out);
bool col_module_build_dense(const col_instance *m, col_datum *out);
bool col_module_build_layer_norm(const col_instance *m, col_datum *out);
bool col_module_build_embedding(const col_instance *m, col_datum *out);
bool col_module_build_dropout(const col_instance *m, col_datum *out);
bool col_module_build_attention(const col_instance *m, col_datum *out);
bool col_module_build_matmul(const col_instance *m, col_datum *out);
bool col_module_build_transpose(const col_instance *m, col_datum *out);
bool col_module_build_positions(const col_instance *m, col_datum *out);
/* module_window.c: */
bool col_module_build_conv(const col_instance *m, col_datum *out);
bool col_module_build_max_pool(const col_instance *m, col_datum *out);
bool col_module_build_avg_pool(const col_instance *m, col_datum *out);
bool col_module_build_batch_norm(const col_instance *m, col_datum *out);

#endif
