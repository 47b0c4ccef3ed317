/* An import goes through the file in order: names of inputs and initializers become variables, and each node
 * calls the function of its row in ops.def, which builds graph nodes from values that are there already. After
 * every node, whatever depends on small known tensors alone is evaluated (ir/evaluate's oracle, in fp64):
 * shapes, axes, sizes. What was built for them and is read by nothing is removed at the end. */
#include "frontend/onnx/import.h"

#include <string.h>

#include "frontend/lex.h"
#include "frontend/onnx/importer.h"
#include "ir/base/file.h"

enum { FIRST_OPSET = 1, LAST_OPSET = 23, NAMED_FAULTS = 20, LONGEST_NAME = 1024, LONGEST_SCOPE = 200 };

void col_onnx_importer_fault(col_onnx_importer *im, const char *format, ...)
{
    if (im->fault_count++ >= NAMED_FAULTS) return;
    va_list args;
    va_start(args, format);
    col_str_append(&im->faults, "\n  ");
    col_str_vprintf(&im->faults, format, args);
    va_end(args);
}

bool col_onnx_importer_afford(col_onnx_importer *im, int64_t count)
{
    if (count > COL_ONNX_COMPUTED_ELEMENTS - im->computed) return false;
    im->computed += count;
    return true;
}

static col_status faults_status(col_onnx_importer *im)
{
    col_status status = NULL;
    if (im->fault_count) {
        size_t more = im->fault_count > NAMED_FAULTS ? im->fault_count - NAMED_FAULTS : 0;
        status = col_error_make(COL_BAD_INPUT, "%s: this ONNX model cannot be imported:%s%s", im->file,
                                col_str_text(&im->faults),
                                more ? col_arena_printf(im->arena, "\n  ... and %zu more", more) : "");
    }
    col_str_fini(&im->faults);
    return status;
}

/* Names and variables. */

/* Names of variables and outputs go into the model's text, in backquotes. */
static bool check_name(col_onnx_importer *im, const char *what, const char *name)
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

static col_onnx_slot *define(col_onnx_importer *im, const char *name, col_value *value)
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

static void add_initializer(col_onnx_importer *im, const Col__Onnx__Tensor *message)
{
    col_onnx_tensor tensor;
    if (!check_name(im, "initializer", message->name)) return;
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
    define(im, message->name, value)->is_small = tensor.is_small;
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

/* The names that nodes read, and outputs. */
static col_map *read_names(const col_onnx_importer *im, const Col__Onnx__Graph *graph)
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

/* What nothing reads may be of any type. */
static void add_input(col_onnx_importer *im, const Col__Onnx__ValueInfo *message, const col_map *read)
{
    const Col__Onnx__TensorType *stated = message->type ? message->type->tensor_type : NULL;
    col_onnx_tensor given = {0};
    col_type type = {0};
    if (!check_name(im, "input", message->name)) return;
    if (col_map_get(im->slots, message->name)) return; /* an initializer's default, which is what is used */
    col_value *value = NULL;
    bool is_small = stated && col_onnx_is_small(stated->elem_type); /* then the type is f32 */
    if (!col_map_get(read, message->name)) {
        define(im, message->name, NULL);
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
    define(im, message->name, value)->is_small = is_small;
}

/* Nodes. */

typedef struct row {
    const char *name;
    int low, high;
    void (*function)(col_onnx_node *n, int detail);
    int detail;
} row;

static const row rows[] = {
#define ONNX(name, low, high, function, detail) {#name, low, high, col_onnx_op_##function, detail},
#include "frontend/onnx/ops.def"
#undef ONNX
};

static const row *find_row(const Col__Onnx__Node *message)
{
    bool foreign = message->domain && *message->domain && strcmp(message->domain, "ai.onnx");
    if (foreign || !message->op_type) return NULL;
    for (size_t i = 0; i < COL_COUNT(rows); i++) {
        if (!strcmp(rows[i].name, message->op_type)) return &rows[i];
    }
    return NULL;
}

/* Every op that is not in the table, or not for this opset, once each. */
static void refuse_ops(col_onnx_importer *im, const Col__Onnx__Graph *graph)
{
    col_map *counts = col_map_create(im->arena);
    for (size_t i = 0; i < graph->n_node; i++) {
        const Col__Onnx__Node *message = graph->node[i];
        const row *found = find_row(message);
        if (found && im->opset >= found->low && im->opset <= found->high) continue;
        bool foreign = message->domain && *message->domain;
        const char *name =
            col_arena_printf(im->arena, "%s%s%s", foreign ? message->domain : "", foreign ? "::" : "",
                             message->op_type ? message->op_type : "without a name");
        if (found)
            name = col_arena_printf(im->arena, "%s of opset %lld (known from %d to %d)", name,
                                    (long long)im->opset, found->low, found->high);
        size_t *count = col_map_get(counts, name);
        if (!count) col_map_set(counts, name, count = COL_NEW(im->arena, size_t));
        ++*count;
    }
    for (size_t i = 0; i < counts->len; i++) {
        col_onnx_importer_fault(im, "op %s is not supported (%zu node%s)", counts->entries[i].key,
                                *(size_t *)counts->entries[i].value,
                                *(size_t *)counts->entries[i].value == 1 ? "" : "s");
    }
}

/* A node's name as its place in logs: printable ASCII without quotes. */
static const char *scope_of(const col_onnx_importer *im, const Col__Onnx__Node *message)
{
    const char *name = message->name ? message->name : "";
    while (*name == '%' || *name == '/') name++;
    char *scope = col_arena_strndup(im->arena, name, COL_MIN(strlen(name), (size_t)LONGEST_SCOPE));
    for (char *at = scope; *at; at++) {
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '`') *at = '_';
    }
    return scope;
}

/* False when an operand is missing through an earlier fault, or there is none of that name. */
static bool find_operands(col_onnx_importer *im, col_onnx_node *n)
{
    bool all = true;
    for (uint32_t i = 0; i < n->input_count; i++) {
        const char *name = n->message->input[i];
        if (!*name) continue;
        const col_onnx_slot *slot = col_map_get(im->slots, name);
        if (!slot) {
            col_onnx_fault(n,
                           "it reads '%s', which nothing before it makes: the graph is cyclic, not in order "
                           "or incomplete",
                           name);
        }
        all = all && slot && slot->value;
        const char *op = n->message->op_type;
        if (slot && slot->is_small && strcmp(op, "Cast") && (strcmp(op, "CastLike") || i))
            col_onnx_fault(n, "'%s' has 8-bit floats, which can only be cast to others: cast it first", name);
        n->inputs[i] = slot ? slot->value : NULL;
    }
    return all && !n->failed;
}

static void run_node(col_onnx_importer *im, col_onnx_node *n)
{
    const row *found = find_row(n->message);
    found->function(n, found->detail);
    if (im->diags.total && im->diags.list.len) col_onnx_fault(n, "%s", im->diags.list.data[0].message);
    im->diags = (col_diags){.arena = im->arena};
    if (!n->failed) col_onnx_check_read(n);
    for (uint32_t i = 0; i < n->output_count && !n->failed; i++) {
        if (col_onnx_wants(n, i) && !n->outputs[i])
            col_onnx_fault(n, "its output %u is not supported: remove what reads it", i + 1);
    }
}

static void add_node(col_onnx_importer *im, const Col__Onnx__Node *message)
{
    col_onnx_node n = {.importer = im,
                       .message = message,
                       .opset = (int)im->opset,
                       .b = &im->builder,
                       .arena = im->arena,
                       .input_count = (uint32_t)message->n_input,
                       .output_count = (uint32_t)message->n_output};
    n.inputs = COL_NEW_ARRAY(im->arena, col_value *, n.input_count + 1);
    n.outputs = COL_NEW_ARRAY(im->arena, col_value *, n.output_count + 1);
    im->builder.scope = scope_of(im, message);
    if (find_operands(im, &n)) run_node(im, &n);
    col_onnx_importer_fold(im);
    for (uint32_t i = 0; i < n.output_count; i++) {
        if (*message->output[i]) define(im, message->output[i], n.failed ? NULL : n.outputs[i]);
    }
}

/* Outputs become files of their names, which therefore have no slashes. */
static const char *file_name(const col_onnx_importer *im, const char *name)
{
    char *copy = col_arena_strdup(im->arena, name);
    for (char *at = copy; (at = strchr(at, '/'));) *at = '.';
    return copy;
}

static void add_empty(col_onnx_importer *im, const char *name, col_type type)
{
    for (size_t i = 0; i < im->empty.len; i++) {
        if (!strcmp(im->empty.data[i].name, name))
            col_onnx_importer_fault(im, "the output '%s' is there twice", name);
    }
    col_onnx_empty empty = {name, type};
    col_vec_push(im->arena, &im->empty, empty);
}

static void add_outputs(col_onnx_importer *im, const Col__Onnx__Graph *graph)
{
    if (!graph->n_output) col_onnx_importer_fault(im, "the model has no outputs");
    for (size_t i = 0; i < graph->n_output; i++) {
        if (!check_name(im, "output", graph->output[i]->name)) continue;
        const col_onnx_slot *slot = col_map_get(im->slots, graph->output[i]->name);
        const char *name = file_name(im, graph->output[i]->name);
        if (!slot) col_onnx_importer_fault(im, "nothing makes the output '%s'", name);
        if (slot && slot->is_small)
            col_onnx_importer_fault(im, "the output '%s' has 8-bit floats, which are not supported: cast it",
                                    name);
        if (col_graph_find_output(im->graph, name))
            col_onnx_importer_fault(im, "the output '%s' is there twice", name);
        else if (slot && slot->value && !col_shape_numel(slot->value->type.shape))
            add_empty(im, name, slot->value->type);
        else if (slot && slot->value)
            col_graph_add_output(im->graph, name, slot->value, (col_loc){0});
    }
}

/* Removes nodes and variables that nothing reads. */
static void sweep(col_onnx_importer *im)
{
    col_graph *graph = im->graph;
    bool *is_output = COL_NEW_ARRAY(im->arena, bool, graph->next_value_id);
    for (size_t i = 0; i < graph->outputs.len; i++) is_output[graph->outputs.data[i].value->id] = true;
    for (col_node *node = graph->last, *before; node; node = before) {
        bool used = false;
        before = node->prev;
        for (uint32_t i = 0; i < node->result_count; i++)
            used |= col_value_has_uses(&node->results[i]) || is_output[node->results[i].id];
        if (!used) col_graph_remove(node);
    }
    size_t kept = 0;
    graph->var_by_name = col_map_create(graph->arena);
    for (size_t i = 0; i < graph->vars.len; i++) {
        col_var *var = graph->vars.data[i];
        if (!col_value_has_uses(var->value) && !is_output[var->value->id]) {
            var->index = UINT32_MAX;
            continue;
        }
        var->index = (uint32_t)kept;
        graph->vars.data[kept++] = var;
        col_map_set(graph->var_by_name, var->name, var);
    }
    graph->vars.len = kept;
    kept = 0;
    for (size_t i = 0; i < im->weights.len; i++) {
        if (im->weights.data[i].var->index != UINT32_MAX) im->weights.data[kept++] = im->weights.data[i];
    }
    im->weights.len = kept;
}

static void refuse_empty(col_onnx_importer *im, const char *what, const char *name, col_shape shape)
{
    if (!col_shape_numel(shape))
        col_onnx_importer_fault(im, "%s '%s': tensors without elements are not supported", what, name);
}

/* Plans have no tensors without elements. */
static void check_sizes(col_onnx_importer *im)
{
    for (size_t i = 0; i < im->graph->vars.len; i++) {
        const col_var *var = im->graph->vars.data[i];
        refuse_empty(im, "variable", var->name, var->type.shape);
    }
    COL_FOR_EACH_NODE (node, im->graph) {
        for (uint32_t i = 0; i < node->result_count; i++)
            refuse_empty(im, "node", node->scope, node->results[i].type.shape);
    }
}

/* The file. */

static bool find_opset(col_onnx_importer *im, const Col__Onnx__Model *message)
{
    for (size_t i = 0; i < message->n_opset_import; i++) {
        const Col__Onnx__OperatorSet *set = message->opset_import[i];
        if (!set->domain || !*set->domain || !strcmp(set->domain, "ai.onnx")) im->opset = set->version;
    }
    if (im->opset >= FIRST_OPSET && im->opset <= LAST_OPSET) return true;
    col_onnx_importer_fault(
        im, "it is of opset %lld; opsets %d to %d are known: convert it with onnx.version_converter",
        (long long)im->opset, FIRST_OPSET, LAST_OPSET);
    return false;
}

static void build(col_onnx_importer *im, const Col__Onnx__Model *message)
{
    const Col__Onnx__Graph *graph = message->graph;
    if (!find_opset(im, message)) return;
    if (graph->n_sparse_initializer)
        col_onnx_importer_fault(im, "sparse initializers are not supported: make them dense");
    refuse_ops(im, graph);
    if (im->fault_count) return;
    for (size_t i = 0; i < graph->n_initializer; i++) add_initializer(im, graph->initializer[i]);
    const col_map *read = read_names(im, graph);
    for (size_t i = 0; i < graph->n_input; i++) add_input(im, graph->input[i], read);
    col_onnx_importer_fold(im);
    for (size_t i = 0; i < graph->n_node; i++) add_node(im, graph->node[i]);
    add_outputs(im, graph);
    col_status status = im->files ? col_onnx_files_check(im->files, im->arena) : NULL;
    if (status) col_onnx_importer_fault(im, "%s", col_error_message(status));
    if (col_error_ignore(status) || im->fault_count) return;
    sweep(im);
    check_sizes(im);
}

col_status col_onnx_import_bytes(const char *name, const char *folder, const void *bytes, size_t size,
                                 const col_onnx_options *options, col_arena *arena, col_onnx_model *out)
{
    static const col_onnx_options none;
    const Col__Onnx__Model *message = col_onnx_model_unpack(bytes, size, arena);
    *out = (col_onnx_model){.files = {.folder = folder}};
    if (!message || !message->graph)
        return col_error_make(COL_BAD_INPUT, "%s: this is no ONNX model, or only a part of one", name);
    col_onnx_importer im = {.file = name,
                            .files = folder ? &out->files : NULL,
                            .options = options ? options : &none,
                            .arena = arena,
                            .graph = col_graph_create(arena, "onnx"),
                            .diags = {.arena = arena},
                            .slots = col_map_create(arena)};
    im.builder = (col_builder){.graph = im.graph, .scope = "", .diags = &im.diags};
    build(&im, message);
    COL_TRY(faults_status(&im));
    out->graph = im.graph;
    out->inputs = col_map_create(arena);
    for (size_t i = 0; i < message->graph->n_input; i++)
        col_map_set(out->inputs, message->graph->input[i]->name, im.graph);
    out->weights.data = im.weights.data;
    out->weights.len = out->weights.cap = im.weights.len;
    out->empty.data = im.empty.data;
    out->empty.len = out->empty.cap = im.empty.len;
    return NULL;
}

void col_onnx_close(col_onnx_model *model)
{
    col_onnx_files_close(&model->files);
}

col_status col_onnx_import(const char *path, const col_onnx_options *options, col_arena *arena,
                           col_onnx_model *out)
{
    const char *slash = strrchr(path, '/');
    const char *folder = !slash          ? "."
                         : slash == path ? "/"
                                         : col_arena_strndup(arena, path, (size_t)(slash - path));
    col_mapping mapping;
    *out = (col_onnx_model){0};
    COL_TRY(col_file_map(path, &mapping));
    col_status status = col_onnx_import_bytes(path, folder, mapping.data, mapping.size, options, arena, out);
    col_file_unmap(&mapping);
    return status;
}
