/* Variables of an import: initializers become parameters or constants, and inputs get the sizes that are known. */
#include <string.h>

#include "frontend/lex.h"
#include "frontend/onnx/importer.h"

enum { LONGEST_NAME = 1024 };

bool col_onnx_importer_check_name(col_onnx_importer *im, const char *what, const char *name)
{
    size_t size = name ? strlen(name) : 0;
    bool fine = size && size <= LONGEST_NAME && *name != '%' && !strpbrk(name, "`\"");
    for (size_t i = 0; fine && i < size; i++) fine = (unsigned char)name[i] >= ' ';
    col_source source = {"", name, size};
    fine = fine && !col_error_ignore(col_source_check(&source));
    if (!fine) {
        col_onnx_importer_fault(im,
                                "an %s has a name that cannot be kept: it must have 1 to %d bytes of UTF-8 "
                                "without quotes and control characters, and not begin with %%; rename it",
                                what, LONGEST_NAME);
    }
    return fine;
}

col_onnx_slot *col_onnx_importer_define(col_onnx_importer *im, const char *name, col_value *value)
{
    col_onnx_slot *slot = COL_NEW(im->arena, col_onnx_slot);
    slot->value = value;
    if (col_map_set(im->slots, name, slot))
        col_onnx_importer_fault(im, "'%s' is made twice: names must be unique", name);
    return slot;
}

col_value *col_onnx_importer_param(col_onnx_importer *im, const char *name, const col_onnx_tensor *tensor,
                                   bool is_trained)
{
    while (!name || col_graph_find_var(im->graph, name))
        name = col_arena_printf(im->arena, "constant.%u", im->literals++);
    col_var *var =
        col_graph_add_var(im->graph, COL_VAR_PARAM, name, tensor->type, (col_init){0}, (col_loc){0});
    var->frozen = !is_trained;
    col_onnx_weight weight = {var, tensor->data};
    col_vec_push(im->arena, &im->weights, weight);
    col_onnx_importer_know_data(im, var->value, tensor);
    return var->value;
}

/* Whether all elements are one number that a constant node can hold. */
static bool is_uniform(const col_onnx_tensor *tensor, double *out_value)
{
    int64_t count = col_shape_numel(tensor->type.shape);
    size_t size = col_dtype_size(tensor->type.dtype);
    *out_value = count ? col_onnx_tensor_at(tensor, 0) : 0;
    for (int64_t i = 1; i < count; i++) {
        if (memcmp(tensor->data, (const char *)tensor->data + (size_t)i * size, size)) return false;
    }
    return col_dtype_holds(tensor->type.dtype, *out_value);
}

col_value *col_onnx_tensor_value(col_onnx_importer *im, const char *name, const col_onnx_tensor *tensor,
                                 bool is_trained)
{
    double value;
    if (!is_trained && is_uniform(tensor, &value)) return col_build_full(&im->builder, value, tensor->type);
    return col_onnx_importer_param(im, name, tensor, is_trained);
}

void col_onnx_importer_add_initializer(col_onnx_importer *im, const Col__Onnx__Tensor *message)
{
    col_onnx_tensor tensor;
    if (!col_onnx_importer_check_name(im, "initializer", message->name)) return;
    col_value *value = NULL;
    col_status status = col_onnx_tensor_read(message, im->files, im->arena, &tensor);
    if (status) {
        col_onnx_importer_fault(im, "initializer '%s': %s", message->name, col_error_message(status));
    } else if (col_graph_find_var(im->graph, message->name)) {
        col_onnx_importer_fault(im, "initializer '%s' is there twice", message->name);
        return;
    } else {
        bool is_trained = col_dtype_is_float(tensor.type.dtype) && tensor.type.shape.rank > 0;
        value = col_onnx_tensor_value(im, message->name, &tensor, is_trained);
    }
    col_error_free(status);
    col_onnx_importer_define(im, message->name, value)->is_small = tensor.is_small;
}

static const char *given_path(const col_onnx_importer *im, const char *name)
{
    for (size_t i = 0; i < im->options->given_count; i++) {
        if (!strcmp(im->options->given[i].name, name)) return im->options->given[i].path;
    }
    return NULL;
}

/* A size that the model states, or that is stated for its name, or that the given tensor has; -1: unknown. */
static int64_t size_of(const col_onnx_importer *im, const Col__Onnx__Dimension *d, const col_shape *given,
                       size_t axis)
{
    if (d->has_dim_value) return d->dim_value;
    for (size_t i = 0; d->dim_param && i < im->options->size_count; i++) {
        if (!strcmp(im->options->sizes[i].name, d->dim_param)) return im->options->sizes[i].size;
    }
    return given ? given->dims[axis] : -1;
}

static bool read_shape(col_onnx_importer *im, const char *name, const Col__Onnx__Shape *message,
                       const col_shape *given, col_shape *out)
{
    size_t rank = message ? message->n_dim : given ? (size_t)given->rank : COL_MAX_RANK + 1;
    *out = given ? *given : (col_shape){0};
    if (rank > COL_MAX_RANK || (given && rank != (size_t)given->rank)) {
        col_onnx_importer_fault(im, "input '%s': %s", name,
                                !message ? "the model does not say its shape: give it (--input NAME=FILE)"
                                : given  ? "the given tensor has another number of dimensions"
                                         : "it has more than 8 dimensions");
        return false;
    }
    out->rank = (int)rank;
    for (size_t i = 0; message && i < rank; i++) {
        const char *open = message->dim[i]->dim_param;
        out->dims[i] = size_of(im, message->dim[i], given, i);
        if (out->dims[i] >= 0 || message->dim[i]->has_dim_value) continue;
        col_onnx_importer_fault(
            im, "input '%s': its size %zu%s%s%s is open: give a tensor (--input %s=FILE)%s%s%s", name, i,
            open ? ", '" : "", open ? open : "", open ? "'," : "", name, open ? " or the size (--size " : "",
            open ? open : "", open ? "=N)" : "");
        return false;
    }
    if (col_shape_is_valid(*out)) return true;
    col_onnx_importer_fault(im, "input '%s': its dimensions are negative or absurdly large", name);
    return false;
}

/* Reads the given tensor of an input; false after a fault. */
static bool read_given(col_onnx_importer *im, const char *name, col_onnx_tensor *tensor)
{
    const char *path = given_path(im, name);
    col_status status = path ? col_onnx_tensor_file(path, im->arena, tensor) : NULL;
    if (status) col_onnx_importer_fault(im, "--input %s: %s", name, col_error_message(status));
    return !col_error_ignore(status);
}

col_map *col_onnx_importer_read_names(const col_onnx_importer *im, const Col__Onnx__Graph *graph)
{
    col_map *names = col_map_create(im->arena);
    for (size_t i = 0; i < graph->n_node; i++) {
        for (size_t k = 0; k < graph->node[i]->n_input; k++)
            col_map_set(names, graph->node[i]->input[k], names);
    }
    for (size_t i = 0; i < graph->n_output; i++) {
        if (graph->output[i]->name) col_map_set(names, graph->output[i]->name, names);
    }
    return names;
}

void col_onnx_importer_add_input(col_onnx_importer *im, const Col__Onnx__ValueInfo *message,
                                 const col_map *read)
{
    const Col__Onnx__TensorType *stated = message->type ? message->type->tensor_type : NULL;
    col_onnx_tensor given = {0};
    col_type type = {0};
    if (!col_onnx_importer_check_name(im, "input", message->name)) return;
    if (col_map_get(im->slots, message->name)) return; /* an initializer's default, which is what is used */
    col_value *value = NULL;
    bool is_small = stated && col_onnx_is_small(stated->elem_type); /* then the type is f32 */
    if (!col_map_get(read, message->name)) {
        col_onnx_importer_define(im, message->name, NULL);
        return;
    }
    if (!stated) {
        col_onnx_importer_fault(
            im, "input '%s' is no tensor: sequences, maps and optionals are not supported", message->name);
    } else {
        col_status status = is_small ? NULL : col_onnx_dtype(stated->elem_type, &type.dtype);
        if (status) col_onnx_importer_fault(im, "input '%s': %s", message->name, col_error_message(status));
        if (!col_error_ignore(status) && read_given(im, message->name, &given) &&
            read_shape(im, message->name, stated->shape, given.data ? &given.type.shape : NULL,
                       &type.shape)) {
            value =
                col_graph_add_var(im->graph, COL_VAR_INPUT, message->name, type, (col_init){0}, (col_loc){0})
                    ->value;
            if (given.data && col_type_equal(given.type, type))
                col_onnx_importer_know_data(im, value, &given);
        }
    }
    col_onnx_importer_define(im, message->name, value)->is_small = is_small;
}
