/* What the functions of ops see of an import: one node of the model, its operands as graph values, its
 * attributes, what is known of values, and short forms of the builder. After a fault values are NULL, and what
 * is built of NULL is NULL: functions need not look. */
#ifndef COL_ONNX_NODE_H
#define COL_ONNX_NODE_H

#include "frontend/onnx/tensor.h"
#include "ir/builder.h"

typedef struct col_onnx_importer col_onnx_importer;

typedef struct col_onnx_node {
    col_onnx_importer *importer;
    const Col__Onnx__Node *message;
    int opset; /* of the model */
    col_builder *b;
    col_arena *arena;
    uint32_t input_count, output_count;
    col_value **inputs;                    /* NULL: absent */
    col_value **outputs;                   /* to be set */
    uint64_t attributes_read, inputs_read; /* bits: what no function asked for is not supported */
    bool failed;
} col_onnx_node;

/* Notes what is wrong with the node, or not supported; more than the first of a node is not kept. */
void col_onnx_fault(col_onnx_node *n, const char *format, ...) COL_PRINTF(2, 3);

/* The operand; a fault and NULL when it is absent. `maybe` gives NULL without a fault. */
col_value *col_onnx_input(col_onnx_node *n, uint32_t index);
col_value *col_onnx_maybe(col_onnx_node *n, uint32_t index);
/* After the function of its row: a fault for attributes and operands that it did not ask for. */
void col_onnx_check_read(col_onnx_node *n);
/* Whether the model wants the output. */
bool col_onnx_wants(const col_onnx_node *n, uint32_t index);

/* Attributes, or the fallback. One that a function does not ask for, or an operand, makes the node not supported;
 * `ignore` is for what changes nothing here. */
void col_onnx_ignore(col_onnx_node *n, const char *name);
int64_t col_onnx_int(col_onnx_node *n, const char *name, int64_t fallback);
double col_onnx_float(col_onnx_node *n, const char *name, double fallback);
const char *col_onnx_text(col_onnx_node *n, const char *name, const char *fallback);
const Col__Onnx__Attribute *col_onnx_attribute(col_onnx_node *n, const char *name); /* NULL: absent */

/* A list of whole numbers; `count` is -1 when it is absent or there was a fault. */
typedef struct col_onnx_ints {
    int count;
    int64_t values[2 * COL_MAX_RANK]; /* padding has two numbers per axis */
} col_onnx_ints;
col_onnx_ints col_onnx_attr_ints(col_onnx_node *n, const char *name);
/* From an operand, which must be known; `what` is for the message. */
col_onnx_ints col_onnx_known_ints(col_onnx_node *n, uint32_t index, const char *what);
/* From the operand of that index since `since`, from the attribute of that name before. */
col_onnx_ints col_onnx_list(col_onnx_node *n, int since, uint32_t index, const char *name);
/* The elements of a value that is known, else NULL. They live as long as the import. */
const col_tensor *col_onnx_known(const col_onnx_node *n, const col_value *value);
/* The one number of an operand that must be known; 0 after a fault. */
double col_onnx_known_number(col_onnx_node *n, uint32_t index, const char *what);
int64_t col_onnx_whole(double value); /* cut off, and to the nearest that 64 bits hold */

/* -rank .. rank-1 to 0 .. rank-1 (with `inclusive` also rank); 0 and a fault outside. */
int col_onnx_axis(col_onnx_node *n, int64_t axis, int rank, bool inclusive);
/* Makes the axes non-negative; a fault for one outside or given twice. */
bool col_onnx_axes(col_onnx_node *n, col_onnx_ints *axes, int rank);

/* The list as a shape; a fault and rank -1 where it is none. */
col_shape col_onnx_shape(col_onnx_node *n, const col_onnx_ints *list);

/* The tensor of an attribute, which must be there. */
bool col_onnx_attr_tensor(col_onnx_node *n, const char *name, col_onnx_tensor *out);

/* Room for that many numbers; NULL and a fault when an import may not compute as much. */
double *col_onnx_numbers(col_onnx_node *n, int64_t count);
/* A value that is known. `data` has one double per element. */
col_value *col_onnx_literal(col_onnx_node *n, col_type type, const double *data);
/* The same from a tensor of the file; `name`, if not NULL, is what the parameter is called. */
col_value *col_onnx_tensor_value(col_onnx_importer *importer, const char *name, const col_onnx_tensor *tensor,
                                 bool is_trained);

/* The type to compute in: the type itself, or i32 or i64 for bool and the whole numbers that are not computed with. */
col_dtype col_onnx_wide(col_dtype dtype);

/* Short forms of the builder. Arithmetic on other whole numbers than i32 and i64 happens in the wider type and
 * keeps the lower bits. */
col_value *col_onnx_unary(col_onnx_node *n, col_op op, col_value *x);
col_value *col_onnx_binary(col_onnx_node *n, col_op op, col_value *x, col_value *y);
col_value *col_onnx_binary_number(col_onnx_node *n, col_op op, col_value *x, double y); /* y of x's type */
col_value *col_onnx_where(col_onnx_node *n, col_value *condition, col_value *x, col_value *y);
col_value *col_onnx_number(col_onnx_node *n, double value, col_dtype dtype); /* a scalar */
col_value *col_onnx_full(col_onnx_node *n, double value, col_type type);
col_value *col_onnx_iota(col_onnx_node *n, col_type type, int axis);
col_value *col_onnx_cast(col_onnx_node *n, col_value *x, col_dtype dtype);
col_value *col_onnx_reshape(col_onnx_node *n, col_value *x, col_shape shape);
col_value *col_onnx_broadcast(col_onnx_node *n, col_value *x, col_shape shape);
col_value *col_onnx_transpose(col_onnx_node *n, col_value *x, const int64_t *perm);
/* Elements start .. stop-1 of one axis. */
col_value *col_onnx_cut(col_onnx_node *n, col_value *x, int axis, int64_t start, int64_t stop);
col_value *col_onnx_concat(col_onnx_node *n, uint32_t count, col_value *const *parts, int axis);
/* No axes: x itself. */
col_value *col_onnx_reduce(col_onnx_node *n, col_op op, col_value *x, int count, const int64_t *axes,
                           bool keepdims);
/* Products are computed in f32 for 16-bit floats, and as they are for f64 and whole numbers. */
col_value *col_onnx_einsum(col_onnx_node *n, const char *equation, col_value *x, col_value *y);
/* The operand of a kernel that takes f32 alone: 16-bit floats are converted, others refused. */
col_value *col_onnx_single(col_onnx_node *n, col_value *x);
/* Any op; the node, or NULL. */
col_node *col_onnx_build(col_onnx_node *n, col_op op, uint32_t count, col_value *const *operands,
                         uint32_t attr_count, const col_attr *attrs);
/* Its first result. */
col_value *col_onnx_build_one(col_onnx_node *n, col_op op, uint32_t count, col_value *const *operands,
                              uint32_t attr_count, const col_attr *attrs);

/* Pieces of ops that several families use. */
/* Indices along an axis of that size: negative ones count from the end, those outside go to the nearest. */
col_value *col_onnx_within(col_onnx_node *n, col_value *indices, int64_t size);
/* x's elements along `axis` at `indices` (i32 or i64, of any shape; negative ones count from the end), which take
 * the axis's place. Indices outside go to the nearest element. */
col_value *col_onnx_take(col_onnx_node *n, col_value *x, int axis, col_value *indices);
/* The product along an axis, which stays as size 1. */
col_value *col_onnx_product(col_onnx_node *n, col_value *x, int axis);
/* The shape with the axis of size 1 put in, or a size set. */
col_shape col_onnx_with_axis(col_shape shape, int axis, int64_t size);
col_shape col_onnx_set_axis(col_shape shape, int axis, int64_t size);
/* Where along `axis` of `shape` the indices say: bool. `indices` broadcast with size 1 at the axis. */
col_value *col_onnx_one_hot(col_onnx_node *n, col_shape shape, int axis, col_value *indices);

/* The functions that rows of ops.def name. */
#define ONNX(name, low, high, function, which) void col_onnx_op_##function(col_onnx_node *n, int detail);
#include "frontend/onnx/ops.def"
#undef ONNX

#endif
