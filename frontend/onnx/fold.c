/* What is known while importing. Small tensors of the file, and of given inputs, are known; so is what nodes
 * make of known tensors alone, evaluated in fp64 (the eval column of ir/ops.def), f32 results rounded to f32. Whole
 * numbers are exact to 2^53. */
#include "frontend/onnx/importer.h"

static void know(col_onnx_importer *im, const col_value *value, const col_tensor *tensor)
{
    while (im->known.len <= value->id) col_vec_push(im->arena, &im->known, NULL);
    im->known.data[value->id] = col_arena_copy(im->arena, tensor, sizeof *tensor);
}

static const col_tensor *known(const col_onnx_importer *im, const col_value *value)
{
    return value->id < im->known.len ? im->known.data[value->id] : NULL;
}

/* Of tensors without elements only lists: the others' dimensions may be as large as they like. */
static bool is_small(col_shape shape)
{
    int64_t count = col_shape_numel(shape);
    return count <= COL_ONNX_KNOWN_ELEMENTS && (count || shape.rank <= 1);
}

/* Shapes are not made of products and windows, whose work is not bounded by the sizes of their tensors. */
static bool is_cheap(const col_node *node)
{
    col_op_class op_class = col_op_info_of(node->op)->op_class;
    return op_class != COL_CLASS_CONTRACTION &&
           (op_class != COL_CLASS_OPAQUE || node->op == COL_OP_SCATTER_ADD);
}

void col_onnx_importer_know_data(col_onnx_importer *im, const col_value *value, const col_onnx_tensor *tensor)
{
    int64_t count = col_shape_numel(tensor->type.shape);
    if (!is_small(tensor->type.shape)) return;
    col_tensor copy = {tensor->type, COL_NEW_ARRAY(im->arena, double, COL_MAX(count, 1))};
    for (int64_t i = 0; i < count; i++) copy.data[i] = col_onnx_tensor_at(tensor, i);
    know(im, value, &copy);
}

static bool can_fold(col_onnx_importer *im, const col_node *node)
{
    if (!col_op_info_of(node->op)->eval || !is_cheap(node)) return false;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        if (!known(im, col_node_operand(node, i))) return false;
    }
    int64_t count = 0;
    for (uint32_t i = 0; i < node->result_count; i++) {
        if (!is_small(node->results[i].type.shape)) return false;
        count += col_shape_numel(node->results[i].type.shape);
    }
    return col_onnx_importer_afford(im, count);
}

static void fold(col_onnx_importer *im, const col_node *node)
{
    col_tensor *operands = COL_NEW_ARRAY(im->arena, col_tensor, node->operand_count + 1);
    col_tensor *results = COL_NEW_ARRAY(im->arena, col_tensor, node->result_count + 1);
    for (uint32_t i = 0; i < node->operand_count; i++) operands[i] = *known(im, col_node_operand(node, i));
    for (uint32_t i = 0; i < node->result_count; i++) {
        results[i].type = node->results[i].type;
        results[i].data =
            COL_NEW_ARRAY(im->arena, double, COL_MAX(col_shape_numel(results[i].type.shape), 1));
    }
    col_op_info_of(node->op)->eval(node, operands, results);
    for (uint32_t i = 0; i < node->result_count; i++) {
        int64_t count = col_shape_numel(results[i].type.shape);
        for (int64_t k = 0; k < count && results[i].type.dtype == COL_F32; k++)
            results[i].data[k] = (double)(float)results[i].data[k];
        know(im, &node->results[i], &results[i]);
    }
}

void col_onnx_importer_fold(col_onnx_importer *im)
{
    col_node *node = im->folded ? im->folded->next : im->graph->first;
    for (; node; node = node->next) {
        if (can_fold(im, node)) fold(im, node);
        im->folded = node;
    }
}
