/* Writes to variables. Reading one needs no op: a variable is a value, as it was at the start of the step. */
#include "ir/factors.h"
#include "ir/ops/family.h"

bool col_infer_assign(col_node *node, col_diags *diags)
{
    const char *name = col_node_text(node, COL_ATTR_VARIABLE);
    const col_var *var = col_graph_find_var(node->graph, name);
    if (!var) return col_op_fault(node, diags, "there is no variable '%s'", name);
    if (var->kind == COL_VAR_INPUT)
        return col_op_fault(node, diags, "'%s' is an input; only parameters and states can be assigned",
                            name);
    if (!col_type_equal(var->type, operand_type(node, 0))) {
        return col_op_fault(node, diags, "'%s' is %s; the value is %s", name,
                            col_op_type_text(diags, var->type),
                            col_op_type_text(diags, operand_type(node, 0)));
    }
    return true;
}

void col_relate_assign(col_factors *f, const col_node *node)
{
    col_slot x = col_operand_slot(node, 0);
    for (int d = 0; d < operand_type(node, 0).shape.rank; d++) col_factors_same(f, x, d, x, d);
}
