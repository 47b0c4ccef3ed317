#include "ir/builder.h"

#include <string.h>

void col_builder_at(col_builder *b, col_node *node)
{
    b->graph = node->graph;
    b->before = node;
    b->phase = node->phase;
    b->scope = node->scope;
    b->loc = node->loc;
}

/* Arity and attributes against the op's row; types are the infer function's business. */
static bool check_form(const col_op_info *info, uint32_t operand_count, uint32_t attr_count,
                       const col_attr *attrs, col_diags *diags, col_loc loc)
{
    if ((int)operand_count < info->operands_min || (int)operand_count > info->operands_max) {
        if (info->operands_min == info->operands_max) {
            col_diag_add(diags, loc, "'%s' takes %d operand%s; %u given", info->name, info->operands_min,
                         info->operands_min == 1 ? "" : "s", operand_count);
        } else {
            col_diag_add(diags, loc, "'%s' takes %d to %d operands; %u given", info->name, info->operands_min,
                         info->operands_max, operand_count);
        }
        return false;
    }
    uint64_t given = 0;
    for (uint32_t i = 0; i < attr_count; i++) {
        uint64_t bit = UINT64_C(1) << attrs[i].key;
        if (given & bit) {
            col_diag_add(diags, loc, "'%s': attribute '%s' is given twice", info->name,
                         col_attr_name(attrs[i].key));
            return false;
        }
        if (!((info->required_attrs | info->optional_attrs) & bit)) {
            col_diag_add(diags, loc, "'%s' has no attribute '%s'", info->name, col_attr_name(attrs[i].key));
            return false;
        }
        given |= bit;
    }
    for (int key = 0; key < COL_ATTR_COUNT; key++) {
        if (!(info->required_attrs & ~given & (UINT64_C(1) << key))) continue;
        col_diag_add(diags, loc, "'%s' needs the attribute '%s'", info->name,
                     col_attr_name((col_attr_key)key));
        return false;
    }
    return true;
}

static uint32_t result_count(const col_op_info *info, uint32_t attr_count, const col_attr *attrs)
{
    if (info->results >= 0) return (uint32_t)info->results;
    for (uint32_t i = 0; i < attr_count; i++) {
        if (attrs[i].key == COL_ATTR_PARTS && attrs[i].int_value > 0 && attrs[i].int_value <= 1024) {
            return (uint32_t)attrs[i].int_value;
        }
    }
    return 0;
}

col_node *col_build(col_builder *b, col_op op, uint32_t operand_count, col_value *const *operands,
                    uint32_t attr_count, const col_attr *attrs)
{
    const col_op_info *info = col_op_info_of(op);
    col_diags local = {.arena = b->graph->arena};
    col_diags *diags = b->diags ? b->diags : &local;
    col_node *node = NULL;
    if (check_form(info, operand_count, attr_count, attrs, diags, b->loc)) {
        uint32_t results = result_count(info, attr_count, attrs);
        if (info->results < 0 && !results) {
            col_diag_add(diags, b->loc, "'%s' makes between 1 and 1024 parts", info->name);
        } else {
            node = col_graph_insert(b->graph, b->before, op, operand_count, operands, attr_count, attrs,
                                    results);
            node->phase = b->phase;
            node->scope = b->scope ? b->scope : "";
            node->loc = b->loc;
            size_t before = diags->total;
            bool fine = info->infer(node, diags);
            for (uint32_t i = 0; fine && i < results; i++) {
                if (col_shape_is_valid(node->results[i].type.shape)) continue;
                col_diag_add(diags, b->loc, "'%s': the result is too large to count in bytes", info->name);
                fine = false;
            }
            COL_ASSERT(fine == (diags->total == before));
            if (!fine) {
                col_graph_remove(node);
                node = NULL;
            }
        }
    }
    if (!node && !b->diags) {
        COL_PANIC("a pass built a bad '%s' node: %s", info->name, col_error_message(col_diags_status(diags)));
    }
    return node;
}

static col_value *first_result(col_node *node)
{
    return node ? &node->results[0] : NULL;
}

col_attr col_attr_int(col_attr_key key, int64_t value)
{
    COL_ASSERT(col_attr_kind_of(key) == COL_KIND_INT);
    return (col_attr){.key = key, .int_value = value};
}

col_attr col_attr_float(col_attr_key key, double value)
{
    COL_ASSERT(col_attr_kind_of(key) == COL_KIND_FLOAT);
    return (col_attr){.key = key, .float_value = value};
}

col_attr col_attr_ints(col_attr_key key, int count, const int64_t *values)
{
    COL_ASSERT(col_attr_kind_of(key) == COL_KIND_INTS);
    return (col_attr){.key = key, .count = count, .ints = values};
}

col_attr col_attr_text(col_attr_key key, const char *text)
{
    COL_ASSERT(col_attr_kind_of(key) == COL_KIND_TEXT);
    return (col_attr){.key = key, .text = text};
}

col_value *col_build_unary(col_builder *b, col_op op, col_value *x)
{
    return first_result(col_build(b, op, 1, &x, 0, NULL));
}

col_value *col_build_binary(col_builder *b, col_op op, col_value *x, col_value *y)
{
    return first_result(col_build(b, op, 2, (col_value *[]){x, y}, 0, NULL));
}

col_value *col_build_where(col_builder *b, col_value *condition, col_value *x, col_value *y)
{
    return first_result(col_build(b, COL_OP_WHERE, 3, (col_value *[]){condition, x, y}, 0, NULL));
}

col_value *col_build_cast(col_builder *b, col_value *x, col_dtype dtype)
{
    if (x->type.dtype == dtype) return x;
    col_attr attr = col_attr_text(COL_ATTR_DTYPE, col_dtype_name(dtype));
    return first_result(col_build(b, COL_OP_CAST, 1, &x, 1, &attr));
}

col_value *col_build_full(col_builder *b, double value, col_type type)
{
    col_attr attrs[] = {
        col_attr_float(COL_ATTR_VALUE, value),
        col_attr_ints(COL_ATTR_SHAPE, type.shape.rank, type.shape.dims),
        col_attr_text(COL_ATTR_DTYPE, col_dtype_name(type.dtype)),
    };
    return first_result(col_build(b, COL_OP_CONSTANT, 0, NULL, COL_COUNT(attrs), attrs));
}

col_value *col_build_scalar(col_builder *b, double value, col_dtype dtype)
{
    return col_build_full(b, value, (col_type){.dtype = dtype});
}

col_value *col_build_iota(col_builder *b, col_type type, int axis)
{
    col_attr attrs[] = {
        col_attr_int(COL_ATTR_AXIS, axis),
        col_attr_ints(COL_ATTR_SHAPE, type.shape.rank, type.shape.dims),
        col_attr_text(COL_ATTR_DTYPE, col_dtype_name(type.dtype)),
    };
    return first_result(col_build(b, COL_OP_IOTA, 0, NULL, COL_COUNT(attrs), attrs));
}

col_value *col_build_reduce(col_builder *b, col_op op, col_value *x, int count, const int64_t *axes,
                            bool keepdims)
{
    if (!count) return x;
    col_attr attrs[] = {
        col_attr_ints(COL_ATTR_AXES, count, axes),
        col_attr_int(COL_ATTR_KEEPDIMS, 1),
    };
    return first_result(col_build(b, op, 1, &x, keepdims ? 2 : 1, attrs));
}

col_value *col_build_sum_to(col_builder *b, col_value *x, col_shape shape)
{
    if (col_shape_equal(x->type.shape, shape)) return x;
    int64_t axes[COL_MAX_RANK];
    int count = 0, added = x->type.shape.rank - shape.rank;
    COL_ASSERT(added >= 0);
    for (int i = 0; i < x->type.shape.rank; i++) {
        bool stretched = i < added || (shape.dims[i - added] == 1 && x->type.shape.dims[i] != 1);
        if (stretched) axes[count++] = i;
    }
    x = col_build_reduce(b, COL_OP_SUM, x, count, axes, true);
    return x ? col_build_reshape(b, x, shape) : NULL;
}

col_value *col_build_reshape(col_builder *b, col_value *x, col_shape shape)
{
    if (col_shape_equal(x->type.shape, shape)) return x;
    col_attr attr = col_attr_ints(COL_ATTR_SHAPE, shape.rank, shape.dims);
    return first_result(col_build(b, COL_OP_RESHAPE, 1, &x, 1, &attr));
}

col_value *col_build_broadcast(col_builder *b, col_value *x, col_shape shape)
{
    if (col_shape_equal(x->type.shape, shape)) return x;
    col_attr attr = col_attr_ints(COL_ATTR_SHAPE, shape.rank, shape.dims);
    return first_result(col_build(b, COL_OP_BROADCAST, 1, &x, 1, &attr));
}

col_value *col_build_transpose(col_builder *b, col_value *x, const int64_t *perm)
{
    bool moves = false;
    for (int i = 0; i < x->type.shape.rank; i++) moves |= perm[i] != i;
    if (!moves) return x;
    col_attr attr = col_attr_ints(COL_ATTR_PERM, x->type.shape.rank, perm);
    return first_result(col_build(b, COL_OP_TRANSPOSE, 1, &x, 1, &attr));
}

col_value *col_build_slice(col_builder *b, col_value *x, const int64_t *starts, const int64_t *stops)
{
    bool cuts = false;
    for (int i = 0; i < x->type.shape.rank; i++) cuts |= starts[i] != 0 || stops[i] != x->type.shape.dims[i];
    if (!cuts) return x;
    col_attr attrs[] = {
        col_attr_ints(COL_ATTR_STARTS, x->type.shape.rank, starts),
        col_attr_ints(COL_ATTR_STOPS, x->type.shape.rank, stops),
    };
    return first_result(col_build(b, COL_OP_SLICE, 1, &x, 2, attrs));
}

col_value *col_build_concat(col_builder *b, uint32_t count, col_value *const *parts, int axis)
{
    if (count == 1) return parts[0];
    col_attr attr = col_attr_int(COL_ATTR_AXIS, axis);
    return first_result(col_build(b, COL_OP_CONCAT, count, parts, 1, &attr));
}

col_value *col_build_einsum(col_builder *b, const char *equation, col_value *x, col_value *y)
{
    col_attr attr = col_attr_text(COL_ATTR_EQUATION, equation);
    return first_result(col_build(b, COL_OP_EINSUM, 2, (col_value *[]){x, y}, 1, &attr));
}

void col_build_assign(col_builder *b, col_var *var, col_value *value)
{
    COL_ASSERT(col_type_equal(var->type, value->type));
    col_attr attr = col_attr_text(COL_ATTR_VARIABLE, var->name);
    col_build(b, COL_OP_ASSIGN, 1, &value, 1, &attr);
}
