/* The arithmetic of a node: floating-point operations, a multiply-add being two. */
#ifndef COL_IR_WORK_H
#define COL_IR_WORK_H

#include "ir/graph.h"

/* What does the work: matrix products and convolutions of the device's library, the executor's attention,
 * generated kernels, copies and scatters. */
typedef enum col_work { COL_WORK_PRODUCT, COL_WORK_ATTENTION, COL_WORK_KERNEL, COL_WORK_MOVE } col_work;

col_work col_node_work(const col_node *node);
/* Of the whole node. Elementwise ops count by their cost in ir/ops.def, moves and views as nothing. */
double col_node_flops(const col_node *node);

#endif
