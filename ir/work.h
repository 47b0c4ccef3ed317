/* The arithmetic of a node, by the column `work` of the op table. */
#ifndef COL_IR_WORK_H
#define COL_IR_WORK_H

#include "ir/graph.h"

/* Elementwise ops count by their cost in ir/ops.def, moves and views as nothing. */
col_work col_node_work(const col_node *node);

#endif
