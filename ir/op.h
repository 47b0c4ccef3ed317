/* The op table: one row of facts and functions per op kind (ir/ops.def). */
#ifndef COL_IR_OP_H
#define COL_IR_OP_H

#include "ir/type.h"
#include "ir/base/diag.h"

typedef enum col_op {
#define OP(KIND, ...) COL_OP_##KIND,
#include "ir/ops.def"
#undef OP
    COL_OP_COUNT
} col_op;

/* What fusion, scheduling and cost need to know of an op. */
typedef enum col_op_class {
    COL_CLASS_ELEMENTWISE, /* result[i] from operand[i], with broadcasting */
    COL_CLASS_SOURCE,      /* result[i] from i */
    COL_CLASS_REDUCTION,   /* over `axes` */
    COL_CLASS_VIEW,        /* an index map; costs nothing where strides express it */
    COL_CLASS_MOVE,        /* a copy with an index map that strides cannot express */
    COL_CLASS_CONTRACTION, /* a matrix product: einsum, or one with an epilogue */
    COL_CLASS_OPAQUE,      /* a kernel of the executor */
    COL_CLASS_COMPOSITE,   /* has a `lower` */
    COL_CLASS_STATE,       /* has an effect instead of a result */
} col_op_class;

typedef enum col_attr_key {
#define ATTR(KEY, ...) COL_ATTR_##KEY,
#include "ir/attrs.def"
#undef ATTR
    COL_ATTR_COUNT
} col_attr_key;
_Static_assert(COL_ATTR_COUNT <= 64, "attribute sets are 64-bit masks");

typedef enum col_attr_kind { COL_KIND_INT, COL_KIND_FLOAT, COL_KIND_INTS, COL_KIND_TEXT } col_attr_kind;

typedef struct col_attr {
    col_attr_key key;
    int64_t int_value;   /* INT */
    double float_value;  /* FLOAT */
    const char *text;    /* TEXT */
    int count;           /* INTS */
    const int64_t *ints; /* INTS, in the graph's arena */
} col_attr;

typedef struct col_node col_node;
typedef struct col_value col_value;
typedef struct col_graph col_graph;
typedef struct col_builder col_builder;
typedef struct col_factors col_factors; /* ir/factors.h */
typedef struct col_local col_local;

/* A tensor of the reference evaluator: row-major, every dtype held as double (integers up to 2^53 exactly;
 * f32 and narrower results are NOT rounded: this is the fp64 oracle). */
typedef struct col_tensor {
    col_type type;
    double *data;
} col_tensor;

/* Fills in `node->results[i].type`, and brings lists of axes (axes, perm) to the form that passes rely on:
 * non-negative, `axes` ascending. On a fault adds a diagnostic at the node and returns false. */
typedef bool (*col_infer_fn)(col_node *node, col_diags *diags);
/* Given the gradients of the results (NULL where none flows), sets `operand_grads[i]` for the operands that
 * want one (`wanted[i]`), each of its operand's type. Leaving a wanted one NULL says that the op is not
 * differentiable in this use (an attention's mask), which differentiation reports; there is no implied zero.
 */
typedef void (*col_grad_fn)(col_builder *b, col_node *node, col_value *const *result_grads,
                            const bool *wanted, col_value **operand_grads);
/* Sets `out_results[i]` to values that replace the node's results (NULL for results without users). */
typedef void (*col_lower_fn)(col_builder *b, col_node *node, col_value **out_results);
/* Computes the results from the operands; both lists are in the node's order, results allocated. */
typedef void (*col_eval_fn)(const col_node *node, const col_tensor *operands, col_tensor *results);

/* Where the elements of a view's result lie in its operand: along operand dim k, element i of the result is
 * at start[k] + i[from[k]], or at start[k] alone where from[k] is -1. */
typedef struct col_view_map {
    int from[COL_MAX_RANK]; /* a dim of the result */
    int64_t start[COL_MAX_RANK];
} col_view_map;

/* The map of a view's result of that number. False: there is none, but the elements keep their row-major
 * order (reshape). */
typedef bool (*col_view_map_fn)(const col_node *node, uint32_t result, col_view_map *out);

/* States how the dimensions of the node's operands and results relate, with the functions of ir/factors.h. An
 * operand's dimension that it does not mention is never split; a result's may be. */
typedef void (*col_relate_fn)(col_factors *f, const col_node *node);
/* Builds what one rank runs in the node's stead. `operands[i]` are the rank's blocks, laid out as
 * col_factors_operand_layout says; sets `out_results[i]` to values as col_factors_result_layout says. */
typedef void (*col_local_fn)(col_local *l, const col_node *node, col_value *const *operands,
                             col_value **out_results);

/* Who does a node's work: matrix products and convolutions of the device's library, the executor's attention,
 * generated kernels, copies and scatters. */
typedef enum col_work_kind {
    COL_WORK_KERNEL,
    COL_WORK_PRODUCT,
    COL_WORK_CONVOLUTION,
    COL_WORK_ATTENTION,
    COL_WORK_MOVE
} col_work_kind;

/* The arithmetic of a node: floating-point operations of the whole, a multiply-add being two. */
typedef struct col_work {
    col_work_kind kind;
    double flops;
} col_work;

typedef col_work (*col_work_fn)(const col_node *node);

typedef struct col_op_info {
    const char *name;
    col_op_class op_class;
    int cost; /* of computing one element, roughly; an addition is 1 */
    int operands_min, operands_max;
    int results; /* -1: the node's `parts` */
    uint64_t required_attrs, optional_attrs;
    col_infer_fn infer;
    col_grad_fn gradient; /* NULL: not differentiable; col_grad_zero: zero by definition */
    col_lower_fn lower;   /* NULL: a primitive */
    col_eval_fn eval;
    col_view_map_fn view_map; /* of the view class; NULL: another class */
    col_relate_fn factors;    /* NULL, as `local`: a composite or a collective */
    col_local_fn local;
    col_work_fn work; /* NULL: a kernel that computes nothing */
} col_op_info;

/* The row of the op. */
const col_op_info *col_op_info_of(col_op op);
/* COL_OP_COUNT when there is no such op. */
col_op col_op_find(const char *name);

/* The attribute as models spell it, and what it holds. */
const char *col_attr_name(col_attr_key key);
col_attr_kind col_attr_kind_of(col_attr_key key);
/* COL_ATTR_COUNT when there is no such attribute. */
col_attr_key col_attr_find(const char *name);

/* The functions that rows name. */
#define OP(KIND, name, cls, cost, low, high, count, required, optional, infer, gradient, lower, eval, view,  \
           factors, local, work)                                                                             \
    bool col_infer_##infer(col_node *node, col_diags *diags);                                                \
    void col_grad_##gradient(col_builder *b, col_node *node, col_value *const *result_grads,                 \
                             const bool *wanted, col_value **operand_grads);                                 \
    void col_lower_##lower(col_builder *b, col_node *node, col_value **out_results);                         \
    void col_eval_##eval(const col_node *node, const col_tensor *operands, col_tensor *results);             \
    bool col_view_map_##view(const col_node *node, uint32_t result, col_view_map *out);                      \
    void col_relate_##factors(col_factors *f, const col_node *node);                                         \
    void col_local_##local(col_local *l, const col_node *node, col_value *const *operands,                   \
                           col_value **out_results);                                                         \
    col_work col_work_##work(const col_node *node);
#include "ir/ops.def"
#undef OP

#endif
