/* A node of the model: its operands, attributes, and the lists and axes that they hold. */
#include "frontend/onnx/node.h"

#include <math.h>
#include <string.h>

#include "frontend/onnx/importer.h"

void col_onnx_fault(col_onnx_node *n, const char *format, ...)
{
    if (n->failed) return;
    n->failed = true;
    const char *name = n->message->name;
    if (!name || !*name) name = n->output_count ? n->message->output[0] : "";
    col_str text = {0};
    va_list args;
    va_start(args, format);
    col_str_vprintf(&text, format, args);
    va_end(args);
    col_onnx_importer_fault(n->importer, "node '%s' (%s): %s", name, n->message->op_type,
                            col_str_text(&text));
    col_str_fini(&text);
}

/* What has a number from 64 on counts as read: only operands of ops that take any number of them do. */
static uint64_t bit(size_t index)
{
    return index < 64 ? UINT64_C(1) << index : 0;
}

col_value *col_onnx_maybe(col_onnx_node *n, uint32_t index)
{
    n->inputs_read |= bit(index);
    return index < n->input_count ? n->inputs[index] : NULL;
}

col_value *col_onnx_input(col_onnx_node *n, uint32_t index)
{
    col_value *value = col_onnx_maybe(n, index);
    if (!value) col_onnx_fault(n, "its operand %u is missing", index + 1);
    return value;
}

bool col_onnx_wants(const col_onnx_node *n, uint32_t index)
{
    return index < n->output_count && *n->message->output[index];
}

/* Attributes. */

const Col__Onnx__Attribute *col_onnx_attribute(col_onnx_node *n, const char *name)
{
    for (size_t i = 0; i < n->message->n_attribute; i++) {
        const Col__Onnx__Attribute *a = n->message->attribute[i];
        if (!a->name || strcmp(a->name, name)) continue;
        n->attributes_read |= bit(i);
        return a;
    }
    return NULL;
}

void col_onnx_ignore(col_onnx_node *n, const char *name)
{
    (void)col_onnx_attribute(n, name);
}

void col_onnx_check_read(col_onnx_node *n)
{
    for (size_t i = 0; i < n->message->n_attribute && i < 64; i++) {
        const char *name = n->message->attribute[i]->name;
        if (!(n->attributes_read & bit(i)))
            col_onnx_fault(n, "its attribute '%s' is not supported", name ? name : "");
    }
    if (n->message->n_attribute > 64) col_onnx_fault(n, "it has more than 64 attributes");
    for (uint32_t i = 0; i < n->input_count && i < 64; i++) {
        if (n->inputs[i] && !(n->inputs_read & bit(i)))
            col_onnx_fault(n, "its operand %u is not supported", i + 1);
    }
}

/* As `type` of an attribute says what it holds (onnx.proto). */
enum { IS_FLOAT = 1, IS_INT = 2, IS_TEXT = 3, IS_INTS = 7 };

/* The attribute, unless it says that it holds something of another type. */
static const Col__Onnx__Attribute *typed_attribute(col_onnx_node *n, const char *name, int type)
{
    const Col__Onnx__Attribute *a = col_onnx_attribute(n, name);
    if (!a || !a->has_type || !a->type || a->type == type) return a;
    col_onnx_fault(n, "its attribute '%s' has another type than this op takes", name);
    return NULL;
}

int64_t col_onnx_int(col_onnx_node *n, const char *name, int64_t fallback)
{
    const Col__Onnx__Attribute *a = typed_attribute(n, name, IS_INT);
    return a && a->has_i ? a->i : fallback;
}

double col_onnx_float(col_onnx_node *n, const char *name, double fallback)
{
    const Col__Onnx__Attribute *a = typed_attribute(n, name, IS_FLOAT);
    return a && a->has_f ? (double)a->f : fallback;
}

const char *col_onnx_text(col_onnx_node *n, const char *name, const char *fallback)
{
    const Col__Onnx__Attribute *a = typed_attribute(n, name, IS_TEXT);
    if (a && a->has_s && !a->s.len) return "";
    if (!a || !a->has_s || memchr(a->s.data, 0, a->s.len)) return fallback;
    return col_arena_strndup(n->arena, (const char *)a->s.data, a->s.len);
}

/* Lists that have a number per axis: no longer than tensors have dimensions, twice that for padding. */
static col_onnx_ints short_list(col_onnx_node *n, const char *what, size_t count)
{
    if (count <= 2 * COL_MAX_RANK) return (col_onnx_ints){.count = (int)count};
    col_onnx_fault(n, "%s has %zu numbers; tensors have at most %d dimensions here", what, count,
                   COL_MAX_RANK);
    return (col_onnx_ints){.count = -1};
}

col_onnx_ints col_onnx_attr_ints(col_onnx_node *n, const char *name)
{
    const Col__Onnx__Attribute *a = typed_attribute(n, name, IS_INTS);
    if (!a) return (col_onnx_ints){.count = -1};
    col_onnx_ints list = short_list(n, name, a->n_ints);
    for (int i = 0; i < list.count; i++) list.values[i] = a->ints[i];
    return list;
}

const col_tensor *col_onnx_known(const col_onnx_node *n, const col_value *value)
{
    return value && value->id < n->importer->known.len ? n->importer->known.data[value->id] : NULL;
}

int64_t col_onnx_whole(double value)
{
    if (isnan(value)) return 0;
    return value >= 0x1p63 ? INT64_MAX : value <= -0x1p63 ? INT64_MIN : (int64_t)value;
}

static const col_tensor *want_known(col_onnx_node *n, uint32_t index, const char *what)
{
    const col_value *value = col_onnx_input(n, index);
    const col_tensor *tensor = col_onnx_known(n, value);
    if (value && !tensor) {
        col_onnx_fault(
            n,
            "%s, its operand '%s', must be known when the model is imported: make it a constant, or "
            "give the inputs that it depends on (--input NAME=FILE)",
            what, n->message->input[index]);
    }
    return tensor;
}

col_onnx_ints col_onnx_known_ints(col_onnx_node *n, uint32_t index, const char *what)
{
    const col_tensor *tensor = want_known(n, index, what);
    if (!tensor) return (col_onnx_ints){.count = -1};
    col_onnx_ints list = short_list(n, what, (size_t)col_shape_numel(tensor->type.shape));
    for (int i = 0; i < list.count; i++) list.values[i] = col_onnx_whole(tensor->data[i]);
    return list;
}

col_onnx_ints col_onnx_list(col_onnx_node *n, int since, uint32_t index, const char *name)
{
    if (n->opset < since) return col_onnx_attr_ints(n, name);
    if (!col_onnx_maybe(n, index)) return (col_onnx_ints){.count = -1};
    return col_onnx_known_ints(n, index, name);
}

double col_onnx_known_number(col_onnx_node *n, uint32_t index, const char *what)
{
    const col_tensor *tensor = want_known(n, index, what);
    if (!tensor) return 0;
    if (col_shape_numel(tensor->type.shape) == 1) return tensor->data[0];
    col_onnx_fault(n, "%s must be one number", what);
    return 0;
}

/* Axes. */

int col_onnx_axis(col_onnx_node *n, int64_t axis, int rank, bool inclusive)
{
    int last = inclusive ? rank : rank - 1;
    int64_t found = axis < 0 ? axis + rank : axis;
    if (found >= 0 && found <= last) return (int)found;
    col_onnx_fault(n, "axis %lld is not in %d..%d", (long long)axis, -rank, last);
    return 0;
}

bool col_onnx_axes(col_onnx_node *n, col_onnx_ints *axes, int rank)
{
    unsigned seen = 0;
    for (int i = 0; i < axes->count; i++) {
        int axis = col_onnx_axis(n, axes->values[i], rank, false);
        if (seen >> axis & 1) col_onnx_fault(n, "axis %d is given twice", axis);
        seen |= 1u << axis;
        axes->values[i] = axis;
    }
    return !n->failed;
}

col_shape col_onnx_with_axis(col_shape shape, int axis, int64_t size)
{
    COL_ASSERT(shape.rank < COL_MAX_RANK);
    for (int i = shape.rank++; i > axis; i--) shape.dims[i] = shape.dims[i - 1];
    shape.dims[axis] = size;
    return shape;
}

col_shape col_onnx_set_axis(col_shape shape, int axis, int64_t size)
{
    shape.dims[axis] = size;
    return shape;
}

col_shape col_onnx_shape(col_onnx_node *n, const col_onnx_ints *list)
{
    col_shape shape = {.rank = -1};
    if (list->count >= 0 && list->count <= COL_MAX_RANK) shape = col_shape_make(list->count, list->values);
    if (shape.rank >= 0 && col_shape_is_valid(shape)) return shape;
    col_onnx_fault(n, "no shape: it has more than %d dimensions, or they are negative or absurdly large",
                   COL_MAX_RANK);
    return (col_shape){.rank = -1};
}

bool col_onnx_attr_tensor(col_onnx_node *n, const char *name, col_onnx_tensor *out)
{
    const Col__Onnx__Attribute *a = col_onnx_attribute(n, name);
    if (!a || !a->t) {
        col_onnx_fault(n, "its attribute '%s' is no tensor", name);
        return false;
    }
    col_status status = col_onnx_tensor_read(a->t, n->importer->files, n->arena, out);
    if (status) col_onnx_fault(n, "its attribute '%s': %s", name, col_error_message(status));
    if (!status && out->is_small)
        col_onnx_fault(n, "its attribute '%s' has 8-bit floats: make it an initializer", name);
    return !col_error_ignore(status) && !n->failed;
}
