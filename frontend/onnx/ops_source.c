/* Sources: constants, ranges, and what is known of shapes. */
#include <math.h>

#include "frontend/onnx/node.h"

void col_onnx_op_constant(col_onnx_node *n, int detail)
{
    (void)detail;
    const Col__Onnx__Attribute *a;
    col_onnx_tensor tensor = {0};
    if ((a = col_onnx_attribute(n, "value_float")) && a->has_f) {
        n->outputs[0] = col_onnx_number(n, (double)a->f, COL_F32);
        return;
    }
    if ((a = col_onnx_attribute(n, "value_int")) && a->has_i) {
        tensor.type.dtype = COL_I64;
        tensor.data = &a->i;
    } else if ((a = col_onnx_attribute(n, "value_ints"))) {
        tensor.type = col_type_make(COL_I64, col_shape_make(1, (int64_t[]){(int64_t)a->n_ints}));
        tensor.data = a->ints;
    } else if ((a = col_onnx_attribute(n, "value_floats"))) {
        tensor.type = col_type_make(COL_F32, col_shape_make(1, (int64_t[]){(int64_t)a->n_floats}));
        tensor.data = a->floats;
    } else if (!col_onnx_attr_tensor(n, "value", &tensor)) {
        return;
    }
    n->outputs[0] = col_onnx_tensor_value(n->importer, NULL, &tensor, false);
}

void col_onnx_op_constant_of_shape(col_onnx_node *n, int detail)
{
    (void)detail;
    col_onnx_tensor value = {.type = {.dtype = COL_F32}, .data = &(float){0}};
    col_onnx_ints list = col_onnx_known_ints(n, 0, "the shape");
    if (n->failed || (col_onnx_attribute(n, "value") && !col_onnx_attr_tensor(n, "value", &value))) return;
    col_shape shape = col_onnx_shape(n, &list);
    if (col_shape_numel(value.type.shape) != 1) col_onnx_fault(n, "its value must be one number");
    if (n->failed) return;
    n->outputs[0] = col_onnx_full(n, col_onnx_tensor_at(&value, 0), col_type_make(value.type.dtype, shape));
}

void col_onnx_op_range(col_onnx_node *n, int detail)
{
    (void)detail;
    double start = col_onnx_known_number(n, 0, "the start"), limit = col_onnx_known_number(n, 1, "the limit");
    double step = col_onnx_known_number(n, 2, "the step"), count = ceil((limit - start) / step);
    col_value *like = col_onnx_maybe(n, 0);
    if (n->failed || !like) return;
    if (!(count < 0x1p40)) {
        col_onnx_fault(n, "from %g to %g by %g it does not end", start, limit, step);
        return;
    }
    col_shape shape = col_shape_make(1, (int64_t[]){count > 0 ? (int64_t)count : 0});
    col_value *index = col_onnx_iota(n, col_type_make(like->type.dtype, shape), 0);
    index = col_onnx_binary_number(n, COL_OP_MUL, index, step);
    n->outputs[0] = col_onnx_binary_number(n, COL_OP_ADD, index, start);
}

void col_onnx_op_shape(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (!x) return;
    int64_t rank = x->type.shape.rank, from = col_onnx_int(n, "start", 0), to = col_onnx_int(n, "end", rank);
    from = COL_MIN(COL_MAX(from < 0 ? from + rank : from, 0), rank);
    to = COL_MIN(COL_MAX(to < 0 ? to + rank : to, from), rank);
    double sizes[COL_MAX_RANK + 1];
    for (int64_t i = from; i < to; i++) sizes[i - from] = (double)x->type.shape.dims[i];
    n->outputs[0] =
        col_onnx_literal(n, col_type_make(COL_I64, col_shape_make(1, (int64_t[]){to - from})), sizes);
}

void col_onnx_op_size(col_onnx_node *n, int detail)
{
    (void)detail;
    col_value *x = col_onnx_input(n, 0);
    if (x) n->outputs[0] = col_onnx_number(n, (double)col_shape_numel(x->type.shape), COL_I64);
}
