/* The arithmetic of a node: floating-point operations, a multiply-add being two. */
#ifndef COL_IR_WORK_H
#define COL_IR_WORK_H

#include "ir/graph.h"

/* Of the whole node. Elementwise ops count by their cost in ir/ops.def, moves and views as nothing. */
double col_node_flops(const col_node *node);

#endif
